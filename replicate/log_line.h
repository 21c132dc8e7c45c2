/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_LOG_LINE_H
#define REPLICATE_LOG_LINE_H

#include "replicate/lineage.h"
#include "replicate/txlog.h"

/*
 * One line of history in a transaction log: where each of its records stands,
 * so that they can be read in either direction.
 */

struct log_step {
	struct txlog_place place;
	uint64_t checksum_before;
	uint64_t checksum_after;
	struct extent before;
	bool undoable;
};

/*
 * Invariant: steps are consecutive transactions, oldest first, each building on
 * the one before; steps[0] builds on base.
 */
struct log_line {
	struct lineage lineage;
	struct log_step *steps;
	size_t n_steps;
	struct point base;
};

/*
 * Finds the line that ends in generation leaf (0: the log's newest): as far back
 * as the log goes without a break. 0 or -errno (-ENOENT: no such generation).
 */
int log_line_init(struct log_line *line, struct txlog *log, uint64_t leaf,
		  struct error *err) MUST_CHECK;
void log_line_done(struct log_line *line);

/* The last transaction of the line. */
uint64_t log_line_end(const struct log_line *line);

/* The step that is transaction txid; NULL when the line does not hold it. */
const struct log_step *log_line_step(const struct log_line *line, uint64_t txid);

/* The generation and commit time of the state behind txid, base.txid <= txid <= end. */
uint64_t log_line_generation(const struct log_line *line, uint64_t txid);
int64_t log_line_time(const struct log_line *line, uint64_t txid);

/* Whether the state behind txid is on the line, with that checksum. */
bool log_line_holds(const struct log_line *line, uint64_t txid, uint64_t checksum);

/*
 * Reads records at places in any order, in few large reads when they are near
 * each other. Zeroed before use; one thread.
 */
struct log_window {
	int fd;
	uint32_t number; /* of the open file; 0 = none */
	uint64_t begin;	 /* data holds the bytes from there on */
	struct buf data;
	struct txlog_reader large; /* for a record that is larger than the window */
	struct record_memory memory;
	struct record_reader reader;
};

int log_window_init(struct log_window *window, struct error *err) MUST_CHECK;
void log_window_done(struct log_window *window);

/*
 * Goes to the record at place; backward: the next ones wanted stand before it.
 * *ret_reader is at it, as after record_reader_next(). 0 or -errno.
 */
int log_window_read(struct log_window *window, struct txlog *log, const struct txlog_place *place,
		    bool backward, struct record_reader **ret_reader,
		    struct error *err) MUST_CHECK;

#endif
