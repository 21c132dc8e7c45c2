/* SPDX-License-Identifier: MIT */
#include "tests/replicate/engine.h"

#include "base/file.h"
#include "base/hash.h"
#include "replicate/database_internal.h"
#include "tests/replicate/mount_vfs.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/wait.h>

/*
 * Rollback journals: what each transaction has become must be in the log when it
 * has ended, as exactly as by looking at every page.
 */

static uint64_t n_merged(struct engine *f, const char *name)
{
	struct database *db = catalog_find(f->catalog, name);
	uint64_t n = db->n_merged;

	database_unref(db);
	return n;
}

/* The log is the database; it may have come there by comparing. */
static void equals(struct engine *f, const char *name)
{
	struct engine_image image = engine_check(f, name);

	engine_image_done(&image);
}

static void every_journal_mode_at_every_level(void **state)
{
	static const char *const modes[] = { "DELETE", "TRUNCATE", "PERSIST" };
	struct engine *f = *state;

	for (int i = 0; i < 12; i++) {
		char name[32];
		sqlite3 *db;

		snprintf(name, sizeof(name), "%d.db", i);
		db = engine_db(f, name);
		engine_run(db, "PRAGMA synchronous=%d; PRAGMA journal_mode=%s; "
			"CREATE TABLE t(a INTEGER PRIMARY KEY, b)", i / 3, modes[i % 3]);
		for (int k = 0; k < 50; k++)
			engine_run(db, "INSERT INTO t(b) VALUES(randomblob(%d))", k * 30);
		/* A kept journal at OFF tells nothing before the close. */
		if (i != 2)
			engine_expect(f, name, 51, 0);
		sqlite3_close(db);
		engine_expect(f, name, i == 2 ? 0 : 51, i == 2);
	}
}

static void pages_from_the_freelist_have_no_record(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "f.db");

	engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 3000, 2000);
	engine_run(db, "DELETE FROM t");
	for (int i = 0; i < 20; i++) {
		engine_rows(db, 100, 2000);
		engine_expect(f, "f.db", (uint64_t)i + 4, 0);
	}
	sqlite3_close(db);
	engine_expect(f, "f.db", 23, 0);
}

/* A rollback leaves pages changed that the freelist had given out. */
static void a_rollback_may_leave_free_pages_changed(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "b3.db");

	engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 1000, 2000);
	engine_run(db, "DELETE FROM t WHERE a > 100; PRAGMA cache_size=10");
	for (int i = 0; i < 5; i++) {
		engine_run(db, "BEGIN; UPDATE t SET b=randomblob(2000); "
			"INSERT INTO t(b) VALUES(randomblob(400000)); ROLLBACK");
		engine_expect(f, "b3.db", 0, 0);
	}
	sqlite3_close(db);
	engine_expect(f, "b3.db", 0, 0);
}

static void vacuums_and_shrinks(void **state)
{
	struct engine *f = *state;

	for (int mode = 0; mode < 3; mode++) {
		char name[32];
		sqlite3 *db;

		snprintf(name, sizeof(name), "v%d.db", mode);
		db = engine_db(f, name);
		engine_run(db, "PRAGMA auto_vacuum=%d; CREATE TABLE t(a INTEGER PRIMARY KEY, b)", mode);
		engine_rows(db, 3000, 1500);
		engine_expect(f, name, 0, 0);
		engine_run(db, "DELETE FROM t WHERE a > 200");
		engine_expect(f, name, 0, 0);
		engine_run(db, "PRAGMA incremental_vacuum(100)");
		engine_expect(f, name, 0, 0);
		engine_rows(db, 200, 1500);
		engine_expect(f, name, 0, 0);
		engine_run(db, "VACUUM");
		engine_expect(f, name, 0, 0);
		sqlite3_close(db);
		engine_expect(f, name, 0, 0);
	}
}

/*
 * A writer dies between his commit and cutting the file off: SQLite reuses the
 * pages behind the size in page 1 without journaling them.
 */
static void a_file_longer_than_its_header_says(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "long.db");

	engine_run(db, "PRAGMA auto_vacuum=FULL; CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 500, 1500);
	mount_vfs_kill(MOUNT_VFS_AT_SHRINK, 0);
	sqlite3_exec(db, "DELETE FROM t WHERE a > 100", NULL, NULL, NULL);
	sqlite3_close(db);
	assert_true(mount_vfs_killed());
	mount_vfs_kill(MOUNT_VFS_ALIVE, 0);
	db = engine_db(f, "long.db");
	engine_rows(db, 800, 1500);
	engine_expect(f, "long.db", 0, 0);
	sqlite3_close(db);
	engine_expect(f, "long.db", 0, 0);
}

/* The page size changes without a mode change. */
static void a_page_size_changes_in_rollback_mode(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "p.db");
	int sizes[] = { 16384, 512, 65536, 1024, 4096 };

	engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 300, 1500);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		engine_run(db, "PRAGMA page_size=%d; VACUUM", sizes[i]);
		engine_expect(f, "p.db", 0, i + 1);
		engine_rows(db, 20, 500);
		engine_expect(f, "p.db", 0, i + 1);
	}
	sqlite3_close(db);
	engine_expect(f, "p.db", 0, ARRAY_LEN(sizes));
}

static void exclusive_locking_keeps_the_journal(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "e.db");

	engine_run(db, "PRAGMA locking_mode=EXCLUSIVE; CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	for (int i = 0; i < 50; i++) {
		engine_run(db, "INSERT INTO t(b) VALUES(randomblob(%d))", i * 50);
		engine_expect(f, "e.db", (uint64_t)i + 2, 0);
	}
	sqlite3_close(db);
	engine_expect(f, "e.db", 51, 0);
}

