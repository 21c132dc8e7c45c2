/* SPDX-License-Identifier: MIT */
#ifndef BASE_HOOK_H
#define BASE_HOOK_H

#include <stdbool.h>

/*
 * Faults that a test asks for through the environment variable
 * REPLITEDFS_TEST_HOOKS, a comma-separated list of names, looked up in the
 * environment at every call. Without the variable nothing here has any effect.
 */

/* Whether name is in the list. */
bool hook_enabled(const char *name);

#endif
