/* SPDX-License-Identifier: MIT */
#ifndef APP_SOURCE_RESTORE_H
#define APP_SOURCE_RESTORE_H

#include "app/source.h"
#include "replicate/verify.h"

/*
 * Restores the database called name (NULL: the only one; also its id in hex, or
 * a backend's folder) from source, whatever kind that is, to request->output.
 * *ret_name (may be NULL) is set to the database's name, to be freed, where it is
 * known, always after a success. As restore_from_backend() and restore_from_log().
 */
int source_restore(struct source *source, const char *name, const struct restore_request *request,
		   struct restore_result *ret_result, char **ret_name,
		   struct error *err) MUST_CHECK;

/* Verifies it instead, as verify_backend() and verify_log(). */
int source_verify(struct source *source, const char *name, const struct restore_request *request,
		  const char *scratch_dir, struct restore_result *ret_result,
		  struct integrity_report *ret_report, char **ret_name,
		  struct error *err) MUST_CHECK;

#endif
