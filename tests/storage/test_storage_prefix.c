/* SPDX-License-Identifier: MIT */
#include "tests/storage/conformance.h"

#include "storage/storage_prefix.h"

#define PREFIX "backups/host-1"

/* Neighbours that sort before, among and behind the prefix's keys. */
static const char *const neighbours[] = {
	"backups/host",	     "backups/host-1.old/x",
	"backups/host-10/x", "backups/host-2/x",
	"backups/a",	     "zz",
};

struct prefix_test {
	struct storage_test test;
	struct storage *inner; /* the same folder without the prefix */
};

static int setup(void **state)
{
	struct prefix_test *test = calloc(1, sizeof(*test));
	struct storage_test *plain;
	struct error err = ERROR_INIT;

	if (test == NULL || storage_test_setup(state) < 0)
		return -1;
	plain = *state;
	test->test = *plain;
	free(plain);
	*state = test;
	test->test.key_max -= strlen(PREFIX "/");
	test->inner = storage_test_open(&test->test, "backend", true);
	for (size_t i = 0; i < ARRAY_LEN(neighbours); i++)
		put_text(test->inner, neighbours[i], "neighbour");
	storage_test_check(storage_prefix_new(storage_test_open(&test->test, "backend", false),
					      PREFIX, &test->test.storage, &err),
			   0, &err, "wrap", PREFIX);
	return 0;
}

static int teardown(void **state)
{
	struct prefix_test *test = *state;

	for (size_t i = 0; i < ARRAY_LEN(neighbours); i++)
		assert_text(test->inner, neighbours[i], "neighbour");
	storage_free(test->inner);
	return storage_test_teardown(state);
}

static void keys_are_below_the_prefix(void **state)
{
	struct prefix_test *test = *state;

	put_text(test->test.storage, "k", "v");
	put_text(test->test.storage, "a/b", "v");
	assert_text(test->inner, PREFIX "/k", "v");
	assert_list(test->inner, PREFIX "/", NULL, PREFIX "/a/b " PREFIX "/k");
	assert_list(test->test.storage, "", NULL, "a/b k");
	put_text(test->inner, PREFIX "/from-below", "b");
	assert_text(test->test.storage, "from-below", "b");
	remove_key(test->test.storage, "k");
	assert_absent(test->inner, PREFIX "/k");
}

static void nothing_leads_out_of_the_prefix(void **state)
{
	struct prefix_test *test = *state;
	struct storage *s = test->test.storage;

	assert_int_equal(storage_put(s, "../escaped", "x", 1, NULL), -EINVAL);
	assert_int_equal(storage_put(s, "/escaped", "x", 1, NULL), -EINVAL);
	assert_list(s, ".old", NULL, "");
	assert_list(s, "", "\x01", "");
	assert_folders(s, "", "");
	assert_folders(s, "0", "");
}

static void a_key_too_long_with_the_prefix_is_refused(void **state)
{
	struct prefix_test *test = *state;
	char key[STORAGE_KEY_MAX + 1];

	memset(key, 'k', sizeof(key));
	for (size_t i = 99; i < sizeof(key); i += 100)
		key[i] = '/';
	key[test->test.key_max + 1] = '\0';
	assert_int_equal(storage_check_key(key, NULL), 0);
	assert_int_equal(storage_put(test->test.storage, key, "x", 1, NULL), -ENAMETOOLONG);
	key[test->test.key_max] = '\0';
	assert_int_equal(storage_put(test->test.storage, key, "x", 1, NULL), 0);
}

static void the_name_shows_the_prefix(void **state)
{
	struct prefix_test *test = *state;
	char *expected CLEANUP_FREE = NULL;

	assert_true(asprintf(&expected, "%s/" PREFIX "/", storage_url(test->inner)) > 0);
	assert_string_equal(storage_url(test->test.storage), expected);
}

static void an_empty_prefix_shows_everything(void **state)
{
	struct prefix_test *test = *state;
	struct storage *s CLEANUP_STORAGE = NULL;
	struct error err = ERROR_INIT;

	storage_test_check(storage_prefix_new(storage_test_open(&test->test, "backend", false),
					      "", &s, &err),
			   0, &err, "wrap", "");
	assert_text(s, neighbours[0], "neighbour");
	assert_folders(s, "", "backups/");
}

static void a_slash_behind_the_prefix_makes_no_difference(void **state)
{
	struct prefix_test *test = *state;
	struct storage *s CLEANUP_STORAGE = NULL;
	struct error err = ERROR_INIT;

	storage_test_check(storage_prefix_new(storage_test_open(&test->test, "backend", false),
					      "backups//", &s, &err),
			   0, &err, "wrap", "backups//");
	assert_text(s, "host", "neighbour");
}

static void a_prefix_that_is_no_key_is_refused(void **state)
{
	static const char *const bad[] = { "/a",     "a//b", "..",
					   "a/../b", "a\n",  ".replitedfs-tmp" };
	struct prefix_test *test = *state;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct storage *s = NULL;

		/* inner still belongs to the test: its teardown frees it. */
		assert_int_equal(storage_prefix_new(test->inner, bad[i], &s, NULL), -EINVAL);
		assert_null(s);
	}
}

#define IN_BACKEND(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static const struct CMUnitTest tests[] = {
	CONFORMANCE_TESTS(IN_BACKEND),
	IN_BACKEND(keys_are_below_the_prefix),
	IN_BACKEND(nothing_leads_out_of_the_prefix),
	IN_BACKEND(a_key_too_long_with_the_prefix_is_refused),
	IN_BACKEND(the_name_shows_the_prefix),
	IN_BACKEND(an_empty_prefix_shows_everything),
	IN_BACKEND(a_slash_behind_the_prefix_makes_no_difference),
	IN_BACKEND(a_prefix_that_is_no_key_is_refused),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
