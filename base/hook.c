/* SPDX-License-Identifier: MIT */
#include "base/hook.h"

#include <stdlib.h>
#include <string.h>

/* Where name stands in the list; NULL when it is not there. */
static const char *find(const char *name)
{
	const char *at = getenv("REPLITEDFS_TEST_HOOKS");
	size_t len = strlen(name);

	while (at != NULL && *at != '\0') {
		if (strncmp(at, name, len) == 0 && strchr(",=", at[len]) != NULL)
			return at + len;
		at = strchr(at, ',');
		if (at != NULL)
			at++;
	}
	return NULL;
}

bool hook_enabled(const char *name)
{
	return find(name) != NULL;
}

long hook_number(const char *name, long fallback)
{
	const char *at = find(name);
	char *end;
	long value;

	if (at == NULL || *at != '=')
		return fallback;
	value = strtol(at + 1, &end, 10);
	return end != at + 1 && strchr(",", *end) != NULL ? value : fallback;
}
