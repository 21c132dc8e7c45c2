/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_SNAPSHOT_MAKER_H
#define REPLICATE_SNAPSHOT_MAKER_H

#include "replicate/database.h"
#include "replicate/manifest.h"
#include "storage/storage.h"

/*
 * Makes a snapshot of a database at an exact position (see copier.h): what is
 * read goes to the backend in parts, where later pages override earlier ones.
 *
 * It is done in steps, each of which reads and stores at most one part, so that
 * its thread can do other things in between.
 */
struct snapshot_maker;

/*
 * Begins a snapshot of db, which the maker takes a reference of, in folder,
 * stored by node_id. 0 or -errno (-ESTALE: the database is not ready).
 */
int snapshot_maker_new(struct database *db, const struct id *node_id, struct storage *storage,
		       const char *folder, struct snapshot_maker **ret_maker,
		       struct error *err) MUST_CHECK;

/* Frees the maker; parts that it stored are removed unless it is done. NULL is fine. */
void snapshot_maker_free(struct snapshot_maker *maker);

/*
 * Does some of the work. 0: there is more to do; 1: the final part is stored,
 * and its checksum was right; 2: there is more, but not right now: a writer is
 * at the pages; -ESTALE: it must be begun anew (the database changes too fast,
 * its page size or its history changed); another -errno: after one of the
 * backend the same step may be tried again.
 */
int snapshot_maker_step(struct snapshot_maker *maker, struct error *err) MUST_CHECK;

/* What was made, after a step returned 1. */
struct manifest_snapshot snapshot_maker_result(const struct snapshot_maker *maker);

bool snapshot_maker_is_done(const struct snapshot_maker *maker);

/* Whether a part waits to be put: the last step failed at the backend. */
bool snapshot_maker_waits(const struct snapshot_maker *maker);

/* The generation that the snapshot belongs to. */
struct manifest_generation snapshot_maker_generation(const struct snapshot_maker *maker);

/* Log records behind that TXID are still needed. */
uint64_t snapshot_maker_needs(const struct snapshot_maker *maker);

/* Pages read in the first round, of all: for status. */
void snapshot_maker_progress(const struct snapshot_maker *maker, uint64_t *ret_done,
			     uint64_t *ret_total);

/* Bytes put so far. */
uint64_t snapshot_maker_bytes(const struct snapshot_maker *maker);

#endif
