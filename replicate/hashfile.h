/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_HASHFILE_H
#define REPLICATE_HASHFILE_H

#include "base/error.h"
#include "base/id.h"
#include "replicate/record.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The page hashes of one database: 8 bytes a page in a mapped file, behind a
 * 4096-byte head that says which position they describe and, after a clean
 * stop, what the database looked like then. Byte by byte in docs/format.md.
 *
 * A crash of the daemon leaves the map as it was (it is the page cache); after
 * a crash of the machine nothing in it can be trusted, which the missing clean
 * mark says.
 */

/* What shows that nobody changed a database while we did not look. */
struct evidence {
	uint64_t inode;
	uint64_t size;
	int64_t mtime_ns;
	uint64_t head_hash; /* of the first 100 bytes of the database */
	uint64_t wal_size;
	int64_t wal_mtime_ns;
	uint64_t wal_head_hash; /* of the WAL's header */
};

/*
 * Invariants: 1. map covers capacity pages behind the head. 2. hash n of the
 * file is that of page n at position, except between two calls of one capture.
 * Owned by its database, under whose mutex all of it is used.
 */
struct hashfile {
	int root_fd; /* not owned */
	char *path;
	uint8_t *map; /* NULL while closed */
	uint64_t capacity;
};

/*
 * Opens or creates the file root_fd/path of database id. 0; 1: it is new, or
 * damaged, or another database's, and was emptied; -errno. root_fd must outlive.
 */
int hashfile_open(struct hashfile *file, int root_fd, const char *path, const struct id *id,
		  struct error *err) MUST_CHECK;
void hashfile_close(struct hashfile *file);

/*
 * Makes room for n_pages; reserves the disk space, so that no later access faults. 0
 * or -errno (-ENOSPC: there is none).
 */
int hashfile_reserve(struct hashfile *file, uint32_t n_pages, struct error *err) MUST_CHECK;

/* Both want 1 <= pgno <= the pages reserved. */
uint64_t hashfile_get(const struct hashfile *file, uint32_t pgno);
void hashfile_set(struct hashfile *file, uint32_t pgno, uint64_t hash);

/* XOR of the hashes of pages 1 to n_pages: the checksum of the position. */
uint64_t hashfile_checksum(const struct hashfile *file, uint32_t n_pages);

/* The position and size that the hashes describe; room for them is reserved. */
struct position hashfile_position(const struct hashfile *file, struct extent *ret_extent);
void hashfile_set_position(struct hashfile *file, const struct position *position,
			   struct extent extent);

/* Whether the file was closed cleanly; the evidence of that moment. */
bool hashfile_clean(const struct hashfile *file, struct evidence *ret_evidence);

/* Removes the clean mark, durably, before hashes change. No-op without one. */
int hashfile_mark_dirty(struct hashfile *file, struct error *err) MUST_CHECK;

/* Makes the hashes durable, then the clean mark with evidence. Blocks for both. */
int hashfile_mark_clean(struct hashfile *file, const struct evidence *evidence,
			struct error *err) MUST_CHECK;

#endif
