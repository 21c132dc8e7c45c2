/* SPDX-License-Identifier: MIT */
#ifndef APP_SOURCE_ALL_H
#define APP_SOURCE_ALL_H

#include "app/source.h"

/*
 * Calls fn for every database of source that has not ended: its name, and the
 * key by which source_restore() finds exactly that one. Stops at the first that
 * fails. 0, or what fn returned, or -errno.
 */
int source_each(struct source *source, int (*fn)(void *arg, const char *name, const char *key,
						 struct error *err),
		void *arg, struct error *err) MUST_CHECK;

/* Makes the folder dir and those that name, relative to it, is in. 0 or -errno. */
int source_make_parents(const char *dir, const char *name, struct error *err) MUST_CHECK;

#endif
