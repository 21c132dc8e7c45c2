/* SPDX-License-Identifier: MIT */
#include "tests/replicate/engine.h"

#include "base/clock.h"
#include "base/file.h"
#include "replicate/catalog_internal.h"
#include "tests/replicate/mount_vfs.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Names and lives of databases: adopted, renamed, replaced, removed, forgotten. */

static void make(struct engine *f, const char *name)
{
	sqlite3 *db = engine_db(f, name);

	engine_run(db, "PRAGMA journal_mode=WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	engine_rows(db, 5, 100);
	sqlite3_close(db);
}

static struct id id_of(struct engine *f, const char *name)
{
	struct database *db = catalog_find(f->catalog, name);
	struct id id = { { 0 } };

	if (db != NULL)
		id = *database_id(db);
	database_unref(db);
	return id;
}

static void expect_names(struct engine *f, bool ended, const char *expected)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf names CLEANUP_BUF = { 0 };
	struct database **list;
	size_t n;

	assert_int_equal(catalog_list(f->catalog, ended, &list, &n, &err), 0);
	for (size_t i = 0; i < n; i++) {
		char *name CLEANUP_FREE = database_name(list[i]);

		assert_int_equal(buf_printf(&names, "%s ", name), 0);
	}
	catalog_list_free(list, n);
	assert_string_equal(buf_str(&names), expected);
}

static void renamed(struct engine *f, const char *from, const char *to)
{
	assert_int_equal(renameat(f->root_fd, from, f->root_fd, to), 0);
	catalog_renamed(f->catalog, from, to);
}

static void names_and_ids_stay_over_a_remount(void **state)
{
	struct engine *f = *state;
	struct id a;
	struct id b;

	assert_int_equal(mkdirat(f->root_fd, "sub", 0700), 0);
	make(f, "a.db");
	make(f, "sub/b.db");
	a = id_of(f, "a.db");
	b = id_of(f, "sub/b.db");
	assert_false(id_equal(&a, &b));
	expect_names(f, true, "a.db sub/b.db ");
	engine_close(f);
	engine_open(f);
	expect_names(f, true, "a.db sub/b.db ");
	assert_memory_equal(&(struct id[]){ id_of(f, "a.db") }, &a, sizeof(a));
	assert_memory_equal(&(struct id[]){ id_of(f, "sub/b.db") }, &b, sizeof(b));
	engine_exact(f, "sub/b.db");
}

static void a_rename_keeps_the_id_and_the_history(void **state)
{
	struct engine *f = *state;
	struct id a;
	sqlite3 *db;

	make(f, "a.db");
	a = id_of(f, "a.db");
	renamed(f, "a.db", "c.db");
	expect_names(f, true, "c.db ");
	assert_memory_equal(&(struct id[]){ id_of(f, "c.db") }, &a, sizeof(a));
	db = engine_db(f, "c.db");
	engine_rows(db, 3, 100);
	sqlite3_close(db);
	engine_expect(f, "c.db", 0, 0);
	engine_close(f);
	engine_open(f);
	expect_names(f, true, "c.db ");
	assert_memory_equal(&(struct id[]){ id_of(f, "c.db") }, &a, sizeof(a));
}

static void a_renamed_folder_takes_its_databases_along(void **state)
{
	struct engine *f = *state;
	struct id b;

	assert_int_equal(mkdirat(f->root_fd, "x", 0700), 0);
	assert_int_equal(mkdirat(f->root_fd, "x/y", 0700), 0);
	make(f, "x/y/b.db");
	make(f, "xx.db");
	b = id_of(f, "x/y/b.db");
	renamed(f, "x", "z");
	expect_names(f, true, "xx.db z/y/b.db ");
	assert_memory_equal(&(struct id[]){ id_of(f, "z/y/b.db") }, &b, sizeof(b));
	engine_exact(f, "z/y/b.db");
}

