/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_DATABASE_INTERNAL_H
#define REPLICATE_DATABASE_INTERNAL_H

#include "base/log.h"
#include "base/thread.h"
#include "replicate/catalog.h"
#include "replicate/hashfile.h"
#include "replicate/journal.h"
#include "replicate/pagecache.h"
#include "replicate/wal_tail.h"
#include "replicate/written.h"

#include <stdatomic.h>

/* The database object, shared by the files that implement its parts. */

/* By which it shows whether X was written. */
struct main_look {
	uint64_t size;
	int64_t mtime_ns;
};

/* What is known of the rollback journal. */
struct journal_state {
	int fd;		/* while it is looked at, or -1 */
	bool have_head; /* head is its header, as it was synced last */
	bool quiet;	/* X was as it was captured when the transaction began */
	bool unsure;	/* as far as its time can tell so shortly after a write */
	bool found;	/* it was valid when it was opened: one who died left it */
	bool zeroed;	/* the last transaction ended with its header, not with the file */
	bool synced;	/* X looked like this when the journal was synced last: */
	struct main_look main;
	uint8_t head[JOURNAL_HEADER_LEN];
};

/*
 * Invariants:
 * 1. hashes describe log.position whenever mutex is free and loaded is set, unless
 *    suspect is set.
 * 2. loaded is set while a client has a file open, from before the database ended;
 *    else only within one hold of mutex. Only then do main_fd, journal.fd, tail,
 *    hashes and cache hold anything.
 * 3. position.generation 0: not captured yet (for instance a hot journal).
 * Lock: mutex guards all but what never changes (catalog, id, state_path), refs,
 * written, which has a mutex of its own, what log's readers see, which is log's
 * mutex's, and the tailer's fields. name is changed with catalog's mutex held too, so
 * that either will do to read it. mutex may be taken with catalog's held, never the
 * other way round.
 */
struct database {
	atomic_uint refs;
	struct catalog *catalog; /* not owned; outlives the database */
	struct id id;
	char *state_path; /* "db/<id>", below the state folder */
	pthread_mutex_t mutex;
	atomic_uint n_hurried; /* threads that wait for mutex while others wait for them */
	char *name;
	bool ended;  /* unlinked, or replaced by a rename */
	int64_t ended_us; /* the catalog's mutex: when that was noted */
	bool loaded;
	unsigned n_open[DATABASE_N_FILES];
	bool index_visible; /* the clients' -shm is the backing one, and theirs */
	bool index_on_disk; /* it is the backing one; perhaps left by others */
	bool suspect;	    /* compare all pages at the next quiet moment */
	bool lost;	    /* the WAL went past the capture: catching up is comparing */
	bool wal_ends;	    /* its index is unlinked: only what is published there is captured */
	int main_fd;
	struct txlog log;
	struct hashfile hashes;
	struct wal_tail tail;
	struct pagecache cache;
	struct journal_state journal;
	struct written written; /* to the database file; of use while written_complete is set */
	bool written_complete; /* written is all that was written since the last capture */
	bool writes_unseen;    /* X is open on a road that does not tell of writes */
	struct evidence evidence; /* at the position */
	bool have_evidence;
	bool time_unsure;      /* X was written so shortly before that its time may not change */
	bool unmarked;	     /* it commits in ways that leave no mark in page 1 */
	bool left_hot; /* but for a transaction whose journal is still there */
	bool coarse;   /* it commits in ways that no journal tells of */
	uint64_t truncating_to; /* within a barrier on X */
	bool cut_at_rest; /* X was as remembered when that began, and nothing of it goes */
	char *trouble;
	struct log_repeat repeat;
	uint64_t n_transactions;
	uint64_t n_merged;
	uint64_t n_unannounced;
	uint64_t n_synced_ahead; /* n_transactions when the log syncer was last called */

	/* The tailer's, see tailer.c; under the tailer's mutex. */
	bool listed;	    /* among the databases it looks after */
	int watch;	    /* inotify watch of the -wal, or -1 */
	int64_t hot_until_ms; /* commits keep coming: look every millisecond */
	int64_t looked_ms;
	int64_t resting_until_ms; /* it failed: no look before that */
	bool cold;	/* looked at since it was busy last */
	bool sync_wanted; /* its log, by the log syncer */
};

static inline bool database_in_use(const struct database *db)
{
	return db->n_open[DATABASE_MAIN] + db->n_open[DATABASE_WAL] + db->n_open[DATABASE_SHM] +
		       db->n_open[DATABASE_JOURNAL] != 0;
}

/*
 * Takes the mutex where others wait meanwhile, for the catalog's mutex or, in the
 * kernel, for the folder: a comparison that is under way gives way to it.
 */
static inline void database_lock_hurried(struct database *db)
{
	atomic_fetch_add(&db->n_hurried, 1);
	pthread_mutex_lock(&db->mutex);
	atomic_fetch_sub(&db->n_hurried, 1);
}

/* Whether who holds the mutex is to let go of it soon, and do the rest another time. */
static inline bool database_must_give_way(const struct database *db)
{
	return atomic_load(&db->n_hurried) != 0;
}

