/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_PAGE_H
#define REPLICATE_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Pages of a SQLite database (www.sqlite.org/fileformat2.html, section 1):
 * sizes, the header on page 1, and the hash that positions are made of.
 */

#define PAGE_SIZE_MIN 512u
#define PAGE_SIZE_MAX 65536u
#define PAGE_NUMBER_MAX 4294967294u /* 2^32 - 2 */
#define PAGE_HEADER_LEN 100u	    /* the database header at the start of page 1 */
#define PAGE_MAGIC "SQLite format 3" /* it begins with that, and the zero behind it */
#define PAGE_MAGIC_LEN sizeof(PAGE_MAGIC)
#define PAGE_LOCK_OFFSET 0x40000000 /* SQLite's lock bytes; their page is never written */
#define PAGE_LOCK_LEN 512
#define PAGE_SHARED_OFFSET (PAGE_LOCK_OFFSET + 2)
#define PAGE_SHARED_LEN 510

/* What a database header says. */
struct page_header {
	uint32_t page_size;	/* bytes */
	uint32_t n_pages;	/* 0 when the header does not say (older writers) */
	uint8_t read_version;	/* 1 rollback journal, 2 WAL */
};

/* Whether size is a power of two SQLite can use as a page size. */
static inline bool page_size_valid(uint32_t size)
{
	return size >= PAGE_SIZE_MIN && size <= PAGE_SIZE_MAX && (size & (size - 1)) == 0;
}

/* The number of the page that holds the lock bytes. */
static inline uint32_t page_lock_number(uint32_t page_size)
{
	return PAGE_LOCK_OFFSET / page_size + 1;
}

/*
 * Reads the first PAGE_HEADER_LEN bytes of a database. False when they do not
 * begin with SQLite's magic or hold an impossible page size; an encrypted
 * database looks like that.
 */
bool page_header_parse(const uint8_t *bytes, struct page_header *ret_header);

/*
 * The hash of page number pgno. Bytes 18 and 19 of page 1 (journal mode) count
 * as 0, so that a replica may change them; the lock page hashes to 0, and so
 * counts for nothing in a checksum. page_size: a valid page size.
 */
uint64_t page_hash(uint32_t pgno, const uint8_t *page, uint32_t page_size);

#endif
