/* SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "replicate/batch.h"
#include "replicate/page.h"

#include <errno.h>

/*
 * From frames of the WAL to records of the log: frames are read in stretches and
 * cut at commit frames; all records of a stretch are published at once. After a
 * failure the frames are simply read again.
 */

#define STRETCH_BYTES (1u << 20)
#define STRETCH_FRAMES 1024u

/*
 * A transaction larger than a stretch: collects its pages first, reads them
 * later. 1 = these are not the frames of whole transactions.
 */
static int capture_large(struct batch *batch, uint32_t target, struct error *err)
{
	struct database *db = batch->db;
	struct wal_span end = { .first = db->tail.now.captured + 1 };
	uint8_t *head = end.last_head;

	batch->n_frames = 0;
	for (uint32_t frame = db->tail.now.captured + 1; frame <= target && frame != 0; frame++) {
		struct wal_frame parsed;
		int r = wal_tail_read_head(&db->tail, frame, head, err);

		parsed = wal_frame_parse(head);
		if (r > 0 || parsed.pgno == 0)
			return 1;
		if (r == 0)
			r = batch_push(batch, &parsed, frame, NULL, err);
		if (r < 0)
			return r;
		if (frame == end.first)
			memcpy(end.first_head, head, WAL_FRAME_HEADER_LEN);
		if (parsed.n_pages == 0)
			continue;
		end.last = frame;
		r = batch_commit(batch, frame, head, err);
		return r < 0 ? r : batch_publish(batch, &end, err);
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

	batch->n_frames = 0;
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *head = bytes + i * frame_len;
		struct wal_frame frame = wal_frame_parse(head);
		int r = 0;

		if (frame.pgno == 0)
			return 1;
		if (batch->n_frames == 0)
			begin = i;
		if (batch->n_frames == 0 && first + i > 1 && is_padding(head, frame_len)) {
			done = i + 1;
			continue;
		}
		r = batch_push(batch, &frame, first + i, head + WAL_FRAME_HEADER_LEN, err);
		if (r == 0 && frame.n_pages != 0) {
			r = batch_commit(batch, first + i, head, err);
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
	return batch_publish(batch, &end, err);
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

	while (r == 0 && db->tail.now.captured < target)
		r = capture_some(&batch, target, bytes, err);
	if (r == 0)
		txlog_unreserve(&db->log);
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
	database_open_wal(db);
	if (db->tail.index_fd < 0 && db->n_open[DATABASE_SHM] != 0)
		db->tail.index_fd = MAX(database_open_file(db, DATABASE_SHM, O_RDONLY), -1);
}

/* A database whose pages have another size than its WAL's is a new image. */
static bool page_size_differs(const struct database *db)
{
	return db->log.extent.page_size != 0 && db->tail.page_size != 0 &&
	       db->log.extent.page_size != db->tail.page_size;
}

int capture_catch_up(struct database *db, struct error *err)
{
	bool unannounced = false;
	bool use_index;
	uint32_t target;
	int r;

	if (db->ended || !db->loaded)
		return 0;
	/* Commits behind the published end are of clients that died: those are never made. */
	if (db->wal_ends && db->tail.index_fd < 0)
		return 0;
	open_wal_files(db);
	use_index = database_index_trusted(db);
	if (db->log.position.generation == 0)
		return 0;
	r = database_continue_log(db, err);
	if (r < 0)
		return r;
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
	/* Without a WAL there was nothing to look at. */
	if (r < 0 || db->tail.page_size != 0)
		database_set_trouble(db, r < 0 ? err : NULL);
	return r < 0 ? r : 0;
}
