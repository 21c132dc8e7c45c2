/* SPDX-License-Identifier: MIT */
#include "replicate/delta.h"

#include "base/bytes.h"

#define BLOCK 64u

static const uint8_t zero_page[65536];

/* A plain OR-reduction, which compilers turn into a few vector operations. */
static bool block_equal(const uint8_t *a, const uint8_t *b)
{
	uint64_t differs = 0;

	for (size_t i = 0; i < BLOCK; i += 8)
		differs |= native64_get(a + i) ^ native64_get(b + i);
	return differs == 0;
}

/* The first byte at or behind at that differs; end when there is none. */
static uint32_t next_difference(const uint8_t *a, const uint8_t *b, uint32_t at, uint32_t end)
{
	for (; at % BLOCK != 0 && at < end; at++) {
		if (a[at] != b[at])
			return at;
	}
	while (at < end && block_equal(a + at, b + at))
		at += BLOCK;
	while (at < end && native64_get(a + at) == native64_get(b + at))
		at += 8;
	while (at < end && a[at] == b[at])
		at++;
	return at;
}

/*
 * The end of the run that begins at the difference at: fewer equal bytes than two
 * run headers take stay inside it.
 */
static uint32_t run_end(const uint8_t *a, const uint8_t *b, uint32_t at, uint32_t end)
{
	uint32_t last = at;

	for (at++; at < end && at - last <= 2 * DELTA_RUN_HEADER_LEN; at++) {
		if (a[at] != b[at])
			last = at;
	}
	return last + 1;
}

static uint8_t *put_run(uint8_t *out, uint32_t skip, uint32_t len)
{
	le16_put(out, (uint16_t)skip);
	le16_put(out + 2, (uint16_t)len);
	return out + DELTA_RUN_HEADER_LEN;
}

/* out = a ^ b, word by word where there is a whole one; out may be a. */
static void xor_bytes(uint8_t *out, const uint8_t *a, const uint8_t *b, uint32_t len)
{
	uint32_t i = 0;

	for (; i + 8 <= len; i += 8)
		native64_put(out + i, native64_get(a + i) ^ native64_get(b + i));
	for (; i < len; i++)
		out[i] = a[i] ^ b[i];
}

static uint8_t *put_xor(uint8_t *out, const uint8_t *a, const uint8_t *b, uint32_t len)
{
	xor_bytes(out, a, b, len);
	return out + len;
}

size_t delta_encode(const uint8_t *before, const uint8_t *after, uint32_t page_size, uint8_t *out)
{
	const uint8_t *begin = out;
	uint32_t done = 0;
	uint32_t at;

	if (before == NULL)
		before = zero_page;
	at = next_difference(before, after, 0, page_size);
	while (at < page_size) {
		uint32_t end = run_end(before, after, at, page_size);

		if (end - at > UINT16_MAX)
			end = at + UINT16_MAX;
		out = put_run(out, at - done, end - at);
		out = put_xor(out, before + at, after + at, end - at);
		done = end;
		at = next_difference(before, after, end, page_size);
	}
	return (size_t)(out - begin);
}

bool delta_valid(const uint8_t *runs, size_t len, uint32_t page_size)
{
	uint64_t at = 0;
	size_t i = 0;

	while (i < len) {
		uint32_t run_len;

		if (len - i < DELTA_RUN_HEADER_LEN)
			return false;
		run_len = le16_get(runs + i + 2);
		at += (uint64_t)le16_get(runs + i) + run_len;
		i += DELTA_RUN_HEADER_LEN;
		if (run_len > len - i || at > page_size)
			return false;
		i += run_len;
	}
	return true;
}

void delta_apply(const uint8_t *runs, size_t len, uint8_t *page)
{
	const uint8_t *end = runs + len;

	while (runs < end) {
		uint32_t run_len = le16_get(runs + 2);

		page += le16_get(runs);
		runs += DELTA_RUN_HEADER_LEN;
		xor_bytes(page, page, runs, run_len);
		page += run_len;
		runs += run_len;
	}
}
