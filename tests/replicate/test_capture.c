/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/file.h"
#include "replicate/delta.h"
#include "replicate/page.h"
#include "tests/replicate/mount_vfs.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/resource.h>

/*
 * The capture engine without a filesystem: SQLite works through a VFS that calls
 * the engine as the mount would, and after every step the log is replayed into
 * an empty image, which must equal the database page by page.
 */

struct fixture {
	char root[64];
	int root_fd;
	int state_fd;
	struct catalog *catalog;
	struct id node_id;
	bool index_visible;
	bool same_boot;
};

struct image {
	uint8_t *pages;
	uint32_t page_size;
	uint32_t n_pages;
	uint64_t n_records;
	uint64_t n_merged;
	uint64_t n_whole;
};

static void open_catalog(struct fixture *f)
{
	struct catalog_options options = {
		.root_fd = f->root_fd,
		.state_fd = f->state_fd,
		.node_id = f->node_id,
		.same_boot = f->same_boot,
		.log_file_size = 1 << 20,
	};
	struct error err = ERROR_INIT;
	int r = catalog_open(&options, &f->catalog, &err);

	if (r == 0)
		r = catalog_recover(f->catalog, &err);
	if (r < 0)
		fail_msg("%s", error_what(&err));
	mount_vfs_register(f->catalog, f->root, f->index_visible);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err = ERROR_INIT;

	strcpy(f->root, "/tmp/replitedfs-capture-XXXXXX");
	assert_non_null(mkdtemp(f->root));
	f->root_fd = open(f->root, O_RDONLY | O_DIRECTORY);
	assert_int_equal(mkdirat(f->root_fd, ".replitedfs", 0700), 0);
	f->state_fd = openat(f->root_fd, ".replitedfs", O_RDONLY | O_DIRECTORY);
	assert_int_equal(id_random(&f->node_id, &err), 0);
	f->index_visible = true;
	f->same_boot = true;
	open_catalog(f);
	*state = f;
	return 0;
}

