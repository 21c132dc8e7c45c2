/* SPDX-License-Identifier: MIT */
#include "tests/replicate/engine.h"

#include "replicate/database_internal.h"
#include "replicate/gate.h"
#include "tests/replicate/mount_vfs.h"
#include "tests/replicate/walfile.h"

#include <stdio.h>
#include <sys/stat.h>

static void every_commit_is_one_record(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "a.db");

	engine_run(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; CREATE TABLE t(a, b)");
	for (int i = 0; i < 3000; i++)
		engine_run(db, "INSERT INTO t VALUES(%d, hex(randomblob(20)))", i);
	/* The first record is what the switch to WAL wrote to page 1. */
	engine_expect(f, "a.db", 3002, 0);
	sqlite3_close(db);
	engine_expect(f, "a.db", 3002, 0);
}

static void all_page_sizes(void **state)
{
	struct engine *f = *state;

	for (int size = 512; size <= 65536; size *= 2) {
		char name[32];
		sqlite3 *db;

		snprintf(name, sizeof(name), "p%d.db", size);
		db = engine_db(f, name);
		engine_run(db, "PRAGMA page_size=%d; PRAGMA journal_mode=WAL; CREATE TABLE t(a, b)", size);
		for (int i = 0; i < 100; i++)
			engine_run(db, "INSERT INTO t VALUES(%d, randomblob(%d))", i, i * 37);
		engine_expect(f, name, 102, 0);
		sqlite3_close(db);
		engine_expect(f, name, 102, 0);
	}
}

static void spilled_and_rolled_back(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "s.db");

	engine_run(db, "PRAGMA journal_mode=WAL; PRAGMA cache_size=5; "
		"CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	for (int i = 0; i < 20; i++) {
		engine_run(db, "BEGIN; INSERT INTO t(b) SELECT randomblob(2000) FROM "
			"(WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c "
			"WHERE x<1000) SELECT x FROM c); ROLLBACK");
		engine_run(db, "INSERT INTO t(b) VALUES(randomblob(1000))");
	}
	engine_expect(f, "s.db", 22, 0);
	engine_run(db, "BEGIN; UPDATE t SET b=randomblob(3000); UPDATE t SET b=randomblob(3000); COMMIT");
	engine_expect(f, "s.db", 23, 0);
	sqlite3_close(db);
	engine_expect(f, "s.db", 23, 0);
}

static void large_transactions_and_vacuum(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "v.db");

	engine_run(db, "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; "
		"CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_run(db, "INSERT INTO t(b) SELECT randomblob(2000) FROM "
		"(WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c WHERE x<8000) "
		"SELECT x FROM c)");
	engine_expect(f, "v.db", 4, 0);
	engine_run(db, "DELETE FROM t WHERE a > 100");
	engine_run(db, "PRAGMA incremental_vacuum");
	engine_expect(f, "v.db", 0, 0);
	engine_run(db, "INSERT INTO t(b) SELECT randomblob(900) FROM "
		"(WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c WHERE x<500) "
		"SELECT x FROM c)");
	engine_run(db, "DELETE FROM t WHERE a %% 2");
	engine_run(db, "VACUUM");
	engine_expect(f, "v.db", 0, 0);
	sqlite3_close(db);
	engine_expect(f, "v.db", 0, 0);
}

static void checkpoints_of_all_kinds(void **state)
{
	static const char *const modes[] = { "PASSIVE", "FULL", "RESTART", "TRUNCATE" };
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "c.db");

	engine_run(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0; "
		"CREATE TABLE t(a, b)");
	for (int i = 0; i < 400; i++) {
		engine_run(db, "INSERT INTO t VALUES(%d, randomblob(500))", i);
		if (i % 3 == 0)
			engine_run(db, "PRAGMA wal_checkpoint(%s)", modes[i / 3 % 4]);
	}
	engine_expect(f, "c.db", 402, 0);
	engine_run(db, "PRAGMA wal_autocheckpoint=1; PRAGMA journal_size_limit=0");
	for (int i = 0; i < 400; i++)
		engine_run(db, "INSERT INTO t VALUES(%d, randomblob(500))", i);
	engine_expect(f, "c.db", 802, 0);
	sqlite3_close(db);
	engine_expect(f, "c.db", 802, 0);
}

