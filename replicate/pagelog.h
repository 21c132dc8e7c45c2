/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_PAGELOG_H
#define REPLICATE_PAGELOG_H

#include "replicate/txlog.h"

/*
 * The pages of a record on their way into the log: how each is held, what that
 * means for undoing the record, and the checksum after it. Between txlog_begin()
 * and txlog_end(). Used by one thread, with the database's mutex held.
 */
struct pagelog {
	struct txlog *log;
	uint32_t page_size; /* of the pages; to be set by who logs them */
	uint8_t *delta;	    /* scratch: room for any page's difference */
	uint32_t flags;	    /* of the record, for txlog_end() */
	uint64_t checksum;  /* after the pages so far, if none that changed is left out */
};

/* For records that build on the position of log, which must outlive it. 0 or -ENOMEM. */
int pagelog_init(struct pagelog *pagelog, struct txlog *log, struct error *err) MUST_CHECK;
void pagelog_done(struct pagelog *pagelog);

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
