/* SPDX-License-Identifier: MIT */
#include "replicate/batch.h"

#include "base/clock.h"
#include "base/file.h"
#include "replicate/page.h"

#include <errno.h>

void batch_done(struct batch *batch)
{
	walmap_done(&batch->pending);
	free(batch->page);
	free(batch->before);
	pagelog_done(&batch->pagelog);
	free(batch->frames);
}

int batch_init(struct batch *batch, struct database *db, struct error *err)
{
	*batch = (struct batch){
		.db = db,
		.extent = db->log.extent,
		.page = malloc(PAGE_SIZE_MAX),
		.before = malloc(PAGE_SIZE_MAX),
	};
	if (batch->page == NULL || batch->before == NULL)
		return error_set(err, ENOMEM, "out of memory");
	return pagelog_init(&batch->pagelog, &db->log, err);
}

/* The hash of pgno before the transaction at hand; it exists then. */
static uint64_t hash_before(const struct batch *batch, uint32_t pgno)
{
	const struct walmap_entry *entry = walmap_find(&batch->pending, pgno);

	return entry != NULL ? entry->hash : hashfile_get(&batch->db->hashes, pgno);
}

/* Reads a frame's page and checks that it is the version that hashes to hash. */
static bool read_frame(const struct batch *batch, uint32_t frame, uint32_t pgno, uint64_t hash,
		       uint8_t *page)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	const struct wal_tail *tail = &batch->db->tail;

	return wal_tail_read_page(tail, frame, page, &ignored) == 0 &&
	       page_hash(pgno, page, tail->page_size) == hash;
}

/*
 * The version of pgno before the transaction at hand: from the cache, an earlier
 * frame, or the database file; NULL when none of them has it any more.
 */
static const uint8_t *page_before(const struct batch *batch, uint32_t pgno)
{
	const struct database *db = batch->db;
	uint32_t page_size = batch->extent.page_size;
	const uint8_t *cached = pagecache_find(&db->cache, pgno);
	uint64_t hash = hash_before(batch, pgno);
	const struct walmap_entry *entry;

	if (cached != NULL)
		return cached;
	entry = walmap_find(&batch->pending, pgno);
	if (entry == NULL)
		entry = walmap_find(&db->tail.map, pgno);
	if (entry != NULL && read_frame(batch, entry->frame, pgno, hash, batch->before))
		return batch->before;
	if (file_pread(db->main_fd, batch->before, page_size, (off_t)(pgno - 1) * page_size) ==
		    (ssize_t)page_size &&
	    page_hash(pgno, batch->before, page_size) == hash)
		return batch->before;
	return NULL;
}

/* Logs that pgno becomes page. */
static int add_page(struct batch *batch, uint32_t pgno, uint32_t frame, const uint8_t *page,
		    struct error *err)
{
	struct database *db = batch->db;
	uint32_t page_size = db->tail.page_size;
	struct page_change change = {
		.pgno = pgno,
		.existed = pgno <= batch->extent.n_pages,
		.hash = page_hash(pgno, page, page_size),
		.page = page,
	};
	int r;

	if (change.existed) {
		change.hash_before = hash_before(batch, pgno);
		change.before = page_before(batch, pgno);
	}
	r = pagelog_change(&batch->pagelog, &change, err);
	if (r < 0)
		return r;
	if (walmap_reserve(&batch->pending, 1) < 0)
		return error_set(err, ENOMEM, "out of memory");
	walmap_put(&batch->pending, pgno, frame, change.hash);
	pagecache_put(&db->cache, page_size, pgno, page);
	return 0;
}

/* Logs the pages behind n_after, which the transaction cuts off. */
static int add_cut_pages(struct batch *batch, uint32_t n_after, struct error *err)
{
	uint32_t lock_page = page_lock_number(batch->extent.page_size);
	int r = 0;

	for (uint32_t pgno = n_after + 1; r == 0 && pgno <= batch->extent.n_pages; pgno++) {
		if (pgno != lock_page)
			r = pagelog_cut(&batch->pagelog, pgno, hash_before(batch, pgno),
					page_before(batch, pgno), err);
	}
	return r;
}

/*
 * A page that the database gains without a frame in the transaction (a freelist
 * leaf that was never written) is what SQLite would read there: its newest
 * frame, however old, else the database file, else zeros.
 */
static int add_unwritten_page(struct batch *batch, uint32_t pgno, struct error *err)
{
	struct database *db = batch->db;
	const struct walmap_entry *entry = walmap_find(&batch->pending, pgno);
	int r = 1;

	if (entry == NULL)
		entry = walmap_find(&db->tail.map, pgno);
	if (entry != NULL)
		r = wal_tail_read_page(&db->tail, entry->frame, batch->page, err);
	if (r > 0)
		r = database_read_main(db, db->tail.page_size, pgno, batch->page, err);
	if (r < 0)
		return r;
	return add_page(batch, pgno, entry != NULL ? entry->frame : 0, batch->page, err);
}

static int by_pgno(const void *a, const void *b)
{
	const struct batch_frame *x = a;
	const struct batch_frame *y = b;

	return (x->pgno > y->pgno) - (x->pgno < y->pgno);
}

