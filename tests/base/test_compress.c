/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/compress.h"

static void fill(uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i / 30);
}

static void what_was_compressed_comes_back(void **state)
{
	static const int levels[] = { 1, 3, 19 };
	uint8_t data[10000];
	uint8_t back[sizeof(data)];

	fill(data, sizeof(data));
	for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
		struct buf out CLEANUP_BUF = { 0 };
		struct error err CLEANUP_ERROR = ERROR_INIT;

		assert_int_equal(buf_append(&out, "head", 4), 0);
		assert_int_equal(compress_append(&out, data, sizeof(data), levels[i], &err), 0);
		assert_in_range(out.len, 5, sizeof(data) / 2);
		assert_memory_equal(out.data, "head", 4);
		assert_int_equal(compress_expand(back, sizeof(back),
						 out.data + 4, out.len - 4, &err),
				 0);
		assert_memory_equal(back, data, sizeof(data));
	}
}

static void nothing_is_compressed_to_a_frame_of_nothing(void **state)
{
	struct buf out CLEANUP_BUF = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;
	uint8_t back;

	assert_int_equal(compress_append(&out, "", 0, 3, &err), 0);
	assert_int_equal(compress_expand(&back, 0, out.data, out.len, &err), 0);
}

static void another_size_than_expected_is_refused(void **state)
{
	struct buf out CLEANUP_BUF = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;
	uint8_t data[1000];
	uint8_t back[2000];

	fill(data, sizeof(data));
	assert_int_equal(compress_append(&out, data, sizeof(data), 3, &err), 0);
	assert_int_equal(compress_expand(back, 999, out.data, out.len, &err), -EBADMSG);
	assert_int_equal(compress_expand(back, 1001, out.data, out.len, &err), -EBADMSG);
	assert_int_equal(compress_expand(back, 0, out.data, 0, &err), -EBADMSG);
}

static void cut_off_doubled_or_trailing_data_is_refused(void **state)
{
	struct buf out CLEANUP_BUF = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;
	uint8_t data[1000];
	uint8_t back[2000];
	size_t len;

	fill(data, sizeof(data));
	assert_int_equal(compress_append(&out, data, sizeof(data), 3, &err), 0);
	len = out.len;
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(compress_expand(back, sizeof(data), out.data, cut, &err),
				 -EBADMSG);
	assert_int_equal(compress_append(&out, data, sizeof(data), 3, &err), 0);
	assert_int_equal(compress_expand(back, 2000, out.data, out.len, &err), -EBADMSG);
	assert_int_equal(compress_expand(back, sizeof(data), out.data, len + 1, &err), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_compressed_comes_back),
		cmocka_unit_test(nothing_is_compressed_to_a_frame_of_nothing),
		cmocka_unit_test(another_size_than_expected_is_refused),
		cmocka_unit_test(cut_off_doubled_or_trailing_data_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