static void a_database_that_is_replaced_has_ended(void **state)
{
	struct engine *f = *state;
	struct id a;
	struct id b;

	make(f, "a.db");
	make(f, "b.db");
	a = id_of(f, "a.db");
	b = id_of(f, "b.db");
	renamed(f, "b.db", "a.db");
	expect_names(f, false, "a.db ");
	expect_names(f, true, "a.db a.db ");
	assert_memory_equal(&(struct id[]){ id_of(f, "a.db") }, &b, sizeof(b));
	assert_false(id_equal(&a, &b));
	engine_exact(f, "a.db");
	engine_close(f);
	engine_open(f);
	expect_names(f, false, "a.db ");
	assert_memory_equal(&(struct id[]){ id_of(f, "a.db") }, &b, sizeof(b));
}

static void a_new_file_of_an_old_name_is_a_new_database(void **state)
{
	struct engine *f = *state;
	struct id first;
	struct id second;

	make(f, "a.db");
	first = id_of(f, "a.db");
	assert_int_equal(unlinkat(f->root_fd, "a.db", 0), 0);
	catalog_removed(f->catalog, "a.db");
	assert_null(catalog_find(f->catalog, "a.db"));
	make(f, "a.db");
	second = id_of(f, "a.db");
	assert_false(id_equal(&first, &second));
	engine_expect(f, "a.db", 0, 0);
}

/* Removed while a program has it open: what it still does has no name. */
static void removed_while_open_it_ends_quietly(void **state)
{
	struct engine *f = *state;
	struct database *database;
	struct position before;
	sqlite3 *db;

	make(f, "a.db");
	database = catalog_find(f->catalog, "a.db");
	db = engine_db(f, "a.db");
	engine_rows(db, 3, 100);
	assert_int_equal(unlinkat(f->root_fd, "a.db", 0), 0);
	catalog_removed(f->catalog, "a.db");
	/* What was committed before is in its log. */
	before = database_position(database, NULL, NULL);
	assert_int_equal(before.txid, 4);
	sqlite3_close(db);
	assert_int_equal(database_position(database, NULL, NULL).txid, before.txid);
	database_unref(database);
	expect_names(f, false, "");
}

/* Nothing of it goes into its log any more, so a full one refuses nothing. */
static void removed_while_open_its_wal_takes_no_room(void **state)
{
	struct engine *f = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct database *database;
	sqlite3 *db;

	make(f, "a.db");
	database = catalog_find(f->catalog, "a.db");
	db = engine_db(f, "a.db");
	engine_rows(db, 3, 100);
	engine_log_room(ENGINE_LOG_FULL);
	assert_int_equal(database_writing(database, DATABASE_WAL, 32, 24 + 4096, &err), -ENOSPC);
	error_done(&err);
	assert_int_equal(unlinkat(f->root_fd, "a.db", 0), 0);
	catalog_removed(f->catalog, "a.db");
	assert_int_equal(database_writing(database, DATABASE_WAL, 32, 24 + 4096, &err), 0);
	engine_log_room(ENGINE_LOG_HAS_ROOM);
	sqlite3_close(db);
	database_unref(database);
}

static void what_vanished_while_unmounted_has_ended(void **state)
{
	struct engine *f = *state;

	make(f, "a.db");
	make(f, "b.db");
	engine_close(f);
	assert_int_equal(unlinkat(f->root_fd, "a.db", 0), 0);
	engine_open(f);
	expect_names(f, false, "b.db ");
	expect_names(f, true, "a.db b.db ");
}

static void an_idle_database_stays_for_a_while_after_its_end(void **state)
{
	struct engine *f = *state;
	int64_t before_us;

	make(f, "a.db");
	/* The times of files go in ticks. */
	usleep(20000);
	before_us = clock_wall_us();
	usleep(20000);
	assert_int_equal(unlinkat(f->root_fd, "a.db", 0), 0);
	catalog_removed(f->catalog, "a.db");
	for (int i = 0; i < 2; i++) {
		catalog_forget_ended(f->catalog, before_us);
		expect_names(f, true, "a.db ");
		engine_close(f);
		engine_open(f);
	}
	catalog_forget_ended(f->catalog, clock_wall_us() + 1);
	expect_names(f, true, "");
}

struct found {
	struct buf names;
};

static int add_name(void *arg, const char *name, struct error *err)
{
	struct found *found = arg;

	return buf_printf(&found->names, "%s ", name);
}

