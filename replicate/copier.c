/* SPDX-License-Identifier: MIT */
#include "replicate/copier.h"

#include "replicate/page.h"
#include "replicate/txlog.h"

#include <errno.h>
#include <inttypes.h>

/*
 * Which pages the sink has in an old version is known from three things:
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
 * States: FIRST (all pages, chunk by chunk) -> ROUNDS -> DONE. Any change of page
 * size or generation ends in -ESTALE.
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

struct copier {
	struct database *db;
	struct copier_sink sink;
	enum state state;
	struct txlog_reader reader;
	struct point begin;	/* where it began */
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
};

static uint32_t chunk_pages(const struct copier *copier)
{
	return CHUNK_BYTES / copier->page_size;
}

static int out_of_memory(struct error *err)
{
	return error_set(err, ENOMEM, "out of memory for a copy");
}

/* Makes room for n pages. */
static int reserve(struct copier *copier, uint32_t n, struct error *err)
{
	size_t bytes = (size_t)n / 8 + 1;
	size_t before = (size_t)copier->n_pages / 8 + 1;
	uint64_t *hashes;
	uint8_t *dirty;

	if (n <= copier->n_pages && copier->hashes != NULL)
		return 0;
	hashes = reallocarray(copier->hashes, (size_t)n + 1, sizeof(*hashes));
	if (hashes == NULL)
		return out_of_memory(err);
	copier->hashes = hashes;
	memset(hashes + copier->n_pages, 0, ((size_t)n + 1 - copier->n_pages) * sizeof(*hashes));
	dirty = realloc(copier->dirty, bytes);
	if (dirty == NULL)
		return out_of_memory(err);
	if (copier->dirty == NULL)
		before = 0;
	copier->dirty = dirty;
	memset(dirty + before, 0, bytes - before);
	copier->n_pages = n;
	return 0;
}

/* ---------------------------------------------------------------------- what changed */

static bool is_dirty(const struct copier *copier, uint32_t pgno)
{
	return (copier->dirty[pgno / 8] & 1u << pgno % 8) != 0;
}

static void set_dirty(struct copier *copier, uint32_t pgno, bool dirty)
{
	if (is_dirty(copier, pgno) == dirty)
		return;
	copier->dirty[pgno / 8] ^= (uint8_t)(1u << pgno % 8);
	copier->n_dirty += dirty ? 1 : UINT32_MAX;
}

/* Whether page pgno was read in the first round not before transaction txid. */
static bool read_since(const struct copier *copier, uint32_t pgno, uint64_t txid)
{
	size_t chunk = (pgno - 1) / chunk_pages(copier);

	return chunk < copier->n_chunks && copier->read_at[chunk] >= txid;
}

static int again(struct error *err, const char *why)
{
	error_set(err, ESTALE, "a copy has to be begun anew");
	return error_why(err, "%s", why);
}

/* Takes the record at hand in: pages that it changed after they were read. */
static int take_record(struct copier *copier, struct error *err)
{
	struct record_reader *reader = &copier->reader.records;
	const struct record_header record = reader->header;
	struct record_entry entry;
	const uint8_t *data;
	int r;

	if (record.before.page_size != record.after.page_size)
		return again(err, "the page size changed");
	r = reserve(copier, record.after.n_pages, err);
	while (r == 0) {
		r = record_reader_entry(reader, &entry, &data, err);
		if (r == 0 && entry.encoding != RECORD_CUT &&
		    !read_since(copier, entry.pgno, record.txid))
			set_dirty(copier, entry.pgno, true);
	}
	if (r < 0)
		return r;
	copier->seen = record.txid;
	return 0;
}

/* Takes all published records in. */
static int take_records(struct copier *copier, struct error *err)
{
	for (;;) {
		int r = txlog_reader_next(&copier->reader, err);

		if (r == 1)
			return 0;
		if (r == 2)
			return again(err, "a new generation began");
		if (r == 0)
			r = take_record(copier, err);
		if (r < 0)
			return r;
	}
}

/* --------------------------------------------------------------------- what is read */

static bool sink_full(const struct copier *copier)
{
	return copier->sink.full != NULL && copier->sink.full(copier->sink.arg);
}

/* Keeps n pages that were read: they are the newest ones from now on. */
static int keep(struct copier *copier, uint32_t first, uint32_t n, const uint8_t *pages,
		struct error *err)
{
	for (uint32_t i = 0; i < n; i++) {
		copier->hashes[first + i] = page_hash(
			first + i, pages + (size_t)i * copier->page_size, copier->page_size);
		set_dirty(copier, first + i, false);
	}
	return copier->sink.take(copier->sink.arg, first, n, pages, copier->page_size, err);
}

