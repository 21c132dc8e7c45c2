/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_HOLDINGS_H
#define REPLICATE_HOLDINGS_H

#include "replicate/manifest.h"
#include "replicate/owner.h"
#include "storage/storage.h"

/*
 * What a backend holds of one database: its manifest, and what was stored since
 * then by one list. Blocks on the backend in every function but those that say
 * nothing of it.
 */

/* All parts of one segment. */
struct holdings_segment {
	uint64_t last;
	uint64_t first;
	uint64_t generation;
	uint32_t n_parts;	/* 0, 1, … n_parts - 1 before the final one */
	bool whole;		/* the final one is there, and no part is missing before it */
	uint64_t bytes;		/* of all parts */
};

struct holdings {
	struct storage *storage; /* not owned */
	char *folder;
	struct manifest manifest;
	bool rebuilt;		/* the manifest was damaged: made anew from what is there */
	uint64_t listed_from;	/* segments whose last TXID is at least that are in segments */
	bool listed;
	struct holdings_segment *segments; /* by last, first, generation */
	size_t n_segments;
};

/*
 * Reads the manifest. Where it is damaged or missing it is made anew from the
 * snapshots that are there (one list, and the head of each one's final part);
 * ret_damage (may be NULL) then says why. 0; 1: nothing of a database is there.
 */
int holdings_open(struct holdings *holdings, struct storage *storage, const char *folder,
		  struct error *ret_damage, struct error *err) MUST_CHECK;
void holdings_done(struct holdings *holdings);

/*
 * Lists the segments whose last TXID is txid or more, unless that is known, and
 * adds generations that the manifest does not know (reading one header of each).
 */
int holdings_list(struct holdings *holdings, uint64_t txid, struct error *err) MUST_CHECK;

/*
 * The generation that was begun last: the last one that no other goes on from
 * (writers that lost their manifest may have listed an older one behind it).
 * 0 = none. Does not block.
 */
uint64_t holdings_newest_generation(const struct holdings *holdings);

/* The folders of databases in a backend, by name. Others there do not count. */
struct holdings_folders {
	char **items;
	size_t n;
};

/* Lists them. 0 or -errno; holdings_folders_done() in both cases. */
int holdings_folders_list(struct holdings_folders *folders, struct storage *storage,
			  struct error *err) MUST_CHECK;
void holdings_folders_done(struct holdings_folders *folders);

/* Reads just the manifest of folder. 0; 1: there is none; -EBADMSG, -EPROTONOSUPPORT. */
int holdings_read_manifest(struct storage *storage, const char *folder,
			   struct manifest *ret_manifest, struct error *err) MUST_CHECK;

/* The same of the owner record. */
int holdings_read_owner(struct storage *storage, const char *folder, struct owner *ret_owner,
			struct error *err) MUST_CHECK;

/* Reads the header of a stored object. 0; 1: there is none; -EBADMSG, … */
int holdings_read_header(struct storage *storage, const char *key, enum object_kind kind,
			 struct object_header *ret_header, struct error *err) MUST_CHECK;

#endif
