/* SPDX-License-Identifier: MIT */
#include "replicate/gate.h"

#include "base/file.h"
#include "replicate/delta.h"
#include "replicate/page.h"

#include <errno.h>

int gate_reserve(struct database *db, uint64_t len, struct error *err)
{
	int r;

	if (!db->loaded || db->log.position.generation == 0 || db->log.new_generation)
		return 0;
	r = txlog_reserve(&db->log, len, err);
	if (r == -ENOSPC && tailer_make_room(db)) {
		error_done(err);
		r = txlog_reserve(&db->log, len, err);
	}
	if (r == -ENOSPC) {
		error_wrap(err, "%s", db->name);
		database_set_trouble(db, err);
		return -ENOSPC;
	}
	if (r < 0)
		error_done(err);
	return 0;
}

/* What n frames take in the log at most. */
static uint64_t log_len(uint64_t n_frames, uint32_t page_size)
{
	return n_frames * (RECORD_HEADER_LEN + RECORD_ENTRY_LEN + delta_max_len(page_size));
}

/* The page size of the WAL, also of one that is not followed yet; 0: none. */
static uint32_t wal_page_size(struct database *db)
{
	uint8_t bytes[WAL_HEADER_LEN];
	struct wal_header header;

	if (db->tail.page_size != 0)
		return db->tail.page_size;
	database_open_wal(db);
	if (db->tail.fd < 0 ||
	    file_pread(db->tail.fd, bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes) ||
	    wal_header_parse(bytes, sizeof(bytes), &header) != WAL_HEADER_VALID)
		return 0;
	return header.page_size;
}

/*
 * SQLite writes a frame's header, then its page; where it rewrites headers the
 * commit frame's comes last. So what completes a commit ends where a frame's page
 * ends, and that frame's header, in the file by then, makes it a commit frame;
 * or it ends where such a header ends. What only might is taken for it.
 */
int gate_wal_write(struct database *db, uint64_t off, uint64_t len, struct error *err)
{
	uint32_t page_size = wal_page_size(db);
	uint64_t frame_len = (uint64_t)page_size + WAL_FRAME_HEADER_LEN;
	uint64_t end = off + len;
	uint8_t head[WAL_FRAME_HEADER_LEN];
	uint64_t frame;

	if (page_size == 0 || end <= WAL_HEADER_LEN)
		return 0;
	frame = (end - 1 - WAL_HEADER_LEN) / frame_len + 1;
	if (frame > UINT32_MAX)
		return 0;
	if (end == wal_frame_offset(page_size, (uint32_t)frame) + frame_len &&
	    off >= wal_frame_offset(page_size, (uint32_t)frame) + WAL_FRAME_HEADER_LEN) {
		if (file_pread(db->tail.fd, head, sizeof(head),
			       (off_t)wal_frame_offset(page_size, (uint32_t)frame)) !=
			    (ssize_t)sizeof(head) ||
		    wal_frame_parse(head).n_pages == 0)
			return 0;
	}
	if (frame > db->tail.now.captured) /* else the WAL begins anew */
		frame -= db->tail.now.captured;
	return gate_reserve(db, log_len(frame, page_size), err);
}
