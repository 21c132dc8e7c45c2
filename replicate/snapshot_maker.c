/* SPDX-License-Identifier: MIT */
#include "replicate/snapshot_maker.h"

#include "base/clock.h"
#include "replicate/page.h"
#include "replicate/snapshot.h"

#include <errno.h>
#include <inttypes.h>

/*
 * Which pages are in the parts in an old version is known from three things:
 *
 *   read_at[c]   the TXID at which chunk c was read in the first round
 *   reader       a cursor of the log; all records up to seen have been taken in
 *   dirty        a bit for each page that one of those records changed after
 *                the page was read
 *
 * A round takes the bits of all records so far, reads those pages anew (at some
 * position not before seen) and clears their bits. When few are left, capture is
 * held still: the last records are taken in, the last pages read, and the
 * position is that of all of them.
 *
 * States: FIRST (all pages, chunk by chunk) -> ROUNDS -> FINAL (stored and
 * done). Any change of page size or generation ends in -ESTALE.
 */

#define CHUNK_BYTES (1u << 20)	/* read under one hold of the database's lock */
#define MAX_ROUNDS 12u
#define PAUSE_BYTES (4u << 20)	/* read while capture is held still, at best … */
#define PAUSE_BYTES_MAX (32u << 20) /* … and in the last round */

enum state {
	STATE_FIRST,
	STATE_ROUNDS,
	STATE_DONE,
};

struct snapshot_maker {
	struct database *db;
	struct storage *storage;
	char *folder;
	enum state state;
	struct layout_snapshot name;
	struct snapshot_packer packer;
	struct txlog_reader reader;
	struct point at;	/* the position and extent of the last read */
	uint64_t seen;		/* records up to there are in dirty */
	uint32_t page_size;
	uint32_t next;		/* FIRST: the next page */
	uint64_t *read_at;	/* per chunk */
	size_t n_chunks;
	uint64_t *hashes;	/* of each page as it was read last */
	uint8_t *dirty;		/* a bit per page */
	uint32_t n_pages;	/* room in hashes and dirty */
	uint32_t n_dirty;
	unsigned round;
	uint32_t dirty_at;	/* ROUNDS: the round has come to that page; 0: it is over */
	uint8_t *pages;		/* CHUNK_BYTES */
	uint32_t *numbers;
	uint64_t bytes;		/* put */
	uint32_t n_parts;	/* put, or waiting to be */
	struct buf object;	/* a part that waits to be put; empty: none */
	bool final;		/* object is the final part */
};

void snapshot_maker_free(struct snapshot_maker *maker)
{
	if (maker == NULL)
		return;
	for (uint32_t part = 0; maker->state != STATE_DONE && part < maker->n_parts; part++) {
		struct layout_snapshot name = maker->name;
		char key[LAYOUT_KEY_SIZE];

		name.part = part;
		layout_snapshot_key(key, maker->folder, &name);
		/* What stays is without a final part, so it is no snapshot. */
		if (storage_remove(maker->storage, key, NULL) < 0)
			break;
	}
	txlog_reader_close(&maker->reader);
	snapshot_packer_done(&maker->packer);
	buf_done(&maker->object);
	database_unref(maker->db);
	free(maker->folder);
	free(maker->read_at);
	free(maker->hashes);
	free(maker->dirty);
	free(maker->pages);
	free(maker->numbers);
	free(maker);
}

static uint32_t chunk_pages(const struct snapshot_maker *maker)
{
	return CHUNK_BYTES / maker->page_size;
}

static int out_of_memory(struct error *err)
{
	return error_set(err, ENOMEM, "out of memory for a snapshot");
}

/* Makes room for n pages. */
static int reserve(struct snapshot_maker *maker, uint32_t n, struct error *err)
{
	size_t bytes = (size_t)n / 8 + 1;
	size_t before = (size_t)maker->n_pages / 8 + 1;
	uint64_t *hashes;
	uint8_t *dirty;

	if (n <= maker->n_pages && maker->hashes != NULL)
		return 0;
	hashes = reallocarray(maker->hashes, (size_t)n + 1, sizeof(*hashes));
	if (hashes == NULL)
		return out_of_memory(err);
	maker->hashes = hashes;
	memset(hashes + maker->n_pages, 0, ((size_t)n + 1 - maker->n_pages) * sizeof(*hashes));
	dirty = realloc(maker->dirty, bytes);
	if (dirty == NULL)
		return out_of_memory(err);
	if (maker->dirty == NULL)
		before = 0;
	maker->dirty = dirty;
	memset(dirty + before, 0, bytes - before);
	maker->n_pages = n;
	return 0;
}

