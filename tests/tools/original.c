/* SPDX-License-Identifier: MIT */
#include "tests/tools/original.h"

#include "base/file.h"
#include "replicate/page.h"
#include "replicate/wal.h"

#include <errno.h>

#define FILE_MAX ((size_t)4 << 30)

/* Reads name + suffix whole; a file that is not there is empty. */
static int read_file(int dir_fd, const char *name, const char *suffix, struct buf *out,
		     struct error *err)
{
	char *path CLEANUP_FREE = NULL;
	int r;

	if (asprintf(&path, "%s%s", name, suffix) < 0) {
		path = NULL;
		return error_set(err, ENOMEM, "out of memory");
	}
	r = file_read_all(dir_fd, path, FILE_MAX, out, err);
	return r == -ENOENT ? 0 : r;
}

/* Cuts the pages, or adds zeros. */
static int resize(struct original *original, size_t size, struct error *err)
{
	size_t before = original->pages.len;

	if (size > before) {
		void *added = buf_extend(&original->pages, size - before);

		if (added == NULL)
			return error_set(err, ENOMEM, "out of memory");
		memset(added, 0, size - before);
	}
	original->pages.len = size;
	return 0;
}

/*
 * What the file alone is: its header says how much of it counts. What is behind
 * that stays in pages: a transaction in the WAL that makes the database longer
 * may take it as it is.
 */
static int read_main(struct original *original, int dir_fd, const char *name, struct error *err)
{
	struct page_header header;
	int r = read_file(dir_fd, name, "", &original->pages, err);

	if (r < 0 || original->pages.len == 0)
		return r;
	if (original->pages.len < PAGE_HEADER_LEN ||
	    !page_header_parse(original->pages.data, &header))
		return error_set(err, EBADMSG, "%s is no database", name);
	if (header.n_pages == 0)
		header.n_pages = (uint32_t)(original->pages.len / header.page_size);
	original->extent = (struct extent){ header.page_size, header.n_pages };
	original->has_tail = original->pages.len > extent_bytes(original->extent);
	return 0;
}

struct wal_file {
	const uint8_t *bytes;
	struct wal_header header;
	uint32_t n_frames; /* that the file has room for */
};

static const uint8_t *frame_at(const struct wal_file *wal, uint32_t frame)
{
	return wal->bytes + wal_frame_offset(wal->header.page_size, frame);
}

/* The last commit frame that recovery would find. */
static uint32_t chain_end(const struct wal_file *wal)
{
	struct wal_sum sum = wal->header.sum;
	uint32_t end = 0;

	for (uint32_t frame = 1; frame <= wal->n_frames; frame++) {
		const uint8_t *bytes = frame_at(wal, frame);

		if (!wal_frame_valid(&wal->header, &sum, bytes))
			break;
		if (wal_frame_parse(bytes).n_pages != 0)
			end = frame;
	}
	return end;
}

/* The last frame that is published. 0, 1 = not known, -errno. */
static int index_end(const struct wal_file *wal, int dir_fd, const char *name, uint32_t *ret_end,
		     struct error *err)
{
	struct buf bytes CLEANUP_BUF = { 0 };
	struct wal_index index;
	int r = read_file(dir_fd, name, "-shm", &bytes, err);

	if (r < 0)
		return r;
	if (bytes.len < WAL_INDEX_HEAD_LEN ||
	    wal_index_parse(bytes.data, false, &index) != WAL_INDEX_VALID)
		return 1;
	*ret_end = index.max_frame;
	if (index.max_frame == 0)
		return 0;
	if (index.salt1 != wal->header.salt1 || index.salt2 != wal->header.salt2 ||
	    index.page_size != wal->header.page_size || index.max_frame > wal->n_frames ||
	    wal_frame_parse(frame_at(wal, index.max_frame)).n_pages == 0)
		return 1;
	return 0;
}

/* Whether a commit frame only repeats the one before it, to fill a sector. */
static bool is_padding(const struct wal_file *wal, uint32_t frame)
{
	const uint8_t *bytes = frame_at(wal, frame);
	const uint8_t *before = frame > 1 ? frame_at(wal, frame - 1) : NULL;

	return before != NULL && memcmp(bytes, before, 8) == 0 &&
	       memcmp(bytes + WAL_FRAME_HEADER_LEN, before + WAL_FRAME_HEADER_LEN,
		      wal->header.page_size) == 0;
}

static int put_frame(struct original *original, const struct wal_file *wal, uint32_t frame,
		     struct error *err)
{
	uint32_t page_size = wal->header.page_size;
	const uint8_t *bytes = frame_at(wal, frame);
	struct wal_frame parsed = wal_frame_parse(bytes);
	size_t end = (size_t)parsed.pgno * page_size;
	int r = 0;

	if (parsed.pgno == 0)
		return error_set(err, EBADMSG, "frame %u has no page", frame);
	if (end > original->pages.len)
		r = resize(original, end, err);
	if (r == 0)
		memcpy(original->pages.data + end - page_size,
		       bytes + WAL_FRAME_HEADER_LEN, page_size);
	return r;
}

/* Puts frames 1 … end over the pages; what they do not hold is the file's. */
static int overlay(struct original *original, const struct wal_file *wal, uint32_t end,
		   const struct original_mark *since, struct error *err)
{
	bool goes_on = since->salt1 == wal->header.salt1 && since->salt2 == wal->header.salt2;
	uint32_t counted = goes_on ? since->frame : 0;
	int r = 0;

	original->mark = (struct original_mark){ wal->header.salt1, wal->header.salt2, end };
	for (uint32_t frame = 1; r == 0 && frame <= end; frame++) {
		r = put_frame(original, wal, frame, err);
		if (frame > counted && wal_frame_parse(frame_at(wal, frame)).n_pages != 0)
			original->n_commits += !is_padding(wal, frame);
	}
	if (end != 0) {
		original->extent = (struct extent){
			.page_size = wal->header.page_size,
			.n_pages = wal_frame_parse(frame_at(wal, end)).n_pages,
		};
		original->has_tail = false; /* but the transaction's, which the pages show */
	}
	return r;
}

static int read_wal(struct original *original, int dir_fd, const char *name, enum original_end end,
		    const struct original_mark *since, struct error *err)
{
	struct buf bytes CLEANUP_BUF = { 0 };
	struct wal_file wal;
	uint32_t last = 0;
	int r = read_file(dir_fd, name, "-wal", &bytes, err);

	if (r < 0 || wal_header_parse(bytes.data, bytes.len, &wal.header) != WAL_HEADER_VALID)
		return r;
	wal.bytes = bytes.data;
	wal.n_frames = wal_n_frames(wal.header.page_size, bytes.len);
	if (end == ORIGINAL_CHAIN)
		last = chain_end(&wal);
	else
		r = index_end(&wal, dir_fd, name, &last, err);
	return r == 0 ? overlay(original, &wal, last, since, err) : r;
}

int original_read(struct original *original, int dir_fd, const char *name, enum original_end end,
		  const struct original_mark *since, struct error *err)
{
	int r;

	*original = (struct original){ 0 };
	r = read_main(original, dir_fd, name, err);
	if (r == 0)
		r = read_wal(original, dir_fd, name, end, since, err);
	if (r == 0)
		r = resize(original, extent_bytes(original->extent), err);
	original->wal_mode = original->pages.len != 0 && original->pages.data[18] == 2;
	return r;
}

void original_done(struct original *original)
{
	buf_done(&original->pages);
}
