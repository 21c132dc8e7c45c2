/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "base/file.h"
#include "replicate/log_line.h"
#include "replicate/restore.h"
#include "replicate/restore_output.h"

#include <errno.h>
#include <inttypes.h>

/*
 * From a transaction log. The wanted state is on one line of history, the live
 * one at the end of another (mostly the same). The way from the live state is
 * back to where the lines part, then forward; the way from nothing is forward
 * only, where the log still has its first transaction.
 */
struct log_restore {
	struct txlog *log;
	const struct restore_request *request;
	struct restore_result *result;
	struct log_line target;	/* the line that the target is on */
	struct log_line live;	/* the log's newest line */
	uint64_t txid;		/* the target */
	struct log_window window;
	struct apply apply;
	uint64_t done;
	uint64_t total;
};

static void log_restore_done(struct log_restore *restore)
{
	log_line_done(&restore->target);
	log_line_done(&restore->live);
	log_window_done(&restore->window);
	apply_done(&restore->apply);
}

/* ----------------------------------------------------------------------- the target */

/* The transaction of line that target means; 0 = line does not hold it. */
static uint64_t find_on(const struct log_line *line, const struct restore_target *target)
{
	uint64_t txid = log_line_end(line);

	if (target->kind == RESTORE_TXID)
		return target->txid <= txid && target->txid >= line->base.position.txid ?
			       target->txid : 0;
	while (txid > line->base.position.txid && log_line_time(line, txid) > target->time_us)
		txid--;
	return log_line_time(line, txid) <= target->time_us ? txid : 0;
}

/*
 * History may have jumped: the newest other generation of the log whose line holds
 * target, and the transaction there. Whether there is one.
 */
static bool find_elsewhere(const struct log_restore *restore, uint64_t *ret_generation,
			   uint64_t *ret_txid)
{
	struct txlog *log = restore->log;
	struct buf files CLEANUP_BUF = { 0 };
	CLEANUP_ERROR struct error no_memory = ERROR_INIT;
	const struct txlog_file *items;
	int r = txlog_copy_files(log, &files, &no_memory);

	items = (const struct txlog_file *)files.data;
	*ret_txid = 0;
	for (size_t i = files.len / sizeof(*items); r == 0 && *ret_txid == 0 && i-- > 0;) {
		CLEANUP_ERROR struct error ignored = ERROR_INIT;
		struct log_line line;

		*ret_generation = items[i].base.generation;
		if (i + 1 < files.len / sizeof(*items) &&
		    items[i + 1].base.generation == *ret_generation)
			continue;
		if (log_line_init(&line, log, *ret_generation, &ignored) < 0)
			continue;
		*ret_txid = find_on(&line, &restore->request->target);
		log_line_done(&line);
	}
	return *ret_txid != 0;
}

static int not_held(const struct log_restore *restore, struct error *err)
{
	const struct log_line *line = &restore->target;
	uint64_t generation;
	uint64_t txid;
	char first[CLOCK_TEXT_SIZE];
	char last[CLOCK_TEXT_SIZE];

	clock_format(line->base.time_us, first);
	clock_format(log_line_time(line, log_line_end(line)), last);
	error_set(err, ENOENT, "the transaction log does not hold that moment");
	error_why(err, "it reaches from transaction %" PRIu64 " (%s) to %" PRIu64 " (%s)",
		  line->base.position.txid, first, log_line_end(line), last);
	if (restore->request->target.generation == 0 &&
	    find_elsewhere(restore, &generation, &txid))
		return error_fix(err, "history before it jumped is there as --txid "
				 "%016" PRIx64 ":%" PRIu64, generation, txid);
	return error_fix(err, "choose a moment in between, or restore from a backend");
}

static int find_target(struct log_restore *restore, struct error *err)
{
	const struct restore_target *target = &restore->request->target;
	const struct log_line *line = &restore->target;

	restore->txid = log_line_end(line);
	switch (target->kind) {
	case RESTORE_LATEST:
		return 0;
	case RESTORE_TXID:
		restore->txid = target->txid;
		if (target->txid >= line->base.position.txid && target->txid <= log_line_end(line))
			return 0;
		break;
	case RESTORE_TIME:
		while (restore->txid > line->base.position.txid &&
		       log_line_time(line, restore->txid) > target->time_us)
			restore->txid--;
		if (log_line_time(line, restore->txid) <= target->time_us)
			return 0;
		break;
	}
	return not_held(restore, err);
}

