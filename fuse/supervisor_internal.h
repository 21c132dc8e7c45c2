/* SPDX-License-Identifier: MIT */
#ifndef FUSE_SUPERVISOR_INTERNAL_H
#define FUSE_SUPERVISOR_INTERNAL_H

#include "fuse/channel.h"
#include "fuse/supervisor.h"

/* A lock that the supervisor keeps for the daemon. */
struct supervisor_held {
	uint64_t id;
	int fd;
};

/* The supervisor. One thread. */
struct supervisor {
	const struct mount_options *options;
	int dev_fd, table_fd, sock, signal_fd;
	int report_fd;	/* to the process that wants to know whether it worked; -1: none */
	pid_t daemon;
	dev_t mount_dev;
	bool mounted, ready, unmounted, stopping;
	char *told;	/* who kept us from unmounting, as last logged */
	struct supervisor_held *held;
	size_t n_held;
	struct error err; /* why the daemon could not serve */
};

/* Serves the daemon and signals until the daemon has ended. 0 or -errno. */
int supervisor_loop(struct supervisor *supervisor, struct error *err) MUST_CHECK;

/*
 * The daemon is gone, its mount not: holds on until nobody uses it. Never for a mount
 * that is gone too: another one may have its device number by now.
 */
void supervisor_guard(struct supervisor *supervisor);

/* Leaves terminal and stdio. */
void supervisor_detach(void);

#endif
