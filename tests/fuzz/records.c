/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/records.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "replicate/record.h"

/* Offsets in the header, as docs/format.md has them. */
#define SIZE_OFFSET 8
#define ENTRIES_HASH_OFFSET 88
#define HEADER_HASH_OFFSET 104

void fuzz_fix_records(uint8_t *data, size_t size, unsigned what)
{
	while (size >= RECORD_HEADER_LEN) {
		uint64_t len = le64_get(data + SIZE_OFFSET);

		if ((what & FUZZ_FIX_SIZES) && len > size)
			le64_put(data + SIZE_OFFSET, len = size);
		if (len < RECORD_HEADER_LEN || len > size)
			len = size;
		if (what & FUZZ_FIX_ENTRIES)
			le64_put(data + ENTRIES_HASH_OFFSET,
				 hash64(data + RECORD_HEADER_LEN, len - RECORD_HEADER_LEN, 0));
		if (what & FUZZ_FIX_HEADERS)
			le64_put(data + HEADER_HASH_OFFSET, hash64(data, HEADER_HASH_OFFSET, 0));
		data += len;
		size -= len;
	}
}
