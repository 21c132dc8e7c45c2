/* SPDX-License-Identifier: MIT */
#ifndef TESTS_REPLICATE_ENGINE_H
#define TESTS_REPLICATE_ENGINE_H

#include "tests/unit.h"

#include "base/buf.h"
#include "replicate/catalog.h"

#include <sqlite3.h>
#include <stdbool.h>

/*
 * The capture engine without a filesystem: SQLite works through a VFS that calls
 * the engine as the mount would, and after every step the log is replayed into
 * an empty image, which must equal the database page by page.
 */
struct engine {
	char root[64];
	int root_fd;
	int state_fd;
	struct catalog *catalog;
	struct id node_id;
	bool index_visible; /* the clients' -shm is the backing one */
	bool same_boot;
	bool told; /* of every write */
};

/* What a replayed log amounts to. */
struct engine_image {
	uint8_t *pages;
	uint32_t page_size;
	uint32_t n_pages;
	uint64_t n_records;
	uint64_t n_merged;
	uint64_t n_whole;
};

/* For cmocka: an engine over an empty folder, in *state. */
int engine_setup(void **state);
int engine_setup_unseen(void **state); /* without a WAL-index that can be seen */
int engine_setup_told(void **state);   /* of every write, as on the intercept road */
int engine_teardown(void **state);

/* Loads the catalog and recovers; what a mount does. */
void engine_open(struct engine *f);

/* A connection by way of the engine; name may bear URI parameters. */
sqlite3 *engine_db(struct engine *f, const char *name);

/* Runs SQL, formatted as by sqlite3_mprintf(); fails the test when it fails. */
void engine_run(sqlite3 *db, const char *fmt, ...);

/* Inserts n rows with a blob b of size bytes into t. */
void engine_rows(sqlite3 *db, int n, int size);

/* Closes db as if its process had been killed: -wal and -shm stay as they are. */
void engine_abandon(sqlite3 *db);

/* What the tailer does now and then, by way of a truncation that fails. 0 or -errno. */
int engine_catch_up(struct engine *f, const char *name);

/*
 * Catches up and replays the log, which must begin with an empty database and
 * end as SQLite sees the database. engine_image_done() afterwards.
 */
struct engine_image engine_check(struct engine *f, const char *name);
void engine_image_done(struct engine_image *image);

/* The same, and the log has n_records (if not 0), n_merged of them merged. */
void engine_expect(struct engine *f, const char *name, uint64_t n_records, uint64_t n_merged);

/*
 * Reads every page exactly and compares it with what SQLite sees. Returns the
 * position of all of them.
 */
struct position engine_exact(struct engine *f, const char *name);

/* The database as SQLite itself sees it now: a copy of its files, checkpointed. */
void engine_expected(struct engine *f, const char *name, struct buf *out);

/* Copies a file of the folder away into the state folder, and back in place. */
void engine_save(struct engine *f, const char *name, const char *as);
void engine_put_back(struct engine *f, const char *as, const char *name);

/* A clean unmount; engine_open() mounts again. */
void engine_close(struct engine *f);

/*
 * The daemon is killed at this moment, and db (unless NULL) with it: goes on in
 * a copy of all files as they are; engine_open() mounts it.
 */
void engine_kill(struct engine *f, sqlite3 *db);

/* While set, no file can be written beyond its first byte: a full disk. */
void engine_disk_full(bool full);

/* The disk of the log is full, that of the database is not. */
enum engine_log_room {
	ENGINE_LOG_HAS_ROOM,
	ENGINE_LOG_FULL,
	ENGINE_LOG_FULL_UNSAID, /* nor can room be taken in advance there */
	ENGINE_LOG_FULL_ONCE,	/* likewise, for one record */
	ENGINE_LOG_NO_ADVANCE,	/* there is room for records, but not as much as may be asked for */
};
void engine_log_room(enum engine_log_room room);

/* The most room in the log that was asked for at once since this was asked last, in bytes. */
uint64_t engine_reserved(void);

/* How many times a database was hashed as a whole since this was asked last. */
unsigned engine_comparisons(struct engine *f);

/* How many times the observer was told of a change since this was asked last. */
unsigned engine_rings(struct engine *f);

#endif