/* Commits that no barrier shows, among others. */
static void unseen_commits_are_made_up_for(void **state)
{
	struct engine *f = *state;

	for (int i = 0; i < 4; i++) {
		char name[32];
		sqlite3 *db;

		snprintf(name, sizeof(name), "u%d.db", i);
		db = engine_db(f, name);
		engine_run(db, "PRAGMA locking_mode=%s; PRAGMA journal_mode=%s; "
			"CREATE TABLE t(a INTEGER PRIMARY KEY, b); CREATE TABLE u(x)",
			i / 2 ? "EXCLUSIVE" : "NORMAL", i % 2 ? "PERSIST" : "DELETE");
		engine_rows(db, 200, 1000);
		engine_expect(f, name, 0, 0);
		for (int k = 0; k < 5; k++) {
			engine_run(db, "PRAGMA synchronous=OFF");
			engine_run(db, "UPDATE t SET b=randomblob(1000) WHERE a > 150");
			engine_run(db, "PRAGMA synchronous=FULL");
			engine_run(db, "INSERT INTO u VALUES(%d)", k);
			equals(f, name);
		}
		sqlite3_close(db);
		equals(f, name);
	}
}

/* Where the file's time does not tell (a coarse clock, one set back) page 1 does. */
static void unseen_commits_at_an_old_time(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "old.db");
	char path[128];
	struct stat st;

	engine_run(db, "PRAGMA journal_mode=PERSIST; CREATE TABLE t(a INTEGER PRIMARY KEY, b); "
		"CREATE TABLE u(x)");
	engine_rows(db, 200, 1000);
	snprintf(path, sizeof(path), "%s/old.db", f->root);
	for (int k = 0; k < 5; k++) {
		assert_int_equal(stat(path, &st), 0);
		engine_run(db, "PRAGMA synchronous=OFF");
		engine_run(db, "UPDATE t SET b=randomblob(1000) WHERE a > 150");
		assert_int_equal(utimensat(AT_FDCWD, path,
					   (const struct timespec[]){ st.st_atim, st.st_mtim }, 0),
				 0);
		engine_run(db, "PRAGMA synchronous=FULL");
		engine_run(db, "INSERT INTO u VALUES(%d)", k);
		equals(f, "old.db");
	}
	sqlite3_close(db);
	equals(f, "old.db");
}

static void modes_without_a_journal(void **state)
{
	static const char *const modes[] = { "MEMORY", "OFF" };
	struct engine *f = *state;

	for (int i = 0; i < 2; i++) {
		struct database *database;
		char name[32];
		sqlite3 *db;

		snprintf(name, sizeof(name), "m%d.db", i);
		db = engine_db(f, name);
		engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b); PRAGMA journal_mode=%s; "
			"PRAGMA synchronous=NORMAL", modes[i]);
		for (int k = 0; k < 20; k++) {
			engine_rows(db, 10, 700);
			equals(f, name);
		}
		database = catalog_find(f->catalog, name);
		assert_true(database->coarse);
		database_unref(database);
		engine_run(db, "PRAGMA synchronous=OFF");
		engine_rows(db, 10, 700);
		engine_rows(db, 10, 700);
		sqlite3_close(db);
		equals(f, name);
	}
}

/* A process dies in mid-transaction; the next one plays its journal back. */
static void a_hot_journal_is_played_back(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "h.db");

	engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 300, 1500);
	sqlite3_close(db);
	for (int i = 0; i < 10; i++) {
		db = engine_db(f, "h.db");
		engine_run(db, "PRAGMA cache_size=3; BEGIN; UPDATE t SET b=randomblob(1500) "
			"WHERE a %% 7 = %d", i % 7);
		engine_save(f, "h.db", "h");
		engine_save(f, "h.db-journal", "h-journal");
		engine_run(db, "ROLLBACK");
		sqlite3_close(db);
		/* As the dead process left it. */
		engine_put_back(f, "h", "h.db");
		engine_put_back(f, "h-journal", "h.db-journal");
		db = engine_db(f, "h.db");
		engine_run(db, "INSERT INTO t(b) VALUES(1)");
		equals(f, "h.db");
		sqlite3_close(db);
		equals(f, "h.db");
	}
}

static void into_wal_mode_and_back(void **state)
{
	static const char *const modes[] = { "WAL", "DELETE", "WAL", "PERSIST", "WAL", "TRUNCATE",
					     "MEMORY" };
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "w.db");

	engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	for (int i = 0; i < 100; i++) {
		engine_run(db, "PRAGMA journal_mode=%s", modes[i % (int)ARRAY_LEN(modes)]);
		engine_rows(db, 5, 600);
		engine_expect(f, "w.db", 0, f->told ? 0 : n_merged(f, "w.db"));
	}
	sqlite3_close(db);
	equals(f, "w.db");
}

static void records_can_be_undone(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "undo.db");
	struct engine_image image;

	engine_run(db, "PRAGMA auto_vacuum=FULL; CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 500, 900);
	for (int i = 0; i < 30; i++)
		engine_run(db, "UPDATE t SET b=randomblob(800) WHERE a %% 30 = %d", i);
	engine_run(db, "DELETE FROM t WHERE a > 100");
	image = engine_check(f, "undo.db");
	assert_int_equal(image.n_whole, 0);
	engine_image_done(&image);
	sqlite3_close(db);
}

static void a_change_while_nobody_has_it_open(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "b.db");
	char path[128];

	engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 200, 1000);
	sqlite3_close(db);
	mount_vfs_unregister();
	snprintf(path, sizeof(path), "%s/b.db", f->root);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	engine_run(db, "UPDATE t SET b=randomblob(1000) WHERE a > 150");
	sqlite3_close(db);
	mount_vfs_register(f->catalog, f->root, f->index_visible, f->told);
	db = engine_db(f, "b.db");
	engine_run(db, "SELECT count(*) FROM t");
	engine_expect(f, "b.db", 3, 1);
	sqlite3_close(db);
}

