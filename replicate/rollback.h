/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_ROLLBACK_H
#define REPLICATE_ROLLBACK_H

#include "replicate/database_internal.h"

/*
 * Transactions of rollback-journal mode. A transaction ends when its journal is
 * unlinked, emptied, or its header zeroed; the writer still holds its exclusive
 * lock then, the database is whole, and the journal still tells what was there.
 * A rolled-back transaction, or a hot journal that is played back, ends in the
 * same way with nothing changed.
 *
 * All with the database's mutex held and the database loaded.
 */

/*
 * Takes in the transaction that ends now. kept: the journal's first header from
 * before it was zeroed for that, or NULL. Compares all pages where the journal does not
 * tell. 0; or -errno: nothing was taken in, and the next call will.
 */
int rollback_commit(struct database *db, const uint8_t *kept, struct error *err) MUST_CHECK;

/* The same for one that ends without a journal, or with one that is not its own. */
int rollback_commit_unjournaled(struct database *db, struct error *err) MUST_CHECK;

/*
 * Takes in what the pages that were written since the last capture make of the
 * database, which must be whole, as one record of that kind. 0; 1: not all of
 * them are known; -errno.
 */
int rollback_written(struct database *db, enum record_kind kind, struct error *err) MUST_CHECK;

#endif
