/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/bytes.h"
#include "replicate/delta.h"
#include "replicate/page.h"

static uint8_t before[PAGE_SIZE_MAX];
static uint8_t after[PAGE_SIZE_MAX];
static uint8_t work[PAGE_SIZE_MAX];
static uint64_t seed = 1;

static uint32_t chance(uint32_t n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % n;
}

/* Encodes into a block of exactly delta_max_len(); applies both ways. The length. */
static size_t round_trip(const uint8_t *from, uint32_t size)
{
	uint8_t *runs CLEANUP_FREE = malloc(delta_max_len(size));
	size_t len = delta_encode(from, after, size, runs);

	assert_true(len <= delta_max_len(size));
	assert_true(delta_valid(runs, len, size));
	if (from != NULL)
		memcpy(work, from, size);
	else
		memset(work, 0, size);
	delta_apply(runs, len, work);
	assert_memory_equal(work, after, size);
	delta_apply(runs, len, work);
	if (from != NULL)
		assert_memory_equal(work, from, size);
	return len;
}

static void equal_pages_make_nothing(void **state)
{
	for (uint32_t size = PAGE_SIZE_MIN; size <= PAGE_SIZE_MAX; size *= 2) {
		memset(before, 0x5a, size);
		memset(after, 0x5a, size);
		assert_int_equal(round_trip(before, size), 0);
		memset(after, 0, size);
		assert_int_equal(round_trip(NULL, size), 0);
	}
}

static void one_byte_makes_one_run(void **state)
{
	for (uint32_t size = PAGE_SIZE_MIN; size <= PAGE_SIZE_MAX; size *= 2) {
		for (uint32_t at = 0; at < size; at += at < 130 ? 1 : 61) {
			memset(before, 0, size);
			memset(after, 0, size);
			after[at] = 1;
			assert_int_equal(round_trip(before, size), DELTA_RUN_HEADER_LEN + 1);
		}
		memset(after, 0, size);
		after[size - 1] = 1;
		assert_int_equal(round_trip(before, size), DELTA_RUN_HEADER_LEN + 1);
	}
}

/* Every period of equal and different bytes, where the bound would break first. */
static void the_worst_patterns_stay_within_the_bound(void **state)
{
	for (uint32_t size = PAGE_SIZE_MIN; size <= PAGE_SIZE_MAX; size *= 2) {
		memset(before, 0, size);
		for (uint32_t equal = 0; equal < 70; equal++) {
			for (uint32_t different = 1; different < 5; different++) {
				for (uint32_t i = 0; i < size; i++)
					after[i] = i % (equal + different) >= equal;
				round_trip(before, size);
			}
		}
		memset(after, 0xff, size);
		assert_true(round_trip(before, size) >= size);
	}
}

/* Two ends of the largest page: runs and skips beyond 16 bits. */
static void the_largest_page_needs_split_runs(void **state)
{
	memset(before, 0, PAGE_SIZE_MAX);
	memset(after, 0, PAGE_SIZE_MAX);
	after[0] = after[PAGE_SIZE_MAX - 1] = 1;
	assert_int_equal(round_trip(before, PAGE_SIZE_MAX), 2 * (DELTA_RUN_HEADER_LEN + 1));
	memset(after, 1, PAGE_SIZE_MAX);
	assert_int_equal(round_trip(before, PAGE_SIZE_MAX),
			 PAGE_SIZE_MAX + 2 * DELTA_RUN_HEADER_LEN);
	after[0] = 0;
	assert_int_equal(round_trip(NULL, PAGE_SIZE_MAX), PAGE_SIZE_MAX - 1 + DELTA_RUN_HEADER_LEN);
}

static void random_changes_round_trip(void **state)
{
	for (int i = 0; i < 20000; i++) {
		uint32_t size = 512u << chance(i % 16 == 0 ? 8 : 4);
		uint32_t n = chance(40);

		for (uint32_t k = 0; k < size; k++)
			before[k] = (uint8_t)chance(i % 3 == 0 ? 2 : 256);
		memcpy(after, before, size);
		while (n-- > 0) {
			uint32_t at = chance(size);
			uint32_t len = chance(MIN(size - at, 1 + chance(300))) + 1;

			while (len-- > 0)
				after[at + len] = (uint8_t)chance(256);
		}
		round_trip(before, size);
	}
}

static void malformed_runs_are_refused(void **state)
{
	uint8_t runs[64] = { 0 };

	le16_put(runs, 10);
	le16_put(runs + 2, 8);
	assert_true(delta_valid(runs, 12, 512));
	for (size_t len = 1; len < 12; len++)
		assert_false(delta_valid(runs, len, 512));
	assert_false(delta_valid(runs, 13, 512)); /* bytes behind it */
	le16_put(runs, 504);
	assert_true(delta_valid(runs, 12, 512));
	le16_put(runs, 505);
	assert_false(delta_valid(runs, 12, 512));
	/* Skips add up. */
	for (size_t i = 0; i < 16; i += 4) {
		le16_put(runs + i, 65535);
		le16_put(runs + i + 2, 0);
	}
	assert_true(delta_valid(runs, 4, PAGE_SIZE_MAX));
	assert_false(delta_valid(runs, 8, PAGE_SIZE_MAX));
	assert_true(delta_valid(runs, 0, 512));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_pages_make_nothing),
		cmocka_unit_test(one_byte_makes_one_run),
		cmocka_unit_test(the_worst_patterns_stay_within_the_bound),
		cmocka_unit_test(the_largest_page_needs_split_runs),
		cmocka_unit_test(random_changes_round_trip),
		cmocka_unit_test(malformed_runs_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
