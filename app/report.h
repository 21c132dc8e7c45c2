/* SPDX-License-Identifier: MIT */
#ifndef APP_REPORT_H
#define APP_REPORT_H

#include "base/error.h"

#include <stdio.h>

struct json_t;

/*
 * Prints err for a person: "replitedfs: what", then a line "why: …" and a line
 * "fix: …" where they are known. Further lines of a fix are indented below the
 * first. Characters that would steer a terminal are printed as '?'.
 */
void report_error(FILE *out, const struct error *err);

/*
 * Prints err as one line of JSON: {"error": {"what": …, "why": …, "fix": …,
 * "exit_code": …}}, null for what is not known. Bytes that are not UTF-8 become
 * '?'. 0, or -ENOMEM when nothing was printed.
 */
int report_json_error(FILE *out, const struct error *err) MUST_CHECK;

/*
 * What is wrong with one of several databases. Into results, if that is not NULL, as
 * {"database": …, "ok": false, "error": …, "why": …, "fix": …}; else to out: its name,
 * "FAILED" and what, then as above. Returns the exit code of err.
 */
int report_database(FILE *out, struct json_t *results, const char *name,
		    const struct error *err);

/* Prints err on stderr; returns the exit code of the command that ends on it. */
int report_exit(const struct error *err);

#endif
