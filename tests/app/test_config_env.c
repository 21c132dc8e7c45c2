/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "app/config.h"

#include <sysexits.h>

#define ENV(...) ((const char *const[]){ __VA_ARGS__, NULL })

static int parse(const char *text, const char *const *env, struct config *ret,
		 struct error *err)
{
	return config_parse(text, strlen(text), "x.ini", env, ret, err);
}

static void assert_parses(const char *text, const char *const *env, struct config *ret)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;

	if (parse(text, env, ret, &err) != 0)
		fail_msg("%s", error_what(&err));
}

static void assert_refused(const char *text, const char *const *env, const char *what)
{
	struct config config CLEANUP_CONFIG = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;

	assert_int_equal(parse(text, env, &config, &err), -EINVAL);
	assert_string_equal(error_what(&err), what);
	assert_int_equal(error_exit_code(&err), EX_CONFIG);
}

static void a_variable_wins_over_file_and_default(void **state)
{
	struct config config CLEANUP_CONFIG = { 0 };

	assert_parses("[mount]\nlog_level = warn\n[backend.s-3]\nurl = /a\n",
		      ENV("REPLITEDFS_MOUNT_LOG_LEVEL=debug", "REPLITEDFS_MOUNT_STATE_DIR=/s # ${X}",
			  "REPLITEDFS_BACKEND_S_3_SYNC_INTERVAL=5s",
			  "REPLITEDFS_BACKEND_S_3_URL=/b"),
		      &config);
	assert_int_equal(config.mount.log_level, LOG_LEVEL_DEBUG);
	assert_string_equal(config.mount.state_dir, "/s # ${X}");
	assert_int_equal(config.n_backends, 1);
	assert_string_equal(config.backends[0].name, "s-3");
	assert_string_equal(config.backends[0].url, "/b");
	assert_int_equal(config.backends[0].sync_interval_ms, 5000);
}

static void a_variable_gives_a_section_its_required_key(void **state)
{
	struct config config CLEANUP_CONFIG = { 0 };

	assert_parses("[backend.s3]\n", ENV("REPLITEDFS_BACKEND_S3_URL=/b"), &config);
	assert_string_equal(config.backends[0].url, "/b");
}

static void the_first_of_two_variables_counts_and_an_empty_one_does_not(void **state)
{
	struct config config CLEANUP_CONFIG = { 0 };

	assert_parses("[mount]\ncapture = intercept\n",
		      ENV("REPLITEDFS_MOUNT_LOG_LEVEL=error", "REPLITEDFS_MOUNT_LOG_LEVEL=debug",
			  "REPLITEDFS_MOUNT_CAPTURE=", "REPLITEDFS_BACKEND_A_URL="),
		      &config);
	assert_int_equal(config.mount.log_level, LOG_LEVEL_ERROR);
	assert_int_equal(config.mount.capture, CONFIG_CAPTURE_INTERCEPT);
	assert_int_equal(config.n_backends, 0);
}

static void the_required_key_defines_a_section_behind_those_of_the_file(void **state)
{
	struct config config CLEANUP_CONFIG = { 0 };

	assert_parses("[backend.z]\nurl = /z\n",
		      ENV("REPLITEDFS_BACKEND_S3_EU_SYNC_INTERVAL=2s", "REPLITEDFS_BACKEND_S3_EU_URL=/eu",
			  "REPLITEDFS_BACKEND_A_URL=/a", "REPLITEDFS_DATABASE_C_PATH=cache/*",
			  "REPLITEDFS_DATABASE_C_REPLICATE=no"),
		      &config);
	assert_int_equal(config.n_backends, 3);
	assert_string_equal(config.backends[0].name, "z");
	assert_string_equal(config.backends[1].name, "a");
	assert_string_equal(config.backends[1].url, "/a");
	assert_string_equal(config.backends[2].name, "s3_eu");
	assert_string_equal(config.backends[2].url, "/eu");
	assert_int_equal(config.backends[2].sync_interval_ms, 2000);
	assert_int_equal(config.n_databases, 1);
	assert_string_equal(config.databases[0].name, "c");
	assert_false(config.databases[0].replicate);
}

