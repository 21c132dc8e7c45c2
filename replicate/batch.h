/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_BATCH_H
#define REPLICATE_BATCH_H

#include "replicate/database_internal.h"
#include "replicate/pagelog.h"

/*
 * Transactions on their way from the WAL to the log: frames are pushed one by
 * one, a commit makes one record of them (every page once, in its last version,
 * as the difference to its version before), and publishing writes all records so
 * far at once. Only then do page hashes, map and tail move on, so that a failure
 * (log full) leaves everything as it was; what was pushed is then to be dropped
 * by txlog_discard() and forgetting the page cache, which may be ahead.
 *
 * Used within one hold of the database's mutex.
 */

/* A page that a transaction wrote. */
struct batch_frame {
	uint32_t pgno;
	uint32_t number;
	const uint8_t *page; /* in the stretch's buffer; NULL: read it from the frame */
};

struct batch {
	struct database *db;
	struct walmap pending; /* pgno -> newest frame and hash */
	struct extent extent;  /* after the records so far */
	struct pagelog pagelog; /* of the transaction at hand; its checksum runs on */
	uint64_t n_transactions;
	bool outside;	/* a frame of it is outside the checksum chain */
	uint8_t *page;	/* scratch: a page read back */
	uint8_t *before;
	struct batch_frame *frames; /* of the transaction at hand */
	uint32_t n_frames;
	uint32_t size_frames;
};

/* 0 or -ENOMEM; batch_done() afterwards in any case. */
int batch_init(struct batch *batch, struct database *db, struct error *err) MUST_CHECK;
void batch_done(struct batch *batch);

/*
 * Adds a frame to the transaction at hand. page: its content, which must stay
 * until the commit; NULL: to be read from the WAL then. 0 or -ENOMEM.
 */
int batch_push(struct batch *batch, const struct wal_frame *head, uint32_t frame,
	       const uint8_t *page, struct error *err) MUST_CHECK;

/*
 * Logs the transaction at hand, which ends in the commit frame frame with the
 * header head; nothing is published yet. 0 or -errno.
 */
int batch_commit(struct batch *batch, uint32_t frame, const uint8_t *head,
		 struct error *err) MUST_CHECK;

/* Publishes what was logged; the log, hashes, map and tail move on to end. 0 or -errno. */
int batch_publish(struct batch *batch, const struct wal_span *end, struct error *err) MUST_CHECK;

#endif
