/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_SNAPSHOT_H
#define REPLICATE_SNAPSHOT_H

#include "replicate/layout.h"
#include "replicate/object.h"

/*
 * A part of a snapshot: runs of pages. A page may stand in several parts; the
 * one in the last part counts. The final part's position is the snapshot's;
 * pages beyond its extent do not count. Until the final part is there, there is
 * no snapshot.
 *
 * The payload: u32 first page and u32 number of pages for every run, then the
 * pages of all runs, in order.
 */

#define SNAPSHOT_RUN_LEN 8u

struct snapshot_run {
	uint32_t first;
	uint32_t n;
};

/*
 * Collects pages for a part. head's identity and from are the caller's to fill
 * in; the packer counts items and runs. Zeroed before its first use. One thread.
 */
struct snapshot_packer {
	struct object_header head;
	struct buf runs;
	struct buf pages;
};

void snapshot_packer_done(struct snapshot_packer *packer);

/* Appends n pages from first on. 0 or -ENOMEM. */
int snapshot_packer_add(struct snapshot_packer *packer, uint32_t first, uint32_t n,
			const uint8_t *pages, uint32_t page_size, struct error *err) MUST_CHECK;

/* Whether the part is as large as it should get. */
static inline bool snapshot_packer_full(const struct snapshot_packer *packer)
{
	return packer->pages.len >= OBJECT_RAW_TARGET;
}

/*
 * Makes the next part of what was added, read by the position to, and appends
 * it to out. 0 or -errno.
 */
int snapshot_packer_seal(struct snapshot_packer *packer, bool final, const struct point *to,
			 int64_t created_us, struct buf *out, struct error *err) MUST_CHECK;

/* A part as read. */
struct snapshot_part {
	struct object_header head;
	const uint8_t *runs;
	const uint8_t *pages;
};

/*
 * Opens a part, which has to be number part: everything is checked, and the
 * runs are possible. ret_part points into raw. 0, -EBADMSG or -EPROTONOSUPPORT.
 */
int snapshot_open(const void *data, size_t len, const struct layout_snapshot *name,
		  struct snapshot_part *ret_part, struct buf *raw, struct error *err) MUST_CHECK;

/* Run number i < head.n_runs. */
struct snapshot_run snapshot_part_run(const struct snapshot_part *part, uint32_t i);

#endif
