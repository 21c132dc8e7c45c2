/* SPDX-License-Identifier: MIT */
#include "replicate/rollback.h"

#include "base/clock.h"
#include "base/file.h"
#include "replicate/candidates.h"
#include "replicate/database_evidence.h"
#include "replicate/database_journal.h"
#include "replicate/page.h"
#include "replicate/pagelog.h"

#include <errno.h>

struct rollback {
	struct database *db;
	struct candidates pages;
	enum record_kind kind;
	struct pagelog pagelog;
	uint8_t *page;
	uint8_t *page_before;
};

static int rollback_init(struct rollback *rollback, struct database *db, enum record_kind kind,
			 struct error *err)
{
	int r;

	*rollback = (struct rollback){
		.db = db,
		.kind = kind,
		.page = malloc(PAGE_SIZE_MAX),
		.page_before = malloc(PAGE_SIZE_MAX),
	};
	r = candidates_init(&rollback->pages, db, err);
	if (r == 0 && (rollback->page == NULL || rollback->page_before == NULL))
		r = error_set(err, ENOMEM, "out of memory");
	if (r == 0)
		r = pagelog_init(&rollback->pagelog, &db->log, err);
	return r;
}

static void rollback_done(struct rollback *rollback)
{
	candidates_done(&rollback->pages);
	free(rollback->page);
	free(rollback->page_before);
	pagelog_done(&rollback->pagelog);
}

/*
 * The version of a page before the transaction, which had that hash: from the
 * cache or the journal; NULL when neither has it.
 */
static const uint8_t *page_before(struct rollback *rollback, const struct candidate *candidate,
				  uint64_t hash)
{
	const struct database *db = rollback->db;
	uint32_t page_size = rollback->pages.after.page_size;
	const uint8_t *cached = pagecache_find(&db->cache, candidate->pgno);

	if (cached != NULL && db->cache.page_size == page_size)
		return cached;
	if (candidate->before_at == 0 ||
	    file_pread(rollback->pages.journal.fd, rollback->page_before, page_size,
		       (off_t)candidate->before_at) != (ssize_t)page_size ||
	    page_hash(candidate->pgno, rollback->page_before, page_size) != hash)
		return NULL;
	return rollback->page_before;
}

static int log_candidate(struct rollback *rollback, struct candidate *candidate, struct error *err)
{
	struct database *db = rollback->db;
	uint32_t page_size = rollback->pages.after.page_size;
	struct page_change change = {
		.pgno = candidate->pgno,
		.existed = candidate->pgno <= rollback->pages.before.n_pages,
		.page = rollback->page,
	};
	int r = database_read_main(db, page_size, candidate->pgno, rollback->page, err);

	if (r < 0)
		return r;
	change.hash = page_hash(change.pgno, rollback->page, page_size);
	if (change.existed) {
		change.hash_before = hashfile_get(&db->hashes, change.pgno);
		if (change.hash_before == change.hash)
			return 0;
		change.before = page_before(rollback, candidate, change.hash_before);
	}
	candidate->changed = true;
	candidate->hash = change.hash;
	r = pagelog_change(&rollback->pagelog, &change, err);
	if (r == 0)
		pagecache_put(&db->cache, page_size, change.pgno, change.page);
	return r;
}

/* A page that the transaction cuts off: still in the file, unless it was rewritten first. */
static int log_cut(struct rollback *rollback, uint32_t pgno, struct error *err)
{
	struct database *db = rollback->db;
	uint32_t page_size = rollback->pages.after.page_size;
	uint64_t hash = hashfile_get(&db->hashes, pgno);
	const struct candidate *candidate = candidates_find(&rollback->pages, pgno);
	const uint8_t *page = NULL;
	int r;

	if (candidate != NULL)
		page = page_before(rollback, candidate, hash);
	if (page == NULL) {
		r = database_read_main(db, page_size, pgno, rollback->page, err);
		if (r < 0)
			return r;
		if (page_hash(pgno, rollback->page, page_size) == hash)
			page = rollback->page;
	}
	return pagelog_cut(&rollback->pagelog, pgno, hash, page, err);
}