/* Logs the pages that the transaction adds to the database and did not write. */
static int add_unwritten_pages(struct batch *batch, uint32_t n_after, struct error *err)
{
	uint32_t n_before = batch->extent.n_pages;
	uint32_t i = 0;

	if (n_after <= n_before)
		return 0;
	while (i < batch->n_frames && batch->frames[i].pgno <= n_before)
		i++;
	for (uint32_t pgno = n_before + 1; pgno <= n_after; pgno++) {
		int r;

		if (i < batch->n_frames && batch->frames[i].pgno == pgno) {
			i++;
			continue;
		}
		if (pgno == page_lock_number(batch->db->tail.page_size))
			continue;
		r = add_unwritten_page(batch, pgno, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * Frames spilled before a shrink may still carry pages that it cut off. They are
 * what such a page holds should the database grow again without writing it.
 */
static int note_cut_frame(struct batch *batch, const struct batch_frame *frame, struct error *err)
{
	if (walmap_reserve(&batch->pending, 1) < 0)
		return error_set(err, ENOMEM, "out of memory");
	walmap_put(&batch->pending, frame->pgno, frame->number, 0);
	return 0;
}

static int add_frames(struct batch *batch, uint32_t n_after, struct error *err)
{
	for (uint32_t i = 0; i < batch->n_frames; i++) {
		const struct batch_frame *frame = &batch->frames[i];
		const uint8_t *page = frame->page;
		int r;

		if (frame->pgno > n_after) {
			r = note_cut_frame(batch, frame, err);
			if (r < 0)
				return r;
			continue;
		}
		if (page == NULL) {
			page = batch->page;
			r = wal_tail_read_page(&batch->db->tail, frame->number, batch->page, err);
			if (r != 0)
				return r > 0 ? error_set(err, EIO, "the WAL is cut off") : r;
		}
		r = add_page(batch, frame->pgno, frame->number, page, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Logs the transaction at hand, which ends in frame with the header head. */
static int add_transaction(struct batch *batch, uint32_t frame, const uint8_t *head,
			   struct error *err)
{
	struct database *db = batch->db;
	struct wal_frame commit = wal_frame_parse(head);
	struct record_header header = {
		.kind = RECORD_COMMIT,
		.time_us = clock_wall_us(),
		.after = { db->tail.page_size, commit.n_pages },
		.mark = { db->tail.now.salt1, db->tail.now.salt2, frame, commit.sum.s0,
			  commit.sum.s1 },
	};
	int r = database_check_size(db, commit.n_pages, frame, err);

	if (r == 0)
		r = hashfile_reserve(&db->hashes, commit.n_pages, err);
	if (r < 0)
		return r;
	batch->pagelog.page_size = db->tail.page_size;
	batch->pagelog.flags = RECORD_UNDOABLE;
	if (batch->extent.page_size == 0)
		batch->extent.page_size = db->tail.page_size;
	qsort(batch->frames, batch->n_frames, sizeof(*batch->frames), by_pgno);
	txlog_begin(&db->log, &header);
	r = add_cut_pages(batch, commit.n_pages, err);
	if (r == 0)
		r = add_unwritten_pages(batch, commit.n_pages, err);
	if (r == 0)
		r = add_frames(batch, commit.n_pages, err);
	if (r == 0)
		r = txlog_end(&db->log, batch->pagelog.flags, batch->pagelog.checksum, err);
	batch->extent = header.after;
	batch->n_frames = 0;
	batch->n_transactions++;
	return r;
}

int batch_push(struct batch *batch, const struct wal_frame *head, uint32_t frame,
	       const uint8_t *page, struct error *err)
{
	batch->outside |= wal_tail_frame_outside(&batch->db->tail, head);
	if (batch->n_frames == batch->size_frames) {
		uint32_t size = MAX(2 * batch->size_frames, 64u);
		struct batch_frame *more = realloc(batch->frames, size * sizeof(*more));

		if (more == NULL)
			return error_set(err, ENOMEM, "out of memory");
		batch->frames = more;
		batch->size_frames = size;
	}
	batch->frames[batch->n_frames++] = (struct batch_frame){ head->pgno, frame, page };
	return 0;
}

/* Drops all but the newest version of each page in the transaction at hand. */
static int keep_newest(struct batch *batch, struct error *err)
{
	struct walmap newest = { 0 };
	uint32_t kept = 0;

	if (batch->n_frames <= 1)
		return 0;
	if (walmap_reserve(&newest, batch->n_frames) < 0)
		return error_set(err, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < batch->n_frames; i++)
		walmap_put(&newest, batch->frames[i].pgno, batch->frames[i].number, 0);
	for (uint32_t i = 0; i < batch->n_frames; i++) {
		struct batch_frame frame = batch->frames[i];

		if (walmap_find(&newest, frame.pgno)->frame == frame.number)
			batch->frames[kept++] = frame;
	}
	batch->n_frames = kept;
	walmap_done(&newest);
	return 0;
}

int batch_commit(struct batch *batch, uint32_t frame, const uint8_t *head, struct error *err)
{
	int r = keep_newest(batch, err);

	return r < 0 ? r : add_transaction(batch, frame, head, err);
}

int batch_publish(struct batch *batch, const struct wal_span *end, struct error *err)
{
	struct database *db = batch->db;
	int r;

	if (walmap_reserve(&db->tail.map, batch->pending.n_used) < 0)
		return error_set(err, ENOMEM, "out of memory");
	r = txlog_flush(&db->log, err);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < batch->pending.n_slots; i++) {
		const struct walmap_entry *entry = &batch->pending.slots[i];

		if (entry->pgno == 0)
			continue;
		if (entry->pgno <= db->log.extent.n_pages)
			hashfile_set(&db->hashes, entry->pgno, entry->hash);
		if (entry->frame != 0)
			walmap_put(&db->tail.map, entry->pgno, entry->frame, entry->hash);
	}
	hashfile_set_position(&db->hashes, &db->log.position, db->log.extent);
	wal_tail_advance(&db->tail, end);
	db->tail.outside |= batch->outside;
	if (batch->n_transactions != 0)
		database_changed(db);
	db->n_transactions += batch->n_transactions;
	batch->n_transactions = 0;
	walmap_clear(&batch->pending);
	return 0;
}