static void after_a_dead_writer_nothing_is_compared(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "d.db");

	engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 300, 1500);
	sqlite3_close(db);
	db = engine_db(f, "d.db");
	engine_comparisons(f);
	engine_run(db, "PRAGMA cache_size=3; BEGIN; UPDATE t SET b=randomblob(1500) WHERE a %% 7 = 1");
	mount_vfs_kill(MOUNT_VFS_AFTER_CALLS, 0);
	sqlite3_close(db);
	assert_true(mount_vfs_killed());
	mount_vfs_kill(MOUNT_VFS_ALIVE, 0);
	db = engine_db(f, "d.db");
	engine_run(db, "INSERT INTO t(b) VALUES(1)");
	engine_expect(f, "d.db", 3, 0);
	sqlite3_close(db);
	assert_int_equal(engine_comparisons(f), 0);
}

static void a_wal_left_behind_is_not_compared(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "l.db");

	engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b); PRAGMA journal_mode=WAL");
	engine_rows(db, 300, 1500);
	engine_comparisons(f);
	for (int i = 0; i < 5; i++) {
		engine_run(db, "INSERT INTO t(b) VALUES(1); PRAGMA wal_checkpoint");
		engine_abandon(db);
		db = engine_db(f, "l.db");
	}
	assert_int_equal(engine_comparisons(f), 0);
	sqlite3_close(db);
	engine_expect(f, "l.db", 0, 0);
}

static void every_record_rings_and_nothing_else_does(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "r.db");
	char path[128];

	engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 20, 500);
	engine_rings(f);
	engine_rows(db, 20, 500);
	assert_int_equal(engine_rings(f), 1);
	/* Found by comparing all pages, while the writer waits. */
	engine_run(db, "PRAGMA page_size=8192; VACUUM");
	assert_int_equal(n_merged(f, "r.db"), 1);
	assert_int_equal(engine_rings(f), 1);
	sqlite3_close(db);
	/* Compared, and nothing is found. */
	snprintf(path, sizeof(path), "%s/r.db", f->root);
	assert_int_equal(utimensat(AT_FDCWD, path, NULL, 0), 0);
	engine_comparisons(f);
	db = engine_db(f, "r.db");
	engine_run(db, "SELECT count(*) FROM t");
	assert_int_equal(engine_comparisons(f), 1);
	sqlite3_close(db);
	assert_int_equal(engine_rings(f), 0);
}

/* As truncate(1) does, by way of the mount. */
static void cut(struct engine *f, const char *name, uint64_t size)
{
	struct database *db = catalog_find(f->catalog, name);
	unsigned flags = DATABASE_OPEN_VISIBLE | (f->told ? DATABASE_OPEN_TOLD : 0);
	struct error err = ERROR_INIT;
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", f->root, name);
	assert_int_equal(database_opening(db, DATABASE_MAIN, flags, &err), 0);
	assert_int_equal(database_barrier_begin(db, DATABASE_MAIN, DATABASE_TRUNCATE, size, &err), 0);
	assert_int_equal(truncate(path, (off_t)size), 0);
	database_barrier_end(db, DATABASE_MAIN, DATABASE_TRUNCATE, 0);
	database_released(db, DATABASE_MAIN);
	database_unref(db);
}

static void another_program_cuts_a_database_at_rest(void **state)
{
	static const char *const modes[] = { "DELETE", "WAL" };
	struct engine *f = *state;

	for (int i = 0; i < 2; i++) {
		char name[32];
		sqlite3 *db;

		snprintf(name, sizeof(name), "c%d.db", i);
		db = engine_db(f, name);
		engine_run(db, "PRAGMA journal_mode=%s; CREATE TABLE t(a INTEGER PRIMARY KEY, b)",
			   modes[i]);
		engine_rows(db, 200, 1000);
		sqlite3_close(db);
		assert_int_equal(n_merged(f, name), 0);
		cut(f, name, 8192);
		assert_int_equal(n_merged(f, name), 1);
	}
}

static void an_empty_wal_says_nothing_of_the_database(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "e.db");
	struct database *database;
	struct error err = ERROR_INIT;
	char path[128];

	engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 200, 1000);
	snprintf(path, sizeof(path), "%s/e.db-wal", f->root);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	/* Nothing shows this before the close. */
	engine_run(db, "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; "
		"UPDATE t SET b=randomblob(1000) WHERE a > 150");
	database = catalog_find(f->catalog, "e.db");
	assert_int_equal(database_barrier_begin(database, DATABASE_WAL, DATABASE_UNLINK, 0, &err),
			 0);
	unlink(path);
	database_barrier_end(database, DATABASE_WAL, DATABASE_UNLINK, 0);
	database_unref(database);
	sqlite3_close(db);
	engine_expect(f, "e.db", 3, 1);
}

static void into_wal_mode_by_an_empty_wal_that_is_there(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "i.db");
	char path[128];

	engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 200, 1000);
	snprintf(path, sizeof(path), "%s/i.db-wal", f->root);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	engine_run(db, "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; "
		"UPDATE t SET b=randomblob(1000) WHERE a > 150");
	engine_run(db, "PRAGMA journal_mode=WAL; INSERT INTO t(b) VALUES(1)");
	engine_expect(f, "i.db", 4, 1);
	sqlite3_close(db);
	engine_expect(f, "i.db", 4, 1);
}

