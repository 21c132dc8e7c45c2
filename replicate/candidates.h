/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_CANDIDATES_H
#define REPLICATE_CANDIDATES_H

#include "replicate/database_internal.h"
#include "replicate/journal.h"

/*
 * Which pages a transaction can have changed. Where the daemon was told of every
 * write (the intercept road): those that were written. Else:
 *
 *  1. the pages in the journal;
 *  2. those beyond the size the database had before, which are not journaled: the
 *     smaller of the journal's figure and the size in the previous page 1, since
 *     the file is longer than that when a writer died before he cut it off;
 *  3. the leaves listed in the freelist trunk pages that are in the journal: a
 *     page taken from the freelist is not journaled, its trunk is.
 *
 * Those whose hash differs are the transaction. That holds if nothing was written
 * unseen between the last capture and its begin: the file must have been untouched
 * when the journal was opened or, for one that is kept open, synced first; and the
 * transaction must have begun with our page 1, where every commit leaves its mark but
 * those of a connection with exclusive locking: the journal's copy tells that, or the
 * file where the transaction has not journaled it. A kept journal also holds copies of
 * older transactions, which tell nothing. Otherwise all pages are compared.
 */

/* A page that may have changed, or of which the journal has the version before. */
struct candidate {
	uint32_t pgno;
	bool changed;	    /* set by who logs it, as is hash */
	uint64_t before_at; /* its offset in the journal, or 0 */
	uint64_t hash;	    /* when changed: the new one */
};

struct candidates {
	struct database *db;
	struct journal_reader journal;
	bool has_journal;
	struct written_range *ranges;
	size_t n_ranges;
	bool told; /* ranges are all that was written */
	struct extent before;
	struct extent after;	/* set by candidates_collect() */
	struct candidate *list; /* by page number */
	size_t n;
	size_t n_room;
	uint8_t *buffer;
};

/* Takes over what was written to db since the last capture. 0 or -errno; to be done with. */
int candidates_init(struct candidates *candidates, struct database *db,
		    struct error *err) MUST_CHECK;
void candidates_done(struct candidates *candidates);

/*
 * Finds the pages and the extent before and after the transaction. kept: the
 * journal's first header from before it was zeroed, or NULL. 0; 1: only a
 * comparison of all pages tells; -errno.
 */
int candidates_collect(struct candidates *candidates, const uint8_t *kept,
		       struct error *err) MUST_CHECK;

/* NULL when it is none. */
const struct candidate *candidates_find(const struct candidates *candidates, uint32_t pgno);

/* What was written counts again at the next capture; unless it is not all known. */
void candidates_put_back(struct candidates *candidates);

#endif
