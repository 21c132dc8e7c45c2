/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_DATABASE_H
#define REPLICATE_DATABASE_H

#include "base/error.h"
#include "base/id.h"
#include "replicate/record.h"
#include "replicate/txlog.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * One replicated database: what the filesystem tells of it, and what consumers
 * of its log (backends, restore, status) ask. Every function may be called from
 * any thread; those that say so block on files. The caller holds a reference
 * (catalog_find(), database_ref()) and no lock that one of its own callbacks
 * could want.
 */
struct database;

enum database_file {
	DATABASE_MAIN,	  /* X */
	DATABASE_WAL,	  /* X-wal */
	DATABASE_SHM,	  /* X-shm */
	DATABASE_JOURNAL, /* X-journal */
};

#define DATABASE_N_FILES 4

/* How the database keeps its transactions, as its header says. */
enum database_mode {
	DATABASE_EMPTY,	   /* no page yet */
	DATABASE_WAL_MODE, /* captured transaction by transaction */
	DATABASE_ROLLBACK, /* likewise, unless its journal mode shows no commits */
	DATABASE_OPAQUE,   /* the header is not readable (encrypted) */
};

struct database *database_ref(struct database *db);
void database_unref(struct database *db); /* NULL is fine */

const struct id *database_id(const struct database *db);

/* The name, relative to the mount; a copy for the caller to free, or NULL. */
char *database_name(struct database *db);

/*
 * Whether the kernel's page cache, with writes through the daemon, is the faster
 * road for X: it is in rollback-journal mode, as its header says or, where that
 * is encrypted, a missing -wal. Blocks for a read or two, outside any lock.
 */
bool database_cached_is_faster(struct database *db);

/* ------------------------------------------------------- the filesystem's side */

/* How a file is opened. */
enum database_open {
	DATABASE_OPEN_CREATE = 1 << 0,
	/* Bytes that a client writes reach the backing file at once (not so for a
	   -shm in the page cache of the mount). */
	DATABASE_OPEN_VISIBLE = 1 << 1,
	/* database_wrote() is called for every write to the file. */
	DATABASE_OPEN_TOLD = 1 << 2,
	DATABASE_OPEN_WRITABLE = 1 << 3,
};

/*
 * A client is about to open (or create) one of the files; to be called before
 * the backing file is opened. flags: enum database_open. The first open of any
 * file of the database loads its log and page hashes, checks that nobody changed
 * it since (and captures what somebody did), and blocks for that. Opening an empty
 * -wal captures what a rollback-mode database has become first. Every success is
 * paired with one database_released().
 * 0, or -errno with the reason: the open must then fail with that errno.
 */
int database_opening(struct database *db, enum database_file file, unsigned flags,
		     struct error *err) MUST_CHECK;

/*
 * A client's last descriptor of that open is gone. The last one of all files
 * catches up, compares a rollback-mode database, and lets go of descriptors.
 */
void database_released(struct database *db, enum database_file file);

/*
 * The intercept road: a client writes len bytes at off of the file through the
 * daemon. Before a write that may complete a commit in the WAL room in the log is
 * taken. 0; -ENOSPC, when there is none: the write must fail with it, and SQLite
 * rolls back.
 */
int database_writing(struct database *db, enum database_file file, uint64_t off, uint64_t len,
		     struct error *err) MUST_CHECK;

/* It has been written, or was tried; to be called before the client hears of it. */
void database_wrote(struct database *db, enum database_file file, uint64_t off, uint64_t len);

/* Whether a client has that file open, as far as database_opening() was told. */
bool database_is_open(struct database *db, enum database_file file);

/* The calls in which SQLite makes a change final. */
enum database_barrier {
	DATABASE_TRUNCATE,  /* ftruncate, open with O_TRUNC, or fallocate that cuts */
	DATABASE_UNLINK,    /* unlink, or being replaced by a rename */
	DATABASE_SYNC,	    /* fsync, fdatasync */
};

/*
 * Brackets such a call on one of the files. begin catches up with what has been
 * committed (and makes the log durable where the barrier needs it); after 0 the
 * caller does the call, then database_barrier_end() with its result (0 or
 * -errno). size: the new size, for DATABASE_TRUNCATE. For TRUNCATE and UNLINK
 * the database is locked in between: no other call on it goes on, so do nothing
 * but that one system call. For SYNC nothing is held.
 * -ENOSPC (the log is full) or another -errno: the call must fail with it, and
 * there is no end. Unlinking X itself is not a barrier: see catalog_removed().
 */
int database_barrier_begin(struct database *db, enum database_file file,
			   enum database_barrier what, uint64_t size, struct error *err) MUST_CHECK;
void database_barrier_end(struct database *db, enum database_file file,
			  enum database_barrier what, int result);

/* ----------------------------------------------------------- the consumers' side */

/* The transaction log, for readers of their own; lives as long as the reference. */
struct txlog *database_log(struct database *db);

/* The current position, the size there, and its commit time. */
struct position database_position(struct database *db, struct extent *ret_extent,
				  int64_t *ret_time_us);

/*
 * Takes in what clients have committed so far; the position is at or behind that
 * afterwards. Blocks for the reading of it. 0 or -errno.
 */
int database_catch_up(struct database *db, struct error *err) MUST_CHECK;

/*
 * Exact read: copies the n pages first, first + 1, … (or, if numbers is given,
 * numbers[0 … n-1]) as they are at the database's current position to pages,
 * and that position to ret_position; all of one position. Each page is checked
 * against its hash. Pages beyond the end read as zeros. Takes the database's
 * lock, so keep n at a few hundred. If expect is given and the position is
 * another one, or the pages are not of page_size, for which pages has room: 1,
 * nothing read. 2: a page is not readable exactly right now (a
 * writer is at it in rollback-journal mode): try again later. <0: -errno.
 */
int database_read_exact(struct database *db, const struct position *expect, uint32_t first,
			const uint32_t *numbers, uint32_t n, uint32_t page_size, uint8_t *pages,
			struct position *ret_position, struct extent *ret_extent,
			struct error *err) MUST_CHECK;

/*
 * Holds capture still, so that the position cannot move, until resume; for the
 * last round of a snapshot only. database_read_exact() works in between from
 * the same thread.
 */
void database_pause(struct database *db);
void database_resume(struct database *db);

/* Makes everything in the log durable; to be called before shipping it. */
int database_sync_log(struct database *db, struct error *err) MUST_CHECK;

/* Figures for status. Strings belong to the caller: database_status_done(). */
struct database_status {
	char *name;
	struct id id;
	enum database_mode mode;
	struct position position;
	struct position oldest; /* where the log begins */
	int64_t time_us;
	int64_t oldest_time_us;
	struct extent extent;
	uint64_t log_bytes;
	bool open;		/* a client has one of its files open */
	bool coarse; /* its journal mode shows no commits: several may be one record */
	char *trouble;		/* why capture is behind or stopped; NULL when all is well */
	uint64_t n_transactions; /* captured since the mount */
	uint64_t n_merged;	/* records made by comparison since the mount */
	uint64_t n_unannounced; /* WAL restarts no barrier announced */
};
int database_status(struct database *db, struct database_status *ret_status,
		    struct error *err) MUST_CHECK;
void database_status_done(struct database_status *status);

#endif
