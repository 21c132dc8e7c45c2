/* SPDX-License-Identifier: MIT */
#ifndef FUSE_STATELOCK_H
#define FUSE_STATELOCK_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The lock of a state folder: flock(2) on its file "lock", taken before mounting
 * and inherited by supervisor and daemon, so that it is free when both are gone.
 * The file says who has it, as one line of JSON:
 *
 *   {"state":"serving","pid":812,"since":1767261720,"mountpoint":"/data"}
 *
 * Commands that read a folder which is not mounted share the lock, and leave the
 * file as it is: it may be on a medium that cannot be written.
 */
enum statelock_state {
	STATELOCK_SERVING,
	STATELOCK_DRAINING, /* unmounted, on its way out */
	STATELOCK_DEAD,	    /* the daemon died; programs still use its files */
};

/* What the file says. */
struct statelock {
	enum statelock_state state;
	pid_t pid;
	int64_t since; /* seconds since 1970 */
	char *mountpoint;
};

/*
 * Takes the lock for a mount of mountpoint. One that drains, or reads, is waited
 * for, up to wait_ms. 0 with *ret_fd (close-on-exec), or -EBUSY with who has it, or -errno.
 */
int statelock_take(int state_fd, const char *mountpoint, int64_t wait_ms, int *ret_fd,
		   struct error *err) MUST_CHECK;

/*
 * Shares the lock with others that read, which keeps mounts away. 0 with *ret_fd
 * (close-on-exec; -1 where there is no file and none can be made: nor can a mount
 * then), or -EBUSY with who has it, or -errno.
 */
int statelock_share(int state_fd, int *ret_fd, struct error *err) MUST_CHECK;

/*
 * With a shared lock: keeps others that share it from writing to the state folder
 * meanwhile; waits for them, and blocks. 0 or -errno (-EROFS).
 */
int statelock_begin_writing(int fd, struct error *err) MUST_CHECK;
void statelock_end_writing(int fd);

/*
 * Writes another state, and this process as the one that has the lock. fd may be
 * -1. Best effort.
 */
void statelock_note(int fd, enum statelock_state state);

/* Reads the line. False when it is damaged. */
bool statelock_parse(const char *text, struct statelock *ret_lock);
void statelock_done(struct statelock *lock);

#endif
