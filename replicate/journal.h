/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_JOURNAL_H
#define REPLICATE_JOURNAL_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * SQLite's rollback journal, `-journal` (www.sqlite.org/fileformat2.html,
 * section 3, and pager.c): one or more segments, each beginning at a multiple of
 * the sector size:
 *
 *   0  header, 28 bytes big-endian in a sector of its own: magic (8), number of
 *      records (0xffffffff: to the end of the file), nonce, size of the database
 *      in pages before the transaction, sector size, page size
 *  +sector size  records: page number (4), the page as it was before, checksum (4)
 *
 * The first 12 bytes of a header stay zero until its segment is synced. A journal
 * that is kept for the next transaction (PERSIST) has all 28 bytes zero.
 */

#define JOURNAL_HEADER_LEN 28u
#define JOURNAL_MAGIC "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
#define JOURNAL_MAGIC_LEN 8u

struct journal_header {
	uint32_t n_records; /* JOURNAL_TO_THE_END when the header does not say; may be 0 */
	uint32_t nonce;	    /* what the checksums of its records begin with */
	uint32_t n_pages;   /* size of the database before, in pages */
	uint32_t sector_size;
	uint32_t page_size;
};

#define JOURNAL_TO_THE_END UINT32_MAX

enum journal_header_state {
	JOURNAL_HEADER_VALID,
	JOURNAL_HEADER_UNSYNCED, /* valid but for its magic and count, which are zero */
	JOURNAL_HEADER_NONE,	 /* zeros, or something else */
};

/* Reads JOURNAL_HEADER_LEN bytes; NONE leaves ret_header alone. */
enum journal_header_state journal_header_parse(const uint8_t *bytes,
					       struct journal_header *ret_header);

/*
 * How many bytes the first segment has, which begins with header: a kept journal may be
 * longer than its transaction. UINT64_MAX when it goes to the end of the file.
 */
uint64_t journal_first_len(const struct journal_header *header);

/* Whether bytes are a header that was zeroed to end its transaction. */
bool journal_header_zeroed(const uint8_t *bytes);

/* A page before the transaction. */
struct journal_record {
	uint32_t pgno;	     /* as stored: any number */
	uint64_t off;	     /* of the page, in the file */
	const uint8_t *page; /* in the reader's buffer, until the next call */
	bool own;	     /* its checksum fits its header: not of an older transaction */
};

/*
 * Reads the records of all segments of a journal in order. Those behind the last
 * synced segment are read too, to the end of the file: what a kept journal still
 * holds of older transactions may come along, so that the records are at least
 * those of this transaction; a record says whether its checksum is that of one.
 */
struct journal_reader {
	struct journal_header first;
	int fd; /* not owned */
	uint8_t *buffer;
	size_t buffer_len;
	uint64_t size;	 /* of the file */
	uint64_t at;	 /* of the next record, or the end of the segment */
	uint64_t n_left; /* records in the segment */
	uint32_t nonce;	 /* of the segment */
	bool last;	 /* no other segment follows */
	uint64_t in_buffer_at;
	size_t in_buffer;
};

/*
 * Begins to read the journal fd. kept: its first header from before that was
 * zeroed, JOURNAL_HEADER_LEN bytes; may be NULL. buffer, of at least
 * JOURNAL_BUFFER_MIN bytes, is the caller's and must stay. Blocks for reads.
 * 0; 1: there is no transaction in it; -errno.
 */
#define JOURNAL_BUFFER_MIN (65536u + 8)
int journal_reader_init(struct journal_reader *reader, int fd, const uint8_t *kept,
			uint8_t *buffer, size_t buffer_len, struct error *err) MUST_CHECK;

/* 0: the next record; 1: there is none; -errno. */
int journal_reader_next(struct journal_reader *reader, struct journal_record *ret_record,
			struct error *err) MUST_CHECK;

/*
 * Whether the journal fd ends with the name of a super-journal: it is that of one of
 * several databases, which are all committed when the super-journal has gone.
 */
bool journal_has_super(int fd);

/*
 * Whether page, of page_size bytes, could be a trunk page of the freelist
 * (section 1.5 of the file format) of a database of n_pages: the number of leaves
 * it lists, which are big-endian page numbers from byte JOURNAL_TRUNK_LEAVES on;
 * 0 when it cannot. Pages that only look like one are possible.
 */
#define JOURNAL_TRUNK_LEAVES 8u
uint32_t journal_trunk_n_leaves(const uint8_t *page, uint32_t page_size, uint32_t n_pages);

#endif
