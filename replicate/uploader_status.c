/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "replicate/uploader_internal.h"

#include <errno.h>

void uploader_database_done(struct uploader_database *database)
{
	free(database->name);
	free(database->trouble);
	*database = (struct uploader_database){ 0 };
}

void uploader_status_done(struct uploader_status *status)
{
	for (size_t i = 0; i < status->n_databases; i++)
		uploader_database_done(&status->databases[i]);
	free(status->databases);
	free(status->url);
	free(status->trouble);
	*status = (struct uploader_status){ 0 };
}

/* Copies what is shown of upload, and where its log's unstored bytes begin. */
static int copy_shown(const struct upload *upload, struct uploader_database *to,
		      uint32_t *ret_number, uint64_t *ret_offset)
{
	*to = upload->shown;
	to->name = strdup(upload->shown.name);
	to->trouble = upload->shown.trouble != NULL ? strdup(upload->shown.trouble) : NULL;
	*ret_number = upload->log_number;
	*ret_offset = upload->log_offset;
	return to->name != NULL && (to->trouble == NULL) == (upload->shown.trouble == NULL) ?
		       0 : -ENOMEM;
}

/* Outside of the uploader's lock: asks the database what is behind. */
static void add_waiting(struct database *db, struct uploader_database *database, uint32_t number,
			uint64_t offset)
{
	struct position position = database_position(db, NULL, NULL);

	if (database->phase != UPLOADER_REFUSED &&
	    !position_equal(&position, &database->stored.position))
		database->waiting_bytes = txlog_bytes_behind(database_log(db), number, offset);
}

int uploader_database_status(struct uploader *uploader, struct database *db,
			     struct uploader_database *ret_database, struct error *err)
{
	uint32_t number = 0;
	uint64_t offset = 0;
	int r = 1;

	pthread_mutex_lock(&uploader->mutex);
	for (size_t i = 0; i < uploader->n_uploads && r == 1; i++) {
		if (id_equal(&uploader->uploads[i]->id, database_id(db)))
			r = copy_shown(uploader->uploads[i], ret_database, &number, &offset);
	}
	pthread_mutex_unlock(&uploader->mutex);
	if (r < 0) {
		uploader_database_done(ret_database);
		return error_set(err, ENOMEM, "out of memory");
	}
	if (r == 0)
		add_waiting(db, ret_database, number, offset);
	return r;
}

static int copy_total(struct uploader *uploader, struct uploader_status *to)
{
	int64_t now = clock_mono_ms();

	LOCK_SCOPE(&uploader->mutex);
	*to = uploader->total;
	to->url = strdup(uploader->total.url);
	to->trouble = uploader->total.trouble != NULL ? strdup(uploader->total.trouble) : NULL;
	to->retry_in_ms = uploader->shown_retry_ms > now ? uploader->shown_retry_ms - now : 0;
	return to->url != NULL ? 0 : -ENOMEM;
}

static void add_database(struct uploader_status *status, const struct uploader_database *database)
{
	status->databases[status->n_databases++] = *database;
	status->waiting_bytes += database->waiting_bytes;
	if (database->behind_since_us != 0 && database->phase != UPLOADER_REFUSED &&
	    (status->behind_since_us == 0 || database->behind_since_us < status->behind_since_us))
		status->behind_since_us = database->behind_since_us;
}

int uploader_status(struct uploader *uploader, struct uploader_status *ret_status,
		    struct error *err)
{
	struct database **list = NULL;
	size_t n = 0;
	int r = catalog_list(uploader->options.catalog, false, &list, &n, err);

	if (r < 0)
		return r;
	r = copy_total(uploader, ret_status);
	ret_status->databases = calloc(n + 1, sizeof(*ret_status->databases));
	if (ret_status->databases == NULL)
		r = -ENOMEM;
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct uploader_database database;

		r = uploader_database_status(uploader, list[i], &database, err);
		if (r == 0)
			add_database(ret_status, &database);
		r = r < 0 ? r : 0;
	}
	catalog_list_free(list, n);
	if (r < 0) {
		uploader_status_done(ret_status);
		return error_set(err, ENOMEM, "out of memory");
	}
	return 0;
}
