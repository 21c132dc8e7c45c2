/* SPDX-License-Identifier: MIT */
#include "tests/replicate/engine.h"

#include "base/file.h"
#include "replicate/delta.h"
#include "replicate/page.h"
#include "replicate/view.h"
#include "tests/replicate/mount_vfs.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>

static void count_ring(void *arg, struct database *db);

void engine_open(struct engine *f)
{
	struct catalog_options options = {
		.root_fd = f->root_fd,
		.state_fd = f->state_fd,
		.node_id = f->node_id,
		.same_boot = f->same_boot,
		.log_file_size = 1 << 20,
		.changed = count_ring,
	};
	struct error err = ERROR_INIT;
	int r = catalog_open(&options, &f->catalog, &err);

	if (r == 0)
		r = catalog_recover(f->catalog, &err);
	if (r < 0)
		fail_msg("%s", error_what(&err));
	mount_vfs_register(f->catalog, f->root, f->index_visible, f->told);
}

int engine_setup(void **state)
{
	struct engine *f = calloc(1, sizeof(*f));
	struct error err = ERROR_INIT;

	/* In memory, where a sync costs nothing but its call. */
	strcpy(f->root, access("/dev/shm", W_OK) == 0 ? "/dev/shm/replitedfs-capture-XXXXXX" :
							"/tmp/replitedfs-capture-XXXXXX");
	assert_non_null(mkdtemp(f->root));
	f->root_fd = open(f->root, O_RDONLY | O_DIRECTORY);
	assert_int_equal(mkdirat(f->root_fd, ".replitedfs", 0700), 0);
	f->state_fd = openat(f->root_fd, ".replitedfs", O_RDONLY | O_DIRECTORY);
	assert_int_equal(id_random(&f->node_id, &err), 0);
	f->index_visible = true;
	f->same_boot = true;
	engine_open(f);
	*state = f;
	return 0;
}

int engine_setup_unseen(void **state)
{
	int r = engine_setup(state);
	struct engine *f = *state;

	f->index_visible = false;
	mount_vfs_register(f->catalog, f->root, false, false);
	return r;
}

int engine_setup_told(void **state)
{
	int r = engine_setup(state);
	struct engine *f = *state;

	f->told = true;
	mount_vfs_register(f->catalog, f->root, true, true);
	return r;
}

