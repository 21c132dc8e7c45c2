/* SPDX-License-Identifier: MIT */
#include "replicate/candidates.h"

#include "base/bytes.h"
#include "base/file.h"
#include "base/hook.h"
#include "replicate/database_journal.h"
#include "replicate/page.h"

#include <errno.h>

int candidates_init(struct candidates *candidates, struct database *db, struct error *err)
{
	*candidates = (struct candidates){
		.db = db,
		.before = db->log.extent,
		.buffer = catalog_buffer_get(db->catalog),
	};
	if (candidates->buffer == NULL)
		return error_set(err, ENOMEM, "out of memory");
	candidates->told = written_take(&db->written, &candidates->ranges,
					&candidates->n_ranges) &&
			   db->written_complete;
	return 0;
}

void candidates_done(struct candidates *candidates)
{
	free(candidates->ranges);
	free(candidates->list);
	if (candidates->buffer != NULL)
		catalog_buffer_put(candidates->db->catalog, candidates->buffer);
}

void candidates_put_back(struct candidates *candidates)
{
	candidates->db->written_complete &= candidates->told;
	for (size_t i = 0; i < candidates->n_ranges; i++)
		written_note(&candidates->db->written, candidates->ranges[i].off,
			     candidates->ranges[i].end - candidates->ranges[i].off);
}

static int push(struct candidates *candidates, uint32_t pgno, uint64_t before_at, struct error *err)
{
	if (candidates->n == candidates->n_room) {
		size_t n_room = MAX(2 * candidates->n_room, (size_t)64);
		struct candidate *more = realloc(candidates->list, n_room * sizeof(*more));

		if (more == NULL)
			return error_set(err, ENOMEM, "out of memory");
		candidates->list = more;
		candidates->n_room = n_room;
	}
	candidates->list[candidates->n++] =
		(struct candidate){ .pgno = pgno, .before_at = before_at };
	return 0;
}

/*
 * Sets the size after the transaction. 1: page 1 does not fit what is known, so
 * that only the whole tells.
 */
static int read_extent(struct candidates *candidates, struct error *err)
{
	struct database *db = candidates->db;
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
	candidates->after = (struct extent){ .page_size = candidates->before.page_size };
	if (n == 0) /* its first transaction was rolled back */
		return 0;
	if (!readable && !candidates->told)
		return 1;
	if (readable)
		candidates->after.page_size = header.page_size;
	else if (candidates->has_journal)
		candidates->after.page_size = candidates->journal.first.page_size;
	if (!page_size_valid(candidates->after.page_size) ||
	    (candidates->before.n_pages != 0 &&
	     candidates->after.page_size != candidates->before.page_size) ||
	    (candidates->has_journal &&
	     candidates->journal.first.page_size != candidates->after.page_size))
		return 1;
	candidates->after.n_pages =
		(uint32_t)MIN(((uint64_t)st.st_size + candidates->after.page_size - 1) /
				      candidates->after.page_size,
			      (uint64_t)PAGE_NUMBER_MAX);
	/* What says that it is larger than its file is damaged, to SQLite too. */
	if (header.n_pages != 0)
		candidates->after.n_pages = MIN(header.n_pages, candidates->after.n_pages);
	return 0;
}

static int by_offset(const void *a, const void *b)
{
	const struct written_range *x = a;
	const struct written_range *y = b;

	return (x->off > y->off) - (x->off < y->off);
}

/* The pages that were written, each once: the ranges may overlap, and be huge. */
static int push_written(struct candidates *candidates, struct error *err)
{
	uint32_t page_size = candidates->after.page_size;
	uint64_t next = 1;
	int r = 0;

	if (candidates->n_ranges != 0)
		qsort(candidates->ranges, candidates->n_ranges, sizeof(*candidates->ranges),
		      by_offset);
	for (size_t i = 0; r == 0 && i < candidates->n_ranges; i++) {
		const struct written_range *range = &candidates->ranges[i];
		uint64_t first = range->off / page_size + 1;
		uint64_t last = (range->end + page_size - 1) / page_size;

		last = MIN(last, (uint64_t)candidates->after.n_pages);
		for (uint64_t pgno = MAX(first, next); r == 0 && pgno <= last; pgno++)
			r = push(candidates, (uint32_t)pgno, 0, err);
		next = MAX(next, last + 1);
	}
	return r;
}

/* The second term. New pages are logged whether they were written or not. */
static int push_new(struct candidates *candidates, struct error *err)
{
	uint32_t n_before = candidates->before.n_pages;
	int r = 0;

	if (!candidates->told && hook_enabled("no-new-pages"))
		return 0;
	if (!candidates->told && candidates->has_journal)
		n_before = MIN(n_before, candidates->journal.first.n_pages);
	for (uint32_t pgno = n_before + 1;
	     r == 0 && pgno <= candidates->after.n_pages && pgno != 0; pgno++)
		r = push(candidates, pgno, 0, err);
	return r;
}

