/* SPDX-License-Identifier: MIT */
#include "replicate/log_line.h"

#include "base/file.h"
#include "replicate/txlog_internal.h"

#include <errno.h>

#define WINDOW_LEN (8u << 20)

/* ------------------------------------------------------------------- the generations */

static int read_head(struct txlog *log, const struct txlog_file *file, struct log_header *ret_head,
		     struct error *err)
{
	int fd CLEANUP_FD = txlog_file_open(log, file, ".log", O_RDONLY);
	uint8_t bytes[LOG_HEADER_LEN];

	if (fd < 0)
		return error_set_errno(err, -fd, "cannot open log file %08x", file->number);
	if (file_pread(fd, bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return error_set(err, EBADMSG, "log file %08x is cut off", file->number);
	return log_header_parse(bytes, ret_head, err);
}

/* The generations of the files, oldest first. */
static int read_generations(struct txlog *log, const struct buf *files,
			    struct manifest *ret_generations, struct error *err)
{
	const struct txlog_file *items = (const struct txlog_file *)files->data;
	int r = 0;

	for (size_t i = 0; r == 0 && i < files->len / sizeof(*items); i++) {
		struct manifest_generation generation;
		struct log_header head;

		r = read_head(log, &items[i], &head, err);
		if (r < 0)
			return r;
		generation = manifest_generation_of_log(&head);
		if (manifest_add_generation(ret_generations, &generation) < 0)
			r = error_set(err, ENOMEM, "out of memory");
	}
	return r;
}

/* ------------------------------------------------------------------------- the steps */

struct collect {
	struct log_line *line;
	struct buf steps;     /* newest first */
	struct position leaf; /* where the last generation begins in the log */
};

static void collect_done(struct collect *collect)
{
	buf_done(&collect->steps);
}

static int collect_step(void *arg, const struct txlog_place *place,
			const struct record_header *header, struct error *err)
{
	struct collect *collect = arg;
	const struct lineage_piece *piece = lineage_find(&collect->line->lineage, header->txid);
	const struct log_step *newer = NULL;
	struct log_step step = {
		.place = *place,
		.checksum_before = header->checksum_before,
		.checksum_after = header->checksum_after,
		.before = header->before,
		.undoable = (header->flags & RECORD_UNDOABLE) != 0,
	};

	if (piece == NULL || piece->generation != place->generation)
		return 0; /* of another branch */
	if (collect->steps.len != 0)
		newer = (const struct log_step *)(collect->steps.data + collect->steps.len) - 1;
	if (newer != NULL && (newer->place.txid != place->txid + 1 ||
			      newer->checksum_before != step.checksum_after))
		return 1;
	/* Without a record of its own the leaf is where it began, perhaps by a jump. */
	if (newer == NULL && place->generation != collect->leaf.generation &&
	    (place->txid != collect->leaf.txid || step.checksum_after != collect->leaf.checksum))
		return 1;
	if (buf_append(&collect->steps, &step, sizeof(step)) < 0)
		return error_set(err, ENOMEM, "out of memory");
	return 0;
}

static void turn_around(struct log_step *steps, size_t n)
{
	for (size_t i = 0; i < n / 2; i++) {
		struct log_step step = steps[i];

		steps[i] = steps[n - 1 - i];
		steps[n - 1 - i] = step;
	}
}

/* The oldest file of a generation that is in the log. */
static const struct txlog_file *first_file(const struct buf *files, uint64_t generation)
{
	const struct txlog_file *items = (const struct txlog_file *)files->data;
	size_t i = 0;

	while (items[i].base.generation != generation)
		i++;
	return &items[i];
}

/* The state that the first step builds on; without steps, where leaf begins. */
static void set_base(struct log_line *line, const struct txlog_file *leaf,
		     const struct buf *files)
{
	const struct txlog_file *items = (const struct txlog_file *)files->data;
	const struct log_step *first = line->steps;

	if (line->n_steps == 0) {
		line->base = (struct point){ leaf->base, leaf->extent, leaf->base_time_us };
		return;
	}
	line->base = (struct point){
		.position = { log_line_generation(line, first->place.txid - 1),
			      first->place.txid - 1, first->checksum_before },
		.extent = first->before,
		.time_us = first->place.time_us,
	};
	for (size_t i = 0; i < files->len / sizeof(*items); i++) {
		if (items[i].number == first->place.number)
			line->base.time_us = items[i].base_time_us;
	}
}

int log_line_init(struct log_line *line, struct txlog *log, uint64_t leaf, struct error *err)
{
	struct collect collect CLEANUP(collect_done) = { .line = line };
	struct manifest known CLEANUP(manifest_done) = { 0 };
	struct buf files CLEANUP_BUF = { 0 };
	const struct txlog_file *first = NULL;
	int r;

	*line = (struct log_line){ 0 };
	r = txlog_copy_files(log, &files, err);
	if (r == 0)
		r = read_generations(log, &files, &known, err);
	if (r == 0 && known.n_generations == 0)
		r = error_set(err, ENOENT, "the transaction log is empty");
	if (r == 0 && leaf == 0)
		leaf = known.generations[known.n_generations - 1].generation;
	if (r == 0)
		r = lineage_init(&line->lineage, known.generations, known.n_generations, leaf, err);
	if (r == 0) {
		first = first_file(&files, leaf);
		collect.leaf = first->base;
	}
	if (r == 0)
		r = txlog_each_backward(log, collect_step, &collect, err);
	if (r < 0) {
		log_line_done(line);
		return r;
	}
	line->n_steps = collect.steps.len / sizeof(*line->steps);
	line->steps = (struct log_step *)TAKE(collect.steps.data);
	turn_around(line->steps, line->n_steps);
	set_base(line, first, &files);
	return 0;
}

void log_line_done(struct log_line *line)
{
	lineage_done(&line->lineage);
	free(line->steps);
	*line = (struct log_line){ 0 };
}

uint64_t log_line_end(const struct log_line *line)
{
	return line->base.position.txid + line->n_steps;
}

const struct log_step *log_line_step(const struct log_line *line, uint64_t txid)
{
	if (txid <= line->base.position.txid || txid > log_line_end(line))
		return NULL;
	return &line->steps[txid - line->base.position.txid - 1];
}

uint64_t log_line_generation(const struct log_line *line, uint64_t txid)
{
	const struct lineage_piece *piece = lineage_find(&line->lineage, txid);

	/* A root's own beginning has no transaction. */
	return piece != NULL ? piece->generation : line->lineage.pieces[0].generation;
}

int64_t log_line_time(const struct log_line *line, uint64_t txid)
{
	const struct log_step *step = log_line_step(line, txid);

	return step != NULL ? step->place.time_us : line->base.time_us;
}

bool log_line_holds(const struct log_line *line, uint64_t txid, uint64_t checksum)
{
	const struct log_step *step = log_line_step(line, txid);

	if (txid == line->base.position.txid)
		return line->base.position.checksum == checksum;
	return step != NULL && step->checksum_after == checksum;
}

/* ------------------------------------------------------------------------ the window */

int log_window_init(struct log_window *window, struct error *err)
{
	*window = (struct log_window){ .fd = -1, .large.fd = -1 };
	record_memory_init(&window->memory, NULL, 0);
	return record_reader_init(&window->reader, &window->memory.source, err);
}

void log_window_done(struct log_window *window)
{
	if (window->fd >= 0)
		close(window->fd);
	buf_done(&window->data);
	txlog_reader_close(&window->large);
	record_reader_done(&window->reader);
}

static int open_file(struct log_window *window, struct txlog *log,
		     const struct txlog_place *place, struct error *err)
{
	struct txlog_file file = {
		.number = place->number,
		.base.generation = place->generation,
	};

	if (window->number == place->number)
		return 0;
	if (window->fd >= 0)
		close(window->fd);
	window->number = 0;
	window->data.len = 0;
	window->fd = txlog_file_open(log, &file, ".log", O_RDONLY);
	if (window->fd < 0)
		return error_set_errno(err, -window->fd, "cannot open log file %08x",
				       place->number);
	window->number = place->number;
	return 0;
}

/* Reads the bytes of the record at place, and those before or behind it. */
static int fill(struct log_window *window, const struct txlog_place *place, bool backward,
		struct error *err)
{
	uint64_t end = place->offset + place->size;
	ssize_t n;

	if (place->offset >= window->begin && end <= window->begin + window->data.len)
		return 0;
	window->begin = !backward ? place->offset : end > WINDOW_LEN ? end - WINDOW_LEN : 0;
	buf_reset(&window->data);
	if (buf_reserve(&window->data, WINDOW_LEN) < 0)
		return error_set(err, ENOMEM, "out of memory");
	n = file_pread(window->fd, window->data.data,
		       backward ? (size_t)(end - window->begin) : WINDOW_LEN,
		       (off_t)window->begin);
	if (n < 0)
		return error_set_errno(err, (int)-n, "cannot read the transaction log");
	window->data.len = (size_t)n;
	if (window->begin + window->data.len < end)
		return error_set(err, EBADMSG, "the transaction log is cut off");
	return 0;
}

int log_window_read(struct log_window *window, struct txlog *log, const struct txlog_place *place,
		    bool backward, struct record_reader **ret_reader, struct error *err)
{
	int r;

	if (place->size > WINDOW_LEN) {
		r = txlog_reader_seek(&window->large, log, place, err);
		if (r == 0)
			r = txlog_reader_next(&window->large, err);
		*ret_reader = &window->large.records;
	} else {
		r = open_file(window, log, place, err);
		if (r == 0)
			r = fill(window, place, backward, err);
		if (r < 0)
			return r;
		record_memory_init(&window->memory,
				   window->data.data + (place->offset - window->begin),
				   place->size);
		window->reader.header.txid = 0;
		r = record_reader_next(&window->reader, err);
		*ret_reader = &window->reader;
	}
	if (r > 0)
		return error_set(err, EBADMSG, "the transaction log is cut off");
	return r;
}
