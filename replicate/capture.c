/* SPDX-License-Identifier: MIT */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "replicate/database_internal.h"
#include "replicate/delta.h"
#include "replicate/page.h"

#include <errno.h>

/*
 * From frames of the WAL to records of the log. Frames are read in stretches,
 * cut at commit frames, and each commit becomes one record: every page once, in
 * its last version, as the difference to its version before. All records of a
 * stretch are published with one write; only then do page hashes, map and tail
 * move on, so that a failure (log full) leaves everything as it was, and the
 * frames are simply read again.
 */

#define STRETCH_BYTES (1u << 20)
#define STRETCH_FRAMES 1024u

/* A page that a transaction wrote. */
struct change {
	uint32_t pgno;
	uint32_t frame;
	const uint8_t *page; /* in the stretch's buffer; NULL: read it from the frame */
};

/* What a stretch has changed but not yet published. */
struct batch {
	struct database *db;
	struct walmap pending; /* pgno -> newest frame and hash */
	struct extent extent;  /* after the records so far */
	uint64_t checksum;
	uint64_t n_transactions;
	bool outside;	/* a frame of it is outside the checksum chain */
	uint8_t *page;	/* scratch: a page read back */
	uint8_t *before;
	uint8_t *delta;
	struct change *changes; /* of the transaction at hand */
	uint32_t n_changes;
	uint32_t size_changes;
};

static void batch_done(struct batch *batch)
{
	walmap_done(&batch->pending);
	free(batch->page);
	free(batch->before);
	free(batch->delta);
	free(batch->changes);
}