static void exclusive_locking_has_no_index(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "x.db");

	engine_run(db, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; CREATE TABLE t(a, b)");
	for (int i = 0; i < 1500; i++)
		engine_run(db, "INSERT INTO t VALUES(%d, randomblob(300))", i);
	engine_expect(f, "x.db", 1502, 0);
	sqlite3_close(db);
	engine_expect(f, "x.db", 1502, 0);
}

static void opened_and_closed_again(void **state)
{
	struct engine *f = *state;

	for (int i = 0; i < 100; i++) {
		sqlite3 *db = engine_db(f, "o.db");

		engine_run(db, "PRAGMA journal_mode=WAL; CREATE TABLE IF NOT EXISTS t(a, b)");
		engine_run(db, "INSERT INTO t VALUES(%d, randomblob(30))", i);
		sqlite3_close(db);
	}
	engine_expect(f, "o.db", 102, 0);
}

static void modes_switched(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "m.db");

	engine_run(db, "CREATE TABLE t(a, b); INSERT INTO t VALUES(1, 2)");
	for (int i = 0; i < 30; i++) {
		engine_run(db, "PRAGMA journal_mode=WAL");
		engine_run(db, "INSERT INTO t VALUES(1, randomblob(5000))");
		engine_run(db, "PRAGMA journal_mode=DELETE");
		engine_run(db, "INSERT INTO t VALUES(1, randomblob(5000))");
	}
	sqlite3_close(db);
	engine_expect(f, "m.db", 0, 0);
}

static void page_size_changed(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "z.db");

	engine_run(db, "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; CREATE TABLE t(a, b)");
	engine_run(db, "INSERT INTO t VALUES(1, randomblob(50000))");
	engine_run(db, "PRAGMA journal_mode=DELETE; PRAGMA page_size=8192; VACUUM; "
		"PRAGMA journal_mode=WAL; INSERT INTO t VALUES(2, 3)");
	engine_expect(f, "z.db", 0, 1);
	sqlite3_close(db);
	engine_expect(f, "z.db", 0, 1);
}

/* Published frames outside the checksum chain. */
static void savepoint_undo_breaks_the_chain(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "b1.db");

	engine_run(db, "PRAGMA journal_mode=WAL; PRAGMA cache_size=10; PRAGMA synchronous=OFF; "
		"CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_run(db, "INSERT INTO t(b) SELECT randomblob(3000) FROM "
		"(WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c WHERE x<100) "
		"SELECT x FROM c)");
	engine_run(db, "BEGIN; SAVEPOINT s; UPDATE t SET b=randomblob(3000); UPDATE t SET "
		"b=randomblob(3000); UPDATE t SET b=randomblob(3000); ROLLBACK TO s; RELEASE s; "
		"INSERT INTO t(b) VALUES(1); COMMIT");
	for (int i = 0; i < 3000; i++)
		engine_run(db, "INSERT INTO t(b) VALUES(%d)", i);
	sqlite3_close(db);
	engine_expect(f, "b1.db", 0, 0);
}

static void recovers_after_a_restart(void **state)
{
	struct engine *f = *state;

	for (int i = 0; i < 4; i++) {
		sqlite3 *db = engine_db(f, "r.db");

		engine_run(db, "PRAGMA journal_mode=WAL; CREATE TABLE IF NOT EXISTS t(a, b)");
		for (int k = 0; k < 20; k++)
			engine_run(db, "INSERT INTO t VALUES(%d, randomblob(300))", k);
		sqlite3_close(db);
		mount_vfs_unregister();
		/* Behind the mount's back: in odd rounds with nobody looking. */
		catalog_close(f->catalog);
		if (i % 2 != 0) {
			char path[256];

			snprintf(path, sizeof(path), "%s/r.db", f->root);
			assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
			engine_run(db, "INSERT INTO t VALUES('unseen', randomblob(3000))");
			sqlite3_close(db);
		}
		engine_open(f);
	}
	engine_expect(f, "r.db", 0, 2);
}

