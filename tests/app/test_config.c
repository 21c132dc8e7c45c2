/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "app/config.h"
#include "base/buf.h"
#include "base/file.h"

#include <sysexits.h>

static int parse(const char *text, const char *const *env, struct config *ret,
		 struct error *err)
{
	return config_parse(text, strlen(text), "x.ini", env, ret, err);
}

static void assert_parses(const char *text, struct config *ret)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;

	if (parse(text, NULL, ret, &err) != 0)
		fail_msg("%s", error_what(&err));
}

/* Asserts that text is refused with the sentence what. */
static void assert_refused(const char *text, const char *what)
{
	struct config config CLEANUP_CONFIG = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;

	assert_int_equal(parse(text, NULL, &config, &err), -EINVAL);
	assert_string_equal(error_what(&err), what);
	assert_int_equal(error_exit_code(&err), EX_CONFIG);
	assert_null(config.mount.state_dir);
	assert_null(config.backends);
}

static void assert_mount_defaults(const struct config_mount *mount)
{
	assert_int_equal(mount->capture, CONFIG_CAPTURE_AUTO);
	assert_string_equal(mount->state_dir, "");
	assert_string_equal(mount->log_dir, "");
	assert_int_equal(mount->log_level, LOG_LEVEL_INFO);
	assert_int_equal(mount->log_retention_ms, 24 * 3600 * 1000);
	assert_int_equal(mount->log_max_size, 0);
	assert_int_equal(mount->log_file_size, 64 << 20);
	assert_int_equal(mount->shutdown_timeout_ms, 30000);
	assert_string_equal(mount->control_socket_dir, "");
}

static void an_empty_file_gives_the_defaults(void **state)
{
	struct config config CLEANUP_CONFIG = { 0 };
	struct config parsed CLEANUP_CONFIG = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;

	assert_int_equal(config_parse("", 0, "x", NULL, &config, &err), 0);
	assert_mount_defaults(&config.mount);
	assert_int_equal(config.n_databases, 0);
	assert_int_equal(config.n_backends, 0);
	assert_parses("# nothing\n\n  ; here\n[mount]\n[stream]\n", &parsed);
	assert_mount_defaults(&parsed.mount);
}

