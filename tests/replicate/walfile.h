/* SPDX-License-Identifier: MIT */
#ifndef TESTS_REPLICATE_WALFILE_H
#define TESTS_REPLICATE_WALFILE_H

#include "tests/unit.h"

#include "base/bytes.h"
#include "base/file.h"
#include "replicate/page.h"
#include "replicate/wal.h"

/* A WAL and a WAL-index made by hand, as SQLite would write them. */
struct walfile {
	int fd;
	struct wal_header header;
	struct wal_sum sum; /* after the last frame */
	uint32_t n_frames;
};

/* Writes a new header over fd: a restart, when there were frames before. */
static inline void walfile_begin(struct walfile *wal, int fd, uint32_t page_size, uint32_t salt)
{
	uint8_t bytes[WAL_HEADER_LEN];

	*wal = (struct walfile){
		.fd = fd,
		.header = { .page_size = page_size, .salt1 = salt, .salt2 = ~salt },
	};
	wal_header_format(&wal->header, bytes);
	wal->sum = wal->header.sum;
	assert_int_equal(file_pwrite(fd, bytes, sizeof(bytes), 0), 0);
}

/* The content that a page of version has. */
static inline void walfile_page(uint8_t *page, uint32_t page_size, uint32_t pgno, uint32_t version)
{
	memset(page, (int)(pgno + 31 * version), page_size);
	be32_put(page + 100, pgno);
	be32_put(page + 200, version);
}

/* Appends page pgno in version; n_pages != 0 commits. */
static inline void walfile_put(struct walfile *wal, uint32_t pgno, uint32_t version,
			       uint32_t n_pages)
{
	uint8_t frame[WAL_FRAME_HEADER_LEN + PAGE_SIZE_MAX];
	uint8_t *page = frame + WAL_FRAME_HEADER_LEN;
	uint32_t page_size = wal->header.page_size;

	walfile_page(page, page_size, pgno, version);
	wal_frame_format(&wal->header, &wal->sum, pgno, n_pages, page, frame);
	assert_int_equal(file_pwrite(wal->fd, frame, WAL_FRAME_HEADER_LEN + page_size,
				     (off_t)wal_frame_offset(page_size, ++wal->n_frames)), 0);
}

/* Goes back to frame n, so that the next one is written over what follows it. */
static inline void walfile_rewind(struct walfile *wal, uint32_t n, struct wal_sum sum)
{
	wal->n_frames = n;
	wal->sum = sum;
}

/* Takes the last frame out of the checksum chain. */
static inline void walfile_zero_salts(struct walfile *wal, uint32_t frame)
{
	static const uint8_t zero[16];
	uint64_t off = wal_frame_offset(wal->header.page_size, frame) + 8;

	assert_int_equal(file_pwrite(wal->fd, zero, sizeof(zero), (off_t)off), 0);
}

/* Fills the head of a WAL-index: two equal copies with their checksums. */
static inline void walfile_index(uint8_t *bytes, uint32_t page_size, uint32_t max_frame,
				 const struct wal_header *header, uint32_t n_backfill)
{
	uint16_t size = (uint16_t)(page_size == 65536 ? 1 : page_size);
	uint32_t sum[2] = { 0, 0 };
	uint32_t version = 3007000;

	memset(bytes, 0, WAL_INDEX_HEAD_LEN);
	memcpy(bytes, &version, 4);
	bytes[12] = 1;
	memcpy(bytes + 14, &size, 2);
	memcpy(bytes + 16, &max_frame, 4);
	be32_put(bytes + 32, header->salt1);
	be32_put(bytes + 36, header->salt2);
	for (int i = 0; i < 40; i += 8) {
		sum[0] += native32_get(bytes + i) + sum[1];
		sum[1] += native32_get(bytes + i + 4) + sum[0];
	}
	memcpy(bytes + 40, sum, 8);
	memcpy(bytes + 48, bytes, 48);
	memcpy(bytes + 96, &n_backfill, 4);
}

#endif