/* Without powersafe overwrite a synced commit is repeated up to the sector's end. */
static void padding_frames_are_no_transactions(void **state)
{
	struct engine *f = *state;

	for (int size = 512; size <= 65536; size *= 2) {
		char name[32];
		char uri[64];
		sqlite3 *db;

		snprintf(name, sizeof(name), "pad%d.db", size);
		snprintf(uri, sizeof(uri), "%s?psow=0", name);
		db = engine_db(f, uri);
		engine_run(db, "PRAGMA page_size=%d; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
			"CREATE TABLE t(a, b)", size);
		for (int i = 0; i < 200; i++) {
			engine_run(db, "INSERT INTO t VALUES(%d, randomblob(30))", i);
			if (i % 50 == 0)
				engine_expect(f, name, (uint64_t)i + 3, 0);
		}
		engine_expect(f, name, 202, 0);
		sqlite3_close(db);
		engine_expect(f, name, 202, 0);
	}
}

/* Leaves frames in the WAL that are outside the checksum chain. */
static void break_the_chain(sqlite3 *db)
{
	engine_run(db, "PRAGMA journal_mode=WAL; PRAGMA cache_size=10; PRAGMA synchronous=OFF; "
		"PRAGMA wal_autocheckpoint=0; CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 100, 3000);
	engine_run(db, "BEGIN; SAVEPOINT s; UPDATE t SET b=randomblob(3000); UPDATE t SET "
		"b=randomblob(3000) WHERE a>60; UPDATE t SET b=randomblob(3000) WHERE a>60; "
		"ROLLBACK TO s; RELEASE s; INSERT INTO t(b) VALUES(1); COMMIT");
	for (int i = 0; i < 50; i++)
		engine_run(db, "INSERT INTO t(b) VALUES(%d)", i);
}

/* SQLite's recovery drops those frames: what is committed next goes over them. */
static void a_broken_chain_is_cut_off_by_a_crash(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "cut.db");
	struct engine_image image;

	break_the_chain(db);
	assert_int_equal(engine_catch_up(f, "cut.db"), 0);
	engine_abandon(db);
	db = engine_db(f, "cut.db");
	/* Nothing shows how far its WAL goes: its index is in its own memory. */
	engine_run(db, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=OFF");
	for (int i = 0; i < 20; i++)
		engine_run(db, "UPDATE t SET b=randomblob(3000) WHERE a=%d", i);
	engine_run(db, "PRAGMA wal_checkpoint(TRUNCATE)");
	engine_run(db, "UPDATE t SET b='x' WHERE a=50");
	image = engine_check(f, "cut.db");
	engine_image_done(&image);
	sqlite3_close(db);
	image = engine_check(f, "cut.db");
	engine_image_done(&image);
}

static void a_broken_chain_is_compared_where_the_index_is_not_seen(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "b1.db");
	struct engine_image image;

	break_the_chain(db);
	engine_run(db, "PRAGMA wal_checkpoint(PASSIVE)");
	engine_run(db, "UPDATE t SET b='y' WHERE a=30");
	image = engine_check(f, "b1.db");
	engine_image_done(&image);
	for (int i = 0; i < 300; i++)
		engine_run(db, "UPDATE t SET b=randomblob(3000) WHERE a=%d", i % 100);
	engine_run(db, "PRAGMA wal_checkpoint(RESTART)");
	engine_run(db, "UPDATE t SET b='y' WHERE a=31");
	sqlite3_close(db);
	image = engine_check(f, "b1.db");
	engine_image_done(&image);
}

static void a_broken_chain_that_was_checkpointed_is_cut_off_by_a_crash(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "b1.db");

	break_the_chain(db);
	engine_run(db, "PRAGMA wal_checkpoint(PASSIVE)");
	engine_abandon(db);
	engine_exact(f, "b1.db");
	db = engine_db(f, "b1.db");
	engine_run(db, "UPDATE t SET b='z' WHERE a=70");
	assert_int_equal(engine_catch_up(f, "b1.db"), 0);
	engine_exact(f, "b1.db");
	sqlite3_close(db);
	engine_exact(f, "b1.db");
}

