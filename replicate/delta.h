/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_DELTA_H
#define REPLICATE_DELTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A page change as the XOR of two versions, in runs: applying it to either
 * version gives the other. A run is u16 skip (bytes that are equal), u16 len,
 * then len bytes of XOR; little-endian. A run of more than 65535 bytes is split.
 */

#define DELTA_RUN_HEADER_LEN 4u

/* The most bytes delta_encode can write for a page of page_size. */
static inline size_t delta_max_len(uint32_t page_size)
{
	return page_size + 4 * DELTA_RUN_HEADER_LEN;
}

/*
 * Writes the runs that turn before into after (or back) to out, which has room
 * for delta_max_len(page_size). before NULL counts as zeros. Returns their
 * length in bytes; 0 when the pages are equal.
 */
size_t delta_encode(const uint8_t *before, const uint8_t *after, uint32_t page_size, uint8_t *out);

/* Whether the len bytes at runs are well-formed and stay within page_size. */
bool delta_valid(const uint8_t *runs, size_t len, uint32_t page_size);

/* Applies valid runs to page in place. */
void delta_apply(const uint8_t *runs, size_t len, uint8_t *page);

#endif