/* Exclusive locking marks page 1 only once. */
static void unseen_commits_that_leave_no_mark(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "x.db");

	engine_run(db, "PRAGMA locking_mode=EXCLUSIVE; CREATE TABLE u(x); "
		"CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 200, 1000);
	engine_run(db, "PRAGMA synchronous=OFF; UPDATE t SET b=randomblob(1000) WHERE a > 150");
	/* Makes the database larger: page 1 is in the journal. */
	engine_run(db, "PRAGMA synchronous=FULL; INSERT INTO u VALUES(randomblob(100000))");
	engine_expect(f, "x.db", 4, f->told ? 0 : 1);
	sqlite3_close(db);
	engine_expect(f, "x.db", 4, f->told ? 0 : 1);
}

static void unseen_commits_before_a_journal_that_is_not_synced(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "q.db");

	engine_run(db, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=TRUNCATE; "
		"CREATE TABLE u(x); CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 200, 1000);
	engine_run(db, "INSERT INTO u VALUES(1)");
	engine_run(db, "PRAGMA synchronous=OFF; PRAGMA journal_mode=PERSIST; "
		"UPDATE t SET b=randomblob(1000) WHERE a > 150");
	engine_run(db, "PRAGMA journal_mode=TRUNCATE; INSERT INTO u VALUES(1)");
	equals(f, "q.db");
	sqlite3_close(db);
	equals(f, "q.db");
}

/*
 * A commit that nobody hears of, and one whose end is heard of, by way of a journal
 * that was opened once for both: what it still holds of the first is page 1 as it is
 * known.
 */
static void unseen_commits_through_the_journal_of_the_next(void **state)
{
	static const char *const ways[] = {
		"PRAGMA locking_mode=NORMAL",
		"PRAGMA journal_mode=TRUNCATE",
		"PRAGMA journal_size_limit=0",
	};
	struct engine *f = *state;

	for (unsigned i = 0; i < ARRAY_LEN(ways); i++) {
		char name[32];
		sqlite3 *db;

		snprintf(name, sizeof(name), "j%u.db", i);
		db = engine_db(f, name);
		engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
		engine_rows(db, 300, 900);
		engine_run(db, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=%s; "
			"PRAGMA synchronous=OFF; UPDATE t SET b=randomblob(900) WHERE a=200",
			i == 0 ? "DELETE" : "PERSIST");
		engine_run(db, "%s; UPDATE t SET b=randomblob(900) WHERE a=10", ways[i]);
		equals(f, name);
		sqlite3_close(db);
		equals(f, name);
	}
}

/* Who only reads a journal begins no transaction, before which all were seen. */
static void unseen_commits_behind_a_look_at_the_journal(void **state)
{
	struct engine *f = *state;
	struct error err = ERROR_INIT;
	sqlite3 *db = engine_db(f, "l.db");
	struct database *database;

	engine_run(db, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=PERSIST; "
		"CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 300, 900);
	engine_run(db, "UPDATE t SET b=randomblob(900) WHERE a=100");
	database = catalog_find(f->catalog, "l.db");
	assert_int_equal(database_opening(database, DATABASE_JOURNAL, DATABASE_OPEN_VISIBLE, &err),
			 0);
	database_released(database, DATABASE_JOURNAL);
	database_unref(database);
	engine_run(db, "PRAGMA synchronous=OFF; UPDATE t SET b=randomblob(900) WHERE a=200");
	engine_run(db, "PRAGMA journal_mode=TRUNCATE; UPDATE t SET b=randomblob(900) WHERE a=10");
	equals(f, "l.db");
	sqlite3_close(db);
	equals(f, "l.db");
}

/* Its writer dies before that is synced; then a commit that no journal tells of. */
static void unseen_commits_behind_a_header_that_was_kept(void **state)
{
	struct engine *f = *state;
	sqlite3 *other = engine_db(f, "k.db");
	sqlite3 *db = engine_db(f, "k.db");

	engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b); CREATE TABLE u(x)");
	engine_rows(db, 200, 1000);
	engine_run(db, "PRAGMA journal_mode=PERSIST; INSERT INTO u VALUES(1)");
	mount_vfs_kill(MOUNT_VFS_AT_ZEROED_SYNC, 0);
	sqlite3_exec(db, "INSERT INTO u VALUES(2)", NULL, NULL, NULL);
	sqlite3_close(db);
	assert_true(mount_vfs_killed());
	mount_vfs_kill(MOUNT_VFS_ALIVE, 0);
	engine_run(other, "PRAGMA journal_mode=MEMORY; UPDATE t SET b=randomblob(1000) WHERE a > 150");
	equals(f, "k.db");
	sqlite3_close(other);
	equals(f, "k.db");
}

static void honest_commits_are_not_compared(void **state)
{
	static const char *const modes[] = { "DELETE", "TRUNCATE", "PERSIST" };
	struct engine *f = *state;

	for (int i = 0; i < 24; i++) {
		char name[32];
		sqlite3 *db;

		/* These show no commits, or do not show when they began. */
		if (i / 6 == 0 && (i % 3 == 2 || i / 3 % 2))
			continue;
		snprintf(name, sizeof(name), "n%d.db", i);
		db = engine_db(f, name);
		engine_run(db, "PRAGMA synchronous=%d; PRAGMA journal_mode=%s; PRAGMA locking_mode=%s; "
			"PRAGMA auto_vacuum=%d; PRAGMA cache_size=5; CREATE TABLE t(a INTEGER PRIMARY KEY, b)",
			i / 6, modes[i % 3], i / 3 % 2 ? "EXCLUSIVE" : "NORMAL", i % 3);
		engine_rows(db, 100, 1000);
		engine_comparisons(f);
		for (int k = 0; k < 5; k++) {
			engine_rows(db, 30, 1000);
			engine_run(db, "DELETE FROM t WHERE a %% 5 = %d", k);
			engine_run(db, "BEGIN; UPDATE t SET b=1; ROLLBACK; SAVEPOINT s; UPDATE t SET b=2; "
				"ROLLBACK TO s; INSERT INTO t(b) VALUES(3); RELEASE s");
		}
		assert_int_equal(engine_comparisons(f), 0);
		sqlite3_close(db);
		assert_int_equal(engine_comparisons(f), 0);
		engine_expect(f, name, 0, 0);
	}
}

