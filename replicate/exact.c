/* SPDX-License-Identifier: MIT */
#include "replicate/database_evidence.h"
#include "replicate/database_internal.h"
#include "replicate/database_journal.h"
#include "replicate/page.h"

#include <errno.h>

/*
 * Reads page pgno of the current position to page: zeros beyond the end. 0; 1 = the
 * right version is nowhere to be found; -errno.
 */
static int read_page(struct database *db, uint32_t pgno, uint8_t *page, struct error *err)
{
	struct extent extent = db->log.extent;
	const struct walmap_entry *entry = walmap_find(&db->tail.map, pgno);
	uint64_t hash;
	int r;

	if (pgno > extent.n_pages || pgno == page_lock_number(extent.page_size)) {
		memset(page, 0, extent.page_size);
		return 0;
	}
	if (entry != NULL && db->tail.fd >= 0) {
		r = wal_tail_read_page(&db->tail, entry->frame, page, err);
		if (r < 0)
			return r;
		if (r == 0 && page_hash(pgno, page, extent.page_size) == entry->hash)
			return 0;
	}
	r = database_read_main(db, extent.page_size, pgno, page, err);
	if (r < 0)
		return r;
	hash = hashfile_get(&db->hashes, pgno);
	if (page_hash(pgno, page, extent.page_size) == hash)
		return 0;
	/* A transaction is under way, whose journal has the page. */
	return db->tail.page_size == 0 ? database_journal_page(db, pgno, hash, page, err) : 1;
}

/* What is asked for: see database_read_exact(). */
struct request {
	const struct position *expect;
	uint32_t first;
	const uint32_t *numbers;
	uint32_t n;
	uint32_t page_size;
	uint8_t *pages;
};

static int read_pages(struct database *db, const struct request *request, struct error *err)
{
	for (uint32_t i = 0; i < request->n; i++) {
		uint32_t pgno = request->numbers != NULL ? request->numbers[i] : request->first + i;
		int r = read_page(db, pgno, request->pages + (size_t)i * request->page_size, err);

		if (r != 0)
			return r;
	}
	return 0;
}

/*
 * Follows what moved on unseen. With nobody about that is a comparison: there
 * is no other way to tell a change from a page hash that was damaged.
 */
static int follow(struct database *db, struct error *err)
{
	int r;

	if (database_in_use(db))
		return capture_catch_up(db, err);
	r = hashfile_mark_dirty(&db->hashes, err);
	db->suspect = true;
	return r < 0 ? r : database_settle(db, err);
}

static int read_locked(struct database *db, const struct request *request, struct error *err)
{
	for (int attempt = 0;; attempt++) {
		int r;

		if (request->expect != NULL && !position_equal(request->expect, &db->log.position))
			return 1;
		if (db->log.extent.page_size != request->page_size)
			return 1;
		r = read_pages(db, request, err);
		if (r <= 0)
			return r;
		/* A checkpoint we were not told of may be ahead: follow it once. */
		if (attempt > 0)
			return 2;
		r = follow(db, err);
		if (r < 0)
			return r;
	}
}

int database_read_exact(struct database *db, const struct position *expect, uint32_t first,
			const uint32_t *numbers, uint32_t n, uint32_t page_size, uint8_t *pages,
			struct position *ret_position, struct extent *ret_extent, struct error *err)
{
	struct request request = { expect, first, numbers, n, page_size, pages };
	int r;

	LOCK_SCOPE(&db->mutex);
	if (db->ended)
		return error_set(err, ENOENT, "the database is gone");
	r = database_load(db, err);
	if (r < 0)
		return r;
	if (db->log.position.generation == 0)
		r = 2;
	else
		r = read_locked(db, &request, err);
	*ret_position = db->log.position;
	if (ret_extent != NULL)
		*ret_extent = db->log.extent;
	if (!database_in_use(db))
		database_unload(db);
	return r;
}

void database_pause(struct database *db)
{
	pthread_mutex_lock(&db->mutex);
}

void database_resume(struct database *db)
{
	pthread_mutex_unlock(&db->mutex);
}
