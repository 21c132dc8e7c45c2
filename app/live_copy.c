/* SPDX-License-Identifier: MIT */
#include "app/live_copy.h"

#include "app/command.h"
#include "base/file.h"
#include "replicate/envelope.h"

#include <errno.h>
#include <jansson.h>

#define CHUNK_BYTES (1u << 20)

/* Copies all pages while capture is held still. */
static int copy_pages(struct database *db, int fd, struct point *point, struct error *err)
{
	uint32_t n_chunk = CHUNK_BYTES / MAX(point->extent.page_size, 512u);
	uint8_t *pages CLEANUP_FREE = malloc(CHUNK_BYTES);
	int r = 0;

	if (pages == NULL)
		return error_set(err, ENOMEM, "out of memory");
	for (uint32_t first = 1; r == 0 && first <= point->extent.n_pages; first += n_chunk) {
		uint32_t n = MIN(n_chunk, point->extent.n_pages - first + 1);
		struct position position;

		r = database_read_exact(db, &point->position, first, NULL, n, pages, &position,
					NULL, err);
		if (r > 0)
			return error_set(err, EAGAIN, "the database cannot be read right now");
		if (r == 0)
			r = file_pwrite(fd, pages, (size_t)n * point->extent.page_size,
					(off_t)(first - 1) * point->extent.page_size);
		if (r < 0 && err->code == 0)
			return error_set_errno(err, -r, "cannot write the copy");
	}
	return r;
}

int live_copy_make(struct database *db, int fd, struct point *ret_point, struct error *err)
{
	int r;

	database_pause(db);
	ret_point->position = database_position(db, &ret_point->extent, &ret_point->time_us);
	r = ret_point->position.generation == 0 ?
		    error_set(err, EAGAIN, "the database has not been captured yet") :
		    copy_pages(db, fd, ret_point, err);
	database_resume(db);
	return r;
}

int live_copy_answer(struct catalog *catalog, struct control_call *call, struct error *err)
{
	const char *hex = json_string_value(json_object_get(call->request, "id"));
	struct database *db = NULL;
	struct point point;
	struct id id;
	int r;

	if (hex == NULL || !id_parse(hex, &id) || call->fd < 0)
		return error_set(err, EINVAL, "a copy needs an id and a file");
	db = catalog_find_id(catalog, &id);
	if (db == NULL)
		return error_set(err, ENOENT, "there is no such database any more");
	r = live_copy_make(db, call->fd, &point, err);
	database_unref(db);
	if (r == 0)
		call->answer = json_pack("{s:o}", "point", json_point(&point));
	return r;
}

int live_copy_request(const char *dir, const char *socket_dir, const struct id *id, int fd,
		      struct point *ret_point, struct error *err)
{
	int connection CLEANUP_FD = command_connect(dir, socket_dir, err);
	CLEANUP_JSON json_t *answer = NULL;
	char hex[ID_HEX_LEN + 1];
	const char *bad = NULL;
	struct fields fields;
	int r;

	if (connection < 0)
		return connection;
	id_format(id, hex);
	r = control_call(connection, json_pack("{s:s, s:s}", "command", "copy", "id", hex), fd,
			 &answer, NULL, err);
	if (r < 0)
		return r;
	fields = (struct fields){ answer, &bad };
	*ret_point = fields_point(&fields, "point");
	return bad == NULL ? 0 : error_set(err, EBADMSG, "the daemon's answer has no %s", bad);
}
