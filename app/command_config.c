/* SPDX-License-Identifier: MIT */
#include "app/command.h"
#include "app/config.h"

int command_config(int argc, char **argv)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct config config CLEANUP_CONFIG = { 0 };
	bool docs = false;
	const struct option_spec specs[] = {
		{ .name = "docs", .flag = &docs },
	};
	int n_rest;
	int r = command_parse(argc, argv, specs, ARRAY_LEN(specs), &n_rest, &err);

	if (r > 0)
		return 0;
	if (r == 0 && docs) {
		config_print_docs(stdout);
		return 0;
	}
	if (r == 0)
		r = config_load(n_rest > 0 ? argv[1] : NULL, &config, &err);
	if (r < 0)
		return command_fail(&err, false);
	printf("The configuration is valid: %zu backends, %zu [database] sections.\n",
	       config.n_backends, config.n_databases);
	return 0;
}
