/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_VERIFY_H
#define REPLICATE_VERIFY_H

#include "replicate/integrity.h"
#include "replicate/restore.h"

/*
 * Proves that a backup restores: it is restored to a file of no lasting name in
 * scratch_dir (which needs room for the database), which compares every
 * checksum, and SQLite checks the result. request's output does not count.
 * 0; -EBADMSG: it does not restore, or SQLite found problems (in ret_report);
 * another -errno as restore_from_backend().
 */
int verify_backend(struct storage *storage, const char *folder,
		   const struct restore_request *request, const char *scratch_dir,
		   struct restore_result *ret_result, struct integrity_report *ret_report,
		   struct error *err) MUST_CHECK;

/* The same of a transaction log. */
int verify_log(struct txlog *log, const struct restore_live *live,
	       const struct restore_request *request, const char *scratch_dir,
	       struct restore_result *ret_result, struct integrity_report *ret_report,
	       struct error *err) MUST_CHECK;

#endif
