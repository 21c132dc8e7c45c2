/* SPDX-License-Identifier: MIT */
#ifndef APP_STATE_H
#define APP_STATE_H

#include "base/error.h"
#include "base/id.h"
#include "replicate/catalog.h"

#include <stdbool.h>

/*
 * The state folder of a backing folder: .replitedfs in it, or where state_dir
 * says. Its file `identity` says whose it is: the node id, and the machine, device
 * and inode it was drawn for. A folder that was copied with its state differs in
 * these and becomes a node of its own.
 *
 * Owned by the process that opened it.
 */
#define STATE_NAME CATALOG_STATE_NAME

struct state {
	int root_fd; /* the backing folder; not owned */
	int fd;	     /* the state folder */
	struct id node_id;
	bool same_boot;	 /* as when state_confirm() was called last */
	bool copied;	 /* the folder is a copy of another node's */
};

#define CLEANUP_STATE CLEANUP(state_close)

/*
 * Opens (with create: and creates, mode 0700) the state folder of root_fd.
 * state_dir "" = the usual place. 0; 1: there is none (only without create);
 * -errno: not ours, damaged, from a newer version (-EPROTONOSUPPORT), read-only.
 */
int state_open(struct state *state, int root_fd, const char *state_dir, bool create,
	       struct error *err) MUST_CHECK;

/*
 * Notes that this boot's session has brought everything together: to be called
 * when recovery is complete. 0 or -errno.
 */
int state_confirm(struct state *state, struct error *err) MUST_CHECK;

void state_close(struct state *state);

#endif
