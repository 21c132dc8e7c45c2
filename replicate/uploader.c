/* SPDX-License-Identifier: MIT */
#include "replicate/uploader.h"

#include "base/clock.h"
#include "base/file.h"
#include "replicate/uploader_internal.h"

#include <errno.h>
#include <inttypes.h>

/*
 * The thread sleeps until it is rung. It then looks which databases have news,
 * ships those, and sleeps out the sync interval without being rung, so that what
 * is committed meanwhile goes out together. In between it works on a snapshot,
 * a part at a time. When the backend fails it is left alone for a while that
 * doubles with every failure; only a drain tries at once.
 */

#define DEFAULT_SYNC_MS 1000
#define DEFAULT_SNAPSHOT_MS (24 * 3600000LL)
#define DEFAULT_RETRY_MAX_MS 60000
#define DEFAULT_OWNER_CHECK_MS 600000
#define RETRY_FIRST_MS 1000
#define TROUBLE_RETRY_MS 10000
#define SAVE_MS 60000	     /* between two savings of cursors */
#define WATCH_MS 60000	     /* the longest sleep, for what is due by the clock */
#define STUCK_POLL_MS 50     /* while a writer keeps a snapshot waiting */
#define DRAIN_RETRY_MS 200
#define DRAIN_POLL_MS 2

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

