/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_INVENTORY_H
#define REPLICATE_INVENTORY_H

#include "replicate/manifest.h"
#include "storage/storage.h"

/*
 * What a backend holds, for people and programs: one entry for each database,
 * with its snapshots and the stretches of transactions that can be restored.
 */

/* Transactions first … last of one generation, without a hole. */
struct inventory_range {
	uint64_t generation;
	uint64_t first;		/* first - 1 is the state that they build on */
	uint64_t last;
	int64_t first_us;	/* commit time of the state that they build on */
	int64_t last_us;
	uint64_t n_segments;
	uint64_t bytes;
};

struct inventory_database {
	char *folder;
	struct manifest manifest; /* name, ended, generations, snapshots, gaps */
	char *damage;		/* why the manifest (or all) could not be read; or NULL */
	struct inventory_range *ranges; /* by generation, in order; then by TXID */
	size_t n_ranges;
	uint64_t n_incomplete;	/* segments without a part: an upload under way, or broken off */
	uint64_t bytes;		/* of snapshots and segments */
	struct point latest;	/* the newest state of the newest line that is stored */
};

struct inventory {
	char *url;
	struct inventory_database *databases;
	size_t n_databases;
};

/*
 * Takes stock of folder, or of every database in the backend when it is NULL.
 * Blocks for a few requests a database. 0 or -errno.
 */
int inventory_take(struct storage *storage, const char *folder, struct inventory *ret_inventory,
		   struct error *err) MUST_CHECK;
void inventory_done(struct inventory *inventory);

/* Appends the inventory as JSON (docs/format.md does not cover it; names are as they are). */
int inventory_json(const struct inventory *inventory, struct buf *out,
		   struct error *err) MUST_CHECK;

#endif
