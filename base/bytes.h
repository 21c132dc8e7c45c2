/* SPDX-License-Identifier: MIT */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

/*
 * Integers at unaligned addresses. Our own formats are little-endian (le);
 * SQLite's files are big-endian (be) except its WAL-index, which is native.
 */
#define BYTES_DEFINE(width)                                                    \
	static inline uint##width##_t le##width##_get(const void *p)           \
	{                                                                      \
		uint##width##_t v;                                             \
		memcpy(&v, p, sizeof(v));                                      \
		return le##width##toh(v);                                      \
	}                                                                      \
	static inline void le##width##_put(void *p, uint##width##_t v)         \
	{                                                                      \
		v = htole##width(v);                                           \
		memcpy(p, &v, sizeof(v));                                      \
	}                                                                      \
	static inline uint##width##_t be##width##_get(const void *p)           \
	{                                                                      \
		uint##width##_t v;                                             \
		memcpy(&v, p, sizeof(v));                                      \
		return be##width##toh(v);                                      \
	}                                                                      \
	static inline void be##width##_put(void *p, uint##width##_t v)         \
	{                                                                      \
		v = htobe##width(v);                                           \
		memcpy(p, &v, sizeof(v));                                      \
	}                                                                      \
	static inline uint##width##_t native##width##_get(const void *p)       \
	{                                                                      \
		uint##width##_t v;                                             \
		memcpy(&v, p, sizeof(v));                                      \
		return v;                                                      \
	}                                                                      \
	static inline void native##width##_put(void *p, uint##width##_t v)     \
	{                                                                      \
		memcpy(p, &v, sizeof(v));                                      \
	}

BYTES_DEFINE(16)
BYTES_DEFINE(32)
BYTES_DEFINE(64)
#undef BYTES_DEFINE

#endif
