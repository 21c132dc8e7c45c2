/* SPDX-License-Identifier: MIT */
#include "replicate/wal_tail.h"

#include "base/file.h"
#include "replicate/page.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#define TORN_RETRIES 200

void wal_tail_init(struct wal_tail *tail)
{
	*tail = (struct wal_tail){ .fd = -1, .index_fd = -1 };
}

void wal_tail_close_index(struct wal_tail *tail)
{
	if (tail->index_fd >= 0)
		close(tail->index_fd);
	tail->index_fd = -1;
}

void wal_tail_close_files(struct wal_tail *tail)
{
	if (tail->fd >= 0)
		close(tail->fd);
	tail->fd = -1;
	wal_tail_close_index(tail);
}

void wal_tail_done(struct wal_tail *tail)
{
	wal_tail_close_files(tail);
	walmap_done(&tail->map);
}

void wal_tail_reset(struct wal_tail *tail)
{
	tail->page_size = 0;
	tail->now = (struct wal_tail_state){ 0 };
	tail->previous = (struct wal_tail_state){ 0 };
	tail->synced = false;
	tail->outside = false;
	tail->n_odd = 0;
	walmap_clear(&tail->map);
}

void wal_tail_advance(struct wal_tail *tail, const struct wal_span *end)
{
	tail->now.captured = end->last;
	tail->now.end = *end;
}

bool wal_tail_frame_outside(const struct wal_tail *tail, const struct wal_frame *frame)
{
	return frame->salt1 != tail->now.salt1 || frame->salt2 != tail->now.salt2;
}

static int read_at(int fd, void *to, size_t len, uint64_t off, struct error *err)
{
	ssize_t n = file_pread(fd, to, len, (off_t)off);

	if (n < 0)
		return error_set_errno(err, (int)-n, "cannot read the WAL");
	return (size_t)n == len ? 0 : 1;
}

int wal_tail_read_page(const struct wal_tail *tail, uint32_t frame, uint8_t *page,
		       struct error *err)
{
	uint64_t off = wal_frame_offset(tail->page_size, frame) + WAL_FRAME_HEADER_LEN;

	return read_at(tail->fd, page, tail->page_size, off, err);
}

int wal_tail_read_head(const struct wal_tail *tail, uint32_t frame, uint8_t *bytes,
		       struct error *err)
{
	return read_at(tail->fd, bytes, WAL_FRAME_HEADER_LEN,
		       wal_frame_offset(tail->page_size, frame), err);
}

static bool same_salts(const struct wal_tail_state *state, uint32_t salt1, uint32_t salt2)
{
	return state->salt1 == salt1 && state->salt2 == salt2;
}

/*
 * The WAL has other salts than we followed. Usually a restart: begin at its
 * start. The salts before the last come back when a TRUNCATE checkpoint dies
 * between its new header and the truncation.
 */
static enum tail_news follow_salts(struct wal_tail *tail, uint32_t page_size, uint32_t salt1,
				   uint32_t salt2, bool *ret_unannounced)
{
	struct wal_tail_state before = tail->now;
	bool had_one = tail->page_size != 0;
	bool lost = had_one && before.captured != before.announced;

	walmap_clear(&tail->map);
	tail->page_size = page_size;
	tail->outside = false;
	tail->n_odd = 0;
	if (tail->previous.captured != 0 && same_salts(&tail->previous, salt1, salt2)) {
		tail->now = tail->previous;
		tail->previous = (struct wal_tail_state){ 0 };
		return TAIL_SUSPECT; /* the map is gone: comparing rebuilds it */
	}
	tail->previous = before;
	tail->now = (struct wal_tail_state){ .salt1 = salt1, .salt2 = salt2 };
	if (lost)
		*ret_unannounced = true;
	return lost ? TAIL_SUSPECT : TAIL_NOTHING;
}

static enum wal_index_state read_index(const struct wal_tail *tail, struct wal_index *ret_index)
{
	enum wal_index_state state = WAL_INDEX_INVALID;
	uint8_t bytes[WAL_INDEX_HEAD_LEN];

