/* SPDX-License-Identifier: MIT */
#include "replicate/tailer.h"

#include "base/clock.h"
#include "base/hook.h"
#include "replicate/catalog_internal.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#define HOT_MS 50	 /* how long commits are expected after the last one */
#define LOOK_MS 1	 /* between two looks at a busy database */
#define IDLE_LOOK_MS 1000 /* between two looks at an idle one */
#define RETAIN_MS 30000
#define REST_SHARE 4	 /* times as long as it took is rested after a LOOK_SUMMED */

int tailer_init(struct tailer *tailer, struct catalog *catalog, struct error *err)
{
	*tailer = (struct tailer){ .catalog = catalog, .bell_fd = -1, .inotify_fd = -1 };
	pthread_mutex_init(&tailer->mutex, NULL);
	pthread_cond_init(&tailer->sync_wanted, NULL);
	tailer->bell_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (tailer->bell_fd < 0)
		return error_set_errno(err, errno, "cannot create an eventfd");
	/* Without inotify (limits) capture is as right, only less prompt. */
	tailer->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	return 0;
}

void tailer_done(struct tailer *tailer)
{
	if (tailer->catalog == NULL)
		return;
	tailer_stop(tailer);
	if (tailer->bell_fd >= 0)
		close(tailer->bell_fd);
	if (tailer->inotify_fd >= 0)
		close(tailer->inotify_fd);
	free(tailer->open);
	pthread_cond_destroy(&tailer->sync_wanted);
	pthread_mutex_destroy(&tailer->mutex);
}

static void ring(struct tailer *tailer)
{
	uint64_t one = 1;
	ssize_t n = write(tailer->bell_fd, &one, sizeof(one));

	(void)n; /* EAGAIN: it is ringing already */
}

void tailer_add(struct database *db)
{
	struct tailer *tailer = &db->catalog->tailer;
	struct database **open;

	pthread_mutex_lock(&tailer->mutex);
	open = db->listed ? NULL : realloc(tailer->open, (tailer->n_open + 1) * sizeof(*open));
	if (open != NULL) {
		tailer->open = open;
		open[tailer->n_open++] = database_ref(db);
		db->listed = true;
		db->hot_until_ms = clock_mono_ms() + HOT_MS;
	}
	pthread_mutex_unlock(&tailer->mutex);
	ring(tailer);
}

static void remove_watch(struct tailer *tailer, struct database *db)
{
	if (db->watch >= 0)
		inotify_rm_watch(tailer->inotify_fd, db->watch);
	db->watch = -1;
}

void tailer_remove(struct database *db)
{
	struct tailer *tailer = &db->catalog->tailer;
	bool listed;

	pthread_mutex_lock(&tailer->mutex);
	listed = db->listed;
	db->listed = false;
	remove_watch(tailer, db);
	for (size_t i = 0; i < tailer->n_open; i++) {
		if (tailer->open[i] == db)
			tailer->open[i--] = tailer->open[--tailer->n_open];
	}
	pthread_mutex_unlock(&tailer->mutex);
	if (listed)
		database_unref(db); /* the caller has one of its own */
}

void tailer_ring(struct database *db)
{
	struct tailer *tailer = &db->catalog->tailer;

	if (!atomic_load(&tailer->idle))
		return;
	pthread_mutex_lock(&tailer->mutex);
	db->hot_until_ms = clock_mono_ms() + HOT_MS;
	pthread_mutex_unlock(&tailer->mutex);
	ring(tailer);
}

/* Waits for a write to the -wal, once. Only the tailer's thread calls this. */
static void add_watch(struct tailer *tailer, struct database *db, int wal_fd)
{
	char path[64];

	if (tailer->inotify_fd < 0 || wal_fd < 0)
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", wal_fd);
	db->watch = inotify_add_watch(tailer->inotify_fd, path, IN_MODIFY | IN_ONESHOT);
}

enum look {
	LOOK_STILL,
	LOOK_SUMMED, /* likewise, by the sums of what has not been committed yet */
	LOOK_MOVED,
	LOOK_FAILED, /* it is in trouble, and status says so */
};

static enum look look(struct tailer *tailer, struct database *db, bool arm)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	uint64_t before;

	LOCK_SCOPE(&db->mutex);
	if (!db->loaded || db->ended)
		return LOOK_STILL;
	before = db->log.position.txid;
	/* Arm first: a commit after the look then rings. */
	if (arm) {
		pthread_mutex_lock(&tailer->mutex);
		if (db->listed && db->watch < 0)
			add_watch(tailer, db, db->tail.fd);
		pthread_mutex_unlock(&tailer->mutex);
	}
	if (capture_catch_up(db, &err) < 0)
		return LOOK_FAILED;
	if (db->log.position.txid != before)
		return LOOK_MOVED;
	return database_index_trusted(db) ? LOOK_STILL : LOOK_SUMMED;
}

