/* SPDX-License-Identifier: MIT */
#include "app/command.h"
#include "app/report.h"
#include "app/suggest.h"

#include <errno.h>
#include <string.h>
#include <sysexits.h>

static void print_usage(FILE *out)
{
	fprintf(out, "Usage: replitedfs COMMAND [OPTION]…\n\n"
		     "A folder of SQLite databases, every transaction captured.\n\n");
	for (size_t i = 0; i < command_n; i++)
		fprintf(out, "  %-9s %s\n", command_table[i].name, command_table[i].summary);
	fprintf(out, "\nreplitedfs COMMAND --help says more. To stop a mount: fusermount3 -u DIR\n");
}

static int unknown_command(const char *name)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const char *names[16] = { 0 };
	const char *guess;

	for (size_t i = 0; i < command_n; i++)
		names[i] = command_table[i].name;
	error_set(&err, EINVAL, "unknown command '%s'", name);
	guess = suggest_word(name, names, command_n);
	if (guess != NULL)
		error_fix(&err, "replitedfs %s …", guess);
	else
		error_fix(&err, "replitedfs --help");
	error_exit(&err, EX_USAGE);
	return report_exit(&err);
}

int main(int argc, char **argv)
{
	const struct command *command;

	if (argc < 2) {
		print_usage(stderr);
		return EX_USAGE;
	}
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
	    strcmp(argv[1], "-h") == 0) {
		print_usage(stdout);
		return 0;
	}
	if (strcmp(argv[1], "version") == 0 || strcmp(argv[1], "--version") == 0) {
		printf("replitedfs %s\n", REPLITEDFS_VERSION);
		return 0;
	}
	command = command_find(argv[1]);
	return command != NULL ? command->run(argc - 1, argv + 1) : unknown_command(argv[1]);
}
