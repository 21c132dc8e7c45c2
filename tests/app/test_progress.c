/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "app/progress.h"
#include "base/file.h"
#include "base/log.h"

#include <pty.h>
#include <sys/ioctl.h>

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

static void assert_line(uint64_t done, uint64_t total, int64_t elapsed_ms,
			uint64_t rate, size_t width, const char *want)
{
	struct buf out CLEANUP_BUF = { 0 };

	assert_int_equal(progress_format(done, total, elapsed_ms, rate, width, &out), 0);
	assert_string_equal(buf_str(&out), want);
}

static void a_line_has_bytes_share_rate_and_time_left(void **state)
{
	assert_line(256 * MIB, GIB, 9000, 64 * MIB, 80,
		    "256.0 MiB of 1.0 GiB   25%  64.0 MiB/s  12 s left");
	assert_line(GIB, GIB, 9000, 64 * MIB, 80, "1.0 GiB of 1.0 GiB  100%  64.0 MiB/s");
	assert_line(2 * GIB, GIB, 9000, 0, 80, "2.0 GiB of 1.0 GiB  100%");
	assert_line(0, GIB, 0, 0, 80, "0 B of 1.0 GiB    0%");
}

static void without_a_total_the_time_so_far_is_shown(void **state)
{
	assert_line(12900000, 0, 65000, 1000, 80, "12.3 MiB  1000 B/s  1 min 05 s");
	assert_line(0, 0, -5, 0, 80, "0 B  0 s");
}

static void a_hundred_percent_is_only_shown_when_all_is_done(void **state)
{
	assert_line(UINT64_MAX - 1, UINT64_MAX, 0, 0, 80, "16.0 EiB of 16.0 EiB   99%");
}

static void what_does_not_fit_is_left_out_from_the_right(void **state)
{
	assert_line(256 * MIB, GIB, 0, 64 * MIB, 48, "256.0 MiB of 1.0 GiB   25%  64.0 MiB/s");
	assert_line(256 * MIB, GIB, 0, 64 * MIB, 38, "256.0 MiB of 1.0 GiB   25%  64.0 MiB/s");
	assert_line(256 * MIB, GIB, 0, 64 * MIB, 37, "256.0 MiB of 1.0 GiB   25%");
	assert_line(256 * MIB, GIB, 0, 64 * MIB, 20, "256.0 MiB of 1.0 GiB");
	assert_line(256 * MIB, GIB, 0, 64 * MIB, 19, "");
	assert_line(256 * MIB, GIB, 0, 64 * MIB, 0, "");
}

static void assert_size(uint64_t bytes, const char *want)
{
	struct buf out CLEANUP_BUF = { 0 };

	assert_int_equal(progress_format_size(bytes, &out), 0);
	assert_string_equal(buf_str(&out), want);
}

static void sizes_have_one_decimal_and_never_four_digits_of_1024(void **state)
{
	assert_size(0, "0 B");
	assert_size(1023, "1023 B");
	assert_size(1024, "1.0 KiB");
	assert_size(1536, "1.5 KiB");
	assert_size(MIB - 1, "1.0 MiB");
	assert_size(MIB - 60, "1023.9 KiB");
	assert_size(12900000, "12.3 MiB");
	assert_size(UINT64_MAX, "16.0 EiB");
}

static void assert_time(uint64_t seconds, const char *want)
{
	struct buf out CLEANUP_BUF = { 0 };

	assert_int_equal(progress_format_time(seconds, &out), 0);
	assert_string_equal(buf_str(&out), want);
}

static void times_have_two_units(void **state)
{
	assert_time(0, "0 s");
	assert_time(59, "59 s");
	assert_time(185, "3 min 05 s");
	assert_time(7740, "2 h 09 min");
	assert_time(360000, "100 h 00 min");
}

/* The far end of a terminal of 60 columns, which does not block. */
static int open_terminal(int *ret_slave)
{
	struct winsize size = { .ws_row = 24, .ws_col = 60 };
	int master;

	assert_int_equal(openpty(&master, ret_slave, NULL, NULL, &size), 0);
	assert_int_equal(fcntl(master, F_SETFL, O_NONBLOCK), 0);
	setenv("TERM", "xterm", 1);
	return master;
}