static void every_key_is_read(void **state)
{
	static const char text[] = "[mount]\n"
				   "capture = intercept\n"
				   "state_dir = /var/lib/x\n"
				   "log_dir = \"/var/log/x # y\"\n"
				   "log_level=debug\n"
				   "log_retention = 7d\n"
				   "  log_max_size = 2GiB  \n"
				   "log_file_size = 1MiB\n"
				   "shutdown_timeout = 0s\n"
				   "control_socket_dir = '/run/a\"b'\n"
				   "[database.caches]\n"
				   "path = cache/**\n"
				   "replicate = no\n"
				   "[backend.nas]\n"
				   "url = file:///nas\n"
				   "sync_interval = 10ms\n"
				   "snapshot_interval = 1h\n"
				   "databases = app.db , tenants/**\n"
				   "compression_level = 19\n"
				   "retry_max = 5min\n";
	struct config config CLEANUP_CONFIG = { 0 };
	const struct config_backend *backend;

	assert_parses(text, &config);
	assert_int_equal(config.mount.capture, CONFIG_CAPTURE_INTERCEPT);
	assert_string_equal(config.mount.state_dir, "/var/lib/x");
	assert_string_equal(config.mount.log_dir, "/var/log/x # y");
	assert_int_equal(config.mount.log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(config.mount.log_retention_ms, 7 * 86400 * 1000);
	assert_int_equal(config.mount.log_max_size, 2LL << 30);
	assert_int_equal(config.mount.log_file_size, 1 << 20);
	assert_int_equal(config.mount.shutdown_timeout_ms, 0);
	assert_string_equal(config.mount.control_socket_dir, "/run/a\"b");
	assert_int_equal(config.n_databases, 1);
	assert_string_equal(config.databases[0].name, "caches");
	assert_string_equal(config.databases[0].path, "cache/**");
	assert_false(config.databases[0].replicate);
	assert_int_equal(config.n_backends, 1);
	backend = &config.backends[0];
	assert_string_equal(backend->name, "nas");
	assert_string_equal(backend->url, "file:///nas");
	assert_int_equal(backend->sync_interval_ms, 10);
	assert_int_equal(backend->snapshot_interval_ms, 3600000);
	assert_int_equal(backend->databases.n_patterns, 2);
	assert_string_equal(backend->databases.patterns[0], "app.db");
	assert_string_equal(backend->databases.patterns[1], "tenants/**");
	assert_int_equal(backend->compression_level, 19);
	assert_int_equal(backend->retry_max_ms, 300000);
}

static void a_named_section_has_the_defaults_too(void **state)
{
	struct config config CLEANUP_CONFIG = { 0 };

	assert_parses("[backend.a]\nurl=/b\n[database.d]\npath=*\n", &config);
	assert_int_equal(config.backends[0].sync_interval_ms, 1000);
	assert_int_equal(config.backends[0].snapshot_interval_ms, 86400000);
	assert_int_equal(config.backends[0].compression_level, 3);
	assert_int_equal(config.backends[0].retry_max_ms, 30000);
	assert_int_equal(config.backends[0].databases.n_patterns, 1);
	assert_string_equal(config.backends[0].databases.patterns[0], "**");
	assert_true(config.databases[0].replicate);
}

static void sections_keep_their_order_and_case_does_not_count(void **state)
{
	struct config config CLEANUP_CONFIG = { 0 };

	assert_parses("[Backend.Zeta]\nURL = /Z\n[MOUNT]\n[backend.alpha_1-x]\nUrl=/a",
		      &config);
	assert_int_equal(config.n_backends, 2);
	assert_string_equal(config.backends[0].name, "Zeta");
	assert_string_equal(config.backends[0].url, "/Z");
	assert_string_equal(config.backends[1].name, "alpha_1-x");
}

static void line_ends_and_byte_order_marks_of_other_systems_are_fine(void **state)
{
	struct config config CLEANUP_CONFIG = { 0 };

	assert_parses("\xef\xbb\xbf[mount]\r\nlog_level = warn\r\n", &config);
	assert_int_equal(config.mount.log_level, LOG_LEVEL_WARN);
}

static void quotes_are_taken_off(void **state)
{
	struct config config CLEANUP_CONFIG = { 0 };

	assert_parses("[mount]\n"
		      "state_dir = \"\"\n"
		      "log_dir = '/a b'  # what follows is a comment\n"
		      "control_socket_dir =\n"
		      "[backend.a]\n"
		      "url = \"/a=b;c\" ; this too\n",
		      &config);
	assert_string_equal(config.mount.state_dir, "");
	assert_string_equal(config.mount.log_dir, "/a b");
	assert_string_equal(config.mount.control_socket_dir, "");
	assert_string_equal(config.backends[0].url, "/a=b;c");
}

static void what_iniparser_would_lose_is_refused(void **state)
{
	assert_refused("[backend.a]\nurl = s3://b/#x\n",
		       "x.ini:2: the value has an unquoted '#', everything after it would be "
		       "lost");
	assert_refused("[mount]\nlog_level = info ; or debug\n",
		       "x.ini:2: the value has an unquoted ';', everything after it would be "
		       "lost");
	assert_refused("[mount]\nlog_dir = \"/a\n", "x.ini:2: the value's quote is not closed");
	assert_refused("[mount]\nlog_dir = '/a\"\n", "x.ini:2: the value's quote is not closed");
	assert_refused("[mount]\nlog_dir = \"\n", "x.ini:2: the value's quote is not closed");
	assert_refused("[mount]\nlog_dir = \"/a\" b\n",
		       "x.ini:2: there is something behind the value's quotes");
	assert_refused("[mount]\nlog_dir = \"/a\\b\"\n",
		       "x.ini:2: the value has a backslash between quotes");
	assert_refused("[mount]\n# c \\\nlog_level = warn\n",
		       "x.ini:2: a backslash at its end would join the line with the next one");
	assert_refused("[mount]\nlog_dir = /a\\ \r\n",
		       "x.ini:2: a backslash at its end would join the line with the next one");
	assert_refused("log_level = warn\n", "x.ini:1: the key stands before any section");
	assert_refused("\n[mount] # c\n", "x.ini:2: there is something behind the section's ']'");
	assert_refused("[mount\n", "x.ini:1: the section's name has no ']'");
	assert_refused("[mount]\nlog_level\n", "x.ini:2: the line is neither a [section], nor "
					       "key = value, nor a comment");
	assert_refused("[mount]\n= warn\n", "x.ini:2: there is no key in front of the '='");
	assert_refused("[mount]\nlog_dir = /a\x01\n",
		       "x.ini:2: the line holds the control character 0x01");
	assert_refused("[mount]\vlog_dir = /a\n",
		       "x.ini:1: the line holds the control character 0x0b");
	assert_refused("[mount]\nlog\tdir = /a\n", "x.ini:2: there is a tab inside the name");
	assert_refused("[backend.\ta]\n", "x.ini:1: there is a tab inside the name");
	assert_refused("[mount]\nlog_dir = '/a\tb' # c\td\n",
		       "x.ini:2: log_dir in [mount]: the value holds the control character 0x09");
	assert_refused("[mount]\n#\x1b[2J\n",
		       "x.ini:2: the line holds the control character 0x1b");
	assert_refused("[mount]\rlog_level = x\n",
		       "x.ini:1: the line holds the control character 0x0d");
}

static void a_nul_byte_is_refused(void **state)
{
	static const char text[] = "[mount]\nlog_dir = /a\0b\n";
	struct config config CLEANUP_CONFIG = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;

	assert_int_equal(config_parse(text, sizeof(text) - 1, "x.ini", NULL, &config, &err),
			 -EINVAL);
	assert_string_equal(error_what(&err), "x.ini:2: the line holds the control character 0x00");
}

static void long_lines_and_large_files_are_refused(void **state)
{
	struct buf text CLEANUP_BUF = { 0 };
	struct config config CLEANUP_CONFIG = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;
	size_t begin;

	assert_int_equal(buf_printf(&text, "[mount]\nstate_dir = /"), 0);
	begin = text.len;
	while (text.len < 8 + 1000)
		assert_int_equal(buf_append(&text, "a", 1), 0);
	assert_parses(buf_str(&text), &config);
	assert_int_equal(strlen(config.mount.state_dir), text.len - begin + 1);
	config_done(&config);
	assert_int_equal(buf_append(&text, "a", 1), 0);
	assert_refused(buf_str(&text), "x.ini:2: the line is longer than 1000 bytes");
	buf_reset(&text);
	while (text.len < CONFIG_FILE_MAX)
		assert_int_equal(buf_append(&text, "#234567\n", 8), 0);
	assert_parses(buf_str(&text), &config);
	config_done(&config);
	assert_int_equal(buf_append(&text, "\n", 1), 0);
	assert_int_equal(parse(buf_str(&text), NULL, &config, &err), -EINVAL);
}

static void unknown_names_are_refused_with_a_suggestion(void **state)
{
	assert_refused("[mount]\n\nloglevel = info\n",
		       "x.ini:3: unknown key 'loglevel' in [mount]; did you mean 'log_level'?");
	assert_refused("[backend.s3]\nurl = /a\nsync_intervall = 1s\n",
		       "x.ini:3: unknown key 'sync_intervall' in [backend.s3]; did you mean "
		       "'sync_interval'?");
	assert_refused("[mount]\npath = x\n", "x.ini:2: unknown key 'path' in [mount]");
	assert_refused("[mounts]\n", "x.ini:1: unknown section [mounts]; did you mean [mount]?");
	assert_refused("[bakend.s3]\n", "x.ini:1: unknown section [bakend.s3]; did you mean "
					"[backend.NAME]?");
	assert_refused("[backend:s3]\n", "x.ini:1: unknown section [backend:s3]; did you mean "
					 "[backend.NAME]?");
	assert_refused("[]\n", "x.ini:1: unknown section []");
	assert_refused("[something]\n", "x.ini:1: unknown section [something]");
	assert_refused("[stream]\nport = 1\n",
		       "x.ini:2: 'port' in [stream] is not supported by this version");
}

static void names_of_sections_are_checked(void **state)
{
	char text[100];

	assert_refused("[backend]\n", "x.ini:1: [backend] has no name");
	assert_refused("[mount.x]\n", "x.ini:1: [mount] takes no name");
	assert_refused("[backend.]\n", "x.ini:1: '' cannot be the name of a backend");
	assert_refused("[backend.a b]\n", "x.ini:1: 'a b' cannot be the name of a backend");
	assert_refused("[database.a.b]\n", "x.ini:1: 'a.b' cannot be the name of a database");
	snprintf(text, sizeof(text), "[backend.%065d]\nurl=/a", 1);
	assert_refused(text, "x.ini:1: '00000000000000000000000000000000000000000000000000000000"
			     "000000001' cannot be the name of a backend");
}

static void what_is_there_twice_is_refused_with_both_lines(void **state)
{
	static const char *const texts[] = {
		"[mount]\nlog_level = info\nLOG_LEVEL = info\n",
		"[backend.a]\nurl = /a\n[backend.A]\nurl = /b\n",
		"[mount]\n[stream]\n[mount]\n",
		"[database.a-b]\npath=*\n[database.a_B]\npath=*\n",
	};
	static const char *const lines[] = { "line 2", "line 1", "line 1", "line 1" };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct config config CLEANUP_CONFIG = { 0 };
		struct error err CLEANUP_ERROR = ERROR_INIT;

		assert_int_equal(parse(texts[i], NULL, &config, &err), -EINVAL);
		assert_non_null(strstr(error_what(&err), "x.ini:3: "));
		assert_non_null(strstr(error_what(&err), "is there twice"));
		assert_non_null(strstr(err.why, lines[i]));
	}
}

