/* SPDX-License-Identifier: MIT */
#include "app/command.h"
#include "app/moment.h"
#include "app/progress.h"
#include "app/report.h"
#include "app/source_all.h"
#include "app/source_restore.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <sysexits.h>

struct verify_command {
	const char *from;
	const char *db;
	const char *txid;
	const char *at;
	const char *scratch;
	bool json;
	struct config config;
	struct source source;
	struct restore_target target;
	struct progress progress;
	json_t *results; /* an array */
	unsigned n_failed;
	int exit_code; /* of the first failure */
};

static void verify_command_done(struct verify_command *command)
{
	progress_done(&command->progress);
	config_done(&command->config);
	source_close(&command->source);
	json_decref(command->results);
}

static int parse(struct verify_command *command, int argc, char **argv, struct error *err)
{
	const struct option_spec specs[] = {
		{ .name = "from", .value = &command->from },
		{ .name = "db", .value = &command->db },
		{ .name = "txid", .value = &command->txid },
		{ .name = "at", .value = &command->at },
		{ .name = "scratch", .value = &command->scratch },
		{ .name = "json", .flag = &command->json },
	};
	int n_rest = 0;
	int r = command_parse(argc, argv, specs, ARRAY_LEN(specs), &n_rest, err);

	if (r != 0)
		return r;
	if (n_rest + (command->from != NULL) != 1) {
		error_set(err, EINVAL, "verify: which backend or folder?");
		error_fix(err, "replitedfs verify /backup");
		return error_exit(err, EX_USAGE);
	}
	if (command->from == NULL)
		command->from = argv[1];
	if (command->scratch == NULL)
		command->scratch = getenv("TMPDIR");
	if (command->scratch == NULL)
		command->scratch = "/var/tmp";
	return moment_parse(command->txid, command->at, &command->target, err);
}

static void show_progress(void *arg, uint64_t done, uint64_t total)
{
	struct verify_command *command = arg;

	progress_set_total(&command->progress, total);
	progress_update(&command->progress, done);
}

static void report_failure(struct verify_command *command, const char *name,
			   const struct error *err)
{
	int code = report_database(stderr, command->json ? command->results : NULL, name, err);

	command->n_failed++;
	if (command->exit_code == 0)
		command->exit_code = code;
}

static void report_success(struct verify_command *command, const char *name,
			   const struct restore_result *result,
			   const struct integrity_report *report)
{
	const char *check = report->checked ? "ok" : "not checked: SQLite cannot read it";
	char position[MOMENT_TEXT_SIZE];
	json_t *json;

	moment_format(&result->point.position, position);
	if (!command->json) {
		printf("%s: ok at %s, checksum equal, integrity_check %s\n", name, position, check);
		return;
	}
	json = moment_result_json(name, NULL, result);
	json_object_set_new(json, "ok", json_true());
	json_object_set_new(json, "integrity_check", json_string(check));
	json_array_append_new(command->results, json);
}

/*
 * Verifies the database that key finds (NULL: the only one), and reports it as
 * name where it has no better one.
 */
static void verify_key(struct verify_command *command, const char *name, const char *key)
{
	struct restore_result result = { 0 };
	struct integrity_report report = { 0 };
	struct restore_request request = {
		.target = command->target,
		.progress = show_progress,
		.arg = command,
	};
	CLEANUP_ERROR struct error problem = ERROR_INIT;
	char *found CLEANUP_FREE = NULL;
	int r;

	progress_start(&command->progress, STDERR_FILENO, "verifying", 0, 0);
	r = source_verify(&command->source, key, &request, command->scratch, &result, &report,
			  &found, &problem);
	progress_done(&command->progress);
	if (found != NULL)
		name = found;
	if (r < 0)
		report_failure(command, name, &problem);
	else
		report_success(command, name, &result, &report);
	restore_result_done(&result);
	integrity_report_done(&report);
}

/* One after the other, whatever comes of each. */
static int verify_all(struct verify_command *command, struct error *err)
{
	struct source_all all CLEANUP(source_all_done) = { 0 };
	bool any = false;
	int r = source_all_list(&command->source, &all, err);

	for (size_t i = 0; r == 0 && i < all.n; i++) {
		if (all.items[i].end_us != INT64_MAX)
			continue;
		any = true;
		verify_key(command, all.items[i].name, all.items[i].key);
	}
	if (r < 0 || any)
		return r;
	error_set(err, ENOENT, "all databases of %s have ended", command->from);
	return error_fix(err, "name one by --db; list tells which there are");
}

static int run(struct verify_command *command, struct error *err)
{
	int r = config_load(NULL, &command->config, err);

	if (r == 0)
		r = source_open(&command->source, command->from, &command->config, err);
	if (r < 0)
		return r;
	if (command->db == NULL && command->txid == NULL)
		return verify_all(command, err);
	verify_key(command, command->db != NULL ? command->db : command->from, command->db);
	return 0;
}

static void print_json(const struct verify_command *command)
{
	json_t *json = json_pack("{s:b, s:O}", "ok", command->n_failed == 0, "databases",
				 command->results);

	json_dumpf(json, stdout, JSON_INDENT(2));
	printf("\n");
	json_decref(json);
}

int command_verify(int argc, char **argv)
{
	struct verify_command command CLEANUP(verify_command_done) = {
		.source = { .root_fd = -1, .lock_fd = -1, .state.fd = -1 },
		.results = json_array(),
	};
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int r = parse(&command, argc, argv, &err);

	if (r > 0)
		return 0;
	if (r == 0)
		r = run(&command, &err);
	if (r < 0)
		return command_fail(&err, command.json);
	if (command.json)
		print_json(&command);
	else if (json_array_size(command.results) == 0 && command.n_failed != 0)
		fprintf(stderr, "%u failed\n", command.n_failed);
	return command.n_failed == 0 ? 0 : command.exit_code;
}
