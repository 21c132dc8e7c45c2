/* SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "base/hook.h"
#include "replicate/database_evidence.h"
#include "replicate/database_internal.h"
#include "replicate/database_journal.h"
#include "replicate/gate.h"
#include "replicate/page.h"
#include "replicate/rollback.h"

#include <errno.h>

/* The calls in which SQLite makes a change final, or overwrites what made it so. */

/* With fewer transactions it is not worth waking a thread to sync the log ahead. */
#define SYNC_AHEAD_MIN 16

/*
 * As capture_catch_up(); where the log has no room, what it need not keep goes first. A
 * comparison that had to give way loses nothing by being made later: that is no reason
 * to refuse a call.
 */
static int catch_up_making_room(struct database *db, struct error *err)
{
	int r = capture_catch_up(db, err);

	if ((r == -ENOSPC || r == -EDQUOT) && tailer_make_room(db)) {
		error_done(err);
		r = capture_catch_up(db, err);
	}
	if (r == -EAGAIN && db->lost) {
		error_done(err);
		r = 0;
	}
	return r;
}

/* Whether what a captured frame holds is in X, unless a later one of its page counts. */
static bool frame_in_main(const struct database *db, uint32_t frame, uint8_t *page)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	uint32_t page_size = db->tail.page_size;
	uint8_t head[WAL_FRAME_HEADER_LEN];
	const struct walmap_entry *entry;
	uint32_t pgno;

	if (wal_tail_read_head(&db->tail, frame, head, &ignored) != 0)
		return false;
	pgno = wal_frame_parse(head).pgno;
	entry = walmap_find(&db->tail.map, pgno);
	if (entry == NULL || entry->frame != frame || pgno > db->log.extent.n_pages)
		return true;
	return database_read_main(db, page_size, pgno, page, &ignored) == 0 &&
	       page_hash(pgno, page, page_size) == entry->hash;
}

/*
 * Whether the last captured transaction is in X when a checkpoint truncates that,
 * which has copied all that is published. Where that cannot be seen it may be of a
 * client that died before it published it, or be newer than the checkpoint: then it
 * may go with the WAL as if it had never been.
 */
static bool last_transaction_in_main(const struct database *db)
{
	const struct wal_span *end = &db->tail.now.end;
	uint8_t *page CLEANUP_FREE = malloc(PAGE_SIZE_MAX);
	uint32_t frame = end->first;

	while (page != NULL && frame <= end->last && frame_in_main(db, frame, page))
		frame++;
	return frame > end->last;
}

/* The moment that precedes every restart of the WAL: all of it must be captured. */
static int begin_main_truncate(struct database *db, struct error *err)
{
	int r = catch_up_making_room(db, err);

	if (r < 0)
		return r;
	if (db->tail.fd < 0)
		return 0;
	if (!database_index_trusted(db) && wal_tail_chain_broken(&db->tail)) {
		r = compare_main(db, err);
		if (r < 0)
			return r;
		db->lost |= r > 0;
	}
	if (db->tail.synced) {
		r = txlog_sync(&db->log, err);
		if (r < 0)
			return r;
		db->tail.synced = false;
	}
	db->tail.now.announced = db->tail.now.captured;
	if (db->tail.now.captured != 0 && !database_index_trusted(db) &&
	    !last_transaction_in_main(db))
		db->tail.now.announced = db->tail.now.end.first - 1;
	return 0;
}

/*
 * A WAL that is synced with nothing behind what is published: a checkpoint begins.
 * The log must be durable when that truncates the database, so it is synced from
 * now on, beside the WAL and the writing of the pages.
 */
static void sync_log_ahead(struct database *db)
{
	if (db->n_transactions - db->n_synced_ahead < SYNC_AHEAD_MIN ||
	    wal_tail_goes_on(&db->tail))
		return;
	db->n_synced_ahead = db->n_transactions;
	tailer_sync_log(db);
}

/*
 * Capture went wrong where nothing can be refused any more: it is made up for by
 * comparing. Takes err over.
 */
static void capture_later(struct database *db, struct error *err)
{
	db->suspect = true;
	error_wrap(err, "%s", db->name);
	database_set_trouble(db, err);
	error_done(err);
}

/*
 * The transaction of the journal ends; kept as for rollback_commit(). A commit is
 * refused only for want of room in the log: SQLite rolls it back then. That must go
 * on, even where it has left free pages changed; and in any other case too the
 * content is there to be compared.
 */
