/* SPDX-License-Identifier: MIT */
#ifndef STORAGE_STORAGE_PREFIX_H
#define STORAGE_STORAGE_PREFIX_H

#include "storage/storage.h"

/*
 * A wrapper that shows the folder prefix of inner ("backups/host1", a '/' at its
 * end makes no difference, "" = all of it) as a backend of its own: the key k
 * there is prefix/k in inner. Keys can be shorter by that, -ENAMETOOLONG.
 * *ret owns inner; when this fails the caller still does. -EINVAL: prefix is no
 * key.
 */
int storage_prefix_new(struct storage *inner, const char *prefix,
		       struct storage **ret, struct error *err) MUST_CHECK;

#endif
