/* SPDX-License-Identifier: MIT */
#include "replicate/database_journal.h"

#include "base/file.h"
#include "replicate/database_evidence.h"
#include "replicate/journal.h"
#include "replicate/page.h"

int database_journal_fd(struct database *db)
{
	if (db->journal.fd < 0)
		db->journal.fd = MAX(database_open_file(db, DATABASE_JOURNAL, O_RDONLY), -1);
	return db->journal.fd;
}

void database_journal_close(struct database *db)
{
	if (db->journal.fd >= 0)
		close(db->journal.fd);
	db->journal.fd = -1;
	db->journal.have_head = false;
	db->journal.quiet = false;
	db->journal.found = false;
	db->journal.synced = false;
}

bool database_journal_head(struct database *db, uint8_t *head)
{
	int fd = database_journal_fd(db);

	return fd >= 0 &&
	       file_pread(fd, head, JOURNAL_HEADER_LEN, 0) == (ssize_t)JOURNAL_HEADER_LEN;
}

enum journal_header_state database_journal_state(struct database *db)
{
	uint8_t head[JOURNAL_HEADER_LEN];
	struct journal_header ignored;

	return database_journal_head(db, head) ? journal_header_parse(head, &ignored) :
						 JOURNAL_HEADER_NONE;
}

/* A transaction begins now at the latest; look: at X, or NULL. */
static void note_quiet(struct database *db, const struct main_look *look)
{
	db->journal.quiet = look != NULL && database_main_as_remembered(db, look);
	db->journal.unsure = db->time_unsure;
}

/* Whether its header is the one that was synced last. */
static bool is_kept(struct database *db)
{
	uint8_t head[JOURNAL_HEADER_LEN];

	return db->journal.have_head && database_journal_head(db, head) &&
	       memcmp(db->journal.head, head, sizeof(head)) == 0;
}

void database_journal_opening(struct database *db, bool writable)
{
	struct journal_state *journal = &db->journal;
	bool was_quiet = journal->quiet;
	bool was_unsure = journal->unsure;
	struct main_look look;

	if (!db->loaded)
		return;
	if (writable)
		journal->found = database_journal_state(db) == JOURNAL_HEADER_VALID;
	/* Others look at it too, while its transaction is under way. */
	if (is_kept(db))
		return;
	journal->have_head = false;
	note_quiet(db, database_look_at_main(db, &look) ? &look : NULL);
	if (!writable) {
		journal->quiet &= was_quiet;
		journal->unsure |= was_unsure;
	}
}

bool database_journal_hot(struct database *db)
{
	uint8_t head[JOURNAL_HEADER_LEN];
	struct journal_header header;
	int fd CLEANUP_FD = database_open_file(db, DATABASE_JOURNAL, O_RDONLY);

	return fd >= 0 && file_pread(fd, head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
	       journal_header_parse(head, &header) == JOURNAL_HEADER_VALID;
}

bool database_journal_began_quiet(struct database *db)
{
	return is_kept(db) && db->journal.quiet && !db->journal.unsure;
}

void database_journal_syncing(struct database *db, bool begins)
{
	struct journal_state *journal = &db->journal;

	journal->synced = database_look_at_main(db, &journal->main);
	if (begins)
		note_quiet(db, journal->synced ? &journal->main : NULL);
}

bool database_journal_dropped(struct database *db)
{
	const struct journal_state *journal = &db->journal;
	struct main_look look;

	return journal->synced && journal->found && catalog_times_fine(db->catalog) &&
	       database_look_at_main(db, &look) && look.size == journal->main.size &&
	       look.mtime_ns == journal->main.mtime_ns && journal_has_super(journal->fd);
}

/* Whether a page of the journal is another one in the database. */
static bool differs(const struct database *db, struct journal_reader *journal, uint8_t *page)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	uint32_t page_size = journal->first.page_size;
	struct journal_record record;

	while (journal_reader_next(journal, &record, &ignored) == 0) {
		ssize_t n;

		if (record.pgno == 0 || record.pgno > journal->first.n_pages)
			continue;
		n = file_pread(db->main_fd, page, page_size, (off_t)(record.pgno - 1) * page_size);
		if (n < 0)
			return false;
		if (n < (ssize_t)page_size || memcmp(record.page, page, page_size) != 0)
			return true;
	}
	return false;
}

bool database_journal_refusable(struct database *db)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	uint8_t *buffer = catalog_buffer_get(db->catalog);
	uint8_t *page CLEANUP_FREE = malloc(PAGE_SIZE_MAX);
	struct journal_reader journal;
	uint8_t bytes[PAGE_HEADER_LEN];
	struct page_header header;
	int fd = database_journal_fd(db);
	bool refusable;

	/* An encrypted page that is rolled back is not what it was either. */
	refusable = fd >= 0 && page != NULL && buffer != NULL &&
		    file_pread(db->main_fd, bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes) &&
		    page_header_parse(bytes, &header) &&
		    journal_reader_init(&journal, fd, NULL, buffer, CATALOG_BUFFER_LEN,
					&ignored) == 0 &&
		    !journal_has_super(fd) && differs(db, &journal, page);
	catalog_buffer_put(db->catalog, buffer);
	return refusable;
}

int database_journal_page(struct database *db, uint32_t pgno, uint64_t hash, uint8_t *page,
			  struct error *err)
{
	uint32_t page_size = db->log.extent.page_size;
	uint8_t *buffer = catalog_buffer_get(db->catalog);
	const uint8_t *kept = db->journal.have_head ? db->journal.head : NULL;
	struct journal_reader reader = { 0 };
	struct journal_record record;
	int fd = database_journal_fd(db);
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
	catalog_buffer_put(db->catalog, buffer);
	return r;
}