static void more_writes_than_are_counted_and_no_room(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "o.db");
	struct database *database;

	/* The pages that go to the blob come from the freelist: no journal has them. */
	engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 1000, 2000);
	engine_run(db, "DELETE FROM t WHERE a > 100");
	database = catalog_find(f->catalog, "o.db");
	for (uint64_t i = 0; f->told && i < 300000; i++)
		database_wrote(database, DATABASE_MAIN, 4096 + 2 * (i % 1000), 1);
	database_unref(database);
	engine_log_room(ENGINE_LOG_FULL_ONCE);
	assert_int_not_equal(sqlite3_exec(db, "INSERT INTO t(b) VALUES(randomblob(400000))", NULL, NULL,
					  NULL), SQLITE_OK);
	engine_run(db, "INSERT INTO t(b) VALUES(1)");
	equals(f, "o.db");
	sqlite3_close(db);
	equals(f, "o.db");
}

static void a_rollback_is_never_refused(void **state)
{
	struct engine *f = *state;

	for (int i = 0; i < 4; i++) {
		char name[32];
		sqlite3 *db;

		snprintf(name, sizeof(name), "r%d.db", i);
		db = engine_db(f, name);
		engine_run(db, "PRAGMA journal_mode=%s; PRAGMA synchronous=%d; "
			"CREATE TABLE t(a INTEGER PRIMARY KEY, b)", i % 2 ? "TRUNCATE" : "DELETE", i / 2);
		engine_rows(db, 1000, 2000);
		engine_run(db, "DELETE FROM t WHERE a > 100");
		engine_log_room(ENGINE_LOG_FULL_UNSAID);
		/* Its pages come from the freelist, and stay changed when it is rolled back. */
		assert_int_equal(sqlite3_exec(db, "INSERT INTO t(b) VALUES(randomblob(400000))", NULL,
					      NULL, NULL), SQLITE_FULL);
		engine_run(db, "SELECT count(*) FROM t; BEGIN; UPDATE t SET b=1; ROLLBACK");
		/* Nor when there is more to capture than the transaction. */
		engine_run(db, "PRAGMA synchronous=OFF; PRAGMA journal_mode=MEMORY; "
			"UPDATE t SET b=1 WHERE a < 10; PRAGMA journal_mode=%s; PRAGMA cache_size=3; "
			"BEGIN; UPDATE t SET b=randomblob(2000) WHERE a > 10; ROLLBACK; "
			"SELECT count(*) FROM t", i % 2 ? "TRUNCATE" : "DELETE");
		sqlite3_close(db);
		db = engine_db(f, name);
		engine_run(db, "SELECT count(*) FROM t");
		engine_log_room(ENGINE_LOG_HAS_ROOM);
		engine_run(db, "INSERT INTO t(b) VALUES(1)");
		equals(f, name);
		sqlite3_close(db);
		equals(f, name);
	}
}

/* The super-journal has gone by then. */
static void a_commit_of_two_databases_is_never_refused_in_part(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "one.db");

	engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b); ATTACH 'file:%s/two.db' AS two; "
		"CREATE TABLE two.u(x)", f->root);
	engine_run(db, "BEGIN; INSERT INTO t VALUES(1, 1); INSERT INTO two.u VALUES(1)");
	engine_log_room(ENGINE_LOG_FULL_UNSAID);
	engine_run(db, "COMMIT; SELECT * FROM t, u");
	engine_log_room(ENGINE_LOG_HAS_ROOM);
	engine_run(db, "INSERT INTO t VALUES(2, 2); INSERT INTO two.u VALUES(2)");
	equals(f, "one.db");
	equals(f, "two.db");
	sqlite3_close(db);
}

/* What the files of the log take on the disk. */
static uint64_t log_room_taken(struct engine *f, struct database *db)
{
	char path[128];
	uint64_t taken = 0;
	struct dirent *item;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/.replitedfs/%s", f->root, db->state_path);
	dir = opendir(path);
	assert_non_null(dir);
	while ((item = readdir(dir)) != NULL) {
		struct stat st;

		if (strstr(item->d_name, ".log") != NULL &&
		    fstatat(dirfd(dir), item->d_name, &st, 0) == 0)
			taken += (uint64_t)st.st_blocks * 512;
	}
	closedir(dir);
	return taken;
}

/*
 * Its pages are written before the commit, which with exclusive locking writes no page
 * any more, but for another database: killed at each call of that. What SQLite rolls
 * back then never was in the log.
 */
