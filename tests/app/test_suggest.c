/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "app/suggest.h"

static const char *const words[] = { "capture", "log_level", "log_dir", "url", "access_key" };

static const char *suggest(const char *word)
{
	return suggest_word(word, words, ARRAY_LEN(words));
}

static void a_slip_of_the_fingers_is_recognised(void **state)
{
	assert_string_equal(suggest("acces_key"), "access_key");
	assert_string_equal(suggest("access_kye"), "access_key");
	assert_string_equal(suggest("loglevel"), "log_level");
	assert_string_equal(suggest("LOG_LEVELS"), "log_level");
	assert_string_equal(suggest("uri"), "url");
	assert_string_equal(suggest("lurl"), "url");
	assert_string_equal(suggest("ulr"), "url");
	assert_string_equal(suggest("capture"), "capture");
}

static void the_nearest_of_several_is_taken(void **state)
{
	static const char *const several[] = { "sync_intervals", "sync_interval",
					       "sync_intervall" };

	assert_string_equal(suggest_word("sync_interva", several, 3), "sync_interval");
}

static void what_is_far_from_all_suggests_nothing(void **state)
{
	char huge[1000] = { 0 };

	memset(huge, 'a', sizeof(huge) - 1);
	assert_null(suggest(""));
	assert_null(suggest("x"));
	assert_null(suggest("retention"));
	assert_null(suggest("xyz"));
	assert_null(suggest(huge));
	assert_null(suggest_word("url", NULL, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slip_of_the_fingers_is_recognised),
		cmocka_unit_test(the_nearest_of_several_is_taken),
		cmocka_unit_test(what_is_far_from_all_suggests_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