static void bad_values_are_refused_with_line_key_and_what_is_allowed(void **state)
{
	struct config config CLEANUP_CONFIG = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;

	assert_int_equal(parse("[backend.a]\nurl=/a\n\nsync_interval = 10\n",
			       NULL, &config, &err),
			 -EINVAL);
	assert_string_equal(error_what(&err), "x.ini:4: sync_interval in [backend.a]: '10' is "
					      "not a duration: it has no unit");
	assert_string_equal(err.why, "sync_interval takes 10ms to 1h");
	assert_refused("[backend.a]\nurl=/a\nsync_interval = 9ms\n",
		       "x.ini:3: sync_interval in [backend.a]: 9ms is too little");
	assert_refused("[backend.a]\nurl=/a\nsync_interval = 2h\n",
		       "x.ini:3: sync_interval in [backend.a]: 2h is too much");
	assert_refused("[backend.a]\nurl=/a\ncompression_level = 20\n",
		       "x.ini:3: compression_level in [backend.a]: 20 is too much");
	assert_refused("[backend.a]\nurl = relative\n",
		       "x.ini:2: url in [backend.a]: the URL has no scheme");
	assert_refused("[backend.a]\nurl=/a\ndatabases = a,,b\n",
		       "x.ini:3: databases in [backend.a]: the pattern is empty");
	assert_refused("[database.a]\npath = /abs\n",
		       "x.ini:2: path in [database.a]: the pattern '/abs' cannot "
		       "match any database");
	assert_refused("[database.a]\npath = *\nreplicate = true\n",
		       "x.ini:3: replicate in [database.a]: 'true' is not one of no or yes");
	assert_refused("[mount]\nstate_dir = x\n",
		       "x.ini:2: state_dir in [mount]: 'x' is not an absolute path");
	assert_refused("[mount]\nlog_level = verbose\n",
		       "x.ini:2: log_level in [mount]: 'verbose' is not one of "
		       "error, warn, info or debug");
	assert_refused("[mount]\nlog_file_size = 2GiB\n",
		       "x.ini:2: log_file_size in [mount]: 2GiB is too much");
	assert_refused("[mount]\nlog_max_size = automatic\n",
		       "x.ini:2: log_max_size in [mount]: 'automatic' is not a size: it does not "
		       "begin with a digit");
	assert_refused("[mount]\nlog_max_size = 2MiB\n",
		       "x.ini:2: log_max_size in [mount]: 2097152 bytes is less than "
		       "one file of the log takes");
}

