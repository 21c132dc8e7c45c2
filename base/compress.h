/* SPDX-License-Identifier: MIT */
#ifndef BASE_COMPRESS_H
#define BASE_COMPRESS_H

#include "base/buf.h"
#include "base/error.h"

/*
 * zstd frames (RFC 8878) with the content size in the header. Decompression is
 * bounded: the caller says how large the result must be.
 */

/* Appends data compressed at level (1 … 19) to out. 0 or -ENOMEM. */
int compress_append(struct buf *out, const void *data, size_t len, int level,
		    struct error *err) MUST_CHECK;

/*
 * Decompresses exactly one frame of exactly raw_len bytes into raw. 0, or
 * -EBADMSG when the frame is damaged or of another size.
 */
int compress_expand(void *raw, size_t raw_len, const void *data, size_t len,
		    struct error *err) MUST_CHECK;

#endif
