/* SPDX-License-Identifier: MIT */
#include "app/live_copy.h"

#include "base/file.h"
#include "replicate/copier.h"
#include "replicate/envelope.h"

#include <errno.h>
#include <jansson.h>
#include <unistd.h>

#define ATTEMPTS 5 /* of a copy that must be begun anew */
#define WAIT_US 20000 /* until a writer has left the pages … */
#define SERVED_WAITS 500 /* … so often */

static int write_pages(void *arg, uint32_t first, uint32_t n, const uint8_t *pages,
		       uint32_t page_size, struct error *err)
{
	const int *fd = arg;
	int r = file_pwrite(*fd, pages, (size_t)n * page_size, (off_t)(first - 1) * page_size);

	return r < 0 ? error_set_errno(err, -r, "cannot write the copy") : 0;
}

static int copy_once(struct database *db, int fd, unsigned n_waits, struct point *ret_point,
		     struct error *err)
{
	const struct copier_sink sink = { .take = write_pages, .arg = &fd };
	struct copier *copier;
	int r = copier_new(db, &sink, &copier, err);

	if (r < 0)
		return r;
	while (r == 0 || (r == 2 && n_waits > 0)) {
		if (r == 2 && n_waits-- > 0)
			usleep(WAIT_US);
		r = copier_step(copier, err);
	}
	if (r == 2)
		r = error_set(err, EAGAIN, "the database is not what was captured last");
	*ret_point = *copier_point(copier);
	copier_free(copier);
	if (r == 1 && ftruncate(fd, (off_t)extent_bytes(ret_point->extent)) < 0)
		return error_set_errno(err, errno, "cannot write the copy");
	return r < 0 ? r : 0;
}

int live_copy_make(struct database *db, int fd, bool served, struct point *ret_point,
		   struct error *err)
{
	unsigned n_waits = served ? SERVED_WAITS : 0;
	int r = -ESTALE;

	for (int i = 0; i < ATTEMPTS && r == -ESTALE; i++)
		r = copy_once(db, fd, n_waits, ret_point, err);
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
	r = live_copy_make(db, call->fd, true, &point, err);
	database_unref(db);
	if (r == 0)
		call->answer = json_pack("{s:o}", "point", json_point(&point));
	return r;
}

int live_copy_request(const char *dir, const char *socket_dir, const struct id *id, int fd,
		      struct point *ret_point, struct error *err)
{
	int connection CLEANUP_FD = control_reach(dir, socket_dir, err);
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
