/* SPDX-License-Identifier: MIT */
#include "replicate/rollback.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hook.h"
#include "replicate/delta.h"
#include "replicate/journal.h"
#include "replicate/page.h"
#include "replicate/pagelog.h"

#include <errno.h>

/*
 * Which pages a transaction can have changed. Where the daemon was told of every
 * write (the intercept road): those that were written. Else:
 *
 *  1. the pages in the journal;
 *  2. those beyond the size the database had before, which are not journaled: the
 *     smaller of the journal's figure and the size in the previous page 1, since
 *     the file is longer than that when a writer died before he cut it off;
 *  3. the leaves listed in the freelist trunk pages that are in the journal: a
 *     page taken from the freelist is not journaled, its trunk is.
 *
 * Those whose hash differs are the transaction. That holds if nothing was written
 * unseen between the last capture and its begin: the file must have been untouched
 * when the journal was opened or, for one that is kept open, synced first; and the
 * journal's copy of page 1, where every commit leaves its mark but those of a
 * connection with exclusive locking, must be our page 1. Otherwise all pages are
 * compared.
 */

/* A page that may have changed, or of which the journal has the version before. */
struct candidate {
	uint32_t pgno;
	bool changed;
	uint64_t before_at; /* its offset in the journal, or 0 */
	uint64_t hash;	    /* when changed: the new one */
};

struct rollback {
	struct database *db;
	enum record_kind kind;
	struct journal_reader journal;
	bool has_journal;
	struct written_range *ranges;
	size_t n_ranges;
	bool told; /* ranges are all that was written */
	struct extent before;
	struct extent after;
	struct candidate *candidates;
	size_t n_candidates;
	size_t n_room;
	struct pagelog pagelog;
	uint8_t *page;
	uint8_t *page_before;
	uint8_t *buffer;
};

int rollback_journal_fd(struct database *db)
{
	if (db->journal.fd < 0)
		db->journal.fd = MAX(database_open_file(db, DATABASE_JOURNAL, O_RDONLY), -1);
	return db->journal.fd;
}

void rollback_journal_close(struct database *db)
{
	if (db->journal.fd >= 0)
		close(db->journal.fd);
	db->journal.fd = -1;
	db->journal.have_head = false;
	db->journal.quiet = false;
}

bool rollback_journal_head(struct database *db, uint8_t *head)
{
	int fd = rollback_journal_fd(db);

	return fd >= 0 &&
	       file_pread(fd, head, JOURNAL_HEADER_LEN, 0) == (ssize_t)JOURNAL_HEADER_LEN;
}

void rollback_journal_note_quiet(struct database *db)
{
	db->journal.quiet = database_main_as_remembered(db);
	db->journal.unsure = db->evidence_fresh;
}

void rollback_journal_opening(struct database *db)
{
	struct journal_state *journal = &db->journal;
	uint8_t head[JOURNAL_HEADER_LEN];

	if (!db->loaded)
		return;
	/* Others look at it too, while its transaction is under way. */
	if (journal->have_head && rollback_journal_head(db, head) &&
	    memcmp(journal->head, head, sizeof(head)) == 0)
		return;
	journal->have_head = false;
	rollback_journal_note_quiet(db);
}

