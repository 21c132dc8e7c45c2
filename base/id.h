/* SPDX-License-Identifier: MIT */
#ifndef BASE_ID_H
#define BASE_ID_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* 16 random bytes that name a node or a database. All zero means none. */
struct id {
	uint8_t bytes[16];
};

#define ID_HEX_LEN 32 /* characters of an id in hex, without terminator */

/* Draws a new id from the kernel's random numbers. 0 or -errno. */
int id_random(struct id *ret_id, struct error *err) MUST_CHECK;

/* Draws 64 random bits that are not 0 (a generation). 0 or -errno. */
int id_random_u64(uint64_t *ret_value, struct error *err) MUST_CHECK;

/* Writes id as lower-case hex and a terminator to hex[ID_HEX_LEN + 1]. */
void id_format(const struct id *id, char *hex);

/* Reads exactly ID_HEX_LEN hex digits; false when text is anything else. */
bool id_parse(const char *text, struct id *ret_id) MUST_CHECK;

static inline bool id_equal(const struct id *a, const struct id *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static inline bool id_is_zero(const struct id *id)
{
	static const struct id zero;

	return id_equal(id, &zero);
}

#endif
