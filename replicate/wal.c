/* SPDX-License-Identifier: MIT */
#include "replicate/wal.h"

#include "base/bytes.h"
#include "replicate/page.h"

#define WAL_VERSION 3007000u

/* Runs the sum over len bytes, a multiple of 8. */
static void sum_le(struct wal_sum *sum, const uint8_t *bytes, size_t len)
{
	uint32_t s0 = sum->s0;
	uint32_t s1 = sum->s1;

	for (size_t i = 0; i < len; i += 8) {
		s0 += le32_get(bytes + i) + s1;
		s1 += le32_get(bytes + i + 4) + s0;
	}
	*sum = (struct wal_sum){ s0, s1 };
}

static void sum_be(struct wal_sum *sum, const uint8_t *bytes, size_t len)
{
	uint32_t s0 = sum->s0;
	uint32_t s1 = sum->s1;

	for (size_t i = 0; i < len; i += 8) {
		s0 += be32_get(bytes + i) + s1;
		s1 += be32_get(bytes + i + 4) + s0;
	}
	*sum = (struct wal_sum){ s0, s1 };
}

static void sum_run(bool big_endian, struct wal_sum *sum, const uint8_t *bytes, size_t len)
{
	if (big_endian)
		sum_be(sum, bytes, len);
	else
		sum_le(sum, bytes, len);
}

enum wal_header_state wal_header_parse(const uint8_t *bytes, size_t len,
				       struct wal_header *ret_header)
{
	static const uint8_t zero[WAL_HEADER_LEN];
	struct wal_sum sum = { 0, 0 };
	uint32_t magic;

	if (len < WAL_HEADER_LEN || memcmp(bytes, zero, sizeof(zero)) == 0)
		return WAL_HEADER_EMPTY;
	magic = be32_get(bytes);
	/* Without the magic SQLite sees an empty WAL, with another version it gives up. */
	if ((magic & ~1u) != WAL_MAGIC)
		return WAL_HEADER_DAMAGED;
	if (be32_get(bytes + 4) != WAL_VERSION)
		return WAL_HEADER_UNKNOWN;
	ret_header->big_endian = magic & 1;
	ret_header->page_size = be32_get(bytes + 8);
	ret_header->checkpoint = be32_get(bytes + 12);
	ret_header->salt1 = be32_get(bytes + 16);
	ret_header->salt2 = be32_get(bytes + 20);
	sum_run(ret_header->big_endian, &sum, bytes, 24);
	ret_header->sum = sum;
	if (!page_size_valid(ret_header->page_size) || sum.s0 != be32_get(bytes + 24) ||
	    sum.s1 != be32_get(bytes + 28))
		return WAL_HEADER_DAMAGED;
	return WAL_HEADER_VALID;
}

void wal_header_format(struct wal_header *header, uint8_t *bytes)
{
	struct wal_sum sum = { 0, 0 };

	be32_put(bytes, WAL_MAGIC | (header->big_endian ? 1 : 0));
	be32_put(bytes + 4, WAL_VERSION);
	be32_put(bytes + 8, header->page_size);
	be32_put(bytes + 12, header->checkpoint);
	be32_put(bytes + 16, header->salt1);
	be32_put(bytes + 20, header->salt2);
	sum_run(header->big_endian, &sum, bytes, 24);
	be32_put(bytes + 24, sum.s0);
	be32_put(bytes + 28, sum.s1);
	header->sum = sum;
}

struct wal_frame wal_frame_parse(const uint8_t *bytes)
{
	return (struct wal_frame){
		.pgno = be32_get(bytes),
		.n_pages = be32_get(bytes + 4),
		.salt1 = be32_get(bytes + 8),
		.salt2 = be32_get(bytes + 12),
		.sum = { be32_get(bytes + 16), be32_get(bytes + 20) },
	};
}

void wal_frame_format(const struct wal_header *header, struct wal_sum *sum, uint32_t pgno,
		      uint32_t n_pages, const uint8_t *page, uint8_t *bytes)
{
	be32_put(bytes, pgno);
	be32_put(bytes + 4, n_pages);
	be32_put(bytes + 8, header->salt1);
	be32_put(bytes + 12, header->salt2);
	sum_run(header->big_endian, sum, bytes, 8);
	sum_run(header->big_endian, sum, page, header->page_size);
	be32_put(bytes + 16, sum->s0);
	be32_put(bytes + 20, sum->s1);
}

bool wal_frame_valid(const struct wal_header *header, struct wal_sum *sum, const uint8_t *bytes)
{
	struct wal_frame frame = wal_frame_parse(bytes);
	struct wal_sum next = *sum;

	if (frame.pgno == 0 || frame.salt1 != header->salt1 || frame.salt2 != header->salt2)
		return false;
	sum_run(header->big_endian, &next, bytes, 8);
	sum_run(header->big_endian, &next, bytes + WAL_FRAME_HEADER_LEN, header->page_size);
	if (next.s0 != frame.sum.s0 || next.s1 != frame.sum.s1)
		return false;
	*sum = next;
	return true;
}

/* Offsets within one 48-byte copy of the WAL-index header. */
enum {
	INDEX_COPY_LEN = 48,
	INDEX_VERSION = 0,
	INDEX_IS_INIT = 12,
	INDEX_PAGE_SIZE = 14,
	INDEX_MAX_FRAME = 16,
	INDEX_SALT = 32,
	INDEX_SUM = 40,
	INDEX_BACKFILL = 96,
};

/* The header's own checksum uses native words, as the whole file does. */
static bool index_copy_valid(const uint8_t *copy)
{
	uint32_t s0 = 0;
	uint32_t s1 = 0;

	for (size_t i = 0; i < INDEX_SUM; i += 8) {
		s0 += native32_get(copy + i) + s1;
		s1 += native32_get(copy + i + 4) + s0;
	}
	return copy[INDEX_IS_INIT] != 0 && native32_get(copy + INDEX_VERSION) == WAL_VERSION &&
	       s0 == native32_get(copy + INDEX_SUM) && s1 == native32_get(copy + INDEX_SUM + 4);
}

enum wal_index_state wal_index_parse(const uint8_t *bytes, bool accept_first,
				     struct wal_index *ret_index)
{
	uint32_t size;

	if (memcmp(bytes, bytes + INDEX_COPY_LEN, INDEX_COPY_LEN) != 0 && !accept_first)
		return WAL_INDEX_TORN;
	if (!index_copy_valid(bytes))
		return WAL_INDEX_INVALID;
	size = native16_get(bytes + INDEX_PAGE_SIZE);
	/* As SQLite stores it: 65536 does not fit, and is 1 (fe00 keeps a spare bit). */
	size = (size & 0xfe00) + ((size & 1) << 16);
	*ret_index = (struct wal_index){
		.page_size = size,
		.max_frame = native32_get(bytes + INDEX_MAX_FRAME),
		.salt1 = be32_get(bytes + INDEX_SALT),
		.salt2 = be32_get(bytes + INDEX_SALT + 4),
		.n_backfill = native32_get(bytes + INDEX_BACKFILL),
	};
	/* Before the first commit the page size may not be known yet: it is 0 then. */
	if ((ret_index->max_frame != 0 || size != 0) && !page_size_valid(size))
		return WAL_INDEX_INVALID;
	return WAL_INDEX_VALID;
}