int engine_teardown(void **state)
{
	struct engine *f = *state;

	engine_disk_full(false);
	engine_log_room(ENGINE_LOG_HAS_ROOM);
	mount_vfs_kill(MOUNT_VFS_ALIVE, 0);
	if (f->catalog != NULL)
		engine_close(f);
	close(f->root_fd);
	close(f->state_fd);
	nftw(f->root, unit_folder_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

sqlite3 *engine_db(struct engine *f, const char *name)
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

void engine_run(sqlite3 *db, const char *fmt, ...)
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

void engine_image_done(struct engine_image *image)
{
	free(image->pages);
}

static void image_resize(struct engine_image *image, struct extent extent)
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

static uint64_t image_checksum(const struct engine_image *image)
{
	uint64_t checksum = 0;

	for (uint32_t pgno = 1; pgno <= image->n_pages; pgno++)
		checksum ^= page_hash(pgno, image->pages + (size_t)(pgno - 1) * image->page_size,
				      image->page_size);
	return checksum;
}

static void apply_entry(struct engine_image *image, const struct record_entry *entry,
			const uint8_t *data)
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
static struct engine_image replay(struct database *db)
{
	struct engine_image image = { 0 };
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

static void shell(const char *fmt, ...)
{
	char *command CLEANUP_FREE = NULL;
	va_list ap;

	va_start(ap, fmt);
	assert_true(vasprintf(&command, fmt, ap) >= 0);
	va_end(ap);
	assert_int_equal(system(command), 0);
}

/* Over what is there, which keeps its inode; to goes away when from is not there. */
static void copy_file(const char *root, const char *from_dir, const char *from,
		      const char *to_dir, const char *to)
{
	shell("cd %s && if [ -e %s%s ]; then cp -p %s%s %s%s; else rm -f %s%s; fi", root, from_dir,
	      from, from_dir, from, to_dir, to, to_dir, to);
}

void engine_save(struct engine *f, const char *name, const char *as)
{
	copy_file(f->root, "", name, ".replitedfs/", as);
}

void engine_put_back(struct engine *f, const char *as, const char *name)
{
	copy_file(f->root, ".replitedfs/", as, "", name);
}

void engine_close(struct engine *f)
{
	mount_vfs_unregister();
	catalog_close(f->catalog);
	f->catalog = NULL;
}

void engine_kill(struct engine *f, sqlite3 *db)
{
	char copy[sizeof(f->root)];

	snprintf(copy, sizeof(copy), "%s", f->root);
	strcpy(copy + strlen(copy) - 6, "XXXXXX");
	assert_non_null(mkdtemp(copy));
	shell("cp -a %s/. %s", f->root, copy);
	if (db != NULL)
		engine_abandon(db);
	engine_close(f);
	shell("rm -r %s", f->root);
	close(f->root_fd);
	close(f->state_fd);
	strcpy(f->root, copy);
	f->root_fd = open(f->root, O_RDONLY | O_DIRECTORY);
	f->state_fd = openat(f->root_fd, ".replitedfs", O_RDONLY | O_DIRECTORY);
}

void engine_expected(struct engine *f, const char *name, struct buf *out)
{
	struct error err = ERROR_INIT;
	char wal[256];
	char to[256];
	sqlite3 *db;

	snprintf(wal, sizeof(wal), "%s-wal", name);
	engine_save(f, name, "copy");
	engine_save(f, wal, "copy-wal");
	snprintf(to, sizeof(to), "%s/.replitedfs/copy", f->root);
	mount_vfs_unregister();
	assert_int_equal(sqlite3_open(to, &db), SQLITE_OK);
	engine_run(db, "PRAGMA wal_checkpoint(TRUNCATE)");
	sqlite3_close(db);
	mount_vfs_register(f->catalog, f->root, f->index_visible, f->told);
	buf_reset(out);
	assert_int_equal(file_read_all(AT_FDCWD, to, 1 << 30, out, &err), 0);
	unlink(to);
}

struct engine_image engine_check(struct engine *f, const char *name)
{
	struct database *db = catalog_find(f->catalog, name);
	struct buf expected = { 0 };
	struct error err = ERROR_INIT;
	struct engine_image image;
	int r;

	assert_non_null(db);
	r = database_barrier_begin(db, DATABASE_SHM, DATABASE_SYNC, 0, &err);
	if (r < 0)
		fail_msg("%s", error_what(&err));
	database_barrier_end(db, DATABASE_SHM, DATABASE_SYNC, 0);
	image = replay(db);
	engine_expected(f, name, &expected);
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

void engine_expect(struct engine *f, const char *name, uint64_t n_records, uint64_t n_merged)
{
	struct engine_image image = engine_check(f, name);

	if (n_records != 0)
		assert_int_equal(image.n_records, n_records);
	assert_int_equal(image.n_merged, n_merged);
	engine_image_done(&image);
}

void engine_abandon(sqlite3 *db)
{
	int on = 1;

	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &on);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

int engine_catch_up(struct engine *f, const char *name)
{
	struct database *db = catalog_find(f->catalog, name);
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int r = database_barrier_begin(db, DATABASE_WAL, DATABASE_TRUNCATE, 0, &err);

	if (r == 0)
		database_barrier_end(db, DATABASE_WAL, DATABASE_TRUNCATE, -EIO);
	database_unref(db);
	return r;
}

void engine_disk_full(bool full)
{
	struct rlimit limit = { full ? 1 : RLIM_INFINITY, RLIM_INFINITY };

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static enum engine_log_room log_room;

void engine_log_room(enum engine_log_room room)
{
	log_room = room;
}

/* The linker puts these in the place of the functions (meson.build). */
int __real_txlog_flush(struct txlog *log, struct error *err);
int __wrap_txlog_flush(struct txlog *log, struct error *err);
int __real_txlog_reserve(struct txlog *log, uint64_t len, struct error *err);
int __wrap_txlog_reserve(struct txlog *log, uint64_t len, struct error *err);

int __wrap_txlog_flush(struct txlog *log, struct error *err)
{
	if (log_room == ENGINE_LOG_HAS_ROOM || log_room == ENGINE_LOG_NO_ADVANCE ||
	    txlog_pending(log) == 0)
		return __real_txlog_flush(log, err);
	if (log_room == ENGINE_LOG_FULL_ONCE)
		log_room = ENGINE_LOG_HAS_ROOM;
	txlog_discard(log);
	return error_set(err, ENOSPC, "no room for a record (of the test)");
}

static uint64_t most_reserved;

uint64_t engine_reserved(void)
{
	uint64_t most = most_reserved;

	most_reserved = 0;
	return most;
}

int __wrap_txlog_reserve(struct txlog *log, uint64_t len, struct error *err)
{
	most_reserved = MAX(most_reserved, len);
	if (log_room == ENGINE_LOG_HAS_ROOM)
		return __real_txlog_reserve(log, len, err);
	if (log_room != ENGINE_LOG_FULL && log_room != ENGINE_LOG_NO_ADVANCE)
		return 0;
	return error_set(err, ENOSPC, "no room to reserve (of the test)");
}

/* By any thread. */
static atomic_uint n_comparisons;
static atomic_uint n_rings;

int __real_view_take(struct view *view, struct error *err);
int __wrap_view_take(struct view *view, struct error *err);

int __wrap_view_take(struct view *view, struct error *err)
{
	atomic_fetch_add(&n_comparisons, 1);
	return __real_view_take(view, err);
}

unsigned engine_comparisons(struct engine *f)
{
	return atomic_exchange(&n_comparisons, 0);
}

static void count_ring(void *arg, struct database *db)
{
	atomic_fetch_add(&n_rings, 1);
}

unsigned engine_rings(struct engine *f)
{
	return atomic_exchange(&n_rings, 0);
}

void engine_rows(sqlite3 *db, int n, int size)
{
	engine_run(db, "INSERT INTO t(b) SELECT randomblob(%d) FROM (WITH RECURSIVE c(x) AS "
		"(VALUES(1) UNION ALL SELECT x+1 FROM c WHERE x<%d) SELECT x FROM c)", size, n);
}

struct position engine_exact(struct engine *f, const char *name)
{
	struct database *db = catalog_find(f->catalog, name);
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf expected CLEANUP_BUF = { 0 };
	struct position position;
	struct extent extent;

	assert_non_null(db);
	engine_expected(f, name, &expected);
	position = database_position(db, &extent, NULL);
	assert_int_equal(extent_bytes(extent), expected.len);
	for (uint32_t pgno = 1; pgno <= extent.n_pages; pgno++) {
		uint8_t page[PAGE_SIZE_MAX];
		int r = database_read_exact(db, &position, pgno, NULL, 1, extent.page_size, page,
					    &position, NULL, &err);

		if (r != 0)
			fail_msg("page %u: %d %s", pgno, r, r < 0 ? error_what(&err) : "");
		if (memcmp(page, expected.data + (size_t)(pgno - 1) * extent.page_size,
			   extent.page_size) != 0)
			fail_msg("page %u differs", pgno);
	}
	database_unref(db);
	return position;
}
