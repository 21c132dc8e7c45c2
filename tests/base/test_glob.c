/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/glob.h"

static void assert_matches(const char *pattern, const char *path)
{
	if (!glob_match(pattern, path))
		fail_msg("'%s' should match '%s'", pattern, path);
}

static void assert_no_match(const char *pattern, const char *path)
{
	if (glob_match(pattern, path))
		fail_msg("'%s' should not match '%s'", pattern, path);
}

static void plain_text_matches_only_itself(void **state)
{
	assert_matches("app.db", "app.db");
	assert_no_match("app.db", "app.dbx");
	assert_no_match("app.db", "xapp.db");
	assert_no_match("app.db", "app.d");
	assert_no_match("app.db", "appxdb");
	assert_no_match("app.db", "");
	assert_no_match("app.db", "a/app.db");
}

static void a_star_stays_in_its_folder(void **state)
{
	assert_matches("*.db", "app.db");
	assert_matches("*.db", ".db");
	assert_no_match("*.db", "a/app.db");
	assert_matches("tenants/*/main.db", "tenants/42/main.db");
	assert_no_match("tenants/*/main.db", "tenants/4/2/main.db");
	assert_matches("*a*b", "xaxaxb");
	assert_no_match("*a*b", "xaxaxbx");
	assert_no_match("a?b", "a/b");
	assert_matches("a?b", "a.b");
}

static void two_stars_cross_folders(void **state)
{
	assert_matches("**", "app.db");
	assert_matches("**", "a/b/c.db");
	assert_matches("**/main.db", "main.db");
	assert_matches("**/main.db", "a/b/main.db");
	assert_no_match("**/main.db", "a/xmain.db");
	assert_matches("a/**/b", "a/b");
	assert_matches("a/**/b", "a/x/y/b");
	assert_no_match("a/**/b", "a/xb");
	assert_no_match("a/**/b", "axb");
	assert_matches("a/**", "a/x/y");
	assert_no_match("a/**", "a");
	assert_matches("**.db", "x/y.db");
	assert_matches("a/**/b/**/*.db", "a/1/b/2/b/x.db");
	assert_no_match("x**/y", "xy");
	assert_matches("***", "a/b");
}

static void sets_match_one_byte_but_no_slash(void **state)
{
	assert_matches("[a-c]x", "bx");
	assert_no_match("[a-c]x", "dx");
	assert_matches("[!a-c]x", "dx");
	assert_no_match("[^a-c]x", "bx");
	assert_no_match("a[!x]b", "a/b");
	assert_no_match("a[.-0]b", "a/b");
	assert_matches("[]a]", "]");
	assert_matches("[a-]", "-");
	assert_no_match("[!]a]", "]");
	assert_matches("[\\]", "\\");
	assert_matches("[\x80-\xff]", "\xc3");
}

static void a_backslash_takes_the_meaning_away(void **state)
{
	assert_matches("\\*.db", "*.db");
	assert_no_match("\\*.db", "a.db");
	assert_matches("\\[a]", "[a]");
	assert_matches("\\\\", "\\");
}

/* A matcher that goes back to every star would not end in a lifetime. */
static void hostile_patterns_take_no_exponential_time(void **state)
{
	char pattern[GLOB_LEN_MAX + 1] = { 0 };
	char path[4096] = { 0 };

	memset(path, 'a', sizeof(path) - 1);
	for (size_t i = 0; i + 3 < sizeof(pattern); i += 3)
		memcpy(pattern + i, "**a", 3);
	pattern[sizeof(pattern) - 2] = 'b';
	assert_no_match(pattern, path);
	for (size_t i = 0; i + 2 < sizeof(pattern); i += 2)
		memcpy(pattern + i, "*a", 2);
	pattern[sizeof(pattern) - 2] = 'b';
	assert_no_match(pattern, path);
}

static void a_pattern_that_is_too_long_matches_nothing(void **state)
{
	char pattern[GLOB_LEN_MAX + 2] = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;

	memset(pattern, '*', GLOB_LEN_MAX);
	assert_true(glob_match(pattern, "a"));
	assert_int_equal(glob_check(pattern, &err), 0);
	memset(pattern, '*', GLOB_LEN_MAX + 1);
	assert_false(glob_match(pattern, "a"));
	assert_int_equal(glob_check(pattern, &err), -EINVAL);
}

static void patterns_are_checked(void **state)
{
	static const char *const good[] = {
		"**",  "*.db",	  "a/**/b", "[]]",  "[!]]",  "[a-z]",
		"\\[", "a.b/..c", "...",    "[a-]", "[!-a]",
	};
	static const char *const bad[] = {
		"",    "/a",	      "a/",	  "a//b",   "./a", "a/../b",
		"..",  ".",	      "[a",	  "[]",	    "[!]", "[z-a]",
		"a\\", "[[:alpha:]]", "[a-cz-b]", "[!z-a]",
	};
	struct error err CLEANUP_ERROR = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		if (glob_check(good[i], &err) != 0)
			fail_msg("'%s': %s", good[i], error_what(&err));
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (glob_check(bad[i], &err) != -EINVAL)
			fail_msg("'%s' should be refused", bad[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_text_matches_only_itself),
		cmocka_unit_test(a_star_stays_in_its_folder),
		cmocka_unit_test(two_stars_cross_folders),
		cmocka_unit_test(sets_match_one_byte_but_no_slash),
		cmocka_unit_test(a_backslash_takes_the_meaning_away),
		cmocka_unit_test(hostile_patterns_take_no_exponential_time),
		cmocka_unit_test(a_pattern_that_is_too_long_matches_nothing),
		cmocka_unit_test(patterns_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
