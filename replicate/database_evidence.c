/* SPDX-License-Identifier: MIT */
#include "replicate/database_evidence.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "replicate/database_journal.h"
#include "replicate/page.h"
#include "replicate/rollback.h"

#include <errno.h>

/* Two of the kernel's slowest clock ticks (100 Hz): coarse file times lag so far at most. */
#define TICK_US 20000

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

/* What X itself says; the rest is zero. */
static int take_main_evidence(const struct database *db, struct evidence *ret_evidence,
			      struct error *err)
{
	struct stat st;

	if (fstat(db->main_fd, &st) < 0)
		return error_set_errno(err, errno, "cannot stat %s", db->name);
	*ret_evidence = (struct evidence){
		.inode = st.st_ino,
		.size = (uint64_t)st.st_size,
		.mtime_ns = mtime_ns(&st),
		.head_hash = head_hash(db->main_fd, PAGE_HEADER_LEN),
	};
	return 0;
}

int database_take_evidence(struct database *db, struct evidence *ret_evidence, struct error *err)
{
	int wal_fd CLEANUP_FD = database_open_file(db, DATABASE_WAL, O_RDONLY);
	struct stat st;
	int r = take_main_evidence(db, ret_evidence, err);

	if (r < 0)
		return r;
	if (wal_fd >= 0 && fstat(wal_fd, &st) == 0 && st.st_size != 0) {
		ret_evidence->wal_size = (uint64_t)st.st_size;
		ret_evidence->wal_mtime_ns = mtime_ns(&st);
		ret_evidence->wal_head_hash = head_hash(wal_fd, WAL_HEADER_LEN);
	}
	return 0;
}

int database_remember_evidence(struct database *db, struct error *err)
{
	int r = database_take_evidence(db, &db->evidence, err);

	db->have_evidence = r == 0;
	db->time_unsure = !catalog_times_fine(db->catalog) &&
			  clock_wall_us() - db->evidence.mtime_ns / 1000 < TICK_US;
	return r;
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

static bool main_is_as(const struct database *db, const struct evidence *evidence)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	struct evidence now = { 0 };

	return evidence != NULL && take_main_evidence(db, &now, &ignored) == 0 &&
	       now.inode == evidence->inode && now.size == evidence->size &&
	       now.mtime_ns == evidence->mtime_ns && now.head_hash == evidence->head_hash;
}

/* Whether X alone has the content of the position. */
static bool main_holds_position(const struct database *db)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	uint8_t *page CLEANUP_FREE = malloc(PAGE_SIZE_MAX);
	struct extent extent = db->log.extent;
	struct main_look look;

	if (page == NULL || !database_look_at_main(db, &look) || look.size != extent_bytes(extent))
		return false;
	for (uint32_t pgno = 1; pgno <= extent.n_pages; pgno++) {
		if (pgno == page_lock_number(extent.page_size))
			continue;
		if (database_must_give_way(db))
			return false;
		if (database_read_main(db, extent.page_size, pgno, page, &ignored) < 0 ||
		    page_hash(pgno, page, extent.page_size) != hashfile_get(&db->hashes, pgno))
			return false;
	}
	return true;
}

bool database_wal_foreign(const struct database *db, const struct evidence *evidence)
{
	return db->tail.page_size != 0 && db->tail.now.captured == 0 &&
	       db->log.position.generation != 0 && wal_tail_goes_on(&db->tail) &&
	       !main_is_as(db, evidence) && !main_holds_position(db);
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
