/* SPDX-License-Identifier: MIT */
#ifndef APP_STATUS_H
#define APP_STATUS_H

#include "app/backends.h"
#include "app/config.h"
#include "base/buf.h"
#include "fuse/filesystem.h"
#include "replicate/catalog.h"

#include <stdint.h>
#include <sys/types.h>

/*
 * What a mount says of itself: made as JSON in the daemon, printed from that
 * JSON by `status` and in the virtual file .replitedfs/status.
 */
struct json_t;

/* Where the figures come from; nothing is owned. */
struct status_sources {
	const struct config *config;
	const char *mountpoint;
	const char *backing;
	struct id node_id;
	pid_t supervisor;
	int64_t since_us;
	uint64_t log_max_size;
	struct catalog *catalog;
	struct filesystem *filesystem;
	struct backends *backends;
};

/* The whole status as a JSON object, to be released. 0 or -errno. */
int status_make(const struct status_sources *sources, struct json_t **ret_json,
		struct error *err) MUST_CHECK;

/* Appends the status as people read it. 0 or -ENOMEM. */
int status_print(const struct json_t *json, struct buf *out) MUST_CHECK;

/*
 * Appends "GEN:TXID checksum\n" of the database name, all that is committed so far
 * taken in. 0; -ENOENT; -errno.
 */
int status_position(struct catalog *catalog, const char *name, struct buf *out) MUST_CHECK;

#endif