/* ---------------------------------------------------------------------- what changed */

static bool is_dirty(const struct snapshot_maker *maker, uint32_t pgno)
{
	return (maker->dirty[pgno / 8] & 1u << pgno % 8) != 0;
}

static void set_dirty(struct snapshot_maker *maker, uint32_t pgno, bool dirty)
{
	if (is_dirty(maker, pgno) == dirty)
		return;
	maker->dirty[pgno / 8] ^= (uint8_t)(1u << pgno % 8);
	maker->n_dirty += dirty ? 1 : UINT32_MAX;
}

/* Whether page pgno was read in the first round not before transaction txid. */
static bool read_since(const struct snapshot_maker *maker, uint32_t pgno, uint64_t txid)
{
	size_t chunk = (pgno - 1) / chunk_pages(maker);

	return chunk < maker->n_chunks && maker->read_at[chunk] >= txid;
}

static int again(struct error *err, const char *why)
{
	error_set(err, ESTALE, "a snapshot has to be begun anew");
	return error_why(err, "%s", why);
}

/* Takes the record at hand in: pages that it changed after they were read. */
static int take_record(struct snapshot_maker *maker, struct error *err)
{
	struct record_reader *reader = &maker->reader.records;
	const struct record_header record = reader->header;
	struct record_entry entry;
	const uint8_t *data;
	int r;

	if (record.before.page_size != record.after.page_size)
		return again(err, "the page size changed");
	r = reserve(maker, record.after.n_pages, err);
	while (r == 0) {
		r = record_reader_entry(reader, &entry, &data, err);
		if (r == 0 && entry.encoding != RECORD_CUT &&
		    !read_since(maker, entry.pgno, record.txid))
			set_dirty(maker, entry.pgno, true);
	}
	if (r < 0)
		return r;
	maker->seen = record.txid;
	return 0;
}

/* Takes all published records in. */
static int take_records(struct snapshot_maker *maker, struct error *err)
{
	for (;;) {
		int r = txlog_reader_next(&maker->reader, err);

		if (r == 1)
			return 0;
		if (r == 2)
			return again(err, "a new generation began");
		if (r == 0)
			r = take_record(maker, err);
		if (r < 0)
			return r;
	}
}

/* --------------------------------------------------------------------- what is stored */

/* Puts the part that waits. 0; 1: it was the final one; -errno: it still waits. */
static int put_object(struct snapshot_maker *maker, struct error *err)
{
	struct layout_snapshot name = maker->name;
	char key[LAYOUT_KEY_SIZE];
	int r;

	name.part = maker->n_parts - 1;
	layout_snapshot_key(key, maker->folder, &name);
	r = storage_put(maker->storage, key, maker->object.data, maker->object.len, err);
	if (r < 0)
		return r;
	maker->bytes += maker->object.len;
	buf_reset(&maker->object);
	if (!maker->final)
		return 0;
	maker->state = STATE_DONE;
	return 1;
}

/* Makes a part of what was read, and puts it. As put_object(). */
static int put_part(struct snapshot_maker *maker, bool final, struct error *err)
{
	int r = snapshot_packer_seal(&maker->packer, final, &maker->at, clock_wall_us(),
				     &maker->object, err);

	if (r < 0)
		return r;
	maker->n_parts++;
	maker->final = final;
	return put_object(maker, err);
}

/* Keeps n pages that were read: they are the newest ones from now on. */
static int keep(struct snapshot_maker *maker, uint32_t first, uint32_t n, const uint8_t *pages,
		struct error *err)
{
	for (uint32_t i = 0; i < n; i++) {
		maker->hashes[first + i] = page_hash(
			first + i, pages + (size_t)i * maker->page_size, maker->page_size);
		set_dirty(maker, first + i, false);
	}
	return snapshot_packer_add(&maker->packer, first, n, pages, maker->page_size, err);
}

/*
 * Reads the pages first … (or numbers[]) and keeps those that exist. 0; 2: not
 * right now; -errno.
 */
static int read_pages(struct snapshot_maker *maker, uint32_t first, const uint32_t *numbers,
		      uint32_t n, struct error *err)
{
	struct extent extent;
	int r = database_read_exact(maker->db, NULL, first, numbers, n, maker->pages,
				    &maker->at.position, &extent, err);

	if (r != 0)
		return r;
	if (maker->at.position.generation != maker->name.generation)
		return again(err, "a new generation began");
	if (extent.page_size != maker->page_size)
		return again(err, "the page size changed");
	maker->at.extent = extent;
	r = reserve(maker, extent.n_pages, err);
	for (uint32_t i = 0; r == 0 && numbers != NULL && i < n; i++) {
		if (numbers[i] <= extent.n_pages)
			r = keep(maker, numbers[i], 1,
				 maker->pages + (size_t)i * maker->page_size, err);
		else
			set_dirty(maker, numbers[i], false);
	}
	if (r == 0 && numbers == NULL && first <= extent.n_pages)
		r = keep(maker, first, MIN(n, extent.n_pages - first + 1), maker->pages, err);
	return r;
}