static void put_file(struct engine *f, const char *name, const char *data, size_t len)
{
	int fd = openat(f->root_fd, name, O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

static void only_databases_are_found_in_a_folder(void **state)
{
	struct engine *f = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct found found = { { 0 } };

	assert_int_equal(mkdirat(f->root_fd, "d", 0700), 0);
	put_file(f, "text", "SQLite format 2", 16);
	put_file(f, "short", "SQLite", 6);
	put_file(f, "empty", "", 0);
	put_file(f, "d/plain", "SQLite format 3", 16);
	put_file(f, "secret", "0123456789abcdef", 16);
	put_file(f, "secret-wal", "\x37\x7f\x06\x82", 4);
	put_file(f, "other", "x", 1);
	put_file(f, "other-wal", "x", 1);
	assert_int_equal(symlinkat("d/plain", f->root_fd, "link"), 0);
	assert_int_equal(mkfifoat(f->root_fd, "fifo", 0600), 0);
	assert_int_equal(catalog_each_file(f->root_fd, add_name, &found, &err), 0);
	assert_non_null(strstr(buf_str(&found.names), "d/plain "));
	assert_non_null(strstr(buf_str(&found.names), "secret "));
	assert_int_equal(strlen(buf_str(&found.names)), strlen("d/plain secret "));
	buf_done(&found.names);
}

/* Makes a folder in the one that *dir_fd is, with a database in it, and goes there. */
static void go_down(int *dir_fd)
{
	int fd;

	assert_int_equal(mkdirat(*dir_fd, "d", 0700), 0);
	fd = openat(*dir_fd, "d", O_RDONLY | O_DIRECTORY);
	close(*dir_fd);
	*dir_fd = fd;
	fd = openat(*dir_fd, "x", O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, "SQLite format 3", 16), 16);
	close(fd);
}

static void folders_are_searched_to_a_depth_that_is_said(void **state)
{
	struct engine *f = *state;
	int log_fd CLEANUP_FD = memfd_create("log", MFD_CLOEXEC);
	int dir_fd CLEANUP_FD = dup(f->root_fd);
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct found found = { { 0 } };
	char text[512] = "";

	for (int depth = 1; depth <= 67; depth++)
		go_down(&dir_fd);
	log_open(log_fd, LOG_LEVEL_WARN);
	assert_int_equal(catalog_each_file(f->root_fd, add_name, &found, &err), 0);
	log_open(STDERR_FILENO, LOG_LEVEL_INFO);
	/* "d/x ", "d/d/x ", … */
	assert_int_equal(found.names.len, 64 * 65 + 2 * 64);
	assert_true(file_pread(log_fd, text, sizeof(text) - 1, 0) > 0);
	assert_non_null(strstr(text, "more than 64 folders deep"));
	assert_ptr_equal(strchr(text, '\n'), strrchr(text, '\n'));
	buf_done(&found.names);
}

static unsigned n_reports;
static pthread_t reporter;

static void count_report(void *arg, const char *name, uint64_t done, uint64_t total)
{
	assert_string_equal(name, "a.db");
	assert_true(pthread_equal(pthread_self(), reporter));
	n_reports++;
}

/* Changes the time of a database, so that whoever comes next compares it. */
static void touch(struct engine *f, const char *name)
{
	assert_int_equal(utimensat(f->root_fd, name, NULL, 0), 0);
}

static void progress_is_that_of_the_start(void **state)
{
	struct engine *f = *state;
	struct catalog_options options = *catalog_get_options(f->catalog);
	struct error err CLEANUP_ERROR = ERROR_INIT;
	sqlite3 *db;

	make(f, "a.db");
	engine_close(f);
	touch(f, "a.db");
	reporter = pthread_self();
	options.progress = count_report;
	assert_int_equal(catalog_open(&options, &f->catalog, &err), 0);
	assert_int_equal(catalog_recover(f->catalog, &err), 0);
	mount_vfs_register(f->catalog, f->root, f->index_visible, f->told);
	assert_int_not_equal(n_reports, 0);
	n_reports = 0;
	touch(f, "a.db");
	engine_comparisons(f);
	db = engine_db(f, "a.db");
	engine_run(db, "SELECT count(*) FROM t");
	sqlite3_close(db);
	assert_int_not_equal(engine_comparisons(f), 0);
	assert_int_equal(n_reports, 0);
}

#define N_THREADS 8

struct adopter {
	struct engine *f;
	pthread_barrier_t *barrier;
	struct database *db;
	int r;
};

static void *adopt(void *arg)
{
	struct adopter *adopter = arg;
	struct error err CLEANUP_ERROR = ERROR_INIT;

	pthread_barrier_wait(adopter->barrier);
	adopter->r = catalog_adopt(adopter->f->catalog, "a.db", &adopter->db, &err);
	return NULL;
}

static void adopted_by_many_at_once_it_is_one(void **state)
{
	struct adopter adopters[N_THREADS];
	pthread_t threads[N_THREADS];
	pthread_barrier_t barrier;
	struct engine *f = *state;

	put_file(f, "a.db", "SQLite format 3", 16);
	pthread_barrier_init(&barrier, NULL, N_THREADS);
	for (int i = 0; i < N_THREADS; i++) {
		adopters[i] = (struct adopter){ .f = f, .barrier = &barrier };
		assert_int_equal(pthread_create(&threads[i], NULL, adopt, &adopters[i]), 0);
	}
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < N_THREADS; i++) {
		assert_int_equal(adopters[i].r, 0);
		assert_ptr_equal(adopters[i].db, adopters[0].db);
		database_unref(adopters[i].db);
	}
	pthread_barrier_destroy(&barrier);
	expect_names(f, true, "a.db ");
	engine_close(f);
	engine_open(f);
	expect_names(f, true, "a.db ");
}