/* A comparison that cannot be logged is not forgotten. */
static void a_suspicion_outlives_a_full_disk(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "full.db");
	struct engine_image image;
	int first;
	int second;

	engine_run(db, "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; "
		"CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 100, 3000);
	assert_int_equal(engine_catch_up(f, "full.db"), 0);
	/* A restart that nothing announced. */
	setenv("REPLITEDFS_TEST_HOOKS", "no-barrier", 1);
	engine_run(db, "UPDATE t SET b=randomblob(3000) WHERE a=50");
	engine_run(db, "PRAGMA wal_checkpoint(RESTART)");
	engine_run(db, "UPDATE t SET b=randomblob(3000) WHERE a=60");
	unsetenv("REPLITEDFS_TEST_HOOKS");
	engine_disk_full(true);
	first = engine_catch_up(f, "full.db");
	second = engine_catch_up(f, "full.db");
	engine_disk_full(false);
	assert_int_equal(first, -EIO);
	assert_int_equal(second, -EIO);
	image = engine_check(f, "full.db");
	assert_int_equal(image.n_merged, 1);
	engine_image_done(&image);
	sqlite3_close(db);
}

/* A rename or a removal waits just when a checkpoint wants to know what went past us. */
static void a_checkpoint_is_not_refused_for_who_waits(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "w.db");
	struct database *found;

	engine_run(db, "PRAGMA journal_mode=WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 100, 500);
	found = catalog_find(f->catalog, "w.db");
	found->lost = true;
	atomic_fetch_add(&found->n_hurried, 1);
	engine_run(db, "UPDATE t SET b=1 WHERE a=50; PRAGMA wal_checkpoint(TRUNCATE)");
	engine_run(db, "UPDATE t SET b=2 WHERE a=51");
	atomic_fetch_sub(&found->n_hurried, 1);
	engine_expect(f, "w.db", 0, 1);
	assert_null(found->trouble);
	database_unref(found);
	sqlite3_close(db);
	engine_expect(f, "w.db", 0, 1);
}

/* A log without room is no business of a call that loses nothing. */
static void what_refuses_nothing_leaves_no_error(void **state)
{
	static const enum database_file files[] = { DATABASE_WAL, DATABASE_SHM };
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "s.db");
	struct database *database;

	engine_run(db, "PRAGMA journal_mode=WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	database = catalog_find(f->catalog, "s.db");
	engine_log_room(ENGINE_LOG_FULL_UNSAID);
	engine_rows(db, 5, 500);
	assert_int_equal(engine_catch_up(f, "s.db"), -ENOSPC);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		struct error err = ERROR_INIT;

		assert_int_equal(database_barrier_begin(database, files[i], DATABASE_SYNC, 0, &err),
				 0);
		database_barrier_end(database, files[i], DATABASE_SYNC, 0);
		assert_int_equal(err.code, 0);
		assert_null(err.what);
	}
	engine_log_room(ENGINE_LOG_HAS_ROOM);
	database_unref(database);
	sqlite3_close(db);
	engine_expect(f, "s.db", 0, 0);
}

/* Taken for what might have been a large commit, which was rolled back. */
static void room_in_the_log_is_given_back(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "room.db");
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct database *database;

	engine_run(db, "PRAGMA journal_mode=WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	database = catalog_find(f->catalog, "room.db");
	assert_int_equal(engine_catch_up(f, "room.db"), 0);
	assert_int_equal(gate_reserve(database, 60u << 20, &err), 0);
	if (database->log.reserved < 60u << 20)
		skip(); /* not on this file system */
	engine_rows(db, 1, 100);
	assert_int_equal(engine_catch_up(f, "room.db"), 0);
	assert_true(database->log.reserved < 30u << 20);
	database_unref(database);
	sqlite3_close(db);
}

static void a_restart_that_a_comparison_sees_first_is_counted(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "r.db");
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct database *database;

	engine_run(db, "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; "
		"CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 20, 500);
	assert_int_equal(engine_catch_up(f, "r.db"), 0);
	setenv("REPLITEDFS_TEST_HOOKS", "no-barrier", 1);
	engine_run(db, "PRAGMA wal_checkpoint(RESTART)");
	engine_rows(db, 1, 500);
	unsetenv("REPLITEDFS_TEST_HOOKS");
	database = catalog_find(f->catalog, "r.db");
	pthread_mutex_lock(&database->mutex);
	assert_int_equal(compare_all(database, &err), 0);
	pthread_mutex_unlock(&database->mutex);
	assert_int_equal(database->n_unannounced, 1);
	assert_int_equal(engine_catch_up(f, "r.db"), 0);
	assert_int_equal(database->n_unannounced, 1);
	database_unref(database);
	sqlite3_close(db);
	engine_expect(f, "r.db", 0, 1);
}

