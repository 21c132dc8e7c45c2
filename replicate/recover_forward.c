/* SPDX-License-Identifier: MIT */
#include "replicate/recover_forward.h"

#include "base/file.h"
#include "replicate/delta.h"
#include "replicate/page.h"
#include "replicate/view.h"

#include <errno.h>

/* The pages that the missing transactions leave, in memory until they are written. */
struct forward {
	struct view view;
	struct walmap index; /* pgno -> 1 + place in pages */
	struct buf pages;
	struct txlog_place from; /* the first missing transaction */
	struct extent extent;
};

static void forward_done(struct forward *forward)
{
	view_done(&forward->view);
	walmap_done(&forward->index);
	buf_done(&forward->pages);
}

struct search {
	struct forward *forward;
	uint64_t checksum;
};

/*
 * Looks for the record that builds on the content there is. A crash takes what
 * came after the last complete checkpoint, for which the database was synced; a
 * content that is older is there on purpose. 1 = found, 2 = there is none.
 */
static int match_record(void *arg, const struct txlog_place *place,
			const struct record_header *header, struct error *err)
{
	struct search *search = arg;
	const struct wal_mark *last = &search->forward->view.db->log.mark;
	struct extent have = search->forward->view.extent;

	if (header->mark.frame == 0 || header->mark.salt1 != last->salt1 ||
	    header->mark.salt2 != last->salt2)
		return 2;
	if (header->checksum_before != search->checksum ||
	    header->before.n_pages != have.n_pages || header->before.page_size != have.page_size)
		return 0;
	search->forward->from = *place;
	return 1;
}

/* The page as it is so far; loads it from the view at its first use. */
static int page_of(struct forward *forward, uint32_t pgno, bool existed, uint8_t **ret_page,
		   struct error *err)
{
	const struct walmap_entry *entry = walmap_find(&forward->index, pgno);
	uint32_t page_size = forward->extent.page_size;
	int r;

	if (entry == NULL) {
		if (walmap_reserve(&forward->index, 1) < 0 ||
		    buf_extend(&forward->pages, page_size) == NULL)
			return error_set(err, ENOMEM, "out of memory");
		walmap_put(&forward->index, pgno, (uint32_t)(forward->pages.len / page_size), 0);
		*ret_page = forward->pages.data + forward->pages.len - page_size;
		if (existed) {
			r = view_read(&forward->view, pgno, err);
			if (r != 0)
				return r < 0 ? r : error_set(err, EIO, "a page changed while read");
			memcpy(*ret_page, forward->view.page, page_size);
		}
	} else {
		*ret_page = forward->pages.data + (size_t)(entry->frame - 1) * page_size;
	}
	if (!existed)
		memset(*ret_page, 0, page_size);
	return 0;
}

static int apply_record(struct forward *forward, struct record_reader *reader, struct error *err)
{
	struct extent before = forward->extent;
	struct record_entry entry;
	const uint8_t *data;
	uint8_t *page = NULL;
	int r;

	if (reader->header.after.page_size != before.page_size)
		return error_set(err, EBADMSG, "transaction %llu: another page size",
				 (unsigned long long)reader->header.txid);
	forward->extent = reader->header.after;
	while ((r = record_reader_entry(reader, &entry, &data, err)) == 0) {
		if (entry.encoding == RECORD_CUT)
			continue;
		r = page_of(forward, entry.pgno, entry.pgno <= before.n_pages, &page, err);
		if (r < 0)
			return r;
		if (entry.encoding == RECORD_WHOLE)
			memcpy(page, data, entry.data_len);
		else
			delta_apply(data, entry.data_len, page);
		if (page_hash(entry.pgno, page, before.page_size) != entry.hash)
			return error_set(err, EBADMSG, "transaction %llu does not fit page %u",
					 (unsigned long long)reader->header.txid, entry.pgno);
	}
	return r < 0 ? r : 0;
}

static int apply_records(struct forward *forward, struct error *err)
{
	struct txlog_reader reader = { .fd = -1 };
	int r = txlog_reader_seek(&reader, &forward->view.db->log, &forward->from, err);

	forward->extent = forward->view.extent;
	while (r == 0) {
		r = txlog_reader_next(&reader, err);
		if (r == 2) {
			r = 0;
			continue;
		}
		if (r == 0)
			r = apply_record(forward, &reader.records, err);
		else if (r == 1)
			break;
	}
	txlog_reader_close(&reader);
	return r == 1 ? 0 : r;
}

static int by_number(const void *a, const void *b)
{
	const struct walmap_entry *x = a;
	const struct walmap_entry *y = b;

	return (x->pgno > y->pgno) - (x->pgno < y->pgno);
}

/* Makes fd, which is X-wal, an empty WAL; whoever may use X may use that. */
static int begin_wal(const struct forward *forward, int fd, struct wal_header *header,
		     struct error *err)
{
	uint8_t bytes[WAL_HEADER_LEN];
	struct stat st;
	uint64_t salts;
	int r = id_random_u64(&salts, err);