static void upload_free(struct upload *upload)
{
	if (upload == NULL)
		return;
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

static struct upload *find_upload(const struct uploader *uploader, const struct id *id)
{
	for (size_t i = 0; i < uploader->n_uploads; i++) {
		if (id_equal(&uploader->uploads[i]->id, id))
			return uploader->uploads[i];
	}
	return NULL;
}

/* Makes the upload of a database that was not there before. NULL: no memory. */
static struct upload *add_upload(struct uploader *uploader, struct database *db, const char *name)
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
		upload_free(upload);
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
static void save_cursors(struct uploader *uploader)
{
	for (size_t i = 0; i < uploader->n_uploads; i++) {
		struct error err CLEANUP_ERROR = ERROR_INIT;

		if (save_cursor(uploader, uploader->uploads[i], &err) < 0)
			log_repeat_failed(&uploader->repeat, "backup cursors", &err);
	}
	uploader->saved_ms = clock_mono_ms();
}

/* ------------------------------------------------------------------- one database's turn */

/* The manifest follows renames and the end of a database. */
static int follow_name(struct uploader *uploader, struct upload *upload, const char *name,
		       struct error *err)
{
	struct manifest *manifest = &upload->cursor.manifest;

	if (upload->phase != UPLOADER_SHIPPING ||
	    (strcmp(manifest->name, name) == 0 && manifest->ended == upload->ended))
		return 0;
	if (manifest_set_name(manifest, name) < 0)
		return error_set(err, ENOMEM, "out of memory");
	manifest->ended = upload->ended;
	return uploader_write_manifest(uploader, upload, NULL, NULL, err);
}

static bool has_news(const struct upload *upload, struct database *db)
{
	struct position position = database_position(db, NULL, NULL);

	return position.generation != 0 &&
	       !position_equal(&position, &upload->cursor.stored.position);
}

static void note_behind(struct uploader *uploader, struct upload *upload, bool behind)
{
	LOCK_SCOPE(&uploader->mutex);
	if (!behind)
		upload->shown.behind_since_us = 0;
	else if (upload->shown.behind_since_us == 0)
		upload->shown.behind_since_us = clock_wall_us();
}

/* A snapshot is due when the last one is old and something changed since. */
static void check_snapshot(struct uploader *uploader, struct upload *upload)
{
	const struct upload_cursor *cursor = &upload->cursor;
	int64_t age_ms = (clock_wall_us() - cursor->snapshot_us) / 1000;
	uint64_t asked;

	pthread_mutex_lock(&uploader->mutex);
	asked = upload->ask_snapshot;
	pthread_mutex_unlock(&uploader->mutex);
	if (upload->phase != UPLOADER_SHIPPING)
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
	if (upload->phase == UPLOADER_SNAPSHOT && !upload->want_snapshot) {
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

/* Whether anything is to be done for it: news, or a name to follow. */
static bool wants_service(const struct upload *upload, struct database *db, const char *name)
{
	const struct manifest *manifest = &upload->cursor.manifest;

	if (upload->phase == UPLOADER_REFUSED)
		return false;
	/* What ended before anything of it was stored needs no backup. */
	if (upload->ended && upload->cursor.folder == NULL)
		return false;
	/* It has nothing to make a snapshot of any more. */
	if (upload->ended && upload->phase == UPLOADER_SNAPSHOT)
		return false;
	return has_news(upload, db) || (upload->want_snapshot && !upload->opened) ||
	       (upload->cursor.folder != NULL && (strcmp(manifest->name, name) != 0 ||
						  manifest->ended != upload->ended));
}

/* 0: all stored; 1: there is more, or it waits for a snapshot. */
static int serve_one(struct uploader *uploader, struct upload *upload, struct database *db)
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

/* --------------------------------------------------------------------------- the pass */

struct pass {
	bool ship;	/* it is time to talk to the backend */
	bool behind;	/* something is not stored */
	bool more;	/* … and can be shipped at once */
	bool failed;	/* the backend did */
};

static bool is_wanted(const struct uploader *uploader, const char *name)
{
	return uploader->options.wanted == NULL ||
	       uploader->options.wanted(uploader->options.arg, name);
}

static void show_name(struct uploader *uploader, struct upload *upload, const char *name)
{
	char *copy = strcmp(upload->shown.name, name) != 0 ? strdup(name) : NULL;

	if (copy == NULL)
		return;
	LOCK_SCOPE(&uploader->mutex);
	free(upload->shown.name);
	upload->shown.name = copy;
}

static void visit(struct uploader *uploader, struct database *db, bool ended, struct pass *pass)
{
	char *name CLEANUP_FREE = database_name(db);
	struct upload *upload = find_upload(uploader, database_id(db));
	bool due;

	if (name == NULL || (upload == NULL && (ended || !is_wanted(uploader, name))))
		return;
	if (upload == NULL)
		upload = add_upload(uploader, db, name);
	if (upload == NULL)
		return;
	upload->ended = ended;
	show_name(uploader, upload, name);
	due = wants_service(upload, db, name);
	note_behind(uploader, upload, due);
	check_snapshot(uploader, upload);
	if (!due)
		return;
	pass->behind = true;
	if (!pass->ship || pass->failed || clock_mono_ms() < upload->retry_ms)
		return;
	due = serve_one(uploader, upload, db) != 0;
	pass->failed = uploader->backend_failed;
	if (due && upload->phase == UPLOADER_SHIPPING && !pass->failed &&
	    clock_mono_ms() >= upload->retry_ms)
		pass->more = true;
	note_behind(uploader, upload, due);
}

static bool is_in(struct database *const *list, size_t n, const struct database *db)
{
	for (size_t i = 0; i < n; i++) {
		if (list[i] == db)
			return true;
	}
	return false;
}

/* Looks at every database, ended ones too: their end is to be stored. */
static int visit_all(struct uploader *uploader, struct pass *pass, struct error *err)
{
	struct catalog *catalog = uploader->options.catalog;
	struct database **all;
	struct database **live;
	size_t n_all;
	size_t n_live;
	int r = catalog_list(catalog, true, &all, &n_all, err);

	if (r < 0)
		return r;
	r = catalog_list(catalog, false, &live, &n_live, err);
	if (r == 0) {
		for (size_t i = 0; i < n_all && !thread_stopping(&uploader->thread); i++)
			visit(uploader, all[i], !is_in(live, n_live, all[i]), pass);
		catalog_list_free(live, n_live);
	}
	catalog_list_free(all, n_all);
	return r;
}

/* Notes the backend's failure: who fails next waits longer. */
static void backend_failed(struct uploader *uploader, const char *text)
{
	int64_t delay_ms = RETRY_FIRST_MS << MIN(uploader->n_failures, 10u);

	delay_ms = MIN(delay_ms, uploader->options.retry_max_ms);
	/* Half of it by chance, so that many do not come at once. */
	delay_ms -= (int64_t)((uint64_t)clock_wall_us() % (uint64_t)(delay_ms / 2 + 1));
	uploader->n_failures++;
	uploader->retry_ms = clock_mono_ms() + delay_ms;
	LOCK_SCOPE(&uploader->mutex);
	uploader->shown_retry_ms = uploader->retry_ms;
	free(uploader->total.trouble);
	uploader->total.trouble = text != NULL ? strdup(text) : NULL;
	uploader->total.trouble_us = clock_wall_us();
}

static void backend_works(struct uploader *uploader)
{
	uploader->n_failures = 0;
	uploader->retry_ms = 0;
	LOCK_SCOPE(&uploader->mutex);
	uploader->shown_retry_ms = 0;
	free(TAKE(uploader->total.trouble));
}

/* Text of the trouble of any one database, for the backend as a whole. */
static char *any_trouble(struct uploader *uploader)
{
	int64_t newest_us = 0;
	const char *text = NULL;

	LOCK_SCOPE(&uploader->mutex);
	for (size_t i = 0; i < uploader->n_uploads; i++) {
		const struct uploader_database *shown = &uploader->uploads[i]->shown;

		if (shown->trouble != NULL && shown->trouble_us >= newest_us) {
			newest_us = shown->trouble_us;
			text = shown->trouble;
		}
	}
	return text != NULL ? strdup(text) : NULL;
}

/* One step of a snapshot. Whether there is more to do of one. */
static bool snapshot(struct uploader *uploader, struct pass *pass)
{
	struct upload *upload = uploader->maker_upload;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int r;

	uploader->backend_failed = false;
	r = uploader_snapshot_step(uploader, &err);
	if (upload == NULL)
		upload = uploader->maker_upload;
	if (r < 0 && upload != NULL)
		uploader_set_trouble(uploader, upload, &err);
	if (uploader->backend_failed)
		pass->failed = true;
	return uploader->maker != NULL && !pass->failed;
}

static bool is_draining(struct uploader *uploader)
{
	LOCK_SCOPE(&uploader->mutex);
	return uploader->draining;
}

/* Whether the backend is to be asked for anything now. */
static bool may_ship(struct uploader *uploader, int64_t now)
{
	if (is_draining(uploader))
		return true;
	return now >= uploader->retry_ms &&
	       (uploader->shipped_ms == 0 ||
		now - uploader->shipped_ms >= uploader->options.sync_interval_ms);
}

static bool wants_snapshot(const struct uploader *uploader)
{
	for (size_t i = 0; i < uploader->n_uploads; i++) {
		if (uploader->uploads[i]->want_snapshot && !uploader->uploads[i]->ended &&
		    uploader->uploads[i]->phase != UPLOADER_REFUSED)
			return true;
	}
	return false;
}

static void end_pass(struct uploader *uploader, const struct pass *pass)
{
	/* A snapshot that nothing waits for holds up no unmount. */
	bool stored = !pass->behind;

	pthread_mutex_lock(&uploader->mutex);
	uploader->drained = stored;
	uploader->n_passes++;
	pthread_cond_broadcast(&uploader->changed);
	pthread_mutex_unlock(&uploader->mutex);
	if (clock_mono_ms() - uploader->saved_ms >= SAVE_MS)
		save_cursors(uploader);
}

/* Does what is due; returns how long to sleep then, and whether deaf to rings. */
static int64_t run_pass(struct uploader *uploader, bool *ret_deaf)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int64_t now = clock_mono_ms();
	struct pass pass = { .ship = may_ship(uploader, now) };
	bool snapshot_goes_on = false;

	if (pass.ship)
		uploader->shipped_ms = now;
	if (visit_all(uploader, &pass, &err) < 0)
		log_repeat_failed(&uploader->repeat, uploader->name, &err);
	if (!pass.failed && now >= uploader->retry_ms)
		snapshot_goes_on = snapshot(uploader, &pass);
	if (pass.failed) {
		char *text CLEANUP_FREE = any_trouble(uploader);

		backend_failed(uploader, text);
	} else if (pass.ship && now >= uploader->retry_ms) {
		backend_works(uploader);
	}
	end_pass(uploader, &pass);
	*ret_deaf = true;
	if (is_draining(uploader))
		return pass.failed ? DRAIN_RETRY_MS : DRAIN_POLL_MS;
	if (uploader->retry_ms > clock_mono_ms())
		return uploader->retry_ms - clock_mono_ms();
	if (snapshot_goes_on)
		return uploader->maker_stuck_ms != 0 ? STUCK_POLL_MS : 0;
	if (pass.more)
		return 1;
	now = clock_mono_ms();
	if (pass.behind || wants_snapshot(uploader))
		return MAX(uploader->shipped_ms + uploader->options.sync_interval_ms - now, 10);
	*ret_deaf = false;
	return MIN((int64_t)WATCH_MS, uploader->options.snapshot_interval_ms);
}

static void run(void *arg)
{
	struct uploader *uploader = arg;
	bool deaf = false;

	while (!thread_stopping(&uploader->thread)) {
		int64_t sleep_ms;

		atomic_store(&uploader->rung, false);
		sleep_ms = run_pass(uploader, &deaf);
		atomic_store(&uploader->deaf, deaf);
		if (sleep_ms == 0 || (!deaf && atomic_load(&uploader->rung)))
			continue;
		thread_wait(&uploader->thread, sleep_ms);
		atomic_store(&uploader->deaf, true);
	}
	save_cursors(uploader);
	uploader_snapshot_abort(uploader);
}

/* --------------------------------------------------------------------------- from outside */

void uploader_ring(struct uploader *uploader)
{
	atomic_store(&uploader->rung, true);
	if (!atomic_load(&uploader->deaf))
		thread_ring(&uploader->thread);
}

void uploader_want_snapshot(struct uploader *uploader, struct database *db)
{
	struct upload *upload;

	pthread_mutex_lock(&uploader->mutex);
	upload = find_upload(uploader, database_id(db));
	if (upload != NULL)
		upload->ask_snapshot++;
	pthread_mutex_unlock(&uploader->mutex);
	uploader_ring(uploader);
}

uint64_t uploader_needed(struct uploader *uploader, struct database *db)
{
	struct upload *upload;
	char *name CLEANUP_FREE = NULL;

	pthread_mutex_lock(&uploader->mutex);
	upload = find_upload(uploader, database_id(db));
	if (upload != NULL) {
		uint64_t needed = upload->needed;

		pthread_mutex_unlock(&uploader->mutex);
		return needed;
	}
	pthread_mutex_unlock(&uploader->mutex);
	if (uploader->options.wanted == NULL)
		return 0;
	name = database_name(db);
	return name == NULL || is_wanted(uploader, name) ? 0 : UINT64_MAX;
}

/* Waits until enough passes have seen everything stored. */
static bool wait_drained(struct uploader *uploader, const struct timespec *deadline)
{
	/* A pass under way may have looked before the last commit. */
	uint64_t wanted = uploader->n_passes + 2;
	int r = 0;

	while (r != ETIMEDOUT && !(uploader->drained && uploader->n_passes >= wanted))
		r = pthread_cond_timedwait(&uploader->changed, &uploader->mutex, deadline);
	return uploader->drained && uploader->n_passes >= wanted;
}

bool uploader_drain(struct uploader *uploader, int64_t timeout_ms)
{
	struct timespec deadline;
	bool drained;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += timeout_ms / 1000;
	deadline.tv_nsec += timeout_ms % 1000 * 1000000;
	if (deadline.tv_nsec >= 1000000000) {
		deadline.tv_sec++;
		deadline.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&uploader->mutex);
	uploader->draining = true;
	thread_ring(&uploader->thread);
	drained = wait_drained(uploader, &deadline);
	uploader->draining = false;
	pthread_mutex_unlock(&uploader->mutex);
	return drained;
}

static void uploader_free(struct uploader *uploader)
{
	for (size_t i = 0; i < uploader->n_uploads; i++)
		upload_free(uploader->uploads[i]);
	for (size_t i = 0; i < uploader->n_folders; i++)
		free(uploader->folders[i]);
	free(uploader->uploads);
	free(uploader->folders);
	free(uploader->name);
	free(uploader->host);
	free(uploader->folder_path);
	uploader_status_done(&uploader->total);
	log_repeat_done(&uploader->repeat);
	pthread_mutex_destroy(&uploader->mutex);
	pthread_cond_destroy(&uploader->changed);
	free(uploader);
}

void uploader_stop(struct uploader *uploader)
{
	if (uploader == NULL)
		return;
	if (uploader->storage != NULL)
		storage_stop(uploader->storage);
	thread_stop(&uploader->thread);
	uploader_free(uploader);
}

static void set_defaults(struct uploader_options *options)
{
	if (options->sync_interval_ms == 0)
		options->sync_interval_ms = DEFAULT_SYNC_MS;
	if (options->snapshot_interval_ms == 0)
		options->snapshot_interval_ms = DEFAULT_SNAPSHOT_MS;
	if (options->retry_max_ms == 0)
		options->retry_max_ms = DEFAULT_RETRY_MAX_MS;
	if (options->owner_check_ms == 0)
		options->owner_check_ms = DEFAULT_OWNER_CHECK_MS;
}

static void init_lock(struct uploader *uploader)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&uploader->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&uploader->changed, &attr);
	pthread_condattr_destroy(&attr);
}