static void a_flushed_part_of_a_commit_is_captured_when_it_is_made(void **state)
{
	struct engine *f = *state;
	unsigned n_rolled_back = 0;
	bool killed = true;

	for (unsigned n_calls = 0; killed; n_calls++) {
		char name[32];
		uint64_t n_records = 3;
		sqlite3 *db;

		snprintf(name, sizeof(name), "a%u.db", n_calls);
		db = engine_db(f, name);
		engine_run(db, "ATTACH '%s/b%u.db' AS b; PRAGMA locking_mode=EXCLUSIVE; "
			"PRAGMA main.journal_mode=DELETE; PRAGMA b.journal_mode=DELETE; "
			"CREATE TABLE t(a INTEGER PRIMARY KEY, b); CREATE TABLE b.u(a)",
			f->root, n_calls);
		engine_rows(db, 1, 10);
		engine_run(db, "BEGIN; INSERT INTO t(b) VALUES(2); INSERT INTO u VALUES(2); COMMIT");
		engine_run(db, "BEGIN; INSERT INTO t(b) VALUES(3); INSERT INTO u VALUES(3)");
		assert_int_equal(sqlite3_db_cacheflush(db), SQLITE_OK);
		mount_vfs_kill(MOUNT_VFS_AFTER_CALLS, n_calls);
		if (sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
			n_records++;
		else
			n_rolled_back++;
		killed = mount_vfs_killed();
		sqlite3_close(db);
		mount_vfs_kill(MOUNT_VFS_ALIVE, 0);
		db = engine_db(f, name);
		engine_run(db, "SELECT * FROM t");
		engine_expect(f, name, n_records, 0);
		sqlite3_close(db);
		engine_expect(f, name, n_records, 0);
	}
	assert_true(n_rolled_back > 10);
}

static void the_room_of_a_large_transaction_is_given_back(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "g.db");
	struct database *database;

	engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b, n INT)");
	for (int i = 0; i < 5; i++)
		engine_rows(db, 2000, 1000);
	engine_run(db, "UPDATE t SET n=1");
	database = catalog_find(f->catalog, "g.db");
	/* A little of every page: the journal has them all. */
	engine_run(db, "PRAGMA cache_size=100000; UPDATE t SET n=1-a%%2");
	assert_in_range(log_room_taken(f, database), 1,
			txlog_size(&database->log) + (5 << 20));
	database_unref(database);
	sqlite3_close(db);
}

static void room_is_taken_in_advance_where_a_commit_cannot_be_refused(void **state)
{
	static const char *const modes[] = { "DELETE", "TRUNCATE", "PERSIST" };
	struct engine *f = *state;

	for (int i = 0; i < 3; i++) {
		char name[32];
		sqlite3 *db;
		int rc;

		snprintf(name, sizeof(name), "a%d.db", i);
		db = engine_db(f, name);
		engine_run(db, "PRAGMA journal_mode=%s; CREATE TABLE t(a INTEGER PRIMARY KEY, b)",
			   modes[i]);
		engine_log_room(ENGINE_LOG_NO_ADVANCE);
		rc = sqlite3_exec(db, "INSERT INTO t VALUES(1, 1)", NULL, NULL, NULL);
		assert_int_equal(rc, i == 2 ? SQLITE_FULL : SQLITE_OK);
		engine_log_room(ENGINE_LOG_HAS_ROOM);
		engine_run(db, "INSERT INTO t VALUES(2, 2)");
		engine_expect(f, name, i == 2 ? 2 : 3, 0);
		sqlite3_close(db);
	}
}

/* A journal that is kept stays as long as its longest transaction was. */
static void room_is_taken_for_the_transaction_and_not_for_its_journal(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "p.db");

	engine_run(db, "PRAGMA journal_mode=PERSIST; CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 1000, 3000);
	engine_run(db, "PRAGMA cache_size=100000; UPDATE t SET b=randomblob(3000)");
	assert_in_range(engine_reserved(), 4 << 20, 16 << 20);
	engine_run(db, "UPDATE t SET b=randomblob(3000) WHERE a=1");
	assert_in_range(engine_reserved(), 4096, 64 << 10);
	sqlite3_close(db);
	engine_expect(f, "p.db", 4, 0);
}

/* SQLite syncs the journal of a dead writer before it plays it back. */
static void a_playback_needs_no_room(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "b.db");

	engine_run(db, "PRAGMA journal_mode=PERSIST; CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 1000, 2000);
	engine_run(db, "UPDATE t SET b=1 WHERE a=1; PRAGMA cache_size=3");
	mount_vfs_kill(MOUNT_VFS_AFTER_CALLS, 400);
	sqlite3_exec(db, "UPDATE t SET b=randomblob(2000)", NULL, NULL, NULL);
	sqlite3_close(db);
	assert_true(mount_vfs_killed());
	mount_vfs_kill(MOUNT_VFS_ALIVE, 0);
	engine_log_room(ENGINE_LOG_NO_ADVANCE);
	db = engine_db(f, "b.db");
	engine_run(db, "SELECT count(*) FROM t");
	engine_log_room(ENGINE_LOG_HAS_ROOM);
	engine_run(db, "UPDATE t SET b=2 WHERE a=1");
	sqlite3_close(db);
	equals(f, "b.db");
}

/* Not that of the name before, whose end says nothing of the transaction under way. */
static void a_renamed_database_has_another_journal(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "old.db");
	struct database *database;
	struct position position;
	sqlite3 *other;

	engine_run(db, "PRAGMA journal_mode=PERSIST; CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 1000, 2000);
	engine_run(db, "UPDATE t SET b=1 WHERE a=1");
	database = catalog_find(f->catalog, "old.db");
	assert_int_equal(renameat(f->root_fd, "old.db", f->root_fd, "new.db"), 0);
	catalog_renamed(f->catalog, "old.db", "new.db");
	position = database_position(database, NULL, NULL);
	other = engine_db(f, "new.db");
	engine_run(other, "PRAGMA journal_mode=PERSIST; PRAGMA cache_size=3; BEGIN; "
		"UPDATE t SET b=randomblob(2000); UPDATE t SET b=randomblob(2000)");
	assert_int_equal(database_position(database, NULL, NULL).txid, position.txid);
	engine_run(other, "ROLLBACK");
	assert_int_equal(database_position(database, NULL, NULL).txid, position.txid);
	database_unref(database);
	sqlite3_close(other);
	sqlite3_close(db);
	equals(f, "new.db");
}

