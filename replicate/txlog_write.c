/* SPDX-License-Identifier: MIT */
#include "replicate/txlog.h"

#include "base/bytes.h"
#include "base/file.h"
#include "replicate/txlog_internal.h"

#include <errno.h>

/* A record under construction is written early beyond this many bytes. */
#define SPILL_LEN (4u << 20)

/* Room is taken on the disk in steps of this many bytes. */
#define RESERVE_STEP (1u << 20)

/* With more than that it is worth giving some back. */
#define RESERVE_KEPT (4 * RESERVE_STEP)

/* The disk is to begin with what was written in runs of this many bytes. */
#define WRITE_OUT_STEP (4u << 20)

/* Gives back the room behind the published end. */
static void unreserve(struct txlog *log)
{
	if (log->reserved != 0 && log->fd >= 0 &&
	    ftruncate(log->fd, (off_t)txlog_last(log).end) < 0) {
		/* It stays taken for as long as the file is there. */
	}
	log->reserved = 0;
}

void txlog_idle(struct txlog *log)
{
	unreserve(log);
	if (log->fd >= 0)
		close(log->fd);
	if (log->index_fd >= 0)
		close(log->index_fd);
	log->fd = -1;
	log->index_fd = -1;
}

static int write_failed(int r, struct error *err)
{
	error_set_errno(err, -r, "cannot write the transaction log");
	return error_room(err);
}

static int open_last(struct txlog *log, struct error *err)
{
	struct txlog_file file;

	if (log->fd >= 0)
		return 0;
	file = txlog_last(log);
	log->fd = txlog_file_open(log, &file, ".log", O_WRONLY);
	if (log->fd < 0) {
		int code = -log->fd;

		log->fd = -1;
		return error_set_errno(err, code, "cannot open the transaction log");
	}
	log->index_fd = txlog_file_open(log, &file, ".idx", O_WRONLY | O_CREAT | O_APPEND);
	if (log->index_fd < 0)
		log->index_fd = -1; /* only a hint: reading works without */
	log->indexed = 0;
	log->written_out = file.end;
	return 0;
}

/* Makes file, holding only its header, the last one. */
static int add_file(struct txlog *log, struct txlog_file *file, struct error *err)
{
	uint8_t bytes[LOG_HEADER_LEN];
	struct txlog_file *files;
	int fd CLEANUP_FD = txlog_file_open(log, file, ".log", O_WRONLY | O_CREAT | O_EXCL);
	int r;

	if (fd < 0) {
		error_set_errno(err, -fd, "cannot create a file of the transaction log");
		return error_room(err);
	}
	log_header_format(&log->head, bytes);
	r = file_pwrite(fd, bytes, sizeof(bytes), 0);
	if (r < 0) {
		txlog_file_remove(log, file);
		return write_failed(r, err);
	}
	file->end = sizeof(bytes);
	pthread_mutex_lock(&log->mutex);
	files = realloc(log->files, (log->n_files + 1) * sizeof(*files));
	if (files != NULL) {
		log->files = files;
		files[log->n_files++] = *file;
	}
	pthread_mutex_unlock(&log->mutex);
	if (files == NULL) {
		txlog_file_remove(log, file);
		return error_set(err, ENOMEM, "out of memory");
	}
	txlog_idle(log);
	log->next_number = file->number + 1;
	log->dir_dirty = true;
	return 0;
}

/* Begins a file at the published position; the one before must be durable first. */
static int next_file(struct txlog *log, struct error *err)
{
	struct txlog_file file = {
		.number = log->next_number,
		.base = log->position,
		.extent = log->extent,
		.base_time_us = log->time_us,
	};
	int r = log->n_published != log->n_synced ? txlog_sync(log, err) : 0;

	if (r < 0)
		return r;
	/* While the file it is in is the last one; its room is the next one's. */
	unreserve(log);
	log->head.base = log->position;
	log->head.extent = log->extent;
	log->head.time_us = log->time_us;
	log->head.mark = log->mark;
	return add_file(log, &file, err);
}

/* Takes the last file back, which nobody has seen a record of. */
static void remove_last(struct txlog *log)
{
	struct txlog_file file = txlog_last(log);

	txlog_idle(log);
	pthread_mutex_lock(&log->mutex);
	log->n_files--;
	pthread_mutex_unlock(&log->mutex);
	txlog_file_remove(log, &file);
}

/* What a generation begins with, and what is put back when it cannot. */
struct beginning {
	struct log_header head;
	struct position position;
	struct extent extent;
	int64_t time_us;
	struct wal_mark mark;
};

static void set_beginning(struct txlog *log, const struct beginning *beginning)
{
	pthread_mutex_lock(&log->mutex);
	log->head = beginning->head;
	log->position = beginning->position;
	log->extent = beginning->extent;
	log->time_us = beginning->time_us;
	log->mark = beginning->mark;
	pthread_mutex_unlock(&log->mutex);
}

