/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_COMPANION_H
#define REPLICATE_COMPANION_H

#include "replicate/database.h"

/*
 * The names of a database's files: X, and the companions that SQLite keeps beside
 * it, X-wal, X-shm and X-journal.
 */

/* What stands behind the name of X in that of the file; "" for X itself. */
const char *companion_suffix(enum database_file file);

/*
 * Whether name is one of a database's companions, and of which: ret_len is the
 * length of the database's name in it. False for names that are nothing but a
 * suffix.
 */
bool companion_parse(const char *name, enum database_file *ret_file, size_t *ret_len);

#endif
