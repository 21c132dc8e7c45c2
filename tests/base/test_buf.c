/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/buf.h"

static void a_zeroed_buffer_is_empty_and_usable(void **state)
{
	struct buf buf CLEANUP_BUF = { 0 };

	assert_string_equal(buf_str(&buf), "");
	assert_int_equal(buf.len, 0);
}

static void appending_nothing_succeeds(void **state)
{
	struct buf buf CLEANUP_BUF = { 0 };
	struct buf other CLEANUP_BUF = { 0 };

	assert_int_equal(buf_append(&buf, NULL, 0), 0);
	assert_non_null(buf_extend(&other, 0));
	assert_int_equal(other.len, 0);
}

static void what_is_appended_follows_what_was_there(void **state)
{
	struct buf buf CLEANUP_BUF = { 0 };

	for (int i = 0; i < 1000; i++)
		assert_int_equal(buf_printf(&buf, "%03d,", i), 0);
	assert_int_equal(buf_append(&buf, "end", 3), 0);
	assert_int_equal(buf.len, 4003);
	assert_memory_equal(buf.data, "000,001,", 8);
	assert_string_equal(buf_str(&buf) + 3996, "999,end");
}

static void the_terminator_does_not_count(void **state)
{
	struct buf buf CLEANUP_BUF = { 0 };

	assert_int_equal(buf_append(&buf, "ab", 2), 0);
	assert_string_equal(buf_str(&buf), "ab");
	assert_int_equal(buf_append(&buf, "c", 1), 0);
	assert_string_equal(buf_str(&buf), "abc");
	buf_reset(&buf);
	assert_string_equal(buf_str(&buf), "");
}

static void sizes_that_overflow_are_refused(void **state)
{
	struct buf buf CLEANUP_BUF = { 0 };

	assert_int_equal(buf_append(&buf, "ab", 2), 0);
	assert_int_equal(buf_reserve(&buf, SIZE_MAX), -ENOMEM);
	assert_int_equal(buf_reserve(&buf, SIZE_MAX / 2 + 1), -ENOMEM);
	assert_null(buf_extend(&buf, SIZE_MAX - 1));
	assert_string_equal(buf_str(&buf), "ab");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_zeroed_buffer_is_empty_and_usable),
		cmocka_unit_test(appending_nothing_succeeds),
		cmocka_unit_test(what_is_appended_follows_what_was_there),
		cmocka_unit_test(the_terminator_does_not_count),
		cmocka_unit_test(sizes_that_overflow_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
