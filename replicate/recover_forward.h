/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_RECOVER_FORWARD_H
#define REPLICATE_RECOVER_FORWARD_H

#include "replicate/database_internal.h"

/*
 * After a power loss: when the database's content is that of an earlier
 * position of its log, brings it forward to the log's end by appending one
 * transaction to its -wal, as SQLite would have left it. Nobody may have the
 * database open; its mutex is held. 0; 1: there is nothing to do (the content
 * is at the log's end, or is that of no position since the last checkpoint);
 * -errno. After 0 ret_mark is where in the WAL the log's end stands now; after 1
 * it is as it was.
 */
int recover_forward(struct database *db, struct wal_mark *ret_mark, struct error *err) MUST_CHECK;

#endif
