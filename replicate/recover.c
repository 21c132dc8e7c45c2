/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "base/file.h"
#include "replicate/database_evidence.h"
#include "replicate/database_internal.h"
#include "replicate/page.h"
#include "replicate/recover_forward.h"

#include <errno.h>
#include <sched.h>

/*
 * Bringing log and content together while nobody has the database open:
 *
 *  clean mark and evidence agree    nothing to do
 *  the WAL goes on behind the log   capture the rest, transaction by transaction
 *  the log goes on behind the       (another boot without a clean mark: the WAL's
 *    database                       tail was lost) roll the database forward
 *  otherwise changed                one merged transaction by comparing all pages
 *
 * A WAL that is new goes on behind the log only if it was begun over a database
 * file with the log's content: what was committed before it is not there to be seen.
 *
 * After another boot without a clean mark a new generation begins, since what
 * replicas and backends have may be ahead of what survived here.
 */

/* Whether the hashes are those of the log's end, by their sum too. */
static bool hashes_fit(struct database *db)
{
	struct position position = hashfile_position(&db->hashes, NULL);
	uint32_t n_pages = db->log.extent.n_pages;

	return position_equal(&position, &db->log.position) && n_pages <= db->hashes.capacity &&
	       hashfile_checksum(&db->hashes, n_pages) == position.checksum;
}

/* Damage costs what was behind it, not the mount. Returns what stands for r. */
static int forgive_damage(struct database *db, int r, struct error *err)
{
	if (r != -EBADMSG)
		return r;
	log_error("database=%s its log cannot be read: %s", db->name, error_what(err));
	error_done(err);
	return 1;
}

/*
 * Brings the hashes to the log's end from the records behind their position, if
 * they are all there.
 */
static int redo_hashes(struct database *db, struct error *err)
{
	struct extent extent;
	struct position from = hashfile_position(&db->hashes, &extent);
	struct txlog_reader reader;
	int r;

	if (position_equal(&from, &db->log.position))
		return 0;
	r = txlog_reader_open(&reader, &db->log, &from, err);
	if (r != 0)
		return r < 0 ? r : 0;
	for (;;) {
		struct record_entry entry;
		const uint8_t *data;

		r = txlog_reader_next(&reader, err);
		if (r == 2)
			continue;
		if (r != 0)
			break;
		r = hashfile_reserve(&db->hashes, reader.records.header.after.n_pages, err);
		while (r == 0) {
			r = record_reader_entry(&reader.records, &entry, &data, err);
			if (r == 0 && entry.encoding != RECORD_CUT)
				hashfile_set(&db->hashes, entry.pgno, entry.hash);
		}
		if (r < 0)
			break;
	}
	txlog_reader_close(&reader);
	if (r >= 0 && reader.txid == db->log.position.txid)
		hashfile_set_position(&db->hashes, &db->log.position, db->log.extent);
	return r < 0 ? r : 0;
}

/* Whether a clean stop left everything as it is now; then nothing is read. */
static bool untouched(struct database *db)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	struct evidence before;
	struct evidence now;

	return db->log.position.generation != 0 && !db->log.new_generation && hashes_fit(db) &&
	       hashfile_clean(&db->hashes, &before) &&
	       database_take_evidence(db, &now, &ignored) == 0 &&
	       memcmp(&now, &before, sizeof(now)) == 0;
}

/* A new generation on the position, unless it has begun one since it was of that. */
static int begin_where_it_is(struct database *db, uint64_t generation, struct error *err)
{
	struct wal_mark mark = wal_tail_mark(&db->tail);
	bool fit = hashes_fit(db);
	int r;

	if (generation == 0 || db->log.position.generation != generation)
		return 0;
	r = database_begin_generation(db, db->log.position.txid, db->log.position.checksum,
				      db->log.extent, &mark, err);
	if (r == 0 && fit)
		hashfile_set_position(&db->hashes, &db->log.position, db->log.extent);
	return r;
}

/* evidence: of the clean stop before; NULL = there was none. 1: it had to give way. */
static int reconcile(struct database *db, const struct evidence *evidence, struct error *err)
{
	bool lost_tail = !database_options(db)->same_boot && evidence == NULL;
	uint64_t generation = db->log.position.generation;
	struct wal_mark mark = db->log.mark;
	int r = forgive_damage(db, redo_hashes(db, err), err);

	if (r >= 0 && lost_tail && generation != 0)
		r = forgive_damage(db, recover_forward(db, &mark, err), err);
	if (r >= 0)
		r = wal_tail_resume(&db->tail, &mark, lost_tail, database_page_hash, db, err);
	/* Transactions build on the log's end: only a comparison does without. */
	if (r == 0 && hashes_fit(db) && !database_wal_foreign(db, evidence))
		r = capture_catch_up(db, err);
	if (r >= 0)
		r = compare_all(db, err);
	if (r > 0 && database_must_give_way(db))
		return 1;
	if (r > 0) {
		error_set(err, EAGAIN, "a rollback journal waits to be played back; captured %s",
			  "when the database has been opened");
		database_set_trouble(db, err);
		error_done(err);
		return lost_tail ? begin_where_it_is(db, generation, err) : 0;
	}
	if (r == 0 && lost_tail)
		r = begin_where_it_is(db, generation, err);
	if (r == 0)
		hashfile_set_position(&db->hashes, &db->log.position, db->log.extent);
	return r < 0 ? r : database_remember_evidence(db, err);
}

/* 1: it had to give way, and is to be done again. */
static int recover(struct database *db, struct error *err)
{
	struct evidence evidence;
	bool clean;
	int r;

	LOCK_SCOPE(&db->mutex);
	/* Who was faster to open a database that is just being adopted has done it. */
	if (db->ended || database_in_use(db))
		return 0;
	r = database_load(db, err);
	if (r < 0)
		return error_wrap(err, "%s", db->name);
	db->suspect = false;
	clean = hashfile_clean(&db->hashes, &evidence);
	if (untouched(db)) {
		r = database_remember_evidence(db, err);
	} else {
		r = hashfile_mark_dirty(&db->hashes, err);
		if (r == 0)
			r = reconcile(db, clean ? &evidence : NULL, err);
	}
	database_unload(db);
	return r < 0 ? error_wrap(err, "%s", db->name) : r;
}

int recover_database(struct database *db, struct error *err)
{
	int r;

	while ((r = recover(db, err)) == 1)
		sched_yield();
	return r;
}
