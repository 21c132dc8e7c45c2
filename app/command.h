/* SPDX-License-Identifier: MIT */
#ifndef APP_COMMAND_H
#define APP_COMMAND_H

#include "base/error.h"

#include <stdbool.h>

/*
 * The commands of the program. Each gets its arguments with its own name as
 * argv[0], reports its errors itself, and returns the exit code (sysexits(3)).
 */
struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *arguments; /* for the usage line */
	const char *summary;   /* one line for `replitedfs help` */
	const char *options;   /* lines for `replitedfs COMMAND --help`; may be NULL */
};

int command_mount(int argc, char **argv);
int command_restore(int argc, char **argv);
int command_list(int argc, char **argv);
int command_verify(int argc, char **argv);
int command_status(int argc, char **argv);
int command_config(int argc, char **argv);

extern const struct command command_table[];
extern const size_t command_n;

/* The table's row for a command; NULL when there is none. */
const struct command *command_find(const char *name);

/*
 * An option of a command: --name, or --name VALUE (also --name=VALUE) when value
 * is given; short_name is 0 or a letter for -x. Exactly one of flag, value and
 * each is given.
 */
struct option_spec {
	const char *name;
	char short_name;
	bool *flag;
	const char **value;
	/* Called for every occurrence of an option that may be repeated. */
	int (*each)(void *arg, const char *value, struct error *err);
	void *arg;
};

/*
 * Reads argv by the n specs; what is no option is left, in order, in argv[1 …
 * *ret_n_rest]. "--" ends the options. 0; 1: --help was asked for and printed;
 * -EINVAL with exit code 64.
 */
int command_parse(int argc, char **argv, const struct option_spec *specs, size_t n,
		  int *ret_n_rest, struct error *err) MUST_CHECK;

struct json_t;
struct buf;

/* Prints json on stdout as it is, or as print makes it for people. 0 or -ENOMEM. */
int command_print(const struct json_t *json, bool as_json,
		  int (*print)(const struct json_t *json, struct buf *out),
		  struct error *err) MUST_CHECK;

/* Prints err as text, or as JSON; returns its exit code. */
int command_fail(const struct error *err, bool json);

#endif
