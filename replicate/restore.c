/* SPDX-License-Identifier: MIT */
#include "replicate/restore.h"

#include "replicate/restore_output.h"
#include "replicate/snapshot.h"

#include <errno.h>
#include <inttypes.h>

/*
 * From a backend: fetch the plan's objects in order, write the pages of the
 * snapshot, check them against its position, then apply the segments. Whatever
 * is damaged is found before it is applied, so that apply.at says up to where
 * a restore goes.
 */
struct run {
	struct holdings holdings;
	struct restore_plan plan;
	const struct restore_request *request;
	struct restore_result *result;
	struct apply apply;
	struct fetcher *fetcher;
	uint64_t done; /* bytes, for progress */
	bool reached;  /* a transaction behind the wanted time was met */
};

static void run_done(struct run *run)
{
	fetcher_stop(run->fetcher);
	apply_done(&run->apply);
	restore_plan_done(&run->plan);
	holdings_done(&run->holdings);
}

void restore_result_done(struct restore_result *result)
{
	free(result->name);
	free(result->warning);
	*result = (struct restore_result){ 0 };
}

static int fetch(struct run *run, struct fetched *ret_fetched, struct error *err)
{
	int r = fetcher_next(run->fetcher, ret_fetched, err);

	if (r != 0)
		return r;
	run->result->bytes_read += ret_fetched->bytes;
	run->done += ret_fetched->bytes;
	if (run->request->progress != NULL)
		run->request->progress(run->request->arg, run->done,
				       MAX(run->plan.bytes, run->done));
	return 0;
}

/* --------------------------------------------------------------------- the snapshot */

static int load_part(struct run *run, const struct fetched *fetched, struct error *err)
{
	const struct point *end = &run->plan.snapshot->point;
	struct snapshot_part part = {
		.head = fetched->head,
		.runs = fetched->raw,
		.pages = fetched->raw + (size_t)fetched->head.n_runs * SNAPSHOT_RUN_LEN,
	};
	int r = 0;

	if (part.head.n_items != 0 && part.head.to.extent.page_size != end->extent.page_size)
		return error_set(err, EBADMSG, "part %u of the snapshot has another page size",
				 part.head.part);
	for (uint32_t i = 0; r == 0 && i < part.head.n_runs; i++) {
		struct snapshot_run pages = snapshot_part_run(&part, i);

		r = apply_pages(&run->apply, end, pages.first, pages.n, part.pages, err);
		part.pages += (size_t)pages.n * end->extent.page_size;
	}
	return r;
}

static int load_snapshot(struct run *run, struct error *err)
{
	const struct manifest_snapshot *snapshot = run->plan.snapshot;
	struct fetched fetched;
	int r = 0;

	for (uint32_t part = 0; r == 0 && part < snapshot->n_parts; part++) {
		r = fetch(run, &fetched, err);
		if (r == 0)
			r = load_part(run, &fetched, err);
	}
	if (r < 0)
		return r;
	r = apply_reach(&run->apply, &snapshot->point, err);
	return r < 0 ? error_wrap(err, "the snapshot of transaction %" PRIu64 " in %s of %s",
				  snapshot->point.position.txid, run->holdings.folder,
				  storage_url(run->holdings.storage)) : 0;
}

/* --------------------------------------------------------------------- the segments */

/* The records of one segment, across its parts. */
struct segment_stream {
	struct record_source source;
	struct run *run;
	struct fetched fetched;
	size_t at;
	uint32_t n_parts; /* taken so far */
};

/* Goes to the next part. 0; 1: the one at hand is the final one. */
static int stream_advance(struct segment_stream *stream, struct error *err)
{
	int r;

	if (stream->n_parts != 0 && (stream->fetched.head.flags & OBJECT_FINAL) != 0)
		return 1;
	r = fetch(stream->run, &stream->fetched, err);
	if (r > 0)
		return error_set(err, EBADMSG, "the final part of a segment is missing");
	if (r == 0 && stream->fetched.head.part != stream->n_parts)
		return error_set(err, EBADMSG, "part %u of a segment is missing", stream->n_parts);
	stream->n_parts++;
	stream->at = 0;
	return r;
}

static int stream_read(struct record_source *source, void *to, size_t len, struct error *err)
{
	struct segment_stream *stream = (struct segment_stream *)source;
	size_t done = 0;

	while (done < len) {
		size_t have = stream->fetched.raw_len - stream->at;
		int r = 0;

		if (have == 0)
			r = stream_advance(stream, err);
		if (r > 0 && done != 0)
			return error_set(err, EBADMSG, "a segment is cut off within a record");
		if (r != 0)
			return r;
		have = MIN(stream->fetched.raw_len - stream->at, len - done);
		memcpy((char *)to + done, stream->fetched.raw + stream->at, have);
		stream->at += have;
		done += have;
	}
	return 0;
}

/* Whether the record is the first one that is not wanted any more. */
static bool is_beyond(struct run *run, const struct record_header *record, uint64_t upto)
{
	const struct restore_target *target = &run->request->target;

	if (target->kind == RESTORE_TIME && record->time_us > target->time_us)
		run->reached = true;
	return run->reached || record->txid > upto;
}

static int apply_records(struct run *run, struct record_reader *reader,
			 const struct fetcher_item *item, struct error *err)
{
	int r;

	for (;;) {
		r = record_reader_next(reader, err);
		if (r != 0 || is_beyond(run, &reader->header, item->upto))
			return r < 0 ? r : 0;
		/* A segment may overlap the one before. */
		if (reader->header.txid <= run->apply.at.position.txid)
			continue;
		r = apply_forward(&run->apply, reader, item->segment.generation, err);
		if (r < 0)
			return r;
		run->result->n_transactions++;
	}
}

