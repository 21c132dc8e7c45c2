/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_VIEW_H
#define REPLICATE_VIEW_H

#include "replicate/database_internal.h"

/*
 * The current state of a database as a whole: the hash of every page, taken
 * without any lock. The state is the database file under the published frames
 * of the WAL: first the file is hashed, then the WAL up to where it is published
 * by then. A page without a frame up to there cannot have been touched by a
 * checkpoint meanwhile, so the two together are exactly the state at that frame;
 * unless the WAL was restarted in between, and then it is done again.
 *
 * Used by one thread, with the database's mutex held and the database loaded.
 */
struct view {
	struct database *db;	/* not owned */
	struct extent extent;
	uint64_t *hashes;	/* of pages 1 … extent.n_pages */
	uint64_t n_main;	/* pages in the database file */
	uint32_t n_hashed;	/* pages of it that hashes holds */
	bool main_only;		/* the database file alone is the state */
	uint32_t target;	/* frames of the WAL that count */
	struct wal_span end;	/* the transaction that ends in frame target */
	bool outside;		/* one of them is outside the checksum chain */
	struct walmap map;	/* the newest frame of each page in those */
	uint8_t *page;		/* room for a page, see view_read() */
	uint8_t *buffer;	/* scratch */
};

/* 0 or -ENOMEM; view_done() afterwards in any case. */
int view_init(struct view *view, struct database *db, struct error *err) MUST_CHECK;
void view_done(struct view *view);

/*
 * Takes the view, about a second a gigabyte. 0; 1 = it keeps moving, or others must not
 * wait so long (database_lock_hurried()); -errno.
 */
int view_take(struct view *view, struct error *err) MUST_CHECK;

/* Reads page pgno into view->page. 0; 1 = it is another than was hashed; -errno. */
int view_read(struct view *view, uint32_t pgno, struct error *err) MUST_CHECK;

/* XOR of all hashes. */
uint64_t view_checksum(const struct view *view);

/* Where in the WAL the view ends. */
struct wal_mark view_mark(const struct view *view);

#endif