static int end_transaction(struct database *db, const uint8_t *kept, bool may_refuse,
			   struct error *err)
{
	uint64_t n_before = db->n_transactions + db->n_merged;
	bool waited = db->left_hot || db->suspect;
	int r = rollback_commit(db, kept, err);

	if (r == -ENOSPC && tailer_make_room(db)) {
		error_done(err);
		r = rollback_commit(db, kept, err);
	}
	if (r == 0 && (waited || db->n_transactions + db->n_merged != n_before))
		database_set_trouble(db, NULL);
	if (r == 0)
		return 0;
	if (may_refuse && r == -ENOSPC && database_journal_refusable(db)) {
		database_set_trouble(db, err);
		return -ENOSPC;
	}
	capture_later(db, err);
	return 0;
}

/*
 * The header is kept: PERSIST and exclusive locking zero it to commit, and then it
 * is too late to refuse that. So where transactions end like that room in the log is
 * taken now, about as much as this one may want; unless it is another's that is about
 * to be played back.
 */
static int keep_head(struct database *db, const uint8_t *head, const struct journal_header *header,
		     struct error *err)
{
	struct journal_state *journal = &db->journal;
	bool begins = !journal->have_head || memcmp(journal->head, head, JOURNAL_HEADER_LEN) != 0;
	struct stat st;

	database_journal_syncing(db, begins);
	if (!begins)
		return 0;
	memcpy(journal->head, head, JOURNAL_HEADER_LEN);
	journal->have_head = true;
	if (!journal->zeroed || journal->found || fstat(journal->fd, &st) < 0)
		return 0;
	return gate_reserve(db, 2 * MIN((uint64_t)st.st_size, journal_first_len(header)), err);
}

static int begin_journal_sync(struct database *db, struct error *err)
{
	uint8_t head[JOURNAL_HEADER_LEN];
	struct journal_header header;

	if (!database_journal_head(db, head))
		return 0;
	if (journal_header_parse(head, &header) == JOURNAL_HEADER_VALID)
		return keep_head(db, head, &header, err);
	if (journal_header_zeroed(head)) {
		db->journal.zeroed = true;
		db->unmarked = true; /* exclusive locking commits like that */
		return end_transaction(db, db->journal.have_head ? db->journal.head : NULL, false,
				       err);
	}
	return 0;
}

/* Whether a WAL stands over the database file, so that a journal means nothing. */
static bool in_wal_mode(struct database *db)
{
	uint8_t bytes[PAGE_HEADER_LEN];
	struct page_header header;

	if (db->tail.page_size == 0)
		return false;
	if (file_pread(db->main_fd, bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes) ||
	    !page_header_parse(bytes, &header) || header.read_version == 2)
		return true;
	/* It was left behind on the way out of WAL mode, with nothing in it that counts. */
	wal_tail_reset(&db->tail);
	db->suspect = true;
	return false;
}

static int begin_journal(struct database *db, enum database_barrier what, uint64_t size,
			 struct error *err)
{
	/* Only that ends a transaction; SQLite cuts leftovers off before it commits. */
	if ((what == DATABASE_TRUNCATE && size != 0) || in_wal_mode(db))
		return 0;
	if (what == DATABASE_SYNC)
		return begin_journal_sync(db, err);
	db->journal.zeroed = false;
	return end_transaction(db, NULL, true, err);
}

/*
 * A commit without a journal to tell of it (journal_mode MEMORY or OFF) syncs the
 * database; others have a valid journal then.
 */
static void begin_main_sync(struct database *db)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;

	if (db->tail.page_size != 0 || db->n_open[DATABASE_WAL] != 0)
		return;
	if (database_journal_state(db) == JOURNAL_HEADER_VALID) {
		if (database_journal_dropped(db))
			end_transaction(db, NULL, false, &err);
		return;
	}
	if (database_as_remembered(db))
		return;
	database_note_coarse(db);
	db->unmarked = true;
	if (rollback_commit_unjournaled(db, &err) < 0)
		capture_later(db, &err);
}

static int begin_main(struct database *db, enum database_barrier what, uint64_t size,
		      struct error *err)
{
	if (what == DATABASE_SYNC)
		begin_main_sync(db);
	if (what != DATABASE_TRUNCATE)
		return 0;
	/* SQLite cuts off what it has not counted any more since its commit. */
	db->cut_at_rest = db->tail.page_size == 0 && size >= extent_bytes(db->log.extent) &&
		     database_as_remembered(db);
	return begin_main_truncate(db, err);
}

