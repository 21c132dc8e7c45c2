/* SPDX-License-Identifier: MIT */
#include "replicate/apply.h"

#include "base/file.h"
#include "replicate/delta.h"
#include "replicate/page.h"

#include <errno.h>
#include <inttypes.h>

#define ADOPT_LEN (1u << 20)
#define RUN_LEN (1u << 20) /* bytes that are written at once */

int apply_init(struct apply *apply, int fd, struct error *err)
{
	*apply = (struct apply){
		.fd = fd,
		.page = malloc(PAGE_SIZE_MAX),
		.run = malloc(RUN_LEN),
	};
	if (apply->page == NULL || apply->run == NULL)
		return error_set(err, ENOMEM, "out of memory");
	return 0;
}

void apply_done(struct apply *apply)
{
	free(apply->hashes);
	free(apply->page);
	free(apply->run);
	*apply = (struct apply){ .fd = -1 };
}

static int cut(struct apply *apply, uint64_t size, struct error *err)
{
	if (ftruncate(apply->fd, (off_t)size) < 0)
		return error_set_errno(err, errno, "cannot cut the file to %" PRIu64 " bytes",
				       size);
	return 0;
}

int apply_restart(struct apply *apply, struct error *err)
{
	apply->at = (struct point){ 0 };
	apply->run_n = 0;
	if (apply->n_hashes != 0)
		memset(apply->hashes, 0, apply->n_hashes * sizeof(*apply->hashes));
	return cut(apply, 0, err);
}

/* Makes room for the hashes of n pages; new ones are 0. */
static int reserve(struct apply *apply, size_t n, struct error *err)
{
	size_t size = MAX(n, apply->n_hashes + apply->n_hashes / 2);
	uint64_t *hashes;

	if (n <= apply->n_hashes)
		return 0;
	hashes = reallocarray(apply->hashes, size, sizeof(*hashes));
	if (hashes == NULL)
		return error_set(err, ENOMEM, "out of memory for the hashes of %zu pages", n);
	memset(hashes + apply->n_hashes, 0, (size - apply->n_hashes) * sizeof(*hashes));
	apply->hashes = hashes;
	apply->n_hashes = size;
	return 0;
}

static void set_hash(struct apply *apply, uint32_t pgno, uint64_t hash)
{
	apply->at.position.checksum ^= apply->hashes[pgno - 1] ^ hash;
	apply->hashes[pgno - 1] = hash;
}

static off_t page_offset(const struct apply *apply, uint32_t pgno)
{
	return (off_t)(pgno - 1) * apply->at.extent.page_size;
}

/*
 * Writes out the pages that wait, and has the disk begin with a long run: the
 * sync at the end then finds little left to do.
 */
static int flush(struct apply *apply, struct error *err)
{
	size_t len = (size_t)apply->run_n * apply->at.extent.page_size;
	off_t off = page_offset(apply, apply->run_first);
	int r = apply->run_n == 0 ? 0 : file_pwrite(apply->fd, apply->run, len, off);

	if (r < 0)
		return error_set_errno(err, -r, "cannot write page %u", apply->run_first);
	if (len >= RUN_LEN / 2)
		sync_file_range(apply->fd, off, (off_t)len, SYNC_FILE_RANGE_WRITE);
	apply->n_bytes += len;
	apply->run_n = 0;
	return 0;
}

static int write_pages(struct apply *apply, uint32_t first, uint32_t n, const uint8_t *pages,
		       struct error *err)
{
	uint32_t page_size = apply->at.extent.page_size;
	uint32_t run_max = RUN_LEN / page_size;

	while (n > 0) {
		uint32_t some;

		if (apply->run_n == run_max || first != apply->run_first + apply->run_n) {
			int r = flush(apply, err);

			if (r < 0)
				return r;
			apply->run_first = first;
		}
		some = MIN(n, run_max - apply->run_n);
		memcpy(apply->run + (size_t)apply->run_n * page_size, pages,
		       (size_t)some * page_size);
		apply->run_n += some;
		first += some;
		n -= some;
		pages += (size_t)some * page_size;
	}
	return 0;
}

/* Reads a page of the file into the scratch page. */
static int read_page(struct apply *apply, uint32_t pgno, struct error *err)
{
	uint32_t page_size = apply->at.extent.page_size;
	ssize_t n;

	if (pgno >= apply->run_first && pgno - apply->run_first < apply->run_n) {
		memcpy(apply->page, apply->run + (size_t)(pgno - apply->run_first) * page_size,
		       page_size);
		return 0;
	}
	n = file_pread(apply->fd, apply->page, page_size, page_offset(apply, pgno));
	if (n < 0)
		return error_set_errno(err, (int)-n, "cannot read page %u back", pgno);
	memset(apply->page + n, 0, page_size - (size_t)n);
	return 0;
}

