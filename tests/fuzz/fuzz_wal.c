/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz.h"

#include "base/cleanup.h"
#include "replicate/page.h"
#include "replicate/wal.h"

#include <string.h>

/*
 * The input is a WAL; its first bytes are also taken for the head of a WAL-index.
 */

static void check_index(const uint8_t *data, size_t size)
{
	struct wal_index index;

	if (size < WAL_INDEX_HEAD_LEN)
		return;
	for (int accept_first = 0; accept_first < 2; accept_first++) {
		if (wal_index_parse(data, accept_first, &index) != WAL_INDEX_VALID)
			continue;
		FUZZ_CHECK(index.max_frame == 0 || page_size_valid(index.page_size));
		FUZZ_CHECK(accept_first || memcmp(data, data + 48, 48) == 0);
	}
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wal_header header;
	uint8_t again[WAL_HEADER_LEN];

	check_index(data, size);
	if (wal_header_parse(data, size, &header) != WAL_HEADER_VALID)
		return 0;
	FUZZ_CHECK(page_size_valid(header.page_size));
	check_frames(&header, data, size);
	wal_header_format(&header, again);
	FUZZ_CHECK(memcmp(data, again, sizeof(again)) == 0);
	return 0;
}
