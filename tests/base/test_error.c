/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/error.h"

#include <sysexits.h>

static void an_error_holds_what_why_and_fix(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;

	assert_int_equal(error_set(&err, ENOENT, "no %s", "folder"), -ENOENT);
	assert_int_equal(error_why(&err, "gone since %d", 10), -ENOENT);
	assert_int_equal(error_fix(&err, "mkdir %s", "x"), -ENOENT);
	assert_string_equal(error_what(&err), "no folder");
	assert_string_equal(err.why, "gone since 10");
	assert_string_equal(err.fix, "mkdir x");
	error_why(&err, "again");
	assert_string_equal(err.why, "again");
}

static void setting_again_drops_what_was_there(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;

	error_set(&err, ENOENT, "first");
	error_why(&err, "why");
	error_exit(&err, EX_CONFIG);
	assert_int_equal(error_set(&err, EIO, "second"), -EIO);
	assert_string_equal(error_what(&err), "second");
	assert_null(err.why);
	assert_int_equal(error_exit_code(&err), EX_OSERR);
}

static void the_old_text_may_be_part_of_the_new(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;

	error_set(&err, ENOENT, "first");
	error_set(&err, EIO, "second after %s", error_what(&err));
	assert_string_equal(error_what(&err), "second after first");
	error_why(&err, "a");
	error_why(&err, "%s and b", err.why);
	assert_string_equal(err.why, "a and b");
	error_set_errno(&err, ENOENT, "third after %s", error_what(&err));
	assert_string_equal(error_what(&err), "third after second after first: No such file or directory");
}

static void wrapping_puts_a_noun_in_front(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;

	error_set_errno(&err, EACCES, "cannot open x");
	assert_int_equal(error_wrap(&err, "database %s", "app.db"), -EACCES);
	assert_string_equal(error_what(&err), "database app.db: cannot open x: Permission denied");
}

static void no_error_object_is_fine(void **state)
{
	assert_int_equal(error_set(NULL, ENOENT, "x"), -ENOENT);
	assert_int_equal(error_set_errno(NULL, ENOENT, "x"), -ENOENT);
	assert_int_equal(error_set(NULL, 0, "x"), -EIO);
	error_wrap(NULL, "x");
	error_done(NULL);
}

static void exit_codes_follow_the_errno_unless_set(void **state)
{
	static const struct {
		int code;
		int exit_code;
	} cases[] = {
		{ EACCES, EX_NOPERM },	  { EPERM, EX_NOPERM },
		{ ENOSPC, EX_CANTCREAT }, { EBADMSG, EX_DATAERR },
		{ EBUSY, EX_TEMPFAIL },	  { ENOENT, EX_NOINPUT },
		{ EIO, EX_OSERR },	  { EINVAL, EX_OSERR },
	};
	struct error err CLEANUP_ERROR = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		error_set(&err, cases[i].code, "x");
		assert_int_equal(error_exit_code(&err), cases[i].exit_code);
	}
	error_exit(&err, EX_USAGE);
	assert_int_equal(error_exit_code(&err), EX_USAGE);
}

static void moving_hands_the_texts_over(void **state)
{
	struct error from CLEANUP_ERROR = ERROR_INIT;
	struct error to CLEANUP_ERROR = ERROR_INIT;

	error_set(&to, EIO, "old");
	error_set(&from, ENOENT, "new");
	error_move(&to, &from);
	assert_string_equal(error_what(&to), "new");
	assert_int_equal(from.code, 0);
	assert_string_equal(error_what(&from), "no error");
	error_move(NULL, &to);
	assert_null(to.what);
}

static void a_used_up_quota_is_a_lack_of_room(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	char text[128];

	snprintf(text, sizeof(text), "cannot write: %s", strerror(EDQUOT));
	error_set_errno(&err, EDQUOT, "cannot write");
	assert_int_equal(error_room(&err), -ENOSPC);
	assert_string_equal(error_what(&err), text);
	error_set(&err, EIO, "cannot write");
	assert_int_equal(error_room(&err), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_error_holds_what_why_and_fix),
		cmocka_unit_test(setting_again_drops_what_was_there),
		cmocka_unit_test(the_old_text_may_be_part_of_the_new),
		cmocka_unit_test(wrapping_puts_a_noun_in_front),
		cmocka_unit_test(no_error_object_is_fine),
		cmocka_unit_test(exit_codes_follow_the_errno_unless_set),
		cmocka_unit_test(moving_hands_the_texts_over),
		cmocka_unit_test(a_used_up_quota_is_a_lack_of_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
