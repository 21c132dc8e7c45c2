/* SPDX-License-Identifier: MIT */
#include "tests/replicate/engine.h"

#include "base/bytes.h"
#include "base/file.h"
#include "replicate/database_internal.h"
#include "tests/replicate/mount_vfs.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

/*
 * What a mount finds after a stop of any kind. A kill of the daemon is a copy of
 * all its files at that moment; a power loss one of which some files are older.
 */

static sqlite3 *begin(struct engine *f, const char *name)
{
	sqlite3 *db = engine_db(f, name);

	engine_run(db, "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; "
		       "CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b)");
	return db;
}

static struct position position_of(struct engine *f, const char *name)
{
	struct database *db = catalog_find(f->catalog, name);
	struct position position = database_position(db, NULL, NULL);

	database_unref(db);
	return position;
}

static struct position parent_of(struct engine *f, const char *name)
{
	struct database *db = catalog_find(f->catalog, name);
	struct position parent = db->log.head.parent;

	database_unref(db);
	return parent;
}

static uint64_t n_merged(struct engine *f, const char *name)
{
	struct database *db = catalog_find(f->catalog, name);
	uint64_t n = db->n_merged;

	database_unref(db);
	return n;
}

/* The path of a state file of name below the folder, in path[256]. */
static void state_path(struct engine *f, const char *name, const char *file, char *path)
{
	struct database *db = catalog_find(f->catalog, name);

	snprintf(path, 256, ".replitedfs/%s/%s", db->state_path, file);
	database_unref(db);
}

/* The path of the last log file below the folder, in path[256]. */
static void log_path(struct engine *f, const char *name, char *path)
{
	struct database *db = catalog_find(f->catalog, name);
	const struct txlog_file *last = &db->log.files[db->log.n_files - 1];

	snprintf(path, 256, ".replitedfs/%s/%08x-%016llx.log", db->state_path, last->number,
		 (unsigned long long)last->base.generation);
	database_unref(db);
}

static int64_t count_rows(struct engine *f, const char *name)
{
	sqlite3 *db = engine_db(f, name);
	sqlite3_stmt *stmt;
	int64_t n;

	assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM t", -1, &stmt, NULL), 0);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	n = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	engine_run(db, "PRAGMA integrity_check");
	engine_abandon(db);
	return n;
}

static void after_a_clean_stop_nothing_is_done(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = begin(f, "a.db");
	struct position before;

	engine_rows(db, 50, 500);
	sqlite3_close(db);
	before = position_of(f, "a.db");
	for (int boot = 0; boot < 2; boot++) {
		struct position now;

		engine_close(f);
		f->same_boot = boot == 0;
		engine_open(f);
		now = engine_exact(f, "a.db");
		assert_true(position_equal(&now, &before));
		assert_int_equal(n_merged(f, "a.db"), 0);
	}
}

static void after_a_kill_the_generation_goes_on(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = begin(f, "a.db");
	struct position before;
	struct position now;

	engine_rows(db, 50, 500);
	assert_int_equal(engine_catch_up(f, "a.db"), 0);
	before = position_of(f, "a.db");
	engine_kill(f, db);
	engine_open(f);
	now = engine_exact(f, "a.db");
	assert_true(position_equal(&now, &before));
	assert_int_equal(n_merged(f, "a.db"), 0);
	engine_expect(f, "a.db", 0, 0);
}

static void after_another_boot_a_new_generation_begins(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = begin(f, "a.db");
	struct position before;
	struct position parent;
	struct position now;

	engine_rows(db, 50, 500);
	assert_int_equal(engine_catch_up(f, "a.db"), 0);
	before = position_of(f, "a.db");
	engine_kill(f, db);
	f->same_boot = false;
	engine_open(f);
	now = engine_exact(f, "a.db");
	parent = parent_of(f, "a.db");
	assert_true(position_equal(&parent, &before));
	assert_int_not_equal(now.generation, before.generation);
	assert_int_equal(now.txid, before.txid);
	assert_int_equal(now.checksum, before.checksum);
	db = begin(f, "a.db");
	engine_rows(db, 1, 10);
	sqlite3_close(db);
	engine_expect(f, "a.db", 0, 0);
}