	for (int i = 0; i < TORN_RETRIES; i++) {
		if (file_pread(tail->index_fd, bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
			return WAL_INDEX_INVALID;
		state = wal_index_parse(bytes, false, ret_index);
		if (state != WAL_INDEX_TORN)
			return state;
		if (i > 10)
			sched_yield();
	}
	/* Its writer died between the copies: the first one still stands. */
	return wal_index_parse(bytes, true, ret_index);
}

/*
 * nBackfill beyond mxFrame, twice: the WAL-reset bug of SQLite <= 3.51.2 struck.
 * True once for as long as that lasts.
 */
static bool backfill_suspect(struct wal_tail *tail, const struct wal_index *index)
{
	bool odd = index->max_frame != 0 && index->n_backfill > index->max_frame;
	bool suspect = odd && tail->n_odd == 1;

	tail->n_odd = odd ? MIN(tail->n_odd + 1, 2u) : 0;
	return suspect;
}

static enum tail_news look_at_index(struct wal_tail *tail, uint32_t *ret_target,
				    bool *ret_unannounced)
{
	enum tail_news news = TAIL_NOTHING;
	struct wal_index index;

	if (read_index(tail, &index) != WAL_INDEX_VALID)
		return TAIL_NOTHING;
	if (index.page_size == 0)
		return TAIL_NOTHING;
	if (tail->page_size == 0 || !same_salts(&tail->now, index.salt1, index.salt2))
		news = follow_salts(tail, index.page_size, index.salt1, index.salt2,
				    ret_unannounced);
	*ret_target = index.max_frame;
	if (news == TAIL_SUSPECT || backfill_suspect(tail, &index) ||
	    index.max_frame < tail->now.captured || index.page_size != tail->page_size)
		return TAIL_SUSPECT;
	return index.max_frame > tail->now.captured ? TAIL_FRAMES : TAIL_NOTHING;
}

/* The last commit frame that the checksum chain reaches, reading on from captured. */
static int last_commit(const struct wal_tail *tail, const struct wal_header *header,
		       uint32_t *ret_frame, struct error *err)
{
	size_t frame_len = WAL_FRAME_HEADER_LEN + tail->page_size;
	struct wal_sum sum = header->sum;
	uint8_t *bytes CLEANUP_FREE = malloc(frame_len);
	uint32_t frame = tail->now.captured;

	if (bytes == NULL)
		return error_set(err, ENOMEM, "out of memory");
	if (frame != 0)
		sum = wal_frame_parse(tail->now.end.last_head).sum;
	*ret_frame = frame;
	for (frame++; frame != 0; frame++) {
		int r = read_at(tail->fd, bytes, frame_len, wal_frame_offset(tail->page_size, frame),
				err);

		if (r < 0)
			return r;
		if (r > 0 || !wal_frame_valid(header, &sum, bytes))
			return 0;
		if (wal_frame_parse(bytes).n_pages != 0)
			*ret_frame = frame;
	}
	return 0;
}

static int read_header(const struct wal_tail *tail, struct wal_header *ret_header,
		       struct error *err)
{
	uint8_t bytes[WAL_HEADER_LEN];
	ssize_t n = file_pread(tail->fd, bytes, sizeof(bytes), 0);

	if (n < 0)
		return error_set_errno(err, (int)-n, "cannot read the WAL");
	switch (wal_header_parse(bytes, (size_t)n, ret_header)) {
	case WAL_HEADER_VALID:
		return 0;
	case WAL_HEADER_UNKNOWN:
		error_set(err, EPROTONOSUPPORT, "its -wal is of a kind this program does not know");
		return error_why(err, "its version is not that of SQLite 3's WAL");
	default:
		return 1;
	}
}

static bool frame_kept(const struct wal_tail *tail, uint32_t frame, const uint8_t *expected)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	uint8_t head[WAL_FRAME_HEADER_LEN];

	return wal_tail_read_head(tail, frame, head, &ignored) == 0 &&
	       memcmp(head, expected, sizeof(head)) == 0;
}

/*
 * Whether the last captured transaction is still there. One whose author died
 * before he published it is overwritten from its first frame on, perhaps by a
 * shorter one.
 */
static bool last_transaction_kept(const struct wal_tail *tail)
{
	const struct wal_span *end = &tail->now.end;

	return tail->now.captured == 0 || (frame_kept(tail, end->first, end->first_head) &&
					   frame_kept(tail, end->last, end->last_head));
}

static int look_at_frames(struct wal_tail *tail, uint32_t *ret_target, bool *ret_unannounced,
			  struct error *err)
{
	enum tail_news news = TAIL_NOTHING;
	struct wal_header header;
	int r = read_header(tail, &header, err);

