/* SPDX-License-Identifier: MIT */
#include "base/hook.h"

#include <stdlib.h>
#include <string.h>

bool hook_enabled(const char *name)
{
	const char *at = getenv("REPLITEDFS_TEST_HOOKS");
	size_t len = strlen(name);

	while (at != NULL && *at != '\0') {
		if (strncmp(at, name, len) == 0 && (at[len] == ',' || at[len] == '\0'))
			return true;
		at = strchr(at, ',');
		if (at != NULL)
			at++;
	}
	return false;
}