static void a_section_without_its_required_key_is_refused(void **state)
{
	assert_refused("\n[backend.s3]\nsync_interval = 1s\n", "x.ini:2: [backend.s3] has no url");
	assert_refused("[database.d]\n", "x.ini:1: [database.d] has no path");
	assert_refused("[backend.s3]\nurl =\n", "x.ini:2: url in [backend.s3]: the URL is empty");
}

static void too_many_sections_are_refused(void **state)
{
	struct buf text CLEANUP_BUF = { 0 };
	struct config config CLEANUP_CONFIG = { 0 };

	assert_int_equal(buf_printf(&text, "[mount]\n"), 0);
	for (int i = 1; i < CONFIG_SECTIONS_MAX; i++)
		assert_int_equal(buf_printf(&text, "[database.d%d]\npath = %d\n", i, i), 0);
	assert_parses(buf_str(&text), &config);
	assert_int_equal(config.n_databases, CONFIG_SECTIONS_MAX - 1);
	assert_int_equal(buf_printf(&text, "[stream]\n"), 0);
	assert_refused(buf_str(&text), "x.ini: more than 1000 sections");
}

static void variables_in_the_file_are_expanded(void **state)
{
	static const char *const env[] = { "BUCKET=b#;\"x", NULL };
	struct config config CLEANUP_CONFIG = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;

	assert_int_equal(parse("[backend.a]\nurl = s3://${BUCKET}/p\n", env, &config, &err), 0);
	assert_string_equal(config.backends[0].url, "s3://b#;\"x/p");
	config_done(&config);
	assert_int_equal(parse("[backend.a]\nurl = s3://${OTHER}/p\n", env, &config, &err),
			 -EINVAL);
	assert_string_equal(error_what(&err), "x.ini:2: url in [backend.a]: ${OTHER} is not set");
}

