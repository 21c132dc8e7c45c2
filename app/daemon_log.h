/* SPDX-License-Identifier: MIT */
#ifndef APP_DAEMON_LOG_H
#define APP_DAEMON_LOG_H

#include "app/config.h"

/*
 * Where a daemon's messages go: stderr in the foreground, else the file
 * replitedfs.log in [mount] log_dir (default: log/ in the state folder), which
 * is moved to replitedfs.log.1 (and that to .2 …) at a start that finds it large.
 */
#define DAEMON_LOG_MAX (10 << 20) /* bytes */
#define DAEMON_LOG_KEPT 5	  /* old files */

/* 0 or -errno. */
int daemon_log_open(const struct config *config, int state_fd, bool foreground,
		    struct error *err) MUST_CHECK;

#endif
