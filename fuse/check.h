/* SPDX-License-Identifier: MIT */
#ifndef FUSE_CHECK_H
#define FUSE_CHECK_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * What must be right before a folder is mounted over. Each check answers with
 * what is wrong, why, and what to do, and with the exit code of the command.
 */

/*
 * Whether path, absolute and without symlinks, may be mounted over: a folder,
 * not served already by us or by another FUSE daemon. A dead mount of ours that
 * nobody uses is unmounted. 0; 1: one was; -errno.
 */
int check_mountpoint(const char *path, struct error *err) MUST_CHECK;

/* Opens /dev/fuse and checks that this process may mount. 0 with *ret_fd, or -errno. */
int check_device(int *ret_fd, struct error *err) MUST_CHECK;

/* A database of the backing folder. */
struct check_file {
	dev_t dev;
	uint64_t ino;
	const char *name; /* relative to the folder */
};

/*
 * Whether any process, in any mount namespace, has one of the n files open:
 * bare, or through a mount that is dead or hidden. Walks /proc. folder is for
 * the message. 0 or -EBUSY.
 */
int check_unused(const char *folder, const struct check_file *files, size_t n,
		 struct error *err) MUST_CHECK;

/* Whether /proc/PID/status, given as text, lists CAP_SYS_ADMIN as effective. */
bool check_status_has_sys_admin(const char *text);

#endif
