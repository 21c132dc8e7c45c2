/* SPDX-License-Identifier: MIT */
#ifndef STORAGE_STORAGE_BACKEND_H
#define STORAGE_STORAGE_BACKEND_H

#include "storage/storage.h"

#include <stdatomic.h>

/* What no component of a key is called: room for a backend's own files. */
#define STORAGE_NAME_MARKER ".replitedfs-backend"
#define STORAGE_NAME_TMP ".replitedfs-tmp"

/*
 * For those who implement a backend or a wrapper; users need storage.h only.
 *
 * The storage_*() functions check their arguments and the stop, then call the
 * operation of the same name. What they promise beyond it: out is restored when
 * a get fails, ret->key is set, and of a list only keys that were asked for are
 * passed on, in checked order.
 *
 * A NULL operation is filled in. In a wrapper it goes to what is wrapped. In a
 * backend put_new is a stat and a put, list_folders skips through list, can
 * knows nothing; put, get, stat, list, remove and free have to be there.
 */
struct storage_ops {
	int (*put)(struct storage *s, const char *key, const void *data,
		   size_t len, struct error *err);
	int (*put_new)(struct storage *s, const char *key, const void *data,
		       size_t len, struct error *err);
	int (*get)(struct storage *s, const char *key, uint64_t off,
		   size_t max_len, struct buf *out, struct error *err);
	int (*stat)(struct storage *s, const char *key,
		    struct storage_object *ret, struct error *err);
	/* Ends with what fn returns when that is not 0; may pass on more than asked for. */
	int (*list)(struct storage *s, const char *prefix, const char *after,
		    storage_list_fn *fn, void *arg, struct error *err);
	int (*list_folders)(struct storage *s, const char *prefix,
			    storage_list_fn *fn, void *arg, struct error *err);
	int (*remove)(struct storage *s, const char *key, struct error *err);
	bool (*can)(const struct storage *s, enum storage_capability what);
	/* Frees the object around s; s itself is done, and what it wraps is freed after. */
	void (*free)(struct storage *s);
};

/*
 * The part of every backend that the core knows; embedded in the backend's own
 * struct, made by storage_init() and released by storage_free().
 *
 * Invariants: 1. all but stopped stays as storage_init() set it. 2. stopped
 * never becomes false again, and stop_fd is readable as soon as it is true.
 */
struct storage {
	const struct storage_ops *ops;
	struct storage *inner; /* what a wrapper is stacked on, owned; NULL = a backend */
	char *url;
	int stop_fd; /* an eventfd: to be polled beside what is waited for */
	atomic_bool stopped;
};

/*
 * Sets s up. ops outlives it; url is copied; inner passes into s on success
 * only. When it fails nothing needs to be released. 0 or -errno.
 */
int storage_init(struct storage *s, const struct storage_ops *ops,
		 struct storage *inner, const char *url, struct error *err) MUST_CHECK;

/* Whether storage_stop() was called. */
bool storage_is_stopped(const struct storage *s);

/* Sets err to the answer of a stopped s; returns -ECANCELED. */
int storage_set_stopped(const struct storage *s, struct error *err);

/* Blocks until ms milliseconds have passed or s is stopped. */
void storage_wait(struct storage *s, int64_t ms);

#endif
