/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "app/config_value.h"

typedef int reader(const char *text, int64_t *ret_value, struct error *err);

static void assert_reads(reader *read_value, const char *text, int64_t value)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int64_t got;

	if (read_value(text, &got, &err) != 0)
		fail_msg("%s", error_what(&err));
	assert_int_equal(got, value);
}

static void assert_refuses(reader *read_value, const char *const *texts, size_t n)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int64_t got;

	for (size_t i = 0; i < n; i++) {
		if (read_value(texts[i], &got, &err) != -EINVAL)
			fail_msg("'%s' should be refused", texts[i]);
		assert_non_null(err.fix);
	}
}

static void durations_have_a_unit(void **state)
{
	static const char *const bad[] = {
		"",
		"10",
		"0",
		"ms",
		"10 s",
		" 10s",
		"10s ",
		"10S",
		"10m",
		"10sec",
		"-1s",
		"+1s",
		"1.5s",
		"010s",
		"00s",
		"0x10s",
		"1h30min",
		"10ms0",
		"9223372036854775808ms",
		"9223372036854775807s",
		"99999999999999999999d",
		"1e3s",
		"s10",
		"10\ts",
	};

	assert_reads(config_value_duration, "500ms", 500);
	assert_reads(config_value_duration, "10s", 10000);
	assert_reads(config_value_duration, "5min", 300000);
	assert_reads(config_value_duration, "1h", 3600000);
	assert_reads(config_value_duration, "7d", 604800000);
	assert_reads(config_value_duration, "0s", 0);
	assert_reads(config_value_duration, "9223372036854775807ms", INT64_MAX);
	assert_refuses(config_value_duration, bad, ARRAY_LEN(bad));
}

static void sizes_are_bytes_or_have_a_unit(void **state)
{
	static const char *const bad[] = {
		"",	      "MiB",
		"64mib",      "64M",
		"64 MiB",     "-1",
		"010",	      "1.5GiB",
		"0x10",	      "9223372036854775808",
		"8388608TiB", "18446744073709551617",
	};

	assert_reads(config_value_size, "0", 0);
	assert_reads(config_value_size, "4096", 4096);
	assert_reads(config_value_size, "7B", 7);
	assert_reads(config_value_size, "10kB", 10000);
	assert_reads(config_value_size, "10MB", 10000000);
	assert_reads(config_value_size, "64MiB", 67108864);
	assert_reads(config_value_size, "1GiB", 1073741824);
	assert_reads(config_value_size, "8388607TiB", 8388607LL << 40);
	assert_refuses(config_value_size, bad, ARRAY_LEN(bad));
}

static void whole_numbers_are_digits_only(void **state)
{
	static const char *const bad[] = { "",	 "-1", "+1",  "010",
					   "1x", "1 ", "0x1", "1.0" };

	assert_reads(config_value_integer, "0", 0);
	assert_reads(config_value_integer, "19", 19);
	assert_refuses(config_value_integer, bad, ARRAY_LEN(bad));
}

static void a_missing_unit_is_named_as_the_reason(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int64_t value;

	assert_int_equal(config_value_duration("10", &value, &err), -EINVAL);
	assert_string_equal(error_what(&err), "'10' is not a duration: it has no unit");
	assert_int_equal(config_value_size("010", &value, &err), -EINVAL);
	assert_string_equal(error_what(&err), "'010' is not a size: it begins with a 0");
}

static void assert_formats(int (*format)(int64_t, struct buf *), int64_t value,
			   const char *text)
{
	struct buf out CLEANUP_BUF = { 0 };

	assert_int_equal(format(value, &out), 0);
	assert_string_equal(buf_str(&out), text);
}

static void quantities_are_written_in_the_largest_unit_that_fits(void **state)
{
	assert_formats(config_value_format_duration, 0, "0ms");
	assert_formats(config_value_format_duration, 1500, "1500ms");
	assert_formats(config_value_format_duration, 90000, "90s");
	assert_formats(config_value_format_duration, 86400000, "1d");
	assert_formats(config_value_format_size, 1000, "1kB");
	assert_formats(config_value_format_size, 1024, "1KiB");
	assert_formats(config_value_format_size, 1 << 30, "1GiB");
	assert_formats(config_value_format_size, 1023, "1023B");
}

static void choices_are_found_or_suggested(void **state)
{
	static const char *const choices[] = { "error", "warn", "info" };
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int index = -1;

	assert_int_equal(config_value_choice("warn", choices, 3, &index, &err), 0);
	assert_int_equal(index, 1);
	assert_int_equal(config_value_choice("wran", choices, 3, &index, &err), -EINVAL);
	assert_string_equal(error_what(&err), "'wran' is not one of error, warn or info; "
					      "did you mean 'warn'?");
	assert_int_equal(config_value_choice("", choices, 3, &index, &err), -EINVAL);
	assert_int_equal(config_value_choice("WARN", choices, 3, &index, &err), -EINVAL);
}

