/* SPDX-License-Identifier: MIT */
#include "app/command.h"

#include "app/report.h"
#include "app/suggest.h"
#include "base/buf.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sysexits.h>

const struct command command_table[] = {
	{ "mount", command_mount, "[OPTION]… DIR",
	  "serve the databases of a folder, capturing every transaction",
	  "  --backup URL        ship to this backend too (a folder: /path or file:///path);\n"
	  "                      may be repeated\n"
	  "  --backing DIR       serve this folder at DIR, instead of DIR itself\n"
	  "  --config FILE       read this configuration, not /etc/replitedfs.ini\n"
	  "  --foreground        stay in the foreground, log to the terminal\n"
	  "  -o OPTIONS          mount options: allow_other, noexec, noatime, …\n" },
	{ "restore", command_restore, "[OPTION]… --output FILE|DIR",
	  "rebuild a database as of any of its transactions",
	  "  --from URL|DIR      a backend, or a mount or folder with its log (default: .)\n"
	  "  --db NAME           the database; not needed when there is only one\n"
	  "  --all               every database, into the folder given by --output\n"
	  "  --output FILE|DIR   where to; never overwritten without --force\n"
	  "  --txid [GEN:]N      as of this transaction\n"
	  "  --at TIME           as of the last transaction at or before this time:\n"
	  "                      2026-01-31T10:00:00Z or '10 min ago'\n"
	  "  --force             overwrite the output\n"
	  "  --json              print the result as JSON\n" },
	{ "list", command_list, "[--db NAME] [--json] [--from] URL|DIR",
	  "show what a backend or a mount's log holds",
	  "  --db NAME           only this database\n"
	  "  --json              print JSON\n" },
	{ "verify", command_verify, "[OPTION]… [--from] URL|DIR",
	  "prove that what is stored restores",
	  "  --db NAME           only this database (default: all)\n"
	  "  --txid [GEN:]N      as of this transaction\n"
	  "  --at TIME           as of this time\n"
	  "  --scratch DIR       where to restore to for the test (default: $TMPDIR or /var/tmp)\n"
	  "  --json              print the result as JSON\n" },
	{ "status", command_status, "[--json] [DIR]", "show how a mount is doing",
	  "  --json              print JSON\n" },
	{ "config", command_config, "[--docs] [FILE]", "check a configuration",
	  "  --docs              print what docs/config.md says\n" },
};
const size_t command_n = ARRAY_LEN(command_table);

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < command_n; i++) {
		if (strcmp(command_table[i].name, name) == 0)
			return &command_table[i];
	}
	return NULL;
}

static void print_help(const char *name)
{
	const struct command *command = command_find(name);

	printf("Usage: replitedfs %s %s\n\n%c%s.\n", command->name, command->arguments,
	       command->summary[0] - 'a' + 'A', command->summary + 1);
	if (command->options != NULL)
		printf("\n%s", command->options);
}

static int usage_error(const char *command, struct error *err)
{
	error_exit(err, EX_USAGE);
	return error_fix(err, "replitedfs %s --help", command);
}

static int unknown_option(const char *command, const char *word, const struct option_spec *specs,
			  size_t n, struct error *err)
{
	const char **names CLEANUP_FREE = calloc(n + 1, sizeof(*names));
	const char *guess = NULL;

	for (size_t i = 0; names != NULL && i < n; i++)
		names[i] = specs[i].name;
	if (names != NULL)
		guess = suggest_word(word + strspn(word, "-"), names, n);
	error_set(err, EINVAL, "%s: unknown option %s", command, word);
	if (guess != NULL)
		error_why(err, "did you mean --%s?", guess);
	return usage_error(command, err);
}

/* The spec that word names; *ret_value is what stands behind a '=', or NULL. */
static const struct option_spec *find_spec(const char *word, const struct option_spec *specs,
					   size_t n, const char **ret_value)
{
	*ret_value = NULL;
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(specs[i].name);

		if (word[1] != '-') {
			if (specs[i].short_name != word[1] || word[1] == '\0')
				continue;
			*ret_value = word[2] != '\0' ? word + 2 : NULL;
			return &specs[i];
		}
		if (strncmp(word + 2, specs[i].name, len) != 0 ||
		    (word[2 + len] != '\0' && word[2 + len] != '='))
			continue;
		*ret_value = word[2 + len] == '=' ? word + 2 + len + 1 : NULL;
		return &specs[i];
	}
	return NULL;
}

static int take_option(const char *command, char **argv, int argc, int *at,
		       const struct option_spec *specs, size_t n, struct error *err)
{
	const char *word = argv[*at];
	const char *value;
	const struct option_spec *spec = find_spec(word, specs, n, &value);

	if (spec == NULL)
		return unknown_option(command, word, specs, n, err);
	if (spec->flag != NULL) {
		if (value != NULL) {
			error_set(err, EINVAL, "%s: --%s takes no value", command, spec->name);
			return usage_error(command, err);
		}
		*spec->flag = true;
		return 0;
	}
	if (value == NULL && *at + 1 < argc)
		value = argv[++*at];
	if (value == NULL) {
		error_set(err, EINVAL, "%s: --%s needs a value", command, spec->name);
		return usage_error(command, err);
	}
	if (spec->each != NULL)
		return spec->each(spec->arg, value, err);
	*spec->value = value;
	return 0;
}

int command_parse(int argc, char **argv, const struct option_spec *specs, size_t n,
		  int *ret_n_rest, struct error *err)
{
	bool options = true;
	int rest = 0;

	for (int i = 1; i < argc; i++) {
		int r;

		if (options && strcmp(argv[i], "--") == 0) {
			options = false;
			continue;
		}
		if (!options || argv[i][0] != '-' || argv[i][1] == '\0') {
			argv[++rest] = argv[i];
			continue;
		}
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			print_help(argv[0]);
			return 1;
		}
		r = take_option(argv[0], argv, argc, &i, specs, n, err);
		if (r < 0)
			return r;
	}
	*ret_n_rest = rest;
	return 0;
}

int command_print(const json_t *json, bool as_json,
		  int (*print)(const json_t *json, struct buf *out), struct error *err)
{
	struct buf text CLEANUP_BUF = { 0 };

	if (as_json) {
		json_dumpf(json, stdout, JSON_INDENT(2));
		printf("\n");
		return 0;
	}
	if (print(json, &text) < 0)
		return error_set(err, ENOMEM, "out of memory");
	fwrite(text.data, 1, text.len, stdout);
	return 0;
}

int command_fail(const struct error *err, bool json)
{
	if (json && report_json_error(stdout, err) == 0)
		return error_exit_code(err);
	return report_exit(err);
}