bool rollback_journal_hot(struct database *db)
{
	uint8_t head[JOURNAL_HEADER_LEN];
	struct journal_header header;
	int fd CLEANUP_FD = database_open_file(db, DATABASE_JOURNAL, O_RDONLY);

	return fd >= 0 && file_pread(fd, head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
	       journal_header_parse(head, &header) == JOURNAL_HEADER_VALID;
}

static int rollback_init(struct rollback *rollback, struct database *db, enum record_kind kind,
			 struct error *err)
{
	*rollback = (struct rollback){
		.db = db,
		.kind = kind,
		.before = db->log.extent,
		.pagelog = {
			.log = &db->log,
			.delta = malloc(delta_max_len(PAGE_SIZE_MAX)),
			.flags = RECORD_UNDOABLE,
			.checksum = db->log.position.checksum,
		},
		.page = malloc(PAGE_SIZE_MAX),
		.page_before = malloc(PAGE_SIZE_MAX),
		.buffer = catalog_buffer_get(db->catalog),
	};
	if (rollback->page == NULL || rollback->page_before == NULL ||
	    rollback->pagelog.delta == NULL || rollback->buffer == NULL)
		return error_set(err, ENOMEM, "out of memory");
	rollback->told = written_take(&db->written, &rollback->ranges, &rollback->n_ranges) &&
			 db->told;
	return 0;
}

static void rollback_done(struct rollback *rollback)
{
	free(rollback->ranges);
	free(rollback->candidates);
	free(rollback->page);
	free(rollback->page_before);
	free(rollback->pagelog.delta);
	if (rollback->buffer != NULL)
		catalog_buffer_put(rollback->db->catalog, rollback->buffer);
}

/* What was written counts again at the next capture; unless it is not all known. */
static void put_back(struct rollback *rollback)
{
	rollback->db->told &= rollback->told;
	for (size_t i = 0; i < rollback->n_ranges; i++)
		written_note(&rollback->db->written, rollback->ranges[i].off,
			     rollback->ranges[i].end - rollback->ranges[i].off);
}

static int push(struct rollback *rollback, uint32_t pgno, uint64_t before_at, struct error *err)
{
	if (rollback->n_candidates == rollback->n_room) {
		size_t n_room = MAX(2 * rollback->n_room, (size_t)64);
		struct candidate *more = realloc(rollback->candidates, n_room * sizeof(*more));

		if (more == NULL)
			return error_set(err, ENOMEM, "out of memory");
		rollback->candidates = more;
		rollback->n_room = n_room;
	}
	rollback->candidates[rollback->n_candidates++] =
		(struct candidate){ .pgno = pgno, .before_at = before_at };
	return 0;
}

/*
 * Sets the size after the transaction. 1: page 1 does not fit what is known, so
 * that only the whole tells.
 */
static int read_extent(struct rollback *rollback, struct error *err)
{
	struct database *db = rollback->db;
	uint8_t bytes[PAGE_HEADER_LEN];
	struct page_header header = { 0 };
	ssize_t n = file_pread(db->main_fd, bytes, sizeof(bytes), 0);
	struct stat st;
	bool readable;

	if (n < 0)
		return error_set_errno(err, (int)-n, "cannot read the database");
	if (fstat(db->main_fd, &st) < 0)
		return error_set_errno(err, errno, "cannot stat the database");
	readable = n == (ssize_t)sizeof(bytes) && page_header_parse(bytes, &header);
	rollback->after = (struct extent){ .page_size = rollback->before.page_size };
	if (n == 0) /* its first transaction was rolled back */
		return 0;
	if (!readable && !rollback->told)
		return 1;
	if (readable)
		rollback->after.page_size = header.page_size;
	else if (rollback->has_journal)
		rollback->after.page_size = rollback->journal.first.page_size;
	if (!page_size_valid(rollback->after.page_size) ||
	    (rollback->before.n_pages != 0 &&
	     rollback->after.page_size != rollback->before.page_size) ||
	    (rollback->has_journal &&
	     rollback->journal.first.page_size != rollback->after.page_size))
		return 1;
	rollback->after.n_pages = (uint32_t)MIN(
		((uint64_t)st.st_size + rollback->after.page_size - 1) / rollback->after.page_size,
		(uint64_t)PAGE_NUMBER_MAX);
	/* What says that it is larger than its file is damaged, to SQLite too. */
	if (header.n_pages != 0)
		rollback->after.n_pages = MIN(header.n_pages, rollback->after.n_pages);
	return 0;
}

/* The pages that were written. */
static int push_written(struct rollback *rollback, struct error *err)
{
	uint32_t page_size = rollback->after.page_size;
	int r = 0;

	for (size_t i = 0; r == 0 && i < rollback->n_ranges; i++) {
		const struct written_range *range = &rollback->ranges[i];
		uint64_t first = range->off / page_size + 1;
		uint64_t last = (range->end + page_size - 1) / page_size;

		last = MIN(last, (uint64_t)rollback->after.n_pages);
		for (uint64_t pgno = first; r == 0 && pgno <= last; pgno++)
			r = push(rollback, (uint32_t)pgno, 0, err);
	}
	return r;
}

/* The second term. New pages are logged whether they were written or not. */
static int push_new(struct rollback *rollback, struct error *err)
{
	uint32_t n_before = rollback->before.n_pages;
	int r = 0;

	if (!rollback->told && hook_enabled("no-new-pages"))
		return 0;
	if (!rollback->told && rollback->has_journal)
		n_before = MIN(n_before, rollback->journal.first.n_pages);
	for (uint32_t pgno = n_before + 1; r == 0 && pgno <= rollback->after.n_pages && pgno != 0;
	     pgno++)
		r = push(rollback, pgno, 0, err);
	return r;
}

/* The third term, of one journaled page. */
static int push_leaves(struct rollback *rollback, const struct journal_record *record,
		       uint32_t n_pages, struct error *err)
{
	uint32_t n = journal_trunk_n_leaves(record->page, rollback->after.page_size, n_pages);
	int r = 0;

	if (hook_enabled("no-freelist-leaves"))
		return 0;
	for (uint32_t i = 0; r == 0 && i < n; i++)
		r = push(rollback, be32_get(record->page + JOURNAL_TRUNK_LEAVES + 4 * (size_t)i),
			 0, err);
	return r;
}

/* Whether nothing can have been written unseen before the transaction. */
static bool began_quiet(struct rollback *rollback)
{
	return rollback->told || rollback->before.n_pages == 0 || rollback->db->journal.quiet ||
	       hook_enabled("no-quiet-check");
}

/* Whether page 1 was, before the transaction, what we captured last. */
static bool first_page_known(struct rollback *rollback, const uint8_t *page)
{
	return hook_enabled("no-first-page-check") ||
	       page_hash(1, page, rollback->after.page_size) ==
		       hashfile_get(&rollback->db->hashes, 1);
}

/*
 * Reads the journal: its pages' versions before and, unless every write is known,
 * the first and the third term. 1: something was committed unseen.
 */
static int push_journal(struct rollback *rollback, struct error *err)
{
	uint32_t n_pages = MAX(rollback->before.n_pages, rollback->journal.first.n_pages);
	uint32_t lock_page = page_lock_number(rollback->after.page_size);
	bool left_out = !rollback->told && hook_enabled("no-journal-pages");
	bool first_page_seen = rollback->told || rollback->before.n_pages == 0;
	int r = began_quiet(rollback) ? 0 : 1;

	if (r != 0)
		return r;
	while (r == 0) {
		struct journal_record record;

		r = journal_reader_next(&rollback->journal, &record, err);
		if (r != 0)
			break;
		if (record.pgno == 0 || record.pgno > n_pages || record.pgno == lock_page)
			continue;
		if (record.pgno == 1 && !first_page_seen) {
			first_page_seen = true;
			if (!first_page_known(rollback, record.page))
				return 1;
		}
		if (!left_out)
			r = push(rollback, record.pgno, record.off, err);
		if (r == 0 && !rollback->told)
			r = push_leaves(rollback, &record, n_pages, err);
	}
	/* Without its copy of page 1 only the file's time tells. */
	if (r >= 0 && !first_page_seen && rollback->db->journal.unsure)
		return 1;
	return MIN(r, 0);
}

static int by_page(const void *a, const void *b)
{
	const struct candidate *x = a;
	const struct candidate *y = b;

	if (x->pgno != y->pgno)
		return x->pgno < y->pgno ? -1 : 1;
	/* Of several copies in the journal the first is the oldest; 0 is none. */
	return (x->before_at - 1 > y->before_at - 1) - (x->before_at - 1 < y->before_at - 1);
}

static void sort_candidates(struct rollback *rollback)
{
	struct candidate *all = rollback->candidates;
	size_t kept = 0;

	if (rollback->n_candidates == 0)
		return;
	qsort(all, rollback->n_candidates, sizeof(*all), by_page);
	for (size_t i = 1; i < rollback->n_candidates; i++) {
		if (all[i].pgno != all[kept].pgno)
			all[++kept] = all[i];
	}
	rollback->n_candidates = kept + 1;
}

/* Collects the candidates. 1: only a comparison of all pages tells. */
static int collect(struct rollback *rollback, const uint8_t *kept, struct error *err)
{
	int fd = rollback_journal_fd(rollback->db);
	int r = fd < 0 ? 1 : journal_reader_init(&rollback->journal, fd, kept, rollback->buffer,
						 CATALOG_BUFFER_LEN, err);

	rollback->has_journal = r == 0;
	if (r >= 0)
		r = rollback->has_journal || rollback->told ? 0 : 1;
	if (r == 0)
		r = read_extent(rollback, err);
	if (r == 0 && rollback->after.n_pages == 0)
		return 0;
	if (r == 0 && rollback->told)
		r = push_written(rollback, err);
	if (r == 0)
		r = push_new(rollback, err);
	if (r == 0 && rollback->has_journal)
		r = push_journal(rollback, err);
	sort_candidates(rollback);
	return r;
}

static int read_main(struct rollback *rollback, uint32_t pgno, uint8_t *page, struct error *err)
{
	uint32_t page_size = rollback->after.page_size;
	ssize_t n = file_pread(rollback->db->main_fd, page, page_size,
			       (off_t)(pgno - 1) * page_size);

	if (n < 0)
		return error_set_errno(err, (int)-n, "cannot read the database");
	memset(page + n, 0, page_size - (size_t)n);
	return 0;
}

/*
 * The version of a page before the transaction, which had that hash: from the
 * cache or the journal; NULL when neither has it.
 */
static const uint8_t *page_before(struct rollback *rollback, const struct candidate *candidate,
				  uint64_t hash)
{
	const struct database *db = rollback->db;
	uint32_t page_size = rollback->after.page_size;
	const uint8_t *cached = pagecache_find(&db->cache, candidate->pgno);

	if (cached != NULL && db->cache.page_size == page_size)
		return cached;
	if (candidate->before_at == 0 ||
	    file_pread(rollback->journal.fd, rollback->page_before, page_size,
		       (off_t)candidate->before_at) != (ssize_t)page_size ||
	    page_hash(candidate->pgno, rollback->page_before, page_size) != hash)
		return NULL;
	return rollback->page_before;
}

static int log_candidate(struct rollback *rollback, struct candidate *candidate,
			 struct error *err)
{
	struct database *db = rollback->db;
	struct page_change change = {
		.pgno = candidate->pgno,
		.existed = candidate->pgno <= rollback->before.n_pages,
		.page = rollback->page,
	};
	int r = read_main(rollback, candidate->pgno, rollback->page, err);

	if (r < 0)
		return r;
	change.hash = page_hash(change.pgno, rollback->page, rollback->after.page_size);
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
		pagecache_put(&db->cache, rollback->after.page_size, change.pgno, change.page);
	return r;
}

static const struct candidate *find_candidate(const struct rollback *rollback, uint32_t pgno)
{
	struct candidate key = { .pgno = pgno };
	size_t low = 0;
	size_t high = rollback->n_candidates;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (rollback->candidates[middle].pgno < key.pgno)
			low = middle + 1;
		else
			high = middle;
	}
	return low < rollback->n_candidates && rollback->candidates[low].pgno == pgno ?
		       &rollback->candidates[low] :
		       NULL;
}

