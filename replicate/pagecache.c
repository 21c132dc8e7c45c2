/* SPDX-License-Identifier: MIT */
#include "replicate/pagecache.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#define SLOTS_MIN 64u
#define SLOTS_MAX 4096u
#define BUDGET (64L << 20) /* bytes of all caches together, beyond their first size */

static _Atomic long budget_used;

static long slots_bytes(const struct pagecache *cache)
{
	return (long)cache->n_slots * (cache->page_size + 4);
}

const uint8_t *pagecache_find(const struct pagecache *cache, uint32_t pgno)
{
	uint32_t slot;

	if (cache->n_slots == 0)
		return NULL;
	slot = pgno & (cache->n_slots - 1);
	if (cache->numbers[slot] != pgno)
		return NULL;
	return cache->pages + (size_t)slot * cache->page_size;
}

static bool resize(struct pagecache *cache, uint32_t page_size, uint32_t n_slots)
{
	struct pagecache bigger = {
		.page_size = page_size,
		.n_slots = n_slots,
		.numbers = calloc(n_slots, sizeof(*bigger.numbers)),
		.pages = malloc((size_t)n_slots * page_size),
	};

	if (bigger.numbers == NULL || bigger.pages == NULL) {
		free(bigger.numbers);
		free(bigger.pages);
		return false;
	}
	for (uint32_t i = 0; i < cache->n_slots; i++) {
		uint32_t slot = cache->numbers[i] & (n_slots - 1);

		if (cache->numbers[i] == 0)
			continue;
		bigger.numbers[slot] = cache->numbers[i];
		memcpy(bigger.pages + (size_t)slot * page_size,
		       cache->pages + (size_t)i * page_size, page_size);
	}
	budget_used += slots_bytes(&bigger);
	pagecache_done(cache);
	*cache = bigger;
	return true;
}

static void grow_when_worth(struct pagecache *cache)
{
	if (cache->n_evicted < 4 * cache->n_slots || cache->n_slots >= SLOTS_MAX)
		return;
	cache->n_evicted = 0;
	if (budget_used + 4 * slots_bytes(cache) <= BUDGET)
		resize(cache, cache->page_size, 4 * cache->n_slots);
}

void pagecache_put(struct pagecache *cache, uint32_t page_size, uint32_t pgno, const uint8_t *page)
{
	uint32_t slot;

	if (cache->n_slots != 0 && cache->page_size != page_size)
		pagecache_done(cache);
	if (cache->n_slots == 0 && !resize(cache, page_size, SLOTS_MIN))
		return;
	slot = pgno & (cache->n_slots - 1);
	if (cache->numbers[slot] != 0 && cache->numbers[slot] != pgno) {
		cache->n_evicted++;
		grow_when_worth(cache);
		slot = pgno & (cache->n_slots - 1);
	}
	cache->numbers[slot] = pgno;
	memcpy(cache->pages + (size_t)slot * page_size, page, page_size);
}

void pagecache_done(struct pagecache *cache)
{
	budget_used -= slots_bytes(cache);
	free(cache->numbers);
	free(cache->pages);
	*cache = (struct pagecache){ 0 };
}
