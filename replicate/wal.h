/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_WAL_H
#define REPLICATE_WAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * SQLite's write-ahead log, `-wal` (www.sqlite.org/fileformat2.html, section 4):
 *
 *   0  header, 32 bytes big-endian: magic, version 3007000, page size,
 *      checkpoint number, salt-1, salt-2, checksum (2 words) of bytes 0..23
 *  32  frames: 24-byte header (page number, database size in pages if it is a
 *      commit frame else 0, salt-1, salt-2, checksum (2 words)), then the page
 *
 * The checksum runs on from the header through every frame's first 8 bytes and
 * page; magic ...82 sums little-endian words, ...83 big-endian ones. Frames are
 * numbered from 1. Pure functions over bytes; nothing here trusts its input.
 */

#define WAL_MAGIC 0x377f0682u /* the last bit says how checksums are summed */
#define WAL_HEADER_LEN 32u
#define WAL_FRAME_HEADER_LEN 24u

struct wal_sum {
	uint32_t s0;
	uint32_t s1;
};

struct wal_header {
	uint32_t page_size;
	uint32_t checkpoint; /* sequence number */
	uint32_t salt1;
	uint32_t salt2;
	bool big_endian; /* of the checksum's words */
	struct wal_sum sum; /* after the header; the frames' sum starts here */
};

struct wal_frame {
	uint32_t pgno;
	uint32_t n_pages; /* database size after the commit; 0 = no commit frame */
	uint32_t salt1;
	uint32_t salt2;
	struct wal_sum sum;
};

enum wal_header_state {
	WAL_HEADER_VALID,
	WAL_HEADER_EMPTY,	/* fewer than 32 bytes, or all zero */
	WAL_HEADER_DAMAGED,	/* a torn write, or no WAL at all: SQLite ignores it */
	WAL_HEADER_UNKNOWN,	/* a version that is not SQLite 3's */
};

/* Reads a WAL's first len bytes; only WAL_HEADER_VALID fills ret_header. */
enum wal_header_state wal_header_parse(const uint8_t *bytes, size_t len,
				       struct wal_header *ret_header);

/* Writes a header with its checksum, to bytes[WAL_HEADER_LEN]; fills header->sum. */
void wal_header_format(struct wal_header *header, uint8_t *bytes);

/* Reads a frame header of WAL_FRAME_HEADER_LEN bytes; any bytes are accepted. */
struct wal_frame wal_frame_parse(const uint8_t *bytes);

/*
 * Writes a frame header for the page behind it, with header's salts and the sum
 * that runs on from *sum, which is moved on.
 */
void wal_frame_format(const struct wal_header *header, struct wal_sum *sum, uint32_t pgno,
		      uint32_t n_pages, const uint8_t *page, uint8_t *bytes);

/*
 * Whether the frame at bytes (header and page) continues a chain that stands at
 * *sum: salts as in header, page number not 0, checksum right. Moves *sum on
 * when it does. This is how SQLite's recovery judges a frame.
 */
bool wal_frame_valid(const struct wal_header *header, struct wal_sum *sum, const uint8_t *bytes);

/* Where frame number frame (>= 1) begins, in bytes. */
static inline uint64_t wal_frame_offset(uint32_t page_size, uint32_t frame)
{
	return WAL_HEADER_LEN + (uint64_t)(frame - 1) * (page_size + WAL_FRAME_HEADER_LEN);
}

/* How many whole frames a WAL of size bytes can hold. */
static inline uint32_t wal_n_frames(uint32_t page_size, uint64_t size)
{
	uint64_t n = size < WAL_HEADER_LEN ?
			     0 :
			     (size - WAL_HEADER_LEN) / (page_size + WAL_FRAME_HEADER_LEN);

	return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

/*
 * The head of SQLite's WAL-index, `-shm` (www.sqlite.org/walformat.html,
 * section 2): two copies of a 48-byte header, then checkpoint information;
 * native byte order. A writer stores the second copy first, so both agree only
 * when no update is under way.
 */
#define WAL_INDEX_HEAD_LEN 136u

struct wal_index {
	uint32_t page_size;
	uint32_t max_frame; /* the last frame of the last published commit */
	uint32_t salt1;
	uint32_t salt2;
	uint32_t n_backfill; /* frames that are in the database file already */
};

enum wal_index_state {
	WAL_INDEX_VALID,
	WAL_INDEX_TORN,	   /* the copies differ: look again, a writer is at it */
	WAL_INDEX_INVALID, /* not initialised, of another version, or damaged */
};

/*
 * Reads WAL_INDEX_HEAD_LEN bytes. With accept_first, differing copies are no
 * obstacle when the first one's checksum holds (its writer died in between).
 */
enum wal_index_state wal_index_parse(const uint8_t *bytes, bool accept_first,
				     struct wal_index *ret_index);

#endif
