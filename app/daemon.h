/* SPDX-License-Identifier: MIT */
#ifndef APP_DAEMON_H
#define APP_DAEMON_H

#include "app/backends.h"
#include "app/config.h"
#include "app/state.h"
#include "fuse/supervisor.h"

/* What the command has prepared for the daemon; it is all open already. */
struct daemon_setup {
	const struct config *config;
	struct state *state;
	struct backends *backends; /* the daemon closes them */
	const char *mountpoint;
	const char *backing;
};

/*
 * The daemon of a mount: recovers the databases, serves the filesystem until it
 * is unmounted, then drains to the backends. Runs in the process that the
 * supervisor made for it; blocks for all of that. setup: struct daemon_setup.
 * 0 or -errno.
 */
int daemon_serve(void *setup, const struct session_env *env, struct error *err);

#endif
