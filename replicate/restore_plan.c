/* SPDX-License-Identifier: MIT */
#include "replicate/restore_plan.h"

#include "base/clock.h"

#include <errno.h>
#include <inttypes.h>

void restore_plan_done(struct restore_plan *plan)
{
	lineage_done(&plan->line);
	free(plan->candidates);
	free(plan->items);
	*plan = (struct restore_plan){ 0 };
}

void restore_plan_hint(struct error *err, const struct point *point)
{
	if (point->position.txid != 0)
		error_fix(err, "restore up to transaction %" PRIu64 " by --txid %016" PRIx64
			       ":%" PRIu64,
			  point->position.txid, point->position.generation, point->position.txid);
}

/* -------------------------------------------------------------------- the snapshots */

static bool snapshot_fits(const struct restore_plan *plan, const struct restore_target *target,
			  const struct manifest_snapshot *snapshot)
{
	const struct point *point = &snapshot->point;

	if (!lineage_holds(&plan->line, point->position.generation, point->position.txid))
		return false;
	switch (target->kind) {
	case RESTORE_TXID:
		return point->position.txid <= target->txid;
	case RESTORE_TIME:
		/* An empty beginning is before everything; one that was emptied is not. */
		return point->time_us <= target->time_us ||
		       (point->position.txid == 0 && point->extent.n_pages == 0);
	case RESTORE_LATEST:
		break;
	}
	return true;
}

static int by_txid_descending(const void *a, const void *b)
{
	const struct manifest_snapshot *x = *(const struct manifest_snapshot *const *)a;
	const struct manifest_snapshot *y = *(const struct manifest_snapshot *const *)b;
	uint64_t x_txid = x->point.position.txid;
	uint64_t y_txid = y->point.position.txid;

	if (x_txid != y_txid)
		return x_txid < y_txid ? 1 : -1;
	return (x->created_us < y->created_us) - (x->created_us > y->created_us);
}

/* The earliest moment that can be had on the line, for an error. */
static int too_early(const struct restore_plan *plan, const struct holdings *holdings,
		     struct error *err)
{
	const struct manifest *manifest = &holdings->manifest;
	const struct point *first = NULL;
	char text[CLOCK_TEXT_SIZE];

	for (size_t i = 0; i < manifest->n_snapshots; i++) {
		const struct point *point = &manifest->snapshots[i].point;

		if (lineage_holds(&plan->line, point->position.generation, point->position.txid) &&
		    (first == NULL || point->position.txid < first->position.txid))
			first = point;
	}
	error_set(err, ENOENT, "%s of %s holds nothing that early", holdings->folder,
		  storage_url(holdings->storage));
	if (first == NULL)
		return error_why(err, "there is no snapshot in this line of history");
	clock_format(first->time_us, text);
	error_why(err, "its first snapshot is of transaction %" PRIu64 ", %s",
		  first->position.txid, text);
	restore_plan_hint(err, first);
	return -ENOENT;
}

static int collect_candidates(struct restore_plan *plan, const struct holdings *holdings,
			      const struct restore_target *target, struct error *err)
{
	const struct manifest *manifest = &holdings->manifest;

	plan->candidates = calloc(manifest->n_snapshots + 1, sizeof(*plan->candidates));
	if (plan->candidates == NULL)
		return error_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < manifest->n_snapshots; i++) {
		if (snapshot_fits(plan, target, &manifest->snapshots[i]))
			plan->candidates[plan->n_candidates++] = &manifest->snapshots[i];
	}
	if (plan->n_candidates == 0)
		return too_early(plan, holdings, err);
	qsort(plan->candidates, plan->n_candidates, sizeof(*plan->candidates),
	      by_txid_descending);
	return 0;
}

/* The TXID of the newest snapshot: behind it, only a list knows what there is. */
static uint64_t newest_snapshot(const struct manifest *manifest)
{
	uint64_t txid = 0;

	for (size_t i = 0; i < manifest->n_snapshots; i++)
		txid = MAX(txid, manifest->snapshots[i].point.position.txid);
	return txid;
}

int restore_plan_open(struct restore_plan *plan, struct holdings *holdings,
		      const struct restore_target *target, struct error *err)
{
	const struct manifest *manifest = &holdings->manifest;
	uint64_t leaf;
	int r;

	*plan = (struct restore_plan){ 0 };
	r = holdings_list(holdings, newest_snapshot(manifest), err);
	if (r < 0)
		return r;
	leaf = target->generation != 0 ? target->generation : holdings_newest_generation(holdings);
	/* An older generation that the manifest has dropped: segments still tell of it. */
	if (manifest_find_generation(manifest, leaf) == NULL)
		r = holdings_list(holdings, 0, err);
	if (r == 0)
		r = lineage_init(&plan->line, manifest->generations, manifest->n_generations, leaf,
				 err);
	if (r == 0)
		r = collect_candidates(plan, holdings, target, err);
	if (r < 0)
		restore_plan_done(plan);
	return r;
}

/* --------------------------------------------------------------------- the segments */

