/* SPDX-License-Identifier: MIT */
#ifndef APP_MOMENT_H
#define APP_MOMENT_H

#include "replicate/restore.h"

struct json_t;

/*
 * The moment that --txid and --at name: neither = the latest. txid is "N" or
 * "GEN:N" (GEN: 16 hex digits). 0, or -EINVAL with exit code 64.
 */
int moment_parse(const char *txid, const char *at, struct restore_target *ret_target,
		 struct error *err) MUST_CHECK;

/* "GEN:TXID" of a position, in text[MOMENT_TEXT_SIZE]. */
#define MOMENT_TEXT_SIZE 48
void moment_format(const struct position *position, char *text);

/* What a restore came to, as JSON to be released. name, output may be NULL. */
struct json_t *moment_result_json(const char *name, const char *output,
				  const struct restore_result *result);

#endif
