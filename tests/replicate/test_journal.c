/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/bytes.h"
#include "replicate/journal.h"

#include <sys/mman.h>

#define PAGE 512u
#define SECTOR 512u

static const uint8_t magic[8] = { 0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7 };

/* A journal in memory, made segment by segment. */
struct made {
	int fd;
	off_t end;
};

static struct made made_new(void)
{
	return (struct made){ .fd = memfd_create("journal", MFD_CLOEXEC) };
}

static void format_header(uint8_t *bytes, uint32_t n_records, bool synced)
{
	memset(bytes, 0, JOURNAL_HEADER_LEN);
	if (synced) {
		memcpy(bytes, magic, sizeof(magic));
		be32_put(bytes + 8, n_records);
	}
	be32_put(bytes + 12, 77); /* the nonce */
	be32_put(bytes + 16, 1000);
	be32_put(bytes + 20, SECTOR);
	be32_put(bytes + 24, PAGE);
}

static void add_header(struct made *made, uint32_t n_records, bool synced)
{
	uint8_t bytes[JOURNAL_HEADER_LEN];

	made->end = (made->end + SECTOR - 1) / SECTOR * SECTOR;
	format_header(bytes, n_records, synced);
	assert_int_equal(pwrite(made->fd, bytes, sizeof(bytes), made->end), sizeof(bytes));
	made->end += SECTOR;
}

static void add_record(struct made *made, uint32_t pgno)
{
	uint8_t bytes[PAGE + 8] = { 0 };

	be32_put(bytes, pgno);
	memset(bytes + 4, (int)pgno, PAGE);
	/* bytes 312 and 112 of the page; those of other numbers are of another header */
	be32_put(bytes + 4 + PAGE, pgno < 100 ? 77 + 2 * pgno : 78 + 2 * pgno);
	assert_int_equal(pwrite(made->fd, bytes, sizeof(bytes), made->end), sizeof(bytes));
	made->end += (off_t)sizeof(bytes);
}

/* Reads all records: their page numbers must be those up to a 0. */
static void expect(struct made *made, const uint8_t *kept, const uint32_t *pages)
{
	static uint8_t buffer[JOURNAL_BUFFER_MIN];
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct journal_reader reader;
	struct journal_record record;

	assert_int_equal(journal_reader_init(&reader, made->fd, kept, buffer, sizeof(buffer), &err),
			 0);
	assert_int_equal(reader.first.n_pages, 1000);
	for (; *pages != 0; pages++) {
		assert_int_equal(journal_reader_next(&reader, &record, &err), 0);
		assert_int_equal(record.pgno, *pages);
		assert_int_equal(record.page[0], *pages & 0xff);
		assert_int_equal(record.own, *pages < 100);
	}
	assert_int_equal(journal_reader_next(&reader, &record, &err), 1);
	close(made->fd);
}

#define EXPECT(made, kept, ...) expect(made, kept, (const uint32_t[]){ __VA_ARGS__, 0 })

static void segments_follow_at_sectors(void **state)
{
	struct made made = made_new();

	add_header(&made, 2, true);
	add_record(&made, 1);
	add_record(&made, 2);
	add_header(&made, 1, true);
	add_record(&made, 3);
	EXPECT(&made, NULL, 1, 2, 3);
}

/* Pages may be in the database before the header of their segment is synced. */
static void an_unsynced_segment_goes_to_the_end(void **state)
{
	struct made made = made_new();

	add_header(&made, 1, true);
	add_record(&made, 1);
	add_header(&made, 0, false);
	add_record(&made, 2);
	add_record(&made, 3);
	EXPECT(&made, NULL, 1, 2, 3);
	made = made_new();
	add_header(&made, 0, false);
	add_record(&made, 9);
	EXPECT(&made, NULL, 9);
}

/* A cache that spills may sync a segment that nothing was journaled in. */
static void an_empty_segment_is_passed_over(void **state)
{
	struct made made = made_new();

	add_header(&made, 1, true);
	add_record(&made, 1);
	add_header(&made, 0, true);
	add_header(&made, 2, true);
	add_record(&made, 2);
	add_record(&made, 3);
	EXPECT(&made, NULL, 1, 2, 3);
}

