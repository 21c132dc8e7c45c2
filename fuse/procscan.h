/* SPDX-License-Identifier: MIT */
#ifndef FUSE_PROCSCAN_H
#define FUSE_PROCSCAN_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Who uses which files: a walk over /proc/PID of all processes we may look at,
 * in any mount namespace. Files are told apart by device and inode number, asked
 * for in a way that sends no request to a FUSE daemon, which may be dead or be
 * us.
 */
struct procscan_file {
	pid_t pid;
	const char *link; /* /proc/PID/fd/N, …/cwd, …/root, …/exe; NULL for a mapping */
	const char *path; /* what it says; "" when unreadable */
	dev_t dev;
	uint64_t ino;
};

/*
 * Calls visit for each open file, working folder, root and mapping of each other
 * process; a return that is not 0 ends the walk. Best effort: processes come and
 * go.
 */
void procscan_walk(int (*visit)(void *arg, const struct procscan_file *file), void *arg);

/* A line of /proc/PID/maps: false without a file. path points into line. */
bool procscan_parse_map(char *line, dev_t *ret_dev, uint64_t *ret_ino, const char **ret_path);

/* "name (pid 12)", for the caller to free; NULL when out of memory. */
char *procscan_describe(pid_t pid);

/*
 * Appends who uses files of the file system dev: "a (pid 1), b (pid 2)". Returns
 * how many processes that are.
 */
size_t procscan_users(dev_t dev, struct buf *out);

/* Who holds a lock on these bytes of fd's file that conflicts with a write lock; or NULL. */
char *procscan_lock_holder(int fd, off_t start, off_t len);

/* A process that has the FUSE connection of file system dev open; 0: not found. */
pid_t procscan_fuse_server(dev_t dev);

/* When pid was started, in seconds since 1970; 0: unknown. */
int64_t procscan_started(pid_t pid);

#endif
