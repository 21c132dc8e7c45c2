/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_COPIER_H
#define REPLICATE_COPIER_H

#include "replicate/database.h"
#include "replicate/object.h"

/*
 * Copies a database as it is at an exact position, while transactions go on and
 * without any lock of SQLite: first all pages are read, each stretch at whatever
 * position it is then; then, in rounds, those that changed since they were read,
 * as the log tells; the last round holds capture still. So a page may be given
 * more than once, and the last version counts.
 *
 * It is done in steps, so that its thread can do other things in between. Used
 * by one thread.
 */
struct copier;

/* Where the pages go; embedded by value. */
struct copier_sink {
	/* Takes n pages from first on. 0 or -errno, which ends the copy. */
	int (*take)(void *arg, uint32_t first, uint32_t n, const uint8_t *pages,
		    uint32_t page_size, struct error *err);
	/* Whether the step should end so that the sink can be emptied. NULL: never. */
	bool (*full)(void *arg);
	void *arg;
};

/*
 * Begins a copy of db, which the copier takes a reference of. 0 or -errno
 * (-ESTALE: the database is not ready).
 */
int copier_new(struct database *db, const struct copier_sink *sink, struct copier **ret_copier,
	       struct error *err) MUST_CHECK;
void copier_free(struct copier *copier); /* NULL is fine */

/*
 * Does some of the work. 0: there is more to do; 1: the sink has everything, and
 * its checksum is that of copier_point(); 2: there is more, but not right now: a
 * writer is at the pages; -ESTALE: it must be begun anew (the database changes
 * too fast, its page size or its history changed); another -errno.
 */
int copier_step(struct copier *copier, struct error *err) MUST_CHECK;

/* What the log says of the history it began in. */
const struct log_header *copier_log_head(const struct copier *copier);

/* Where the copy began, and what it is once copier_step() has returned 1. */
const struct point *copier_begin(const struct copier *copier);
const struct point *copier_point(const struct copier *copier);

/* Log records behind that TXID are still needed. */
uint64_t copier_needs(const struct copier *copier);

/* Pages read in the first round, of all: for status. */
void copier_progress(const struct copier *copier, uint64_t *ret_done, uint64_t *ret_total);

#endif