int txlog_begin_generation(struct txlog *log, const struct log_header *head, struct error *err)
{
	struct beginning before = { log->head, log->position, log->extent, log->time_us, log->mark };
	struct beginning after = { *head, head->base, head->extent,
				   MAX(head->time_us, log->time_us), head->mark };
	bool new_generation = log->new_generation;
	bool sync_failed = log->sync_failed;
	uint64_t n_synced = log->n_synced;
	int r;

	txlog_discard(log);
	/* A file that was given up is not synced: that could seem to succeed. */
	if (new_generation)
		log->n_synced = log->n_published;
	set_beginning(log, &after);
	r = next_file(log, err);
	if (r == 0) {
		log->n_published++;
		log->new_generation = false;
		log->sync_failed = false;
		r = txlog_sync(log, err);
		if (r < 0) {
			remove_last(log);
			log->n_published--;
		}
	}
	if (r < 0) {
		set_beginning(log, &before);
		/* Unless a sync has just failed, too. */
		log->new_generation |= new_generation;
		log->sync_failed |= sync_failed;
		log->n_synced = n_synced;
	}
	txlog_discard(log);
	return r;
}

void txlog_discard(struct txlog *log)
{
	if ((log->spilled != 0 || log->overhang) && log->fd >= 0 &&
	    ftruncate(log->fd, (off_t)txlog_last(log).end) < 0) {
		/* What is left behind the end is cut off when the log is opened. */
	}
	if (log->spilled != 0 || log->overhang)
		log->reserved = 0;
	log->spilled = 0;
	log->overhang = false;
	log->open.txid = 0;
	buf_reset(&log->pending);
	log->next = log->position;
	log->next_extent = log->extent;
	log->next_time_us = log->time_us;
	log->next_mark = log->mark;
}

void txlog_begin(struct txlog *log, const struct record_header *header)
{
	log->open = *header;
	log->open.txid = log->next.txid + 1;
	log->open.before = log->next_extent;
	log->open.checksum_before = log->next.checksum;
	log->open.time_us = MAX(header->time_us, log->next_time_us);
	log->open.n_entries = 0;
	log->record_at = log->spilled + log->pending.len;
	hash_stream_reset(log->hash);
}

/*
 * Whoever needs a sync, or the next file, holds up commits for as long as that takes:
 * the disk begins with what there is meanwhile.
 */
static void begin_write_out(struct txlog *log)
{
	uint64_t end = txlog_last(log).end + log->spilled;

	if (end < log->written_out + WRITE_OUT_STEP)
		return;
	(void)!sync_file_range(log->fd, (off_t)log->written_out, (off_t)(end - log->written_out),
			       SYNC_FILE_RANGE_WRITE);
	log->written_out = end;
}

/* Writes pending behind what was spilled before. */
static int spill(struct txlog *log, struct error *err)
{
	int r = open_last(log, err);

	if (r < 0)
		return r;
	r = file_pwrite(log->fd, log->pending.data, log->pending.len,
			(off_t)(txlog_last(log).end + log->spilled));
	if (r < 0) {
		log->overhang = true;
		return write_failed(r, err);
	}
	log->spilled += log->pending.len;
	buf_reset(&log->pending);
	begin_write_out(log);
	return 0;
}

/* Takes the room from the published end up to upto. 0 or -errno. */
static int take_room(struct txlog *log, uint64_t upto)
{
	uint64_t end = txlog_last(log).end;

	if (fallocate(log->fd, FALLOC_FL_KEEP_SIZE, (off_t)end, (off_t)(upto - end)) < 0)
		return -errno;
	log->reserved = upto;
	return 0;
}

int txlog_reserve(struct txlog *log, uint64_t len, struct error *err)
{
	uint64_t end = txlog_last(log).end;
	uint64_t had = log->reserved;
	int r = open_last(log, err);

	if (r < 0 || had >= end + len)
		return r;
	r = take_room(log, end + len + RESERVE_STEP);
	if (r == -ENOSPC)
		r = take_room(log, end + len);
	if (r == 0 || r == -EOPNOTSUPP || r == -ENOSYS)
		return 0;
	error_set_errno(err, -r, "no room for the transaction log");
	/* It may have taken what there was; what others were promised stays theirs. */
	log->reserved = end + len;
	unreserve(log);
	if (had > end)
		(void)!take_room(log, had);
	return error_room(err);
}

void txlog_unreserve(struct txlog *log)
{
	if (log->reserved > txlog_last(log).end + RESERVE_KEPT)
		unreserve(log);
}

static int fail_record(struct txlog *log, int r)
{
	txlog_discard(log);
	return r;
}

int txlog_add(struct txlog *log, const struct record_entry *entry, const void *data,
	      struct error *err)
{
	size_t len = RECORD_ENTRY_LEN + entry->data_len;
	size_t extra = log->open.n_entries == 0 ? RECORD_HEADER_LEN : 0;
	uint8_t *to;
	int r;

	if (log->pending.len > SPILL_LEN) {
		r = spill(log, err);
		if (r < 0)
			return fail_record(log, r);
	}
	to = buf_extend(&log->pending, extra + len);
	if (to == NULL)
		return fail_record(log, error_set(err, ENOMEM, "out of memory"));
	memset(to, 0, extra); /* the header is filled in by txlog_end() */
	to += extra;
	record_entry_format(entry, to);
	if (entry->data_len != 0)
		memcpy(to + RECORD_ENTRY_LEN, data, entry->data_len);
	hash_stream_update(log->hash, to, len);
	log->open.n_entries++;
	return 0;
}

