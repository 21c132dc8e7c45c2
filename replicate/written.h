/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_WRITTEN_H
#define REPLICATE_WRITTEN_H

#include "base/cleanup.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Which bytes of a database file were written since it was captured last, as far
 * as the daemon was told of all writes. Any thread; the mutex is a leaf.
 *
 * Invariant: overflow is set when ranges does not hold all that was noted.
 */
struct written_range {
	uint64_t off;
	uint64_t end;
};

struct written {
	pthread_mutex_t mutex;
	struct written_range *ranges;
	size_t n_ranges;
	size_t n_room;
	bool overflow;
};

void written_init(struct written *written);
void written_done(struct written *written);

/* Notes len bytes at off. */
void written_note(struct written *written, uint64_t off, uint64_t len);

/*
 * Hands over what was noted, to be freed by the caller, and begins anew. False:
 * not all of it is known; *ret_ranges is NULL then.
 */
bool written_take(struct written *written, struct written_range **ret_ranges, size_t *ret_n);

/* Whether anything was noted. */
bool written_any(struct written *written);

#endif
