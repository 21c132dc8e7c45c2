/* SPDX-License-Identifier: MIT */
#ifndef FUSE_SUPERVISOR_H
#define FUSE_SUPERVISOR_H

#include "base/error.h"

#include <stdbool.h>
#include <sys/types.h>

/*
 * Mounting, and the two processes of a mount.
 *
 * The supervisor opens /dev/fuse, mounts, and starts the daemon. It keeps that
 * descriptor, the session table, the lock of the state folder and the bypass
 * locks, waits for signals and for the end of the daemon, and does nothing else.
 * The daemon serves. When the daemon dies without having been unmounted the
 * supervisor closes /dev/fuse, so that nobody hangs, and keeps the bypass locks
 * for as long as any process still uses a file of the mount, which stays where it
 * is: programs are to get errors, not a bare folder.
 *
 * SIGTERM, SIGINT and SIGHUP to the supervisor unmount; while programs use the
 * mount it says which, serves on and tries again until they have left. The
 * daemon does not hear these signals.
 */

/* What the daemon gets from the supervisor. Lives as long as the daemon. */
struct session_env {
	int dev_fd;	 /* /dev/fuse, mounted */
	int table_fd;	 /* the session table */
	int sock;	 /* to the supervisor */
	dev_t mount_dev; /* st_dev of the mount's files */
	pid_t supervisor;
	bool foreground;
};

struct mount_options {
	const char *mountpoint; /* absolute, without symlinks */
	const char *fsname;	/* what df(1) shows as the source: the backing folder */
	int lock_fd;		/* statelock_take()'s; -1: none */
	bool allow_other;
	bool foreground;	/* the supervisor stays in the calling process */
	unsigned long flags;	/* MS_NOEXEC, MS_NOATIME … */

	/*
	 * The daemon: opens the catalog, makes a file system for env and serves
	 * it until it is unmounted, then drains. The mount is there already;
	 * whoever touches it waits until it is served. Returns 0, or -errno with
	 * err set. It runs in a process of its own.
	 */
	int (*serve)(void *arg, const struct session_env *env, struct error *err);
	void *arg;
};

/*
 * Reads the argument of -o ("allow_other,noexec") into options, which it adds
 * to. 0 or -EINVAL.
 */
int mount_options_parse(const char *text, struct mount_options *options,
			struct error *err) MUST_CHECK;

/*
 * Mounts and serves. The calling process must have no other threads.
 * In the background: 0 once the mount is live. In the foreground: 0 once it has
 * been unmounted and the daemon has ended well. Else -errno with what went
 * wrong, in this process or before readiness in one of the others, and nothing
 * mounted (unless the mount was live already).
 */
int mount_start(const struct mount_options *options, struct error *err) MUST_CHECK;

/*
 * For filesystem_serve(): the mount is live. In the background the daemon leaves
 * its terminal and its stdio. 0 or -errno.
 */
int session_ready(const struct session_env *env, struct error *err) MUST_CHECK;

/* For filesystem_serve(): the mount is gone by an unmount. */
void session_unmounted(const struct session_env *env);

#endif