/* Forgets the pages behind n_pages, in the file as well. */
static int shrink(struct apply *apply, uint32_t n_pages, struct error *err)
{
	struct extent *extent = &apply->at.extent;
	int r;

	if (n_pages >= extent->n_pages)
		return 0;
	r = flush(apply, err);
	if (r < 0)
		return r;
	for (uint32_t pgno = n_pages + 1; pgno <= extent->n_pages; pgno++)
		set_hash(apply, pgno, 0);
	extent->n_pages = n_pages;
	return cut(apply, extent_bytes(*extent), err);
}

/* Takes on another extent; with another page size nothing is left of before. */
static int resize(struct apply *apply, struct extent extent, struct error *err)
{
	int r = reserve(apply, extent.n_pages, err);

	if (r < 0)
		return r;
	r = shrink(apply, extent.page_size == apply->at.extent.page_size ? extent.n_pages : 0, err);
	if (r == 0)
		apply->at.extent = extent;
	return r;
}

int apply_finish(struct apply *apply, struct error *err)
{
	int r = flush(apply, err);

	return r < 0 ? r : cut(apply, extent_bytes(apply->at.extent), err);
}

/* ------------------------------------------------------------------------ snapshots */

int apply_pages(struct apply *apply, const struct point *end, uint32_t first, uint32_t n,
		const uint8_t *pages, struct error *err)
{
	uint32_t page_size = end->extent.page_size;
	int r = resize(apply, end->extent, err);

	if (r < 0 || first > end->extent.n_pages)
		return r;
	n = MIN(n, end->extent.n_pages - first + 1);
	for (uint32_t i = 0; i < n; i++)
		set_hash(apply, first + i,
			 page_hash(first + i, pages + (size_t)i * page_size, page_size));
	return write_pages(apply, first, n, pages, err);
}

int apply_reach(struct apply *apply, const struct point *end, struct error *err)
{
	int r = resize(apply, end->extent, err);

	if (r == 0)
		r = apply_finish(apply, err);
	if (r < 0)
		return r;
	if (apply->at.position.checksum != end->position.checksum)
		return error_set(err, EBADMSG,
				 "the checksum of all pages is %016" PRIx64 ", not %016" PRIx64
				 " as at transaction %" PRIu64,
				 apply->at.position.checksum, end->position.checksum,
				 end->position.txid);
	apply->at = *end;
	return 0;
}

/* Hashes the pages in n bytes that were read from page first on. */
static void adopt_pages(struct apply *apply, uint32_t first, const uint8_t *pages, size_t len)
{
	uint32_t page_size = apply->at.extent.page_size;

	for (size_t i = 0; i < len / page_size; i++)
		set_hash(apply, first + (uint32_t)i,
			 page_hash(first + (uint32_t)i, pages + i * page_size, page_size));
}

int apply_adopt(struct apply *apply, const struct point *point,
		void (*progress)(void *arg, uint64_t n_bytes), void *arg, struct error *err)
{
	uint64_t size = extent_bytes(point->extent);
	uint8_t *pages CLEANUP_FREE = malloc(ADOPT_LEN);
	int r = pages != NULL ? reserve(apply, point->extent.n_pages, err) :
				error_set(err, ENOMEM, "out of memory");

	if (r < 0)
		return r;
	apply->at = (struct point){ .extent = point->extent };
	for (uint64_t off = 0; off < size; off += ADOPT_LEN) {
		size_t len = (size_t)MIN((uint64_t)ADOPT_LEN, size - off);
		ssize_t n = file_pread(apply->fd, pages, len, (off_t)off);

		if (n < 0)
			return error_set_errno(err, (int)-n, "cannot read the copy");
		memset(pages + n, 0, len - (size_t)n);
		adopt_pages(apply, (uint32_t)(off / point->extent.page_size) + 1, pages, len);
		if (progress != NULL)
			progress(arg, len);
	}
	return apply_reach(apply, point, err);
}

/* -------------------------------------------------------------------------- records */

static bool extent_equal(struct extent a, struct extent b)
{
	return a.page_size == b.page_size && a.n_pages == b.n_pages;
}

static int damaged_page(const struct record_header *record, uint32_t pgno, struct error *err)
{
	return error_set(err, EBADMSG,
			 "transaction %" PRIu64 ": page %u does not have the hash it should have",
			 record->txid, pgno);
}

/* Writes a page that must have the given hash. */
static int put_page(struct apply *apply, const struct record_header *record, uint32_t pgno,
		    const uint8_t *page, uint64_t hash, struct error *err)
{
	if (page_hash(pgno, page, apply->at.extent.page_size) != hash)
		return damaged_page(record, pgno, err);
	set_hash(apply, pgno, hash);
	return write_pages(apply, pgno, 1, page, err);
}

/* Whether the record leaves no page of before: they have another size. */
static bool pages_differ(const struct record_header *record)
{
	return record->before.page_size != record->after.page_size;
}

/* Whether page pgno is one that the record did not begin with. */
static bool is_new(const struct record_header *record, uint32_t pgno)
{
	return pages_differ(record) || pgno > record->before.n_pages;
}

