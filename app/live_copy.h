/* SPDX-License-Identifier: MIT */
#ifndef APP_LIVE_COPY_H
#define APP_LIVE_COPY_H

#include "app/control.h"
#include "replicate/catalog.h"
#include "replicate/object.h"

/*
 * Exact copies of databases that are being served, for restores from a mount's
 * own log.
 */

/*
 * Answers the request {"command": "copy", "id": HEX} that came with a descriptor:
 * copies the database to that file, which must be empty, and answers with the
 * position reached. Blocks for the copy. 0 or -errno.
 */
int live_copy_answer(struct catalog *catalog, struct control_call *call,
		     struct error *err) MUST_CHECK;

/* Asks the daemon of dir for such a copy of database id to fd. 0 or -errno. */
int live_copy_request(const char *dir, const char *socket_dir, const struct id *id, int fd,
		      struct point *ret_point, struct error *err) MUST_CHECK;

/*
 * Copies the database to the empty file fd. served: clients may be writing, who
 * are waited for. 0; -EAGAIN: its content is not that of its position (changed
 * while it was not mounted, or a writer stays at it); -errno.
 */
int live_copy_make(struct database *db, int fd, bool served, struct point *ret_point,
		   struct error *err) MUST_CHECK;

#endif
