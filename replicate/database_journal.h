/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_DATABASE_JOURNAL_H
#define REPLICATE_DATABASE_JOURNAL_H

#include "replicate/database_internal.h"

/*
 * The rollback journal of a database while its transaction is under way, as far as
 * others than rollback.c look at it. All with the database's mutex held; all but
 * database_journal_hot() with the database loaded.
 */

/* Its descriptor, opened if the journal is there; or -1. It stays the database's. */
int database_journal_fd(struct database *db);
void database_journal_close(struct database *db);
/* Reads its first JOURNAL_HEADER_LEN bytes to head; false when it has not as many. */
bool database_journal_head(struct database *db, uint8_t *head);

/* What its header is; NONE too when it has none. */
enum journal_header_state database_journal_state(struct database *db);

/* Whether a journal is there that whoever opens the database next plays back. */
bool database_journal_hot(struct database *db);

/*
 * A client is about to open (or create) the journal: notes what X looks like by then,
 * for who opens it writable may begin a transaction in it.
 */
void database_journal_opening(struct database *db, bool writable);

/*
 * The journal, which is valid, is being synced: notes what X looks like. begins: so it
 * is for the first time in its transaction, before which that writes nothing to X.
 */
void database_journal_syncing(struct database *db, bool begins);

/*
 * Whether X was as it was captured when the transaction began whose journal is there.
 * Known since its first sync: what writes to X before that may have committed unseen.
 */
bool database_journal_began_quiet(struct database *db);

/*
 * While X is being synced: whether the journal, which is valid, is dropped as it is.
 * That is one of a commit of several databases, whose super-journal had gone before
 * its writer died: all is committed, and whoever reads next makes no other call to
 * end it where journals are kept. Playbacks write to X before that. A commit may not,
 * where all of it was written earlier; but who plays back has found the journal.
 */
bool database_journal_dropped(struct database *db);

/*
 * Whether the transaction that ends now is a commit that SQLite rolls back when the
 * end of its journal fails; not so a rollback, or the rest of a commit of several
 * databases.
 */
bool database_journal_refusable(struct database *db);

/*
 * Finds page pgno, whose hash at the position is hash, in the journal of a
 * transaction that is under way. 0; 1: it is not there, or the journal is large;
 * -errno.
 */
int database_journal_page(struct database *db, uint32_t pgno, uint64_t hash, uint8_t *page,
			  struct error *err) MUST_CHECK;

#endif
