/* SPDX-License-Identifier: MIT */
#ifndef TESTS_REPLICATE_MODEL_H
#define TESTS_REPLICATE_MODEL_H

#include "tests/unit.h"

#include "replicate/object.h"
#include "replicate/txlog.h"

#include <stdbool.h>

/*
 * A database in memory with a real transaction log: every step is a random
 * transaction, logged as capture would, and the content after each is kept, so
 * that what a test rebuilds can be compared with it.
 */

struct model_copy {
	struct point point;
	uint8_t *pages;
};

struct model {
	struct txlog log;
	struct id node_id;
	struct id id;
	uint64_t seed;
	struct extent extent;
	uint8_t *pages;
	struct model_copy *copies; /* in the order they came to be; the first is the base */
	size_t n_copies;
	unsigned cannot_undo;	/* share of a hundred of records that cannot be undone */
	uint32_t max_pages;
	bool keep_page_size;
};

/* Begins an empty database whose log is the folder root_fd/path. */
void model_open(struct model *model, int root_fd, const char *path, uint64_t seed,
		uint64_t file_limit);
void model_close(struct model *model);

/* Random numbers of the model's own, below n. */
uint64_t model_random(struct model *model, uint64_t n);

/* One random transaction, published. */
void model_step(struct model *model);
void model_steps(struct model *model, unsigned n);

/* One transaction that makes the database n_pages large, all pages random. */
void model_fill(struct model *model, uint32_t page_size, uint32_t n_pages);

/* One transaction that makes the database what the file fd holds. */
void model_load(struct model *model, uint32_t page_size, int fd);

/*
 * Begins a new generation on the present position, or on copy, which the
 * database then goes back to (the log's tail was lost).
 */
void model_new_generation(struct model *model, const struct model_copy *copy);

/* The copy kept at the present position; that at position, or NULL. */
const struct model_copy *model_now(const struct model *model);
const struct model_copy *model_find(const struct model *model, const struct position *position);

/* Fails the test unless the file fd is exactly copy. */
void model_assert_file(const struct model_copy *copy, int fd);

#define MODEL_CHECK(call, err)                                                 \
	do {                                                                   \
		int check_r_ = (call);                                         \
		if (check_r_ < 0)                                              \
			fail_msg("%s: %s", #call, error_what(err));            \
	} while (0)

#endif
