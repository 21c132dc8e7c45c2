/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_RECORD_H
#define REPLICATE_RECORD_H

#include "base/error.h"
#include "base/id.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The transaction record, the unit of the transaction log and of segments, and
 * the head of a log file. Byte by byte in docs/format.md. Pure codec: bytes in,
 * struct out, every field checked.
 */

#define RECORD_FORMAT_VERSION 1u
#define RECORD_HEADER_LEN 112u
#define RECORD_ENTRY_LEN 24u
#define LOG_HEADER_LEN 160u

/* Names the exact content of a database in one history. */
struct position {
	uint64_t generation; /* 0: none yet */
	uint64_t txid;
	uint64_t checksum; /* XOR of page_hash() over all pages */
};

static inline bool position_equal(const struct position *a, const struct position *b)
{
	return a->generation == b->generation && a->txid == b->txid && a->checksum == b->checksum;
}

/* The size of a database: page_size 0 while it is empty and has none. */
struct extent {
	uint32_t page_size;
	uint32_t n_pages;
};

static inline uint64_t extent_bytes(struct extent extent)
{
	return (uint64_t)extent.page_size * extent.n_pages;
}

/* Whether a database can have that size. */
bool extent_valid(struct extent extent) MUST_CHECK;

/* Where in a WAL a transaction ended; all zero when it came from elsewhere. */
struct wal_mark {
	uint32_t salt1;
	uint32_t salt2;
	uint32_t frame; /* the commit frame's number; 0 = none */
	uint32_t sum0;	/* that frame's checksum as stored */
	uint32_t sum1;
};

enum record_kind {
	RECORD_COMMIT = 1,  /* one transaction of the application */
	RECORD_MERGED = 2,  /* what several unseen transactions changed, by comparison */
};

enum {
	RECORD_UNDOABLE = 1 << 0, /* can be applied backwards */
};

struct record_header {
	enum record_kind kind;
	uint32_t flags;
	uint64_t size; /* bytes of the whole record, header included */
	uint64_t txid;
	int64_t time_us; /* commit time, never before the previous one's */
	struct extent before;
	struct extent after;
	uint32_t n_entries;
	uint64_t checksum_before;
	uint64_t checksum_after;
	struct wal_mark mark;
	uint64_t entries_hash; /* XXH3-64 of all bytes behind the header */
};

/* How an entry holds its page. */
enum record_encoding {
	RECORD_WHOLE = 1, /* the new page; the old one is not known */
	RECORD_XOR = 2,	  /* delta.h runs between old and new page; zeros if there was none */
	RECORD_CUT = 3,	  /* the old page, runs against zeros, of a page that a shrink cut off */
};

struct record_entry {
	uint32_t pgno;
	enum record_encoding encoding;
	uint32_t data_len; /* bytes behind the entry header */
	uint64_t hash;	   /* page_hash() of the new page; of the old one for RECORD_CUT */
};

/* What a log file (and a segment) says of the history it holds. */
struct log_header {
	struct id node_id;
	struct id database_id;
	uint64_t term;
	struct position parent; /* where generation branched off; 0 for a first one */
	uint32_t key_id;	/* 0: not encrypted, the only one known */
	struct position base;	/* the position before the first record, in its generation */
	struct extent extent;	/* the size of the database there */
	int64_t time_us;	/* the commit time of that position, or when it was found */
	struct wal_mark mark;	/* where in the WAL that position stood */
};

void record_header_format(const struct record_header *header, uint8_t *bytes);

/*
 * Reads RECORD_HEADER_LEN bytes. 0; 1 when the bytes are all zero (no record
 * was written here); -EBADMSG when they are damaged or contradict themselves.
 */
int record_header_parse(const uint8_t *bytes, struct record_header *ret_header,
			struct error *err) MUST_CHECK;

void record_entry_format(const struct record_entry *entry, uint8_t *bytes);

/*
 * Reads RECORD_ENTRY_LEN bytes of an entry of a record with header: page number
 * and length are possible there. 0 or -EBADMSG.
 */
int record_entry_parse(const uint8_t *bytes, const struct record_header *header,
		       struct record_entry *ret_entry, struct error *err) MUST_CHECK;

/* Checks an entry's data (data_len bytes): runs or a whole page. 0 or -EBADMSG. */
int record_entry_check(const struct record_entry *entry, const struct record_header *header,
		       const uint8_t *data, struct error *err) MUST_CHECK;

void log_header_format(const struct log_header *header, uint8_t *bytes);

/*
 * Reads LOG_HEADER_LEN bytes. 0, -EBADMSG when damaged, -EPROTONOSUPPORT (with
 * the version that can read it) when a newer version wrote it.
 */
int log_header_parse(const uint8_t *bytes, struct log_header *ret_header,
		     struct error *err) MUST_CHECK;

#endif
