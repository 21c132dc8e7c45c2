/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/stored.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "replicate/object.h"

/* Offsets in the header, as docs/format.md has them. */
#define RAW_LEN_OFFSET 184
#define PAYLOAD_LEN_OFFSET 192
#define PAYLOAD_HASH_OFFSET 200
#define HEADER_HASH_OFFSET 248

bool fuzz_stored_is_large(const uint8_t *object, size_t size)
{
	return size >= OBJECT_HEADER_LEN && le64_get(object + RAW_LEN_OFFSET) > 1u << 20;
}

int fuzz_stored_repair(const uint8_t *object, size_t size, struct buf *out)
{
	uint8_t *head;
	uint64_t payload_len;
	int r = buf_append(out, object, size);

	if (r < 0 || size < OBJECT_HEADER_LEN)
		return r;
	head = out->data + out->len - size;
	payload_len = size - OBJECT_HEADER_LEN;
	le64_put(head + PAYLOAD_LEN_OFFSET, payload_len);
	le64_put(head + PAYLOAD_HASH_OFFSET, hash64(head + OBJECT_HEADER_LEN, payload_len, 0));
	le64_put(head + HEADER_HASH_OFFSET, hash64(head, HEADER_HASH_OFFSET, 0));
	return 0;
}
