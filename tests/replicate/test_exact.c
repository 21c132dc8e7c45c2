/* SPDX-License-Identifier: MIT */
#include "tests/replicate/engine.h"

#include "base/file.h"
#include "replicate/database_internal.h"

#include <stdio.h>

/* Reading pages as they are at the position, whatever goes on meanwhile. */

static sqlite3 *begin(struct engine *f)
{
	sqlite3 *db = engine_db(f, "a.db");

	engine_run(db, "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; "
		       "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 100, 900);
	assert_int_equal(engine_catch_up(f, "a.db"), 0);
	return db;
}

static int read_pages(struct database *db, const struct position *expect, const uint32_t *numbers,
		      uint32_t n, uint8_t *pages, struct position *ret_position)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;

	return database_read_exact(db, expect, 1, numbers, n, 4096, pages, ret_position, NULL,
				   &err);
}

static void pages_come_from_wherever_they_are(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = begin(f);

	engine_exact(f, "a.db");
	engine_run(db, "PRAGMA wal_checkpoint(PASSIVE)");
	engine_exact(f, "a.db");
	engine_run(db, "UPDATE t SET b=1 WHERE a<20"); /* restarts the WAL */
	assert_int_equal(engine_catch_up(f, "a.db"), 0);
	engine_exact(f, "a.db");
	engine_run(db, "DELETE FROM t; VACUUM");
	assert_int_equal(engine_catch_up(f, "a.db"), 0);
	engine_exact(f, "a.db");
	sqlite3_close(db);
	engine_exact(f, "a.db");
}

/* A commit that the log does not have yet is not in what is read. */
static void what_is_not_captured_yet_does_not_show(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = begin(f);
	struct database *database = catalog_find(f->catalog, "a.db");
	struct position before = database_position(database, NULL, NULL);
	static uint8_t first[20 * 4096];
	static uint8_t second[20 * 4096];
	struct position position;

	assert_int_equal(read_pages(database, NULL, NULL, 20, first, &position), 0);
	assert_true(position_equal(&position, &before));
	engine_run(db, "UPDATE t SET b=1 WHERE a<20");
	assert_int_equal(read_pages(database, &before, NULL, 20, second, &position), 0);
	assert_memory_equal(first, second, sizeof(first));
	assert_int_equal(engine_catch_up(f, "a.db"), 0);
	assert_int_equal(read_pages(database, &before, NULL, 20, second, &position), 1);
	assert_int_equal(position.txid, before.txid + 1);
	database_unref(database);
	sqlite3_close(db);
}

static void numbers_pick_pages_and_zeros_lie_beyond(void **state)
{
	static const uint32_t numbers[] = { 3, 1, 5000, UINT32_MAX };
	static const uint8_t zeros[4096];
	static uint8_t all[3 * 4096];
	static uint8_t some[4 * 4096];
	struct engine *f = *state;
	sqlite3 *db = begin(f);
	struct database *database = catalog_find(f->catalog, "a.db");
	struct position position;

	assert_int_equal(read_pages(database, NULL, NULL, 3, all, &position), 0);
	assert_int_equal(read_pages(database, &position, numbers, 4, some, &position), 0);
	assert_memory_equal(some, all + 2 * 4096, 4096);
	assert_memory_equal(some + 4096, all, 4096);
	assert_memory_equal(some + 2 * 4096, zeros, 4096);
	assert_memory_equal(some + 3 * 4096, zeros, 4096);
	database_unref(database);
	sqlite3_close(db);
}

/*
 * Pages that a transaction in rollback mode has written to the file already are
 * read from its journal, unless that is too large to be searched for each.
 */