static void room_is_made_beside_the_tailer(void **state)
{
	struct catalog_retention retention = { .keep_us = INT64_MAX / 4, .max_bytes = 1u << 30 };
	struct error err = ERROR_INIT;
	struct engine *f = *state;
	sqlite3 *db;

	assert_int_equal(catalog_start(f->catalog, &retention, &err), 0);
	db = engine_db(f, "m.db");
	engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_log_room(ENGINE_LOG_FULL);
	for (int i = 0; i < 20; i++)
		assert_int_equal(sqlite3_exec(db, "INSERT INTO t(b) VALUES(1)", NULL, NULL, NULL),
				 SQLITE_FULL);
	engine_log_room(ENGINE_LOG_HAS_ROOM);
	engine_rows(db, 10, 100);
	engine_expect(f, "m.db", 2, 0);
	sqlite3_close(db);
}

static void a_header_that_lies_about_the_size(void **state)
{
	static const uint8_t n_pages[] = { 0xff, 0xff, 0x00, 0x00 };
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "y.db");
	sqlite3 *other = engine_db(f, "y.db");
	struct database *database;
	struct extent extent;
	char path[128];
	int fd;

	engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	snprintf(path, sizeof(path), "%s/y.db", f->root);
	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, n_pages, sizeof(n_pages), 28), sizeof(n_pages));
	close(fd);
	database = catalog_find(f->catalog, "y.db");
	if (f->told)
		database_wrote(database, DATABASE_MAIN, 28, sizeof(n_pages));
	assert_int_equal(sqlite3_exec(db, "INSERT INTO t VALUES(1, 1)", NULL, NULL, NULL),
			 SQLITE_CORRUPT);
	sqlite3_close(db);
	sqlite3_close(other);
	database_position(database, &extent, NULL);
	assert_int_equal(extent.n_pages, 2);
	database_unref(database);
}

/* A writer died before his journal was synced: SQLite leaves that there, it is not hot. */
static void a_commit_without_a_journal_beside_one_that_was_left(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "j.db");

	engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 200, 1000);
	/* Its header and the first record. */
	mount_vfs_kill(MOUNT_VFS_AFTER_CALLS, 4);
	sqlite3_exec(db, "UPDATE t SET b=randomblob(1000) WHERE a < 50", NULL, NULL, NULL);
	sqlite3_close(db);
	assert_true(mount_vfs_killed());
	mount_vfs_kill(MOUNT_VFS_ALIVE, 0);
	db = engine_db(f, "j.db");
	engine_run(db, "PRAGMA journal_mode=MEMORY; UPDATE t SET b=randomblob(1000) WHERE a > 150");
	equals(f, "j.db");
	sqlite3_close(db);
	equals(f, "j.db");
}

/* ------------------------------------------------------------ the random model */

struct dice {
	uint64_t state;
};

static uint32_t roll(struct dice *dice, uint32_t n)
{
	dice->state = dice->state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(dice->state >> 33) % n;
}

static void random_change(struct dice *dice, sqlite3 *db)
{
	switch (roll(dice, 8)) {
	case 0:
		engine_run(db, "DELETE FROM t WHERE a %% %d = %d", 2 + roll(dice, 5), roll(dice, 3));
		break;
	case 1:
		engine_run(db, "UPDATE t SET b=randomblob(%d) WHERE a %% 5 = %d", roll(dice, 3000),
			   roll(dice, 5));
		break;
	case 2:
		engine_run(db, "INSERT INTO t(b) VALUES(randomblob(%d))", roll(dice, 60000));
		break;
	case 3:
		engine_run(db, "CREATE INDEX IF NOT EXISTS i ON t(b)");
		break;
	case 4:
		engine_run(db, "DROP INDEX IF EXISTS i");
		break;
	default:
		engine_rows(db, 1 + (int)roll(dice, 40), (int)roll(dice, 1200));
	}
}

static void random_transaction(struct dice *dice, sqlite3 *db)
{
	int n = 1 + (int)roll(dice, 4);

	engine_run(db, "BEGIN");
	for (int i = 0; i < n; i++) {
		bool save = roll(dice, 3) == 0;

		if (save)
			engine_run(db, "SAVEPOINT s");
		random_change(dice, db);
		if (save && roll(dice, 2))
			engine_run(db, "ROLLBACK TO s");
		if (save)
			engine_run(db, "RELEASE s");
	}
	engine_run(db, roll(dice, 4) ? "COMMIT" : "ROLLBACK");
}

static void random_setting(struct dice *dice, sqlite3 *db)
{
	static const char *const settings[] = {
		"journal_mode=DELETE",	"journal_mode=TRUNCATE", "journal_mode=PERSIST",
		"cache_size=3",		"cache_size=10",	 "cache_size=2000",
		"synchronous=NORMAL",	"synchronous=FULL",	 "synchronous=EXTRA",
		"secure_delete=ON",	"secure_delete=OFF",	 "incremental_vacuum(5)",
		"journal_size_limit=0", "journal_size_limit=3000", "journal_size_limit=-1",
		"locking_mode=EXCLUSIVE", "locking_mode=NORMAL",
	};

	engine_run(db, "PRAGMA %s", settings[roll(dice, ARRAY_LEN(settings))]);
}

/* Runs one seed; after every transaction the log must be the database. */
static void run_model(struct engine *f, uint64_t seed, int n)
{
	struct dice dice = { seed * 7919 + 1 };
	char name[32];
	sqlite3 *db;

	snprintf(name, sizeof(name), "r%d.db", (int)seed);
	db = engine_db(f, name);
	engine_run(db, "PRAGMA page_size=%d; PRAGMA auto_vacuum=%d; "
		"CREATE TABLE t(a INTEGER PRIMARY KEY, b)", 512 << roll(&dice, 5), roll(&dice, 3));
	for (int i = 0; i < n; i++) {
		random_setting(&dice, db);
		random_transaction(&dice, db);
		if (roll(&dice, 25) == 0)
			engine_run(db, "VACUUM");
		if (roll(&dice, 25) == 0) {
			sqlite3_close(db);
			db = engine_db(f, name);
		}
		equals(f, name);
	}
	sqlite3_close(db);
	engine_expect(f, name, 0, 0);
}