/* The texts, and the folder of the cursors. */
static int init(struct uploader *uploader, const struct uploader_options *options,
		struct error *err)
{
	char *escaped CLEANUP_FREE = layout_escape(options->name);
	int r;

	uploader->options = *options;
	set_defaults(&uploader->options);
	uploader->storage = options->storage;
	uploader->name = strdup(options->name);
	uploader->host = strdup(options->host != NULL && options->host[0] != '\0' ?
					options->host : "unknown");
	uploader->total.url = strdup(storage_url(options->storage));
	if (escaped == NULL || asprintf(&uploader->folder_path, "backend/%s", escaped) < 0)
		uploader->folder_path = NULL;
	if (uploader->name == NULL || uploader->host == NULL || uploader->total.url == NULL ||
	    uploader->folder_path == NULL)
		return error_set(err, ENOMEM, "out of memory");
	r = file_make_dir(options->state_fd, "backend", 0700, err);
	return r < 0 ? r : file_make_dir(options->state_fd, uploader->folder_path, 0700, err);
}

int uploader_start(const struct uploader_options *options, struct uploader **ret_uploader,
		   struct error *err)
{
	struct uploader *uploader = calloc(1, sizeof(*uploader));
	int r;

	if (uploader == NULL)
		return error_set(err, ENOMEM, "out of memory");
	init_lock(uploader);
	uploader->saved_ms = clock_mono_ms();
	r = init(uploader, options, err);
	if (r == 0)
		r = thread_start(&uploader->thread, "upload", run, uploader, err);
	if (r < 0) {
		uploader_free(uploader);
		return r;
	}
	*ret_uploader = uploader;
	return 0;
}
