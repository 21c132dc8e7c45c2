/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "replicate/journal.h"
#include "replicate/page.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * The first byte says whether the next 28 are a header kept from before; the rest
 * is the journal.
 */

static void check_trunk(const struct journal_reader *reader, const struct journal_record *record)
{
	uint32_t n_pages = reader->first.n_pages;
	uint32_t n = journal_trunk_n_leaves(record->page, reader->first.page_size, n_pages);

	FUZZ_CHECK(n <= reader->first.page_size / 4 - 2);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t leaf = be32_get(record->page + JOURNAL_TRUNK_LEAVES + 4 * (size_t)i);

		FUZZ_CHECK(leaf >= 2 && leaf <= n_pages);
	}
}

/* Records are those of the file, one behind the other, and end with it. */
static void check_records(struct journal_reader *reader, const uint8_t *data, size_t size)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct journal_record record;
	uint64_t end = 0;
	int r;

	FUZZ_CHECK(page_size_valid(reader->first.page_size));
	while ((r = journal_reader_next(reader, &record, &err)) == 0) {
		FUZZ_CHECK(record.off >= end + 4 &&
			   record.off + reader->first.page_size + 4 <= size);
		FUZZ_CHECK(record.pgno == be32_get(data + record.off - 4));
		FUZZ_CHECK(memcmp(record.page, data + record.off, reader->first.page_size) == 0);
		check_trunk(reader, &record);
		end = record.off + reader->first.page_size + 4;
	}
	FUZZ_CHECK(r == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t buffer[JOURNAL_BUFFER_MIN];
	struct error err CLEANUP_ERROR = ERROR_INIT;
	const uint8_t *kept = NULL;
	struct journal_reader reader;
	size_t skip = 1;
	int fd;

	if (size < 1 + JOURNAL_HEADER_LEN)
		return 0;
	if (data[0] & 1) {
		kept = data + 1;
		skip += JOURNAL_HEADER_LEN;
	}
	fd = memfd_create("journal", MFD_CLOEXEC);
	FUZZ_CHECK(write(fd, data + skip, size - skip) == (ssize_t)(size - skip));
	if (journal_reader_init(&reader, fd, kept, buffer, sizeof(buffer), &err) == 0)
		check_records(&reader, data + skip, size - skip);
	close(fd);
	return 0;
}