/*
 * A database and a WAL made by hand, of a client that has both open. Its WAL is
 * judged by its frames.
 */
struct handmade {
	struct database *db;
	struct walfile wal;
	uint32_t page_size;
	int fd;
};

static void open_file(struct handmade *made, enum database_file file, bool create)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;

	if (database_opening(made->db, file,
			     DATABASE_OPEN_VISIBLE | (create ? DATABASE_OPEN_CREATE : 0),
			     &err) < 0)
		fail_msg("%s", error_what(&err));
}

/* With n_pages pages, of version 0, in the database file; the rest of it is a hole. */
static void handmade_open(struct handmade *made, struct engine *f, uint32_t page_size,
			  uint32_t n_pages)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	uint8_t page[PAGE_SIZE_MAX];

	made->page_size = page_size;
	made->fd = openat(f->root_fd, "made.db", O_RDWR | O_CREAT, 0600);
	for (uint32_t pgno = 1; pgno <= n_pages; pgno++) {
		walfile_page(page, page_size, pgno, 0);
		if (pgno == 1) {
			memcpy(page, "SQLite format 3", 16);
			be16_put(page + 16, (uint16_t)(page_size == 65536 ? 1 : page_size));
			be32_put(page + 24, 1);
			be32_put(page + 28, n_pages);
			be32_put(page + 92, 1);
		}
		assert_int_equal(file_pwrite(made->fd, page, page_size,
					     (off_t)(pgno - 1) * page_size), 0);
	}
	assert_int_equal(catalog_adopt(f->catalog, "made.db", &made->db, &err), 0);
	open_file(made, DATABASE_MAIN, false);
	open_file(made, DATABASE_WAL, true);
	walfile_begin(&made->wal, openat(f->root_fd, "made.db-wal", O_RDWR | O_CREAT, 0600),
		      page_size, 1000);
}

static void handmade_close(struct handmade *made)
{
	database_released(made->db, DATABASE_WAL);
	database_released(made->db, DATABASE_MAIN);
	database_unref(made->db);
	close(made->wal.fd);
	close(made->fd);
}

/* Fails unless page pgno reads exactly as version of it; NULL: as zeros. */
static void expect_page(struct handmade *made, uint32_t pgno, const uint32_t *version)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	uint8_t expected[PAGE_SIZE_MAX] = { 0 };
	uint8_t page[PAGE_SIZE_MAX];
	struct position position;

	if (version != NULL)
		walfile_page(expected, made->page_size, pgno, *version);
	assert_int_equal(database_read_exact(made->db, NULL, pgno, NULL, 1, made->page_size, page,
					     &position, NULL, &err), 0);
	if (memcmp(page, expected, made->page_size) != 0)
		fail_msg("page %u is not as it should be", pgno);
}

/* Spilled before it was cut off: that is what the page is when it comes back. */
static void a_page_cut_off_and_regrown_unwritten_is_its_newest_frame(void **state)
{
	struct engine *f = *state;
	struct handmade made;

	handmade_open(&made, f, 512, 3);
	walfile_put(&made.wal, 5, 1, 0);
	walfile_put(&made.wal, 1, 1, 3);
	assert_int_equal(engine_catch_up(f, "made.db"), 0);
	assert_int_equal(database_position(made.db, NULL, NULL).txid, 2);
	walfile_put(&made.wal, 1, 2, 5);
	assert_int_equal(engine_catch_up(f, "made.db"), 0);
	expect_page(&made, 1, &(uint32_t){ 2 });
	expect_page(&made, 4, NULL);
	expect_page(&made, 5, &(uint32_t){ 1 });
	/* All in one stretch. */
	walfile_put(&made.wal, 7, 3, 0);
	walfile_put(&made.wal, 1, 3, 5);
	walfile_put(&made.wal, 1, 4, 4);
	walfile_put(&made.wal, 1, 5, 7);
	assert_int_equal(engine_catch_up(f, "made.db"), 0);
	expect_page(&made, 5, &(uint32_t){ 1 });
	expect_page(&made, 6, NULL);
	expect_page(&made, 7, &(uint32_t){ 3 });
	handmade_close(&made);
}

