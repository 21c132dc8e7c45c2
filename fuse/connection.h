/* SPDX-License-Identifier: MIT */
#ifndef FUSE_CONNECTION_H
#define FUSE_CONNECTION_H

#include "base/error.h"

#include <stdbool.h>

/* What differs between versions of libfuse, and what is asked of the kernel. */
struct fuse_conn_info;
struct fuse_session;
struct filesystem;

/*
 * Agrees with the kernel on the features of the session, in libfuse's init().
 * Returns whether passthrough is one of them.
 */
bool connection_negotiate(struct fuse_conn_info *conn);

/*
 * Makes libfuse's session for fs at the end of dev_fd, which it takes over. NULL
 * with the reason.
 */
struct fuse_session *connection_new(struct filesystem *fs, int dev_fd, struct error *err);

/* Answers the kernel's INIT, which must be the first request. 0 or -errno. */
int connection_start(struct fuse_session *se, struct error *err) MUST_CHECK;

/* Serves requests until the mount is gone. 0 or -errno. */
int connection_loop(struct fuse_session *se, struct error *err) MUST_CHECK;

#endif
