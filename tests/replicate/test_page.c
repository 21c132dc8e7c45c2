/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "replicate/page.h"

static void make_header(uint8_t *bytes, uint32_t size_field)
{
	memset(bytes, 0, PAGE_HEADER_LEN);
	memcpy(bytes, "SQLite format 3", 16);
	be16_put(bytes + 16, (uint16_t)size_field);
	bytes[18] = 2;
	bytes[19] = 1;
	be32_put(bytes + 24, 77);
	be32_put(bytes + 28, 1234);
	be32_put(bytes + 40, 5);
	be32_put(bytes + 92, 77);
}

static void a_header_says_what_is_in_it(void **state)
{
	uint8_t bytes[PAGE_HEADER_LEN];
	struct page_header header;

	make_header(bytes, 4096);
	assert_true(page_header_parse(bytes, &header));
	assert_int_equal(header.page_size, 4096);
	assert_int_equal(header.n_pages, 1234);
	assert_int_equal(header.read_version, 1);
}

static void all_page_sizes_and_no_others(void **state)
{
	uint8_t bytes[PAGE_HEADER_LEN];
	struct page_header header;

	for (uint32_t field = 0; field < 65536; field++) {
		bool valid = field == 1 ||
			     (field >= 512 && (field & (field - 1)) == 0);

		make_header(bytes, field);
		assert_int_equal(page_header_parse(bytes, &header), valid);
		if (valid)
			assert_int_equal(header.page_size, field == 1 ? 65536 : field);
	}
	assert_false(page_size_valid(0));
	assert_false(page_size_valid(131072));
}

/* Writers before SQLite 3.7.0 leave the size as they found it. */
static void the_size_counts_only_for_its_change_counter(void **state)
{
	uint8_t bytes[PAGE_HEADER_LEN];
	struct page_header header;

	make_header(bytes, 512);
	be32_put(bytes + 24, 78);
	assert_true(page_header_parse(bytes, &header));
	assert_int_equal(header.n_pages, 0);
}

static void without_the_magic_it_is_no_header(void **state)
{
	uint8_t bytes[PAGE_HEADER_LEN];
	struct page_header header;

	for (int i = 0; i < 16; i++) {
		make_header(bytes, 4096);
		bytes[i] ^= 1;
		assert_false(page_header_parse(bytes, &header));
	}
}

static void a_hash_depends_on_number_and_every_byte(void **state)
{
	uint8_t page[512] = { 1, 2, 3 };
	uint64_t hash = page_hash(2, page, sizeof(page));

	assert_int_equal(hash, hash64(page, sizeof(page), 2));
	assert_int_not_equal(hash, page_hash(3, page, sizeof(page)));
	for (size_t i = 0; i < sizeof(page); i++) {
		page[i] ^= 0x40;
		assert_int_not_equal(page_hash(2, page, sizeof(page)), hash);
		page[i] ^= 0x40;
	}
	assert_int_equal(page_hash(2, page, sizeof(page)), hash);
}

/* A replica may run in another journal mode: bytes 18 and 19 of page 1. */
static void the_journal_mode_is_masked_on_page_1_only(void **state)
{
	uint8_t page[65536] = { 9 };
	uint64_t first = page_hash(1, page, sizeof(page));
	uint64_t second = page_hash(2, page, sizeof(page));

	for (int i = 17; i <= 20; i++) {
		bool masked = i == 18 || i == 19;

		page[i] ^= 3;
		assert_int_equal(page_hash(1, page, sizeof(page)) == first, masked);
		assert_int_not_equal(page_hash(2, page, sizeof(page)), second);
		page[i] ^= 3;
	}
}

static void the_lock_page_counts_for_nothing(void **state)
{
	static uint8_t page[65536] = { 1 };

	for (uint32_t size = PAGE_SIZE_MIN; size <= PAGE_SIZE_MAX; size *= 2) {
		uint32_t lock_page = page_lock_number(size);

		assert_int_equal((uint64_t)(lock_page - 1) * size, PAGE_LOCK_OFFSET);
		assert_int_equal(page_hash(lock_page, page, size), 0);
		assert_int_not_equal(page_hash(lock_page - 1, page, size), 0);
		assert_int_not_equal(page_hash(lock_page + 1, page, size), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_header_says_what_is_in_it),
		cmocka_unit_test(all_page_sizes_and_no_others),
		cmocka_unit_test(the_size_counts_only_for_its_change_counter),
		cmocka_unit_test(without_the_magic_it_is_no_header),
		cmocka_unit_test(a_hash_depends_on_number_and_every_byte),
		cmocka_unit_test(the_journal_mode_is_masked_on_page_1_only),
		cmocka_unit_test(the_lock_page_counts_for_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