/* Whoever writes a commit frame by hand may claim any size. */
static void a_size_that_cannot_be_is_refused(void **state)
{
	static const uint32_t sizes[] = { 5000000, PAGE_NUMBER_MAX, UINT32_MAX };
	struct engine *f = *state;
	struct handmade made;
	struct wal_sum sum;

	handmade_open(&made, f, 4096, 4);
	walfile_put(&made.wal, 1, 1, 4);
	assert_int_equal(engine_catch_up(f, "made.db"), 0);
	sum = made.wal.sum;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		walfile_put(&made.wal, 1, 2, sizes[i]);
		assert_true(engine_catch_up(f, "made.db") < 0);
		assert_true(made.db->hashes.capacity < 5000000);
		expect_page(&made, 1, &(uint32_t){ 1 });
		walfile_rewind(&made.wal, 1, sum);
	}
	walfile_put(&made.wal, 1, 3, 4);
	assert_int_equal(engine_catch_up(f, "made.db"), 0);
	expect_page(&made, 1, &(uint32_t){ 3 });
	handmade_close(&made);
}

/* Its author died before he published it, and another client goes over it. */
static void a_commit_that_was_never_published_is_taken_back(void **state)
{
	struct engine *f = *state;
	struct handmade made;
	struct wal_sum sum;

	handmade_open(&made, f, 512, 4);
	walfile_put(&made.wal, 1, 1, 4);
	assert_int_equal(engine_catch_up(f, "made.db"), 0);
	sum = made.wal.sum;
	for (uint32_t pgno = 1; pgno <= 3; pgno++)
		walfile_put(&made.wal, pgno, 2, pgno == 3 ? 4 : 0);
	assert_int_equal(engine_catch_up(f, "made.db"), 0);
	expect_page(&made, 3, &(uint32_t){ 2 });
	walfile_rewind(&made.wal, 1, sum);
	walfile_put(&made.wal, 4, 3, 4);
	assert_int_equal(engine_catch_up(f, "made.db"), 0);
	expect_page(&made, 1, &(uint32_t){ 1 });
	expect_page(&made, 2, &(uint32_t){ 0 });
	expect_page(&made, 3, &(uint32_t){ 0 });
	expect_page(&made, 4, &(uint32_t){ 3 });
	assert_int_equal(made.db->n_merged, 1);
	handmade_close(&made);
}

/* A WAL with five rows, and behind them what its author wrote and died before publishing. */
static sqlite3 *with_a_dead_commit(struct engine *f)
{
	sqlite3 *db = engine_db(f, "dead.db");
	struct walfile wal = { .fd = -1 };
	uint8_t bytes[WAL_FRAME_HEADER_LEN + PAGE_SIZE_MAX];

	engine_run(db, "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(a)");
	for (int i = 0; i < 5; i++)
		engine_run(db, "INSERT INTO t VALUES(%d)", i);
	wal.fd = openat(f->root_fd, "dead.db-wal", O_RDWR);
	assert_int_equal(file_pread(wal.fd, bytes, WAL_HEADER_LEN, 0), WAL_HEADER_LEN);
	assert_int_equal(wal_header_parse(bytes, WAL_HEADER_LEN, &wal.header), WAL_HEADER_VALID);
	wal.sum = wal.header.sum;
	while (file_pread(wal.fd, bytes, WAL_FRAME_HEADER_LEN + wal.header.page_size,
			  (off_t)wal_frame_offset(wal.header.page_size, wal.n_frames + 1)) ==
		       (ssize_t)(WAL_FRAME_HEADER_LEN + wal.header.page_size) &&
	       wal_frame_valid(&wal.header, &wal.sum, bytes))
		wal.n_frames++;
	walfile_put(&wal, 2, 1, 2);
	close(wal.fd);
	return db;
}

/* The last client closes: the WAL is removed, and nobody ever finds it. */
static void a_commit_that_was_never_published_ends_with_the_wal(void **state)
{
	struct engine *f = *state;

	sqlite3_close(with_a_dead_commit(f));
	engine_expect(f, "dead.db", 7, 0);
}

