/* SPDX-License-Identifier: MIT */
#ifndef STORAGE_STORAGE_FAULT_H
#define STORAGE_STORAGE_FAULT_H

#include "storage/storage.h"

/*
 * A wrapper for tests: makes operations of inner fail as real backends fail. A
 * wrong key never counts as an operation.
 */

/* The operations that the options are about; a set of these. 0 = all. */
enum storage_fault_operation {
	STORAGE_FAULT_PUT = 1 << 0,
	STORAGE_FAULT_PUT_NEW = 1 << 1,
	STORAGE_FAULT_GET = 1 << 2,
	STORAGE_FAULT_STAT = 1 << 3,
	STORAGE_FAULT_LIST = 1 << 4,
	STORAGE_FAULT_LIST_FOLDERS = 1 << 5,
	STORAGE_FAULT_REMOVE = 1 << 6,
};

enum storage_fault_kind {
	/* It fails and has done nothing. */
	STORAGE_FAULT_REFUSE,
	/* It fails but has taken effect: the answer was lost. */
	STORAGE_FAULT_LOSE_ANSWER,
	/*
	 * put, put_new and remove say that they succeeded but have done nothing;
	 * others fail.
	 */
	STORAGE_FAULT_LOSE_EFFECT,
	/*
	 * get succeeds with the first half of its bytes only; list and
	 * list_folders fail after the first object; others fail.
	 */
	STORAGE_FAULT_CUT_SHORT,
};

/* Zeroed: nothing fails. Operations that the options are about count from 1. */
struct storage_fault_options {
	unsigned operations;
	enum storage_fault_kind kind;
	int code;	  /* the errno of a failure; 0 = EIO */
	uint64_t first;	  /* the first to fail by its number; 0 = none */
	uint64_t count;	  /* how many fail from first on; 0 = 1 */
	unsigned share;	  /* of a thousand that fail by chance */
	uint64_t seed;	  /* of that chance: the same seed, the same failures */
	int64_t delay_ms; /* waited before each of them, failing or not */
};

/* options is copied. *ret owns inner; when this fails the caller still does. */
int storage_fault_new(struct storage *inner, const struct storage_fault_options *options,
		      struct storage **ret, struct error *err) MUST_CHECK;

/* From now on options count, from 1 again. s: what storage_fault_new() made. */
void storage_fault_set(struct storage *s, const struct storage_fault_options *options);

/* How many operations that the options are about have begun since these were set. */
uint64_t storage_fault_n_seen(struct storage *s);

/* How many of them were made to fail. */
uint64_t storage_fault_n_failed(struct storage *s);

#endif
