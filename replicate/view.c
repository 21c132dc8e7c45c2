/* SPDX-License-Identifier: MIT */
#include "replicate/view.h"

#include "base/file.h"
#include "replicate/page.h"

#include <errno.h>

#define ATTEMPTS 8 /* with clients that restart the WAL meanwhile */

int view_init(struct view *view, struct database *db, struct error *err)
{
	*view = (struct view){
		.db = db,
		.page = malloc(PAGE_SIZE_MAX),
		.buffer = catalog_buffer_get(db->catalog),
	};
	if (view->page == NULL || view->buffer == NULL)
		return error_set(err, ENOMEM, "out of memory");
	return 0;
}

void view_done(struct view *view)
{
	free(view->hashes);
	free(view->page);
	if (view->buffer != NULL)
		catalog_buffer_put(view->db->catalog, view->buffer);
	walmap_done(&view->map);
}

/* What the database file itself says of its size; false when it is encrypted. */
static bool read_header(struct database *db, struct page_header *ret_header)
{
	uint8_t bytes[PAGE_HEADER_LEN];

	return file_pread(db->main_fd, bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes) &&
	       page_header_parse(bytes, ret_header);
}

/* A page size for a file whose header is encrypted: the usual ones, if they fit. */
static uint32_t guess_page_size(const struct database *db, uint64_t size)
{
	static const uint32_t usual[] = { 4096, 1024, 8192, 16384, 32768, 65536, 2048, 512 };

	if (page_size_valid(db->log.extent.page_size) && size % db->log.extent.page_size == 0)
		return db->log.extent.page_size;
	for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
		if (size % usual[i] == 0)
			return usual[i];
	}
	return 512;
}

/* Sets the view's extent as the database file alone has it. */
static int main_extent(struct view *view, struct error *err)
{
	struct database *db = view->db;
	struct page_header header;
	struct stat st;

	if (fstat(db->main_fd, &st) < 0)
		return error_set_errno(err, errno, "cannot stat the database");
	if (db->tail.page_size != 0)
		view->extent.page_size = db->tail.page_size;
	else if (read_header(db, &header))
		view->extent.page_size = header.page_size;
	else
		view->extent.page_size = guess_page_size(db, (uint64_t)st.st_size);
	view->n_main = ((uint64_t)st.st_size + view->extent.page_size - 1) / view->extent.page_size;
	if (view->n_main > PAGE_NUMBER_MAX)
		return error_set(err, EFBIG, "the file is larger than a database can be");
	view->extent.n_pages = (uint32_t)view->n_main;
	/* What says that it is larger than its file is damaged, to SQLite too. */
	if (read_header(db, &header) && header.page_size == view->extent.page_size &&
	    header.n_pages != 0)
		view->extent.n_pages = MIN(header.n_pages, view->extent.n_pages);
	return 0;
}

/* Makes the view n_pages long; those the file does not have are zero. */
static int set_n_pages(struct view *view, uint32_t n_pages, struct error *err)
{
	uint64_t *hashes = realloc(view->hashes, MAX((size_t)n_pages, (size_t)1) * sizeof(*hashes));

	if (hashes == NULL)
		return error_set(err, ENOMEM, "out of memory for the hashes of %u pages", n_pages);
	view->hashes = hashes;
	view->extent.n_pages = n_pages;
	memset(view->page, 0, view->extent.page_size);
	for (uint32_t pgno = view->n_hashed + 1; pgno <= n_pages; pgno++)
		hashes[pgno - 1] = page_hash(pgno, view->page, view->extent.page_size);
	return 0;
}

/*
 * Hashes the database file. With a WAL the size is only known at the end, so all
 * that the file has is hashed. 1: it had to give way.
 */
static int hash_main(struct view *view, struct error *err)
{
	uint8_t *buffer = view->buffer;
	uint32_t page_size = view->extent.page_size;
	bool all = view->db->tail.page_size != 0;
	uint32_t n_pages = all ? (uint32_t)view->n_main :
				 (uint32_t)MIN((uint64_t)view->extent.n_pages, view->n_main);
	uint32_t step = (1u << 20) / page_size;

	view->n_hashed = n_pages;
	if (set_n_pages(view, MAX(n_pages, view->extent.n_pages), err) < 0)
		return -err->code;
	for (uint64_t at = 1; at <= n_pages; at += step) {
		uint32_t first = (uint32_t)at;
		uint32_t n = MIN(step, n_pages - first + 1);
		ssize_t got;

		if (database_must_give_way(view->db))
			return 1;
		got = file_pread(view->db->main_fd, buffer, (size_t)n * page_size,
					 (off_t)(first - 1) * page_size);

		if (got < 0)
			return error_set_errno(err, (int)-got, "cannot read the database");
		memset(buffer + got, 0, (size_t)n * page_size - (size_t)got);
		for (uint32_t i = 0; i < n; i++)
			view->hashes[first + i - 1] =
				page_hash(first + i, buffer + (size_t)i * page_size, page_size);
		catalog_report_progress(view->db->catalog, view->db->name,
					(uint64_t)(first + n - 1) * page_size,
					view->n_main * page_size);
	}
	return 0;
}

