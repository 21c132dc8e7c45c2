/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "replicate/page.h"
#include "replicate/pagecache.h"

static void make_page(uint8_t *page, uint32_t size, uint32_t pgno, uint32_t version)
{
	memset(page, (int)(pgno * 7 + version), size);
	memcpy(page, &pgno, sizeof(pgno));
	memcpy(page + 8, &version, sizeof(version));
}

static void an_empty_cache_has_nothing(void **state)
{
	struct pagecache cache = { 0 };

	assert_null(pagecache_find(&cache, 1));
	pagecache_done(&cache);
	assert_null(pagecache_find(&cache, 1));
}

/* What it has is right, whatever was put, pushed out, or grown over meanwhile. */
static void a_page_that_is_there_is_the_last_version(void **state)
{
	static uint32_t versions[9000];
	struct pagecache cache = { 0 };
	uint8_t expected[512];
	uint8_t page[512];
	uint64_t seed = 5;
	unsigned n_found = 0;

	for (uint32_t i = 0; i < 300000; i++) {
		const uint8_t *found;
		uint32_t pgno;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		pgno = 1 + (uint32_t)(seed >> 33) % (i < 100000 ? 50 : 8999);
		found = pagecache_find(&cache, pgno);
		if (found != NULL) {
			make_page(expected, sizeof(expected), pgno, versions[pgno]);
			assert_memory_equal(found, expected, sizeof(expected));
			n_found++;
		}
		make_page(page, sizeof(page), pgno, ++versions[pgno]);
		pagecache_put(&cache, sizeof(page), pgno, page);
		assert_non_null(pagecache_find(&cache, pgno));
	}
	assert_true(n_found > 100000);
	assert_true(cache.n_slots > 64); /* it grew where it paid */
	pagecache_done(&cache);
	assert_null(pagecache_find(&cache, 1));
}

static void another_page_size_empties_it(void **state)
{
	static uint8_t page[PAGE_SIZE_MAX];
	struct pagecache cache = { 0 };

	for (uint32_t pgno = 1; pgno <= 64; pgno++) {
		make_page(page, 512, pgno, 1);
		pagecache_put(&cache, 512, pgno, page);
	}
	make_page(page, PAGE_SIZE_MAX, 3, 2);
	pagecache_put(&cache, PAGE_SIZE_MAX, 3, page);
	for (uint32_t pgno = 1; pgno <= 64; pgno++)
		assert_int_equal(pagecache_find(&cache, pgno) != NULL, pgno == 3);
	assert_memory_equal(pagecache_find(&cache, 3), page, PAGE_SIZE_MAX);
	pagecache_done(&cache);
}

/* Many caches share one budget: growing stops, and what is given back counts. */
static void the_budget_is_shared_and_given_back(void **state)
{
	enum { N = 12 };
	static uint8_t page[PAGE_SIZE_MAX];
	struct pagecache caches[N] = { 0 };

	for (int round = 0; round < 2; round++) {
		uint64_t bytes = 0;

		for (int i = 0; i < N; i++) {
			for (uint32_t pgno = 1; pgno <= 3000; pgno++)
				pagecache_put(&caches[i], PAGE_SIZE_MAX, pgno, page);
			bytes += (uint64_t)caches[i].n_slots * PAGE_SIZE_MAX;
		}
		assert_true(bytes <= (64u << 20) + (uint64_t)N * 64 * PAGE_SIZE_MAX + (1 << 20));
		assert_true(caches[0].n_slots > 64);
		for (int i = 0; i < N; i++)
			pagecache_done(&caches[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_cache_has_nothing),
		cmocka_unit_test(a_page_that_is_there_is_the_last_version),
		cmocka_unit_test(another_page_size_empties_it),
		cmocka_unit_test(the_budget_is_shared_and_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
