/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_UPLOAD_CURSOR_H
#define REPLICATE_UPLOAD_CURSOR_H

#include "replicate/manifest.h"

/*
 * How far a database has been stored in a backend, kept in the state folder so
 * that a restart costs nothing: STATE/backend/<backend>/<database id>. It may be
 * lost, or older than what is stored: then the backend is asked.
 */

#define UPLOAD_CURSOR_FORMAT_VERSION 1u

struct upload_cursor {
	char *url;		/* of the backend; another one makes the cursor void */
	char *folder;
	struct point stored;	/* everything up to there is in the backend */
	struct point snapshot;	/* of the newest snapshot in the manifest */
	int64_t snapshot_us;	/* when that was made */
	/*
	 * Of the manifest: name and ended as they were written last, and (only
	 * these) the generations that are stored but not in it yet.
	 */
	struct manifest manifest;
};

int upload_cursor_format(const struct upload_cursor *cursor, struct buf *out,
			 struct error *err) MUST_CHECK;
int upload_cursor_parse(const void *data, size_t len, struct upload_cursor *ret_cursor,
			struct error *err) MUST_CHECK;
void upload_cursor_done(struct upload_cursor *cursor);

/* Reads the file state_fd/path. 0; 1: there is none, or it is damaged. */
int upload_cursor_load(int state_fd, const char *path,
		       struct upload_cursor *ret_cursor) MUST_CHECK;
int upload_cursor_save(int state_fd, const char *path, const struct upload_cursor *cursor,
		       struct error *err) MUST_CHECK;

#endif
