/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_WALMAP_H
#define REPLICATE_WALMAP_H

#include "base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Where the newest version of each page stands in a WAL: page number -> frame, and
 * its hash. A hash table with open addressing. Zeroed is a valid empty map.
 *
 * Part of what owns it (a database's tail, a batch, a view, …), and used under the
 * same lock.
 */
struct walmap_entry {
	uint32_t pgno; /* 0 = free slot */
	uint32_t frame;
	uint64_t hash;
};

struct walmap {
	struct walmap_entry *slots;
	uint32_t n_slots; /* a power of two, or 0 */
	uint32_t n_used;
};

/* Makes room for extra more pages, so that as many walmap_put() succeed. */
int walmap_reserve(struct walmap *map, uint32_t extra) MUST_CHECK;

/* Sets pgno's newest frame and hash; room must have been reserved. */
void walmap_put(struct walmap *map, uint32_t pgno, uint32_t frame, uint64_t hash);

/* NULL when pgno has no captured frame. Valid until the next reserve. */
const struct walmap_entry *walmap_find(const struct walmap *map, uint32_t pgno);

/* Forgets all pages; a large table is given back. */
void walmap_clear(struct walmap *map);
void walmap_done(struct walmap *map);

#endif
