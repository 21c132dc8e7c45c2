/* SPDX-License-Identifier: MIT */
#ifndef STORAGE_STORAGE_RETRY_H
#define STORAGE_STORAGE_RETRY_H

#include "storage/storage.h"

/* Time and chance as the wrapper meets them, so that a test can stand in for both. */
struct storage_retry_world {
	int64_t (*now_ms)(void *arg); /* monotonic */
	void (*wait)(void *arg, int64_t ms);
	uint64_t (*random)(void *arg); /* 64 random bits */
	void *arg;
};

/* A zero stands for the default. */
struct storage_retry_options {
	unsigned max_attempts; /* of an operation, the first included; 6 */
	int64_t first_delay_ms; /* before the second attempt, doubled each time; 200 */
	int64_t max_delay_ms; /* 10,000 */
	int64_t deadline_ms; /* since the first attempt began: no other begins after; 60,000 */
	const struct storage_retry_world *world; /* outlives the wrapper; NULL = the real one */
};

/*
 * A wrapper that tries an operation of inner again when it fails with an error
 * that storage_is_transient(). Between attempts it waits for a delay, of which
 * half is fixed and half is random; a storage_stop() ends that at once with
 * -ECANCELED. An operation that still fails returns the last error, and says
 * how often it was tried.
 *
 * A list goes on behind what it has passed on already, and then has all attempts
 * and the whole time again. What fn returns is never tried again. A put_new
 * that finds an object after an attempt that failed compares it with data: the
 * same bytes are its own, and 0 is returned.
 *
 * options is copied. *ret owns inner; when this fails the caller still does.
 */
int storage_retry_new(struct storage *inner, const struct storage_retry_options *options,
		      struct storage **ret, struct error *err) MUST_CHECK;

#endif
