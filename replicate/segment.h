/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_SEGMENT_H
#define REPLICATE_SEGMENT_H

#include "replicate/layout.h"
#include "replicate/object.h"
#include "replicate/record_reader.h"

/*
 * A segment: a stored run of consecutive transactions of one generation. Its
 * payload is their records as they stand in the log. Either it holds any number
 * of whole records in one part, or one record too large for that, cut into
 * parts of OBJECT_RAW_TARGET bytes. One with no record at all only tells of a
 * generation that began.
 */

#define SEGMENT_LEVEL 3 /* records shrink to about a third */

/*
 * Collects records for a segment, one part at a time.
 *
 * Invariants: 1. raw holds the bytes behind the parts sealed so far. 2. head.to
 * is the position after the last whole record taken. One thread.
 */
struct segment_packer {
	int level;		     /* of zstd; 0 = SEGMENT_LEVEL */
	struct object_header head;
	struct buf raw;
	struct record_header record; /* the one being added */
};

/*
 * Starts a segment at from (whose time and extent are known) in the generation
 * of head, stored by node_id. The packer is zeroed before its first use, and
 * reused at will.
 */
void segment_packer_begin(struct segment_packer *packer, const struct id *node_id,
			  const struct log_header *head, const struct point *from);
void segment_packer_done(struct segment_packer *packer);

/* Whether a record of that size still belongs into the part. */
bool segment_packer_has_room(const struct segment_packer *packer, uint64_t record_size);

/* Appends a record: its header, every entry, and its end. 0 or -ENOMEM. */
int segment_packer_record(struct segment_packer *packer, const struct record_header *record,
			  struct error *err) MUST_CHECK;
int segment_packer_entry(struct segment_packer *packer, const struct record_entry *entry,
			 const uint8_t *data, struct error *err) MUST_CHECK;
void segment_packer_end_record(struct segment_packer *packer);

/* Whether a part is full in the middle of a record: seal it, and go on. */
static inline bool segment_packer_full(const struct segment_packer *packer)
{
	return packer->raw.len >= OBJECT_RAW_TARGET;
}

/*
 * Makes an object of what was added, appends it to out, and says how it is
 * named. A part that is not final holds exactly OBJECT_RAW_TARGET bytes; the
 * rest waits for the next. 0 or -errno.
 */
int segment_packer_seal(struct segment_packer *packer, bool final, int64_t created_us,
			struct buf *out, struct layout_segment *ret_name,
			struct error *err) MUST_CHECK;

/*
 * Opens a part: object_open(), and it has to be the one that name says.
 * 0, -EBADMSG or -EPROTONOSUPPORT.
 */
int segment_open(const void *data, size_t len, const struct layout_segment *name,
		 struct object_header *ret_header, struct buf *ret_raw,
		 struct error *err) MUST_CHECK;

/* Whether header is what a segment of that name would have. */
bool segment_header_fits(const struct object_header *header, const struct layout_segment *name);

#endif
