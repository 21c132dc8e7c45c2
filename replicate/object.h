/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_OBJECT_H
#define REPLICATE_OBJECT_H

#include "base/buf.h"
#include "replicate/record.h"

/*
 * The stored object, what segments and parts of snapshots are made of: a header
 * of fixed size that says what it is, whose, and from which position to which,
 * and one zstd frame. Byte by byte in docs/format.md. Pure codec: every field
 * is bounded, header and payload have their own hash.
 */

#define OBJECT_FORMAT_VERSION 1u
#define OBJECT_HEADER_LEN 256u
#define OBJECT_RAW_MAX (64u << 20)   /* bytes of a payload before compression */
#define OBJECT_RAW_TARGET (16u << 20) /* what writers aim at */

/* The largest object a reader accepts: zstd adds little to what it cannot compress. */
#define OBJECT_SIZE_MAX (OBJECT_HEADER_LEN + OBJECT_RAW_MAX + (OBJECT_RAW_MAX >> 7))

/* A position with what is worth knowing of it. */
struct point {
	struct position position;
	struct extent extent;
	int64_t time_us; /* commit time of the transaction that led there */
};

enum object_kind {
	OBJECT_SEGMENT = 1,
	OBJECT_SNAPSHOT = 2,
};

enum {
	OBJECT_FINAL = 1 << 0, /* the last part */
};

struct object_header {
	enum object_kind kind;
	uint32_t flags;
	struct id node_id;
	struct id database_id;
	uint64_t term;
	uint32_t key_id;	/* 0: not encrypted, the only one known */
	struct position parent; /* where the generation branched off; 0 for a first one */
	struct point from;	/* both in the same generation */
	struct point to;
	uint32_t part;		/* 0, 1, 2 … */
	uint32_t n_items;	/* records that begin here; pages */
	uint32_t n_runs;	/* of pages; 0 in a segment */
	int64_t created_us;	/* the writer's clock */
	uint64_t raw_len;	/* bytes of the payload before compression */
	uint64_t payload_len;	/* bytes behind the header */
	uint64_t payload_hash;	/* XXH3-64 of them */
};

/*
 * Reads OBJECT_HEADER_LEN bytes. 0; -EBADMSG when they are damaged, contradict
 * themselves or are not an object of that kind; -EPROTONOSUPPORT (with the
 * version that can read it) when a newer version wrote it.
 */
int object_header_parse(const uint8_t *bytes, enum object_kind kind,
			struct object_header *ret_header, struct error *err) MUST_CHECK;

/*
 * Appends the object of raw_len bytes of raw to out: fills in header's lengths
 * and payload hash, compresses at level. 0 or -errno; raw_len is bounded by
 * OBJECT_RAW_MAX.
 */
int object_build(struct object_header *header, const void *raw, size_t raw_len, int level,
		 struct buf *out, struct error *err) MUST_CHECK;

/*
 * Verifies the whole object and expands its payload into ret_raw, whose former
 * content is dropped. Errors as object_header_parse().
 */
int object_open(const void *data, size_t len, enum object_kind kind,
		struct object_header *ret_header, struct buf *ret_raw,
		struct error *err) MUST_CHECK;

#endif
