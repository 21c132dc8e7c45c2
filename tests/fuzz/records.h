/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FUZZ_RECORDS_H
#define TESTS_FUZZ_RECORDS_H

#include "tests/fuzz/fuzz.h"

/* What to put right in a run of transaction records: hardly a mutation passes the hashes. */
enum {
	FUZZ_FIX_HEADERS = 1 << 0, /* their hashes */
	FUZZ_FIX_ENTRIES = 1 << 1, /* the hashes of all behind a header */
	FUZZ_FIX_SIZES = 1 << 2,   /* sizes that reach beyond the end */
};

/* Does so in place. */
void fuzz_fix_records(uint8_t *data, size_t size, unsigned what);

#endif
