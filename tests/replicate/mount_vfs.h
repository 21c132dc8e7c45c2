/* SPDX-License-Identifier: MIT */
#ifndef TESTS_REPLICATE_MOUNT_VFS_H
#define TESTS_REPLICATE_MOUNT_VFS_H

#include "replicate/catalog.h"

/*
 * A SQLite VFS that tells a catalog what the filesystem would: opens, barriers,
 * releases. For tests of the capture engine in one process; POSIX locks mean
 * nothing there (the engine's own closes drop them), so one connection at a time.
 */

/*
 * Registers the VFS "mount" over the default one. root: the folder's path. told:
 * the catalog hears of every write, as on the intercept road.
 */
void mount_vfs_register(struct catalog *catalog, const char *root, bool index_visible, bool told);
void mount_vfs_unregister(void);

/*
 * The clients are killed: from then on nothing of what they do to files happens,
 * until they are alive again. Close their connections in between.
 */
enum mount_vfs_death {
	MOUNT_VFS_ALIVE,
	MOUNT_VFS_AFTER_CALLS,	  /* that many more calls that change or sync a file */
	MOUNT_VFS_AT_ZEROED_SYNC, /* instead of syncing a journal whose header is zero */
	MOUNT_VFS_AT_SHRINK,	  /* instead of truncating the database */
};
void mount_vfs_kill(enum mount_vfs_death when, unsigned n_calls);

/* Whether it has happened. */
bool mount_vfs_killed(void);

#endif
