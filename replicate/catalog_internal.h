/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_CATALOG_INTERNAL_H
#define REPLICATE_CATALOG_INTERNAL_H

#include "replicate/catalog.h"
#include "replicate/database_internal.h"
#include "replicate/tailer.h"

/*
 * Invariants: 1. a database that has not ended is in buckets, under its name;
 * one that has is in ended only. 2. The catalog holds one reference to each.
 * Locks: mutex guards buckets, ended and the databases' names (together with
 * each database's own mutex: both are held to change one); pool_mutex guards
 * the buffers; it is the innermost.
 */
struct catalog {
	struct catalog_options options;
	pthread_mutex_t mutex;
	struct catalog_bucket {
		struct database **items;
		size_t n;
	} *buckets;
	size_t n_buckets; /* a power of two */
	size_t n_databases;
	struct database **ended;
	size_t n_ended;
	pthread_mutex_t pool_mutex;
	uint8_t *pool[4];
	size_t n_pool;
	bool recovering; /* catalog_recover() is under way: no other thread is about */
	bool abandoned; /* leave no clean mark */
	bool fine_times; /* of files in the backing folder, see file_times_fine() */
	struct tailer tailer;
};

/* Writes the database's info file. Blocks for its syncs; no lock needed. */
int catalog_write_info(struct catalog *catalog, const struct id *id, const char *name, bool ended,
		       struct error *err) MUST_CHECK;

/* Removes the whole state of an ended database. */
void catalog_remove_state(struct catalog *catalog, const char *state_path);

/*
 * Removes the state of databases that ended, and were last written, before
 * before_us, unless somebody still refers to them.
 */
void catalog_forget_ended(struct catalog *catalog, int64_t before_us);

#endif
