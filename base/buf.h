/* SPDX-License-Identifier: MIT */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

/*
 * A growing run of bytes. Zeroed is a valid empty buffer.
 *
 * Invariants: 1. len <= size. 2. data is NULL only while size is 0.
 * Owned by the struct that embeds it; no locking of its own.
 */
struct buf {
	uint8_t *data;
	size_t len;
	size_t size;
};

#define CLEANUP_BUF CLEANUP(buf_done)

/* Makes room for extra more bytes behind len; data is not NULL then. 0, or -ENOMEM. */
int buf_reserve(struct buf *buf, size_t extra) MUST_CHECK;

/* Appends a copy of data. 0, or -ENOMEM. */
int buf_append(struct buf *buf, const void *data, size_t len) MUST_CHECK;

/* Appends formatted text without its terminator. 0, or -ENOMEM. */
int buf_printf(struct buf *buf, const char *fmt, ...) MUST_CHECK
	__attribute__((format(printf, 2, 3)));

/*
 * Grows len by extra and returns where the new bytes begin (uninitialised),
 * or NULL when out of memory.
 */
void *buf_extend(struct buf *buf, size_t extra) MUST_CHECK;

/*
 * The text in buf as a C string: appends a terminator that does not count in
 * len. Belongs to buf. NULL when out of memory.
 */
const char *buf_str(struct buf *buf) MUST_CHECK;

/* Empties buf and keeps its memory. */
void buf_reset(struct buf *buf);

/* Releases the memory; buf is empty and usable afterwards. */
void buf_done(struct buf *buf);

#endif