	*ret_target = tail->now.captured;
	if (r != 0)
		return r < 0 ? r : TAIL_NOTHING;
	if (tail->page_size == 0 || !same_salts(&tail->now, header.salt1, header.salt2))
		news = follow_salts(tail, header.page_size, header.salt1, header.salt2,
				    ret_unannounced);
	if (news != TAIL_SUSPECT && !last_transaction_kept(tail))
		news = TAIL_SUSPECT;
	if (news == TAIL_SUSPECT) /* judge all of it anew */
		tail->now.captured = 0;
	r = last_commit(tail, &header, ret_target, err);
	if (r < 0)
		return r;
	if (news == TAIL_SUSPECT)
		return TAIL_SUSPECT;
	return *ret_target > tail->now.captured ? TAIL_FRAMES : TAIL_NOTHING;
}

int wal_tail_look(struct wal_tail *tail, bool use_index, uint32_t *ret_target,
		  bool *ret_unannounced, struct error *err)
{
	*ret_target = tail->now.captured;
	if (tail->fd < 0)
		return TAIL_NOTHING;
	if (use_index && tail->index_fd >= 0)
		return look_at_index(tail, ret_target, ret_unannounced);
	return look_at_frames(tail, ret_target, ret_unannounced, err);
}

/*
 * Rebuilds the map from the frames up to mark's. 1 = those are not what was
 * captured, or SQLite's recovery, which whoever opens the database next begins
 * with, drops some of them.
 */
static int resume_frames(struct wal_tail *tail, const struct wal_mark *mark,
			 uint64_t (*hash_of)(void *arg, uint32_t pgno), void *arg,
			 struct error *err)
{
	struct wal_span end = { .last = mark->frame };
	struct wal_frame parsed = { .n_pages = 1 };

	for (uint32_t frame = 1; frame <= mark->frame; frame++) {
		bool begins = parsed.n_pages != 0;
		int r = wal_tail_read_head(tail, frame, end.last_head, err);

		if (r == 0 && walmap_reserve(&tail->map, 1) < 0)
			r = error_set(err, ENOMEM, "out of memory");
		if (r != 0)
			return r;
		parsed = wal_frame_parse(end.last_head);
		if (wal_tail_frame_outside(tail, &parsed) || parsed.pgno == 0)
			return 1;
		if (begins) {
			end.first = frame;
			memcpy(end.first_head, end.last_head, sizeof(end.first_head));
		}
		walmap_put(&tail->map, parsed.pgno, frame, hash_of(arg, parsed.pgno));
	}
	if (parsed.sum.s0 != mark->sum0 || parsed.sum.s1 != mark->sum1)
		return 1;
	wal_tail_advance(tail, &end);
	return 0;
}

int wal_tail_resume(struct wal_tail *tail, const struct wal_mark *mark, bool verify,
		    uint64_t (*hash_of)(void *arg, uint32_t pgno), void *arg, struct error *err)
{
	uint32_t valid = mark->frame;
	struct wal_header header;
	int r = tail->fd >= 0 ? read_header(tail, &header, err) : 1;

	wal_tail_reset(tail);
	if (r != 0)
		return r < 0 ? r : 0;
	tail->page_size = header.page_size;
	tail->now = (struct wal_tail_state){ .salt1 = header.salt1, .salt2 = header.salt2 };
	if (mark->frame == 0 || !same_salts(&tail->now, mark->salt1, mark->salt2))
		return 0;
	if (verify)
		r = last_commit(tail, &header, &valid, err);
	if (r == 0 && valid < mark->frame)
		r = 1;
	if (r == 0)
		r = resume_frames(tail, mark, hash_of, arg, err);
	if (r != 0)
		walmap_clear(&tail->map);
	return r;
}

struct wal_mark wal_tail_mark(const struct wal_tail *tail)
{
	struct wal_frame frame = wal_frame_parse(tail->now.end.last_head);

	if (tail->now.captured == 0)
		return (struct wal_mark){ 0 };
	return (struct wal_mark){
		.salt1 = tail->now.salt1,
		.salt2 = tail->now.salt2,
		.frame = tail->now.captured,
		.sum0 = frame.sum.s0,
		.sum1 = frame.sum.s1,
	};
}

bool wal_tail_goes_on(const struct wal_tail *tail)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	uint8_t head[WAL_FRAME_HEADER_LEN];
	struct wal_frame frame;

	if (wal_tail_read_head(tail, tail->now.captured + 1, head, &ignored) != 0)
		return false;
	frame = wal_frame_parse(head);
	return same_salts(&tail->now, frame.salt1, frame.salt2);
}

bool wal_tail_chain_broken(const struct wal_tail *tail)
{
	bool broken = false;

	for (uint32_t frame = tail->now.captured + 1; frame != 0; frame++) {
		CLEANUP_ERROR struct error ignored = ERROR_INIT;
		uint8_t head[WAL_FRAME_HEADER_LEN];
		struct wal_frame parsed;

		if (wal_tail_read_head(tail, frame, head, &ignored) != 0)
			return false;
		parsed = wal_frame_parse(head);
		if (parsed.salt1 == 0 && parsed.salt2 == 0)
			broken = true;
		else if (wal_tail_frame_outside(tail, &parsed))
			return false;
		if (parsed.pgno == 0 || (broken && parsed.n_pages != 0))
			return parsed.pgno != 0;
	}
	return false;
}