/* The first segment whose last TXID is txid or more. */
static size_t find_segment(const struct holdings *holdings, uint64_t txid)
{
	size_t low = 0;
	size_t high = holdings->n_segments;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (holdings->segments[middle].last < txid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* A whole segment of the line with transaction txid; NULL when there is none. */
static const struct holdings_segment *segment_with(const struct restore_plan *plan,
						   const struct holdings *holdings, uint64_t txid)
{
	const struct lineage_piece *piece = lineage_find(&plan->line, txid);

	for (size_t i = find_segment(holdings, txid); piece != NULL && i < holdings->n_segments;
	     i++) {
		const struct holdings_segment *segment = &holdings->segments[i];

		if (segment->generation == piece->generation && segment->first <= txid &&
		    segment->whole)
			return segment;
	}
	return NULL;
}

/* Whether a snapshot of the line behind txid is there. */
static bool has_later_snapshot(const struct restore_plan *plan, const struct holdings *holdings,
			       uint64_t txid)
{
	for (size_t i = 0; i < holdings->manifest.n_snapshots; i++) {
		const struct position *position = &holdings->manifest.snapshots[i].point.position;

		if (position->txid > txid &&
		    lineage_holds(&plan->line, position->generation, position->txid))
			return true;
	}
	return false;
}

/* Whether anything of the line behind txid is there. */
static bool has_later(const struct restore_plan *plan, const struct holdings *holdings,
		      uint64_t txid)
{
	if (has_later_snapshot(plan, holdings, txid))
		return true;
	for (size_t i = find_segment(holdings, txid); i < holdings->n_segments; i++) {
		const struct holdings_segment *segment = &holdings->segments[i];

		if (segment->whole && segment->first > txid &&
		    lineage_holds(&plan->line, segment->generation, segment->first))
			return true;
	}
	return false;
}

static int add_item(struct buf *items, const struct fetcher_item *item, struct error *err)
{
	if (buf_append(items, item, sizeof(*item)) < 0)
		return error_set(err, ENOMEM, "out of memory");
	return 0;
}

static int add_snapshot(struct restore_plan *plan, struct buf *items, struct error *err)
{
	const struct manifest_snapshot *snapshot = plan->snapshot;
	int r = 0;

	for (uint32_t part = 0; r == 0 && part < snapshot->n_parts; part++) {
		struct fetcher_item item = {
			.kind = OBJECT_SNAPSHOT,
			.snapshot = snapshot->name,
			.bytes = snapshot->bytes / snapshot->n_parts,
		};

		item.snapshot.part = part;
		r = add_item(items, &item, err);
	}
	plan->bytes += snapshot->bytes;
	return r;
}

/* Adds all parts of segment, of which transactions up to upto are wanted. */
static int add_segment(struct restore_plan *plan, struct buf *items,
		       const struct holdings_segment *segment, uint64_t upto, struct error *err)
{
	struct fetcher_item item = {
		.kind = OBJECT_SEGMENT,
		.segment = { segment->last, segment->first, segment->generation, 0 },
		.bytes = segment->bytes / (segment->n_parts + 1),
		.upto = upto,
	};
	int r = 0;

	for (uint32_t part = 0; r == 0 && part <= segment->n_parts; part++) {
		item.segment.part = part < segment->n_parts ? part : LAYOUT_PART_FINAL;
		r = add_item(items, &item, err);
	}
	plan->bytes += segment->bytes;
	return r;
}

/* Adds segments from behind the snapshot up to the target, or as far as they go. */
static int add_segments(struct restore_plan *plan, const struct holdings *holdings,
			uint64_t target, struct buf *items, struct error *err)
{
	uint64_t done = plan->snapshot->point.position.txid;
	int r = 0;

	while (r == 0 && done < target) {
		const struct holdings_segment *segment = segment_with(plan, holdings, done + 1);
		const struct lineage_piece *piece = lineage_find(&plan->line, done + 1);
		uint64_t upto;

		if (segment == NULL)
			break;
		upto = MIN(segment->last, piece->upper);
		upto = MIN(upto, target);
		r = add_segment(plan, items, segment, upto, err);
		done = upto;
	}
	plan->end = done;
	plan->missing = done < target && (target != UINT64_MAX || has_later(plan, holdings, done)) ?
				done + 1 : 0;
	return r;
}

static int hole(const struct restore_plan *plan, const struct holdings *holdings,
		const struct restore_target *target, struct error *err)
{
	const struct lineage_piece *piece = lineage_find(&plan->line, plan->missing);
	const struct lineage_piece *before = lineage_find(&plan->line, plan->end);
	struct point end = { .position = { before != NULL ? before->generation : 0, plan->end } };
	bool later = has_later(plan, holdings, plan->end);

	error_set(err, ENODATA, "%s of %s: transaction %" PRIu64 " of generation %016" PRIx64
				" is %s",
		  holdings->folder, storage_url(holdings->storage), plan->missing,
		  piece != NULL ? piece->generation : 0, later ? "missing" : "not there (yet)");
	if (target->kind == RESTORE_TXID && !later)
		error_why(err, "the last one stored is %" PRIu64, plan->end);
	else
		error_why(err, "no segment with it is stored, but later states are");
	restore_plan_hint(err, &end);
	error_exit(err, 65);
	return -ENODATA;
}

int restore_plan_choose(struct restore_plan *plan, struct holdings *holdings, size_t i,
			const struct restore_target *target, struct error *err)
{
	struct buf items CLEANUP_BUF = { 0 };
	uint64_t end = target->kind == RESTORE_TXID ? target->txid : UINT64_MAX;
	int r;

	plan->snapshot = plan->candidates[i];
	plan->bytes = 0;
	r = holdings_list(holdings, plan->snapshot->point.position.txid, err);
	if (r == 0)
		r = add_snapshot(plan, &items, err);
	if (r == 0)
		r = add_segments(plan, holdings, end, &items, err);
	if (r < 0)
		return r;
	free(plan->items);
	plan->n_items = items.len / sizeof(*plan->items);
	plan->items = (struct fetcher_item *)TAKE(items.data);
	/* For a time, what is missing may come after it. */
	if (plan->missing != 0 && target->kind != RESTORE_TIME)
		return hole(plan, holdings, target, err);
	return 0;
}
