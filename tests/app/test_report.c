/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "app/report.h"

#include <jansson.h>
#include <sysexits.h>

/* What a reporter prints, to be freed. */
static char *printed(void (*report)(FILE *, const struct error *), const struct error *err)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	report(out, err);
	fclose(out);
	return text;
}

static void report_json(FILE *out, const struct error *err)
{
	assert_int_equal(report_json_error(out, err), 0);
}

static void an_error_is_printed_with_why_and_fix(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	char *text CLEANUP_FREE = NULL;

	error_set(&err, ENOENT, "./data does not exist");
	error_why(&err, "nobody made it");
	error_fix(&err, "mkdir ./data");
	text = printed(report_error, &err);
	assert_string_equal(text, "replitedfs: ./data does not exist\n"
				  "why: nobody made it\n"
				  "fix: mkdir ./data\n");
}

static void what_is_not_known_is_left_out(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	char *text CLEANUP_FREE = NULL;

	error_set(&err, EIO, "broken");
	text = printed(report_error, &err);
	assert_string_equal(text, "replitedfs: broken\n");
}

static void further_lines_are_indented_and_control_characters_are_not_obeyed(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	char *text CLEANUP_FREE = NULL;

	error_set(&err, EIO, "no \033[2J\r\n%s", "replitedfs: all is well");
	error_fix(&err, "one\ntwo");
	text = printed(report_error, &err);
	assert_string_equal(text, "replitedfs: no ?[2J?\n"
				  "            replitedfs: all is well\n"
				  "fix: one\n"
				  "     two\n");
}

static void the_exit_code_is_that_of_the_error(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int saved = dup(STDERR_FILENO);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int code;

	error_set(&err, EINVAL, "bad key");
	error_exit(&err, EX_CONFIG);
	dup2(null, STDERR_FILENO);
	code = report_exit(&err);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(null);
	assert_int_equal(code, EX_CONFIG);
}

static void json_holds_every_part(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	char *text CLEANUP_FREE = NULL;

	error_set(&err, EBUSY, "\"x\" is\nin use \xc3\xa9");
	error_fix(&err, "stop it");
	text = printed(report_json, &err);
	assert_string_equal(text, "{\"error\":{\"what\":\"\\\"x\\\" is\\nin use \xc3\xa9\","
				  "\"why\":null,\"fix\":\"stop it\",\"exit_code\":75}}\n");
}

static void json_is_valid_whatever_bytes_a_name_has(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	char *text CLEANUP_FREE = NULL;
	json_t *json;
	const char *what;

	error_set(&err, EIO, "\xff\xfe.db \x01");
	text = printed(report_json, &err);
	json = json_loads(text, 0, NULL);
	assert_non_null(json);
	assert_int_equal(json_unpack(json, "{s:{s:s}}", "error", "what", &what), 0);
	assert_string_equal(what, "?\?.db \x01");
	json_decref(json);
}

static void report_one(FILE *out, const struct error *err)
{
	assert_int_equal(report_database(out, NULL, "a\033.db", err), error_exit_code(err));
}

static void one_database_of_several_is_named(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	char *text CLEANUP_FREE = NULL;
	json_t *results = json_array();
	json_t *json;

	error_set(&err, EIO, "broken: \xff");
	error_fix(&err, "mend it");
	text = printed(report_one, &err);
	assert_string_equal(text, "a?.db: FAILED: broken: \xff\nfix: mend it\n");
	assert_int_equal(report_database(NULL, results, "a\xff.db", &err), error_exit_code(&err));
	json = json_array_get(results, 0);
	assert_non_null(json);
	assert_true(json_is_false(json_object_get(json, "ok")));
	assert_string_equal(json_string_value(json_object_get(json, "error")), "broken: ?");
	assert_true(json_is_null(json_object_get(json, "why")));
	assert_string_equal(json_string_value(json_object_get(json, "fix")), "mend it");
	json_decref(results);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_error_is_printed_with_why_and_fix),
		cmocka_unit_test(what_is_not_known_is_left_out),
		cmocka_unit_test(further_lines_are_indented_and_control_characters_are_not_obeyed),
		cmocka_unit_test(the_exit_code_is_that_of_the_error),
		cmocka_unit_test(one_database_of_several_is_named),
		cmocka_unit_test(json_holds_every_part),
		cmocka_unit_test(json_is_valid_whatever_bytes_a_name_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
