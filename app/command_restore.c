/* SPDX-License-Identifier: MIT */
#include "app/command.h"
#include "app/moment.h"
#include "app/progress.h"
#include "app/report.h"
#include "app/source_all.h"
#include "app/source_restore.h"
#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

struct restore_command {
	const char *from;
	const char *db;
	const char *output;
	const char *txid;
	const char *at;
	bool all;
	bool force;
	bool json;
	struct config config;
	struct source source;
	struct restore_target target;
	struct progress progress;
	json_t *results; /* an array */
	int exit_code;	 /* of the first of all databases that failed; 0: none did */
};

static void restore_command_done(struct restore_command *command)
{
	progress_done(&command->progress);
	config_done(&command->config);
	source_close(&command->source);
	json_decref(command->results);
}

static int usage(struct error *err, const char *what)
{
	error_set(err, EINVAL, "restore: %s", what);
	error_fix(err, "replitedfs restore --from /backup --db app.db --output restored.db");
	return error_exit(err, EX_USAGE);
}

static int parse(struct restore_command *command, int argc, char **argv, struct error *err)
{
	const struct option_spec specs[] = {
		{ .name = "from", .value = &command->from },
		{ .name = "db", .value = &command->db },
		{ .name = "all", .flag = &command->all },
		{ .name = "output", .short_name = 'o', .value = &command->output },
		{ .name = "txid", .value = &command->txid },
		{ .name = "at", .value = &command->at },
		{ .name = "force", .flag = &command->force },
		{ .name = "json", .flag = &command->json },
	};
	int n_rest;
	int r = command_parse(argc, argv, specs, ARRAY_LEN(specs), &n_rest, err);

	if (r != 0)
		return r;
	if (n_rest > 1 || (n_rest == 1 && command->from != NULL))
		return usage(err, "one source at a time");
	if (n_rest == 1)
		command->from = argv[1];
	if (command->from == NULL)
		command->from = ".";
	if (command->output == NULL)
		return usage(err, "where to? --output is missing");
	if (command->all && (command->db != NULL || command->txid != NULL))
		return usage(err, "--all goes with --at only");
	return moment_parse(command->txid, command->at, &command->target, err);
}

static void show_progress(void *arg, uint64_t done, uint64_t total)
{
	struct restore_command *command = arg;

	progress_set_total(&command->progress, total);
	progress_update(&command->progress, done);
}

static void print_result(const char *name, const char *output,
			 const struct restore_result *result)
{
	struct buf size CLEANUP_BUF = { 0 };
	char position[MOMENT_TEXT_SIZE];
	char time_text[CLOCK_TEXT_SIZE];

	moment_format(&result->point.position, position);
	clock_format(result->point.time_us, time_text);
	if (progress_format_size(extent_bytes(result->point.extent), &size) < 0)
		buf_reset(&size);
	printf("%s: restored %s as of %s (%s), %.*s, checksum verified\n", output, name, position,
	       time_text, (int)size.len, (const char *)size.data);
	if (result->warning != NULL)
		printf("  warning: %s\n", result->warning);
}

/* Restores one database; name NULL: the only one. */
static int restore_one(struct restore_command *command, const char *name, const char *output,
		       struct error *err)
{
	struct restore_request request = {
		.target = command->target,
		.output = output,
		.force = command->force,
		.progress = show_progress,
		.arg = command,
	};
	struct restore_result result = { 0 };
	char *found CLEANUP_FREE = NULL;
	char *label CLEANUP_FREE = NULL;
	int r;

	if (asprintf(&label, "restoring %s", name != NULL ? name : output) < 0)
		label = NULL;
	progress_start(&command->progress, STDERR_FILENO, label, 0, 0);
	r = source_restore(&command->source, name, &request, &result, &found, err);
	progress_done(&command->progress);
	if (r == 0 && command->json)
		json_array_append_new(command->results,
				      moment_result_json(found, output, &result));
	else if (r == 0)
		print_result(found, output, &result);
	restore_result_done(&result);
	return r;
}

/* Into the folder given by --output, under its own name. */
static int restore_into(struct restore_command *command, const struct source_entry *entry,
			struct error *err)
{
	char *path CLEANUP_FREE = NULL;
	int r;

