/* SPDX-License-Identifier: MIT */
#include "replicate/catalog.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "replicate/catalog_internal.h"
#include "replicate/database_journal.h"
#include "replicate/database_evidence.h"
#include "replicate/page.h"

#include <errno.h>

#define BUCKETS_MIN 64u

uint8_t *catalog_buffer_get(struct catalog *catalog)
{
	uint8_t *buffer = NULL;

	pthread_mutex_lock(&catalog->pool_mutex);
	if (catalog->n_pool != 0)
		buffer = catalog->pool[--catalog->n_pool];
	pthread_mutex_unlock(&catalog->pool_mutex);
	return buffer != NULL ? buffer : malloc(CATALOG_BUFFER_LEN);
}

void catalog_buffer_put(struct catalog *catalog, uint8_t *buffer)
{
	pthread_mutex_lock(&catalog->pool_mutex);
	if (buffer != NULL && catalog->n_pool < ARRAY_LEN(catalog->pool)) {
		catalog->pool[catalog->n_pool++] = buffer;
		buffer = NULL;
	}
	pthread_mutex_unlock(&catalog->pool_mutex);
	free(buffer);
}

const struct catalog_options *catalog_get_options(const struct catalog *catalog)
{
	return &catalog->options;
}

void catalog_report_progress(const struct catalog *catalog, const char *name, uint64_t done,
			     uint64_t total)
{
	const struct catalog_options *options = &catalog->options;

	if (catalog->recovering && options->progress != NULL)
		options->progress(options->arg, name, done, total);
}

static struct catalog_bucket *bucket_of(struct catalog *catalog, const char *name)
{
	uint64_t hash = hash64(name, strlen(name), 0);

	return &catalog->buckets[hash & (catalog->n_buckets - 1)];
}

static int bucket_put(struct catalog_bucket *bucket, struct database *db)
{
	struct database **items = realloc(bucket->items, (bucket->n + 1) * sizeof(*items));

	if (items == NULL)
		return -ENOMEM;
	bucket->items = items;
	items[bucket->n++] = db;
	return 0;
}

static void bucket_take(struct catalog_bucket *bucket, const struct database *db)
{
	for (size_t i = 0; i < bucket->n; i++) {
		if (bucket->items[i] == db)
			bucket->items[i--] = bucket->items[--bucket->n];
	}
}

/* Doubles the buckets once they are full; staying small is harmless. */
static void grow(struct catalog *catalog)
{
	struct catalog bigger = { .n_buckets = catalog->n_buckets * 2 };

	if (catalog->n_databases < catalog->n_buckets)
		return;
	bigger.buckets = calloc(bigger.n_buckets, sizeof(*bigger.buckets));
	if (bigger.buckets == NULL)
		return;
	for (size_t i = 0; i < catalog->n_buckets; i++) {
		struct catalog_bucket *bucket = &catalog->buckets[i];

		for (size_t k = 0; k < bucket->n; k++) {
			/* Out of memory here would lose a database: keep the old table. */
			if (bucket_put(bucket_of(&bigger, bucket->items[k]->name),
				       bucket->items[k]) < 0)
				goto failed;
		}
	}
	for (size_t i = 0; i < catalog->n_buckets; i++)
		free(catalog->buckets[i].items);
	free(catalog->buckets);
	catalog->buckets = bigger.buckets;
	catalog->n_buckets = bigger.n_buckets;
	return;
failed:
	for (size_t i = 0; i < bigger.n_buckets; i++)
		free(bigger.buckets[i].items);
	free(bigger.buckets);
}

/* With the mutex held: takes the reference over. */
static int insert(struct catalog *catalog, struct database *db, struct error *err)
{
	if (bucket_put(bucket_of(catalog, db->name), db) < 0)
		return error_set(err, ENOMEM, "out of memory");
	catalog->n_databases++;
	grow(catalog);
	return 0;
}

static int insert_ended(struct catalog *catalog, struct database *db, struct error *err)
{
	struct database **ended =
		realloc(catalog->ended, (catalog->n_ended + 1) * sizeof(*ended));

	if (ended == NULL)
		return error_set(err, ENOMEM, "out of memory");
	catalog->ended = ended;
	ended[catalog->n_ended++] = db;
	return 0;
}

static int load_one(void *arg, const struct id *id, const char *name, bool ended,
		    struct error *err)
{
	struct catalog *catalog = arg;
	struct database *db;
	int r = database_new(catalog, id, name, &db, err);

	if (r < 0)
		return error_wrap(err, "the state of %s", name);
	db->ended = ended;
	db->ended_us = ended ? catalog_info_time(catalog->options.state_fd, id) : 0;
	r = ended ? insert_ended(catalog, db, err) : insert(catalog, db, err);
	if (r < 0)
		database_unref(db);
	return r;
}

