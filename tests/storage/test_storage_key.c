/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "storage/storage.h"

static void assert_key(const char *key, int expected)
{
	struct error err = ERROR_INIT;
	int r = storage_check_key(key, &err);

	if (r != -expected)
		fail_msg("'%s': %d instead of %d (%s)", key, r, -expected,
			 error_what(&err));
	assert_int_equal(err.code, expected);
	error_done(&err);
}

static void assert_prefix(const char *prefix, int expected)
{
	int r = storage_check_prefix(prefix, NULL);

	if (r != -expected)
		fail_msg("'%s': %d instead of %d", prefix, r, -expected);
}

static void ordinary_names_are_keys(void **state)
{
	static const char *const keys[] = {
		"a",
		"a/b",
		"a/b/c.txt",
		" ",
		"a b",
		"a.",
		".a",
		"...",
		"a/...",
		"..a/a..",
		"~",
		"-",
		"%2F",
		"\\",
		"a\\..\\b",
		"*",
		"?",
		"'",
		"\"",
		"<>",
		"{}",
		".replitedfs",
		".replitedfs-",
		".replitedfs-tmpx",
		"x.replitedfs-backend",
		"\xc3\xa9",
		"\xe6\x97\xa5\xe6\x9c\xac",
		"\xf0\x9f\x92\xbe",
		"\xc2\xa0",
		"\xed\x9f\xbf",
		"\xee\x80\x80",
		"\xf4\x8f\xbf\xbf",
	};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		assert_key(keys[i], 0);
}

static void keys_have_no_empty_or_dotted_components(void **state)
{
	static const char *const keys[] = {
		"",   "/",   "//",   "/a",  "a/",   "a//b",  "a/b/",   ".",
		"..", "./a", "../a", "a/.", "a/..", "a/./b", "a/../b",
	};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		assert_key(keys[i], EINVAL);
}

static void keys_have_no_control_characters(void **state)
{
	char key[] = "a?b";

	for (int c = 1; c < 0x80; c++) {
		key[1] = (char)c;
		assert_key(key, c < 0x20 || c == 0x7f ? EINVAL : 0);
	}
	assert_key("\xc2\x80", EINVAL);
	assert_key("\xc2\x9f", EINVAL);
}

static void keys_are_valid_utf8(void **state)
{
	static const char *const keys[] = {
		"\x80",
		"\xbf",
		"a\xff",
		"\xfe",
		"\xc3",
		"\xc3/",
		"\xc3\xc3",
		"\xe6\x97",
		"\xe6\x97/x",
		"\xf0\x9f\x92",
		"\xc0\xaf",
		"\xc1\xbf",
		"\xe0\x9f\xbf",
		"\xf0\x8f\xbf\xbf",
		"\xed\xa0\x80",
		"\xed\xbf\xbf",
		"\xf4\x90\x80\x80",
		"\xf8\x88\x80\x80\x80",
		"\xe9t\xe9",
	};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		assert_key(keys[i], EINVAL);
}

static void names_of_the_backends_own_files_are_reserved(void **state)
{
	assert_key(".replitedfs-backend", EINVAL);
	assert_key(".replitedfs-tmp", EINVAL);
	assert_key(".replitedfs-tmp/a", EINVAL);
	assert_key("a/.replitedfs-tmp/b", EINVAL);
	assert_key("a/.replitedfs-backend", EINVAL);
}

static void lengths_are_limited(void **state)
{
	char key[STORAGE_KEY_MAX + 2];

	memset(key, 'k', sizeof(key));
	key[STORAGE_COMPONENT_MAX] = '\0';
	assert_key(key, 0);
	key[STORAGE_COMPONENT_MAX] = 'k';
	key[STORAGE_COMPONENT_MAX + 1] = '\0';
	assert_key(key, ENAMETOOLONG);
	key[0] = 'k', key[1] = '/';
	assert_key(key, 0);
	memset(key, 'k', sizeof(key));
	for (size_t i = 1; i < sizeof(key); i += 100)
		key[i] = '/';
	key[STORAGE_KEY_MAX] = '\0';
	assert_key(key, 0);
	key[STORAGE_KEY_MAX] = 'k';
	key[STORAGE_KEY_MAX + 1] = '\0';
	assert_key(key, ENAMETOOLONG);
	assert_prefix(key, ENAMETOOLONG);
}

static void a_prefix_is_the_beginning_of_keys(void **state)
{
	assert_prefix("", 0);
	assert_prefix("a", 0);
	assert_prefix("a/", 0);
	assert_prefix("a/b", 0);
	assert_prefix("a/.", 0);
	assert_prefix("..", 0);
	assert_prefix(".replitedfs-tmp", 0);
	assert_prefix("/", EINVAL);
	assert_prefix("/a", EINVAL);
	assert_prefix("a//", EINVAL);
	assert_prefix("a/../b", EINVAL);
	assert_prefix("../", EINVAL);
	assert_prefix(".replitedfs-tmp/", EINVAL);
	assert_prefix("a\n", EINVAL);
	assert_prefix("\xc3", EINVAL);
}

/* What a message repeats could come from anywhere. */
static void a_message_never_repeats_control_characters(void **state)
{
	struct error err = ERROR_INIT;

	assert_int_equal(storage_check_key("a//\x1b[31m", &err), -EINVAL);
	assert_null(strchr(error_what(&err), '\x1b'));
	error_done(&err);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(ordinary_names_are_keys),
		cmocka_unit_test(keys_have_no_empty_or_dotted_components),
		cmocka_unit_test(keys_have_no_control_characters),
		cmocka_unit_test(keys_are_valid_utf8),
		cmocka_unit_test(names_of_the_backends_own_files_are_reserved),
		cmocka_unit_test(lengths_are_limited),
		cmocka_unit_test(a_prefix_is_the_beginning_of_keys),
		cmocka_unit_test(a_message_never_repeats_control_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
