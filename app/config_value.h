/* SPDX-License-Identifier: MIT */
#ifndef APP_CONFIG_VALUE_H
#define APP_CONFIG_VALUE_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The strict readers of single values. Nothing is guessed: no blanks, no signs,
 * no leading zeros (010 is 8 to some readers and 10 to others), nothing behind
 * the value. Each returns 0, or -EINVAL with a sentence about the text; the
 * caller adds where it stands.
 */

#define CONFIG_VALUE_MAX 4096 /* bytes of a value, after expansion */

/* A whole number and a unit: ms, s, min, h or d. */
int config_value_duration(const char *text, int64_t *ret_ms, struct error *err) MUST_CHECK;

/* A whole number of bytes, or of kB, MB, GB, TB, KiB, MiB, GiB, TiB. */
int config_value_size(const char *text, int64_t *ret_bytes, struct error *err) MUST_CHECK;

/* A whole number. */
int config_value_integer(const char *text, int64_t *ret_value, struct error *err) MUST_CHECK;

/* The index of text in choices[n]. Also -ENOMEM. */
int config_value_choice(const char *text, const char *const *choices, size_t n,
			int *ret_index, struct error *err) MUST_CHECK;

/*
 * Whether text is a place for backups: scheme://… or an absolute path. A URL
 * may carry a secret, so the sentence never repeats it.
 */
int config_value_url(const char *text, struct error *err) MUST_CHECK;

/* Whether text is empty or an absolute path. */
int config_value_path(const char *text, struct error *err) MUST_CHECK;

/* Whether text has at most CONFIG_VALUE_MAX bytes and no control characters. */
int config_value_text(const char *text, struct error *err) MUST_CHECK;

/* Appends ms in the largest unit that holds it without a remainder. */
int config_value_format_duration(int64_t ms, struct buf *out) MUST_CHECK;
int config_value_format_size(int64_t bytes, struct buf *out) MUST_CHECK;

/*
 * Appends text to out with every ${NAME} replaced by its value in env
 * (NULL-terminated "NAME=value" strings; NULL: empty). "$${" stands for "${"
 * itself, any other '$' for itself, and what was put in is not looked at again.
 * 0; -EINVAL for a name that is no name, not closed or not set, or when out
 * grows beyond CONFIG_VALUE_MAX; -ENOMEM.
 */
int config_value_expand(const char *text, const char *const *env,
			struct buf *out, struct error *err) MUST_CHECK;

#endif
