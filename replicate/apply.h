/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_APPLY_H
#define REPLICATE_APPLY_H

#include "replicate/object.h"
#include "replicate/record_reader.h"

/*
 * Applies transaction records to a plain file, forward or backward, and knows
 * at every moment what the file is: its position, extent, and the hash of each
 * page. Nothing is applied that does not fit: a record must build on (or lead
 * to) the position, every page is verified by its hash, and so is the checksum
 * behind the record. When a function fails the file is worthless.
 *
 * Invariants:
 * 1. hashes[i] is the hash of page i + 1, for i < at.extent.n_pages; those
 *    behind are 0.
 * 2. at.position.checksum is the XOR of all hashes, except while apply_pages()
 *    fills the file.
 * 3. The file has no bytes other than zero behind at.extent.
 * 4. run_n pages from run_first on are in run and newer than in the file, until
 *    apply_reach() or apply_finish().
 * One thread. The file is not owned.
 */
struct apply {
	int fd;
	struct point at;
	uint64_t *hashes;
	size_t n_hashes;
	uint8_t *page;	 /* scratch */
	uint64_t n_bytes; /* written */
	uint8_t *run;	 /* pages that follow each other and are not written yet: */
	uint32_t run_first;
	uint32_t run_n;
};

/* Starts on the empty file fd, at no position. 0 or -ENOMEM. */
int apply_init(struct apply *apply, int fd, struct error *err) MUST_CHECK;
void apply_done(struct apply *apply);

/* Empties the file and goes back to no position. 0 or -errno. */
int apply_restart(struct apply *apply, struct error *err) MUST_CHECK;

/*
 * Takes pages first … first + n - 1 from a snapshot that ends at end, whatever
 * was there; those that end does not have are left out. 0 or -errno.
 */
int apply_pages(struct apply *apply, const struct point *end, uint32_t first, uint32_t n,
		const uint8_t *pages, struct error *err) MUST_CHECK;

/*
 * Says that the file now is end: it is cut to that size, and its checksum must
 * be that of end. 0; -EBADMSG.
 */
int apply_reach(struct apply *apply, const struct point *end, struct error *err) MUST_CHECK;

/*
 * Takes the file as it is for the database at point: reads and hashes it all.
 * progress may be NULL. 0; -EBADMSG when it is another content.
 */
int apply_adopt(struct apply *apply, const struct point *point,
		void (*progress)(void *arg, uint64_t n_bytes), void *arg,
		struct error *err) MUST_CHECK;

/*
 * Applies the record that reader is at (record_reader_next() returned 0), which
 * belongs to generation. 0; -EBADMSG when the record does not fit or is damaged.
 */
int apply_forward(struct apply *apply, struct record_reader *reader, uint64_t generation,
		  struct error *err) MUST_CHECK;

/*
 * Takes the record that reader is at back, and arrives at before: the generation
 * and time there are the caller's to know. 0; 1: the record cannot be undone,
 * nothing happened; -EBADMSG as above.
 */
int apply_backward(struct apply *apply, struct record_reader *reader, uint64_t generation,
		   int64_t before_us, struct error *err) MUST_CHECK;

/* Gives the file its exact size (trailing pages may be holes). 0 or -errno. */
int apply_finish(struct apply *apply, struct error *err) MUST_CHECK;

#endif