int catalog_open(const struct catalog_options *options, struct catalog **ret_catalog,
		 struct error *err)
{
	struct catalog *catalog = calloc(1, sizeof(*catalog));
	int r;

	if (catalog == NULL)
		return error_set(err, ENOMEM, "out of memory");
	catalog->options = *options;
	catalog->fine_times = file_times_fine(options->root_fd);
	catalog->n_buckets = BUCKETS_MIN;
	catalog->buckets = calloc(BUCKETS_MIN, sizeof(*catalog->buckets));
	pthread_mutex_init(&catalog->mutex, NULL);
	pthread_mutex_init(&catalog->pool_mutex, NULL);
	r = catalog->buckets != NULL ? tailer_init(&catalog->tailer, catalog, err) :
				       error_set(err, ENOMEM, "out of memory");
	if (r == 0)
		r = file_make_dir(options->state_fd, "db", 0700, err);
	if (r == 0)
		r = catalog_each_known(options->state_fd, load_one, catalog, err);
	if (r < 0) {
		catalog_close(catalog);
		return r;
	}
	*ret_catalog = catalog;
	return 0;
}

bool catalog_times_fine(const struct catalog *catalog)
{
	return catalog->fine_times;
}

/* Leaves the clean mark, when the last look at the files still holds. */
static void mark_clean(struct database *db)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct evidence now;
	int r = 0;

	LOCK_SCOPE(&db->mutex);
	if (db->ended || database_in_use(db) || !db->have_evidence || db->suspect || db->left_hot ||
	    db->log.position.generation == 0)
		return;
	r = database_load(db, &err);
	if (r == 0 && !db->suspect)
		r = txlog_sync(&db->log, &err);
	if (r == 0)
		r = database_take_evidence(db, &now, &err);
	if (r == 0 && !db->suspect && memcmp(&now, &db->evidence, sizeof(now)) == 0)
		r = hashfile_mark_clean(&db->hashes, &now, &err);
	if (r < 0)
		log_warn("database=%s no clean mark: %s", db->name, error_what(&err));
	if (db->loaded)
		database_unload(db);
}

void catalog_close(struct catalog *catalog)
{
	if (catalog == NULL)
		return;
	catalog_stop(catalog);
	for (size_t i = 0; catalog->buckets != NULL && i < catalog->n_buckets; i++) {
		for (size_t k = 0; k < catalog->buckets[i].n; k++) {
			if (!catalog->abandoned)
				mark_clean(catalog->buckets[i].items[k]);
			database_unref(catalog->buckets[i].items[k]);
		}
		free(catalog->buckets[i].items);
	}
	for (size_t i = 0; i < catalog->n_ended; i++)
		database_unref(catalog->ended[i]);
	free(catalog->ended);
	free(catalog->buckets);
	for (size_t i = 0; i < catalog->n_pool; i++)
		free(catalog->pool[i]);
	tailer_done(&catalog->tailer);
	pthread_mutex_destroy(&catalog->mutex);
	pthread_mutex_destroy(&catalog->pool_mutex);
	free(catalog);
}

void catalog_abandon(struct catalog *catalog)
{
	catalog->abandoned = true;
}

static struct database *find_locked(struct catalog *catalog, const char *name)
{
	struct catalog_bucket *bucket = bucket_of(catalog, name);

	for (size_t i = 0; i < bucket->n; i++) {
		if (strcmp(bucket->items[i]->name, name) == 0)
			return bucket->items[i];
	}
	return NULL;
}

struct database *catalog_find(struct catalog *catalog, const char *name)
{
	struct database *db;

	LOCK_SCOPE(&catalog->mutex);
	db = find_locked(catalog, name);
	return db != NULL ? database_ref(db) : NULL;
}

struct database *catalog_find_id(struct catalog *catalog, const struct id *id)
{
	LOCK_SCOPE(&catalog->mutex);
	for (size_t i = 0; i < catalog->n_buckets; i++) {
		for (size_t k = 0; k < catalog->buckets[i].n; k++) {
			if (id_equal(&catalog->buckets[i].items[k]->id, id))
				return database_ref(catalog->buckets[i].items[k]);
		}
	}
	return NULL;
}

static bool wanted(struct catalog *catalog, const char *name)
{
	return catalog->options.wanted == NULL || catalog->options.wanted(catalog->options.arg, name);
}

/* Makes a new database known under a fresh id, durably. */
static int create(struct catalog *catalog, const char *name, struct database **ret_db,
		  struct error *err)
{
	struct id id;
	int r = id_random(&id, err);

