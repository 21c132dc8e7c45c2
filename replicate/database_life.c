/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "base/file.h"
#include "replicate/catalog_internal.h"
#include "replicate/companion.h"
#include "replicate/database_evidence.h"
#include "replicate/database_journal.h"
#include "replicate/page.h"

#include <errno.h>

/* How database objects come and go, and what one holds while somebody uses it. */

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
	if (state.damaged || state.shortened) {
		log_error("database=%s %s; %s, the damaged file is kept", name, error_what(err),
			  state.damaged ? "the log goes on in a new generation" :
					  "what its log holds begins behind that");
		database_set_trouble(db, err);
		error_done(err);
	}
	if (state.torn != 0)
		log_info("database=%s cut %llu bytes of an unfinished record off its log", name,
			 (unsigned long long)state.torn);
	*ret_db = db;
	return 0;
}

int database_open_file(struct database *db, enum database_file file, int flags)
{
	char *path CLEANUP_FREE = NULL;

	if (asprintf(&path, "%s%s", db->name, companion_suffix(file)) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	return file_open_beneath(database_options(db)->root_fd, path, flags, 0);
}

void database_open_wal(struct database *db)
{
	if (db->tail.fd < 0)
		db->tail.fd = MAX(database_open_file(db, DATABASE_WAL, O_RDONLY), -1);
}

int database_read_main(const struct database *db, uint32_t page_size, uint32_t pgno, uint8_t *page,
		       struct error *err)
{
	ssize_t n = file_pread(db->main_fd, page, page_size, (off_t)(pgno - 1) * page_size);

	if (n < 0)
		return error_set_errno(err, (int)-n, "cannot read the database");
	memset(page + n, 0, page_size - (size_t)n);
	return 0;
}

/* As many frames more than there are may have made a database larger. */
#define SPARE_FRAMES 16

int database_check_size(const struct database *db, uint32_t n_pages, uint32_t frame,
			struct error *err)
{
	uint32_t page_size = db->tail.page_size;
	struct main_look look = { 0 };
	uint64_t most;

	if (!database_look_at_main(db, &look))
		return error_set_errno(err, errno, "cannot stat %s", db->name);
	most = MAX((uint64_t)db->log.extent.n_pages, look.size / page_size) +
	       ((uint64_t)frame + SPARE_FRAMES) * (page_size / 4);
	if (n_pages <= MIN(most, (uint64_t)PAGE_NUMBER_MAX))
		return 0;
	return error_set(err, EBADMSG, "its -wal says that it has %u pages, which cannot be",
			 n_pages);
}

uint64_t database_page_hash(void *arg, uint32_t pgno)
{
	struct database *db = arg;

	return pgno <= db->log.extent.n_pages ? hashfile_get(&db->hashes, pgno) : 0;
}

void database_set_trouble(struct database *db, const struct error *err)
{
	free(db->trouble);
	db->trouble = err != NULL ? strdup(error_what(err)) : NULL;
	if (err != NULL)
		log_repeat_failed(&db->repeat, db->name, err);
	else
		log_repeat_ok(&db->repeat, db->name);
}

int database_begin_generation(struct database *db, uint64_t txid, uint64_t checksum,
			      struct extent extent, const struct wal_mark *mark, struct error *err)
{
	struct log_header head = {
		.node_id = database_options(db)->node_id,
		.database_id = db->id,
		.term = db->log.head.term,
		.parent = db->log.position,
		.base = { .txid = txid, .checksum = checksum },
		.extent = extent,
		.mark = *mark,
		.time_us = clock_wall_us(),
	};
	int r = id_random_u64(&head.base.generation, err);

	if (r < 0)
		return r;
	r = txlog_begin_generation(&db->log, &head, err);
	if (r == 0)
		database_changed(db);
	return r;
}

int database_continue_log(struct database *db, struct error *err)
{
	if (!db->log.new_generation || db->log.position.generation == 0)
		return 0;
	return database_begin_generation(db, db->log.position.txid, db->log.position.checksum,
					 db->log.extent, &db->log.mark, err);
}

int database_load(struct database *db, struct error *err)
{
	char *path CLEANUP_FREE = NULL;
	struct position position;
	int r;

	if (db->loaded)
		return 0;
	if (asprintf(&path, "%s/hashes", db->state_path) < 0) {
		path = NULL;
		return error_set(err, ENOMEM, "out of memory");
	}
	db->main_fd = database_open_file(db, DATABASE_MAIN, O_RDONLY);
	if (db->main_fd < 0) {
		r = db->main_fd;
		db->main_fd = -1;
		return error_set_errno(err, -r, "cannot open %s", db->name);
	}
	r = hashfile_open(&db->hashes, database_options(db)->state_fd, path, &db->id, err);
	if (r >= 0)
		r = hashfile_reserve(&db->hashes, db->log.extent.n_pages, err);
	position = r == 0 ? hashfile_position(&db->hashes, NULL) : (struct position){ 0 };
	if (r == 0 && !position_equal(&position, &db->log.position))
		db->suspect = true; /* recovery would have set this right */
	db->loaded = true;
	if (r == 0) {
		database_open_wal(db);
		r = wal_tail_resume(&db->tail, &db->log.mark, false, database_page_hash, db, err);
	}
	if (r == 1)
		db->suspect = true;
	if (r < 0)
		database_unload(db);
	return r < 0 ? r : 0;
}

void database_unload(struct database *db)
{
	db->suspect |= db->lost;
	db->lost = false;
	db->written_complete = false; /* until somebody has it open again anybody may write to it */
	database_journal_close(db);
	wal_tail_close_files(&db->tail);
	wal_tail_reset(&db->tail);
	walmap_done(&db->tail.map);
	hashfile_close(&db->hashes);
	pagecache_done(&db->cache);
	txlog_idle(&db->log);
	if (db->main_fd >= 0)
		close(db->main_fd);
	db->main_fd = -1;
	db->loaded = false;
}
