/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_FETCHER_H
#define REPLICATE_FETCHER_H

#include "replicate/layout.h"
#include "replicate/object.h"
#include "storage/storage.h"

/*
 * Gets stored objects ahead of their use, in order: a few threads download,
 * verify and expand while the caller applies what came before. Memory is
 * bounded by the window, FETCHER_WINDOW objects.
 */

#define FETCHER_WINDOW 8
#define FETCHER_N_THREADS 4

/* An object to be fetched. */
struct fetcher_item {
	enum object_kind kind;
	struct layout_segment segment;	 /* of that kind */
	struct layout_snapshot snapshot; /* of that kind */
	uint64_t bytes;			 /* stored, as far as known */
	uint64_t upto;			 /* the caller's: the last transaction wanted of it */
};

struct fetcher;

/*
 * Starts fetching the n items, which are borrowed until the end, as are storage
 * and folder. 0 or -errno.
 */
int fetcher_start(struct storage *storage, const char *folder, const struct fetcher_item *items,
		  size_t n, struct fetcher **ret_fetcher, struct error *err) MUST_CHECK;

/* Ends the threads, after the downloads under way. NULL is fine. */
void fetcher_stop(struct fetcher *fetcher);

/* What a fetched object holds; until the next call. */
struct fetched {
	struct object_header head;
	const uint8_t *raw;
	size_t raw_len;
	uint64_t bytes; /* as stored */
};

/*
 * The next object. 0; 1: that was all; -EBADMSG: it is damaged or missing, and
 * err names it; another -errno. After an error there is nothing more to fetch.
 */
int fetcher_next(struct fetcher *fetcher, struct fetched *ret_fetched,
		 struct error *err) MUST_CHECK;

#endif