	if (asprintf(&path, "%s/%s", command->output, entry->name) < 0) {
		path = NULL;
		return error_set(err, ENOMEM, "out of memory");
	}
	r = source_make_parents(command->output, entry->name, err);
	return r < 0 ? r : restore_one(command, entry->key, path, err);
}

/* Whether entry belongs to the wanted moment. */
static bool is_wanted(const struct restore_command *command, const struct source_all *all,
		      const struct source_entry *entry)
{
	return command->at == NULL ? entry->end_us == INT64_MAX :
				     source_all_was(all, entry, command->target.time_us);
}

static void say_passed_over(const struct restore_command *command,
			    const struct source_entry *entry)
{
	char begin[CLOCK_TEXT_SIZE];

	if (command->at == NULL || entry->begin_us <= command->target.time_us)
		return;
	clock_format(entry->begin_us, begin);
	fprintf(stderr, "%s: passed over: what is kept of it begins at %s\n", entry->name, begin);
}

/* One after the other never goes over the one before, whatever --force says. */
static int check_name(const struct restore_command *command, const struct source_all *all,
		      size_t i, struct error *err)
{
	const struct source_entry *entry = &all->items[i];

	while (i-- > 0) {
		if (!is_wanted(command, all, &all->items[i]) ||
		    strcmp(all->items[i].name, entry->name) != 0)
			continue;
		error_set(err, EEXIST, "another database of that moment has the same name");
		return error_fix(err, "restore it alone: --db '%s'", entry->key);
	}
	return 0;
}

/* Without another moment: now, or the newest there is, by whatever clock that was. */
static int choose_moment(struct restore_command *command, const struct source_all *all,
			 struct error *err)
{
	struct restore_target *target = &command->target;
	int64_t newest_us;
	int r;

	if (target->kind != RESTORE_LATEST)
		return 0;
	r = source_all_newest(&command->source, all, &newest_us, err);
	*target = (struct restore_target){
		.kind = RESTORE_TIME,
		.time_us = MAX(clock_wall_us(), newest_us),
	};
	return r;
}

/* Goes on with the others: they may be all that is left. */
static void note_failure(struct restore_command *command, const char *name,
			 const struct error *err)
{
	int code = report_database(stderr, command->json ? command->results : NULL, name, err);

	if (command->exit_code == 0)
		command->exit_code = code;
}

/* Every database as of one and the same moment. */
static int restore_all(struct restore_command *command, struct error *err)
{
	struct source_all all CLEANUP(source_all_done) = { 0 };
	bool any = false;
	int r = source_all_list(&command->source, &all, err);

	if (r == 0)
		r = choose_moment(command, &all, err);
	for (size_t i = 0; r == 0 && i < all.n; i++) {
		CLEANUP_ERROR struct error problem = ERROR_INIT;

		say_passed_over(command, &all.items[i]);
		if (!is_wanted(command, &all, &all.items[i]))
			continue;
		any = true;
		if (check_name(command, &all, i, &problem) < 0 ||
		    restore_into(command, &all.items[i], &problem) < 0)
			note_failure(command, all.items[i].name, &problem);
	}
	if (r == 0 && !any)
		r = error_set(err, ENOENT, "%s holds no database of that moment", command->from);
	return r;
}

static int run(struct restore_command *command, struct error *err)
{
	int r = config_load(NULL, &command->config, err);

	if (r == 0)
		r = source_open(&command->source, command->from, &command->config, err);
	if (r < 0)
		return r;
	return command->all ? restore_all(command, err) :
			      restore_one(command, command->db, command->output, err);
}

int command_restore(int argc, char **argv)
{
	struct restore_command command CLEANUP(restore_command_done) = {
		.source = { .root_fd = -1, .lock_fd = -1, .state.fd = -1 },
		.results = json_array(),
	};
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int r = parse(&command, argc, argv, &err);

	if (r > 0)
		return 0;
	if (r == 0)
		r = run(&command, &err);
	if (r == 0 && command.json) {
		json_dumpf(command.all ? command.results : json_array_get(command.results, 0),
			   stdout, JSON_INDENT(2));
		printf("\n");
	}
	return r < 0 ? command_fail(&err, command.json) : command.exit_code;
}