static int batch_init(struct batch *batch, struct database *db, struct error *err)
{
	*batch = (struct batch){
		.db = db,
		.extent = db->log.extent,
		.checksum = db->log.position.checksum,
		.page = malloc(PAGE_SIZE_MAX),
		.before = malloc(PAGE_SIZE_MAX),
		.delta = malloc(delta_max_len(PAGE_SIZE_MAX)),
	};
	if (batch->page == NULL || batch->before == NULL || batch->delta == NULL)
		return error_set(err, ENOMEM, "out of memory");
	return 0;
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

/* Logs that pgno becomes page; flags is what is left of the record's flags. */
static int add_page(struct batch *batch, uint32_t pgno, uint32_t frame, const uint8_t *page,
		    uint32_t *flags, struct error *err)
{
	struct database *db = batch->db;
	uint32_t page_size = db->tail.page_size;
	bool existed = pgno <= batch->extent.n_pages;
	const uint8_t *before = existed ? page_before(batch, pgno) : NULL;
	struct record_entry entry = {
		.pgno = pgno,
		.encoding = RECORD_XOR,
		.hash = page_hash(pgno, page, page_size),
	};
	const uint8_t *data = batch->delta;
	int r = 0;

	if (existed)
		batch->checksum ^= hash_before(batch, pgno);
	batch->checksum ^= entry.hash;
	if (existed && before == NULL) {
		entry.encoding = RECORD_WHOLE;
		entry.data_len = page_size;
		data = page;
		*flags &= ~(uint32_t)RECORD_UNDOABLE;
	} else {
		entry.data_len = (uint32_t)delta_encode(before, page, page_size, batch->delta);
	}
	if (entry.data_len != 0 || !existed)
		r = txlog_add(&db->log, &entry, data, err);
	if (r < 0)
		return r;
	if (walmap_reserve(&batch->pending, 1) < 0)
		return error_set(err, ENOMEM, "out of memory");
	walmap_put(&batch->pending, pgno, frame, entry.hash);
	pagecache_put(&db->cache, page_size, pgno, page);
	return 0;
}

/* Logs the pages behind n_after, which the transaction cuts off. */
static int add_cut_pages(struct batch *batch, uint32_t n_after, uint32_t *flags, struct error *err)
{
	uint32_t page_size = batch->extent.page_size;

	for (uint32_t pgno = n_after + 1; pgno <= batch->extent.n_pages; pgno++) {
		struct record_entry entry = {
			.pgno = pgno,
			.encoding = RECORD_CUT,
			.hash = hash_before(batch, pgno),
		};
		const uint8_t *before;
		int r;

		if (pgno == page_lock_number(page_size))
			continue;
		batch->checksum ^= entry.hash;
		before = page_before(batch, pgno);
		if (before == NULL) {
			*flags &= ~(uint32_t)RECORD_UNDOABLE;
			continue;
		}
		entry.data_len = (uint32_t)delta_encode(NULL, before, page_size, batch->delta);
		r = txlog_add(&batch->db->log, &entry, batch->delta, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * A page that the database gains without a frame in the transaction (a freelist
 * leaf that was never written) is what SQLite would read there: its newest
 * frame, however old, else the database file, else zeros.
 */
static int add_unwritten_page(struct batch *batch, uint32_t pgno, uint32_t *flags,
			      struct error *err)
{
	struct database *db = batch->db;
	uint32_t page_size = db->tail.page_size;
	const struct walmap_entry *entry = walmap_find(&batch->pending, pgno);
	ssize_t n = 0;
	int r = 1;

	if (entry == NULL)
		entry = walmap_find(&db->tail.map, pgno);
	if (entry != NULL)
		r = wal_tail_read_page(&db->tail, entry->frame, batch->page, err);
	if (r > 0) {
		n = file_pread(db->main_fd, batch->page, page_size, (off_t)(pgno - 1) * page_size);
		r = n < 0 ? error_set_errno(err, (int)-n, "cannot read the database") : 0;
		if (r == 0)
			memset(batch->page + n, 0, page_size - (size_t)n);
	}
	if (r < 0)
		return r;
	return add_page(batch, pgno, entry != NULL ? entry->frame : 0, batch->page, flags, err);
}

static int by_pgno(const void *a, const void *b)
{
	const struct change *x = a;
	const struct change *y = b;

	return (x->pgno > y->pgno) - (x->pgno < y->pgno);
}

/* Logs the pages that the transaction adds to the database and did not write. */
static int add_unwritten_pages(struct batch *batch, uint32_t n_after, uint32_t *flags,
			       struct error *err)
{
	uint32_t n_before = batch->extent.n_pages;
	uint32_t i = 0;

	if (n_after <= n_before)
		return 0;
	while (i < batch->n_changes && batch->changes[i].pgno <= n_before)
		i++;
	for (uint32_t pgno = n_before + 1; pgno <= n_after; pgno++) {
		int r;

		if (i < batch->n_changes && batch->changes[i].pgno == pgno) {
			i++;
			continue;
		}
		if (pgno == page_lock_number(batch->db->tail.page_size))
			continue;
		r = add_unwritten_page(batch, pgno, flags, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * Frames spilled before a shrink may still carry pages that it cut off. They are
 * what such a page holds should the database grow again without writing it.
 */
static int note_cut_frame(struct batch *batch, const struct change *change, struct error *err)
{
	if (walmap_reserve(&batch->pending, 1) < 0)
		return error_set(err, ENOMEM, "out of memory");
	walmap_put(&batch->pending, change->pgno, change->frame, 0);
	return 0;
}

static int add_changes(struct batch *batch, uint32_t n_after, uint32_t *flags, struct error *err)
{
	for (uint32_t i = 0; i < batch->n_changes; i++) {
		const struct change *change = &batch->changes[i];
		const uint8_t *page = change->page;
		int r;

		if (change->pgno > n_after) {
			r = note_cut_frame(batch, change, err);
			if (r < 0)
				return r;
			continue;
		}
		if (page == NULL) {
			page = batch->page;
			r = wal_tail_read_page(&batch->db->tail, change->frame, batch->page, err);
			if (r != 0)
				return r > 0 ? error_set(err, EIO, "the WAL is cut off") : r;
		}
		r = add_page(batch, change->pgno, change->frame, page, flags, err);
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
	uint32_t flags = RECORD_UNDOABLE;
	int r = hashfile_reserve(&db->hashes, commit.n_pages, err);

	if (r < 0)
		return r;
	if (batch->extent.page_size == 0)
		batch->extent.page_size = db->tail.page_size;
	qsort(batch->changes, batch->n_changes, sizeof(*batch->changes), by_pgno);
	txlog_begin(&db->log, &header);
	r = add_cut_pages(batch, commit.n_pages, &flags, err);
	if (r == 0)
		r = add_unwritten_pages(batch, commit.n_pages, &flags, err);
	if (r == 0)
		r = add_changes(batch, commit.n_pages, &flags, err);
	if (r == 0)
		r = txlog_end(&db->log, flags, batch->checksum, err);
	batch->extent = header.after;
	batch->n_changes = 0;
	batch->n_transactions++;
	return r;
}

static int push_change(struct batch *batch, const struct wal_frame *head, uint32_t frame,
		       const uint8_t *page, struct error *err)
{
	batch->outside |= wal_tail_frame_outside(&batch->db->tail, head);
	if (batch->n_changes == batch->size_changes) {
		uint32_t size = MAX(2 * batch->size_changes, 64u);
		struct change *more = realloc(batch->changes, size * sizeof(*more));

		if (more == NULL)
			return error_set(err, ENOMEM, "out of memory");
		batch->changes = more;
		batch->size_changes = size;
	}
	batch->changes[batch->n_changes++] = (struct change){ head->pgno, frame, page };
	return 0;
}

/* Drops all but the newest version of each page in the transaction at hand. */
static int keep_newest(struct batch *batch, struct error *err)
{
	struct walmap newest = { 0 };
	uint32_t kept = 0;

	if (batch->n_changes <= 1)
		return 0;
	if (walmap_reserve(&newest, batch->n_changes) < 0)
		return error_set(err, ENOMEM, "out of memory");
	for (uint32_t i = 0; i < batch->n_changes; i++)
		walmap_put(&newest, batch->changes[i].pgno, batch->changes[i].frame, 0);
	for (uint32_t i = 0; i < batch->n_changes; i++) {
		struct change change = batch->changes[i];

		if (walmap_find(&newest, change.pgno)->frame == change.frame)
			batch->changes[kept++] = change;
	}
	batch->n_changes = kept;
	walmap_done(&newest);
	return 0;
}

/* Publishes what the batch logged; the log, hashes, map and tail move on to end. */
static int publish(struct batch *batch, const struct wal_span *end, struct error *err)
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
	db->n_transactions += batch->n_transactions;
	batch->n_transactions = 0;
	walmap_clear(&batch->pending);
	return 0;
}

/*
 * A transaction larger than a stretch: collects its pages first, reads them
 * later. 1 = these are not the frames of whole transactions.
 */
static int capture_large(struct batch *batch, uint32_t target, struct error *err)
{
	struct database *db = batch->db;
	struct wal_span end = { .first = db->tail.now.captured + 1 };
	uint8_t *head = end.last_head;

	batch->n_changes = 0;
	for (uint32_t frame = db->tail.now.captured + 1; frame <= target && frame != 0; frame++) {
		struct wal_frame parsed;
		int r = wal_tail_read_head(&db->tail, frame, head, err);

		parsed = wal_frame_parse(head);
		if (r > 0 || parsed.pgno == 0)
			return 1;
		if (r == 0)
			r = push_change(batch, &parsed, frame, NULL, err);
		if (r < 0)
			return r;
		if (frame == end.first)
			memcpy(end.first_head, head, WAL_FRAME_HEADER_LEN);
		if (parsed.n_pages == 0)
			continue;
		end.last = frame;
		r = keep_newest(batch, err);
		if (r == 0)
			r = add_transaction(batch, frame, head, err);
		return r < 0 ? r : publish(batch, &end, err);
	}
	return 1;
}

/*
 * Whether the frame at bytes only repeats the commit frame before it: so SQLite
 * fills a sector where overwriting its rest is not safe.
 */
static bool is_padding(const uint8_t *bytes, size_t frame_len)
{
	struct wal_frame before = wal_frame_parse(bytes - frame_len);
	struct wal_frame frame = wal_frame_parse(bytes);

	return frame.n_pages != 0 && before.pgno == frame.pgno && before.n_pages == frame.n_pages &&
	       memcmp(bytes - frame_len + WAL_FRAME_HEADER_LEN, bytes + WAL_FRAME_HEADER_LEN,
		      frame_len - WAL_FRAME_HEADER_LEN) == 0;
}

/*
 * Takes in the whole transactions among the n frames at bytes, which begin with
 * frame first; the one before is there too if there is one. 0; 1 = a frame among
 * them is none; 2 = no transaction ends here.
 */
static int capture_stretch(struct batch *batch, uint32_t first, uint32_t n, const uint8_t *bytes,
			   struct error *err)
{
	size_t frame_len = WAL_FRAME_HEADER_LEN + batch->db->tail.page_size;
	struct wal_span end = batch->db->tail.now.end;
	uint32_t begin = 0;
	uint32_t done = 0;

	batch->n_changes = 0;
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *head = bytes + i * frame_len;
		struct wal_frame frame = wal_frame_parse(head);
		int r = 0;

		if (frame.pgno == 0)
			return 1;
		if (batch->n_changes == 0)
			begin = i;
		if (batch->n_changes == 0 && first + i > 1 && is_padding(head, frame_len)) {
			done = i + 1;
			continue;
		}
		r = push_change(batch, &frame, first + i, head + WAL_FRAME_HEADER_LEN, err);
		if (r == 0 && frame.n_pages != 0) {
			r = keep_newest(batch, err);
			if (r == 0)
				r = add_transaction(batch, first + i, head, err);
			done = i + 1;
			end.first = first + begin;
			memcpy(end.first_head, bytes + begin * frame_len, WAL_FRAME_HEADER_LEN);
		}
		if (r < 0)
			return r;
	}
	if (done == 0)
		return 2;
	end.last = first + done - 1;
	memcpy(end.last_head, bytes + (done - 1) * frame_len, WAL_FRAME_HEADER_LEN);
	return publish(batch, &end, err);
}

/* Whether the frame before the stretch is still the one that was captured. */
static bool last_frame_kept(struct database *db, const uint8_t *frame)
{
	struct wal_frame head = wal_frame_parse(frame);
	const struct walmap_entry *entry = walmap_find(&db->tail.map, head.pgno);

	return memcmp(frame, db->tail.now.end.last_head, WAL_FRAME_HEADER_LEN) == 0 &&
	       (entry == NULL || entry->frame != db->tail.now.captured ||
		page_hash(head.pgno, frame + WAL_FRAME_HEADER_LEN, db->tail.page_size) ==
			entry->hash);
}

/* Reads a stretch behind what is captured, and takes it in. 1 = suspect. */
static int capture_some(struct batch *batch, uint32_t target, uint8_t *bytes, struct error *err)
{
	struct database *db = batch->db;
	uint32_t captured = db->tail.now.captured;
	size_t frame_len = WAL_FRAME_HEADER_LEN + db->tail.page_size;
	uint32_t most = MIN(STRETCH_FRAMES, (uint32_t)(STRETCH_BYTES / frame_len) + 1);
	uint32_t n = MIN(target - captured, most);
	uint32_t lead = captured != 0 ? 1 : 0;
	size_t len = (n + lead) * frame_len;
	ssize_t got = file_pread(db->tail.fd, bytes, len,
				 (off_t)wal_frame_offset(db->tail.page_size, captured + 1 - lead));
	int r;

	if (got < 0)
		return error_set_errno(err, (int)-got, "cannot read the WAL");
	if ((size_t)got < len)
		return 1;
	if (lead != 0 && !last_frame_kept(db, bytes))
		return 1;
	r = capture_stretch(batch, captured + 1, n, bytes + lead * frame_len, err);
	if (r == 2)
		r = capture_large(batch, target, err);
	return r;
}

static int capture_frames(struct database *db, uint32_t target, struct error *err)
{
	struct batch batch CLEANUP(batch_done) = { 0 };
	uint8_t *bytes = catalog_buffer_get(db->catalog);
	int r = bytes != NULL ? batch_init(&batch, db, err) :
				error_set(err, ENOMEM, "out of memory");

	while (r == 0 && db->tail.now.captured < target) {
		batch.extent = db->log.extent;
		batch.checksum = db->log.position.checksum;
		r = capture_some(&batch, target, bytes, err);
	}
	if (r != 0) {
		/* The cache may be ahead of the position now. */
		txlog_discard(&db->log);
		pagecache_done(&db->cache);
	}
	catalog_buffer_put(db->catalog, bytes);
	return r;
}

static void open_wal_files(struct database *db)
{
	if (db->tail.fd < 0)
		db->tail.fd = database_open_file(db, DATABASE_WAL, O_RDONLY);
	if (db->tail.fd < 0)
		db->tail.fd = -1;
	if (db->tail.index_fd < 0 && db->n_open[DATABASE_SHM] != 0)
		db->tail.index_fd = database_open_file(db, DATABASE_SHM, O_RDONLY);
	if (db->tail.index_fd < 0)
		db->tail.index_fd = -1;
}

/* A database whose pages have another size than its WAL's is a new image. */
static bool page_size_differs(const struct database *db)
{
	return db->log.extent.page_size != 0 && db->tail.page_size != 0 &&
	       db->log.extent.page_size != db->tail.page_size;
}

int capture_catch_up(struct database *db, struct error *err)
{
	uint64_t n_before = db->n_transactions + db->n_merged;
	bool unannounced = false;
	bool use_index;
	uint32_t target;
	int r;

	if (db->ended || !db->loaded)
		return 0;
	open_wal_files(db);
	use_index = database_index_trusted(db);
	if (db->log.position.generation == 0)
		return 0;
	if (db->log.new_generation) {
		r = database_begin_generation(db, db->log.position.txid, db->log.position.checksum,
					      db->log.extent, &db->log.mark, err);
		if (r < 0)
			return r;
	}
	r = wal_tail_look(&db->tail, use_index, &target, &unannounced, err);
	if (unannounced)
		db->n_unannounced++;
	if (r >= 0 && db->lost && db->tail.page_size != 0)
		r = TAIL_SUSPECT;
	if (r == TAIL_FRAMES && page_size_differs(db))
		r = TAIL_SUSPECT;
	if (r == TAIL_FRAMES) {
		r = capture_frames(db, target, err);
		if (r == 1)
			r = TAIL_SUSPECT;
	}
	if (r == TAIL_SUSPECT) {
		if (!db->lost)
			log_warn("database=%s comparing all pages: the WAL changed behind the %s",
				 db->name, unannounced ? "capture (restart without a barrier)" :
							 "capture");
		db->lost = true; /* until a comparison has succeeded */
		r = compare_all(db, err);
		if (r > 0)
			r = error_set(err, EAGAIN, "the database keeps changing under a comparison");
	}
	database_set_trouble(db, r < 0 ? err : NULL);
	if (db->n_transactions + db->n_merged != n_before)
		database_changed(db);
	return r < 0 ? r : 0;
}