/* Puts the frames up to target over the file's pages. 1 = the WAL is not as it was. */
static int overlay_wal(struct view *view, struct error *err)
{
	struct wal_tail *tail = &view->db->tail;
	struct wal_frame parsed = { .n_pages = 1 };

	view->outside = false;
	view->end = (struct wal_span){ .last = view->target };
	for (uint32_t frame = 1; frame <= view->target; frame++) {
		bool begins = parsed.n_pages != 0;
		int r = wal_tail_read_head(tail, frame, view->end.last_head, err);

		if (r == 0 && walmap_reserve(&view->map, 1) < 0)
			r = error_set(err, ENOMEM, "out of memory");
		if (r != 0)
			return r;
		parsed = wal_frame_parse(view->end.last_head);
		if (parsed.pgno == 0)
			return 1;
		if (begins) {
			view->end.first = frame;
			memcpy(view->end.first_head, view->end.last_head, WAL_FRAME_HEADER_LEN);
		}
		view->outside |= wal_tail_frame_outside(tail, &parsed);
		walmap_put(&view->map, parsed.pgno, frame, 0);
	}
	if (view->target == 0)
		return 0;
	if (parsed.n_pages == 0)
		return 1;
	if (database_check_size(view->db, parsed.n_pages, view->target, err) < 0)
		return -err->code;
	return set_n_pages(view, parsed.n_pages, err);
}

static int hash_frames(struct view *view, struct error *err)
{
	for (uint32_t i = 0; i < view->map.n_slots; i++) {
		struct walmap_entry *entry = &view->map.slots[i];
		int r;

		if (entry->pgno == 0)
			continue;
		r = wal_tail_read_page(&view->db->tail, entry->frame, view->page, err);
		if (r != 0)
			return r;
		entry->hash = page_hash(entry->pgno, view->page, view->extent.page_size);
		if (entry->pgno <= view->extent.n_pages)
			view->hashes[entry->pgno - 1] = entry->hash;
	}
	return 0;
}

static int take_main(struct view *view, struct error *err)
{
	int r = main_extent(view, err);
	uint32_t n_pages = view->extent.n_pages;

	view->target = 0;
	if (r == 0)
		r = hash_main(view, err);
	return r != 0 ? r : set_n_pages(view, n_pages, err);
}

/* Looks how far the WAL goes now. Whatever went past the capture is in the view. */
static int look(struct view *view, struct error *err)
{
	struct database *db = view->db;
	bool unannounced = false;
	int r = wal_tail_look(&db->tail, database_index_trusted(db), &view->target, &unannounced,
			      err);

	db->n_unannounced += unannounced;
	return r < 0 ? r : 0;
}

static int take_once(struct view *view, struct error *err)
{
	struct database *db = view->db;
	struct wal_tail_state before;
	int r = look(view, err);

	if (r < 0)
		return r;
	before = db->tail.now;
	walmap_clear(&view->map);
	r = main_extent(view, err);
	if (r == 0)
		r = hash_main(view, err);
	if (r != 0)
		return r;
	r = look(view, err);
	if (r < 0)
		return r;
	if (before.salt1 != db->tail.now.salt1 || before.salt2 != db->tail.now.salt2)
		return 1;
	r = overlay_wal(view, err);
	if (r == 0 && view->target == 0)
		r = main_extent(view, err);
	if (r == 0 && view->target == 0)
		r = set_n_pages(view, view->extent.n_pages, err);
	return r != 0 ? r : hash_frames(view, err);
}

int view_take(struct view *view, struct error *err)
{
	int r = 1;

	database_open_wal(view->db);
	for (int i = 0; i < ATTEMPTS && r == 1 && !database_must_give_way(view->db); i++)
		r = view->main_only ? take_main(view, err) : take_once(view, err);
	return r;
}

uint64_t view_checksum(const struct view *view)
{
	uint64_t checksum = 0;

	for (uint32_t i = 0; i < view->extent.n_pages; i++)
		checksum ^= view->hashes[i];
	return checksum;
}

struct wal_mark view_mark(const struct view *view)
{
	struct wal_frame frame = wal_frame_parse(view->end.last_head);

	if (view->main_only)
		return wal_tail_mark(&view->db->tail);
	if (view->target == 0)
		return (struct wal_mark){ 0 };
	return (struct wal_mark){
		.salt1 = view->db->tail.now.salt1,
		.salt2 = view->db->tail.now.salt2,
		.frame = view->target,
		.sum0 = frame.sum.s0,
		.sum1 = frame.sum.s1,
	};
}

int view_read(struct view *view, uint32_t pgno, struct error *err)
{
	const struct walmap_entry *entry = walmap_find(&view->map, pgno);
	uint32_t page_size = view->extent.page_size;
	int r;

	if (entry != NULL)
		r = wal_tail_read_page(&view->db->tail, entry->frame, view->page, err);
	else
		r = database_read_main(view->db, page_size, pgno, view->page, err);
	if (r == 0 && page_hash(pgno, view->page, page_size) != view->hashes[pgno - 1])
		r = 1;
	return r;
}
