/* SPDX-License-Identifier: MIT */
#include "replicate/catalog_internal.h"

#include <errno.h>

/* How database objects come and go. */

void database_changed(struct database *db)
{
	const struct catalog_options *options = &db->catalog->options;

	if (options->changed != NULL)
		options->changed(options->arg, db);
}

static void init_mutex(pthread_mutex_t *mutex, int type)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, type);
	pthread_mutex_init(mutex, &attr);
	pthread_mutexattr_destroy(&attr);
}

static void database_free(struct database *db)
{
	if (db->loaded)
		database_unload(db);
	txlog_close(&db->log);
	wal_tail_done(&db->tail);
	written_done(&db->written);
	log_repeat_done(&db->repeat);
	pthread_mutex_destroy(&db->mutex);
	free(db->trouble);
	free(db->state_path);
	free(db->name);
	free(db);
}

void database_unref(struct database *db)
{
	if (db != NULL && atomic_fetch_sub(&db->refs, 1) == 1)
		database_free(db);
}

/* Makes the object and opens its log; it is not in the catalog yet. */
int database_new(struct catalog *catalog, const struct id *id, const char *name,
		 struct database **ret_db, struct error *err)
{
	struct database *db = calloc(1, sizeof(*db));
	char hex[ID_HEX_LEN + 1];
	struct txlog_state state;
	int r;

	if (db == NULL)
		return error_set(err, ENOMEM, "out of memory");
	id_format(id, hex);
	atomic_init(&db->refs, 1);
	db->catalog = catalog;
	db->id = *id;
	db->main_fd = -1;
	db->watch = -1;
	db->name = strdup(name);
	if (asprintf(&db->state_path, "db/%s", hex) < 0)
		db->state_path = NULL;
	init_mutex(&db->mutex, PTHREAD_MUTEX_RECURSIVE);
	db->journal.fd = -1;
	written_init(&db->written);
	wal_tail_init(&db->tail);
	r = db->name != NULL && db->state_path != NULL ?
		    txlog_open(&db->log, catalog->options.state_fd, db->state_path,
			       catalog->options.log_file_size, &state, err) :
		    error_set(err, ENOMEM, "out of memory");
	if (r < 0) {
		database_free(db);
		return r;
	}
	if (state.damaged) {
		log_error("database=%s %s; the log goes on in a new generation, the damaged %s",
			  name, error_what(err), "file is kept");
		database_set_trouble(db, err);
		error_done(err);
	}
	if (state.torn != 0)
		log_info("database=%s cut %llu bytes of an unfinished record off its log", name,
			 (unsigned long long)state.torn);
	*ret_db = db;
	return 0;
}