	if (r == 0)
		r = database_new(catalog, &id, name, ret_db, err);
	if (r < 0)
		return r;
	r = catalog_write_info(catalog, &id, name, false, err);
	if (r < 0)
		database_unref(*ret_db);
	return r;
}

/* Forgets a database that was made just now but could not be captured. */
static void drop_new(struct catalog *catalog, struct database *db)
{
	bool known;

	pthread_mutex_lock(&catalog->mutex);
	known = find_locked(catalog, db->name) == db;
	if (known) {
		bucket_take(bucket_of(catalog, db->name), db);
		catalog->n_databases--;
		database_lock_hurried(db);
		db->ended = true;
		pthread_mutex_unlock(&db->mutex);
	}
	pthread_mutex_unlock(&catalog->mutex);
	if (known) {
		catalog_remove_state(catalog, db->state_path);
		database_unref(db);
	}
}

int catalog_add(struct catalog *catalog, const char *name, bool *ret_new, struct database **ret_db,
		struct error *err)
{
	struct database *db;
	int r;

	*ret_new = false;
	if (!wanted(catalog, name))
		return 1;
	*ret_db = catalog_find(catalog, name);
	if (*ret_db != NULL)
		return 0;
	r = create(catalog, name, &db, err);
	if (r < 0)
		return error_wrap(err, "%s", name);
	pthread_mutex_lock(&catalog->mutex);
	*ret_db = find_locked(catalog, name);
	if (*ret_db == NULL) {
		r = insert(catalog, db, err);
		*ret_db = r == 0 ? db : NULL;
	}
	if (*ret_db != NULL)
		database_ref(*ret_db);
	pthread_mutex_unlock(&catalog->mutex);
	if (*ret_db != db || r < 0) {
		/* Somebody else was faster. */
		catalog_remove_state(catalog, db->state_path);
		database_unref(db);
		return r;
	}
	*ret_new = true;
	return 0;
}

int catalog_begin(struct catalog *catalog, struct database *db, bool last_try, struct error *err)
{
	char *name CLEANUP_FREE = NULL;
	int r = recover_database(db, err);

	if (r < 0 && (r != -ENOENT || last_try))
		drop_new(catalog, db);
	if (r < 0)
		return r;
	name = database_name(db);
	log_info("database=%s is captured from now on", name != NULL ? name : "");
	return 0;
}

int catalog_adopt(struct catalog *catalog, const char *name, struct database **ret_db,
		  struct error *err)
{
	bool is_new;
	int r = catalog_add(catalog, name, &is_new, ret_db, err);

	if (r != 0 || !is_new)
		return r;
	r = catalog_begin(catalog, *ret_db, true, err);
	if (r < 0) {
		database_unref(*ret_db);
		*ret_db = NULL;
	}
	return r;
}

/* With the mutex held: db is no longer under its name; its log stays for a while. */
static void end_database(struct catalog *catalog, struct database *db)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;

	bucket_take(bucket_of(catalog, db->name), db);
	catalog->n_databases--;
	database_lock_hurried(db);
	if (db->loaded && capture_catch_up(db, &err) < 0)
		log_warn("database=%s its last transactions: %s", db->name, error_what(&err));
	db->ended = true;
	db->ended_us = clock_wall_us();
	pthread_mutex_unlock(&db->mutex);
	if (catalog_write_info(catalog, &db->id, db->name, true, &err) < 0)
		log_warn("database=%s cannot note that it ended: %s", db->name, error_what(&err));
	if (insert_ended(catalog, db, &err) < 0)
		database_unref(db);
	else
		database_changed(db);
}

void catalog_removed(struct catalog *catalog, const char *name)
{
	struct database *db;

	LOCK_SCOPE(&catalog->mutex);
	db = find_locked(catalog, name);
	if (db != NULL)
		end_database(catalog, db);
}

/* With the mutex held. */
static void rename_database(struct catalog *catalog, struct database *db, char *name)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;

	bucket_take(bucket_of(catalog, db->name), db);
	database_lock_hurried(db);
	free(db->name);
	db->name = name;
	database_journal_close(db); /* another file has its name now */
	pthread_mutex_unlock(&db->mutex);
	if (bucket_put(bucket_of(catalog, name), db) < 0 ||
	    catalog_write_info(catalog, &db->id, name, false, &err) < 0)
		log_error("database=%s cannot note its new name: %s", name, error_what(&err));
	database_changed(db);
}

/* What stands behind from in name, when name is from or below it; else NULL. */
static const char *below(const char *name, const char *from)
{
	size_t len = strlen(from);

	if (strncmp(name, from, len) != 0 || (name[len] != '\0' && name[len] != '/'))
		return NULL;
	return name + len;
}

