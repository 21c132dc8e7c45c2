/* SPDX-License-Identifier: MIT */
#ifndef BASE_HOOK_H
#define BASE_HOOK_H

#include <stdbool.h>

/*
 * Faults that a test asks for through the environment variable
 * REPLITEDFS_TEST_HOOKS, a comma-separated list of names or name=value pairs,
 * looked up in the environment at every call. Without the variable nothing here
 * has any effect.
 */

/* Whether name is in the list. */
bool hook_enabled(const char *name);

/* The value of name=value, or fallback when it is absent or no number. */
long hook_number(const char *name, long fallback);

#endif
