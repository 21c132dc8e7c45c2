/* SPDX-License-Identifier: MIT */
#include "replicate/journal.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "replicate/page.h"

#include <errno.h>

#define SECTOR_SIZE_MIN 32u
#define SECTOR_SIZE_MAX 65536u
#define RECORD_EXTRA 8u /* page number and checksum */

static const uint8_t zeros[JOURNAL_HEADER_LEN];

static bool sector_size_valid(uint32_t size)
{
	return size >= SECTOR_SIZE_MIN && size <= SECTOR_SIZE_MAX && (size & (size - 1)) == 0;
}

enum journal_header_state journal_header_parse(const uint8_t *bytes,
					       struct journal_header *ret_header)
{
	bool unsynced = memcmp(bytes, zeros, JOURNAL_MAGIC_LEN + 4) == 0;
	struct journal_header header = {
		.n_records = be32_get(bytes + 8),
		.nonce = be32_get(bytes + 12),
		.n_pages = be32_get(bytes + 16),
		.sector_size = be32_get(bytes + 20),
		.page_size = be32_get(bytes + 24),
	};

	if (!unsynced && memcmp(bytes, JOURNAL_MAGIC, JOURNAL_MAGIC_LEN) != 0)
		return JOURNAL_HEADER_NONE;
	if (!sector_size_valid(header.sector_size) || !page_size_valid(header.page_size))
		return JOURNAL_HEADER_NONE;
	if (unsynced)
		header.n_records = JOURNAL_TO_THE_END;
	*ret_header = header;
	return unsynced ? JOURNAL_HEADER_UNSYNCED : JOURNAL_HEADER_VALID;
}

uint64_t journal_first_len(const struct journal_header *header)
{
	if (header->n_records == JOURNAL_TO_THE_END)
		return UINT64_MAX;
	return header->sector_size +
	       header->n_records * ((uint64_t)header->page_size + RECORD_EXTRA);
}

bool journal_header_zeroed(const uint8_t *bytes)
{
	return memcmp(bytes, zeros, sizeof(zeros)) == 0;
}

static uint64_t record_len(const struct journal_reader *reader)
{
	return (uint64_t)reader->first.page_size + RECORD_EXTRA;
}

/* Goes into the segment whose header is at offset at. */
static void enter_segment(struct journal_reader *reader, const struct journal_header *header,
			  enum journal_header_state state, uint64_t at)
{
	uint64_t n_fit;

	reader->at = at + header->sector_size;
	reader->nonce = header->nonce;
	n_fit = reader->size > reader->at ? (reader->size - reader->at) / record_len(reader) : 0;
	reader->last = state == JOURNAL_HEADER_UNSYNCED || header->n_records == JOURNAL_TO_THE_END;
	reader->n_left = reader->last ? n_fit : MIN(n_fit, (uint64_t)header->n_records);
}

int journal_reader_init(struct journal_reader *reader, int fd, const uint8_t *kept,
			uint8_t *buffer, size_t buffer_len, struct error *err)
{
	uint8_t bytes[JOURNAL_HEADER_LEN];
	enum journal_header_state state;
	struct stat st;
	ssize_t n;

	*reader = (struct journal_reader){ .fd = fd, .buffer = buffer, .buffer_len = buffer_len };
	if (fstat(fd, &st) < 0)
		return error_set_errno(err, errno, "cannot stat the rollback journal");
	reader->size = (uint64_t)st.st_size;
	n = file_pread(fd, bytes, sizeof(bytes), 0);
	if (n < 0)
		return error_set_errno(err, (int)-n, "cannot read the rollback journal");
	if (n < (ssize_t)sizeof(bytes))
		return 1;
	state = journal_header_parse(bytes, &reader->first);
	if (state == JOURNAL_HEADER_NONE && kept != NULL)
		state = journal_header_parse(kept, &reader->first);
	if (state == JOURNAL_HEADER_NONE)
		return 1;
	enter_segment(reader, &reader->first, state, 0);
	return 0;
}