/* It was taken for a commit; nobody goes over it before the WAL ends, by a checkpoint. */
static void a_commit_that_was_never_published_is_not_checkpointed(void **state)
{
	static const char *const ends[] = {
		NULL,
		"PRAGMA wal_checkpoint(TRUNCATE)",
		"PRAGMA wal_checkpoint(RESTART)",
	};
	struct engine *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		sqlite3 *db = with_a_dead_commit(f);

		assert_int_equal(engine_catch_up(f, "dead.db"), 0);
		if (ends[i] != NULL) {
			engine_run(db, ends[i]);
			engine_run(db, "INSERT INTO t VALUES(5)");
			engine_expect(f, "dead.db", 0, i + 1);
		}
		sqlite3_close(db);
		engine_expect(f, "dead.db", 0, i + 1);
		db = engine_db(f, "dead.db");
		engine_run(db, "DROP TABLE t");
		sqlite3_close(db);
	}
}

/* The page at 1 GiB is never written, logged or counted. */
static void a_database_grows_over_the_lock_page(void **state)
{
	uint32_t lock_page = page_lock_number(65536);
	static const uint8_t zeros[65536];
	struct engine *f = *state;
	struct handmade made;
	struct extent extent;
	struct position position;
	uint64_t checksum = 0;
	uint8_t page[65536];

	handmade_open(&made, f, 65536, 2);
	walfile_put(&made.wal, lock_page - 1, 1, 0);
	walfile_put(&made.wal, lock_page + 1, 1, 0);
	walfile_put(&made.wal, 1, 1, lock_page + 2);
	assert_int_equal(engine_catch_up(f, "made.db"), 0);
	position = database_position(made.db, &extent, NULL);
	assert_int_equal(extent.n_pages, lock_page + 2);
	for (uint32_t pgno = 3; pgno <= lock_page + 2; pgno++) {
		if (pgno != lock_page - 1 && pgno != lock_page + 1)
			checksum ^= page_hash(pgno, zeros, 65536);
	}
	walfile_page(page, 65536, 1, 1);
	checksum ^= page_hash(1, page, 65536);
	walfile_page(page, 65536, 2, 0);
	checksum ^= page_hash(2, page, 65536);
	for (uint32_t pgno = lock_page - 1; pgno <= lock_page + 1; pgno += 2) {
		walfile_page(page, 65536, pgno, 1);
		checksum ^= page_hash(pgno, page, 65536);
		expect_page(&made, pgno, &(uint32_t){ 1 });
	}
	assert_int_equal(position.checksum, checksum);
	expect_page(&made, lock_page, NULL);
	expect_page(&made, lock_page + 2, NULL);
	/* And back. */
	walfile_put(&made.wal, 1, 2, lock_page - 2);
	walfile_put(&made.wal, 1, 3, 2);
	assert_int_equal(engine_catch_up(f, "made.db"), 0);
	expect_page(&made, 1, &(uint32_t){ 3 });
	walfile_page(page, 65536, 1, 3);
	checksum = page_hash(1, page, 65536);
	walfile_page(page, 65536, 2, 0);
	checksum ^= page_hash(2, page, 65536);
	assert_int_equal(database_position(made.db, NULL, NULL).checksum, checksum);
	handmade_close(&made);
}

/* Larger than a stretch, each page several times, and smaller ones around it. */
static void transactions_of_all_sizes_around_a_stretch(void **state)
{
	static const uint32_t sizes[] = { 1, 1023, 1024, 1025, 1, 2047, 2050, 3, 5000, 1 };
	static uint32_t versions[701];
	struct engine *f = *state;
	struct handmade made;
	uint32_t version = 0;

	handmade_open(&made, f, 512, 1);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		for (uint32_t k = 0; k < sizes[i]; k++) {
			uint32_t pgno = 1 + k % 700;

			versions[pgno] = ++version;
			walfile_put(&made.wal, pgno, version, k == sizes[i] - 1 ? 700 : 0);
		}
		if (i % 3 == 0)
			assert_int_equal(engine_catch_up(f, "made.db"), 0);
	}
	assert_int_equal(engine_catch_up(f, "made.db"), 0);
	assert_int_equal(database_position(made.db, NULL, NULL).txid, 1 + ARRAY_LEN(sizes));
	for (uint32_t pgno = 1; pgno <= 700; pgno++)
		expect_page(&made, pgno, &versions[pgno]);
	handmade_close(&made);
}

