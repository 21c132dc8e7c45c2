/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/clock.h"

#define S CLOCK_US_PER_S
#define NOW (1000000 * S)

static void assert_parses(const char *text, int64_t us)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int64_t got_us;

	if (clock_parse(text, NOW, &got_us, &err) != 0)
		fail_msg("%s", error_what(&err));
	assert_int_equal(got_us, us);
}

static void a_time_is_written_with_microseconds_and_zone(void **state)
{
	char text[CLOCK_TEXT_SIZE];

	clock_format(0, text);
	assert_string_equal(text, "1970-01-01T00:00:00.000000Z");
	clock_format(1769853600 * S + 5, text);
	assert_string_equal(text, "2026-01-31T10:00:00.000005Z");
	clock_format(-1, text);
	assert_string_equal(text, "1969-12-31T23:59:59.999999Z");
	clock_format(INT64_MAX, text);
	clock_format(INT64_MIN + S, text);
}

static void a_written_time_is_read_back(void **state)
{
	static const int64_t times[] = { 0, 1, 1769853600123456, 4102444799999999 };
	char text[CLOCK_TEXT_SIZE];

	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		clock_format(times[i], text);
		assert_parses(text, times[i]);
	}
}

static void zones_and_fractions_are_read(void **state)
{
	assert_parses("2026-01-31T10:00:00Z", 1769853600 * S);
	assert_parses("2026-01-31 10:00:00z", 1769853600 * S);
	assert_parses("2026-01-31t12:30:00+02:30", 1769853600 * S);
	assert_parses("2026-01-31T09:00:00-01:00", 1769853600 * S);
	assert_parses("2026-01-31T10:00:00.25Z", 1769853600 * S + 250000);
	assert_parses("2026-01-31T10:00:00.0000019Z", 1769853600 * S + 1);
	assert_parses("2024-02-29T00:00:00Z", 1709164800 * S);
}

static void distances_count_back_from_now(void **state)
{
	assert_parses("0 s ago", NOW);
	assert_parses("90 s ago", NOW - 90 * S);
	assert_parses("10 min ago", NOW - 600 * S);
	assert_parses("2 hours ago", NOW - 7200 * S);
	assert_parses("1 d ago", NOW - 86400 * S);
}

static void anything_else_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"now",
		"2026-01-31T10:00:00",
		"2026-01-31T10:00:00 Z",
		"2026-01-31T10:00:00Zx",
		"2026-01-31T10:00:00.Z",
		"2026-01-31T10:00:00+1:00",
		"2026-01-31T10:00:00+24:00",
		"2026-01-31T10:00:00+-1:00",
		"2026-01-31T-1:00:00Z",
		"2026-01-31T+1:00:00Z",
		"2026-01-31T 1:00:00Z",
		"2026-02-29T10:00:00Z",
		"2026-04-31T10:00:00Z",
		"2026-13-01T10:00:00Z",
		"2026-00-01T10:00:00Z",
		"2026-01-31T24:00:00Z",
		"2026-01-31T10:60:00Z",
		"2026-1-31T10:00:00Z",
		"10 ago",
		"min ago",
		"-5 min ago",
		"+5 min ago",
		" 5 min ago",
		"5 min",
		"5 min ago ",
		"5 weeks ago",
		"9999999999 s ago",
		"999999999 d ago",
	};
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int64_t us;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (clock_parse(texts[i], NOW, &us, &err) != -EINVAL)
			fail_msg("'%s' should be refused", texts[i]);
		assert_non_null(err.fix);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_time_is_written_with_microseconds_and_zone),
		cmocka_unit_test(a_written_time_is_read_back),
		cmocka_unit_test(zones_and_fractions_are_read),
		cmocka_unit_test(distances_count_back_from_now),
		cmocka_unit_test(anything_else_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
