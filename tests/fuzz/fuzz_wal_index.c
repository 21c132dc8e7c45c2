/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz.h"

#include "base/bytes.h"
#include "replicate/page.h"
#include "replicate/wal.h"

#include <string.h>

/*
 * The input is the head of a WAL-index behind two bytes. Of the first, bit 0 has
 * the checksum of the first copy put right, and bit 1 makes the second like it;
 * the others and the second byte choose a bit that is flipped when it is valid.
 */
enum {
	FIX_SUM = 1 << 0,
	FIX_COPY = 1 << 1,
};

#define COPY_LEN 48
#define SUM_OFFSET 40

static void put_native32(uint8_t *bytes, uint32_t value)
{
	memcpy(bytes, &value, sizeof(value));
}

static void sum_of(const uint8_t *copy, uint8_t *to)
{
	uint32_t s0 = 0;
	uint32_t s1 = 0;

	for (int i = 0; i < SUM_OFFSET; i += 8) {
		s0 += native32_get(copy + i) + s1;
		s1 += native32_get(copy + i + 4) + s0;
	}
	put_native32(to, s0);
	put_native32(to + 4, s1);
}

/* All but the page size, which SQLite packs into 16 bits, is there as it is. */
static void check_valid(const uint8_t *head, const struct wal_index *index)
{
	uint8_t sum[8];

	sum_of(head, sum);
	FUZZ_CHECK(memcmp(sum, head + SUM_OFFSET, sizeof(sum)) == 0);
	FUZZ_CHECK((index->max_frame == 0 && index->page_size == 0) ||
		   page_size_valid(index->page_size));
	FUZZ_CHECK(index->max_frame == native32_get(head + 16));
	FUZZ_CHECK(index->salt1 == be32_get(head + 32) && index->salt2 == be32_get(head + 36));
	FUZZ_CHECK(index->n_backfill == native32_get(head + 96));
}

/* The second copy only says whether the first one is being written. */
static enum wal_index_state parse(const uint8_t *head)
{
	bool torn = memcmp(head, head + COPY_LEN, COPY_LEN) != 0;
	struct wal_index index;
	struct wal_index first;
	enum wal_index_state accepted = wal_index_parse(head, true, &first);

	FUZZ_CHECK(accepted != WAL_INDEX_TORN);
	if (accepted == WAL_INDEX_VALID)
		check_valid(head, &first);
	FUZZ_CHECK(wal_index_parse(head, false, &index) == (torn ? WAL_INDEX_TORN : accepted));
	return accepted;
}

/* One wrong bit in the first copy never goes unnoticed; the rest has no checksum. */
static void check_flip(uint8_t *head, unsigned bit)
{
	enum wal_index_state expected = bit / 8 < COPY_LEN ? WAL_INDEX_INVALID : WAL_INDEX_VALID;

	head[bit / 8] ^= (uint8_t)(1 << bit % 8);
	FUZZ_CHECK(parse(head) == expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t head[WAL_INDEX_HEAD_LEN] = { 0 };

	if (size < 2)
		return 0;
	memcpy(head, data + 2, size - 2 < sizeof(head) ? size - 2 : sizeof(head));
	if (data[0] & FIX_SUM)
		sum_of(head, head + SUM_OFFSET);
	if (data[0] & FIX_COPY)
		memcpy(head + COPY_LEN, head, COPY_LEN);
	if (parse(head) == WAL_INDEX_VALID)
		check_flip(head, (data[0] >> 2 | data[1] << 6) % (sizeof(head) * 8));
	return 0;
}