static int apply_segment(struct run *run, const struct fetcher_item *item, struct error *err)
{
	struct segment_stream stream = { .source.read = stream_read, .run = run };
	struct record_reader reader;
	int r = record_reader_init(&reader, &stream.source, err);

	if (r == 0)
		r = apply_records(run, &reader, item, err);
	record_reader_done(&reader);
	if (r < 0 && err->code == EBADMSG)
		restore_plan_hint(err, &run->apply.at);
	return r;
}

static int apply_segments(struct run *run, struct error *err)
{
	const struct restore_plan *plan = &run->plan;
	size_t begin = plan->snapshot->n_parts;
	int r = 0;

	for (size_t i = begin; r == 0 && !run->reached && i < plan->n_items; i++) {
		/* All parts of a segment are taken by the first. */
		if (i == begin ||
		    plan->items[i - 1].segment.part == LAYOUT_PART_FINAL)
			r = apply_segment(run, &plan->items[i], err);
	}
	if (r < 0 || run->reached || plan->missing == 0)
		return r;
	/* For a time: the hole would have come before it. */
	error_set(err, ENODATA, "%s of %s: transaction %" PRIu64 " is missing",
		  run->holdings.folder, storage_url(run->holdings.storage), plan->missing);
	error_why(err, "no segment with it is stored, but later states are");
	restore_plan_hint(err, &run->apply.at);
	error_exit(err, 65);
	return -ENODATA;
}

/* ----------------------------------------------------------------------- the whole */

static int run_plan(struct run *run, struct error *err)
{
	int r = apply_restart(&run->apply, err);

	run->done = 0;
	run->reached = false;
	if (r == 0)
		r = fetcher_start(run->holdings.storage, run->holdings.folder, run->plan.items,
				  run->plan.n_items, &run->fetcher, err);
	if (r == 0)
		r = load_snapshot(run, err);
	if (r == 0)
		r = apply_segments(run, err);
	fetcher_stop(TAKE(run->fetcher));
	return r < 0 ? r : apply_finish(&run->apply, err);
}

static void add_warning(struct restore_result *result, const char *text)
{
	char *both;

	if (asprintf(&both, "%s%s%s", result->warning != NULL ? result->warning : "",
		     result->warning != NULL ? "; " : "", text) < 0)
		return;
	free(result->warning);
	result->warning = both;
}

/* Whether an older snapshot may help: the one at hand did not load. */
static bool worth_another(const struct run *run, int r)
{
	return r == -EBADMSG && run->apply.at.position.generation == 0;
}

/* Tries the snapshots, best first, until one leads to the target. */
static int run_candidates(struct run *run, struct error *err)
{
	struct error later CLEANUP_ERROR = ERROR_INIT;
	int r = -ENOENT;

	for (size_t i = 0; i < run->plan.n_candidates; i++) {
		struct error *now = i == 0 ? err : &later;

		r = restore_plan_choose(&run->plan, &run->holdings, i, &run->request->target, now);
		if (r == 0)
			r = run_plan(run, now);
		if (r == 0 && i != 0)
			add_warning(run->result, error_what(err));
		if (r == 0 || !worth_another(run, r))
			break;
	}
	/* With all of them damaged the first, wanted one is what to tell of. */
	if (worth_another(run, r) && err->fix == NULL)
		error_fix(err, "no older snapshot is whole; choose a moment behind a later one, "
			       "see the list command");
	return r < 0 ? -err->code : 0;
}

int restore_to_fd(struct storage *storage, const char *folder,
		  const struct restore_request *request, int fd, struct restore_result *ret_result,
		  struct error *err)
{
	struct run run CLEANUP(run_done) = { .request = request, .result = ret_result };
	struct error damage CLEANUP_ERROR = ERROR_INIT;
	int r;

	*ret_result = (struct restore_result){ 0 };
	r = apply_init(&run.apply, fd, err);
	if (r == 0)
		r = holdings_open(&run.holdings, storage, folder, &damage, err);
	if (r > 0)
		return error_set(err, ENOENT, "%s of %s holds no backup of a database", folder,
				 storage_url(storage));
	if (r == 0 && run.holdings.rebuilt)
		add_warning(ret_result, error_what(&damage));
	if (r == 0)
		r = restore_plan_open(&run.plan, &run.holdings, &request->target, err);
	if (r == 0)
		r = run_candidates(&run, err);
	if (r < 0) {
		restore_result_done(ret_result);
		return r;
	}
	ret_result->name = TAKE(run.holdings.manifest.name);
	ret_result->point = run.apply.at;
	ret_result->bytes_written = run.apply.n_bytes;
	return 0;
}

int restore_from_backend(struct storage *storage, const char *folder,
			 const struct restore_request *request, struct restore_result *ret_result,
			 struct error *err)
{
	struct restore_output output CLEANUP(restore_output_close) = { .dir_fd = -1, .fd = -1 };
	int r = restore_output_open(&output, request->output, request->force, err);

	if (r == 0)
		r = restore_to_fd(storage, folder, request, output.fd, ret_result, err);
	if (r < 0)
		return r;
	r = restore_output_commit(&output, err);
	if (r < 0)
		restore_result_done(ret_result);
	return r;
}