/* Renames a.db, with a comparison of it under way: that has to give way to it. */
static void *rename_hurried(void *arg)
{
	struct engine *f = arg;
	struct database *db = catalog_find(f->catalog, "a.db");

	for (int i = 0; i < 1000; i++)
		sched_yield();
	assert_int_equal(renameat(f->root_fd, "a.db", f->root_fd, "b.db"), 0);
	catalog_renamed(f->catalog, "a.db", "b.db");
	atomic_fetch_sub(&db->n_hurried, 1);
	database_unref(db);
	return NULL;
}

static void a_rename_does_not_wait_for_a_comparison(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct engine *f = *state;
	struct database *db;
	pthread_t thread;
	bool is_new;

	put_file(f, "a.db", "SQLite format 3", 16);
	assert_int_equal(catalog_add(f->catalog, "a.db", &is_new, &db, &err), 0);
	assert_true(is_new);
	/* For as long as the rename takes, as if it waited for the mutex all the while. */
	atomic_fetch_add(&db->n_hurried, 1);
	assert_int_equal(pthread_create(&thread, NULL, rename_hurried, f), 0);
	int r = catalog_begin(f->catalog, db, false, &err);

	/* Between the rename of the file and that of the database: tried again after it. */
	assert_true(r == 0 || r == -ENOENT);
	pthread_join(thread, NULL);
	error_done(&err);
	if (r != 0)
		assert_int_equal(catalog_begin(f->catalog, db, true, &err), 0);
	char *name CLEANUP_FREE = database_name(db);
	assert_string_equal(name, "b.db");
	assert_int_not_equal(database_position(db, NULL, NULL).generation, 0);
	database_unref(db);
	assert_int_equal(catalog_add(f->catalog, "b.db", &is_new, &db, &err), 0);
	assert_false(is_new);
	database_unref(db);
}

/* What is not there may be in the middle of a rename; what is gone for good is forgotten. */
static void a_new_database_that_is_not_there(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct engine *f = *state;
	struct database *db;
	bool is_new;

	put_file(f, "a.db", "SQLite format 3", 16);
	assert_int_equal(catalog_add(f->catalog, "a.db", &is_new, &db, &err), 0);
	assert_int_equal(renameat(f->root_fd, "a.db", f->root_fd, "b.db"), 0);
	assert_int_equal(catalog_begin(f->catalog, db, false, &err), -ENOENT);
	error_done(&err);
	expect_names(f, true, "a.db ");
	catalog_renamed(f->catalog, "a.db", "b.db");
	assert_int_equal(catalog_begin(f->catalog, db, true, &err), 0);
	expect_names(f, true, "b.db ");
	database_unref(db);
	put_file(f, "c.db", "SQLite format 3", 16);
	assert_int_equal(catalog_add(f->catalog, "c.db", &is_new, &db, &err), 0);
	assert_int_equal(unlinkat(f->root_fd, "c.db", 0), 0);
	assert_int_equal(catalog_begin(f->catalog, db, true, &err), -ENOENT);
	database_unref(db);
	expect_names(f, true, "b.db ");
}