/* Logs what has changed; nothing is published. 1: nothing has. */
static int log_changes(struct rollback *rollback, struct error *err)
{
	struct record_header header = {
		.kind = rollback->kind,
		.time_us = clock_wall_us(),
		.after = rollback->pages.after,
	};
	uint32_t n_before = rollback->pages.before.n_pages;
	uint32_t n_after = rollback->pages.after.n_pages;
	uint32_t lock_page = page_lock_number(rollback->pages.after.page_size);
	bool changed = n_after != n_before;
	int r = 0;

	rollback->pagelog.page_size = rollback->pages.after.page_size;
	txlog_begin(&rollback->db->log, &header);
	for (uint32_t pgno = n_after + 1; r == 0 && pgno <= n_before; pgno++) {
		if (pgno != lock_page)
			r = log_cut(rollback, pgno, err);
	}
	for (size_t i = 0; r == 0 && i < rollback->pages.n; i++) {
		struct candidate *candidate = &rollback->pages.list[i];

		if (candidate->pgno > n_after || candidate->pgno == lock_page)
			continue;
		r = log_candidate(rollback, candidate, err);
		changed |= candidate->changed;
	}
	if (r < 0)
		return r;
	if (!changed)
		return 1;
	return txlog_end(&rollback->db->log, rollback->pagelog.flags,
			 rollback->pagelog.checksum, err);
}

static void adopt_changes(struct rollback *rollback)
{
	struct database *db = rollback->db;

	for (size_t i = 0; i < rollback->pages.n; i++) {
		const struct candidate *candidate = &rollback->pages.list[i];

		if (candidate->changed)
			hashfile_set(&db->hashes, candidate->pgno, candidate->hash);
	}
	hashfile_set_position(&db->hashes, &db->log.position, db->log.extent);
	if (rollback->kind == RECORD_MERGED)
		db->n_merged++;
	else
		db->n_transactions++;
}

/* Logs the candidates that differ as one record. */
static int publish(struct rollback *rollback, struct error *err)
{
	struct database *db = rollback->db;
	int r = hashfile_reserve(&db->hashes, rollback->pages.after.n_pages, err);

	if (rollback->pages.before.n_pages == 0 && rollback->pages.after.n_pages == 0)
		return r;
	if (r == 0)
		r = log_changes(rollback, err);
	if (r == 1) {
		txlog_discard(&db->log);
		return 0;
	}
	if (r == 0)
		r = txlog_flush(&db->log, err);
	if (r < 0) {
		/* The cache may be ahead of the position now. */
		txlog_discard(&db->log);
		pagecache_done(&db->cache);
		return r;
	}
	adopt_changes(rollback);
	database_changed(db);
	return 0;
}

/* 0; 1: only a comparison of all pages tells; -errno. */
static int take_in(struct database *db, const uint8_t *kept, enum record_kind kind,
		   bool written_only, struct error *err)
{
	struct rollback rollback CLEANUP(rollback_done) = { 0 };
	bool wrote = db->written_complete && written_any(&db->written);
	int r = rollback_init(&rollback, db, kind, err);

	if (r == 0 && (db->suspect || db->log.position.generation == 0))
		r = 1;
	if (r == 0 && written_only && !rollback.pages.told)
		r = 1;
	if (r == 0)
		r = candidates_collect(&rollback.pages, kept, err);
	if (r == 0)
		r = publish(&rollback, err);
	if (r == 1 && wrote)
		db->have_evidence = false; /* what was written is not in the ranges any more */
	if (r < 0)
		candidates_put_back(&rollback.pages);
	else
		db->written_complete = db->n_open[DATABASE_MAIN] != 0 && !db->writes_unseen;
	return r;
}

/* The database file alone is the state: its writer waits for us. */
static int compare_whole(struct database *db, struct error *err)
{
	int r = compare_main(db, err);

	if (r == 0)
		return 0;
	db->suspect = true;
	return r > 0 ? error_set(err, EAGAIN, "the database changes while its writer waits") : r;
}

int rollback_commit(struct database *db, const uint8_t *kept, struct error *err)
{
	uint64_t n_before = db->n_transactions + db->n_merged;
	bool alone = !db->suspect && kept == NULL &&
		     database_journal_state(db) == JOURNAL_HEADER_NONE;
	int r = database_continue_log(db, err);

	if (r == 0)
		r = take_in(db, kept, RECORD_COMMIT, false, err);
	if (r == 1 && !database_as_remembered(db))
		r = compare_whole(db, err);
	if (r < 0)
		return r;
	txlog_unreserve(&db->log);
	if (alone && db->n_transactions + db->n_merged != n_before)
		database_note_coarse(db);
	db->journal.have_head = false;
	db->journal.quiet = false;
	db->journal.found = false;
	db->left_hot = false;
	return database_remember_evidence(db, err);
}

int rollback_commit_unjournaled(struct database *db, struct error *err)
{
	int r = rollback_written(db, RECORD_COMMIT, err);

	if (r != 1)
		return r;
	r = compare_whole(db, err);
	return r < 0 ? r : database_remember_evidence(db, err);
}

int rollback_written(struct database *db, enum record_kind kind, struct error *err)
{
	int r = database_continue_log(db, err);

	if (r == 0)
		r = take_in(db, NULL, kind, true, err);
	return r != 0 ? r : database_remember_evidence(db, err);
}
