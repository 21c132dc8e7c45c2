/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_DATABASE_EVIDENCE_H
#define REPLICATE_DATABASE_EVIDENCE_H

#include "replicate/database_internal.h"

/*
 * What shows whether a database was changed unseen: how its files look at rest, and
 * which writes to it were told of. All with the database's mutex held and, but for
 * database_note_coarse() and database_forget_written(), the database loaded.
 */

/* How the files of db, which is loaded, look now. 0 or -errno. */
int database_take_evidence(struct database *db, struct evidence *ret_evidence,
			   struct error *err) MUST_CHECK;

/* Notes how the files look now, at the position. 0 or -errno: nothing is noted then. */
int database_remember_evidence(struct database *db, struct error *err) MUST_CHECK;

/* Whether they still look so, and nothing else speaks against it. */
bool database_as_remembered(struct database *db);

/* How X looks now; false when that cannot be told. */
bool database_look_at_main(const struct database *db, struct main_look *ret_look);

/* Whether that is as X was remembered. */
bool database_main_as_remembered(const struct database *db, const struct main_look *look);

/*
 * Whether the WAL holds transactions that do not build on the position: nothing of
 * it was captured, and X, over which it was begun, is neither as evidence (NULL:
 * there is none) says nor has it the position's content. Reads all of X in that case.
 */
bool database_wal_foreign(const struct database *db, const struct evidence *evidence);

/* It commits in ways that no journal tells of: says so, once. */
void database_note_coarse(struct database *db);

/* All that was written so far is in the position, or about to be compared. */
void database_forget_written(struct database *db);

/*
 * Takes in what has become of a database that nobody is writing to, unless its files
 * look as they did when the position was last known to be theirs: what was written,
 * where all of that is known, else by comparing all pages; and remembers how they
 * look. 0; 1 = not possible now, as compare_all(); -errno. It is suspect after both.
 */
int database_settle(struct database *db, struct error *err) MUST_CHECK;

#endif
