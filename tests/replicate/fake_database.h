/* SPDX-License-Identifier: MIT */
#ifndef TESTS_REPLICATE_FAKE_DATABASE_H
#define TESTS_REPLICATE_FAKE_DATABASE_H

#include "tests/replicate/model.h"

#include "replicate/catalog.h"

#include <stdatomic.h>

/*
 * Stands in for the capture side: what database.h and catalog.h offer to
 * consumers, on models. A test that links it must not link the real ones.
 */

struct database {
	struct model model;
	pthread_mutex_t mutex; /* recursive: pause holds it */
	char *name;
	bool ended;
	bool paused;
	unsigned n_busy;	/* exact reads that will answer "not right now" */
	/* Called before each exact read that is not made in a pause; may step the model. */
	void (*before_read)(struct database *db);
	unsigned n_reads;
	unsigned n_syncs;
};

struct catalog {
	struct database *databases[8];
	atomic_size_t n_databases; /* only grows while others look */
};

/* Makes an empty database with its log in the folder root_fd/path (to be made). */
struct database *fake_database_new(int root_fd, const char *path, const char *name,
				   uint64_t seed);
void fake_database_free(struct database *db);

/* Steps of its model, as while other threads use the database. */
void fake_database_steps(struct database *db, unsigned n);
void fake_database_fill(struct database *db, uint32_t page_size, uint32_t n_pages);
void fake_database_new_generation(struct database *db, const struct model_copy *copy);
void fake_database_rename(struct database *db, const char *name);
void fake_database_end(struct database *db);

#endif