/*
 * Whether it is time to look at db: all the while it is busy, once when that is
 * over (to arm the watch), and every now and then. Not while the last failure,
 * which may have been a long comparison, is too recent.
 */
static bool is_due(struct database *db, int64_t now_ms, bool *ret_arm)
{
	bool hot = db->hot_until_ms > now_ms;
	bool cooled = !hot && !db->cold;

	*ret_arm = !hot && db->watch < 0;
	if (db->resting_until_ms > now_ms)
		return false;
	if (!hot && !cooled && now_ms - db->looked_ms < IDLE_LOOK_MS)
		return false;
	db->cold = !hot;
	db->looked_ms = now_ms;
	return true;
}

/* Whether db is busy. */
static bool look_if_due(struct tailer *tailer, struct database *db, int64_t now_ms)
{
	int64_t took_ms;
	enum look found;
	bool hot;
	bool arm;
	bool due;

	pthread_mutex_lock(&tailer->mutex);
	due = is_due(db, now_ms, &arm);
	hot = db->hot_until_ms > now_ms && db->resting_until_ms <= now_ms;
	pthread_mutex_unlock(&tailer->mutex);
	if (!due)
		return hot;
	now_ms = clock_mono_ms();
	found = look(tailer, db, arm);
	took_ms = clock_mono_ms() - now_ms;
	if (found == LOOK_STILL || (found == LOOK_SUMMED && took_ms <= LOOK_MS))
		return hot;
	pthread_mutex_lock(&tailer->mutex);
	if (found == LOOK_SUMMED) {
		/* A transaction that grows is summed at each look, and its writer waits. */
		db->resting_until_ms = clock_mono_ms() + MIN(REST_SHARE * took_ms, IDLE_LOOK_MS);
	} else if (found == LOOK_MOVED) {
		db->hot_until_ms = now_ms + HOT_MS;
		/* While busy the watch would only cost the writers. */
		remove_watch(tailer, db);
	} else {
		db->resting_until_ms = clock_mono_ms() + IDLE_LOOK_MS;
	}
	pthread_mutex_unlock(&tailer->mutex);
	return found == LOOK_MOVED;
}

/* Copies the list, with references; NULL when it is empty. */
static struct database **copy_open(struct tailer *tailer, size_t *ret_n)
{
	struct database **copy;

	LOCK_SCOPE(&tailer->mutex);
	*ret_n = 0;
	copy = calloc(tailer->n_open + 1, sizeof(struct database *));
	for (size_t i = 0; copy != NULL && i < tailer->n_open; i++)
		copy[(*ret_n)++] = database_ref(tailer->open[i]);
	return copy;
}

static bool look_at_all(struct tailer *tailer)
{
	int64_t now_ms = clock_mono_ms();
	size_t n;
	struct database **open = copy_open(tailer, &n);
	bool hot = false;

	for (size_t i = 0; i < n; i++)
		hot |= look_if_due(tailer, open[i], now_ms);
	catalog_list_free(open, n);
	return hot;
}

/* Takes the inotify events; databases that were written are busy from now on. */
static void take_events(struct tailer *tailer)
{
	char bytes[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n;

	if (tailer->inotify_fd < 0)
		return;
	while ((n = read(tailer->inotify_fd, bytes, sizeof(bytes))) > 0) {
		const struct inotify_event *event;

		LOCK_SCOPE(&tailer->mutex);
		for (char *at = bytes; at < bytes + n; at += sizeof(*event) + event->len) {
			event = (const struct inotify_event *)at;
			for (size_t i = 0; i < tailer->n_open; i++) {
				struct database *db = tailer->open[i];

				if (db->watch != event->wd)
					continue;
				db->hot_until_ms = clock_mono_ms() + HOT_MS;
				if (event->mask & (IN_IGNORED | IN_MODIFY))
					db->watch = -1;
			}
		}
	}
}

static uint64_t needed(struct tailer *tailer, struct database *db)
{
	const struct catalog_retention *retention = &tailer->retention;

	return retention->needed != NULL ? retention->needed(retention->arg, db) : UINT64_MAX;
}

/* The share of the cap that one database's log may keep: all, less the others'. */
static void retain(struct tailer *tailer)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	int64_t before_us = clock_wall_us() - tailer->retention.keep_us;
	struct database **list;
	uint64_t total = 0;
	size_t n;

	if (catalog_list(tailer->catalog, true, &list, &n, &ignored) < 0)
		return;
	for (size_t i = 0; i < n; i++)
		total += txlog_size(database_log(list[i]));
	for (size_t i = 0; i < n; i++) {
		struct txlog *log = database_log(list[i]);
		uint64_t size = txlog_size(log);
		uint64_t max = tailer->retention.max_bytes;
		uint64_t over = total > max ? total - max : 0;

		total -= txlog_retain(log, before_us, size > over ? size - over : 0,
				      needed(tailer, list[i]));
	}
	catalog_list_free(list, n);
	catalog_forget_ended(tailer->catalog, before_us);
}

