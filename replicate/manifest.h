/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_MANIFEST_H
#define REPLICATE_MANIFEST_H

#include "base/buf.h"
#include "replicate/layout.h"
#include "replicate/object.h"

/*
 * The manifest of a database's folder: which snapshots are whole, which
 * generations there are, where something was not stored. Rewritten at a
 * snapshot, a rename and the end of the database only; what was stored since
 * is found by one list of segments. Pure codec.
 */

#define MANIFEST_FORMAT_VERSION 1u
#define MANIFEST_MAX_SNAPSHOTS 4096u
#define MANIFEST_MAX_GENERATIONS 4096u
#define MANIFEST_MAX_GAPS 1024u

/* Where a generation begins. */
struct manifest_generation {
	uint64_t generation;
	struct position parent;	/* it goes on from there; all zero: a first one */
	int64_t time_us;	/* the commit time of that position, as far as known */
};

struct manifest_snapshot {
	struct layout_snapshot name; /* part has no meaning */
	struct point point;
	uint32_t n_parts;	/* 0: the database was empty, nothing is stored */
	uint64_t bytes;		/* stored */
	int64_t created_us;
};

/* No transaction between the two is stored; the snapshot at end is the next thing. */
struct manifest_gap {
	struct point begin;	/* the last that is stored */
	struct point end;
	int64_t noticed_us;
};

struct manifest {
	struct id node_id;
	struct id database_id;
	char *name;
	bool ended;		/* the file is gone */
	uint64_t term;
	int64_t written_us;
	struct manifest_generation *generations; /* in the order in which they began */
	size_t n_generations;
	struct manifest_snapshot *snapshots; /* oldest first */
	size_t n_snapshots;
	struct manifest_gap *gaps;
	size_t n_gaps;
};

int manifest_format(const struct manifest *manifest, struct buf *out,
		    struct error *err) MUST_CHECK;

/*
 * Reads a manifest; ret_manifest is the caller's to manifest_done(). 0,
 * -EBADMSG (also when it is cut off), -EPROTONOSUPPORT.
 */
int manifest_parse(const void *data, size_t len, struct manifest *ret_manifest,
		   struct error *err) MUST_CHECK;
void manifest_done(struct manifest *manifest);

/*
 * Add one, dropping the oldest when there are too many. A generation that is
 * there already is left as it is. 0 or -ENOMEM.
 */
int manifest_add_generation(struct manifest *manifest,
			    const struct manifest_generation *generation) MUST_CHECK;
int manifest_add_snapshot(struct manifest *manifest,
			  const struct manifest_snapshot *snapshot) MUST_CHECK;
int manifest_add_gap(struct manifest *manifest, const struct manifest_gap *gap) MUST_CHECK;

/* Replaces the name. 0 or -ENOMEM. */
int manifest_set_name(struct manifest *manifest, const char *name) MUST_CHECK;

/* The generation of that number, or NULL. */
const struct manifest_generation *manifest_find_generation(const struct manifest *manifest,
							   uint64_t generation);

/* What an object's header says of its generation. */
struct manifest_generation manifest_generation_of(const struct object_header *header);

/* The same of a log's header. */
struct manifest_generation manifest_generation_of_log(const struct log_header *head);

#endif
