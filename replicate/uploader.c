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
#define SAVE_MS 60000	     /* between two savings of cursors */
#define WATCH_MS 60000	     /* the longest sleep, for what is due by the clock */
#define STUCK_POLL_MS 50     /* while a writer keeps a snapshot waiting */
#define DRAIN_RETRY_MS 200
#define DRAIN_POLL_MS 2

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

/* The log of a database that ended stays for as long as something of it is to be stored. */
static void keep_ended(struct upload *upload, struct database *db, bool due)
{
	if (due && upload->ended && upload->kept == NULL)
		upload->kept = database_ref(db);
	else if (!due)
		database_unref(TAKE(upload->kept));
}

static void visit(struct uploader *uploader, struct database *db, bool ended, struct pass *pass)
{
	char *name CLEANUP_FREE = database_name(db);
	struct upload *upload = uploader_find(uploader, database_id(db));
	bool due;

	if (name == NULL || (upload == NULL && !is_wanted(uploader, name)))
		return;
	/* It may have ended while nobody was here to say so; its cursor tells. */
	if (upload == NULL)
		upload = uploader_add(uploader, db, name);
	if (upload == NULL)
		return;
	upload->ended = ended;
	show_name(uploader, upload, name);
	due = uploader_wants_service(upload, db, name);
	keep_ended(upload, db, due);
	uploader_note_behind(uploader, upload, due);
	uploader_check_snapshot(uploader, upload);
	if (!due)
		return;
	pass->behind = true;
	if (!pass->ship || pass->failed || clock_mono_ms() < upload->retry_ms)
		return;
	due = uploader_serve(uploader, upload, db) != 0;
	pass->failed = uploader->backend_failed;
	if (due && upload->phase == UPLOADER_SHIPPING && !pass->failed &&
	    clock_mono_ms() >= upload->retry_ms)
		pass->more = true;
	uploader_note_behind(uploader, upload, due);
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
		uploader_save_cursors(uploader);
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
	uploader_save_cursors(uploader);
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
	upload = uploader_find(uploader, database_id(db));
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
	upload = uploader_find(uploader, database_id(db));
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
		uploader_free_upload(uploader->uploads[i]);
	holdings_folders_done(&uploader->folders);
	free(uploader->uploads);
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
	if (options->compression_level == 0)
		options->compression_level = SEGMENT_LEVEL;
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
