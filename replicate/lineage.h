/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_LINEAGE_H
#define REPLICATE_LINEAGE_H

#include "replicate/manifest.h"

/*
 * Histories form a tree: a generation goes on from a position of its parent. A
 * line is the way from a root to one generation, and says in which generation
 * each TXID on it is.
 */

/* The transactions lower + 1 … upper of the line are those of generation. */
struct lineage_piece {
	uint64_t generation;
	uint64_t lower;
	uint64_t upper;
};

struct lineage {
	struct lineage_piece *pieces; /* root first */
	size_t n_pieces;
};

/* The line that ends in generation leaf. 0 or -errno (-ENOENT: no such generation). */
int lineage_init(struct lineage *lineage, const struct manifest_generation *generations,
		 size_t n_generations, uint64_t leaf, struct error *err) MUST_CHECK;
void lineage_done(struct lineage *lineage);

/* The piece that transaction txid is in; NULL when the line begins later. */
const struct lineage_piece *lineage_find(const struct lineage *lineage, uint64_t txid);

/* Whether a state of generation at txid (which may be where it begins) is on the line. */
bool lineage_holds(const struct lineage *lineage, uint64_t generation, uint64_t txid);

#endif
