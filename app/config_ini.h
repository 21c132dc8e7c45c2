/* SPDX-License-Identifier: MIT */
#ifndef APP_CONFIG_INI_H
#define APP_CONFIG_INI_H

#include "base/error.h"

#include <stddef.h>

/* The values of an INI text, by iniparser. */
struct config_ini;

/*
 * Reads text, which config_scan has let pass (iniparser does not report what it
 * does not understand). 0 or -errno.
 */
int config_ini_load(const char *text, size_t len, struct config_ini **ret_ini,
		    struct error *err) MUST_CHECK;

/* How many sections and keys it has found. */
size_t config_ini_count(const struct config_ini *ini);

/*
 * The value of a key of a section, both in lower case; NULL when there is none.
 * Belongs to ini.
 */
const char *config_ini_get(const struct config_ini *ini, const char *section,
			   const char *key);

void config_ini_free(struct config_ini *ini);
static inline void config_ini_cleanup(struct config_ini **ini)
{
	config_ini_free(*ini);
}

#endif
