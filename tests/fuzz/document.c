/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/document.h"

#include "base/hash.h"

#include <inttypes.h>

bool fuzz_document(const char *kind, const uint8_t *data, size_t size, struct buf *out)
{
	uint64_t hash;

	if (size == 0)
		return false;
	data++;
	size--;
	if (data[-1] % 2 == 0)
		return buf_append(out, data, size) == 0;
	if (buf_printf(out, "replitedfs %s 1 %08zx ", kind, size) < 0)
		return false;
	hash = hash64(data, size, hash64(out->data, out->len, 0));
	return buf_printf(out, "%016" PRIx64 "\n", hash) == 0 && buf_append(out, data, size) == 0;
}