static void a_url_has_a_scheme_or_is_an_absolute_path(void **state)
{
	static const char *const good[] = { "file:///x", "s3://bucket/p", "/x", "a+b.c-1://h" };
	static const char *const bad[] = { "",	     "/",	    "x",
					   "./x",    "s3:/x",	    "s3://",
					   "://x",   "S3://bucket", "3s://x",
					   "s3 ://x" };
	struct error err CLEANUP_ERROR = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_int_equal(config_value_url(good[i], &err), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (config_value_url(bad[i], &err) != -EINVAL)
			fail_msg("'%s' should be refused", bad[i]);
	}
	assert_int_equal(config_value_url("user:password@host", &err), -EINVAL);
	assert_null(strstr(error_what(&err), "password"));
}

static void a_path_is_absolute_or_empty(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;

	assert_int_equal(config_value_path("", &err), 0);
	assert_int_equal(config_value_path("/var/lib", &err), 0);
	assert_int_equal(config_value_path("var/lib", &err), -EINVAL);
	assert_int_equal(config_value_path("~/x", &err), -EINVAL);
}

static void a_value_has_no_control_characters_and_an_end(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	char text[CONFIG_VALUE_MAX + 2] = { 0 };

	assert_int_equal(config_value_text("pl\xc3\xa4in", &err), 0);
	assert_int_equal(config_value_text("a\nb", &err), -EINVAL);
	assert_int_equal(config_value_text("a\x7f", &err), -EINVAL);
	memset(text, 'a', CONFIG_VALUE_MAX);
	assert_int_equal(config_value_text(text, &err), 0);
	memset(text, 'a', CONFIG_VALUE_MAX + 1);
	assert_int_equal(config_value_text(text, &err), -EINVAL);
}

static const char *const env[] = {
	"USER=x", "A=one", "AB=two", "EMPTY=", "NESTED=${A}", NULL,
};

static void assert_expands(const char *text, const char *want)
{
	struct buf out CLEANUP_BUF = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;

	if (config_value_expand(text, env, &out, &err) != 0)
		fail_msg("%s", error_what(&err));
	assert_string_equal(buf_str(&out), want);
}

static void variables_are_expanded_once(void **state)
{
	assert_expands("", "");
	assert_expands("plain $A $", "plain $A $");
	assert_expands("${A}", "one");
	assert_expands("<${A}${AB}>", "<onetwo>");
	assert_expands("${EMPTY}x", "x");
	assert_expands("${NESTED}", "${A}");
	assert_expands("$${A}", "${A}");
	assert_expands("$$${A}", "$${A}");
	assert_expands("$$", "$$");
}

static void bad_variables_are_refused(void **state)
{
	static const struct {
		const char *text;
		const char *what;
	} cases[] = {
		{ "${NONE}", "${NONE} is not set" },
		{ "${AB", "'${' without a '}'" },
		{ "${}", "'${}' is not a variable" },
		{ "${A-b}", "'${A-b}' is not a variable" },
		{ "${1}", "'${1}' is not a variable" },
		{ "${ A}", "'${ A}' is not a variable" },
	};
	struct error err CLEANUP_ERROR = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf out CLEANUP_BUF = { 0 };

		assert_int_equal(config_value_expand(cases[i].text, env, &out, &err), -EINVAL);
		assert_string_equal(error_what(&err), cases[i].what);
	}
}

static void expansion_does_not_grow_without_end(void **state)
{
	char big[CONFIG_VALUE_MAX + 100] = "BIG=";
	const char *const big_env[] = { big, NULL };
	struct buf out CLEANUP_BUF = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;

	memset(big + 4, 'x', sizeof(big) - 5);
	assert_int_equal(config_value_expand("${BIG}", big_env, &out, &err), -EINVAL);
	assert_int_equal(config_value_expand("${X}", NULL, &out, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_have_a_unit),
		cmocka_unit_test(sizes_are_bytes_or_have_a_unit),
		cmocka_unit_test(whole_numbers_are_digits_only),
		cmocka_unit_test(a_missing_unit_is_named_as_the_reason),
		cmocka_unit_test(quantities_are_written_in_the_largest_unit_that_fits),
		cmocka_unit_test(choices_are_found_or_suggested),
		cmocka_unit_test(a_url_has_a_scheme_or_is_an_absolute_path),
		cmocka_unit_test(a_path_is_absolute_or_empty),
		cmocka_unit_test(a_value_has_no_control_characters_and_an_end),
		cmocka_unit_test(variables_are_expanded_once),
		cmocka_unit_test(bad_variables_are_refused),
		cmocka_unit_test(expansion_does_not_grow_without_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