/* What was drawn since the last call, "" for nothing. */
static const char *drawn(int master, char *text, size_t size)
{
	ssize_t n = read(master, text, size - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void a_terminal_shows_one_line_ten_times_a_second_and_is_wiped(void **state)
{
	int slave CLEANUP_FD = -1;
	int master CLEANUP_FD = open_terminal(&slave);
	struct progress progress CLEANUP_PROGRESS = { 0 };
	char text[256];
	int64_t t;

	progress_start(&progress, slave, "restoring", 100 * MIB, 0);
	t = progress.start_ms;
	progress_update_at(&progress, 1, t + 99);
	assert_string_equal(drawn(master, text, sizeof(text)), "");
	progress_update_at(&progress, 10 * MIB, t + 1000);
	assert_string_equal(drawn(master, text, sizeof(text)),
			    "\rrestoring  10.0 MiB of 100.0 MiB   10%  10.0 MiB/s\033[K");
	progress_update_at(&progress, 11 * MIB, t + 1099);
	assert_string_equal(drawn(master, text, sizeof(text)), "");
	progress_done(&progress);
	assert_string_equal(drawn(master, text, sizeof(text)), "\r\033[K");
	progress_done(&progress);
	assert_string_equal(drawn(master, text, sizeof(text)), "");
}

static void a_long_label_makes_room_for_the_numbers(void **state)
{
	int slave CLEANUP_FD = -1;
	int master CLEANUP_FD = open_terminal(&slave);
	struct progress progress CLEANUP_PROGRESS = { 0 };
	char text[256];

	progress_start(&progress, slave,
		       "restoring a/rather/long/name/of/a/database.db", 0, 0);
	progress_update_at(&progress, 5, progress.start_ms + 1000);
	assert_string_equal(drawn(master, text, sizeof(text)), "\r5 B  5 B/s  1 s\033[K");
}

static void the_rate_follows_slowly(void **state)
{
	int slave CLEANUP_FD = -1;
	int master CLEANUP_FD = open_terminal(&slave);
	struct progress progress CLEANUP_PROGRESS = { 0 };
	int64_t t;

	assert_true(master >= 0);
	progress_start(&progress, slave, "x", 0, 0);
	t = progress.start_ms;
	progress_update_at(&progress, 1000, t + 1000);
	assert_int_equal(progress.rate, 1000);
	progress_update_at(&progress, 1000, t + 2000);
	assert_int_equal(progress.rate, 750);
	progress_update_at(&progress, 1000, t + 100000);
	assert_in_range(progress.rate, 0, 50);
	progress_update_at(&progress, 500, t + 101000);
	assert_in_range(progress.rate, 0, 50);
}

static void elsewhere_only_the_log_gets_lines_when_asked(void **state)
{
	struct unit_folder *folder = *state;
	int fd CLEANUP_FD = openat(folder->fd, "log", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct progress progress CLEANUP_PROGRESS = { 0 };
	struct buf text CLEANUP_BUF = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;

	log_open(fd, LOG_LEVEL_INFO);
	progress_start(&progress, fd, "restoring", MIB, 0);
	progress_update_at(&progress, 5, progress.start_ms + 100000);
	progress_done(&progress);
	progress_start(&progress, fd, "restoring", 0, 10000);
	progress_set_total(&progress, MIB);
	progress_update_at(&progress, 5, progress.start_ms + 9999);
	assert_int_equal(file_read_all(folder->fd, "log", 1000, &text, &err), 0);
	assert_int_equal(text.len, 0);
	progress_update_at(&progress, MIB / 2, progress.start_ms + 10000);
	progress_update_at(&progress, MIB / 2, progress.start_ms + 19999);
	progress_done(&progress);
	assert_int_equal(file_read_all(folder->fd, "log", 1000, &text, &err), 0);
	assert_non_null(strstr(buf_str(&text), " info restoring: 512.0 KiB of 1.0 MiB   50%\n"));
	assert_ptr_equal(strchr(buf_str(&text), '\n'), buf_str(&text) + text.len - 1);
}

static void without_a_label_nothing_is_shown(void **state)
{
	struct progress progress CLEANUP_PROGRESS = { 0 };

	progress_start(&progress, STDERR_FILENO, NULL, 10, 1);
	progress_update_at(&progress, 5, progress.start_ms + 60000);
	assert_false(progress.drawn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_has_bytes_share_rate_and_time_left),
		cmocka_unit_test(without_a_total_the_time_so_far_is_shown),
		cmocka_unit_test(a_hundred_percent_is_only_shown_when_all_is_done),
		cmocka_unit_test(what_does_not_fit_is_left_out_from_the_right),
		cmocka_unit_test(sizes_have_one_decimal_and_never_four_digits_of_1024),
		cmocka_unit_test(times_have_two_units),
		cmocka_unit_test(a_terminal_shows_one_line_ten_times_a_second_and_is_wiped),
		cmocka_unit_test(a_long_label_makes_room_for_the_numbers),
		cmocka_unit_test(the_rate_follows_slowly),
		UNIT_TEST_IN_FOLDER(elsewhere_only_the_log_gets_lines_when_asked),
		cmocka_unit_test(without_a_label_nothing_is_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
