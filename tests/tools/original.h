/* SPDX-License-Identifier: MIT */
#ifndef TESTS_TOOLS_ORIGINAL_H
#define TESTS_TOOLS_ORIGINAL_H

#include "base/buf.h"
#include "base/error.h"
#include "replicate/record.h"

/*
 * For tests: a database as SQLite sees it, the file under the frames of its WAL,
 * read without a lock while nobody commits. In rollback-journal mode nobody may
 * be in a transaction either.
 */

/* What says which frames of the WAL count. */
enum original_end {
	ORIGINAL_INDEX, /* the WAL-index: a connection uses it */
	ORIGINAL_CHAIN, /* the checksums: a connection without one, or none at all */
};

/* Where in a WAL a transaction ended; frame 0: nowhere. */
struct original_mark {
	uint32_t salt1;
	uint32_t salt2;
	uint32_t frame;
};

struct original {
	struct extent extent;
	struct buf pages;	   /* of that extent */
	bool wal_mode;		   /* as page 1 says */
	bool has_tail;		   /* there is more than page 1 counts */
	struct original_mark mark; /* the last commit in the WAL */
	uint32_t n_commits;	   /* in the WAL, behind the mark that was given */
};

/*
 * Reads the database name in the folder dir_fd; original_done() afterwards in
 * any case. 0; 1: the WAL-index is not one that tells, a connection has to read
 * the database first; -errno.
 */
int original_read(struct original *original, int dir_fd, const char *name, enum original_end end,
		  const struct original_mark *since, struct error *err) MUST_CHECK;
void original_done(struct original *original);

#endif