/*
 * Reads the pages first … (or numbers[]) and keeps those that exist. 0; 2: not
 * right now; -errno.
 */
static int read_pages(struct copier *copier, uint32_t first, const uint32_t *numbers,
		      uint32_t n, struct error *err)
{
	struct extent extent;
	int r = database_read_exact(copier->db, NULL, first, numbers, n, copier->page_size,
				    copier->pages, &copier->at.position, &extent, err);

	if (r == 1)
		return again(err, "the page size changed");
	if (r != 0)
		return r;
	if (copier->at.position.generation != copier->begin.position.generation)
		return again(err, "a new generation began");
	copier->at.extent = extent;
	r = reserve(copier, extent.n_pages, err);
	for (uint32_t i = 0; r == 0 && numbers != NULL && i < n; i++) {
		if (numbers[i] <= extent.n_pages)
			r = keep(copier, numbers[i], 1,
				 copier->pages + (size_t)i * copier->page_size, err);
		else
			set_dirty(copier, numbers[i], false);
	}
	if (r == 0 && numbers == NULL && first <= extent.n_pages)
		r = keep(copier, first, MIN(n, extent.n_pages - first + 1), copier->pages, err);
	return r;
}

/* ------------------------------------------------------------------- the first round */

static int first_chunk(struct copier *copier, struct error *err)
{
	uint32_t n = MIN(chunk_pages(copier), copier->at.extent.n_pages - copier->next + 1);
	uint64_t *read_at;
	int r = read_pages(copier, copier->next, NULL, n, err);

	if (r != 0)
		return r;
	read_at = reallocarray(copier->read_at, copier->n_chunks + 1, sizeof(*read_at));
	if (read_at == NULL)
		return out_of_memory(err);
	copier->read_at = read_at;
	/* A chunk cut short by the end: what comes behind it was not read. */
	read_at[copier->n_chunks++] = n == chunk_pages(copier) ? copier->at.position.txid : 0;
	copier->next += n;
	return 0;
}

/* Chunks until the sink is full or all are read. */
static int first_step(struct copier *copier, struct error *err)
{
	while (copier->next <= copier->at.extent.n_pages) {
		int r = first_chunk(copier, err);

		if (r != 0)
			return r;
		if (sink_full(copier))
			return 0;
	}
	copier->state = STATE_ROUNDS;
	return 0;
}

/* ----------------------------------------------------------------------- the rounds */

/*
 * Reads up to a chunk of dirty pages from dirty_at on. 0; 1: there are no more,
 * and dirty_at is 0; 2; -errno.
 */
static int read_dirty(struct copier *copier, struct error *err)
{
	uint32_t n = 0;
	uint32_t pgno = copier->dirty_at;
	int r;

	for (; n < chunk_pages(copier) && pgno <= copier->n_pages; pgno++) {
		if (copier->dirty[pgno / 8] == 0)
			pgno |= 7; /* none in this byte */
		else if (is_dirty(copier, pgno))
			copier->numbers[n++] = pgno;
	}
	if (n == 0) {
		copier->dirty_at = 0;
		return 1;
	}
	r = read_pages(copier, 0, copier->numbers, n, err);
	if (r == 0)
		copier->dirty_at = pgno;
	return r;
}

/* Goes on with a round until the sink is full or it is over. */
static int go_on(struct copier *copier, struct error *err)
{
	for (;;) {
		int r = read_dirty(copier, err);

		if (r != 0)
			return r == 1 ? 0 : r;
		if (sink_full(copier))
			return 0;
	}
}

/* The position must be that of what was read: the XOR of all hashes says. */
static int verify(struct copier *copier, struct error *err)
{
	uint64_t checksum = 0;

	for (uint32_t pgno = 1; pgno <= copier->at.extent.n_pages; pgno++)
		checksum ^= copier->hashes[pgno];
	if (checksum == copier->at.position.checksum)
		return 0;
	return error_set(err, EBADMSG,
			 "a copy of transaction %" PRIu64 " does not have its checksum",
			 copier->at.position.txid);
}

/*
 * With capture held still: the last records, the last pages. 0; 1: they turned
 * out to be too many; 2; -errno.
 */
