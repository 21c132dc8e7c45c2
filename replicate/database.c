/* SPDX-License-Identifier: MIT */
#include "replicate/database.h"

#include "base/file.h"
#include "replicate/database_evidence.h"
#include "replicate/database_internal.h"
#include "replicate/database_journal.h"
#include "replicate/gate.h"
#include "replicate/page.h"

#include <errno.h>

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

/* Reads the header: blocks for one pread, outside any lock. */
static enum database_mode read_mode(struct database *db)
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

bool database_cached_is_faster(struct database *db)
{
	enum database_mode mode = read_mode(db);
	int fd CLEANUP_FD = -1;
	struct stat st;

	if (mode != DATABASE_OPAQUE)
		return mode == DATABASE_ROLLBACK;
	pthread_mutex_lock(&db->mutex);
	fd = database_open_file(db, DATABASE_WAL, O_PATH);
	pthread_mutex_unlock(&db->mutex);
	return fd < 0 || (fstat(fd, &st) == 0 && st.st_size == 0);
}

/* A log without room keeps nobody out: what is not captured yet stays where it is. */
static int excuse_full_log(struct database *db, int r, struct error *err)
{
	if (r != -ENOSPC)
		return r;
	database_set_trouble(db, err);
	error_done(err);
	return 1;
}

/* As database_settle(); 1 also when the log has no room for what it found. */
static int settle_for_client(struct database *db, struct error *err)
{
	int r = database_settle(db, err);

	if (r < 0)
		r = excuse_full_log(db, r, err);
	db->lost |= r == 1; /* a WAL that follows begins with a comparison */
	return r;
}

/* Whether a WAL was begun while nobody looked, over what the position does not have. */
static bool wal_foreign(struct database *db)
{
	const struct evidence *evidence =
		db->have_evidence && !db->time_unsure ? &db->evidence : NULL;

	return database_wal_foreign(db, evidence);
}

/*
 * The first client: nobody may have touched the files since the last one. 1 = not
 * all is captured: a journal waits to be played back, or the log has no room.
 */
static int first_open(struct database *db, struct error *err)
{
	int r = database_load(db, err);
	bool foreign;

	if (r < 0)
		return r;
	r = hashfile_mark_dirty(&db->hashes, err);
	foreign = r == 0 && !db->suspect && wal_foreign(db);
	if (r == 0 && !db->suspect && !foreign)
		r = capture_catch_up(db, err);
	if (r == 0)
		r = settle_for_client(db, err);
	else
		r = excuse_full_log(db, r, err);
	db->lost |= foreign && r > 0; /* only a comparison takes in what is in that WAL */
	if (r < 0)
		database_unload(db);
	return r;
}

/* settled: all that is in the file is captured. */
static void main_opened(struct database *db, bool told, bool settled)
{
	if (!told) {
		db->writes_unseen = true;
		db->written_complete = false;
	} else if (settled) {
		database_forget_written(db);
	}
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
	db->wal_ends = false;
	if (create)
		wal_tail_close_index(&db->tail); /* another one has that name now */
}

/*
 * What a rollback-mode database has become must be known before the first frame
 * of its WAL, whose file may be there already, empty.
 */
static int wal_opening(struct database *db, bool create, struct error *err)
{
	int r = 0;

	db->wal_ends = false;
	if (!create && db->tail.page_size == 0)
		r = capture_catch_up(db, err);
	if (r == 0 && (create || db->tail.page_size == 0))
		return settle_for_client(db, err);
	return excuse_full_log(db, r, err);
}

int database_opening(struct database *db, enum database_file file, unsigned flags,
		     struct error *err)
{
	bool create = (flags & DATABASE_OPEN_CREATE) != 0;
	bool first;
	int r = 0;