/* A page that the transaction cuts off: still in the file, unless it was rewritten first. */
static int log_cut(struct rollback *rollback, uint32_t pgno, struct error *err)
{
	uint64_t hash = hashfile_get(&rollback->db->hashes, pgno);
	const struct candidate *candidate = find_candidate(rollback, pgno);
	const uint8_t *page = NULL;
	int r;

	if (candidate != NULL)
		page = page_before(rollback, candidate, hash);
	if (page == NULL) {
		r = read_main(rollback, pgno, rollback->page, err);
		if (r < 0)
			return r;
		if (page_hash(pgno, rollback->page, rollback->after.page_size) == hash)
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
		.after = rollback->after,
	};
	uint32_t n_after = rollback->after.n_pages;
	uint32_t lock_page = page_lock_number(rollback->after.page_size);
	bool changed = n_after != rollback->before.n_pages;
	int r = 0;

	rollback->pagelog.page_size = rollback->after.page_size;
	txlog_begin(&rollback->db->log, &header);
	for (uint32_t pgno = n_after + 1; r == 0 && pgno <= rollback->before.n_pages; pgno++) {
		if (pgno != lock_page)
			r = log_cut(rollback, pgno, err);
	}
	for (size_t i = 0; r == 0 && i < rollback->n_candidates; i++) {
		struct candidate *candidate = &rollback->candidates[i];

		if (candidate->pgno > n_after || candidate->pgno == lock_page)
			continue;
		r = log_candidate(rollback, candidate, err);
		changed |= candidate->changed;
	}
	if (r < 0)
		return r;
	return changed ? txlog_end(&rollback->db->log, rollback->pagelog.flags,
				   rollback->pagelog.checksum, err) :
			 1;
}

