/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "replicate/uploader_internal.h"

#include <errno.h>

/* One database's state and its turn. */

#define TROUBLE_RETRY_MS 10000 /* before one with trouble of its own is tried again */

/* --------------------------------------------------------------------- single uploads */

void uploader_set_stored(struct uploader *uploader, struct upload *upload,
			 const struct point *point)
{
	upload->cursor.stored = *point;
	upload->cursor_dirty = true;
	LOCK_SCOPE(&uploader->mutex);
	upload->shown.stored = *point;
	upload->needed = point->position.txid;
}

void uploader_set_phase(struct uploader *uploader, struct upload *upload,
			enum uploader_phase phase)
{
	upload->phase = phase;
	LOCK_SCOPE(&uploader->mutex);
	upload->shown.phase = phase;
	if (phase == UPLOADER_REFUSED)
		upload->needed = UINT64_MAX;
}

void uploader_set_trouble(struct uploader *uploader, struct upload *upload,
			  const struct error *err)
{
	char *text = NULL;

	if (err == NULL)
		log_repeat_ok(&upload->repeat, upload->shown.name);
	else
		log_repeat_failed(&upload->repeat, upload->shown.name, err);
	if (err != NULL && asprintf(&text, "%s%s%s%s%s", error_what(err),
				    err->why != NULL ? "; why: " : "",
				    err->why != NULL ? err->why : "",
				    err->fix != NULL ? "; fix: " : "",
				    err->fix != NULL ? err->fix : "") < 0)
		text = NULL;
	LOCK_SCOPE(&uploader->mutex);
	free(upload->shown.trouble);
	upload->shown.trouble = text;
	if (text != NULL)
		upload->shown.trouble_us = clock_wall_us();
}

void uploader_free_upload(struct upload *upload)
{
	if (upload == NULL)
		return;
	database_unref(upload->kept);
	upload_cursor_done(&upload->cursor);
	uploader_database_done(&upload->shown);
	log_repeat_done(&upload->repeat);
	free(upload);
}

static char *cursor_path(const struct uploader *uploader, const struct id *id)
{
	char hex[ID_HEX_LEN + 1];
	char *path;

	id_format(id, hex);
	return asprintf(&path, "%s/%s", uploader->folder_path, hex) < 0 ? NULL : path;
}

/* A cursor of the last time counts if it is of this backend. */
static void load_cursor(struct uploader *uploader, struct upload *upload)
{
	char *path CLEANUP_FREE = cursor_path(uploader, &upload->id);

	if (path == NULL ||
	    upload_cursor_load(uploader->options.state_fd, path, &upload->cursor) != 0)
		return;
	if (strcmp(upload->cursor.url, storage_url(uploader->storage)) != 0) {
		upload_cursor_done(&upload->cursor);
		return;
	}
	upload->shown.stored = upload->cursor.stored;
	upload->needed = upload->cursor.stored.position.txid;
}

struct upload *uploader_find(const struct uploader *uploader, const struct id *id)
{
	for (size_t i = 0; i < uploader->n_uploads; i++) {
		if (id_equal(&uploader->uploads[i]->id, id))
			return uploader->uploads[i];
	}
	return NULL;
}

struct upload *uploader_add(struct uploader *uploader, struct database *db, const char *name)
{
	struct upload *upload = calloc(1, sizeof(*upload));
	struct upload **more;

	if (upload == NULL)
		return NULL;
	upload->id = *database_id(db);
	upload->shown.id = upload->id;
	upload->shown.name = strdup(name);
	load_cursor(uploader, upload);
	LOCK_SCOPE(&uploader->mutex);
	more = reallocarray(uploader->uploads, uploader->n_uploads + 1, sizeof(*more));
	if (more == NULL || upload->shown.name == NULL) {
		uploader_free_upload(upload);
		return NULL;
	}
	uploader->uploads = more;
	more[uploader->n_uploads++] = upload;
	return upload;
}

static int save_cursor(struct uploader *uploader, struct upload *upload, struct error *err)
{
	char *path CLEANUP_FREE = cursor_path(uploader, &upload->id);
	int r;

	if (!upload->cursor_dirty || upload->cursor.folder == NULL)
		return 0;
	if (path == NULL)
		return error_set(err, ENOMEM, "out of memory");
	r = upload_cursor_save(uploader->options.state_fd, path, &upload->cursor, err);
	if (r == 0)
		upload->cursor_dirty = false;
	return r;
}

/* Failing only costs requests at the next start. */
void uploader_save_cursors(struct uploader *uploader)
{
	for (size_t i = 0; i < uploader->n_uploads; i++) {
		struct error err CLEANUP_ERROR = ERROR_INIT;

		if (save_cursor(uploader, uploader->uploads[i], &err) < 0)
			log_repeat_failed(&uploader->repeat, "backup cursors", &err);
	}
	uploader->saved_ms = clock_mono_ms();
}

/* ------------------------------------------------------------------- one database's turn */

/*
 * The manifest follows renames and the end of a database. The cursor says what was
 * written: after a failure that is still to be done.
 */
