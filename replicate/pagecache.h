/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_PAGECACHE_H
#define REPLICATE_PAGECACHE_H

#include "base/cleanup.h"

#include <stdint.h>

/*
 * The last versions of recently captured pages of one database, so that the
 * next change can be logged as a difference without reading. Direct-mapped and
 * bounded: it begins small and grows while pages push each other out, within a
 * budget that all databases share. Zeroed is a valid empty cache. Owned by one
 * database, under its mutex.
 *
 * Invariant: a page in the cache is the page of the database's position whenever
 * that mutex is free. A capture is ahead of it meanwhile, and forgets all of it when
 * it fails.
 */
struct pagecache {
	uint32_t page_size;
	uint32_t n_slots; /* a power of two, or 0 */
	uint32_t n_evicted; /* since the size last changed */
	uint32_t *numbers;
	uint8_t *pages;
};

/* The page, or NULL when it is not there. Valid until the next put. */
const uint8_t *pagecache_find(const struct pagecache *cache, uint32_t pgno);

/* Keeps a copy of the page. Silently does nothing when out of memory. */
void pagecache_put(struct pagecache *cache, uint32_t page_size, uint32_t pgno,
		   const uint8_t *page);

/* Forgets everything and gives the memory back. */
void pagecache_done(struct pagecache *cache);

#endif
