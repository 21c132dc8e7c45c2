/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_RECORD_READER_H
#define REPLICATE_RECORD_READER_H

#include "base/buf.h"
#include "base/hash.h"
#include "replicate/record.h"

/*
 * Reads transaction records one entry at a time from a stream of bytes, in
 * little memory however large a transaction is. Every header, entry and hash is
 * verified before it is handed out; a record's entries as a whole are verified
 * when the last has been read, so what was applied before must be thrown away
 * when that fails.
 */

/* Where the bytes come from; embedded in the concrete source. */
struct record_source {
	/*
	 * Fills exactly len bytes of to. 0; 1 = the stream ended before the
	 * first byte; -EBADMSG when it ended in between, or another -errno.
	 */
	int (*read)(struct record_source *source, void *to, size_t len, struct error *err);
};

/* A source over bytes in memory, which must outlive it. */
struct record_memory {
	struct record_source source;
	const uint8_t *data;
	size_t len;
};

void record_memory_init(struct record_memory *memory, const void *data, size_t len);

/*
 * Owned by whoever embeds it; one thread at a time.
 * Invariant: n_left entries of header have not been read yet.
 */
struct record_reader {
	struct record_source *source; /* not owned */
	struct record_header header;  /* of the record at hand */
	uint32_t n_left;
	uint64_t bytes_left;
	struct hash_stream *hash;
	struct buf data;
};

/* 0 or -ENOMEM. source must outlive the reader. */
int record_reader_init(struct record_reader *reader, struct record_source *source,
		       struct error *err) MUST_CHECK;

/*
 * Goes to the next record, reading and verifying what is left of the one at
 * hand. 0: reader->header is the new one; 1: the stream ends here; <0: damaged.
 */
int record_reader_next(struct record_reader *reader, struct error *err) MUST_CHECK;

/*
 * The next entry of the record at hand and its data, valid until the next call.
 * 1: there are no more, and the record's hash was right.
 */
int record_reader_entry(struct record_reader *reader, struct record_entry *ret_entry,
			const uint8_t **ret_data, struct error *err) MUST_CHECK;

void record_reader_done(struct record_reader *reader);

#endif
