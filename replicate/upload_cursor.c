/* SPDX-License-Identifier: MIT */
#include "replicate/upload_cursor.h"

#include "base/file.h"
#include "replicate/envelope.h"

#include <errno.h>
#include <jansson.h>

#define KIND "cursor"

/* The generations travel as a manifest inside, whose codec is used for them. */
int upload_cursor_format(const struct upload_cursor *cursor, struct buf *out, struct error *err)
{
	struct buf manifest CLEANUP_BUF = { 0 };
	char *url CLEANUP_FREE = layout_escape(cursor->url);
	const char *text;
	int r = manifest_format(&cursor->manifest, &manifest, err);

	if (r < 0)
		return r;
	text = buf_str(&manifest);
	if (text == NULL || url == NULL)
		return error_set(err, ENOMEM, "out of memory");
	return envelope_write(KIND, UPLOAD_CURSOR_FORMAT_VERSION,
			      json_pack("{s:s,s:s,s:o,s:o,s:I,s:s}", "url", url, "folder",
					cursor->folder, "stored", json_point(&cursor->stored),
					"snapshot", json_point(&cursor->snapshot), "snapshot_us",
					(json_int_t)cursor->snapshot_us, "manifest", text),
			      out, err);
}

int upload_cursor_parse(const void *data, size_t len, struct upload_cursor *ret_cursor,
			struct error *err)
{
	json_t *json CLEANUP_JSON = NULL;
	const char *bad = NULL;
	const char *text;
	int r = envelope_read(KIND, UPLOAD_CURSOR_FORMAT_VERSION, data, len, &json, err);
	struct fields at = { json, &bad };

	if (r < 0)
		return r;
	*ret_cursor = (struct upload_cursor){
		.url = fields_escaped(&at, "url"),
		.folder = strdup(fields_text(&at, "folder")),
		.stored = fields_point(&at, "stored"),
		.snapshot = fields_point(&at, "snapshot"),
		.snapshot_us = fields_time(&at, "snapshot_us"),
	};
	text = fields_text(&at, "manifest");
	if (bad != NULL || ret_cursor->folder == NULL || !layout_folder_valid(ret_cursor->folder))
		r = error_set(err, EBADMSG, "the cursor has a bad %s",
			      bad != NULL ? bad : "folder");
	if (r == 0)
		r = manifest_parse(text, strlen(text), &ret_cursor->manifest, err);
	if (r < 0)
		upload_cursor_done(ret_cursor);
	return r;
}

void upload_cursor_done(struct upload_cursor *cursor)
{
	free(cursor->url);
	free(cursor->folder);
	manifest_done(&cursor->manifest);
	*cursor = (struct upload_cursor){ 0 };
}

int upload_cursor_load(int state_fd, const char *path, struct upload_cursor *ret_cursor)
{
	struct error ignored CLEANUP_ERROR = ERROR_INIT;
	struct buf data CLEANUP_BUF = { 0 };

	*ret_cursor = (struct upload_cursor){ 0 };
	if (file_read_all(state_fd, path, ENVELOPE_MAX, &data, &ignored) < 0)
		return 1;
	return upload_cursor_parse(data.data, data.len, ret_cursor, &ignored) < 0 ? 1 : 0;
}

int upload_cursor_save(int state_fd, const char *path, const struct upload_cursor *cursor,
		       struct error *err)
{
	struct buf data CLEANUP_BUF = { 0 };
	int r = upload_cursor_format(cursor, &data, err);

	return r < 0 ? r : file_replace(state_fd, path, data.data, data.len, 0600, err);
}
