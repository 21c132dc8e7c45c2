/* SPDX-License-Identifier: MIT */
#ifndef BASE_GLOB_H
#define BASE_GLOB_H

#include "base/error.h"

#include <stdbool.h>

/*
 * Patterns for database names, which are paths relative to the mount:
 *
 *     ?        one byte, but no slash
 *     *        any run of bytes without a slash
 *     **       any run of bytes, slashes too; as a whole folder name it also
 *              stands for no folder at all: a/ ** /b (without the blanks)
 *              matches a/b
 *     [a-z]    one byte of the set, never a slash; [!a-z] and [^a-z]: one that
 *              is not in it; a backslash in a set is only itself
 *     \c       c itself
 *
 * A leading dot is a byte like any other. Matching works on bytes, whatever
 * the locale, and takes time proportional to pattern times path at worst.
 */

#define GLOB_LEN_MAX 1000 /* bytes of a pattern */

/*
 * Whether pattern is one: not empty, not too long, sets closed and ranges in
 * order, nothing missing after a backslash, and able to match a relative path
 * (no leading slash, no empty, "." or ".." component). 0, or -EINVAL.
 */
int glob_check(const char *pattern, struct error *err) MUST_CHECK;

/*
 * Whether pattern matches the whole of path. A pattern that glob_check()
 * refuses may match anything or nothing, but does no harm.
 */
bool glob_match(const char *pattern, const char *path) MUST_CHECK;

#endif