static int follow_name(struct uploader *uploader, struct upload *upload, const char *name,
		       struct error *err)
{
	struct manifest *manifest = &upload->cursor.manifest;
	char *name_before CLEANUP_FREE = NULL;
	bool ended_before = manifest->ended;
	int r;

	/* Behind a gap its end is told even though the last of it is lost. */
	if ((upload->phase != UPLOADER_SHIPPING && !upload->ended) ||
	    (strcmp(manifest->name, name) == 0 && manifest->ended == upload->ended))
		return 0;
	name_before = strdup(manifest->name);
	if (name_before == NULL || manifest_set_name(manifest, name) < 0)
		return error_set(err, ENOMEM, "out of memory");
	manifest->ended = upload->ended;
	r = uploader_write_manifest(uploader, upload, NULL, NULL, err);
	if (r < 0) {
		free(manifest->name);
		manifest->name = TAKE(name_before);
		manifest->ended = ended_before;
	}
	return r;
}

static bool has_news(const struct upload *upload, struct database *db)
{
	struct position position = database_position(db, NULL, NULL);

	return position.generation != 0 &&
	       !position_equal(&position, &upload->cursor.stored.position);
}

void uploader_note_behind(struct uploader *uploader, struct upload *upload, bool behind)
{
	LOCK_SCOPE(&uploader->mutex);
	if (!behind)
		upload->shown.behind_since_us = 0;
	else if (upload->shown.behind_since_us == 0)
		upload->shown.behind_since_us = clock_wall_us();
}

void uploader_check_snapshot(struct uploader *uploader, struct upload *upload)
{
	const struct upload_cursor *cursor = &upload->cursor;
	int64_t age_ms = (clock_wall_us() - cursor->snapshot_us) / 1000;
	uint64_t asked;

	pthread_mutex_lock(&uploader->mutex);
	asked = upload->ask_snapshot;
	pthread_mutex_unlock(&uploader->mutex);
	/* One that was shipped before has nothing new to be opened for: so this opens it. */
	if (upload->phase != UPLOADER_SHIPPING &&
	    (upload->phase != UPLOADER_WAITING || upload->cursor.folder == NULL))
		return;
	if (asked != upload->asked_snapshot ||
	    (age_ms >= uploader->options.snapshot_interval_ms &&
	     cursor->stored.position.txid != cursor->snapshot.position.txid))
		upload->want_snapshot = true;
	upload->asked_snapshot = asked;
}

static void refuse(struct uploader *uploader, struct upload *upload, const struct error *err)
{
	uploader_set_phase(uploader, upload, UPLOADER_REFUSED);
	upload->want_snapshot = false;
	uploader_set_trouble(uploader, upload, err);
	if (uploader->maker_upload == upload)
		uploader_snapshot_abort(uploader);
}

/* Ships what there is. 0; 1: there is more; 2: refused, err says why; -errno. */
static int serve(struct uploader *uploader, struct upload *upload, struct database *db,
		 struct error *err)
{
	char *name CLEANUP_FREE = database_name(db);
	int r = uploader_open_upload(uploader, upload, db, err);

	if (r == 0)
		r = uploader_check_owner(uploader, upload, err);
	if (r != 0)
		return r > 0 ? 2 : r;
	if (upload->phase == UPLOADER_SNAPSHOT && !upload->want_snapshot && !upload->ended) {
		r = uploader_begin_with_log(uploader, upload, db, err);
		if (r < 0)
			return r;
		upload->want_snapshot = r == 1;
	}
	if (name == NULL)
		return error_set(err, ENOMEM, "out of memory");
	r = follow_name(uploader, upload, name, err);
	if (r == 0 && upload->phase == UPLOADER_SHIPPING)
		r = uploader_ship(uploader, upload, db, err);
	return r;
}

bool uploader_wants_service(const struct upload *upload, struct database *db, const char *name)
{
	const struct manifest *manifest = &upload->cursor.manifest;

	if (upload->phase == UPLOADER_REFUSED)
		return false;
	/* What ended before anything of it was stored needs no backup. */
	if (upload->ended && upload->cursor.folder == NULL)
		return false;
	/* It has nothing to make a snapshot of any more: only its end can be told. */
	if (upload->ended && upload->phase == UPLOADER_SNAPSHOT)
		return upload->cursor.stored.position.generation != 0 && !manifest->ended;
	return has_news(upload, db) || (upload->want_snapshot && !upload->opened) ||
	       (upload->cursor.folder != NULL && (strcmp(manifest->name, name) != 0 ||
						  manifest->ended != upload->ended));
}

int uploader_serve(struct uploader *uploader, struct upload *upload, struct database *db)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int r;

	uploader->backend_failed = false;
	r = serve(uploader, upload, db, &err);
	if (r == 2) {
		refuse(uploader, upload, &err);
		return 0;
	}
	if (r == -ESTALE)
		return 1;
	if (r < 0) {
		if (!uploader->backend_failed)
			upload->retry_ms = clock_mono_ms() + TROUBLE_RETRY_MS;
		uploader_set_trouble(uploader, upload, &err);
		return 1;
	}
	uploader_set_trouble(uploader, upload, NULL);
	return r == 1 || upload->phase != UPLOADER_SHIPPING || has_news(upload, db);
}