/* ---------------------------------------------------------------------- the two ways */

/* Bytes of the records behind from, up to to. */
static uint64_t bytes_between(const struct log_line *line, uint64_t from, uint64_t to)
{
	uint64_t bytes = 0;

	for (uint64_t txid = from + 1; txid <= to; txid++) {
		const struct log_step *step = log_line_step(line, txid);

		bytes += step != NULL ? step->place.size : 0;
	}
	return bytes;
}

/* The last transaction up to txid that both lines share. */
static uint64_t fork_point(const struct log_restore *restore, uint64_t txid)
{
	uint64_t low = MAX(restore->target.base.position.txid, restore->live.base.position.txid);

	for (txid = MIN(txid, restore->txid); txid > low; txid--) {
		if (log_line_generation(&restore->target, txid) ==
		    log_line_generation(&restore->live, txid))
			break;
	}
	return txid;
}

static void step_done(struct log_restore *restore, const struct log_step *step)
{
	restore->result->n_transactions++;
	restore->result->bytes_read += step->place.size;
	restore->done += step->place.size;
	if (restore->request->progress != NULL)
		restore->request->progress(restore->request->arg, restore->done,
					   MAX(restore->done, restore->total));
}

static int cannot_undo(const struct log_restore *restore, uint64_t txid, struct error *err)
{
	error_set(err, ENODATA, "transaction %" PRIu64 " cannot be undone", txid);
	error_why(err, "the log holds its pages as they became, not what they were");
	error_fix(err, "restore transaction %" PRIu64 " or a later one, or from a backend", txid);
	error_exit(err, 65);
	return -ENODATA;
}

/* Takes back the live line's transactions behind to. */
static int roll_back(struct log_restore *restore, uint64_t to, struct error *err)
{
	while (restore->apply.at.position.txid > to) {
		uint64_t txid = restore->apply.at.position.txid;
		const struct log_step *step = log_line_step(&restore->live, txid);
		struct record_reader *reader;
		int r;

		if (step == NULL)
			return not_held(restore, err);
		r = log_window_read(&restore->window, restore->log, &step->place, true, &reader,
				    err);
		if (r == 0)
			r = apply_backward(&restore->apply, reader,
					   log_line_generation(&restore->live, txid - 1),
					   log_line_time(&restore->live, txid - 1), err);
		if (r > 0)
			return cannot_undo(restore, txid, err);
		if (r < 0)
			return r;
		step_done(restore, step);
	}
	return 0;
}

/* Applies the target line's transactions up to the target. */
static int roll_forward(struct log_restore *restore, struct error *err)
{
	while (restore->apply.at.position.txid < restore->txid) {
		const struct log_step *step =
			log_line_step(&restore->target, restore->apply.at.position.txid + 1);
		struct record_reader *reader;
		int r;

		if (step == NULL)
			return not_held(restore, err);
		r = log_window_read(&restore->window, restore->log, &step->place, false, &reader,
				    err);
		if (r == 0)
			r = apply_forward(&restore->apply, reader, step->place.generation, err);
		if (r < 0)
			return r;
		step_done(restore, step);
	}
	restore->apply.at.position.generation =
		log_line_generation(&restore->target, restore->txid);
	return 0;
}

/* Whether the log begins with an empty database. */
static bool begins_empty(const struct log_restore *restore)
{
	return restore->target.base.position.txid == 0 &&
	       restore->target.base.extent.n_pages == 0;
}

static int run_from_nothing(struct log_restore *restore, struct error *err)
{
	restore->total = bytes_between(&restore->target, 0, restore->txid);
	restore->apply.at = restore->target.base;
	return roll_forward(restore, err);
}

static void adopt_progress(void *arg, uint64_t n_bytes)
{
	struct log_restore *restore = arg;

	restore->done += n_bytes;
	if (restore->request->progress != NULL)
		restore->request->progress(restore->request->arg, restore->done,
					   MAX(restore->done, restore->total));
}

/* The first transaction on the way back that cannot be undone; 0 = none. */
static uint64_t find_obstacle(const struct log_restore *restore, uint64_t from, uint64_t to)
{
	for (uint64_t txid = from; txid > to; txid--) {
		const struct log_step *step = log_line_step(&restore->live, txid);

		if (step == NULL || !step->undoable)
			return txid;
	}
	return 0;
}