	LOCK_SCOPE(&db->mutex);
	if (db->ended)
		return 0;
	first = !database_in_use(db);
	if (first)
		r = first_open(db, err);
	if (r == 0 && file == DATABASE_WAL)
		r = wal_opening(db, create, err);
	if (file == DATABASE_JOURNAL)
		database_journal_opening(db, (flags & DATABASE_OPEN_WRITABLE) != 0);
	if (r < 0) {
		if (first && db->loaded)
			database_unload(db);
		return error_wrap(err, "%s", db->name);
	}
	if (file == DATABASE_SHM)
		index_opened(db, create, (flags & DATABASE_OPEN_VISIBLE) != 0);
	db->n_open[file]++;
	if (file == DATABASE_MAIN)
		main_opened(db, (flags & DATABASE_OPEN_TOLD) != 0, first && r == 0);
	if (first)
		tailer_add(db);
	return 0;
}

/*
 * Nobody is left in a transaction whose journal is still there: the next client
 * plays that back, and nothing will have been changed, unless something was
 * committed unseen before it. 1 = so it is; 2 = it may have been.
 */
static int leave_hot(struct database *db, struct error *err)
{
	bool sure;
	int r;

	if (db->suspect || db->tail.page_size != 0 || db->log.position.generation == 0 ||
	    !database_journal_hot(db))
		return 0;
	sure = (db->left_hot && database_as_remembered(db)) || database_journal_began_quiet(db);
	db->left_hot = false;
	if (!sure)
		return 2;
	r = database_remember_evidence(db, err);
	db->left_hot = r == 0;
	return r == 0 ? 1 : r;
}

/* What only shows now was committed in ways that nothing tells of. */
static int settle_at_close(struct database *db, struct error *err)
{
	uint64_t n_before = db->n_merged;
	bool suspect = db->suspect;
	int r = database_settle(db, err);

	if (r == 0 && !suspect && db->n_merged != n_before)
		database_note_coarse(db);
	return r;
}

/* The last client has gone: take in what is left, and remember how it looks. */
static void last_release(struct database *db)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int r;

	db->wal_ends = false;
	r = capture_catch_up(db, &err);
	/* Whoever opens it next begins with a recovery of its WAL, which drops some of it. */
	if (db->tail.outside) {
		wal_tail_reset(&db->tail);
		db->suspect = true;
	}
	if (r == 0)
		r = leave_hot(db, &err);
	db->suspect |= r == 2;
	/* With a WAL left behind everything is in it; else the file may have changed. */
	if (r == 0 && (db->suspect || db->tail.page_size == 0))
		r = settle_at_close(db, &err);
	else if (r == 0)
		r = database_remember_evidence(db, &err);
	if (r > 0)
		error_set(&err, EAGAIN, "a rollback journal waits to be played back; captured %s",
			  "when the database has been opened again");
	if (r != 0) {
		db->have_evidence &= db->left_hot;
		database_set_trouble(db, &err);
	}
	database_unload(db);
}

bool database_is_open(struct database *db, enum database_file file)
{
	LOCK_SCOPE(&db->mutex);

	return db->n_open[file] != 0;
}

void database_released(struct database *db, enum database_file file)
{
	LOCK_SCOPE(&db->mutex);
	if (db->n_open[file] == 0)
		return;
	db->n_open[file]--;
	if (file == DATABASE_SHM && db->n_open[file] == 0)
		wal_tail_close_index(&db->tail);
	if (file == DATABASE_MAIN && db->n_open[file] == 0)
		db->writes_unseen = false;
	if (database_in_use(db))
		return;
	tailer_remove(db);
	if (db->loaded && !db->ended)
		last_release(db);
	else if (db->loaded)
		database_unload(db);
}

int database_writing(struct database *db, enum database_file file, uint64_t off, uint64_t len,
		     struct error *err)
{
	if (file != DATABASE_WAL)
		return 0;
	LOCK_SCOPE(&db->mutex);
	/* An ended one's name may be another's by now, and its log gets nothing more. */
	if (db->ended || !db->loaded)
		return 0;
	return gate_wal_write(db, off, len, err);
}

void database_wrote(struct database *db, enum database_file file, uint64_t off, uint64_t len)
{
	if (file == DATABASE_MAIN)
		written_note(&db->written, off, len);
	if (file == DATABASE_WAL)
		tailer_ring(db);
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
	enum database_mode mode = read_mode(db);

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
		.coarse = db->coarse,
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