static void the_first_matching_section_decides_about_a_database(void **state)
{
	struct config config CLEANUP_CONFIG = { 0 };

	assert_parses("[database.one]\npath = cache/keep.db\n"
		      "[database.two]\npath = cache/**\nreplicate = no\n"
		      "[backend.a]\nurl = /a\ndatabases = app.db, t/*\n",
		      &config);
	assert_string_equal(config_find_database(&config, "cache/keep.db")->name, "one");
	assert_string_equal(config_find_database(&config, "cache/x.db")->name, "two");
	assert_null(config_find_database(&config, "app.db"));
	assert_true(config_backend_takes(&config.backends[0], "app.db"));
	assert_true(config_backend_takes(&config.backends[0], "t/1"));
	assert_false(config_backend_takes(&config.backends[0], "t/1/2"));
}

static void backends_of_the_command_line_get_names_of_their_own(void **state)
{
	struct config config CLEANUP_CONFIG = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;

	assert_parses("[backend.Backup]\nurl = /a\n", &config);
	assert_int_equal(config_add_backend_url(&config, "file:///b", &err), 0);
	assert_int_equal(config_add_backend_url(&config, "file:///c", &err), 0);
	assert_int_equal(config.n_backends, 3);
	assert_string_equal(config.backends[1].name, "backup2");
	assert_string_equal(config.backends[2].name, "backup3");
	assert_string_equal(config.backends[2].url, "file:///c");
	assert_int_equal(config.backends[2].sync_interval_ms, 1000);
	assert_int_equal(config_add_backend_url(&config, "file:///b", &err), -EINVAL);
	assert_int_equal(error_exit_code(&err), EX_CONFIG);
	assert_int_equal(config_add_backend_url(&config, "nowhere", &err), -EINVAL);
	assert_int_equal(config.n_backends, 3);
}

static void the_default_configuration_takes_a_backend(void **state)
{
	struct config config CLEANUP_CONFIG = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;

	assert_int_equal(config_parse("", 0, "x", NULL, &config, &err), 0);
	assert_int_equal(config_add_backend_url(&config, "/b", &err), 0);
	assert_string_equal(config.backends[0].name, "backup");
	config_done(&config);
	assert_int_equal(config.n_backends, 0);
	config_done(NULL);
}

