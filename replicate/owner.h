/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_OWNER_H
#define REPLICATE_OWNER_H

#include "base/buf.h"
#include "base/id.h"
#include "replicate/layout.h"

/*
 * The owner record of a database's folder in a backend: who may write there.
 * Made once, before anything else, and never replaced. Pure codec.
 */

#define OWNER_FORMAT_VERSION 1u

struct owner {
	struct id node_id;
	struct id database_id;
	char *name;	/* of the database, when it was claimed */
	char *host;	/* for people */
	uint64_t generation;
	uint64_t term;
	int64_t claimed_us;
};

/* Appends the record to out. 0 or -ENOMEM. */
int owner_format(const struct owner *owner, struct buf *out, struct error *err) MUST_CHECK;

/* Reads a record; ret_owner is the caller's to owner_done(). 0, -EBADMSG, -EPROTONOSUPPORT. */
int owner_parse(const void *data, size_t len, struct owner *ret_owner,
		struct error *err) MUST_CHECK;
void owner_done(struct owner *owner);

#endif
