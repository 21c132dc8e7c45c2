/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FUZZ_STORED_H
#define TESTS_FUZZ_STORED_H

#include "base/buf.h"
#include "tests/fuzz/fuzz.h"

/* What the first byte of an input says of the rest, for segment and snapshot. */
enum fuzz_stored {
	FUZZ_STORED_AS_IT_IS, /* a stored object */
	FUZZ_STORED_REPAIRED, /* one whose lengths and hashes are put right first */
	FUZZ_STORED_PAYLOAD,  /* a few fields and a payload before compression */
	FUZZ_STORED_PACKED,   /* a snapshot only: what a packer is to make a part of */
};

/* Whether its header claims so much that opening it, right or wrong, takes long. */
bool fuzz_stored_is_large(const uint8_t *object, size_t size);

/* Appends the object of size bytes with its lengths and hashes put right. 0 or -ENOMEM. */
int fuzz_stored_repair(const uint8_t *object, size_t size, struct buf *out);

#endif