/*
 * Whether the WAL-index is there, is seen, and is what the clients go by: one that a
 * crash left stays as it was while a client with exclusive locking keeps its own.
 */
static inline bool database_index_trusted(const struct database *db)
{
	return db->n_open[DATABASE_SHM] != 0 && db->index_visible;
}

static inline const struct catalog_options *database_options(const struct database *db)
{
	return catalog_get_options(db->catalog);
}

/*
 * catalog.c. A read buffer of CATALOG_BUFFER_LEN bytes, or NULL; from a pool, so that
 * it is not one per database.
 */
uint8_t *catalog_buffer_get(struct catalog *catalog);
void catalog_buffer_put(struct catalog *catalog, uint8_t *buffer); /* NULL is fine */
/* done of total bytes of the database called name are hashed: tells whom it concerns. */
void catalog_report_progress(const struct catalog *catalog, const char *name, uint64_t done,
			     uint64_t total);
/* Whether a write to a database always shows in its time. */
bool catalog_times_fine(const struct catalog *catalog);
#define CATALOG_BUFFER_LEN ((1u << 20) + 2 * (PAGE_SIZE_MAX + WAL_FRAME_HEADER_LEN))

/*
 * database_life.c. A database with one reference, its log open, not in the catalog
 * yet. 0 or -errno.
 */
int database_new(struct catalog *catalog, const struct id *id, const char *name,
		 struct database **ret_db, struct error *err) MUST_CHECK;
/* Tells the observer; to be called by whoever has published a record or a generation. */
void database_changed(struct database *db);

/* The same file: all with the mutex held. */
/* A descriptor of the file, or -errno. */
int database_open_file(struct database *db, enum database_file file, int flags);
/* Opens X-wal for tail, unless it has it; without one tail.fd stays -1. */
void database_open_wal(struct database *db);
/*
 * Reads page pgno of the database file, of page_size bytes, to page; what is behind
 * its end is zero. 0 or -errno.
 */
int database_read_main(const struct database *db, uint32_t page_size, uint32_t pgno, uint8_t *page,
		       struct error *err) MUST_CHECK;
/*
 * Refuses a size, n_pages, that a commit in frame of the WAL cannot have given to
 * the database: what SQLite adds without writing it is free, and every page that it
 * wrote lists page_size / 4 such pages at most. 0 or -EBADMSG.
 */
int database_check_size(const struct database *db, uint32_t n_pages, uint32_t frame,
			struct error *err) MUST_CHECK;
/*
 * Opens what work on the database needs, unless it is loaded, and follows the WAL
 * from where the log has it. Sets suspect where the page hashes, or the WAL, are not
 * those of the log's end. Blocks for the reading of the WAL's frame headers. 0 or
 * -errno: nothing is loaded then.
 */
int database_load(struct database *db, struct error *err) MUST_CHECK;
/* Lets go of all that. What the WAL lost to the capture stays suspect. */
void database_unload(struct database *db);
/* Begins the generation that the log wants, if it does. 0 or -errno. */
int database_continue_log(struct database *db, struct error *err) MUST_CHECK;
/* What status says is wrong, logged when it changes; err NULL: nothing is any more. */
void database_set_trouble(struct database *db, const struct error *err);
/* The hash of page pgno at the position, 0 behind its end; for wal_tail_resume(). */
uint64_t database_page_hash(void *db, uint32_t pgno);
/*
 * Begins a generation on the position txid with that checksum and extent, which is at
 * mark in the WAL. The position so far is its parent. Blocks for a sync. 0 or -errno.
 */
int database_begin_generation(struct database *db, uint64_t txid, uint64_t checksum,
			      struct extent extent, const struct wal_mark *mark,
			      struct error *err) MUST_CHECK;

/* capture.c: takes in what has been committed. 0 or -errno; mutex held. */
int capture_catch_up(struct database *db, struct error *err) MUST_CHECK;

/*
 * compare.c: hashes the whole current state and logs one merged transaction
 * when it differs from the position; clears suspect. For a database without a
 * generation this is the first capture. 1 = not possible now (a hot journal, or
 * writers that keep changing it); mutex held.
 */
int compare_all(struct database *db, struct error *err) MUST_CHECK;

/*
 * The same where the database file alone is the state: at the end of a checkpoint,
 * when the WAL cannot be judged, and at the end of a transaction in rollback mode.
 * Journals are not looked at. 1 = the file keeps changing; mutex held.
 */
int compare_main(struct database *db, struct error *err) MUST_CHECK;

/* recover.c: brings log and content together, unless somebody has it open already. */
int recover_database(struct database *db, struct error *err) MUST_CHECK;

/* tailer.c */
void tailer_add(struct database *db);
void tailer_remove(struct database *db);
void tailer_ring(struct database *db);
void tailer_sync_log(struct database *db); /* soon, by the log syncer */
/* Applies the log's retention now; whether that freed any. */
bool tailer_make_room(struct database *db);

#endif