/* ------------------------------------------------------------------- the first round */

static int first_chunk(struct snapshot_maker *maker, struct error *err)
{
	uint32_t n = MIN(chunk_pages(maker), maker->at.extent.n_pages - maker->next + 1);
	uint64_t *read_at;
	int r = read_pages(maker, maker->next, NULL, n, err);

	if (r != 0)
		return r;
	read_at = reallocarray(maker->read_at, maker->n_chunks + 1, sizeof(*read_at));
	if (read_at == NULL)
		return out_of_memory(err);
	maker->read_at = read_at;
	/* A chunk cut short by the end: what comes behind it was not read. */
	read_at[maker->n_chunks++] = n == chunk_pages(maker) ? maker->at.position.txid : 0;
	maker->next += n;
	return 0;
}

/* Chunks until a part is full or all are read. */
static int first_step(struct snapshot_maker *maker, struct error *err)
{
	while (maker->next <= maker->at.extent.n_pages) {
		int r = first_chunk(maker, err);

		if (r != 0)
			return r;
		if (snapshot_packer_full(&maker->packer))
			return put_part(maker, false, err);
	}
	maker->state = STATE_ROUNDS;
	return 0;
}

/* ----------------------------------------------------------------------- the rounds */

/*
 * Reads up to a chunk of dirty pages from dirty_at on. 0; 1: there are no more,
 * and dirty_at is 0; 2; -errno.
 */
static int read_dirty(struct snapshot_maker *maker, struct error *err)
{
	uint32_t n = 0;
	uint32_t pgno = maker->dirty_at;
	int r;

	for (; n < chunk_pages(maker) && pgno <= maker->n_pages; pgno++) {
		if (maker->dirty[pgno / 8] == 0)
			pgno |= 7; /* none in this byte */
		else if (is_dirty(maker, pgno))
			maker->numbers[n++] = pgno;
	}
	if (n == 0) {
		maker->dirty_at = 0;
		return 1;
	}
	r = read_pages(maker, 0, maker->numbers, n, err);
	if (r == 0)
		maker->dirty_at = pgno;
	return r;
}

/* Goes on with a round until a part is full or it is over. */
static int go_on(struct snapshot_maker *maker, struct error *err)
{
	for (;;) {
		int r = read_dirty(maker, err);

		if (r != 0)
			return r == 1 ? 0 : r;
		if (snapshot_packer_full(&maker->packer))
			return put_part(maker, false, err);
	}
}

/* The position must be that of what was read: the XOR of all hashes says. */
static int verify(struct snapshot_maker *maker, struct error *err)
{
	uint64_t checksum = 0;

	for (uint32_t pgno = 1; pgno <= maker->at.extent.n_pages; pgno++)
		checksum ^= maker->hashes[pgno];
	if (checksum == maker->at.position.checksum)
		return 0;
	return error_set(err, EBADMSG,
			 "a snapshot of transaction %" PRIu64 " does not have its checksum",
			 maker->at.position.txid);
}

/*
 * With capture held still: the last records, the last pages. 0; 1: they turned
 * out to be too many; 2; -errno.
 */
static int read_last(struct snapshot_maker *maker, uint64_t limit, struct error *err)
{
	int r = take_records(maker, err);

	if (r < 0)
		return r;
	if ((uint64_t)maker->n_dirty * maker->page_size > limit)
		return 1;
	maker->dirty_at = 1;
	while (r == 0)
		r = read_dirty(maker, err);
	maker->dirty_at = 0;
	if (r != 1)
		return r;
	maker->at.position =
		database_position(maker->db, &maker->at.extent, &maker->at.time_us);
	if (maker->at.position.txid != maker->seen)
		return again(err, "the log and the position differ");
	return verify(maker, err);
}

static int final_step(struct snapshot_maker *maker, uint64_t limit, struct error *err)
{
	int r;

	database_pause(maker->db);
	r = read_last(maker, limit, err);
	database_resume(maker->db);
	if (r != 0)
		return r == 1 ? 0 : r;
	/* What a backend holds must never be ahead of what the log has for sure. */
	r = database_sync_log(maker->db, err);
	return r < 0 ? r : put_part(maker, true, err);
}