bool tailer_make_room(struct database *db)
{
	struct tailer *tailer = &db->catalog->tailer;
	int64_t before_us = clock_wall_us() - tailer->retention.keep_us;
	bool freed;

	if (!tailer->started)
		return false;
	freed = txlog_retain(&db->log, before_us, tailer->retention.max_bytes,
			     needed(tailer, db)) != 0;
	/* The other databases' turn comes when the thread wakes; sooner it would take ours. */
	tailer->retained_ms = 0;
	ring(tailer);
	return freed;
}

static void *run(void *arg)
{
	struct tailer *tailer = arg;
	bool held = hook_enabled("hold-tailer");

	pthread_setname_np(pthread_self(), "tailer");
	while (!atomic_load(&tailer->stopping)) {
		struct pollfd fds[2] = {
			{ .fd = tailer->bell_fd, .events = POLLIN },
			{ .fd = tailer->inotify_fd, .events = POLLIN },
		};
		bool hot = !held && look_at_all(tailer);
		uint64_t rings;
		ssize_t n;

		if (clock_mono_ms() - tailer->retained_ms >= RETAIN_MS) {
			tailer->retained_ms = clock_mono_ms();
			retain(tailer);
		}
		atomic_store(&tailer->idle, !hot);
		poll(fds, ARRAY_LEN(fds), hot ? LOOK_MS : IDLE_LOOK_MS);
		n = read(tailer->bell_fd, &rings, sizeof(rings));
		(void)n;
		take_events(tailer);
	}
	return NULL;
}

void tailer_sync_log(struct database *db)
{
	struct tailer *tailer = &db->catalog->tailer;

	LOCK_SCOPE(&tailer->mutex);
	db->sync_wanted = true;
	pthread_cond_signal(&tailer->sync_wanted);
}

/* A database whose log is to be synced, with a reference, or NULL; mutex held. */
static struct database *take_wanted(struct tailer *tailer)
{
	for (size_t i = 0; i < tailer->n_open; i++) {
		struct database *db = tailer->open[i];

		if (!db->sync_wanted)
			continue;
		db->sync_wanted = false;
		return database_ref(db);
	}
	return NULL;
}

/* What fails here fails again, and is reported, at the barrier that needs it. */
static void *run_syncer(void *arg)
{
	struct tailer *tailer = arg;

	pthread_setname_np(pthread_self(), "log-syncer");
	LOCK_SCOPE(&tailer->mutex);
	while (!atomic_load(&tailer->stopping)) {
		CLEANUP_ERROR struct error ignored = ERROR_INIT;
		struct database *db = take_wanted(tailer);

		if (db == NULL) {
			pthread_cond_wait(&tailer->sync_wanted, &tailer->mutex);
			continue;
		}
		pthread_mutex_unlock(&tailer->mutex);
		(void)!database_sync_log(db, &ignored);
		database_unref(db);
		pthread_mutex_lock(&tailer->mutex);
	}
	return NULL;
}

int tailer_start(struct tailer *tailer, const struct catalog_retention *retention,
		 struct error *err)
{
	int r;

	tailer->retention = *retention;
	tailer->retained_ms = clock_mono_ms();
	r = pthread_create(&tailer->thread, NULL, run, tailer);
	if (r != 0)
		return error_set_errno(err, r, "cannot start the tailer thread");
	tailer->started = true;
	/* Without it the barriers sync the log all by themselves. */
	tailer->syncer_started = pthread_create(&tailer->syncer, NULL, run_syncer, tailer) == 0;
	return 0;
}

void tailer_stop(struct tailer *tailer)
{
	if (!tailer->started)
		return;
	pthread_mutex_lock(&tailer->mutex);
	atomic_store(&tailer->stopping, true);
	pthread_cond_broadcast(&tailer->sync_wanted);
	pthread_mutex_unlock(&tailer->mutex);
	ring(tailer);
	pthread_join(tailer->thread, NULL);
	if (tailer->syncer_started)
		pthread_join(tailer->syncer, NULL);
	tailer->syncer_started = false;
	tailer->started = false;
}