static void many_names_are_all_found(void **state)
{
	struct engine *f = *state;
	char name[32];

	for (int i = 0; i < 300; i++) {
		struct error err CLEANUP_ERROR = ERROR_INIT;
		struct database *db;

		snprintf(name, sizeof(name), "n%d", i);
		put_file(f, name, "", 0);
		assert_int_equal(catalog_adopt(f->catalog, name, &db, &err), 0);
		database_unref(db);
	}
	for (int i = 0; i < 300; i++) {
		struct database *db;
		struct database *same;

		snprintf(name, sizeof(name), "n%d", i);
		db = catalog_find(f->catalog, name);
		assert_non_null(db);
		same = catalog_find_id(f->catalog, database_id(db));
		assert_ptr_equal(db, same);
		database_unref(db);
		database_unref(same);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, engine_setup, engine_teardown)

/* A database is opened as soon as it is known, while it is still being adopted. */
struct opener {
	struct engine *f;
	atomic_int wanted; /* the number of the database to open; -1: end */
	atomic_int opened;
};

static void *open_when_known(void *arg)
{
	struct opener *opener = arg;
	struct error err = ERROR_INIT;
	int wanted;

	while ((wanted = atomic_load(&opener->wanted)) >= 0) {
		struct database *db = NULL;
		char name[32];

		if (wanted == atomic_load(&opener->opened))
			continue;
		snprintf(name, sizeof(name), "%d.db", wanted);
		while (db == NULL)
			db = catalog_find(opener->f->catalog, name);
		if (database_opening(db, DATABASE_MAIN, DATABASE_OPEN_VISIBLE, &err) < 0)
			abort();
		database_unref(db);
		atomic_store(&opener->opened, wanted);
	}
	return NULL;
}

static void opened_while_it_is_adopted(void **state)
{
	struct opener opener = { .f = *state };
	struct error err = ERROR_INIT;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, open_when_known, &opener), 0);
	for (int i = 1; i <= 500; i++) {
		struct database *db;
		char name[32];

		snprintf(name, sizeof(name), "%d.db", i);
		close(openat(opener.f->root_fd, name, O_CREAT | O_WRONLY, 0600));
		atomic_store(&opener.wanted, i);
		assert_int_equal(catalog_adopt(opener.f->catalog, name, &db, &err), 0);
		while (atomic_load(&opener.opened) != i)
			;
		if (!db->loaded)
			fail_msg("database %d is not captured", i);
		database_released(db, DATABASE_MAIN);
		database_unref(db);
		unlinkat(opener.f->root_fd, name, 0);
		catalog_removed(opener.f->catalog, name);
	}
	atomic_store(&opener.wanted, -1);
	pthread_join(thread, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(names_and_ids_stay_over_a_remount),
		TEST(a_rename_keeps_the_id_and_the_history),
		TEST(a_renamed_folder_takes_its_databases_along),
		TEST(a_database_that_is_replaced_has_ended),
		TEST(a_new_file_of_an_old_name_is_a_new_database),
		TEST(removed_while_open_it_ends_quietly),
		TEST(removed_while_open_its_wal_takes_no_room),
		TEST(what_vanished_while_unmounted_has_ended),
		TEST(an_idle_database_stays_for_a_while_after_its_end),
		TEST(folders_are_searched_to_a_depth_that_is_said),
		TEST(progress_is_that_of_the_start),
		TEST(only_databases_are_found_in_a_folder),
		TEST(adopted_by_many_at_once_it_is_one),
		TEST(opened_while_it_is_adopted),
		TEST(a_rename_does_not_wait_for_a_comparison),
		TEST(a_new_database_that_is_not_there),
		TEST(many_names_are_all_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
