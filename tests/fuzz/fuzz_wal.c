/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "replicate/page.h"
#include "replicate/wal.h"

#include <string.h>

/*
 * The input is a WAL behind a byte that says what to put right in it first, since
 * no mutation gets past a checksum: bit 0 the header, bit 1 every frame. The
 * others choose a bit of the first frame that is flipped when it is valid.
 */
enum {
	FIX_HEADER = 1 << 0,
	FIX_FRAMES = 1 << 1,
};

/* Its magic and version too; all else in it is as it was. */
static void fix_header(uint8_t *data, size_t size)
{
	struct wal_header header;

	if (size < WAL_HEADER_LEN)
		return;
	header = (struct wal_header){
		.page_size = be32_get(data + 8),
		.checkpoint = be32_get(data + 12),
		.salt1 = be32_get(data + 16),
		.salt2 = be32_get(data + 20),
		.big_endian = data[3] & 1,
	};
	wal_header_format(&header, data);
}

static void fix_frames(const struct wal_header *header, uint8_t *data, size_t size)
{
	uint32_t n = wal_n_frames(header->page_size, size);
	struct wal_sum sum = header->sum;

	for (uint32_t frame = 1; frame <= n; frame++) {
		uint8_t *bytes = data + wal_frame_offset(header->page_size, frame);

		wal_frame_format(header, &sum, be32_get(bytes), be32_get(bytes + 4),
				 bytes + WAL_FRAME_HEADER_LEN, bytes);
	}
}

static void check_first_page(const uint8_t *page)
{
	struct page_header header;

	if (page_header_parse(page, &header))
		FUZZ_CHECK(page_size_valid(header.page_size));
}

/* What was found valid is what would be written. */
static void check_frame(const struct wal_header *header, struct wal_sum before,
			const uint8_t *bytes)
{
	struct wal_frame frame = wal_frame_parse(bytes);
	uint8_t again[WAL_FRAME_HEADER_LEN];

	FUZZ_CHECK(frame.pgno != 0);
	wal_frame_format(header, &before, frame.pgno, frame.n_pages, bytes + sizeof(again), again);
	FUZZ_CHECK(memcmp(bytes, again, sizeof(again)) == 0);
	FUZZ_CHECK(before.s0 == frame.sum.s0 && before.s1 == frame.sum.s1);
	(void)!page_hash(frame.pgno, bytes + sizeof(again), header->page_size);
	if (frame.pgno == 1)
		check_first_page(bytes + sizeof(again));
}

static void check_frames(const struct wal_header *header, const uint8_t *data, size_t size)
{
	uint32_t n = wal_n_frames(header->page_size, size);
	struct wal_sum sum = header->sum;

	for (uint32_t frame = 1; frame <= n; frame++) {
		uint64_t at = wal_frame_offset(header->page_size, frame);
		struct wal_sum before = sum;

		FUZZ_CHECK(at + WAL_FRAME_HEADER_LEN + header->page_size <= size);
		if (!wal_frame_valid(header, &sum, data + at)) {
			FUZZ_CHECK(sum.s0 == before.s0 && sum.s1 == before.s1);
			return;
		}
		check_frame(header, before, data + at);
	}
}

/* One wrong bit never goes unnoticed. */
static void check_flip(const struct wal_header *header, uint8_t *frame, unsigned choice)
{
	struct wal_sum sum = header->sum;
	size_t n_bits = (WAL_FRAME_HEADER_LEN + (size_t)header->page_size) * 8;
	size_t bit;

	if (!wal_frame_valid(header, &sum, frame))
		return;
	bit = (choice * (size_t)2654435761u + sum.s1) % n_bits;
	frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
	sum = header->sum;
	FUZZ_CHECK(!wal_frame_valid(header, &sum, frame));
}

static void check_wal(unsigned what, uint8_t *data, size_t size)
{
	struct wal_header header;
	uint8_t again[WAL_HEADER_LEN];

	if (what & FIX_HEADER)
		fix_header(data, size);
	if (wal_header_parse(data, size, &header) != WAL_HEADER_VALID)
		return;
	FUZZ_CHECK(page_size_valid(header.page_size));
	if (what & FIX_FRAMES)
		fix_frames(&header, data, size);
	check_frames(&header, data, size);
	if (wal_n_frames(header.page_size, size) != 0)
		check_flip(&header, data + WAL_HEADER_LEN, what >> 2);
	wal_header_format(&header, again);
	FUZZ_CHECK(memcmp(data, again, sizeof(again)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy CLEANUP_FREE = NULL;

	if (size < 2)
		return 0;
	copy = malloc(size - 1);
	if (copy == NULL)
		return 0;
	memcpy(copy, data + 1, size - 1);
	check_wal(data[0], copy, size - 1);
	return 0;
}