static void a_page_under_a_writer_is_read_from_the_journal(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = engine_db(f, "a.db");
	struct database *database;
	static uint8_t before[40 * 4096];
	static uint8_t pages[40 * 4096];
	struct position position;

	engine_run(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 4000, 900);
	database = catalog_find(f->catalog, "a.db");
	assert_int_equal(read_pages(database, NULL, NULL, 40, before, &position), 0);
	engine_run(db, "PRAGMA cache_size=5; BEGIN; UPDATE t SET b=randomblob(900) WHERE a<200");
	assert_int_equal(read_pages(database, &position, NULL, 40, pages, &position), 0);
	assert_memory_equal(pages, before, sizeof(before));
	engine_run(db, "UPDATE t SET b=randomblob(900)");
	assert_int_equal(read_pages(database, NULL, NULL, 40, pages, &position), 2);
	engine_run(db, "COMMIT");
	sqlite3_close(db);
	engine_exact(f, "a.db");
	database_unref(database);
}

/* At rest a hash that does not fit is set right, or nobody could ever read the page. */
static void a_damaged_hash_at_rest_is_set_right(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = begin(f);
	struct database *database = catalog_find(f->catalog, "a.db");
	struct position before;
	struct position now;
	char path[128];
	int fd;

	sqlite3_close(db);
	before = engine_exact(f, "a.db");
	snprintf(path, sizeof(path), "%s/hashes", database->state_path);
	fd = openat(f->state_fd, path, O_RDWR);
	assert_int_equal(pwrite(fd, "?", 1, 4096 + 8 * 2), 1);
	close(fd);
	now = engine_exact(f, "a.db");
	assert_true(position_equal(&now, &before));
	database_unref(database);
}

/* Somebody who goes past the mount changes it while nobody has it open. */
static void a_change_at_rest_is_followed(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = begin(f);
	struct database *database = catalog_find(f->catalog, "a.db");
	static uint8_t page[4096];
	struct position before;
	struct position now;
	int fd;

	sqlite3_close(db);
	before = engine_exact(f, "a.db");
	fd = openat(f->root_fd, "a.db", O_RDWR);
	assert_int_equal(file_pread(fd, page, sizeof(page), 4096), sizeof(page));
	page[4000] ^= 1;
	assert_int_equal(file_pwrite(fd, page, sizeof(page), 4096), 0);
	close(fd);
	assert_int_equal(read_pages(database, NULL, (const uint32_t[]){ 2 }, 1, page, &now), 0);
	assert_int_equal(now.txid, before.txid + 1);
	engine_exact(f, "a.db");
	database_unref(database);
}

/* The caller has room for pages of the size it knows. */
static void pages_of_another_size_are_not_read(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = begin(f);
	struct database *database = catalog_find(f->catalog, "a.db");
	uint8_t *page CLEANUP_FREE = malloc(4096);
	struct position position;

	assert_int_equal(read_pages(database, NULL, NULL, 1, page, &position), 0);
	engine_run(db, "PRAGMA journal_mode=DELETE; PRAGMA page_size=65536; VACUUM");
	sqlite3_close(db);
	assert_int_equal(read_pages(database, NULL, NULL, 1, page, &position), 1);
	engine_exact(f, "a.db");
	database_unref(database);
}

static void an_ended_database_is_gone(void **state)
{
	struct engine *f = *state;
	sqlite3 *db = begin(f);
	struct database *database = catalog_find(f->catalog, "a.db");
	static uint8_t page[4096];
	struct position position;

	sqlite3_close(db);
	assert_int_equal(unlinkat(f->root_fd, "a.db", 0), 0);
	catalog_removed(f->catalog, "a.db");
	assert_int_equal(read_pages(database, NULL, NULL, 1, page, &position), -ENOENT);
	database_unref(database);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, engine_setup, engine_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pages_come_from_wherever_they_are),
		TEST(what_is_not_captured_yet_does_not_show),
		TEST(numbers_pick_pages_and_zeros_lie_beyond),
		TEST(a_page_under_a_writer_is_read_from_the_journal),
		TEST(a_damaged_hash_at_rest_is_set_right),
		TEST(a_change_at_rest_is_followed),
		TEST(pages_of_another_size_are_not_read),
		TEST(an_ended_database_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
