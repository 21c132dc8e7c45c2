/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "replicate/companion.h"
#include "replicate/database_internal.h"
#include "replicate/database_journal.h"
#include "replicate/page.h"
#include "replicate/rollback.h"

#include <errno.h>

/* What a database holds while somebody uses it, and how its files look at rest. */

/* Two of the kernel's slowest clock ticks (100 Hz): coarse file times lag so far at most. */
#define TICK_US 20000

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

int database_continue_log(struct database *db, struct error *err)
{
	if (!db->log.new_generation || db->log.position.generation == 0)
		return 0;
	return database_begin_generation(db, db->log.position.txid, db->log.position.checksum,
					 db->log.extent, &db->log.mark, err);
}

/*
 * Whether the evidence shows every write since: by the change counter in page 1,
 * or, where commits leave no mark there, by the file's time.
 */
static bool evidence_tells(const struct database *db)
{
	return db->have_evidence && (db->written_complete || !db->unmarked || !db->time_unsure);
}

bool database_as_remembered(struct database *db)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	struct evidence now;

	return evidence_tells(db) && !db->suspect && db->log.position.generation != 0 &&
	       !(db->written_complete && written_any(&db->written)) &&
	       database_take_evidence(db, &now, &ignored) == 0 &&
	       memcmp(&now, &db->evidence, sizeof(now)) == 0;
}

bool database_look_at_main(const struct database *db, struct main_look *ret_look)
{
	struct stat st;

	if (fstat(db->main_fd, &st) < 0)
		return false;
	*ret_look = (struct main_look){
		.size = (uint64_t)st.st_size,
		.mtime_ns = mtime_ns(&st),
	};
	return true;
}

bool database_main_as_remembered(const struct database *db, const struct main_look *look)
{
	return db->have_evidence && look->size == db->evidence.size &&
	       look->mtime_ns == db->evidence.mtime_ns;
}

void database_note_coarse(struct database *db)
{
	if (!db->coarse)
		log_warn("database=%s changes without a journal that tells of it (journal_mode "
			 "MEMORY or OFF, synchronous=OFF, or not by SQLite): several "
			 "transactions may be captured as one",
			 db->name);
	db->coarse = true;
}

void database_forget_written(struct database *db)
{
	struct written_range *ranges;
	size_t ignored;

	written_take(&db->written, &ranges, &ignored);
	free(ranges);
	db->written_complete = db->n_open[DATABASE_MAIN] != 0 && !db->writes_unseen;
}

/* As compare_all(), from what was written where all of that is known. */
static int capture_rest(struct database *db, struct error *err)
{
	int r = 1;

	if (db->written_complete && db->tail.page_size == 0 && !database_journal_hot(db))
		r = rollback_written(db, RECORD_MERGED, err);
	return r == 1 ? compare_all(db, err) : r;
}

int database_settle(struct database *db, struct error *err)
{
	int r;

	if (database_as_remembered(db)) {
		if (!db->left_hot)
			return 0;
		if (database_journal_hot(db))
			return 1;
	}
	db->have_evidence = false;
	db->left_hot = false;
	r = capture_rest(db, err);
	if (r == 0)
		r = database_remember_evidence(db, err);
	db->suspect |= r != 0;
	return r;
}

/* Opens what work on the database needs. No-op when it is loaded. */
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

int database_remember_evidence(struct database *db, struct error *err)
{
	int r = database_take_evidence(db, &db->evidence, err);

	db->have_evidence = r == 0;
	db->time_unsure = !catalog_times_fine(db->catalog) &&
			     clock_wall_us() - db->evidence.mtime_ns / 1000 < TICK_US;
	return r;
}

