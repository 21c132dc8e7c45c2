/* SPDX-License-Identifier: MIT */
#ifndef APP_SOURCE_RESTORE_H
#define APP_SOURCE_RESTORE_H

#include "app/source.h"
#include "replicate/restore.h"

/*
 * Restores the database called name (NULL: the only one) from source, whatever
 * kind it is. The one with fd restores into that empty file instead of
 * request->output. *ret_name (may be NULL) is the database's name, to be freed.
 * As restore_from_backend() and restore_from_log().
 */
int source_restore(struct source *source, const char *name, const struct restore_request *request,
		   struct restore_result *ret_result, char **ret_name,
		   struct error *err) MUST_CHECK;
int source_restore_to_fd(struct source *source, const char *name,
			 const struct restore_request *request, int fd,
			 struct restore_result *ret_result, char **ret_name,
			 struct error *err) MUST_CHECK;

#endif
