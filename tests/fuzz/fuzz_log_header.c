/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "replicate/record.h"

#include <string.h>

/* The input is a log file's header; once as it is, once with its hash put right. */

static void parse(const uint8_t *bytes)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct log_header header;
	struct log_header again;
	uint8_t copy[LOG_HEADER_LEN];

	if (log_header_parse(bytes, &header, &err) < 0) {
		FUZZ_CHECK(err.what != NULL && err.code != 0);
		return;
	}
	FUZZ_CHECK(header.base.generation != 0 && header.key_id == 0);
	log_header_format(&header, copy);
	FUZZ_CHECK(log_header_parse(copy, &again, &err) == 0);
	FUZZ_CHECK(position_equal(&header.base, &again.base));
	FUZZ_CHECK(position_equal(&header.parent, &again.parent));
	FUZZ_CHECK(memcmp(&header.mark, &again.mark, sizeof(header.mark)) == 0);
	FUZZ_CHECK(header.time_us == again.time_us && header.term == again.term);
	FUZZ_CHECK(extent_bytes(header.extent) == extent_bytes(again.extent));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t bytes[LOG_HEADER_LEN] = { 0 };

	memcpy(bytes, data != NULL ? data : bytes, size < sizeof(bytes) ? size : sizeof(bytes));
	parse(bytes);
	le64_put(bytes + LOG_HEADER_LEN - 8, hash64(bytes, LOG_HEADER_LEN - 8, 0));
	parse(bytes);
	return 0;
}
