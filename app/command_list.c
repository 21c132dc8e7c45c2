/* SPDX-License-Identifier: MIT */
#include "app/command.h"
#include "app/listing.h"
#include "app/source.h"

#include <errno.h>
#include <jansson.h>
#include <sysexits.h>

static int usage(struct error *err)
{
	error_set(err, EINVAL, "list: which backend or folder?");
	error_fix(err, "replitedfs list /backup");
	return error_exit(err, EX_USAGE);
}

static int run(const char *from, const char *db, bool as_json, struct error *err)
{
	struct config config CLEANUP_CONFIG = { 0 };
	struct source source CLEANUP_SOURCE = { .root_fd = -1, .lock_fd = -1, .state.fd = -1 };
	json_t *json = NULL;
	int r = config_load(NULL, &config, err);

	if (r == 0)
		r = source_open(&source, from, &config, err);
	if (r == 0)
		r = listing_make(&source, db, &json, err);
	if (r == 0)
		r = command_print(json, as_json, listing_print, err);
	json_decref(json);
	return r;
}

int command_list(int argc, char **argv)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const char *from = NULL;
	const char *db = NULL;
	bool as_json = false;
	const struct option_spec specs[] = {
		{ .name = "from", .value = &from },
		{ .name = "db", .value = &db },
		{ .name = "json", .flag = &as_json },
	};
	int n_rest = 0;
	int r = command_parse(argc, argv, specs, ARRAY_LEN(specs), &n_rest, &err);

	if (r > 0)
		return 0;
	if (r == 0 && n_rest + (from != NULL) != 1)
		r = usage(&err);
	if (r == 0)
		r = run(from != NULL ? from : argv[1], db, as_json, &err);
	return r < 0 ? command_fail(&err, as_json) : 0;
}
