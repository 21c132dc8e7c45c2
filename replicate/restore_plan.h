/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_RESTORE_PLAN_H
#define REPLICATE_RESTORE_PLAN_H

#include "replicate/fetcher.h"
#include "replicate/holdings.h"
#include "replicate/lineage.h"

/* Which moment is wanted. */
enum restore_target_kind {
	RESTORE_LATEST,
	RESTORE_TXID,
	RESTORE_TIME, /* the last transaction at or before it */
};

struct restore_target {
	enum restore_target_kind kind;
	uint64_t generation; /* 0: the line of the newest one */
	uint64_t txid;
	int64_t time_us;
};

/*
 * Which objects lead to a target, in the order they are needed: the parts of
 * one snapshot, then segments without a hole. Pure but for restore_plan_open(),
 * which lists what the backend holds.
 */
struct restore_plan {
	struct lineage line;
	const struct manifest_snapshot **candidates; /* snapshots on the line, best first */
	size_t n_candidates;
	const struct manifest_snapshot *snapshot;    /* the one that items begins with */
	struct fetcher_item *items;
	size_t n_items;
	uint64_t bytes;	     /* of all items */
	uint64_t end;	     /* the last transaction that items lead to */
	uint64_t missing;    /* the transaction behind end, where there are later ones; else 0 */
};

/*
 * Decides the line and which snapshots on it come at or before target. Takes in
 * from the backend what that needs. 0; -ENOENT: there is nothing that early, or
 * no such generation.
 */
int restore_plan_open(struct restore_plan *plan, struct holdings *holdings,
		      const struct restore_target *target, struct error *err) MUST_CHECK;
void restore_plan_done(struct restore_plan *plan);

/*
 * Lays out the way from candidate i. 0; -ENODATA: a stored transaction on the
 * way is missing, and err says up to where it goes.
 */
int restore_plan_choose(struct restore_plan *plan, struct holdings *holdings, size_t i,
			const struct restore_target *target, struct error *err) MUST_CHECK;

/* Says in err's fix up to where a restore goes that ends at point, unless that is nothing. */
void restore_plan_hint(struct error *err, const struct point *point);

#endif
