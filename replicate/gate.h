/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_GATE_H
#define REPLICATE_GATE_H

#include "replicate/database_internal.h"

/*
 * Where a commit can still be refused. Up to the reply to the write that
 * completes it nothing has been committed: ENOSPC there makes SQLite roll back,
 * and recovery cannot bring back what never reached the file. So room in the log
 * is taken there.
 *
 * All with the database's mutex held.
 */

/*
 * Before len bytes at off of the -wal of db, which is loaded, are written: takes room
 * in the log when they may complete a commit. 0 or -ENOSPC.
 */
int gate_wal_write(struct database *db, uint64_t off, uint64_t len, struct error *err) MUST_CHECK;

/*
 * Takes room in the log for a transaction of that many bytes of pages; what the
 * retention may drop goes first when there is none. 0 or -ENOSPC; where room
 * cannot be taken for another reason the commit is not refused for it.
 */
int gate_reserve(struct database *db, uint64_t len, struct error *err) MUST_CHECK;

#endif