/* The content is not to be had before the journal is played back; the position is. */
static void after_another_boot_with_a_hot_journal_too(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "a.db");
	struct position before;
	struct position parent;
	struct position now;

	engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 50, 500);
	before = position_of(f, "a.db");
	engine_run(db, "BEGIN; UPDATE t SET b=randomblob(600)");
	assert_int_equal(sqlite3_db_cacheflush(db), SQLITE_OK);
	engine_kill(f, db);
	f->same_boot = false;
	engine_open(f);
	now = position_of(f, "a.db");
	parent = parent_of(f, "a.db");
	assert_true(position_equal(&parent, &before));
	assert_int_not_equal(now.generation, before.generation);
	assert_int_equal(now.txid, before.txid);
	assert_int_equal(now.checksum, before.checksum);
	assert_int_equal(count_rows(f, "a.db"), 50);
	now = engine_exact(f, "a.db");
	assert_int_equal(now.txid, before.txid);
	assert_int_equal(n_merged(f, "a.db"), 0);
	db = engine_db(f, "a.db");
	engine_rows(db, 1, 10);
	sqlite3_close(db);
	engine_expect(f, "a.db", 0, 0);
}

/* Killed between the log and the page hashes, at whatever distance. */
static void page_hashes_behind_the_log_catch_up(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = begin(f, "a.db");
	struct position before;
	struct position now;
	char hashes[256];

	engine_rows(db, 50, 500);
	assert_int_equal(engine_catch_up(f, "a.db"), 0);
	state_path(f, "a.db", "hashes", hashes);
	engine_save(f, hashes, "old-hashes");
	for (int i = 0; i < 30; i++)
		engine_rows(db, 3, 900);
	assert_int_equal(engine_catch_up(f, "a.db"), 0);
	before = position_of(f, "a.db");
	engine_kill(f, db);
	engine_put_back(f, "old-hashes", hashes);
	engine_open(f);
	now = engine_exact(f, "a.db");
	assert_true(position_equal(&now, &before));
	assert_int_equal(n_merged(f, "a.db"), 0);
}

static void page_hashes_that_are_gone_are_made_again(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = begin(f, "a.db");
	struct position before;
	char hashes[256];

	engine_rows(db, 50, 500);
	sqlite3_close(db);
	before = position_of(f, "a.db");
	state_path(f, "a.db", "hashes", hashes);
	for (int how = 0; how < 3; how++) {
		struct position now;

		engine_close(f);
		if (how == 0)
			assert_int_equal(unlinkat(f->root_fd, hashes, 0), 0);
		if (how > 0) { /* damaged: in the head, and behind it */
			int fd = openat(f->root_fd, hashes, O_RDWR);
			off_t at = how == 1 ? 70 : 4100;
			uint8_t byte;

			assert_int_equal(pread(fd, &byte, 1, at), 1);
			byte ^= 1;
			assert_int_equal(pwrite(fd, &byte, 1, at), 1);
			close(fd);
		}
		engine_open(f);
		/* A damaged hash shows when its page is used next. */
		db = begin(f, "a.db");
		if (how == 2)
			engine_run(db, "UPDATE t SET b=1");
		sqlite3_close(db);
		now = engine_exact(f, "a.db");
		if (how < 2)
			assert_true(position_equal(&now, &before));
	}
}

/* WAL and database as they were a while ago; the log knows what came then. */
static void power_loss(struct engine *f, bool with_wal)
{
	sqlite3 *db = begin(f, "a.db");
	struct position before;
	struct position parent;
	struct buf content CLEANUP_BUF = { 0 };
	struct buf recovered CLEANUP_BUF = { 0 };

	engine_rows(db, 50, 500);
	engine_run(db, "PRAGMA wal_checkpoint(RESTART)");
	engine_rows(db, 10, 500);
	assert_int_equal(engine_catch_up(f, "a.db"), 0);
	engine_save(f, "a.db", "old");
	engine_save(f, with_wal ? "a.db-wal" : "no-wal", "old-wal");
	for (int i = 0; i < 20; i++)
		engine_rows(db, 5, 500);
	engine_run(db, "DELETE FROM t WHERE a %% 7 = 0; CREATE TABLE u(x)");
	assert_int_equal(engine_catch_up(f, "a.db"), 0);
	before = position_of(f, "a.db");
	engine_expected(f, "a.db", &content);
	engine_kill(f, db);
	engine_put_back(f, "old", "a.db");
	engine_put_back(f, "old-wal", "a.db-wal");
	f->same_boot = false;
	engine_open(f);
	parent = parent_of(f, "a.db");
	assert_true(position_equal(&parent, &before));
	assert_int_equal(engine_exact(f, "a.db").checksum, before.checksum);
	engine_expected(f, "a.db", &recovered);
	assert_int_equal(recovered.len, content.len);
	assert_memory_equal(recovered.data, content.data, content.len);
	assert_int_equal(count_rows(f, "a.db"), 160 - 160 / 7);
	db = begin(f, "a.db");
	engine_rows(db, 5, 100);
	sqlite3_close(db);
	engine_expect(f, "a.db", 0, 0);
}

