/* SPDX-License-Identifier: MIT */
#ifndef APP_CONFIG_READ_H
#define APP_CONFIG_READ_H

#include "app/config_draft.h"

/*
 * Reads the text of a configuration file into draft, expanding ${NAME} from env:
 * every section and key is known and there once, no value is looked at yet.
 * 0 or -errno.
 */
int config_read(struct config_draft *draft, const char *text, size_t len,
		const char *const *env, struct error *err) MUST_CHECK;

/*
 * Lays the variables REPLITEDFS_… of env over draft. 0 or -errno. Which sections
 * a variable can define, and which are left alone, stands in config_env.c.
 */
int config_env_apply(struct config_draft *draft, const char *const *env,
		     struct error *err) MUST_CHECK;

#endif