static void a_random_model(void **state)
{
	const char *given = getenv("REPLITEDFS_SEED");
	uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : 1;

	for (uint64_t i = 0; i < 4; i++) {
		print_message("# seed %d\n", (int)(seed + i));
		run_model(*state, seed + i, 60);
	}
}

/*
 * Each part of what makes the candidates is needed: with the hook, which takes it
 * out, the test fails. In a process of its own, quietly.
 */
static void fails_with_hook(const char *hook, struct CMUnitTest test)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		const struct CMUnitTest tests[] = { test };
		int null_fd = open("/dev/null", O_WRONLY);

		dup2(null_fd, STDOUT_FILENO);
		dup2(null_fd, STDERR_FILENO);
		setenv("REPLITEDFS_TEST_HOOKS", hook, 1);
		_exit(cmocka_run_group_tests(tests, NULL, NULL) == 1 ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

#define UNTOLD(fn) (struct CMUnitTest) { #fn, fn, engine_setup, engine_teardown, NULL }

static void without_the_pages_in_the_journal_it_fails(void **state)
{
	fails_with_hook("no-journal-pages", UNTOLD(exclusive_locking_keeps_the_journal));
}

static void without_the_pages_behind_the_old_size_it_fails(void **state)
{
	fails_with_hook("no-new-pages", UNTOLD(a_file_longer_than_its_header_says));
}

static void without_the_leaves_of_journaled_trunks_it_fails(void **state)
{
	fails_with_hook("no-freelist-leaves", UNTOLD(pages_from_the_freelist_have_no_record));
}

static void without_the_check_of_page_1_it_fails(void **state)
{
	fails_with_hook("no-first-page-check", UNTOLD(unseen_commits_at_an_old_time));
}

static void without_the_checks_for_unseen_commits_it_fails(void **state)
{
	fails_with_hook("no-first-page-check,no-quiet-check",
			UNTOLD(unseen_commits_are_made_up_for));
	fails_with_hook("no-quiet-check", UNTOLD(unseen_commits_that_leave_no_mark));
}

#define CAPTURE_TEST(fn)                                                                           \
	cmocka_unit_test_setup_teardown(fn, engine_setup, engine_teardown),                        \
		{ #fn "_told", fn, engine_setup_told, engine_teardown, NULL }

int main(void)
{
	const struct CMUnitTest tests[] = {
		CAPTURE_TEST(every_journal_mode_at_every_level),
		CAPTURE_TEST(pages_from_the_freelist_have_no_record),
		CAPTURE_TEST(a_rollback_may_leave_free_pages_changed),
		CAPTURE_TEST(vacuums_and_shrinks),
		CAPTURE_TEST(a_file_longer_than_its_header_says),
		CAPTURE_TEST(a_page_size_changes_in_rollback_mode),
		CAPTURE_TEST(exclusive_locking_keeps_the_journal),
		CAPTURE_TEST(unseen_commits_are_made_up_for),
		CAPTURE_TEST(unseen_commits_at_an_old_time),
		CAPTURE_TEST(modes_without_a_journal),
		CAPTURE_TEST(a_hot_journal_is_played_back),
		CAPTURE_TEST(into_wal_mode_and_back),
		CAPTURE_TEST(records_can_be_undone),
		CAPTURE_TEST(a_change_while_nobody_has_it_open),
		CAPTURE_TEST(after_a_dead_writer_nothing_is_compared),
		CAPTURE_TEST(a_wal_left_behind_is_not_compared),
		CAPTURE_TEST(every_record_rings_and_nothing_else_does),
		CAPTURE_TEST(another_program_cuts_a_database_at_rest),
		CAPTURE_TEST(an_empty_wal_says_nothing_of_the_database),
		CAPTURE_TEST(into_wal_mode_by_an_empty_wal_that_is_there),
		CAPTURE_TEST(unseen_commits_that_leave_no_mark),
		CAPTURE_TEST(unseen_commits_before_a_journal_that_is_not_synced),
		CAPTURE_TEST(unseen_commits_through_the_journal_of_the_next),
		CAPTURE_TEST(unseen_commits_behind_a_look_at_the_journal),
		CAPTURE_TEST(unseen_commits_behind_a_header_that_was_kept),
		CAPTURE_TEST(honest_commits_are_not_compared),
		CAPTURE_TEST(more_writes_than_are_counted_and_no_room),
		CAPTURE_TEST(a_rollback_is_never_refused),
		CAPTURE_TEST(a_commit_of_two_databases_is_never_refused_in_part),
		CAPTURE_TEST(a_flushed_part_of_a_commit_is_captured_when_it_is_made),
		CAPTURE_TEST(the_room_of_a_large_transaction_is_given_back),
		CAPTURE_TEST(room_is_taken_in_advance_where_a_commit_cannot_be_refused),
		CAPTURE_TEST(room_is_taken_for_the_transaction_and_not_for_its_journal),
		CAPTURE_TEST(a_playback_needs_no_room),
		CAPTURE_TEST(a_renamed_database_has_another_journal),
		CAPTURE_TEST(room_is_made_beside_the_tailer),
		CAPTURE_TEST(a_header_that_lies_about_the_size),
		CAPTURE_TEST(a_commit_without_a_journal_beside_one_that_was_left),
		CAPTURE_TEST(a_random_model),
		cmocka_unit_test(without_the_pages_in_the_journal_it_fails),
		cmocka_unit_test(without_the_pages_behind_the_old_size_it_fails),
		cmocka_unit_test(without_the_leaves_of_journaled_trunks_it_fails),
		cmocka_unit_test(without_the_check_of_page_1_it_fails),
		cmocka_unit_test(without_the_checks_for_unseen_commits_it_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