static int read_last(struct copier *copier, uint64_t limit, struct error *err)
{
	int r = take_records(copier, err);

	if (r < 0)
		return r;
	if ((uint64_t)copier->n_dirty * copier->page_size > limit)
		return 1;
	copier->dirty_at = 1;
	while (r == 0)
		r = read_dirty(copier, err);
	copier->dirty_at = 0;
	if (r != 1)
		return r;
	copier->at.position =
		database_position(copier->db, &copier->at.extent, &copier->at.time_us);
	if (copier->at.position.txid != copier->seen)
		return again(err, "the log and the position differ");
	return verify(copier, err);
}

static int final_step(struct copier *copier, uint64_t limit, struct error *err)
{
	int r;

	database_pause(copier->db);
	r = read_last(copier, limit, err);
	database_resume(copier->db);
	if (r == 0)
		copier->state = STATE_DONE;
	return r == 1 ? 0 : r;
}

/* Begins a round, or the last one when few pages are left. */
static int round_step(struct copier *copier, struct error *err)
{
	uint64_t limit = copier->round == MAX_ROUNDS ? PAUSE_BYTES_MAX : PAUSE_BYTES;
	int r = take_records(copier, err);

	if (r < 0)
		return r;
	if ((uint64_t)copier->n_dirty * copier->page_size <= limit / 2) {
		r = final_step(copier, limit, err);
		if (r != 0 || copier->state == STATE_DONE)
			return r != 0 ? r : 1;
	}
	if (copier->round++ > MAX_ROUNDS)
		return again(err, "the database changes faster than it can be read");
	copier->dirty_at = 1;
	return go_on(copier, err);
}

int copier_step(struct copier *copier, struct error *err)
{
	if (copier->state == STATE_DONE)
		return 1;
	if (copier->state == STATE_FIRST)
		return first_step(copier, err);
	return copier->dirty_at != 0 ? go_on(copier, err) : round_step(copier, err);
}

/* ---------------------------------------------------------------------------- making */

static int begin(struct copier *copier, struct error *err)
{
	int r;

	copier->at.position =
		database_position(copier->db, &copier->at.extent, &copier->at.time_us);
	if (copier->at.position.generation == 0)
		return error_set(err, ESTALE, "the database has not been captured yet");
	r = txlog_reader_open(&copier->reader, database_log(copier->db), &copier->at.position, err);
	if (r > 0)
		return again(err, "the log does not hold the present position");
	if (r < 0)
		return r;
	copier->begin = copier->at;
	copier->seen = copier->at.position.txid;
	copier->page_size = copier->at.extent.page_size;
	copier->next = 1;
	if (copier->page_size == 0) {
		/* Empty: nothing to read, no page size to count by yet. */
		copier->state = STATE_ROUNDS;
		copier->page_size = PAGE_SIZE_MAX;
	}
	return reserve(copier, copier->at.extent.n_pages, err);
}

int copier_new(struct database *db, const struct copier_sink *sink, struct copier **ret_copier,
	       struct error *err)
{
	struct copier *copier = calloc(1, sizeof(*copier));
	int r;

	if (copier == NULL)
		return out_of_memory(err);
	copier->reader.fd = -1;
	copier->db = database_ref(db);
	copier->sink = *sink;
	copier->pages = malloc(CHUNK_BYTES);
	copier->numbers = calloc(CHUNK_BYTES / PAGE_SIZE_MIN, sizeof(*copier->numbers));
	if (copier->pages == NULL || copier->numbers == NULL)
		r = out_of_memory(err);
	else
		r = begin(copier, err);
	if (r < 0) {
		copier_free(copier);
		return r;
	}
	*ret_copier = copier;
	return 0;
}

void copier_free(struct copier *copier)
{
	if (copier == NULL)
		return;
	txlog_reader_close(&copier->reader);
	database_unref(copier->db);
	free(copier->read_at);
	free(copier->hashes);
	free(copier->dirty);
	free(copier->pages);
	free(copier->numbers);
	free(copier);
}

const struct log_header *copier_log_head(const struct copier *copier)
{
	return &copier->reader.head;
}

const struct point *copier_begin(const struct copier *copier)
{
	return &copier->begin;
}

const struct point *copier_point(const struct copier *copier)
{
	return &copier->at;
}

uint64_t copier_needs(const struct copier *copier)
{
	return copier->seen;
}

void copier_progress(const struct copier *copier, uint64_t *ret_done, uint64_t *ret_total)
{
	*ret_done = copier->next - 1;
	*ret_total = copier->at.extent.n_pages;
}