static void bad_values_name_the_variable(void **state)
{
	assert_refused("", ENV("REPLITEDFS_MOUNT_LOG_LEVEL=loud"),
		       "REPLITEDFS_MOUNT_LOG_LEVEL in the environment: 'loud' is not one of "
		       "error, warn, info or debug");
	assert_refused("", ENV("REPLITEDFS_BACKEND_A_URL=x"),
		       "REPLITEDFS_BACKEND_A_URL in the environment: the URL has no scheme");
	assert_refused("", ENV("REPLITEDFS_MOUNT_STATE_DIR=/a\nb"),
		       "REPLITEDFS_MOUNT_STATE_DIR in the environment: the value holds the "
		       "control character 0x0a");
}

static void unknown_variables_of_a_section_are_refused(void **state)
{
	struct config config CLEANUP_CONFIG = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;

	assert_refused("", ENV("REPLITEDFS_MOUNT_LOGLEVEL=info"),
		       "REPLITEDFS_MOUNT_LOGLEVEL in the environment: unknown key");
	assert_int_equal(parse("", ENV("REPLITEDFS_MOUNT_LOGLEVEL=info"), &config, &err),
			 -EINVAL);
	assert_string_equal(err.fix, "did you mean REPLITEDFS_MOUNT_LOG_LEVEL?");
	assert_refused("", ENV("REPLITEDFS_BACKEND_S3_SYNC_INTERVAL=1s"),
		       "REPLITEDFS_BACKEND_S3_SYNC_INTERVAL in the environment is for a "
		       "[backend.NAME] that is not there");
	assert_refused("", ENV("REPLITEDFS_STREAM_PORT_X=1", "REPLITEDFS_STREAM_LISTEN=1"),
		       "REPLITEDFS_STREAM_LISTEN in the environment is not supported by this "
		       "version");
	assert_refused("", ENV("REPLITEDFS_MOUNT_\x1b[2J=1"),
		       "REPLITEDFS_MOUNT_??2J in the environment: unknown key");
	assert_refused("", ENV("REPLITEDFS_BACKEND_s3_URL=/a"),
		       "REPLITEDFS_BACKEND_s3_URL in the environment is for a [backend.NAME] that "
		       "is not there");
}

static void variables_of_others_are_left_alone(void **state)
{
	struct config config CLEANUP_CONFIG = { 0 };

	assert_parses("[backend.a]\nurl = /a\n",
		      ENV("REPLITEDFS=1", "REPLITEDFS_=1", "REPLITEDFS_MOUNT=1",
			  "REPLITEDFS_MOUNTS_X=1", "replitedfs_mount_x=1", "REPLITEDFS_TEST_HOOKS=x",
			  "REPLITEDFS_PORT=1", "REPLITEDFS_MOUNT_SERVICE_HOST=10.0.0.1",
			  "REPLITEDFS_MOUNT_PORT=tcp://10.0.0.1:80",
			  "REPLITEDFS_BACKEND_A_PORT_80_TCP_ADDR=10.0.0.1",
			  "REPLITEDFS_BACKEND_SERVICE_PORT_HTTP=80", "no equals sign"),
		      &config);
	assert_int_equal(config.n_backends, 1);
}

static void too_many_sections_are_refused(void **state)
{
	char *env[CONFIG_SECTIONS_MAX + 1] = { NULL };
	struct config config CLEANUP_CONFIG = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;

	for (int i = 0; i < CONFIG_SECTIONS_MAX; i++)
		assert_true(asprintf(&env[i], "REPLITEDFS_BACKEND_A%d_URL=/a", i) > 0);
	assert_int_equal(parse("", (const char *const *)env, &config, &err), -EINVAL);
	assert_non_null(strstr(error_what(&err), "more than 1000 sections"));
	for (int i = 0; i < CONFIG_SECTIONS_MAX; i++)
		free(env[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_variable_wins_over_file_and_default),
		cmocka_unit_test(a_variable_gives_a_section_its_required_key),
		cmocka_unit_test(the_first_of_two_variables_counts_and_an_empty_one_does_not),
		cmocka_unit_test(the_required_key_defines_a_section_behind_those_of_the_file),
		cmocka_unit_test(bad_values_name_the_variable),
		cmocka_unit_test(unknown_variables_of_a_section_are_refused),
		cmocka_unit_test(variables_of_others_are_left_alone),
		cmocka_unit_test(too_many_sections_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
