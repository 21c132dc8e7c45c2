/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_INTEGRITY_H
#define REPLICATE_INTEGRITY_H

#include "base/error.h"

#include <stdbool.h>

/*
 * PRAGMA integrity_check on a database file by libsqlite3, the only place that
 * uses it. The file is opened read-only and as immutable, with triggers and
 * functions of its schema distrusted: its content may be anybody's.
 */

struct integrity_report {
	bool checked;	/* false: SQLite cannot read it (encrypted, or empty) */
	char *problems;	/* what the check found, a line each; NULL: nothing */
};

/*
 * Checks the file fd, which lies in the folder dir and may have no name. Blocks
 * for as long as reading the whole file takes. 0 (whatever was found) or -errno.
 */
int integrity_check(const char *dir, int fd, struct integrity_report *ret_report,
		    struct error *err) MUST_CHECK;
void integrity_report_done(struct integrity_report *report);

#endif
