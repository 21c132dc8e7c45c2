/* SPDX-License-Identifier: MIT */
#include "tests/replicate/walfile.h"

#include "replicate/wal.h"

#define FRAME_MAX (WAL_FRAME_HEADER_LEN + PAGE_SIZE_MAX)

static struct wal_header make_header(uint8_t *bytes, uint32_t page_size, bool big_endian)
{
	struct wal_header header = {
		.page_size = page_size,
		.checkpoint = 7,
		.salt1 = 0x01020304,
		.salt2 = 0xf1f2f3f4,
		.big_endian = big_endian,
	};

	wal_header_format(&header, bytes);
	return header;
}

static void all_page_sizes_in_both_byte_orders(void **state)
{
	static uint8_t frames[3][FRAME_MAX];

	for (uint32_t size = PAGE_SIZE_MIN; size <= PAGE_SIZE_MAX; size *= 2) {
		for (int big_endian = 0; big_endian < 2; big_endian++) {
			uint8_t bytes[WAL_HEADER_LEN];
			struct wal_header made = make_header(bytes, size, big_endian);
			struct wal_header header;
			struct wal_sum sum = made.sum;

			assert_int_equal(wal_header_parse(bytes, sizeof(bytes), &header),
					 WAL_HEADER_VALID);
			assert_int_equal(header.page_size, size);
			assert_int_equal(header.big_endian, big_endian);
			assert_int_equal(header.salt1, 0x01020304);
			assert_int_equal(header.salt2, 0xf1f2f3f4);
			for (uint32_t i = 0; i < 3; i++) {
				uint8_t *page = frames[i] + WAL_FRAME_HEADER_LEN;

				walfile_page(page, size, i + 1, 5);
				wal_frame_format(&made, &sum, i + 1, i == 2 ? 3 : 0, page,
						 frames[i]);
			}
			sum = header.sum;
			for (uint32_t i = 0; i < 3; i++)
				assert_true(wal_frame_valid(&header, &sum, frames[i]));
			assert_int_equal(wal_frame_parse(frames[2]).n_pages, 3);
			/* A frame only fits where the chain stands. */
			assert_false(wal_frame_valid(&header, &sum, frames[2]));
			sum = header.sum;
			assert_false(wal_frame_valid(&header, &sum, frames[1]));
			assert_true(wal_frame_valid(&header, &sum, frames[0]));
		}
	}
}

/* The two orders make different sums of the same bytes. */
static void a_wal_of_the_other_byte_order_is_not_misread(void **state)
{
	uint8_t bytes[WAL_HEADER_LEN];
	struct wal_header header;

	make_header(bytes, 4096, true);
	bytes[3] ^= 1;
	assert_int_equal(wal_header_parse(bytes, sizeof(bytes), &header), WAL_HEADER_DAMAGED);
}

static void what_is_no_header_is_told_apart(void **state)
{
	uint8_t bytes[WAL_HEADER_LEN] = { 0 };
	struct wal_header header;

	assert_int_equal(wal_header_parse(bytes, sizeof(bytes), &header), WAL_HEADER_EMPTY);
	make_header(bytes, 4096, false);
	for (size_t len = 0; len < WAL_HEADER_LEN; len++)
		assert_int_equal(wal_header_parse(bytes, len, &header), WAL_HEADER_EMPTY);
	for (size_t i = 0; i < WAL_HEADER_LEN; i++) {
		enum wal_header_state found;

		bytes[i] ^= 0x10;
		found = wal_header_parse(bytes, sizeof(bytes), &header);
		assert_int_equal(found, i / 4 == 1 ? WAL_HEADER_UNKNOWN : WAL_HEADER_DAMAGED);
		bytes[i] ^= 0x10;
	}
	/* wal2, of a branch of SQLite, has version 3021000. */
	be32_put(bytes + 4, 3021000);
	assert_int_equal(wal_header_parse(bytes, sizeof(bytes), &header), WAL_HEADER_UNKNOWN);
	make_header(bytes, 4096, false);
	make_header(bytes, 1000, false); /* with a right checksum */
	assert_int_equal(wal_header_parse(bytes, sizeof(bytes), &header), WAL_HEADER_DAMAGED);
}

