/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/records.h"

#include "base/cleanup.h"
#include "replicate/delta.h"
#include "replicate/page.h"
#include "replicate/record_reader.h"

#include <string.h>

/* The input is a run of transaction records behind a byte of what to put right in them. */

static void check_entry(const struct record_header *header, const struct record_entry *entry,
			const uint8_t *data)
{
	struct extent extent = entry->encoding == RECORD_CUT ? header->before : header->after;
	uint8_t *page CLEANUP_FREE = NULL;

	FUZZ_CHECK(page_size_valid(extent.page_size));
	FUZZ_CHECK(entry->pgno >= 1 && entry->pgno <= extent.n_pages);
	/* Of exactly a page, so that a sanitizer sees a byte written behind it. */
	page = calloc(1, extent.page_size);
	if (page == NULL)
		return;
	if (entry->encoding == RECORD_WHOLE)
		memcpy(page, data, entry->data_len);
	else
		delta_apply(data, entry->data_len, page);
}

/* A header that was accepted is written as it was read. */
static void check_header(const struct record_header *header)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	uint8_t bytes[RECORD_HEADER_LEN];
	struct record_header again;

	FUZZ_CHECK(header->txid != 0 && header->size >= RECORD_HEADER_LEN);
	record_header_format(header, bytes);
	FUZZ_CHECK(record_header_parse(bytes, &again, &err) == 0);
	FUZZ_CHECK(again.size == header->size && again.n_entries == header->n_entries);
}

static void read_records(const uint8_t *data, size_t size)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct record_memory memory;
	struct record_reader reader;
	int r;

	record_memory_init(&memory, data, size);
	r = record_reader_init(&reader, &memory.source, &err);
	while (r == 0 && (r = record_reader_next(&reader, &err)) == 0) {
		struct record_entry entry;
		const uint8_t *entry_data;
		uint32_t n = 0;

		check_header(&reader.header);
		while (r == 0 && n < reader.header.n_entries && n % 7 != 6) {
			r = record_reader_entry(&reader, &entry, &entry_data, &err);
			if (r == 0)
				check_entry(&reader.header, &entry, entry_data);
			n++;
		}
	}
	FUZZ_CHECK(r == 1 || err.code != 0);
	record_reader_done(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy CLEANUP_FREE = NULL;

	if (size < 2 || size > 1 << 20)
		return 0;
	copy = malloc(size - 1);
	if (copy == NULL)
		return 0;
	memcpy(copy, data + 1, size - 1);
	fuzz_fix_records(copy, size - 1, data[0]);
	read_records(copy, size - 1);
	return 0;
}
