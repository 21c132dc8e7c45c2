/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_PAGELOG_H
#define REPLICATE_PAGELOG_H

#include "replicate/txlog.h"

/*
 * The pages of one record on their way into the log: how each is held, what that
 * means for undoing the record, and the checksum after it. Between txlog_begin()
 * and txlog_end().
 */
struct pagelog {
	struct txlog *log;
	uint32_t page_size; /* of the pages */
	uint8_t *delta;	    /* room for delta_max_len(page_size) */
	uint32_t flags;	    /* of the record, for txlog_end() */
	uint64_t checksum;  /* after the pages so far */
};

struct page_change {
	uint32_t pgno;
	bool existed;	       /* before; if not, hash_before and before do not count */
	uint64_t hash_before;
	const uint8_t *before; /* NULL: not known any more */
	uint64_t hash;
	const uint8_t *page;
};

/* Logs that a page is another one, or a new one. 0 or -errno. */
int pagelog_change(struct pagelog *pagelog, const struct page_change *change,
		   struct error *err) MUST_CHECK;

/*
 * Logs that page pgno, with that hash, is cut off; page is its content, NULL when
 * that is not known any more. 0 or -errno.
 */
int pagelog_cut(struct pagelog *pagelog, uint32_t pgno, uint64_t hash, const uint8_t *page,
		struct error *err) MUST_CHECK;

#endif