static void a_power_loss_is_rolled_forward_behind_the_wal(void **state)
{
	power_loss(*state, true);
}

static void a_power_loss_that_took_the_wal_is_rolled_forward(void **state)
{
	power_loss(*state, false);
}

/* Cut at every byte around the end: what is left is a prefix, and the log is the whole. */
static void a_torn_wal_is_rolled_forward(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = begin(f, "a.db");
	struct position before;
	struct stat st;

	engine_rows(db, 5, 500);
	for (int i = 0; i < 5; i++)
		engine_rows(db, 1, 500);
	assert_int_equal(engine_catch_up(f, "a.db"), 0);
	before = position_of(f, "a.db");
	engine_kill(f, db);
	engine_save(f, "a.db-wal", "whole-wal");
	engine_save(f, "a.db", "whole");
	assert_int_equal(fstatat(f->root_fd, "a.db-wal", &st, 0), 0);
	f->same_boot = false;
	for (off_t cut = 1; cut < 4 * 4120; cut += 1013) {
		int fd = openat(f->root_fd, "a.db-wal", O_WRONLY);
		struct position now;

		assert_int_equal(ftruncate(fd, st.st_size - cut), 0);
		close(fd);
		engine_open(f);
		now = engine_exact(f, "a.db");
		assert_int_equal(now.txid, before.txid);
		assert_int_equal(now.checksum, before.checksum);
		assert_int_equal(n_merged(f, "a.db"), 0);
		engine_kill(f, NULL);
		engine_put_back(f, "whole-wal", "a.db-wal");
		engine_put_back(f, "whole", "a.db");
	}
	engine_open(f);
}

/* Somebody put an older copy there on purpose, knowing that all was stopped. */
static void an_older_copy_after_a_clean_stop_is_a_change(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = begin(f, "a.db");
	struct position before;

	engine_rows(db, 50, 500);
	sqlite3_close(db);
	engine_save(f, "a.db", "old");
	db = begin(f, "a.db");
	engine_rows(db, 50, 500);
	sqlite3_close(db);
	before = position_of(f, "a.db");
	for (int boot = 0; boot < 2; boot++) {
		engine_close(f);
		engine_put_back(f, "old", "a.db");
		f->same_boot = boot == 0;
		engine_open(f);
		assert_int_equal(count_rows(f, "a.db"), 50);
		engine_exact(f, "a.db");
		assert_int_equal(position_of(f, "a.db").generation, before.generation);
		assert_int_equal(position_of(f, "a.db").txid, before.txid + 1);
		assert_int_equal(n_merged(f, "a.db"), 1 - boot);
	}
	engine_expect(f, "a.db", 0, 1);
}

/* A crash comes before the checkpoint that a deliberately restored copy is older than. */
static void a_copy_from_before_a_checkpoint_is_not_a_power_loss(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = begin(f, "a.db");

	engine_rows(db, 50, 500);
	sqlite3_close(db);
	engine_save(f, "a.db", "old");
	db = begin(f, "a.db");
	engine_rows(db, 50, 500);
	engine_run(db, "PRAGMA wal_checkpoint(RESTART)");
	engine_rows(db, 50, 500);
	assert_int_equal(engine_catch_up(f, "a.db"), 0);
	engine_kill(f, db);
	engine_put_back(f, "old", "a.db");
	engine_put_back(f, "no-wal", "a.db-wal");
	f->same_boot = false;
	engine_open(f);
	assert_int_equal(count_rows(f, "a.db"), 50);
	assert_int_equal(n_merged(f, "a.db"), 1);
	engine_exact(f, "a.db");
}