/* -shm is gone, -wal is not; all of it is in the database. */
static void a_wal_left_after_the_last_checkpoint_is_not_taken_in_again(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "b5.db");

	engine_run(db, "PRAGMA journal_mode=WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	for (int i = 0; i < 20; i++)
		engine_rows(db, 1, 500);
	engine_save(f, "b5.db-wal", "left-wal");
	sqlite3_close(db);
	engine_put_back(f, "left-wal", "b5.db-wal");
	db = engine_db(f, "b5.db");
	engine_rows(db, 1, 500);
	engine_expect(f, "b5.db", 23, 0);
	sqlite3_close(db);
	engine_expect(f, "b5.db", 23, 0);
}

/* The log cannot be written: commits go on, the checkpoint waits, nothing is lost. */
static void with_a_full_log_the_wal_keeps_everything(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "full.db");
	struct database *database;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int r;

	engine_run(db, "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; "
		       "PRAGMA synchronous=OFF; "
		       "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 10, 500);
	assert_int_equal(engine_catch_up(f, "full.db"), 0);
	for (int i = 0; i < 10; i++)
		engine_rows(db, 10, 500);
	database = catalog_find(f->catalog, "full.db");
	engine_disk_full(true);
	r = database_barrier_begin(database, DATABASE_MAIN, DATABASE_TRUNCATE, 4096, &err);
	engine_disk_full(false);
	assert_true(r < 0);
	assert_int_equal(database_position(database, NULL, NULL).txid, 3);
	database_unref(database);
	engine_run(db, "PRAGMA wal_checkpoint(TRUNCATE)");
	engine_expect(f, "full.db", 13, 0);
	sqlite3_close(db);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, engine_setup, engine_teardown)
#define BOTH_ROADS(name)                                                       \
	cmocka_unit_test_setup_teardown(name, engine_setup, engine_teardown), {              \
		#name "_without_index", name, engine_setup_unseen, engine_teardown, NULL     \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH_ROADS(every_commit_is_one_record),
		BOTH_ROADS(all_page_sizes),
		BOTH_ROADS(spilled_and_rolled_back),
		BOTH_ROADS(large_transactions_and_vacuum),
		BOTH_ROADS(checkpoints_of_all_kinds),
		BOTH_ROADS(exclusive_locking_has_no_index),
		BOTH_ROADS(opened_and_closed_again),
		BOTH_ROADS(modes_switched),
		BOTH_ROADS(page_size_changed),
		TEST(savepoint_undo_breaks_the_chain),
		BOTH_ROADS(recovers_after_a_restart),
		BOTH_ROADS(padding_frames_are_no_transactions),
		BOTH_ROADS(a_broken_chain_is_cut_off_by_a_crash),
		BOTH_ROADS(a_broken_chain_is_compared_where_the_index_is_not_seen),
		BOTH_ROADS(a_broken_chain_that_was_checkpointed_is_cut_off_by_a_crash),
		TEST(a_checkpoint_is_not_refused_for_who_waits),
		TEST(what_refuses_nothing_leaves_no_error),
		TEST(room_in_the_log_is_given_back),
		TEST(a_restart_that_a_comparison_sees_first_is_counted),
		BOTH_ROADS(a_suspicion_outlives_a_full_disk),
		BOTH_ROADS(a_wal_left_after_the_last_checkpoint_is_not_taken_in_again),
		BOTH_ROADS(with_a_full_log_the_wal_keeps_everything),
		TEST(a_page_cut_off_and_regrown_unwritten_is_its_newest_frame),
		TEST(a_size_that_cannot_be_is_refused),
		TEST(a_commit_that_was_never_published_is_taken_back),
		TEST(a_commit_that_was_never_published_ends_with_the_wal),
		cmocka_unit_test_setup_teardown(
			a_commit_that_was_never_published_is_not_checkpointed,
			engine_setup_unseen, engine_teardown),
		TEST(a_database_grows_over_the_lock_page),
		TEST(transactions_of_all_sizes_around_a_stretch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
