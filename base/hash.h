/* SPDX-License-Identifier: MIT */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/cleanup.h"

#include <stddef.h>
#include <stdint.h>

/*
 * XXH3-64 (github.com/Cyan4973/xxHash, specification of release 0.8), the one
 * hash of our formats: pages, records, objects. It finds damage, not malice.
 */

/* The hash of data under seed. */
uint64_t hash64(const void *data, size_t len, uint64_t seed);

/* A hash fed in pieces; the same value as hash64() of the whole, seed 0. */
struct hash_stream;

/* NULL when out of memory. */
struct hash_stream *hash_stream_new(void) MUST_CHECK;
void hash_stream_reset(struct hash_stream *stream);
void hash_stream_update(struct hash_stream *stream, const void *data, size_t len);
uint64_t hash_stream_value(const struct hash_stream *stream);
void hash_stream_free(struct hash_stream *stream);

#endif