static int find_lines(struct log_restore *restore, struct error *err)
{
	int r = log_line_init(&restore->target, restore->log, restore->request->target.generation,
			      err);

	if (r == 0)
		r = log_line_init(&restore->live, restore->log, 0, err);
	return r < 0 ? r : find_target(restore, err);
}

/* A log that another process writes has grown since it was opened. */
static int refresh(struct log_restore *restore, struct error *err)
{
	struct txlog *log = restore->log;
	char *path CLEANUP_FREE = strdup(log->path);
	int root_fd = log->root_fd;
	struct txlog_state state;
	int r;

	if (path == NULL)
		return error_set(err, ENOMEM, "out of memory");
	if (log->read_only) {
		txlog_close(log);
		r = txlog_open_read_only(log, root_fd, path, &state, err);
		if (r < 0)
			return r;
		error_done(err); /* of damage, which was known before */
	}
	log_line_done(&restore->target);
	log_line_done(&restore->live);
	return find_lines(restore, err);
}

static int run_from_live(struct log_restore *restore, const struct restore_live *live,
			 struct error *err)
{
	struct point point;
	uint64_t fork;
	uint64_t obstacle;
	int r = live->copy(live->arg, restore->apply.fd, &point, err);

	if (r == 0)
		r = refresh(restore, err);
	if (r < 0)
		return r;
	if (!log_line_holds(&restore->live, point.position.txid, point.position.checksum)) {
		error_set(err, EAGAIN, "the transaction log does not hold the position of the copy,"
				       " transaction %" PRIu64, point.position.txid);
		return error_fix(err, "try again");
	}
	fork = fork_point(restore, point.position.txid);
	obstacle = find_obstacle(restore, point.position.txid, fork);
	if (obstacle != 0)
		return cannot_undo(restore, obstacle, err);
	restore->total = extent_bytes(point.extent) +
			 bytes_between(&restore->live, fork, point.position.txid) +
			 bytes_between(&restore->target, fork, restore->txid);
	r = apply_adopt(&restore->apply, &point, adopt_progress, restore, err);
	if (r == 0)
		r = roll_back(restore, fork, err);
	return r < 0 ? r : roll_forward(restore, err);
}

/* Whether to begin from nothing: where that is possible and not more work. */
static bool prefer_nothing(const struct log_restore *restore)
{
	uint64_t now = log_line_end(&restore->live);
	uint64_t fork = fork_point(restore, now);
	struct extent extent;

	txlog_position(restore->log, &extent, NULL);
	if (find_obstacle(restore, now, fork) != 0)
		return true;
	return bytes_between(&restore->target, 0, restore->txid) <=
	       2 * extent_bytes(extent) + bytes_between(&restore->live, fork, now) +
		       bytes_between(&restore->target, fork, restore->txid);
}

int restore_log_to_fd(struct txlog *log, const struct restore_live *live,
		      const struct restore_request *request, int fd,
		      struct restore_result *ret_result, struct error *err)
{
	struct log_restore restore CLEANUP(log_restore_done) = {
		.log = log, .request = request, .result = ret_result,
		.window = { .fd = -1, .large.fd = -1 },
	};
	int r;

	*ret_result = (struct restore_result){ 0 };
	r = apply_init(&restore.apply, fd, err);
	if (r == 0)
		r = log_window_init(&restore.window, err);
	if (r == 0)
		r = find_lines(&restore, err);
	if (r < 0)
		return r;
	if (begins_empty(&restore) && (live == NULL || prefer_nothing(&restore)))
		r = run_from_nothing(&restore, err);
	else if (live != NULL)
		r = run_from_live(&restore, live, err);
	else
		r = error_set(err, ENOENT,
			      "the transaction log does not reach back to an empty database");
	if (r == 0)
		r = apply_finish(&restore.apply, err);
	ret_result->point = restore.apply.at;
	ret_result->bytes_written = restore.apply.n_bytes;
	return r;
}

int restore_from_log(struct txlog *log, const struct restore_live *live,
		     const struct restore_request *request, struct restore_result *ret_result,
		     struct error *err)
{
	struct restore_output output CLEANUP(restore_output_close) = { .dir_fd = -1, .fd = -1 };
	int r = restore_output_open(&output, request->output, request->force, err);

	if (r == 0)
		r = restore_log_to_fd(log, live, request, output.fd, ret_result, err);
	return r < 0 ? r : restore_output_commit(&output, err);
}