/* Begins a round, or the last one when few pages are left. */
static int round_step(struct snapshot_maker *maker, struct error *err)
{
	uint64_t limit = maker->round == MAX_ROUNDS ? PAUSE_BYTES_MAX : PAUSE_BYTES;
	int r = take_records(maker, err);

	if (r < 0)
		return r;
	if ((uint64_t)maker->n_dirty * maker->page_size <= limit / 2) {
		r = final_step(maker, limit, err);
		if (r != 0)
			return r;
	}
	if (maker->round++ > MAX_ROUNDS)
		return again(err, "the database changes faster than it can be read");
	maker->dirty_at = 1;
	return go_on(maker, err);
}

int snapshot_maker_step(struct snapshot_maker *maker, struct error *err)
{
	if (maker->object.len != 0)
		return put_object(maker, err);
	if (maker->state == STATE_FIRST)
		return first_step(maker, err);
	return maker->dirty_at != 0 ? go_on(maker, err) : round_step(maker, err);
}

/* ----------------------------------------------------------------------------- making */

static int begin(struct snapshot_maker *maker, struct error *err)
{
	struct object_header *head = &maker->packer.head;
	const struct log_header *log_head = &maker->reader.head;
	uint64_t random;
	int r;

	maker->at.position =
		database_position(maker->db, &maker->at.extent, &maker->at.time_us);
	if (maker->at.position.generation == 0)
		return error_set(err, ESTALE, "the database has not been captured yet");
	r = txlog_reader_open(&maker->reader, database_log(maker->db), &maker->at.position, err);
	if (r > 0)
		return again(err, "the log does not hold the present position");
	if (r == 0)
		r = id_random_u64(&random, err);
	if (r < 0)
		return r;
	maker->name = (struct layout_snapshot){
		.txid = maker->at.position.txid,
		.generation = maker->at.position.generation,
		.random = (uint32_t)random,
	};
	maker->seen = maker->at.position.txid;
	maker->page_size = maker->at.extent.page_size;
	maker->next = 1;
	head->database_id = log_head->database_id;
	head->term = log_head->term;
	head->parent = log_head->parent;
	head->from = maker->at;
	if (maker->page_size == 0) {
		/* Empty: nothing to read, no page size to count by yet. */
		maker->state = STATE_ROUNDS;
		maker->page_size = PAGE_SIZE_MAX;
	}
	return reserve(maker, maker->at.extent.n_pages, err);
}

int snapshot_maker_new(struct database *db, const struct id *node_id, struct storage *storage,
		       const char *folder, struct snapshot_maker **ret_maker, struct error *err)
{
	struct snapshot_maker *maker = calloc(1, sizeof(*maker));
	int r = 0;

	if (maker == NULL)
		return out_of_memory(err);
	maker->reader.fd = -1;
	maker->db = database_ref(db);
	maker->packer.head.node_id = *node_id;
	maker->storage = storage;
	maker->folder = strdup(folder);
	maker->pages = malloc(CHUNK_BYTES);
	maker->numbers = calloc(CHUNK_BYTES / PAGE_SIZE_MIN, sizeof(*maker->numbers));
	if (maker->folder == NULL || maker->pages == NULL || maker->numbers == NULL)
		r = out_of_memory(err);
	if (r == 0)
		r = begin(maker, err);
	if (r < 0) {
		snapshot_maker_free(maker);
		return r;
	}
	*ret_maker = maker;
	return 0;
}

struct manifest_snapshot snapshot_maker_result(const struct snapshot_maker *maker)
{
	return (struct manifest_snapshot){
		.name = maker->name,
		.point = maker->at,
		.n_parts = maker->n_parts,
		.bytes = maker->bytes,
		.created_us = maker->packer.head.created_us,
	};
}

bool snapshot_maker_is_done(const struct snapshot_maker *maker)
{
	return maker->state == STATE_DONE;
}

bool snapshot_maker_waits(const struct snapshot_maker *maker)
{
	return maker->object.len != 0;
}

struct manifest_generation snapshot_maker_generation(const struct snapshot_maker *maker)
{
	return (struct manifest_generation){
		.generation = maker->name.generation,
		.parent = maker->packer.head.parent,
		.time_us = maker->packer.head.from.time_us,
	};
}

uint64_t snapshot_maker_needs(const struct snapshot_maker *maker)
{
	return maker->seen;
}

void snapshot_maker_progress(const struct snapshot_maker *maker, uint64_t *ret_done,
			     uint64_t *ret_total)
{
	*ret_done = maker->next - 1;
	*ret_total = maker->at.extent.n_pages;
}

uint64_t snapshot_maker_bytes(const struct snapshot_maker *maker)
{
	return maker->bytes;
}
