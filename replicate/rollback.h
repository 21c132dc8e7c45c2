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

/*
 * Whether the transaction that ends now is a commit that SQLite rolls back when the
 * end of its journal fails; not so a rollback, or the rest of a commit of several
 * databases.
 */
bool rollback_refusable(struct database *db);

/*
 * The same for one that ends without a journal, or with one that is not its own.
 */
int rollback_commit_unjournaled(struct database *db, struct error *err) MUST_CHECK;

/*
 * Takes in what the pages that were written since the last capture make of the
 * database, which must be whole, as one record of that kind. 0; 1: not all of
 * them are known; -errno.
 */
int rollback_written(struct database *db, enum record_kind kind, struct error *err) MUST_CHECK;

/*
 * Finds page pgno, whose hash at the position is hash, in the journal of a
 * transaction that is under way. 0; 1: it is not there, or the journal is large;
 * -errno.
 */
int rollback_read_before(struct database *db, uint32_t pgno, uint64_t hash, uint8_t *page,
			 struct error *err) MUST_CHECK;

/* Whether a journal is there that whoever opens the database next plays back. */
bool rollback_journal_hot(struct database *db);

/*
 * A client is about to open (or create) the journal, perhaps to begin a transaction
 * in it: notes what X looks like by then.
 */
void rollback_journal_opening(struct database *db);

/* A transaction begins now at the latest: whether X is as it was captured. */
void rollback_journal_note_quiet(struct database *db);

/* The journal's descriptor, opened if it is there; or -1. It stays the database's. */
int rollback_journal_fd(struct database *db);
/* Reads its first JOURNAL_HEADER_LEN bytes to head; false when it has not as many. */
bool rollback_journal_head(struct database *db, uint8_t *head);
void rollback_journal_close(struct database *db);

#endif
