/* SPDX-License-Identifier: MIT */
#ifndef APP_LISTING_H
#define APP_LISTING_H

#include "app/source.h"
#include "base/buf.h"

/*
 * What a source holds, for `list`: the same JSON for a backend (inventory.h) and
 * for a folder's transaction log, and that JSON as people read it.
 */
struct json_t;

/* Of the database db only, unless it is NULL. 0 or -errno. */
int listing_make(struct source *source, const char *db, struct json_t **ret_json,
		 struct error *err) MUST_CHECK;

/* 0 or -ENOMEM. */
int listing_print(const struct json_t *json, struct buf *out) MUST_CHECK;

#endif
