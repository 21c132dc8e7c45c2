/* SPDX-License-Identifier: MIT */
#include "replicate/database.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/hook.h"
#include "replicate/database_internal.h"
#include "replicate/page.h"

#include <errno.h>

/* With fewer transactions it is not worth waking a thread to sync the log ahead. */
#define SYNC_AHEAD_MIN 16

static const char *const suffixes[DATABASE_N_FILES] = { "", "-wal", "-shm", "-journal" };

struct database *database_ref(struct database *db)
{
	atomic_fetch_add(&db->refs, 1);
	return db;
}

const struct id *database_id(const struct database *db)
{
	return &db->id;
}

char *database_name(struct database *db)
{
	LOCK_SCOPE(&db->mutex);
	return strdup(db->name);
}

int database_open_file(struct database *db, enum database_file file, int flags)
{
	char *path CLEANUP_FREE = NULL;

	if (asprintf(&path, "%s%s", db->name, suffixes[file]) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	return file_open_beneath(database_options(db)->root_fd, path, flags, 0);
}

enum database_mode database_mode(struct database *db)
{
	uint8_t bytes[PAGE_HEADER_LEN];
	struct page_header header;
	int fd CLEANUP_FD = -1;
	ssize_t n;

	pthread_mutex_lock(&db->mutex);
	fd = database_open_file(db, DATABASE_MAIN, O_RDONLY);
	pthread_mutex_unlock(&db->mutex);
	n = fd < 0 ? -1 : file_pread(fd, bytes, sizeof(bytes), 0);
	if (n <= 0)
		return DATABASE_EMPTY;
	if (n < (ssize_t)sizeof(bytes) || !page_header_parse(bytes, &header))
		return DATABASE_OPAQUE;
	return header.read_version == 2 ? DATABASE_WAL_MODE : DATABASE_ROLLBACK;
}

uint64_t database_page_hash(void *arg, uint32_t pgno)
{
	struct database *db = arg;

	return pgno <= db->log.extent.n_pages ? hashfile_get(&db->hashes, pgno) : 0;
}

static int64_t mtime_ns(const struct stat *st)
{
	return st->st_mtim.tv_sec * 1000000000LL + st->st_mtim.tv_nsec;
}

static uint64_t head_hash(int fd, size_t len)
{
	uint8_t bytes[PAGE_HEADER_LEN];
	ssize_t n = file_pread(fd, bytes, len, 0);

	return n > 0 ? hash64(bytes, (size_t)n, 0) : 0;
}

int database_take_evidence(struct database *db, struct evidence *ret_evidence, struct error *err)
{
	int wal_fd CLEANUP_FD = database_open_file(db, DATABASE_WAL, O_RDONLY);
	struct stat st;

	*ret_evidence = (struct evidence){ 0 };
	if (fstat(db->main_fd, &st) < 0)
		return error_set_errno(err, errno, "cannot stat %s", db->name);
	ret_evidence->inode = st.st_ino;
	ret_evidence->size = (uint64_t)st.st_size;
	ret_evidence->mtime_ns = mtime_ns(&st);
	ret_evidence->head_hash = head_hash(db->main_fd, PAGE_HEADER_LEN);
	if (wal_fd >= 0 && fstat(wal_fd, &st) == 0 && st.st_size != 0) {
		ret_evidence->wal_size = (uint64_t)st.st_size;
		ret_evidence->wal_mtime_ns = mtime_ns(&st);
		ret_evidence->wal_head_hash = head_hash(wal_fd, WAL_HEADER_LEN);
	}
	return 0;
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

int database_settle(struct database *db, struct error *err)
{
	struct evidence now;
	int r = database_take_evidence(db, &now, err);

	if (r < 0)
		return r;
	if (db->have_evidence && memcmp(&now, &db->evidence, sizeof(now)) == 0 && !db->suspect &&
	    db->log.position.generation != 0)
		return 0;
	db->have_evidence = false;
	r = compare_all(db, err);
	if (r != 0) {
		db->suspect = true;
		return r;
	}
	db->evidence = now;
	db->have_evidence = true;
	database_changed(db);
	return 0;
}

/* Opens what work on the database needs. No-op when it is loaded. */
int database_load(struct database *db, struct error *err)
{
	char *path CLEANUP_FREE = NULL;
	struct position position;
	int r;

	if (db->loaded)
		return 0;
	db->main_fd = database_open_file(db, DATABASE_MAIN, O_RDONLY);
	if (db->main_fd < 0) {
		r = db->main_fd;
		db->main_fd = -1;
		return error_set_errno(err, -r, "cannot open %s", db->name);
	}
	if (asprintf(&path, "%s/hashes", db->state_path) < 0) {
		path = NULL;
		return error_set(err, ENOMEM, "out of memory");
	}
	r = hashfile_open(&db->hashes, database_options(db)->state_fd, path, &db->id, err);
	if (r >= 0)
		r = hashfile_reserve(&db->hashes, db->log.extent.n_pages, err);
	position = r == 0 ? hashfile_position(&db->hashes, NULL) : (struct position){ 0 };
	if (r == 0 && !position_equal(&position, &db->log.position))
		db->suspect = true; /* recovery would have set this right */
	db->loaded = true;
	if (r == 0) {
		db->tail.fd = MAX(database_open_file(db, DATABASE_WAL, O_RDONLY), -1);
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

/* The first client: nobody may have touched the files since the last one. */
static int first_open(struct database *db, struct error *err)
{
	int r = database_load(db, err);

	if (r < 0)
		return r;
	r = hashfile_mark_dirty(&db->hashes, err);
	if (r == 0 && !db->suspect)
		r = capture_catch_up(db, err);
	if (r == 0)
		r = database_settle(db, err);
	if (r < 0)
		database_unload(db);
	return r < 0 ? r : 0;
}

/*
 * A -shm that the first client finds was left by programs that died, and says
 * what was true then: SQLite truncates it before use, and until then it counts
 * for nothing.
 */
static void index_opened(struct database *db, bool create, bool visible)
{
	bool left_behind = db->n_open[DATABASE_SHM] == 0 && !create;

	db->index_visible = visible && !left_behind && (create || db->index_visible);
	db->index_on_disk = visible;
}

int database_opening(struct database *db, enum database_file file, bool create, bool writable,
		     bool visible, struct error *err)
{
	bool first;
	int r = 0;

	LOCK_SCOPE(&db->mutex);
	if (db->ended)
		return 0;
	first = !database_in_use(db);
	if (first)
		r = first_open(db, err);
	/* What a rollback-mode database has become must be known before its first frame. */
	if (r == 0 && file == DATABASE_WAL && create)
		r = database_settle(db, err);
	if (r < 0) {
		if (first && db->loaded)
			database_unload(db);
		return error_wrap(err, "%s", db->name);
	}
	if (file == DATABASE_SHM)
		index_opened(db, create, visible);
	db->n_open[file]++;
	if (first)
		tailer_add(db);
	return 0;
}

int database_remember_evidence(struct database *db, struct error *err)
{
	int r = database_take_evidence(db, &db->evidence, err);

	db->have_evidence = r == 0;
	return r;
}

/* The last client has gone: take in what is left, and remember how it looks. */
static void last_release(struct database *db)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int r = capture_catch_up(db, &err);

	/* Whoever opens it next begins with a recovery of its WAL, which drops some of it. */
	if (db->tail.outside) {
		wal_tail_reset(&db->tail);
		db->suspect = true;
	}
	/* With a WAL left behind everything is in it; else the file may have changed. */
	if (r == 0 && (db->suspect || db->tail.page_size == 0))
		r = database_settle(db, &err);
	else if (r == 0)
		r = database_remember_evidence(db, &err);
	if (r > 0)
		error_set(&err, EAGAIN, "a rollback journal waits to be played back; captured %s",
			  "when the database has been opened and closed again");
	if (r != 0) {
		db->have_evidence = false;
		database_set_trouble(db, &err);
	}
	database_unload(db);
}

void database_released(struct database *db, enum database_file file, bool writable)
{
	LOCK_SCOPE(&db->mutex);
	if (db->n_open[file] == 0)
		return;
	db->n_open[file]--;
	if (file == DATABASE_SHM && db->n_open[file] == 0 && db->tail.index_fd >= 0) {
		close(db->tail.index_fd);
		db->tail.index_fd = -1;
	}
	if (database_in_use(db))
		return;
	tailer_remove(db);
	if (db->loaded && !db->ended)
		last_release(db);
	else if (db->loaded)
		database_unload(db);
}

void database_wrote(struct database *db, enum database_file file)
{
	if (file == DATABASE_WAL)
		tailer_ring(db);
}

/* The moment that precedes every restart of the WAL: all of it must be captured. */
static int begin_main_truncate(struct database *db, struct error *err)
{
	int r = capture_catch_up(db, err);

	if (r < 0)
		return r;
	if (db->tail.fd < 0)
		return 0;
	if (!database_index_trusted(db) && wal_tail_chain_broken(&db->tail)) {
		r = compare_main(db, err);
		if (r < 0)
			return r;
		db->lost |= r > 0;
	}
	if (db->tail.synced) {
		r = txlog_sync(&db->log, err);
		if (r < 0)
			return r;
		db->tail.synced = false;
	}
	db->tail.now.announced = db->tail.now.captured;
	return 0;
}

/*
 * A WAL that is synced with nothing behind what is published: a checkpoint begins.
 * The log must be durable when that truncates the database, so it is synced from
 * now on, beside the WAL and the writing of the pages.
 */
static void sync_log_ahead(struct database *db)
{
	if (db->n_transactions - db->n_synced_ahead < SYNC_AHEAD_MIN ||
	    wal_tail_goes_on(&db->tail))
		return;
	db->n_synced_ahead = db->n_transactions;
	tailer_sync_log(db);
}

static int begin_locked(struct database *db, enum database_file file, enum database_barrier what,
			struct error *err)
{
	int r = 0;

	if (db->ended || !db->loaded || hook_enabled("no-barrier"))
		return 0;
	if (file == DATABASE_MAIN)
		return what == DATABASE_TRUNCATE ? begin_main_truncate(db, err) : 0;
	if (file != DATABASE_WAL && file != DATABASE_SHM)
		return 0;
	r = capture_catch_up(db, err);
	if (file == DATABASE_SHM)
		return 0; /* the WAL keeps what was not captured */
	if (what != DATABASE_SYNC)
		return r;
	/* A commit may be waiting for this: a log that is full or failing is not its business. */
	db->tail.synced = true;
	if (r == 0)
		sync_log_ahead(db);
	return 0;
}

int database_barrier_begin(struct database *db, enum database_file file,
			   enum database_barrier what, uint64_t size, struct error *err)
{
	int r;

	pthread_mutex_lock(&db->mutex);
	r = begin_locked(db, file, what, err);
	if (r == 0 && what == DATABASE_TRUNCATE && file == DATABASE_MAIN && size == 0)
		db->suspect = true; /* no checkpoint does that */
	/* A log that cannot be written keeps the WAL; it refuses no other work. */
	if (r < 0) {
		error_wrap(err, "%s", db->name);
		if (r == -EDQUOT)
			r = -ENOSPC;
		if (r != -ENOSPC && r != -EIO)
			r = -EIO;
	}
	if (r < 0 || what == DATABASE_SYNC)
		pthread_mutex_unlock(&db->mutex);
	return r;
}

/*
 * The WAL is gone or empty; what was in it must be in the database file by now,
 * whose looks are remembered to tell whether it is written without a WAL next.
 */
static void end_wal_reset(struct database *db, enum database_barrier what)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;

	if (db->tail.now.captured != db->tail.now.announced || db->lost)
		db->suspect = true;
	db->lost = false;
	wal_tail_reset(&db->tail);
	if (what == DATABASE_UNLINK && db->tail.fd >= 0) {
		close(db->tail.fd);
		db->tail.fd = -1;
	}
	if (!db->suspect && database_remember_evidence(db, &ignored) < 0)
		db->have_evidence = false;
}

void database_barrier_end(struct database *db, enum database_file file, enum database_barrier what,
			  int result)
{
	struct stat st;

	if (what == DATABASE_SYNC)
		return;
	if (result == 0 && db->loaded && file == DATABASE_WAL &&
	    (what == DATABASE_UNLINK ||
	     (db->tail.fd >= 0 && fstat(db->tail.fd, &st) == 0 && st.st_size == 0)))
		end_wal_reset(db, what);
	if (result == 0 && file == DATABASE_SHM && what == DATABASE_TRUNCATE)
		db->index_visible = db->index_on_disk;
	if (result == 0 && db->loaded && file == DATABASE_SHM && what == DATABASE_UNLINK &&
	    db->tail.index_fd >= 0) {
		close(db->tail.index_fd);
		db->tail.index_fd = -1;
	}
	pthread_mutex_unlock(&db->mutex);
}

struct txlog *database_log(struct database *db)
{
	return &db->log;
}

int database_catch_up(struct database *db, struct error *err)
{
	LOCK_SCOPE(&db->mutex);
	return capture_catch_up(db, err);
}

struct position database_position(struct database *db, struct extent *ret_extent,
				  int64_t *ret_time_us)
{
	return txlog_position(&db->log, ret_extent, ret_time_us);
}

int database_sync_log(struct database *db, struct error *err)
{
	struct txlog_sync_pending pending;
	int r;

	pthread_mutex_lock(&db->mutex);
	r = txlog_sync_begin(&db->log, &pending, err);
	pthread_mutex_unlock(&db->mutex);
	if (r != 0)
		return r < 0 ? r : 0;
	/* Commits and barriers go on meanwhile. */
	r = fdatasync(pending.fd) < 0 ? -errno : 0;
	LOCK_SCOPE(&db->mutex);
	r = txlog_sync_end(&db->log, &pending, r, err);
	if (!db->loaded)
		txlog_idle(&db->log);
	return r;
}

int database_status(struct database *db, struct database_status *ret_status, struct error *err)
{
	enum database_mode mode = database_mode(db);

	LOCK_SCOPE(&db->mutex);
	*ret_status = (struct database_status){
		.name = strdup(db->name),
		.id = db->id,
		.mode = mode,
		.log_bytes = txlog_size(&db->log),
		.open = database_in_use(db),
		.trouble = db->trouble != NULL ? strdup(db->trouble) : NULL,
		.n_transactions = db->n_transactions,
		.n_merged = db->n_merged,
		.n_unannounced = db->n_unannounced,
	};
	ret_status->position = txlog_position(&db->log, &ret_status->extent, &ret_status->time_us);
	ret_status->oldest = txlog_oldest(&db->log, &ret_status->oldest_time_us);
	if (ret_status->name == NULL || (db->trouble != NULL && ret_status->trouble == NULL)) {
		database_status_done(ret_status);
		return error_set(err, ENOMEM, "out of memory");
	}
	return 0;
}

void database_status_done(struct database_status *status)
{
	free(status->name);
	free(status->trouble);
	*status = (struct database_status){ 0 };
}
