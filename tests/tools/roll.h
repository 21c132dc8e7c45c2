/* SPDX-License-Identifier: MIT */
#ifndef TESTS_TOOLS_ROLL_H
#define TESTS_TOOLS_ROLL_H

#include "replicate/apply.h"
#include "replicate/txlog.h"

/*
 * For tests: a log that is open for reading only, rolled forward into a file.
 * Every record, page and checksum is verified on the way.
 */

/* What was applied so far. */
struct roll {
	uint64_t n_records;
	uint64_t n_merged;
	uint64_t last_merged; /* its txid, or 0 */
	uint64_t n_undoable;
	uint64_t n_generations; /* that began on the way */
	int64_t last_us;
	bool time_went_back;
};

/* Takes apply's file for what the database was when its log began. 0 or -errno. */
int roll_begin(struct txlog *log, struct apply *apply, struct error *err) MUST_CHECK;

/*
 * Applies all records behind the position that apply is at, and adds them to
 * roll. 0 or -errno.
 */
int roll_forward(struct txlog *log, struct apply *apply, struct roll *roll,
		 struct error *err) MUST_CHECK;

#endif