static void what_an_older_transaction_left_behind_is_not_read(void **state)
{
	struct made made = made_new();

	add_header(&made, 1, true);
	add_record(&made, 1);
	add_record(&made, 2); /* beyond the count, in the same segment */
	EXPECT(&made, NULL, 1);
}

static void a_count_to_the_end_is_taken_from_the_size(void **state)
{
	struct made made = made_new();

	add_header(&made, JOURNAL_TO_THE_END, true);
	for (uint32_t pgno = 1; pgno <= 200; pgno++)
		add_record(&made, pgno);
	assert_int_equal(ftruncate(made.fd, made.end - 1), 0);
	{
		uint32_t pages[200];

		for (uint32_t i = 0; i < 199; i++)
			pages[i] = i + 1;
		pages[199] = 0;
		expect(&made, NULL, pages);
	}
}

static void a_kept_header_stands_for_a_zeroed_one(void **state)
{
	static const uint8_t zeros[JOURNAL_HEADER_LEN];
	struct error err CLEANUP_ERROR = ERROR_INIT;
	static uint8_t buffer[JOURNAL_BUFFER_MIN];
	uint8_t kept[JOURNAL_HEADER_LEN];
	struct journal_reader reader;
	struct made made = made_new();

	add_header(&made, 2, true);
	add_record(&made, 4);
	add_record(&made, 5);
	format_header(kept, 2, true);
	assert_int_equal(pwrite(made.fd, zeros, sizeof(zeros), 0), sizeof(zeros));
	assert_true(journal_header_zeroed(zeros));
	assert_false(journal_header_zeroed(kept));
	assert_int_equal(journal_reader_init(&reader, made.fd, NULL, buffer, sizeof(buffer), &err),
			 1);
	EXPECT(&made, kept, 4, 5);
}

static void a_header_with_impossible_sizes_is_none(void **state)
{
	struct journal_header header;
	uint8_t bytes[JOURNAL_HEADER_LEN];

	for (size_t at = 20; at < 28; at += 4) {
		format_header(bytes, 1, true);
		assert_int_equal(journal_header_parse(bytes, &header), JOURNAL_HEADER_VALID);
		be32_put(bytes + at, 1000);
		assert_int_equal(journal_header_parse(bytes, &header), JOURNAL_HEADER_NONE);
		be32_put(bytes + at, 1u << 20);
		assert_int_equal(journal_header_parse(bytes, &header), JOURNAL_HEADER_NONE);
	}
	format_header(bytes, 1, true);
	bytes[0] = 0;
	assert_int_equal(journal_header_parse(bytes, &header), JOURNAL_HEADER_NONE);
}

static void trunks_list_leaves_that_exist(void **state)
{
	uint8_t page[PAGE] = { 0 };

	assert_int_equal(journal_trunk_n_leaves(page, PAGE, 100), 0);
	be32_put(page, 50);
	be32_put(page + 4, 2);
	be32_put(page + 8, 7);
	be32_put(page + 12, 100);
	assert_int_equal(journal_trunk_n_leaves(page, PAGE, 100), 2);
	assert_int_equal(journal_trunk_n_leaves(page, PAGE, 99), 0);
	be32_put(page + 4, PAGE / 4 - 1);
	assert_int_equal(journal_trunk_n_leaves(page, PAGE, 100), 0);
	be32_put(page + 4, 1);
	be32_put(page, 101);
	assert_int_equal(journal_trunk_n_leaves(page, PAGE, 100), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments_follow_at_sectors),
		cmocka_unit_test(an_unsynced_segment_goes_to_the_end),
		cmocka_unit_test(an_empty_segment_is_passed_over),
		cmocka_unit_test(what_an_older_transaction_left_behind_is_not_read),
		cmocka_unit_test(a_count_to_the_end_is_taken_from_the_size),
		cmocka_unit_test(a_kept_header_stands_for_a_zeroed_one),
		cmocka_unit_test(a_header_with_impossible_sizes_is_none),
		cmocka_unit_test(trunks_list_leaves_that_exist),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