static int setup_unseen(void **state)
{
	int r = setup(state);
	struct fixture *f = *state;

	f->index_visible = false;
	mount_vfs_register(f->catalog, f->root, false);
	return r;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	mount_vfs_unregister();
	catalog_close(f->catalog);
	close(f->root_fd);
	close(f->state_fd);
	nftw(f->root, unit_folder_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static sqlite3 *open_db(struct fixture *f, const char *name)
{
	char path[256];
	sqlite3 *db;

	snprintf(path, sizeof(path), "file:%s/%s", f->root, name);
	assert_int_equal(sqlite3_open_v2(path, &db,
					 SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
						 SQLITE_OPEN_URI,
					 NULL),
			 SQLITE_OK);
	return db;
}

static void run(sqlite3 *db, const char *fmt, ...)
{
	va_list ap;
	char *sql;
	char *message = NULL;
	int rc;

	va_start(ap, fmt);
	sql = sqlite3_vmprintf(fmt, ap);
	va_end(ap);
	rc = sqlite3_exec(db, sql, NULL, NULL, &message);
	if (rc != SQLITE_OK)
		fail_msg("%s: %s", sql, message);
	sqlite3_free(sql);
}

static void image_done(struct image *image)
{
	free(image->pages);
}

static void image_resize(struct image *image, struct extent extent)
{
	size_t size = extent_bytes(extent);
	size_t before = (size_t)image->page_size * image->n_pages;

	if (extent.page_size != image->page_size)
		before = 0;
	image->pages = realloc(image->pages, size + 1);
	if (size > before)
		memset(image->pages + before, 0, size - before);
	image->page_size = extent.page_size;
	image->n_pages = extent.n_pages;
}

static uint64_t image_checksum(const struct image *image)
{
	uint64_t checksum = 0;

	for (uint32_t pgno = 1; pgno <= image->n_pages; pgno++)
		checksum ^= page_hash(pgno, image->pages + (size_t)(pgno - 1) * image->page_size,
				      image->page_size);
	return checksum;
}

static void apply_entry(struct image *image, const struct record_entry *entry, const uint8_t *data)
{
	uint8_t *page = image->pages + (size_t)(entry->pgno - 1) * image->page_size;

	if (entry->encoding == RECORD_CUT)
		return;
	if (entry->encoding == RECORD_WHOLE)
		memcpy(page, data, entry->data_len);
	else
		delta_apply(data, entry->data_len, page);
	assert_int_equal(page_hash(entry->pgno, page, image->page_size), entry->hash);
}

/* Replays a log that begins with an empty database. */
static struct image replay(struct database *db)
{
	struct image image = { 0 };
	struct txlog *log = database_log(db);
	struct error err = ERROR_INIT;
	struct position from = txlog_oldest(log, NULL);
	struct txlog_reader reader;
	int r = txlog_reader_open(&reader, log, &from, &err);

	assert_int_equal(from.txid, 0);
	assert_int_equal(r, 0);
	for (;;) {
		struct record_entry entry;
		const uint8_t *data;

		r = txlog_reader_next(&reader, &err);
		if (r == 1)
			break;
		if (r == 2)
			continue;
		if (r < 0)
			fail_msg("%s", error_what(&err));
		assert_int_equal(reader.records.header.checksum_before, image_checksum(&image));
		image_resize(&image, reader.records.header.after);
		image.n_records++;
		if (reader.records.header.kind == RECORD_MERGED)
			image.n_merged++;
		while ((r = record_reader_entry(&reader.records, &entry, &data, &err)) == 0) {
			apply_entry(&image, &entry, data);
			image.n_whole += entry.encoding == RECORD_WHOLE;
		}
		if (r < 0)
			fail_msg("%s", error_what(&err));
		assert_int_equal(reader.records.header.checksum_after, image_checksum(&image));
	}
	txlog_reader_close(&reader);
	assert_int_equal(database_position(db, NULL, NULL).checksum, image_checksum(&image));
	return image;
}

static void copy_file(const char *from, const char *to)
{
	char command[1100];

	snprintf(command, sizeof(command), "cp %s %s 2>/dev/null || rm -f %s", from, to, to);
	assert_true(system(command) >= 0);
}

/* The database as SQLite itself sees it now: a copy of its files, checkpointed. */
static void expected_file(struct fixture *f, const char *name, struct buf *out)
{
	struct error err = ERROR_INIT;
	char from[256];
	char to[256];
	sqlite3 *db;

	snprintf(from, sizeof(from), "%s/%s", f->root, name);
	snprintf(to, sizeof(to), "%s/.replitedfs/copy", f->root);
	copy_file(from, to);
	snprintf(from, sizeof(from), "%s/%s-wal", f->root, name);
	snprintf(to, sizeof(to), "%s/.replitedfs/copy-wal", f->root);
	copy_file(from, to);
	to[strlen(to) - 4] = '\0';
	mount_vfs_unregister();
	assert_int_equal(sqlite3_open(to, &db), SQLITE_OK);
	run(db, "PRAGMA wal_checkpoint(TRUNCATE)");
	sqlite3_close(db);
	mount_vfs_register(f->catalog, f->root, f->index_visible);
	buf_reset(out);
	assert_int_equal(file_read_all(AT_FDCWD, to, 1 << 30, out, &err), 0);
	unlink(to);
}

/* Waits for nothing: catches up as the tailer would, then compares every page. */
static struct image check(struct fixture *f, const char *name)
{
	struct database *db = catalog_find(f->catalog, name);
	struct buf expected = { 0 };
	struct error err = ERROR_INIT;
	struct image image;
	int r;

	assert_non_null(db);
	r = database_barrier_begin(db, DATABASE_SHM, DATABASE_SYNC, 0, &err);
	if (r < 0)
		fail_msg("%s", error_what(&err));
	database_barrier_end(db, DATABASE_SHM, DATABASE_SYNC, 0);
	image = replay(db);
	expected_file(f, name, &expected);
	assert_int_equal((uint64_t)image.page_size * image.n_pages, expected.len);
	for (uint32_t i = 0; i < image.n_pages; i++) {
		const uint8_t *a = image.pages + (size_t)i * image.page_size;
		const uint8_t *b = expected.data + (size_t)i * image.page_size;

		if (memcmp(a, b, image.page_size) != 0)
			fail_msg("page %u differs", i + 1);
	}
	buf_done(&expected);
	database_unref(db);
	return image;
}

static void expect(struct fixture *f, const char *name, uint64_t n_records, uint64_t n_merged)
{
	struct image image = check(f, name);

	if (n_records != 0)
		assert_int_equal(image.n_records, n_records);
	assert_int_equal(image.n_merged, n_merged);
	image_done(&image);
}

static void every_commit_is_one_record(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = open_db(f, "a.db");

	run(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; CREATE TABLE t(a, b)");
	for (int i = 0; i < 3000; i++)
		run(db, "INSERT INTO t VALUES(%d, hex(randomblob(20)))", i);
	/* The first record is what the switch to WAL wrote to page 1. */
	expect(f, "a.db", 3002, 1);
	sqlite3_close(db);
	expect(f, "a.db", 3002, 1);
}

static void all_page_sizes(void **state)
{
	struct fixture *f = *state;

	for (int size = 512; size <= 65536; size *= 2) {
		char name[32];
		sqlite3 *db;

		snprintf(name, sizeof(name), "p%d.db", size);
		db = open_db(f, name);
		run(db, "PRAGMA page_size=%d; PRAGMA journal_mode=WAL; CREATE TABLE t(a, b)", size);
		for (int i = 0; i < 100; i++)
			run(db, "INSERT INTO t VALUES(%d, randomblob(%d))", i, i * 37);
		expect(f, name, 102, 1);
		sqlite3_close(db);
		expect(f, name, 102, 1);
	}
}

static void spilled_and_rolled_back(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = open_db(f, "s.db");

	run(db, "PRAGMA journal_mode=WAL; PRAGMA cache_size=5; CREATE TABLE t(a INTEGER PRIMARY KEY, "
		"b)");
	for (int i = 0; i < 20; i++) {
		run(db, "BEGIN; INSERT INTO t(b) SELECT randomblob(2000) FROM "
			"(WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c "
			"WHERE x<1000) SELECT x FROM c); ROLLBACK");
		run(db, "INSERT INTO t(b) VALUES(randomblob(1000))");
	}
	expect(f, "s.db", 22, 1);
	run(db, "BEGIN; UPDATE t SET b=randomblob(3000); UPDATE t SET b=randomblob(3000); COMMIT");
	expect(f, "s.db", 23, 1);
	sqlite3_close(db);
	expect(f, "s.db", 23, 1);
}

static void large_transactions_and_vacuum(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = open_db(f, "v.db");

	run(db, "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; "
		"CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	run(db, "INSERT INTO t(b) SELECT randomblob(2000) FROM "
		"(WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c WHERE x<8000) "
		"SELECT x FROM c)");
	expect(f, "v.db", 3, 1);
	run(db, "DELETE FROM t WHERE a > 100");
	run(db, "PRAGMA incremental_vacuum");
	expect(f, "v.db", 0, 1);
	run(db, "INSERT INTO t(b) SELECT randomblob(900) FROM "
		"(WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c WHERE x<500) "
		"SELECT x FROM c)");
	run(db, "DELETE FROM t WHERE a %% 2");
	run(db, "VACUUM");
	expect(f, "v.db", 0, 1);
	sqlite3_close(db);
	expect(f, "v.db", 0, 1);
}

static void checkpoints_of_all_kinds(void **state)
{
	static const char *const modes[] = { "PASSIVE", "FULL", "RESTART", "TRUNCATE" };
	struct fixture *f = *state;
	sqlite3 *db = open_db(f, "c.db");

	run(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0; "
		"CREATE TABLE t(a, b)");
	for (int i = 0; i < 400; i++) {
		run(db, "INSERT INTO t VALUES(%d, randomblob(500))", i);
		if (i % 3 == 0)
			run(db, "PRAGMA wal_checkpoint(%s)", modes[i / 3 % 4]);
	}
	expect(f, "c.db", 402, 1);
	run(db, "PRAGMA wal_autocheckpoint=1; PRAGMA journal_size_limit=0");
	for (int i = 0; i < 400; i++)
		run(db, "INSERT INTO t VALUES(%d, randomblob(500))", i);
	expect(f, "c.db", 802, 1);
	sqlite3_close(db);
	expect(f, "c.db", 802, 1);
}

static void exclusive_locking_has_no_index(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = open_db(f, "x.db");

	run(db, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; CREATE TABLE t(a, b)");
	for (int i = 0; i < 1500; i++)
		run(db, "INSERT INTO t VALUES(%d, randomblob(300))", i);
	expect(f, "x.db", 1502, 1);
	sqlite3_close(db);
	expect(f, "x.db", 1502, 1);
}

static void opened_and_closed_again(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 100; i++) {
		sqlite3 *db = open_db(f, "o.db");

		run(db, "PRAGMA journal_mode=WAL; CREATE TABLE IF NOT EXISTS t(a, b)");
		run(db, "INSERT INTO t VALUES(%d, randomblob(30))", i);
		sqlite3_close(db);
	}
	expect(f, "o.db", 102, 1);
}

static void modes_switched(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = open_db(f, "m.db");

	run(db, "CREATE TABLE t(a, b); INSERT INTO t VALUES(1, 2)");
	for (int i = 0; i < 30; i++) {
		run(db, "PRAGMA journal_mode=WAL");
		run(db, "INSERT INTO t VALUES(1, randomblob(5000))");
		run(db, "PRAGMA journal_mode=DELETE");
		run(db, "INSERT INTO t VALUES(1, randomblob(5000))");
	}
	sqlite3_close(db);
	expect(f, "m.db", 0, 31);
}

static void page_size_changed(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = open_db(f, "z.db");

	run(db, "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; CREATE TABLE t(a, b)");
	run(db, "INSERT INTO t VALUES(1, randomblob(50000))");
	run(db, "PRAGMA journal_mode=DELETE; PRAGMA page_size=8192; VACUUM; "
		"PRAGMA journal_mode=WAL; INSERT INTO t VALUES(2, 3)");
	expect(f, "z.db", 0, 2);
	sqlite3_close(db);
	expect(f, "z.db", 0, 2);
}

/* FACTS B1: published frames outside the checksum chain. */
static void savepoint_undo_breaks_the_chain(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = open_db(f, "b1.db");

	run(db, "PRAGMA journal_mode=WAL; PRAGMA cache_size=10; PRAGMA synchronous=OFF; "
		"CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	run(db, "INSERT INTO t(b) SELECT randomblob(3000) FROM "
		"(WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c WHERE x<100) "
		"SELECT x FROM c)");
	run(db, "BEGIN; SAVEPOINT s; UPDATE t SET b=randomblob(3000); UPDATE t SET "
		"b=randomblob(3000); UPDATE t SET b=randomblob(3000); ROLLBACK TO s; RELEASE s; "
		"INSERT INTO t(b) VALUES(1); COMMIT");
	for (int i = 0; i < 3000; i++)
		run(db, "INSERT INTO t(b) VALUES(%d)", i);
	sqlite3_close(db);
	expect(f, "b1.db", 0, f->index_visible ? 1 : 0);
}

static void recovers_after_a_restart(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 4; i++) {
		sqlite3 *db = open_db(f, "r.db");

		run(db, "PRAGMA journal_mode=WAL; CREATE TABLE IF NOT EXISTS t(a, b)");
		for (int k = 0; k < 20; k++)
			run(db, "INSERT INTO t VALUES(%d, randomblob(300))", k);
		sqlite3_close(db);
		mount_vfs_unregister();
		/* Behind the mount's back: in odd rounds with nobody looking. */
		catalog_close(f->catalog);
		if (i % 2 != 0) {
			char path[256];

			snprintf(path, sizeof(path), "%s/r.db", f->root);
			assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
			run(db, "INSERT INTO t VALUES('unseen', randomblob(3000))");
			sqlite3_close(db);
		}
		open_catalog(f);
	}
	expect(f, "r.db", 0, 3);
}

/* Closes db as if its process had been killed: -wal and -shm stay as they are. */
static void abandon(sqlite3 *db)
{
	int on = 1;

	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &on);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* What the tailer does now and then, by way of a truncation that fails. 0 or -errno. */
static int catch_up(struct fixture *f, const char *name)
{
	struct database *db = catalog_find(f->catalog, name);
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int r = database_barrier_begin(db, DATABASE_WAL, DATABASE_TRUNCATE, 0, &err);

	if (r == 0)
		database_barrier_end(db, DATABASE_WAL, DATABASE_TRUNCATE, -EIO);
	database_unref(db);
	return r;
}

/* While set, no file can be written beyond its first bytes: a full disk. */
static void set_disk_full(bool full)
{
	struct rlimit limit = { full ? 1 : RLIM_INFINITY, RLIM_INFINITY };

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Without powersafe overwrite a synced commit is repeated up to the sector's end. */
static void padding_frames_are_no_transactions(void **state)
{
	struct fixture *f = *state;

	for (int size = 512; size <= 65536; size *= 2) {
		char name[32];
		char uri[64];
		sqlite3 *db;

		snprintf(name, sizeof(name), "pad%d.db", size);
		snprintf(uri, sizeof(uri), "%s?psow=0", name);
		db = open_db(f, uri);
		run(db, "PRAGMA page_size=%d; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
			"CREATE TABLE t(a, b)", size);
		for (int i = 0; i < 200; i++) {
			run(db, "INSERT INTO t VALUES(%d, randomblob(30))", i);
			if (i % 50 == 0)
				expect(f, name, (uint64_t)i + 3, 1);
		}
		expect(f, name, 202, 1);
		sqlite3_close(db);
		expect(f, name, 202, 1);
	}
}

static void make_rows(sqlite3 *db, int n, int size)
{
	run(db, "INSERT INTO t(b) SELECT randomblob(%d) FROM (WITH RECURSIVE c(x) AS "
		"(VALUES(1) UNION ALL SELECT x+1 FROM c WHERE x<%d) SELECT x FROM c)", size, n);
}

/* Leaves frames in the WAL that are outside the checksum chain (FACTS B1). */
static void break_the_chain(sqlite3 *db)
{
	run(db, "PRAGMA journal_mode=WAL; PRAGMA cache_size=10; PRAGMA synchronous=OFF; "
		"PRAGMA wal_autocheckpoint=0; CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	make_rows(db, 100, 3000);
	run(db, "BEGIN; SAVEPOINT s; UPDATE t SET b=randomblob(3000); UPDATE t SET "
		"b=randomblob(3000) WHERE a>60; UPDATE t SET b=randomblob(3000) WHERE a>60; "
		"ROLLBACK TO s; RELEASE s; INSERT INTO t(b) VALUES(1); COMMIT");
	for (int i = 0; i < 50; i++)
		run(db, "INSERT INTO t(b) VALUES(%d)", i);
}

/* SQLite's recovery drops those frames: what is committed next goes over them. */
static void a_broken_chain_is_cut_off_by_a_crash(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = open_db(f, "cut.db");
	struct image image;

	break_the_chain(db);
	assert_int_equal(catch_up(f, "cut.db"), 0);
	abandon(db);
	db = open_db(f, "cut.db");
	/* Nothing shows how far its WAL goes (FACTS B4). */
	run(db, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=OFF");
	for (int i = 0; i < 20; i++)
		run(db, "UPDATE t SET b=randomblob(3000) WHERE a=%d", i);
	run(db, "PRAGMA wal_checkpoint(TRUNCATE)");
	run(db, "UPDATE t SET b='x' WHERE a=50");
	image = check(f, "cut.db");
	image_done(&image);
	sqlite3_close(db);
	image = check(f, "cut.db");
	image_done(&image);
}

static void a_broken_chain_is_compared_where_the_index_is_not_seen(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = open_db(f, "b1.db");
	struct image image;

	break_the_chain(db);
	run(db, "PRAGMA wal_checkpoint(PASSIVE)");
	run(db, "UPDATE t SET b='y' WHERE a=30");
	image = check(f, "b1.db");
	image_done(&image);
	for (int i = 0; i < 300; i++)
		run(db, "UPDATE t SET b=randomblob(3000) WHERE a=%d", i % 100);
	run(db, "PRAGMA wal_checkpoint(RESTART)");
	run(db, "UPDATE t SET b='y' WHERE a=31");
	sqlite3_close(db);
	image = check(f, "b1.db");
	image_done(&image);
}

/* A comparison that cannot be logged is not forgotten. */
static void a_suspicion_outlives_a_full_disk(void **state)
{
	struct fixture *f = *state;
	sqlite3 *db = open_db(f, "full.db");
	struct image image;
	int first;
	int second;

	run(db, "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; "
		"CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
	make_rows(db, 100, 3000);
	assert_int_equal(catch_up(f, "full.db"), 0);
	/* A restart that nothing announced. */
	setenv("REPLITEDFS_TEST_HOOKS", "no-barrier", 1);
	run(db, "UPDATE t SET b=randomblob(3000) WHERE a=50");
	run(db, "PRAGMA wal_checkpoint(RESTART)");
	run(db, "UPDATE t SET b=randomblob(3000) WHERE a=60");
	unsetenv("REPLITEDFS_TEST_HOOKS");
	set_disk_full(true);
	first = catch_up(f, "full.db");
	second = catch_up(f, "full.db");
	set_disk_full(false);
	assert_int_equal(first, -EIO);
	assert_int_equal(second, -EIO);
	image = check(f, "full.db");
	assert_int_equal(image.n_merged, 2);
	image_done(&image);
	sqlite3_close(db);
}

#define BOTH_ROADS(name)                                                       \
	cmocka_unit_test_setup_teardown(name, setup, teardown), {              \
		#name "_without_index", name, setup_unseen, teardown, NULL     \
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
		cmocka_unit_test_setup_teardown(savepoint_undo_breaks_the_chain, setup, teardown),
		BOTH_ROADS(recovers_after_a_restart),
		BOTH_ROADS(padding_frames_are_no_transactions),
		BOTH_ROADS(a_broken_chain_is_cut_off_by_a_crash),
		BOTH_ROADS(a_broken_chain_is_compared_where_the_index_is_not_seen),
		BOTH_ROADS(a_suspicion_outlives_a_full_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
