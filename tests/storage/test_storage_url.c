/* SPDX-License-Identifier: MIT */
#include "tests/storage/storage_test.h"

#include <sysexits.h>

/* Opens url, puts an object, and finds its file under the test's folder. */
static void assert_opens(const struct storage_test *test, const char *url, const char *folder)
{
	struct storage *s CLEANUP_STORAGE = NULL;
	char *file CLEANUP_FREE = NULL;
	struct error err = ERROR_INIT;

	storage_test_check(storage_open(url, true, &s, &err), 0, &err, "open", url);
	put_text(s, "key", url);
	assert_true(asprintf(&file, "%s/key", folder) > 0);
	if (faccessat(test->folder->fd, file, F_OK, 0) < 0)
		fail_msg("%s does not lead to %s", url, folder);
}

static void assert_url_opens(const struct storage_test *test, const char *before,
			     const char *name, const char *folder)
{
	char *url CLEANUP_FREE = NULL;

	assert_true(asprintf(&url, "%s%s/%s", before, test->folder->path, name) > 0);
	assert_opens(test, url, folder);
}

static void file_urls_and_paths_name_folders(void **state)
{
	const struct storage_test *test = *state;

	assert_url_opens(test, "", "plain", "plain");
	assert_url_opens(test, "", "slashes//", "slashes");
	assert_url_opens(test, "file://", "url", "url");
	assert_url_opens(test, "FILE://", "upper", "upper");
	assert_url_opens(test, "file:", "short", "short");
	assert_url_opens(test, "file://localhost", "local", "local");
	assert_url_opens(test, "file://", "a%20b%25%C3%A9%3f", "a b%\xc3\xa9?");
	assert_url_opens(test, "", "a%20b", "a%20b");
	assert_url_opens(test, "", "what?#", "what?#");
	assert_url_opens(test, "", "with:colon", "with:colon");
}

static void relative_paths_count_from_where_they_were_opened(void **state)
{
	const struct storage_test *test = *state;
	int here CLEANUP_FD = open(".", O_RDONLY | O_DIRECTORY);
	struct storage *s CLEANUP_STORAGE = NULL;
	struct error err = ERROR_INIT;

	assert_int_equal(fchdir(test->folder->fd), 0);
	assert_opens(test, "./dotted", "dotted");
	assert_opens(test, "bare", "bare");
	assert_opens(test, "./s3:odd", "s3:odd");
	assert_opens(test, "dotted/../up", "up");
	assert_opens(test, ".", ".");
	storage_test_check(storage_open("./stays", true, &s, &err), 0, &err, "open", "./stays");
	assert_int_equal(fchdir(here), 0);
	put_text(s, "key", "x");
	assert_int_equal(faccessat(test->folder->fd, "stays/key", F_OK, 0), 0);
}

static void a_backends_name_opens_it_again(void **state)
{
	static const char *const names[] = { "plain", "a b%\xc3\xa9?#", "new\nline" };
	const struct storage_test *test = *state;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct storage *s CLEANUP_STORAGE =
			storage_test_open(test, names[i], true);
		struct storage *again CLEANUP_STORAGE = NULL;
		struct error err = ERROR_INIT;

		put_text(s, "key", names[i]);
		assert_int_equal(strncmp(storage_url(s), "file:///", 8), 0);
		assert_null(strchr(storage_url(s), '\n'));
		storage_test_check(storage_open(storage_url(s), false, &again, &err),
				   0, &err, "open", storage_url(s));
		assert_text(again, "key", names[i]);
		assert_string_equal(storage_url(again), storage_url(s));
	}
}

static void assert_refused(const char *url, int code)
{
	struct storage *s = NULL;
	struct error err = ERROR_INIT;
	int r = storage_open(url, true, &s, &err);

	if (r != -code)
		fail_msg("%s: %d instead of %d (%s)", url, r, -code, error_what(&err));
	assert_null(s);
	assert_int_equal(err.code, code);
	error_done(&err);
}

static void bad_urls_are_refused(void **state)
{
	assert_refused("", EINVAL);
	assert_refused("file:", EINVAL);
	assert_refused("file://", EINVAL);
	assert_refused("file://otherhost/path", EINVAL);
	assert_refused("file://relative", EINVAL);
	assert_refused("file:///a%", EINVAL);
	assert_refused("file:///a%2", EINVAL);
	assert_refused("file:///a%zz", EINVAL);
	assert_refused("file:///a%00b", EINVAL);
	assert_refused("file:///a?b", EINVAL);
	assert_refused("file:///a#b", EINVAL);
	assert_refused("s3://bucket/x", EPROTONOSUPPORT);
	assert_refused("s3:bucket", EPROTONOSUPPORT);
	assert_refused("svn+ssh://host/", EPROTONOSUPPORT);
	assert_refused("filex:///a", EPROTONOSUPPORT);
}

static void an_unknown_scheme_is_explained_without_its_secrets(void **state)
{
	struct storage *s = NULL;
	struct error err = ERROR_INIT;

	assert_int_equal(storage_open("s3://AKIAKEY:secret@bucket/x?token=secret",
				      true, &s, &err),
			 -EPROTONOSUPPORT);
	assert_non_null(strstr(error_what(&err), "s3:"));
	assert_non_null(strstr(err.why, "file://"));
	assert_non_null(err.fix);
	assert_null(strstr(error_what(&err), "secret"));
	assert_null(strstr(err.why, "secret"));
	assert_null(strstr(err.fix, "secret"));
	assert_int_equal(error_exit_code(&err), EX_USAGE);
	error_done(&err);
}

#define IN_FOLDER(fn)                                                          \
	cmocka_unit_test_setup_teardown(fn, storage_test_setup, storage_test_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		IN_FOLDER(file_urls_and_paths_name_folders),
		IN_FOLDER(relative_paths_count_from_where_they_were_opened),
		IN_FOLDER(a_backends_name_opens_it_again),
		IN_FOLDER(bad_urls_are_refused),
		IN_FOLDER(an_unknown_scheme_is_explained_without_its_secrets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