static void adopt_changes(struct rollback *rollback)
{
	struct database *db = rollback->db;

	for (size_t i = 0; i < rollback->n_candidates; i++) {
		if (rollback->candidates[i].changed)
			hashfile_set(&db->hashes, rollback->candidates[i].pgno,
				     rollback->candidates[i].hash);
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
	int r = hashfile_reserve(&db->hashes, rollback->after.n_pages, err);

	if (rollback->before.n_pages == 0 && rollback->after.n_pages == 0)
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
	int r = rollback_init(&rollback, db, kind, err);

	if (r == 0 && (db->suspect || db->log.position.generation == 0))
		r = 1;
	if (r == 0 && written_only && !rollback.told)
		r = 1;
	if (r == 0)
		r = collect(&rollback, kept, err);
	if (r == 0)
		r = publish(&rollback, err);
	if (r < 0)
		put_back(&rollback);
	else
		db->told = db->n_open[DATABASE_MAIN] != 0 && !db->untold;
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

/* Whether the journal has a header. */
static bool journal_tells(struct database *db)
{
	uint8_t head[JOURNAL_HEADER_LEN];
	struct journal_header header;

	return rollback_journal_head(db, head) &&
	       journal_header_parse(head, &header) != JOURNAL_HEADER_NONE;
}

int rollback_commit(struct database *db, const uint8_t *kept, struct error *err)
{
	uint64_t n_before = db->n_transactions + db->n_merged;
	bool alone = !db->suspect && kept == NULL && !journal_tells(db);
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
	db->left_hot = false;
	return database_remember_evidence(db, err);
}

/* Whether a page of the journal is another one in the database. */
static bool journal_differs(struct rollback *rollback)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	struct journal_record record;

	rollback->after.page_size = rollback->journal.first.page_size;
	while (journal_reader_next(&rollback->journal, &record, &ignored) == 0) {
		if (record.pgno == 0 || record.pgno > rollback->journal.first.n_pages)
			continue;
		if (read_main(rollback, record.pgno, rollback->page, &ignored) < 0)
			return false;
		if (memcmp(record.page, rollback->page, rollback->after.page_size) != 0)
			return true;
	}
	return false;
}

bool rollback_refusable(struct database *db)
{
	struct rollback rollback CLEANUP(rollback_done) = {
		.db = db,
		.page = malloc(PAGE_SIZE_MAX),
		.buffer = catalog_buffer_get(db->catalog),
	};
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	uint8_t bytes[PAGE_HEADER_LEN];
	struct page_header header;
	int fd = rollback_journal_fd(db);

	/* An encrypted page that is rolled back is not what it was either. */
	return fd >= 0 && rollback.page != NULL && rollback.buffer != NULL &&
	       file_pread(db->main_fd, bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes) &&
	       page_header_parse(bytes, &header) &&
	       journal_reader_init(&rollback.journal, fd, NULL, rollback.buffer,
				   CATALOG_BUFFER_LEN, &ignored) == 0 &&
	       !journal_has_super(&rollback.journal) && journal_differs(&rollback);
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

int rollback_read_before(struct database *db, uint32_t pgno, uint64_t hash, uint8_t *page,
			 struct error *err)
{
	uint32_t page_size = db->log.extent.page_size;
	uint8_t *buffer = catalog_buffer_get(db->catalog);
	const uint8_t *kept = db->journal.have_head ? db->journal.head : NULL;
	struct journal_reader reader = { 0 };
	struct journal_record record;
	int fd = rollback_journal_fd(db);
	int r = buffer == NULL || fd < 0 ?
			1 :
			journal_reader_init(&reader, fd, kept, buffer, CATALOG_BUFFER_LEN, err);

	/* A large one is not searched for every page: its end is waited for. */
	if (r == 0 && (reader.first.page_size != page_size || reader.size > CATALOG_BUFFER_LEN))
		r = 1;
	while (r == 0) {
		r = journal_reader_next(&reader, &record, err);
		if (r == 0 && record.pgno == pgno &&
		    page_hash(pgno, record.page, page_size) == hash) {
			memcpy(page, record.page, page_size);
			break;
		}
	}
	if (buffer != NULL)
		catalog_buffer_put(db->catalog, buffer);
	return r;
}
