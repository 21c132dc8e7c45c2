/* SPDX-License-Identifier: MIT */
#include "app/command.h"
#include "app/control.h"
#include "app/status.h"

#include <errno.h>
#include <jansson.h>
#include <sysexits.h>

static int ask(const char *dir, json_t **ret_json, struct error *err)
{
	struct config config CLEANUP_CONFIG = { 0 };
	int r = config_load(NULL, &config, err);
	int fd CLEANUP_FD = -1;

	if (r < 0)
		return r;
	fd = control_reach(dir, config.mount.control_socket_dir, err);
	if (fd < 0)
		return fd;
	return control_call(fd, json_pack("{s:s}", "command", "status"), -1, ret_json, NULL, err);
}

int command_status(int argc, char **argv)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	bool as_json = false;
	const struct option_spec specs[] = {
		{ .name = "json", .flag = &as_json },
	};
	json_t *json = NULL;
	int n_rest;
	int r = command_parse(argc, argv, specs, ARRAY_LEN(specs), &n_rest, &err);

	if (r > 0)
		return 0;
	if (r == 0 && n_rest > 1) {
		error_set(&err, EINVAL, "status: one folder at a time");
		r = error_exit(&err, EX_USAGE);
	}
	if (r == 0)
		r = ask(n_rest == 1 ? argv[1] : ".", &json, &err);
	if (r == 0)
		r = command_print(json, as_json, status_print, &err);
	json_decref(json);
	return r < 0 ? command_fail(&err, as_json) : 0;
}
