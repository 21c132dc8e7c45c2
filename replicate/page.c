/* SPDX-License-Identifier: MIT */
#include "replicate/page.h"

#include "base/bytes.h"
#include "base/hash.h"

#include <string.h>

bool page_header_parse(const uint8_t *bytes, struct page_header *ret_header)
{
	uint32_t size = be16_get(bytes + 16);

	if (memcmp(bytes, PAGE_MAGIC, PAGE_MAGIC_LEN) != 0)
		return false;
	ret_header->page_size = size == 1 ? PAGE_SIZE_MAX : size;
	ret_header->read_version = bytes[19];
	/* The size is only meant when "version valid for" is the change counter. */
	ret_header->n_pages = be32_get(bytes + 92) == be32_get(bytes + 24) ? be32_get(bytes + 28) :
									     0;
	return page_size_valid(ret_header->page_size);
}

static uint64_t first_page_hash(const uint8_t *page, uint32_t page_size)
{
	uint8_t masked[PAGE_SIZE_MAX];

	memcpy(masked, page, page_size);
	masked[18] = 0;
	masked[19] = 0;
	return hash64(masked, page_size, 1);
}

uint64_t page_hash(uint32_t pgno, const uint8_t *page, uint32_t page_size)
{
	if (pgno == 1)
		return first_page_hash(page, page_size);
	if (pgno == page_lock_number(page_size))
		return 0;
	return hash64(page, page_size, pgno);
}