static int entry_forward(struct apply *apply, const struct record_header *record,
			 const struct record_entry *entry, const uint8_t *data, struct error *err)
{
	int r = 0;

	if (entry->encoding == RECORD_CUT)
		return 0;
	if (entry->encoding == RECORD_WHOLE)
		return put_page(apply, record, entry->pgno, data, entry->hash, err);
	if (is_new(record, entry->pgno))
		memset(apply->page, 0, apply->at.extent.page_size);
	else
		r = read_page(apply, entry->pgno, err);
	if (r < 0)
		return r;
	delta_apply(data, entry->data_len, apply->page);
	return put_page(apply, record, entry->pgno, apply->page, entry->hash, err);
}

static int mismatch(const struct apply *apply, const struct record_header *record, uint64_t txid,
		    struct error *err)
{
	return error_set(err, EBADMSG,
			 "transaction %" PRIu64 " does not fit: the file is at transaction %" PRIu64
			 " with checksum %016" PRIx64 ", and it has %016" PRIx64
			 " at transaction %" PRIu64,
			 record->txid, apply->at.position.txid, apply->at.position.checksum,
			 txid == record->txid ? record->checksum_after : record->checksum_before,
			 txid);
}

int apply_forward(struct apply *apply, struct record_reader *reader, uint64_t generation,
		  struct error *err)
{
	const struct record_header record = reader->header;
	struct position *position = &apply->at.position;
	struct record_entry entry;
	const uint8_t *data;
	int r;

	if (record.txid != position->txid + 1 || record.checksum_before != position->checksum ||
	    !extent_equal(record.before, apply->at.extent))
		return mismatch(apply, &record, record.txid - 1, err);
	r = resize(apply, record.after, err);
	while (r == 0) {
		r = record_reader_entry(reader, &entry, &data, err);
		if (r == 0)
			r = entry_forward(apply, &record, &entry, data, err);
	}
	if (r < 0)
		return r;
	if (position->checksum != record.checksum_after)
		return error_set(err, EBADMSG,
				 "the checksum behind transaction %" PRIu64 " is wrong",
				 record.txid);
	position->generation = generation;
	position->txid = record.txid;
	apply->at.time_us = record.time_us;
	return 0;
}

/* Puts a page back that the record cut off. */
static int entry_restore(struct apply *apply, const struct record_header *record,
			 const struct record_entry *entry, const uint8_t *data, struct error *err)
{
	if (!pages_differ(record) && entry->pgno <= record->after.n_pages)
		return error_set(err, EBADMSG,
				 "transaction %" PRIu64 " cuts off page %u and keeps it",
				 record->txid, entry->pgno);
	memset(apply->page, 0, apply->at.extent.page_size);
	delta_apply(data, entry->data_len, apply->page);
	return put_page(apply, record, entry->pgno, apply->page, entry->hash, err);
}

static int entry_backward(struct apply *apply, const struct record_header *record,
			  const struct record_entry *entry, const uint8_t *data, struct error *err)
{
	uint32_t page_size = apply->at.extent.page_size;
	int r;

	if (entry->encoding == RECORD_CUT)
		return entry_restore(apply, record, entry, data, err);
	if (pages_differ(record))
		return 0; /* all of them are gone */
	if (apply->hashes[entry->pgno - 1] != entry->hash)
		return damaged_page(record, entry->pgno, err);
	if (is_new(record, entry->pgno))
		return 0; /* it goes with the cut at the end */
	if (entry->encoding != RECORD_XOR)
		return error_set(err, EBADMSG,
				 "transaction %" PRIu64 " says it can be undone, page %u cannot",
				 record->txid, entry->pgno);
	r = read_page(apply, entry->pgno, err);
	if (r < 0)
		return r;
	delta_apply(data, entry->data_len, apply->page);
	set_hash(apply, entry->pgno, page_hash(entry->pgno, apply->page, page_size));
	return write_pages(apply, entry->pgno, 1, apply->page, err);
}

/* The extent in which a record's pages of before and after both have room. */
static struct extent widest(const struct record_header *record)
{
	return pages_differ(record) || record->before.n_pages > record->after.n_pages ?
		       record->before :
		       record->after;
}

int apply_backward(struct apply *apply, struct record_reader *reader, uint64_t generation,
		   int64_t before_us, struct error *err)
{
	const struct record_header record = reader->header;
	struct position *position = &apply->at.position;
	struct record_entry entry;
	const uint8_t *data;
	int r;

	if (record.txid != position->txid || record.checksum_after != position->checksum ||
	    !extent_equal(record.after, apply->at.extent))
		return mismatch(apply, &record, record.txid, err);
	if ((record.flags & RECORD_UNDOABLE) == 0)
		return 1;
	r = resize(apply, widest(&record), err);
	while (r == 0) {
		r = record_reader_entry(reader, &entry, &data, err);
		if (r == 0)
			r = entry_backward(apply, &record, &entry, data, err);
	}
	if (r >= 0)
		r = resize(apply, record.before, err);
	if (r < 0)
		return r;
	if (position->checksum != record.checksum_before)
		return error_set(err, EBADMSG,
				 "the checksum before transaction %" PRIu64 " is wrong",
				 record.txid);
	position->generation = generation;
	position->txid = record.txid - 1;
	apply->at.time_us = before_us;
	return 0;
}
