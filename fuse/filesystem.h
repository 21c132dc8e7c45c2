/* SPDX-License-Identifier: MIT */
#ifndef FUSE_FILESYSTEM_H
#define FUSE_FILESYSTEM_H

#include "base/buf.h"
#include "base/error.h"
#include "fuse/road.h"
#include "replicate/catalog.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The file system as the daemon serves it: a backing folder, its databases, and
 * the virtual folder .replitedfs, at the end of a /dev/fuse that the supervisor
 * has mounted.
 */
struct filesystem;
struct session_env;

/* The name, in the mount's root, of the virtual folder; of the state folder in the backing one. */
#define FILESYSTEM_STATE_NAME CATALOG_STATE_NAME

struct filesystem_options {
	int root_fd;		 /* the backing folder */
	int state_fd;		 /* the state folder, not to be reached; -1: none */
	struct catalog *catalog; /* all recovered */
	enum road_capture capture;

	/*
	 * Appends the content of the virtual file path, "status" or
	 * "pos/<database>", to out. 0; -ENOENT when there is no such database;
	 * -errno. Called in worker threads, may block, may not use the mount.
	 */
	int (*content)(void *arg, const char *path, struct buf *out);
	void *arg;
};

/*
 * Sets up the file system for the session env. The options' descriptors and the
 * catalog must outlive it. 0 or -errno.
 */
int filesystem_new(const struct filesystem_options *options, const struct session_env *env,
		   struct filesystem **ret_fs, struct error *err) MUST_CHECK;

/*
 * Agrees with the kernel on the session and tells the supervisor that the mount is
 * live; from then on this process has stdio only if it stays in the foreground. All
 * signals that end a program should be blocked or ignored. 0, or -errno: then no
 * request has been answered.
 */
int filesystem_start(struct filesystem *fs, struct error *err) MUST_CHECK;

/*
 * Serves until the mount is gone, and tells the supervisor that it is. 0 when
 * unmounted, or -errno (-ECONNABORTED: the mount is still there, but dead):
 * programs may still write by descriptors they have, so the catalog is not to be
 * closed as clean.
 */
int filesystem_serve(struct filesystem *fs, struct error *err) MUST_CHECK;

/* Returns all references to databases. NULL is fine. */
void filesystem_free(struct filesystem *fs);

/* Upcalls by kind, since the start. */
enum ops_kind {
	OPS_LOOKUP,
	OPS_FORGET,
	OPS_GETATTR,
	OPS_SETATTR,
	OPS_CREATE, /* and mknod, mkdir, symlink, link */
	OPS_UNLINK, /* and rmdir */
	OPS_RENAME,
	OPS_OPEN,
	OPS_RELEASE,
	OPS_READ,
	OPS_WRITE,
	OPS_FSYNC,
	OPS_READDIR,
	OPS_XATTR,
	OPS_OTHER,
	OPS_N_KINDS,
};

/* Copies the counters to ret_counts[OPS_N_KINDS]. */
void ops_counters(uint64_t *ret_counts);
const char *ops_kind_name(enum ops_kind kind);

/* Figures for status. */
struct filesystem_status {
	bool passthrough;	/* available */
	char *why_not;		/* else: why not; the caller frees it */
	uint64_t n_open;	/* handles */
	uint64_t upcalls[OPS_N_KINDS];
};
void filesystem_status(struct filesystem *fs, struct filesystem_status *ret_status);

#endif