static int begin_locked(struct database *db, enum database_file file, enum database_barrier what,
			uint64_t size, struct error *err)
{
	int r;

	if (db->ended || !db->loaded || hook_enabled("no-barrier"))
		return 0;
	if (file == DATABASE_MAIN)
		return begin_main(db, what, size, err);
	if (file == DATABASE_JOURNAL)
		return begin_journal(db, what, size, err);
	r = what == DATABASE_SYNC ? capture_catch_up(db, err) : catch_up_making_room(db, err);
	/*
	 * So begins the end of a WAL that has been copied whole; it is removed next. Unless
	 * somebody else removes the index: its clients go on with it, and so do we.
	 */
	if (file == DATABASE_SHM)
		db->wal_ends = r == 0 && what == DATABASE_UNLINK && database_index_trusted(db) &&
			       db->tail.index_fd >= 0;
	else if (what != DATABASE_SYNC)
		return r;
	else
		db->tail.synced = true;
	if (file == DATABASE_WAL && r == 0)
		sync_log_ahead(db);
	/*
	 * A commit may be waiting for this: a log that is full or failing is not its
	 * business. The WAL keeps what was not captured, and status says why it was not.
	 */
	error_done(err);
	return 0;
}

int database_barrier_begin(struct database *db, enum database_file file,
			   enum database_barrier what, uint64_t size, struct error *err)
{
	int r;

	pthread_mutex_lock(&db->mutex);
	r = begin_locked(db, file, what, size, err);
	if (file == DATABASE_MAIN)
		db->truncating_to = MIN(size, (uint64_t)INT64_MAX);
	if (r == 0 && what == DATABASE_TRUNCATE && file == DATABASE_MAIN && size == 0)
		db->suspect = true; /* no checkpoint does that */
	/* A log that cannot be written keeps the WAL; it refuses no other work. */
	if (r < 0) {
		error_wrap(err, "%s", db->name);
		if (r != -ENOSPC && r != -EIO)
			r = -EIO;
	}
	if (r < 0 || what == DATABASE_SYNC)
		pthread_mutex_unlock(&db->mutex);
	return r;
}

/*
 * The WAL is gone or empty; what was in it must be in the database file by now,
 * whose looks are remembered to tell whether it is written without a WAL next.
 * If nothing was in it, it says nothing of the database file.
 */
static void end_wal_reset(struct database *db, enum database_barrier what)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	bool followed = db->tail.page_size != 0;

	db->wal_ends = false;
	if (db->tail.now.captured != db->tail.now.announced || db->lost)
		db->suspect = true;
	/* One that is emptied goes on at once, and nobody opens it. */
	db->lost = db->suspect && what == DATABASE_TRUNCATE;
	wal_tail_reset(&db->tail);
	if (what == DATABASE_UNLINK && db->tail.fd >= 0) {
		close(db->tail.fd);
		db->tail.fd = -1;
	}
	if (!followed)
		return;
	database_forget_written(db);
	if (!db->suspect && database_remember_evidence(db, &ignored) < 0)
		db->have_evidence = false;
}

/* What is cut off, or read as zeros from now on, was written. */
static void end_main_truncate(struct database *db)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;

	written_note(&db->written, db->truncating_to, INT64_MAX - db->truncating_to);
	if (db->cut_at_rest && database_remember_evidence(db, &ignored) < 0)
		db->have_evidence = false;
}

static void end_wal(struct database *db, enum database_barrier what)
{
	struct stat st;

	if (what == DATABASE_UNLINK ||
	    (db->tail.fd >= 0 && fstat(db->tail.fd, &st) == 0 && st.st_size == 0))
		end_wal_reset(db, what);
}

static void end_locked(struct database *db, enum database_file file, enum database_barrier what)
{
	switch (file) {
	case DATABASE_MAIN:
		end_main_truncate(db);
		break;
	case DATABASE_WAL:
		end_wal(db, what);
		break;
	case DATABASE_SHM:
		if (what == DATABASE_TRUNCATE)
			db->index_visible = db->index_on_disk;
		break;
	case DATABASE_JOURNAL:
		if (what == DATABASE_UNLINK)
			database_journal_close(db);
		break;
	}
}

void database_barrier_end(struct database *db, enum database_file file, enum database_barrier what,
			  int result)
{
	if (what == DATABASE_SYNC)
		return;
	if (result == 0 && db->loaded)
		end_locked(db, file, what);
	pthread_mutex_unlock(&db->mutex);
}