static void every_flipped_bit_of_a_frame_is_noticed(void **state)
{
	uint8_t bytes[WAL_HEADER_LEN];
	uint8_t frame[WAL_FRAME_HEADER_LEN + 512];
	struct wal_header header = make_header(bytes, 512, false);
	struct wal_sum sum = header.sum;

	walfile_page(frame + WAL_FRAME_HEADER_LEN, 512, 9, 1);
	wal_frame_format(&header, &sum, 9, 9, frame + WAL_FRAME_HEADER_LEN, frame);
	for (size_t i = 0; i < sizeof(frame) * 8; i++) {
		struct wal_sum at = header.sum;

		frame[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_false(wal_frame_valid(&header, &at, frame));
		assert_int_equal(at.s0, header.sum.s0);
		frame[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	sum = header.sum;
	wal_frame_format(&header, &sum, 0, 9, frame + WAL_FRAME_HEADER_LEN, frame);
	sum = header.sum;
	assert_false(wal_frame_valid(&header, &sum, frame)); /* there is no page 0 */
}

static void offsets_go_beyond_4_gib(void **state)
{
	assert_int_equal(wal_frame_offset(4096, 1), 32);
	assert_int_equal(wal_frame_offset(4096, 2), 32 + 4120);
	assert_int_equal(wal_frame_offset(65536, UINT32_MAX),
			 32 + (uint64_t)(UINT32_MAX - 1) * 65560);
	assert_int_equal(wal_n_frames(4096, 0), 0);
	assert_int_equal(wal_n_frames(4096, 31), 0);
	assert_int_equal(wal_n_frames(4096, 32 + 4119), 0);
	assert_int_equal(wal_n_frames(4096, 32 + 4120), 1);
	assert_int_equal(wal_n_frames(4096, 32 + 4120 * 2000000ull), 2000000);
	assert_int_equal(wal_n_frames(512, UINT64_MAX), UINT32_MAX);
}

static void an_index_is_read_in_all_page_sizes(void **state)
{
	struct wal_header header = { .salt1 = 5, .salt2 = 6 };
	uint8_t bytes[WAL_INDEX_HEAD_LEN];
	struct wal_index index;

	for (uint32_t size = PAGE_SIZE_MIN; size <= PAGE_SIZE_MAX; size *= 2) {
		walfile_index(bytes, size, 77, &header, 33);
		assert_int_equal(wal_index_parse(bytes, false, &index), WAL_INDEX_VALID);
		assert_int_equal(index.page_size, size);
		assert_int_equal(index.max_frame, 77);
		assert_int_equal(index.salt1, 5);
		assert_int_equal(index.salt2, 6);
		assert_int_equal(index.n_backfill, 33);
	}
	/* Before the first commit it may not know the page size. */
	walfile_index(bytes, 0, 0, &header, 0);
	assert_int_equal(wal_index_parse(bytes, false, &index), WAL_INDEX_VALID);
	walfile_index(bytes, 0, 1, &header, 0);
	assert_int_equal(wal_index_parse(bytes, false, &index), WAL_INDEX_INVALID);
	/* It is unknown or a possible one, also without frames. */
	static const uint32_t impossible[] = { 0xfe01, 0xfe00, 0x201, 0x600 };

	for (size_t i = 0; i < ARRAY_LEN(impossible); i++) {
		walfile_index(bytes, impossible[i], 0, &header, 0);
		assert_int_equal(wal_index_parse(bytes, false, &index), WAL_INDEX_INVALID);
	}
}

static void an_index_being_written_is_torn(void **state)
{
	struct wal_header header = { .salt1 = 5, .salt2 = 6 };
	uint8_t before[WAL_INDEX_HEAD_LEN];
	uint8_t bytes[WAL_INDEX_HEAD_LEN];
	struct wal_index index;

	walfile_index(before, 4096, 76, &header, 0);
	walfile_index(bytes, 4096, 77, &header, 0);
	memcpy(bytes, before, 48); /* the second copy is written first */
	assert_int_equal(wal_index_parse(bytes, false, &index), WAL_INDEX_TORN);
	assert_int_equal(wal_index_parse(bytes, true, &index), WAL_INDEX_VALID);
	assert_int_equal(index.max_frame, 76);
	bytes[20] ^= 1; /* ... and then dies within the first */
	assert_int_equal(wal_index_parse(bytes, true, &index), WAL_INDEX_INVALID);
}

static void a_damaged_index_is_invalid(void **state)
{
	struct wal_header header = { .salt1 = 5, .salt2 = 6 };
	uint8_t bytes[WAL_INDEX_HEAD_LEN] = { 0 };
	struct wal_index index;

	assert_int_equal(wal_index_parse(bytes, false, &index), WAL_INDEX_INVALID);
	walfile_index(bytes, 4096, 77, &header, 0);
	for (int i = 0; i < 48; i++) {
		bytes[i] ^= 0x11;
		bytes[48 + i] ^= 0x11;
		assert_int_equal(wal_index_parse(bytes, false, &index), WAL_INDEX_INVALID);
		bytes[i] ^= 0x11;
		assert_int_equal(wal_index_parse(bytes, false, &index), WAL_INDEX_TORN);
		bytes[48 + i] ^= 0x11;
	}
	assert_int_equal(wal_index_parse(bytes, false, &index), WAL_INDEX_VALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_page_sizes_in_both_byte_orders),
		cmocka_unit_test(a_wal_of_the_other_byte_order_is_not_misread),
		cmocka_unit_test(what_is_no_header_is_told_apart),
		cmocka_unit_test(every_flipped_bit_of_a_frame_is_noticed),
		cmocka_unit_test(offsets_go_beyond_4_gib),
		cmocka_unit_test(an_index_is_read_in_all_page_sizes),
		cmocka_unit_test(an_index_being_written_is_torn),
		cmocka_unit_test(a_damaged_index_is_invalid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
