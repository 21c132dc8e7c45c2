/* SPDX-License-Identifier: MIT */
#ifndef FUSE_BYPASS_H
#define FUSE_BYPASS_H

#include "base/error.h"
#include "replicate/database.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Keeps processes off the bare databases that reach them past the mount: by a
 * working directory from before it, or in another mount namespace. Such a process
 * locks the backing inode, programs on the mount the FUSE inode, and neither
 * would see the other's. So while anything of a database is open on the mount,
 * SQLite's lock bytes of the backing file carry an OFD write lock: the bypasser
 * gets "database is locked", and no one on the mount notices.
 *
 * The lock outlives the daemon: the supervisor has a duplicate of its descriptor
 * before the first open is answered.
 */
struct bypass_lock;

struct bypass {
	int root_fd;
	int sock;	/* to the supervisor; -1: there is none (any more) */
	pthread_mutex_t mutex;
	struct bypass_lock *locks;
	uint64_t last_id;
};

/* Neither descriptor is owned. */
void bypass_init(struct bypass *bypass, int root_fd, int sock);
void bypass_done(struct bypass *bypass);

/*
 * Counts one more open file of db and takes the lock if it is the first. 0, or
 * -EBUSY when a bypasser has it (err says who), or another -errno; then nothing
 * was counted.
 */
int bypass_hold(struct bypass *bypass, struct database *db, struct error *err) MUST_CHECK;

/* One fewer; the last one lets go of the lock. */
void bypass_drop(struct bypass *bypass, struct database *db);

#endif