/* Puts an index point when the last one is far behind. Failing is harmless. */
static void index_record(struct txlog *log, uint64_t offset)
{
	struct txlog_index_entry entry = { log->open.txid, offset, log->open.time_us };
	uint8_t bytes[TXLOG_INDEX_ENTRY_LEN];
	ssize_t n;

	if (log->index_fd < 0 || offset < log->indexed + TXLOG_INDEX_STEP)
		return;
	txlog_index_format(&entry, bytes);
	n = write(log->index_fd, bytes, sizeof(bytes));
	if (n == (ssize_t)sizeof(bytes))
		log->indexed = offset;
}

int txlog_end(struct txlog *log, uint32_t flags, uint64_t checksum_after, struct error *err)
{
	uint8_t bytes[RECORD_HEADER_LEN];
	int r = 0;

	if (log->open.n_entries == 0 && buf_extend(&log->pending, RECORD_HEADER_LEN) == NULL)
		return fail_record(log, error_set(err, ENOMEM, "out of memory"));
	log->open.flags = flags;
	log->open.checksum_after = checksum_after;
	log->open.size = log->spilled + log->pending.len - log->record_at;
	log->open.entries_hash = hash_stream_value(log->hash);
	record_header_format(&log->open, bytes);
	if (log->record_at >= log->spilled)
		memcpy(log->pending.data + (log->record_at - log->spilled), bytes, sizeof(bytes));
	else
		r = file_pwrite(log->fd, bytes, sizeof(bytes),
				(off_t)(txlog_last(log).end + log->record_at));
	if (r < 0)
		return fail_record(log, write_failed(r, err));
	log->next.txid = log->open.txid;
	log->next.checksum = checksum_after;
	log->next_extent = log->open.after;
	log->next_time_us = log->open.time_us;
	log->next_mark = log->open.mark;
	log->open.txid = 0;
	return 0;
}

static void publish(struct txlog *log)
{
	pthread_mutex_lock(&log->mutex);
	log->files[log->n_files - 1].end += log->spilled;
	log->position = log->next;
	log->extent = log->next_extent;
	log->time_us = log->next_time_us;
	log->mark = log->next_mark;
	pthread_mutex_unlock(&log->mutex);
	log->spilled = 0;
	log->n_published++;
}

int txlog_flush(struct txlog *log, struct error *err)
{
	uint64_t at;
	int r = 0;

	if (log->pending.len == 0 && log->spilled == 0)
		return 0;
	if (log->spilled == 0 && txlog_last(log).end >= log->file_limit)
		r = next_file(log, err);
	if (r == 0)
		r = open_last(log, err);
	at = txlog_last(log).end;
	/* The index point stands before the record: one too many is seen and dropped. */
	if (r == 0 && log->spilled == 0) {
		log->open.txid = log->position.txid + 1;
		log->open.time_us = log->next_time_us;
		index_record(log, at);
		log->open.txid = 0;
	}
	if (r == 0 && log->pending.len != 0)
		r = spill(log, err);
	if (r < 0)
		return fail_record(log, r);
	publish(log);
	return 0;
}

static int sync_dir(struct txlog *log, struct error *err)
{
	int fd CLEANUP_FD = -1;

	if (!log->dir_dirty)
		return 0;
	fd = openat(log->root_fd, log->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return error_set_errno(err, errno, "cannot sync the log folder");
	log->dir_dirty = false;
	return 0;
}

int txlog_sync_begin(struct txlog *log, struct txlog_sync_pending *ret_pending, struct error *err)
{
	int r;

	if (log->n_published == log->n_synced)
		return 1;
	if (log->sync_failed)
		return error_set(err, EIO, "the transaction log could not be synced: another "
				 "file is to follow");
	r = open_last(log, err);
	if (r == 0)
		r = sync_dir(log, err);
	if (r < 0)
		return r;
	ret_pending->n_published = log->n_published;
	ret_pending->fd = fcntl(log->fd, F_DUPFD_CLOEXEC, 0);
	return ret_pending->fd < 0 ? error_set_errno(err, errno, "cannot sync the log") : 0;
}

int txlog_sync_end(struct txlog *log, struct txlog_sync_pending *pending, int result,
		   struct error *err)
{
	close(pending->fd);
	if (result < 0) {
		/* Another try may report success for pages that are gone. */
		log->new_generation = true;
		log->sync_failed = true;
		return error_set_errno(err, -result, "cannot sync the transaction log");
	}
	log->n_synced = MAX(log->n_synced, pending->n_published);
	return 0;
}

int txlog_sync(struct txlog *log, struct error *err)
{
	struct txlog_sync_pending pending;
	int r = txlog_sync_begin(log, &pending, err);

	if (r != 0)
		return r < 0 ? r : 0;
	return txlog_sync_end(log, &pending, fdatasync(pending.fd) < 0 ? -errno : 0, err);
}
