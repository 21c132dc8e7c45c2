/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "base/file.h"
#include "replicate/database_evidence.h"
#include "replicate/database_journal.h"
#include "replicate/page.h"
#include "replicate/pagelog.h"
#include "replicate/view.h"

#include <errno.h>

/*
 * Comparing everything: the heal-all for whatever went past the capture, and
 * the way a database is captured first.
 */

#define ATTEMPTS 5

/* Logs the page, unless nothing has changed. 1 = it moved on meanwhile. */
static int log_page(struct view *view, struct pagelog *pagelog, uint32_t pgno, struct error *err)
{
	const struct database *db = view->db;
	struct extent before = db->log.extent;
	bool same_size = before.page_size == view->extent.page_size;
	struct page_change change = {
		.pgno = pgno,
		.existed = before.page_size != 0 && (!same_size || pgno <= before.n_pages),
		.hash = view->hashes[pgno - 1],
		.page = view->page,
	};
	int r;

	if (change.existed && same_size) {
		change.hash_before = hashfile_get(&db->hashes, pgno);
		if (change.hash_before == change.hash)
			return 0;
	}
	r = view_read(view, pgno, err);
	return r != 0 ? r : pagelog_change(pagelog, &change, err);
}

/* Logs every page that differs. 1 = a page moved on meanwhile. */
static int log_differences(struct view *view, struct error *err)
{
	struct database *db = view->db;
	uint32_t lock_page = page_lock_number(view->extent.page_size);
	struct record_header header = {
		.kind = RECORD_MERGED,
		.time_us = clock_wall_us(),
		.after = view->extent,
		.mark = view_mark(view),
	};
	struct pagelog pagelog CLEANUP(pagelog_done) = { 0 };
	int r = pagelog_init(&pagelog, &db->log, err);

	pagelog.page_size = view->extent.page_size;
	txlog_begin(&db->log, &header);
	for (uint32_t pgno = 1; r == 0 && pgno <= view->extent.n_pages; pgno++) {
		if (pgno != lock_page)
			r = log_page(view, &pagelog, pgno, err);
	}
	if (view->extent.n_pages < db->log.extent.n_pages)
		pagelog.flags = 0; /* what was cut off is gone */
	if (r == 0)
		r = txlog_end(&db->log, pagelog.flags, view_checksum(view), err);
	if (r != 0)
		txlog_discard(&db->log);
	return r;
}

static bool view_differs(const struct view *view)
{
	const struct database *db = view->db;
	const struct extent *extent = &db->log.extent;

	if (extent->page_size != view->extent.page_size || extent->n_pages != view->extent.n_pages)
		return extent->n_pages != 0 || view->extent.n_pages != 0;
	for (uint32_t pgno = 1; pgno <= view->extent.n_pages; pgno++) {
		if (hashfile_get(&db->hashes, pgno) != view->hashes[pgno - 1])
			return true;
	}
	return false;
}

/*
 * The tail goes on behind what the view holds. Of the database file alone
 * nothing is known but that the frames captured so far are in it.
 */
static void adopt_end(struct view *view)
{
	struct wal_tail *tail = &view->db->tail;

	walmap_done(&tail->map);
	tail->map = view->map;
	view->map = (struct walmap){ 0 };
	tail->outside = view->outside || (view->main_only && tail->page_size != 0);
	if (!view->main_only)
		wal_tail_advance(tail, &view->end);
}

/* The view has become the position: hashes, map and tail follow. */
static void adopt_view(struct view *view)
{
	struct database *db = view->db;

	for (uint32_t pgno = 1; pgno <= view->extent.n_pages; pgno++)
		hashfile_set(&db->hashes, pgno, view->hashes[pgno - 1]);
	hashfile_set_position(&db->hashes, &db->log.position, db->log.extent);
	adopt_end(view);
	pagecache_done(&db->cache);
	db->suspect = false;
	db->lost = false;
}

/* A first capture, or one whose log cannot be continued: a generation of its own. */
static int begin_first(struct view *view, struct error *err)
{
	struct database *db = view->db;
	uint64_t txid = db->log.position.txid;
	struct wal_mark mark = view_mark(view);

	if (view->extent.n_pages == 0)
		view->extent.page_size = 0;
	else
		txid++;
	return database_begin_generation(db, txid, view_checksum(view), view->extent, &mark, err);
}

/* Publishes every page that differs as one record. 1 = a page moved on meanwhile. */
static int publish_differences(struct view *view, struct error *err)
{
	struct database *db = view->db;
	int r = log_differences(view, err);

	if (r == 0)
		r = txlog_flush(&db->log, err);
	if (r != 0)
		return r;
	db->n_merged++;
	database_changed(db);
	return 0;
}

static int log_view(struct view *view, struct error *err)
{
	struct database *db = view->db;
	struct position position = db->log.position;
	int r = hashfile_reserve(&db->hashes,
				 MAX(view->extent.n_pages, db->log.extent.n_pages), err);
	bool hashes_right;

	if (r < 0)
		return r;
	hashes_right = hashfile_checksum(&db->hashes, db->log.extent.n_pages) == position.checksum;
	if (position.generation == 0 || db->log.new_generation ||
	    (!hashes_right && view_checksum(view) != position.checksum)) {
		r = begin_first(view, err);
	} else if (hashes_right && view_differs(view)) {
		r = publish_differences(view, err);
	}
	if (r == 0)
		adopt_view(view);
	return r;
}

static int compare(struct database *db, bool main_only, struct error *err)
{
	struct view view CLEANUP(view_done) = { 0 };
	int r = view_init(&view, db, err);

	if (r < 0)
		return r;
	view.main_only = main_only;
	database_forget_written(db);
	r = 1;
	for (int i = 0; i < ATTEMPTS && r == 1 && !database_must_give_way(db); i++) {
		r = view_take(&view, err);
		if (r == 0)
			r = log_view(&view, err);
	}
	if (r != 0)
		db->written_complete = false;
	return r;
}

int compare_all(struct database *db, struct error *err)
{
	bool wal_in_use = db->tail.page_size != 0 && database_in_use(db);

	/* Whoever uses a WAL has played a journal back before. */
	if (!wal_in_use && database_journal_hot(db))
		return 1;
	return compare(db, false, err);
}

int compare_main(struct database *db, struct error *err)
{
	return compare(db, true, err);
}
