/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"

static int open_log(struct unit_folder *folder)
{
	int fd = openat(folder->fd, "log", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	return fd;
}

static const char *logged(struct unit_folder *folder, struct buf *text)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;

	buf_reset(text);
	assert_int_equal(file_read_all(folder->fd, "log", 100000, text, &err), 0);
	return buf_str(text);
}

static size_t n_lines(const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++)
		n += *text == '\n';
	return n;
}

static void a_line_has_time_level_and_message(void **state)
{
	int fd CLEANUP_FD = open_log(*state);
	struct buf text CLEANUP_BUF = { 0 };
	int n = 0;

	log_open(fd, LOG_LEVEL_INFO);
	log_warn("mount=%s n=%d", "/data", 3);
	sscanf(logged(*state, &text),
	       "%*4d-%*2d-%*2dT%*2d:%*2d:%*2d.%*3dZ warn mount=/data n=3%n", &n);
	assert_int_equal(n, text.len - 1);
	assert_int_equal(n_lines(buf_str(&text)), 1);
}

static void a_message_stays_on_one_line(void **state)
{
	int fd CLEANUP_FD = open_log(*state);
	struct buf text CLEANUP_BUF = { 0 };

	log_open(fd, LOG_LEVEL_INFO);
	log_info("name=%s", "a\nb\rc\033[2J\x7f\xc3\xa9");
	assert_non_null(strstr(logged(*state, &text), "name=a b c [2J \xc3\xa9\n"));
	assert_int_equal(n_lines(buf_str(&text)), 1);
}

static void lower_levels_are_left_out(void **state)
{
	int fd CLEANUP_FD = open_log(*state);
	struct buf text CLEANUP_BUF = { 0 };

	log_open(fd, LOG_LEVEL_WARN);
	log_error("one");
	log_warn("two");
	log_info("three");
	log_debug("four");
	assert_int_equal(n_lines(logged(*state, &text)), 2);
}

static void a_repeating_failure_is_logged_when_it_starts_changes_and_ends(void **state)
{
	int fd CLEANUP_FD = open_log(*state);
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf text CLEANUP_BUF = { 0 };
	struct log_repeat repeat = { 0 };

	log_open(fd, LOG_LEVEL_INFO);
	log_repeat_ok(&repeat, "backend s3");
	assert_int_equal(n_lines(logged(*state, &text)), 0);
	error_set(&err, EIO, "refused");
	error_why(&err, "403");
	for (int i = 0; i < 5; i++)
		log_repeat_failed(&repeat, "backend s3", &err);
	assert_int_equal(n_lines(logged(*state, &text)), 1);
	assert_non_null(strstr(buf_str(&text), "backend s3: refused; why: 403\n"));
	error_set(&err, EIO, "timed out");
	log_repeat_failed(&repeat, "backend s3", &err);
	assert_int_equal(n_lines(logged(*state, &text)), 2);
	log_repeat_ok(&repeat, "backend s3");
	log_repeat_ok(&repeat, "backend s3");
	assert_int_equal(n_lines(logged(*state, &text)), 3);
	log_repeat_done(&repeat);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST_IN_FOLDER(a_line_has_time_level_and_message),
		UNIT_TEST_IN_FOLDER(a_message_stays_on_one_line),
		UNIT_TEST_IN_FOLDER(lower_levels_are_left_out),
		UNIT_TEST_IN_FOLDER(a_repeating_failure_is_logged_when_it_starts_changes_and_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