	if (r < 0)
		return r;
	*header = (struct wal_header){
		.page_size = forward->extent.page_size,
		.salt1 = (uint32_t)salts,
		.salt2 = (uint32_t)(salts >> 32),
	};
	wal_header_format(header, bytes);
	if (fstat(forward->view.db->main_fd, &st) < 0 || fchown(fd, st.st_uid, st.st_gid) < 0 ||
	    fchmod(fd, st.st_mode & 0777) < 0 || ftruncate(fd, 0) < 0)
		return error_set_errno(err, errno, "cannot create the -wal");
	r = file_pwrite(fd, bytes, sizeof(bytes), 0);
	return r < 0 ? error_set_errno(err, -r, "cannot write the -wal") : 0;
}

/* The -wal to append to: the existing one where it ends validly, else a new one. */
static int open_wal(struct forward *forward, struct wal_header *header, struct wal_sum *ret_sum,
		    struct error *err)
{
	uint8_t bytes[WAL_HEADER_LEN];
	int fd = database_open_file(forward->view.db, DATABASE_WAL, O_RDWR | O_CREAT);
	int r;

	if (fd < 0)
		return error_set_errno(err, -fd, "cannot open the -wal");
	if (forward->view.target != 0 &&
	    file_pread(fd, bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes) &&
	    wal_header_parse(bytes, sizeof(bytes), header) == WAL_HEADER_VALID) {
		*ret_sum = wal_frame_parse(forward->view.end.last_head).sum;
		return fd;
	}
	r = begin_wal(forward, fd, header, err);
	if (r < 0) {
		close(fd);
		return r;
	}
	*ret_sum = header->sum;
	return fd;
}

/* Makes fd, which is X-wal, and its name durable. 0 or -errno. */
static int sync_wal(struct database *db, int fd)
{
	const char *slash = strrchr(db->name, '/');
	char *folder CLEANUP_FREE = slash == NULL ? strdup("") :
						    strndup(db->name, (size_t)(slash - db->name));
	int folder_fd CLEANUP_FD = -1;

	if (folder == NULL)
		return -ENOMEM;
	if (fsync(fd) < 0)
		return -errno;
	folder_fd = file_open_beneath(database_options(db)->root_fd, folder,
				      O_RDONLY | O_DIRECTORY, 0);
	return folder_fd < 0 ? folder_fd : file_sync_dir(folder_fd);
}

/* Appends all pages as one transaction and makes it durable. */
static int write_wal(struct forward *forward, struct wal_mark *ret_mark, struct error *err)
{
	struct walmap_entry *entries = forward->index.slots;
	struct database *db = forward->view.db;
	uint32_t page_size = forward->extent.page_size;
	uint32_t frame = forward->view.target;
	struct wal_header header;
	struct wal_sum sum;
	uint8_t head[WAL_FRAME_HEADER_LEN];
	uint32_t n_left = 0;
	int r;
	int fd CLEANUP_FD = open_wal(forward, &header, &sum, err);

	if (fd < 0)
		return fd;
	qsort(entries, forward->index.n_slots, sizeof(*entries), by_number);
	for (uint32_t i = 0; i < forward->index.n_slots; i++)
		n_left += entries[i].pgno != 0 && entries[i].pgno <= forward->extent.n_pages;
	for (uint32_t i = 0; i < forward->index.n_slots; i++) {
		const uint8_t *page = forward->pages.data + (size_t)(entries[i].frame - 1) * page_size;
		uint64_t off;

		if (entries[i].pgno == 0 || entries[i].pgno > forward->extent.n_pages)
			continue;
		off = wal_frame_offset(page_size, ++frame);
		wal_frame_format(&header, &sum, entries[i].pgno,
				 --n_left == 0 ? forward->extent.n_pages : 0, page, head);
		r = file_pwrite(fd, head, sizeof(head), (off_t)off);
		if (r == 0)
			r = file_pwrite(fd, page, page_size, (off_t)(off + sizeof(head)));
		if (r < 0)
			return error_set_errno(err, -r, "cannot write the -wal");
	}
	r = sync_wal(db, fd);
	if (r < 0)
		return error_set_errno(err, -r, "cannot sync the -wal");
	*ret_mark = (struct wal_mark){ header.salt1, header.salt2, frame, sum.s0, sum.s1 };
	return 0;
}

int recover_forward(struct database *db, struct wal_mark *ret_mark, struct error *err)
{
	struct forward forward CLEANUP(forward_done) = { 0 };
	struct search search = { .forward = &forward };
	int r = view_init(&forward.view, db, err);

	/* Only a WAL loses its tail: other transactions were durable before we saw them. */
	if (r < 0 || db->log.mark.frame == 0)
		return r < 0 ? r : 1;
	/* What SQLite's recovery makes of the WAL counts, not what was captured of it. */
	wal_tail_reset(&db->tail);
	r = view_take(&forward.view, err);
	if (r != 0)
		return r;
	search.checksum = view_checksum(&forward.view);
	if (search.checksum == db->log.position.checksum)
		return 1;
	r = txlog_each_backward(&db->log, match_record, &search, err);
	if (r != 1)
		return r < 0 ? r : 1;
	r = apply_records(&forward, err);
	if (r == 0)
		r = write_wal(&forward, ret_mark, err);
	if (r == 0)
		log_warn("database=%s a power loss took its latest transactions; restored %s %llu",
			 db->name, "from the log up to transaction",
			 (unsigned long long)db->log.position.txid);
	wal_tail_reset(&db->tail);
	wal_tail_close_files(&db->tail);
	database_open_wal(db);
	return r;
}