static void a_file_is_loaded_with_its_name_in_messages(void **state)
{
	struct unit_folder *folder = *state;
	struct config config CLEANUP_CONFIG = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;
	char *path CLEANUP_FREE = NULL;
	char *what CLEANUP_FREE = NULL;
	static const char good[] = "[mount]\nlog_level = warn\n";
	static const char bad[] = "[mount]\nlog_level = x\n";

	assert_true(asprintf(&path, "%s/a.ini", folder->path) > 0);
	assert_int_equal(config_load(path, &config, &err), -ENOENT);
	assert_int_equal(error_exit_code(&err), EX_CONFIG);
	assert_non_null(strstr(error_what(&err), path));
	assert_non_null(err.fix);
	assert_int_equal(file_replace(folder->fd, "a.ini", good, strlen(good), 0600, &err), 0);
	assert_int_equal(config_load(path, &config, &err), 0);
	assert_int_equal(config.mount.log_level, LOG_LEVEL_WARN);
	config_done(&config);
	assert_int_equal(file_replace(folder->fd, "a.ini", bad, strlen(bad), 0600, &err), 0);
	assert_int_equal(config_load(path, &config, &err), -EINVAL);
	assert_true(asprintf(&what, "%s:2: log_level in [mount]: ", path) > 0);
	assert_ptr_equal(strstr(error_what(&err), what), error_what(&err));
	assert_int_equal(config_load(folder->path, &config, &err), -EINVAL);
	assert_int_equal(error_exit_code(&err), EX_CONFIG);
}

static void docs_config_md_is_what_the_table_says(void **state)
{
	const char *root = getenv("SOURCE_ROOT");
	struct buf in_tree CLEANUP_BUF = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;
	char *path CLEANUP_FREE = NULL;
	char *printed CLEANUP_FREE = NULL;
	size_t len;
	FILE *out;

	if (root == NULL) {
		print_message("SOURCE_ROOT is not set: run by meson test\n");
		skip();
	}
	assert_true(asprintf(&path, "%s/docs/config.md", root) > 0);
	if (file_read_all(AT_FDCWD, path, 1 << 20, &in_tree, &err) < 0)
		fail_msg("%s", error_what(&err));
	out = open_memstream(&printed, &len);
	assert_non_null(out);
	config_print_docs(out);
	fclose(out);
	if (strcmp(printed, buf_str(&in_tree)) != 0)
		fail_msg("docs/config.md is not what config_print_docs() writes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_file_gives_the_defaults),
		cmocka_unit_test(every_key_is_read),
		cmocka_unit_test(a_named_section_has_the_defaults_too),
		cmocka_unit_test(sections_keep_their_order_and_case_does_not_count),
		cmocka_unit_test(line_ends_and_byte_order_marks_of_other_systems_are_fine),
		cmocka_unit_test(quotes_are_taken_off),
		cmocka_unit_test(what_iniparser_would_lose_is_refused),
		cmocka_unit_test(a_nul_byte_is_refused),
		cmocka_unit_test(long_lines_and_large_files_are_refused),
		cmocka_unit_test(unknown_names_are_refused_with_a_suggestion),
		cmocka_unit_test(names_of_sections_are_checked),
		cmocka_unit_test(what_is_there_twice_is_refused_with_both_lines),
		cmocka_unit_test(bad_values_are_refused_with_line_key_and_what_is_allowed),
		cmocka_unit_test(a_section_without_its_required_key_is_refused),
		cmocka_unit_test(too_many_sections_are_refused),
		cmocka_unit_test(variables_in_the_file_are_expanded),
		cmocka_unit_test(the_first_matching_section_decides_about_a_database),
		cmocka_unit_test(backends_of_the_command_line_get_names_of_their_own),
		cmocka_unit_test(the_default_configuration_takes_a_backend),
		UNIT_TEST_IN_FOLDER(a_file_is_loaded_with_its_name_in_messages),
		cmocka_unit_test(docs_config_md_is_what_the_table_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
