/* SPDX-License-Identifier: MIT */
#ifndef FUSE_FILESYSTEM_INTERNAL_H
#define FUSE_FILESYSTEM_INTERNAL_H

#include "fuse/bypass.h"
#include "fuse/filesystem.h"
#include "fuse/handle.h"
#include "fuse/node.h"
#include "fuse/road.h"
#include "fuse/session.h"

/*
 * Locks, in the order in which they are taken:
 *
 *   handle->mutex      of a folder's stream
 *   node->open_mutex   a companion's before its database's
 *   names              shared by whoever hands a name to the catalog, held
 *			exclusively around a rename; never while a database is
 *			hashed, for renames hold up their folder in the kernel
 *   the engine's       catalog, database, log
 *   nodes.tree         shared for opening a path and for removing a name,
 *			exclusive for a rename
 *   bypass.mutex       no engine lock is taken below it
 *   nodes.mutex        short; no system call
 *   roads.mutex        likewise, by itself
 *
 * Between the two ends of a barrier (the database is locked then) nothing is
 * taken but tree and nodes.mutex, below which nobody waits for a database.
 */
struct filesystem {
	struct filesystem_options options;
	struct session session;
	struct nodes nodes;
	struct handles handles;
	struct roads roads;
	struct bypass bypass;
	pthread_rwlock_t names;
	dev_t state_dev; /* of the state folder */
	ino_t state_ino;
	struct fuse_session *se;
	const struct session_env *env;
	bool negotiated; /* passthrough, by kernel and libfuse */
};

#endif
