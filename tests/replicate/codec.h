/* SPDX-License-Identifier: MIT */
#ifndef TESTS_REPLICATE_CODEC_H
#define TESTS_REPLICATE_CODEC_H

#include "tests/unit.h"

#include "base/buf.h"

/* What every codec with a hash over all of its bytes promises. */

/* Parses and releases; what the codec returned. */
typedef int codec_parse_fn(const uint8_t *data, size_t len);

/* A copy of exactly len bytes, so that a sanitizer sees any read behind them. */
static inline int codec_parse_copy(codec_parse_fn *parse, const uint8_t *data, size_t len)
{
	uint8_t *copy CLEANUP_FREE = malloc(len != 0 ? len : 1);

	assert_non_null(copy);
	if (len != 0)
		memcpy(copy, data, len);
	return parse(copy, len);
}

static inline void codec_detects_every_flip(codec_parse_fn *parse, const uint8_t *data, size_t len)
{
	static const uint8_t masks[] = { 0x01, 0x80, 0xff };
	uint8_t *copy CLEANUP_FREE = malloc(len);

	assert_non_null(copy);
	memcpy(copy, data, len);
	assert_int_equal(codec_parse_copy(parse, copy, len), 0);
	for (size_t i = 0; i < len; i++) {
		for (size_t k = 0; k < ARRAY_LEN(masks); k++) {
			copy[i] ^= masks[k];
			if (codec_parse_copy(parse, copy, len) >= 0)
				fail_msg("byte %zu ^ %02x was not noticed", i, masks[k]);
			copy[i] ^= masks[k];
		}
	}
}

static inline void codec_detects_every_cut(codec_parse_fn *parse, const uint8_t *data, size_t len)
{
	for (size_t n = 0; n < len; n++) {
		if (codec_parse_copy(parse, data, n) >= 0)
			fail_msg("a cut at byte %zu was not noticed", n);
	}
}

#endif