/* The len bytes at off, which the file has, in the buffer; NULL with err set. */
static const uint8_t *window(struct journal_reader *reader, uint64_t off, size_t len,
			     struct error *err)
{
	size_t skip = off - reader->in_buffer_at;
	size_t most;
	ssize_t n;

	if (off >= reader->in_buffer_at && skip <= reader->in_buffer &&
	    reader->in_buffer - skip >= len)
		return reader->buffer + skip;
	most = (size_t)MIN((uint64_t)reader->buffer_len, reader->size - off);
	n = file_pread(reader->fd, reader->buffer, most, (off_t)off);
	reader->in_buffer_at = off;
	reader->in_buffer = n > 0 ? (size_t)n : 0;
	if (n >= (ssize_t)len)
		return reader->buffer;
	if (n < 0)
		(void)!error_set_errno(err, (int)-n, "cannot read the rollback journal");
	else
		(void)!error_set(err, EIO, "the rollback journal has become shorter");
	return NULL;
}

/* 0: in the next segment; 1: there is none; -errno. */
static int next_segment(struct journal_reader *reader, struct error *err)
{
	uint64_t sector = reader->first.sector_size;
	uint64_t at = (reader->at + sector - 1) / sector * sector;
	enum journal_header_state state;
	struct journal_header header;
	const uint8_t *bytes;

	if (reader->last || at + sector > reader->size)
		return 1;
	bytes = window(reader, at, JOURNAL_HEADER_LEN, err);
	if (bytes == NULL)
		return -err->code;
	state = journal_header_parse(bytes, &header);
	if (state == JOURNAL_HEADER_NONE || header.page_size != reader->first.page_size ||
	    header.sector_size != reader->first.sector_size)
		return 1;
	enter_segment(reader, &header, state, at);
	return 0;
}

/* The nonce, and every 200th byte of the page from its end on (pager_cksum() in pager.c). */
static uint32_t checksum(uint32_t nonce, const uint8_t *page, uint32_t page_size)
{
	uint32_t sum = nonce;

	for (uint32_t i = page_size - 200; i > 0 && i < page_size; i -= 200)
		sum += page[i];
	return sum;
}

int journal_reader_next(struct journal_reader *reader, struct journal_record *ret_record,
			struct error *err)
{
	uint32_t page_size = reader->first.page_size;
	const uint8_t *bytes;

	while (reader->n_left == 0) {
		int r = next_segment(reader, err);

		if (r != 0)
			return r;
	}
	bytes = window(reader, reader->at, record_len(reader), err);
	if (bytes == NULL)
		return -err->code;
	*ret_record = (struct journal_record){
		.pgno = be32_get(bytes),
		.off = reader->at + 4,
		.page = bytes + 4,
		.own = checksum(reader->nonce, bytes + 4, page_size) ==
		       be32_get(bytes + 4 + page_size),
	};
	reader->at += record_len(reader);
	reader->n_left--;
	return 0;
}

bool journal_has_super(int fd)
{
	uint8_t bytes[JOURNAL_MAGIC_LEN];
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_size >= (off_t)sizeof(bytes) &&
	       file_pread(fd, bytes, sizeof(bytes), st.st_size - (off_t)sizeof(bytes)) ==
		       (ssize_t)sizeof(bytes) &&
	       memcmp(bytes, JOURNAL_MAGIC, sizeof(bytes)) == 0;
}

uint32_t journal_trunk_n_leaves(const uint8_t *page, uint32_t page_size, uint32_t n_pages)
{
	uint32_t next = be32_get(page);
	uint32_t n = be32_get(page + 4);

	if (next > n_pages || n > page_size / 4 - 2)
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t leaf = be32_get(page + JOURNAL_TRUNK_LEAVES + 4 * (size_t)i);

		if (leaf < 2 || leaf > n_pages)
			return 0;
	}
	return n;
}