/* The third term, of one journaled page. */
static int push_leaves(struct candidates *candidates, const struct journal_record *record,
		       uint32_t n_pages, struct error *err)
{
	uint32_t n = journal_trunk_n_leaves(record->page, candidates->after.page_size, n_pages);
	int r = 0;

	if (hook_enabled("no-freelist-leaves"))
		return 0;
	for (uint32_t i = 0; r == 0 && i < n; i++)
		r = push(candidates,
			 be32_get(record->page + JOURNAL_TRUNK_LEAVES + 4 * (size_t)i), 0, err);
	return r;
}

/* Whether nothing can have been written unseen before the transaction. */
static bool began_quiet(struct candidates *candidates)
{
	return candidates->told || candidates->before.n_pages == 0 ||
	       candidates->db->journal.quiet || hook_enabled("no-quiet-check");
}

/* Whether page 1 was, before the transaction, what we captured last. */
static bool first_page_known(struct candidates *candidates, const uint8_t *page)
{
	return hook_enabled("no-first-page-check") ||
	       page_hash(1, page, candidates->after.page_size) ==
		       hashfile_get(&candidates->db->hashes, 1);
}

/*
 * Of a transaction that did not journal page 1, and so has not changed it: whether
 * it is what we captured last, and the file's time tells of other writes. 0; 1: not
 * so; -errno.
 */
static int check_first_page(struct candidates *candidates, struct error *err)
{
	uint8_t *page = candidates->buffer;
	int r;

	if (candidates->db->journal.unsure)
		return 1;
	r = database_read_main(candidates->db, candidates->after.page_size, 1, page, err);
	if (r < 0)
		return r;
	return first_page_known(candidates, page) ? 0 : 1;
}

/*
 * Reads the journal: its pages' versions before and, unless every write is known,
 * the first and the third term. 1: something was committed unseen. A copy of page 1
 * counts only if it is this transaction's: one that is left of an older, unseen
 * transaction is the page that we know.
 */
static int push_journal(struct candidates *candidates, struct error *err)
{
	uint32_t n_pages = MAX(candidates->before.n_pages, candidates->journal.first.n_pages);
	uint32_t lock_page = page_lock_number(candidates->after.page_size);
	bool left_out = !candidates->told && hook_enabled("no-journal-pages");
	bool first_page_seen = candidates->told || candidates->before.n_pages == 0;
	int r = began_quiet(candidates) ? 0 : 1;

	if (r != 0)
		return r;
	while (r == 0) {
		struct journal_record record;

		r = journal_reader_next(&candidates->journal, &record, err);
		if (r != 0)
			break;
		if (record.pgno == 0 || record.pgno > n_pages || record.pgno == lock_page)
			continue;
		if (record.pgno == 1 && record.own && !first_page_seen) {
			first_page_seen = true;
			if (!first_page_known(candidates, record.page))
				return 1;
		}
		if (!left_out)
			r = push(candidates, record.pgno, record.off, err);
		if (r == 0 && !candidates->told)
			r = push_leaves(candidates, &record, n_pages, err);
	}
	if (r > 0 && !first_page_seen)
		return check_first_page(candidates, err);
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

static void sort_candidates(struct candidates *candidates)
{
	struct candidate *all = candidates->list;
	size_t kept = 0;

	if (candidates->n == 0)
		return;
	qsort(all, candidates->n, sizeof(*all), by_page);
	for (size_t i = 1; i < candidates->n; i++) {
		if (all[i].pgno != all[kept].pgno)
			all[++kept] = all[i];
	}
	candidates->n = kept + 1;
}

int candidates_collect(struct candidates *candidates, const uint8_t *kept, struct error *err)
{
	int fd = database_journal_fd(candidates->db);
	int r = fd < 0 ? 1 :
			 journal_reader_init(&candidates->journal, fd, kept, candidates->buffer,
					     CATALOG_BUFFER_LEN, err);

	candidates->has_journal = r == 0;
	if (r >= 0)
		r = candidates->has_journal || candidates->told ? 0 : 1;
	if (r == 0)
		r = read_extent(candidates, err);
	if (r == 0 && candidates->after.n_pages == 0)
		return 0;
	if (r == 0 && candidates->told)
		r = push_written(candidates, err);
	if (r == 0)
		r = push_new(candidates, err);
	if (r == 0 && candidates->has_journal)
		r = push_journal(candidates, err);
	sort_candidates(candidates);
	return r;
}

const struct candidate *candidates_find(const struct candidates *candidates, uint32_t pgno)
{
	struct candidate key = { .pgno = pgno };
	size_t low = 0;
	size_t high = candidates->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (candidates->list[middle].pgno < key.pgno)
			low = middle + 1;
		else
			high = middle;
	}
	return low < candidates->n && candidates->list[low].pgno == pgno ?
		       &candidates->list[low] :
		       NULL;
}