static void flip_byte(struct engine *f, const char *path, double where)
{
	int fd = openat(f->root_fd, path, O_RDWR);
	struct stat st;
	uint8_t byte;
	off_t at;

	assert_int_equal(fstat(fd, &st), 0);
	at = (off_t)((double)st.st_size * where);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x20;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static void a_damaged_log_begins_a_new_generation(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = begin(f, "a.db");
	struct position before;
	struct position now;
	struct stat st;
	off_t size;
	char path[256];

	for (int i = 0; i < 30; i++)
		engine_rows(db, 1, 900);
	assert_int_equal(engine_catch_up(f, "a.db"), 0);
	before = position_of(f, "a.db");
	log_path(f, "a.db", path);
	engine_kill(f, db);
	flip_byte(f, path, 0.5);
	assert_int_equal(fstatat(f->root_fd, path, &st, 0), 0);
	size = st.st_size;
	engine_open(f);
	now = engine_exact(f, "a.db");
	assert_int_not_equal(now.generation, before.generation);
	assert_int_equal(now.checksum, before.checksum);
	assert_int_equal(parent_of(f, "a.db").generation, before.generation);
	assert_true(parent_of(f, "a.db").txid < before.txid);
	assert_int_equal(fstatat(f->root_fd, path, &st, 0), 0);
	assert_int_equal(st.st_size, size); /* nothing is deleted */
	db = begin(f, "a.db");
	engine_rows(db, 1, 100);
	sqlite3_close(db);
	engine_exact(f, "a.db");
}

/* Damage that opening the log does not come across must not stop the mount either. */
static void a_log_damaged_further_back_stops_nothing(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = begin(f, "a.db");
	struct position before;
	char hashes[256];
	char path[256];

	engine_rows(db, 50, 500);
	assert_int_equal(engine_catch_up(f, "a.db"), 0);
	state_path(f, "a.db", "hashes", hashes);
	engine_save(f, hashes, "old-hashes");
	engine_save(f, "a.db", "old");
	engine_save(f, "a.db-wal", "old-wal");
	for (int i = 0; i < 100; i++) {
		engine_rows(db, 5, 900);
		assert_int_equal(engine_catch_up(f, "a.db"), 0);
	}
	before = position_of(f, "a.db");
	log_path(f, "a.db", path);
	engine_kill(f, db);
	flip_byte(f, path, 0.3);
	/* The page hashes cannot be brought to the log's end. */
	engine_put_back(f, "old-hashes", hashes);
	engine_open(f);
	assert_int_equal(engine_exact(f, "a.db").checksum, before.checksum);
	engine_kill(f, NULL);
	/* The database cannot be rolled forward. */
	engine_put_back(f, "old", "a.db");
	engine_put_back(f, "old-wal", "a.db-wal");
	f->same_boot = false;
	engine_open(f);
	engine_exact(f, "a.db");
	assert_int_equal(count_rows(f, "a.db"), 50);
}

/* Programs went on over passthrough descriptors after the daemon had died. */
static void what_was_committed_meanwhile_is_captured_one_by_one(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = begin(f, "a.db");
	struct position before;
	char path[128];

	engine_rows(db, 50, 500);
	assert_int_equal(engine_catch_up(f, "a.db"), 0);
	before = position_of(f, "a.db");
	engine_kill(f, db);
	snprintf(path, sizeof(path), "%s/a.db", f->root);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	for (int i = 0; i < 7; i++)
		engine_rows(db, 1, 100);
	engine_abandon(db);
	engine_open(f);
	assert_int_equal(position_of(f, "a.db").generation, before.generation);
	assert_int_equal(position_of(f, "a.db").txid, before.txid + 7);
	assert_int_equal(n_merged(f, "a.db"), 0);
	engine_expect(f, "a.db", 0, 0);
	engine_exact(f, "a.db");
}

static void a_database_changed_while_unmounted_is_merged(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = begin(f, "a.db");
	struct position before;
	char path[128];

	engine_rows(db, 50, 500);
	sqlite3_close(db);
	before = position_of(f, "a.db");
	engine_close(f);
	snprintf(path, sizeof(path), "%s/a.db", f->root);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	for (int i = 0; i < 7; i++)
		engine_rows(db, 1, 100);
	sqlite3_close(db);
	engine_open(f);
	assert_int_equal(position_of(f, "a.db").generation, before.generation);
	assert_int_equal(position_of(f, "a.db").txid, before.txid + 1);
	engine_expect(f, "a.db", 0, 1);
}

enum absence {
	UNMOUNTED,
	KILLED,	   /* the daemon, while nobody had it open */
	NOT_OPEN,  /* mounted, but nobody had it open */
	N_ABSENCES,
};

/*
 * Commits twice beside the mount, in a WAL that is left behind; changed: after other
 * commits, of which only the database file tells. Then the mount comes across it.
 */
static struct position commit_beside(struct engine *f, enum absence absence, bool changed)
{
	sqlite3 *db = begin(f, "a.db");
	struct position before;
	char path[128];

	engine_run(db, "DELETE FROM t");
	engine_rows(db, 50, 500);
	sqlite3_close(db);
	before = position_of(f, "a.db");
	if (absence == UNMOUNTED)
		engine_close(f);
	else if (absence == KILLED)
		engine_kill(f, NULL);
	else
		mount_vfs_unregister();
	snprintf(path, sizeof(path), "%s/a.db", f->root);
	for (int i = changed ? 0 : 1; i < 2; i++) {
		assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
		engine_run(db, "UPDATE t SET b=randomblob(500) WHERE a%%7=%d", i);
		engine_rows(db, 1, 500);
		if (i == 0)
			sqlite3_close(db);
	}
	engine_abandon(db);
	if (absence == NOT_OPEN)
		mount_vfs_register(f->catalog, f->root, f->index_visible, f->told);
	else
		engine_open(f);
	assert_int_equal(count_rows(f, "a.db"), changed ? 52 : 51);
	return before;
}

/* Its transactions build on what the log never had. */
static void a_wal_begun_over_unseen_changes_is_merged(void **state)
{
	struct engine *f = *state;

	for (enum absence absence = 0; absence < N_ABSENCES; absence++) {
		struct position before = commit_beside(f, absence, true);
		struct position now = engine_exact(f, "a.db");

		assert_int_equal(now.generation, before.generation);
		assert_int_equal(now.txid, before.txid + 1);
		engine_expect(f, "a.db", 0, absence + 1);
	}
}

static void a_wal_begun_over_what_was_captured_is_taken_in_one_by_one(void **state)
{
	struct engine *f = *state;

	for (enum absence absence = 0; absence < N_ABSENCES; absence++) {
		struct position before = commit_beside(f, absence, false);
		struct position now = engine_exact(f, "a.db");

		assert_int_equal(now.generation, before.generation);
		assert_int_equal(now.txid, before.txid + 2);
		engine_expect(f, "a.db", 0, 0);
	}
}

/* Who opens it lets others go first, and has it compared before the WAL goes on. */
static void a_wal_that_has_lost_its_end_is_compared_when_nobody_waits(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = begin(f, "a.db");
	struct database *found = catalog_find(f->catalog, "a.db");
	struct stat st;
	int fd;

	engine_rows(db, 50, 500);
	engine_run(db, "PRAGMA wal_checkpoint(TRUNCATE)");
	engine_run(db, "UPDATE t SET b=randomblob(500) WHERE a=1");
	engine_run(db, "UPDATE t SET b=randomblob(500) WHERE a=40");
	engine_abandon(db);
	fd = openat(f->root_fd, "a.db-wal", O_RDWR);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(ftruncate(fd, st.st_size - 4096 - 24), 0);
	close(fd);
	atomic_fetch_add(&found->n_hurried, 1);
	db = engine_db(f, "a.db");
	engine_run(db, "SELECT * FROM t");
	atomic_fetch_sub(&found->n_hurried, 1);
	database_unref(found);
	engine_run(db, "UPDATE t SET b=randomblob(500) WHERE a=20");
	engine_expect(f, "a.db", 0, 1);
	sqlite3_close(db);
	engine_expect(f, "a.db", 0, 1);
}

/* First seen while a WAL is left over: the WAL counts. */
static void a_first_capture_takes_the_wal_in(void **state)
{
	struct engine *f = *state;
	char path[128];
	sqlite3 *db;

	engine_close(f);
	snprintf(path, sizeof(path), "%s/new.db", f->root);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	engine_run(db, "PRAGMA journal_mode=WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 20, 400);
	engine_abandon(db);
	engine_open(f);
	assert_int_equal(engine_exact(f, "new.db").txid, 1);
	assert_int_equal(count_rows(f, "new.db"), 20);
	db = begin(f, "new.db");
	engine_rows(db, 1, 400);
	sqlite3_close(db);
	/* The table exists: one commit. */
	assert_int_equal(engine_exact(f, "new.db").txid, 2);
}

/* The log cannot be written while mounting: the mount fails, and nothing is lost. */
static void a_full_disk_while_mounting_loses_nothing(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = begin(f, "a.db");
	struct position before;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct catalog *catalog;
	struct catalog_options options = { .log_file_size = 1 << 20 };
	char path[128];
	int r;

	engine_rows(db, 50, 500);
	assert_int_equal(engine_catch_up(f, "a.db"), 0);
	before = position_of(f, "a.db");
	engine_kill(f, db);
	snprintf(path, sizeof(path), "%s/a.db", f->root);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	engine_rows(db, 3, 100);
	engine_abandon(db);
	options.root_fd = f->root_fd;
	options.state_fd = f->state_fd;
	assert_int_equal(catalog_open(&options, &catalog, &err), 0);
	engine_disk_full(true);
	r = catalog_recover(catalog, &err);
	catalog_close(catalog);
	engine_disk_full(false);
	assert_true(r < 0);
	f->same_boot = false;
	engine_open(f);
	assert_int_equal(engine_exact(f, "a.db").txid, before.txid + 1);
	assert_int_equal(count_rows(f, "a.db"), 53);
}

/* The reason why the database cannot be brought forward is told; later it can be. */
static void a_wal_that_cannot_be_written_says_why(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = begin(f, "a.db");
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	struct catalog_options options = { .log_file_size = 1 << 20 };
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct position before;
	struct catalog *catalog;
	struct stat st;
	int r;

	engine_rows(db, 50, 500);
	engine_save(f, "a.db-wal", "old-wal");
	engine_rows(db, 5, 500);
	assert_int_equal(engine_catch_up(f, "a.db"), 0);
	before = position_of(f, "a.db");
	engine_kill(f, db);
	engine_put_back(f, "old-wal", "a.db-wal");
	options.root_fd = f->root_fd;
	options.state_fd = f->state_fd;
	assert_int_equal(catalog_open(&options, &catalog, &err), 0);
	assert_int_equal(fstatat(f->root_fd, "a.db-wal", &st, 0), 0);
	signal(SIGXFSZ, SIG_IGN);
	limit.rlim_cur = (rlim_t)st.st_size;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	r = catalog_recover(catalog, &err);
	engine_disk_full(false);
	catalog_close(catalog);
	assert_int_equal(r, -EFBIG);
	assert_non_null(strstr(error_what(&err), strerror(EFBIG)));
	f->same_boot = false;
	engine_open(f);
	assert_int_equal(engine_exact(f, "a.db").checksum, before.checksum);
	assert_int_equal(n_merged(f, "a.db"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, engine_setup, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(after_a_clean_stop_nothing_is_done),
		TEST(after_a_kill_the_generation_goes_on),
		TEST(after_another_boot_a_new_generation_begins),
		TEST(after_another_boot_with_a_hot_journal_too),
		TEST(page_hashes_behind_the_log_catch_up),
		TEST(page_hashes_that_are_gone_are_made_again),
		TEST(a_power_loss_is_rolled_forward_behind_the_wal),
		TEST(a_power_loss_that_took_the_wal_is_rolled_forward),
		TEST(a_torn_wal_is_rolled_forward),
		TEST(an_older_copy_after_a_clean_stop_is_a_change),
		TEST(a_copy_from_before_a_checkpoint_is_not_a_power_loss),
		TEST(a_damaged_log_begins_a_new_generation),
		TEST(a_log_damaged_further_back_stops_nothing),
		TEST(what_was_committed_meanwhile_is_captured_one_by_one),
		TEST(a_database_changed_while_unmounted_is_merged),
		TEST(a_wal_begun_over_unseen_changes_is_merged),
		TEST(a_wal_begun_over_what_was_captured_is_taken_in_one_by_one),
		TEST(a_wal_that_has_lost_its_end_is_compared_when_nobody_waits),
		TEST(a_first_capture_takes_the_wal_in),
		TEST(a_full_disk_while_mounting_loses_nothing),
		TEST(a_wal_that_cannot_be_written_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