void catalog_renamed(struct catalog *catalog, const char *from, const char *to)
{
	struct database **list CLEANUP_FREE = NULL;
	struct database *replaced;
	size_t n = 0;

	LOCK_SCOPE(&catalog->mutex);
	replaced = find_locked(catalog, to);
	if (replaced != NULL)
		end_database(catalog, replaced);
	list = calloc(catalog->n_databases + 1, sizeof(struct database *));
	for (size_t i = 0; list != NULL && i < catalog->n_buckets; i++) {
		for (size_t k = 0; k < catalog->buckets[i].n; k++) {
			if (below(catalog->buckets[i].items[k]->name, from) != NULL)
				list[n++] = catalog->buckets[i].items[k];
		}
	}
	for (size_t i = 0; i < n; i++) {
		char *name;

		if (asprintf(&name, "%s%s", to, below(list[i]->name, from)) >= 0)
			rename_database(catalog, list[i], name);
	}
}

static int by_name(const void *a, const void *b)
{
	const struct database *x = *(struct database *const *)a;
	const struct database *y = *(struct database *const *)b;

	return strcmp(x->name, y->name);
}

int catalog_list(struct catalog *catalog, bool ended, struct database ***ret_list, size_t *ret_n,
		 struct error *err)
{
	size_t n = 0;

	LOCK_SCOPE(&catalog->mutex);
	*ret_list = calloc(catalog->n_databases + catalog->n_ended + 1, sizeof(**ret_list));
	if (*ret_list == NULL)
		return error_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < catalog->n_buckets; i++) {
		for (size_t k = 0; k < catalog->buckets[i].n; k++)
			(*ret_list)[n++] = database_ref(catalog->buckets[i].items[k]);
	}
	for (size_t i = 0; ended && i < catalog->n_ended; i++)
		(*ret_list)[n++] = database_ref(catalog->ended[i]);
	qsort(*ret_list, n, sizeof(**ret_list), by_name);
	*ret_n = n;
	return 0;
}

void catalog_list_free(struct database **list, size_t n)
{
	for (size_t i = 0; list != NULL && i < n; i++)
		database_unref(list[i]);
	free(list);
}

static int adopt_found(void *arg, const char *name, struct error *err)
{
	struct catalog *catalog = arg;
	struct database *db;
	int r;

	if (!wanted(catalog, name))
		return 0;
	db = catalog_find(catalog, name);
	if (db == NULL) {
		r = catalog_adopt(catalog, name, &db, err);
		if (r != 0)
			return r < 0 ? r : 0;
	} else {
		r = recover_database(db, err);
	}
	database_unref(db);
	return r;
}

/* A database that was removed, renamed or excluded while not mounted has ended. */
static int end_missing(struct catalog *catalog, struct error *err)
{
	struct database **list;
	size_t n;
	int r = catalog_list(catalog, false, &list, &n, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		int fd CLEANUP_FD = database_open_file(list[i], DATABASE_MAIN, O_PATH);

		if (fd == -ENOENT || fd == -ENOTDIR || !wanted(catalog, list[i]->name)) {
			log_info("database=%s is no longer there", list[i]->name);
			catalog_removed(catalog, list[i]->name);
		}
	}
	catalog_list_free(list, n);
	return 0;
}

int catalog_recover(struct catalog *catalog, struct error *err)
{
	int r = end_missing(catalog, err);

	if (r < 0)
		return r;
	catalog->recovering = true;
	r = catalog_each_file(catalog->options.root_fd, adopt_found, catalog, err);
	catalog->recovering = false;
	return r;
}

/*
 * Forgets an ended database whose log nobody can want any more: until its end it was
 * there, however long ago it was written.
 */
static bool forget_if_old(struct catalog *catalog, struct database *db, int64_t before_us)
{
	int64_t time_us;

	txlog_position(&db->log, NULL, &time_us);
	if (MAX(time_us, db->ended_us) >= before_us || atomic_load(&db->refs) != 1)
		return false;
	catalog_remove_state(catalog, db->state_path);
	database_unref(db);
	return true;
}

void catalog_forget_ended(struct catalog *catalog, int64_t before_us)
{
	LOCK_SCOPE(&catalog->mutex);
	for (size_t i = 0; i < catalog->n_ended;) {
		if (forget_if_old(catalog, catalog->ended[i], before_us))
			catalog->ended[i] = catalog->ended[--catalog->n_ended];
		else
			i++;
	}
}

int catalog_start(struct catalog *catalog, const struct catalog_retention *retention,
		  struct error *err)
{
	return tailer_start(&catalog->tailer, retention, err);
}

void catalog_stop(struct catalog *catalog)
{
	tailer_stop(&catalog->tailer);
}
