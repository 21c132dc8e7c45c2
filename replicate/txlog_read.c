/* SPDX-License-Identifier: MIT */
#include "replicate/txlog.h"

#include "base/file.h"
#include "base/thread.h"
#include "replicate/txlog_internal.h"

#include <errno.h>

#define READ_AHEAD_LEN (256u << 10)

/* Refills the buffer from offset on. Returns the bytes in it or -errno. */
static ssize_t refill(struct txlog_reader *reader)
{
	size_t len = (size_t)MIN((uint64_t)READ_AHEAD_LEN, reader->end - reader->offset);
	ssize_t n;

	if (buf_reserve(&reader->ahead, READ_AHEAD_LEN - MIN(reader->ahead.len, READ_AHEAD_LEN)) < 0)
		return -ENOMEM;
	n = file_pread(reader->fd, reader->ahead.data, len, (off_t)reader->offset);
	reader->ahead.len = n > 0 ? (size_t)n : 0;
	reader->ahead_at = 0;
	return n;
}

static int read_file(struct record_source *source, void *to, size_t len, struct error *err)
{
	struct txlog_reader *reader = (struct txlog_reader *)source;
	size_t done = 0;

	if (reader->offset >= reader->end)
		return 1;
	while (done < len) {
		size_t have = reader->ahead.len - reader->ahead_at;

		if (have == 0) {
			ssize_t n = reader->offset < reader->end ? refill(reader) : 0;

			if (n < 0)
				return error_set_errno(err, (int)-n,
						       "cannot read the transaction log");
			if (n == 0)
				return error_set(err, EBADMSG, "the transaction log is cut off");
			continue;
		}
		have = MIN(have, len - done);
		memcpy((char *)to + done, reader->ahead.data + reader->ahead_at, have);
		reader->ahead_at += have;
		reader->offset += have;
		done += have;
	}
	return 0;
}

void txlog_reader_attach(struct txlog_reader *reader, int fd, uint64_t offset, uint64_t end)
{
	if (reader->fd >= 0)
		close(reader->fd);
	reader->source.read = read_file;
	reader->fd = fd;
	reader->offset = offset;
	reader->end = end;
	buf_reset(&reader->ahead);
	reader->ahead_at = 0;
	reader->records.header.txid = 0;
	reader->records.source = &reader->source;
}

void txlog_reader_close(struct txlog_reader *reader)
{
	if (reader->fd >= 0)
		close(reader->fd);
	reader->fd = -1;
	buf_done(&reader->ahead);
	record_reader_done(&reader->records);
}

/* Opens file at offset (of a record) and reads its head. */
static int open_file(struct txlog_reader *reader, const struct txlog_file *file, uint64_t offset,
		     struct error *err)
{
	uint8_t bytes[LOG_HEADER_LEN];
	int fd = txlog_file_open(reader->log, file, ".log", O_RDONLY);

	if (fd < 0)
		return error_set_errno(err, -fd, "cannot open the transaction log");
	txlog_reader_attach(reader, fd, offset, file->end);
	reader->number = file->number;
	if (file_pread(fd, bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return error_set(err, EBADMSG, "a file of the transaction log is cut off");
	return log_header_parse(bytes, &reader->head, err);
}

uint64_t txlog_index_point(struct txlog *log, const struct txlog_file *file, uint64_t txid)
{
	struct buf index CLEANUP_BUF = { 0 };
	const struct txlog_index_entry *entries;
	uint64_t offset = LOG_HEADER_LEN;

	if (txlog_index_read(log, file, &index) < 0)
		return offset;
	entries = (const struct txlog_index_entry *)index.data;
	for (size_t i = 0; i < index.len / sizeof(*entries) && entries[i].txid <= txid; i++)
		offset = entries[i].offset;
	return offset;
}

int txlog_copy_files(struct txlog *log, struct buf *out, struct error *err)
{
	int r;

	pthread_mutex_lock(&log->mutex);
	r = buf_append(out, log->files, log->n_files * sizeof(*log->files));
	pthread_mutex_unlock(&log->mutex);
	return r < 0 ? error_set(err, ENOMEM, "out of memory") : 0;
}

uint64_t txlog_bytes_behind(struct txlog *log, uint32_t number, uint64_t offset)
{
	uint64_t bytes = 0;

	LOCK_SCOPE(&log->mutex);
	for (size_t i = 0; i < log->n_files; i++) {
		const struct txlog_file *file = &log->files[i];

		if (file->number > number)
			bytes += file->end - LOG_HEADER_LEN;
		else if (file->number == number && file->end > offset)
			bytes += file->end - offset;
	}
	return bytes;
}

/* Copies the file that holds the place behind from; false when none does. */
static bool find_file(struct txlog *log, const struct position *from, struct txlog_file *ret_file)
{
	bool found = false;

	LOCK_SCOPE(&log->mutex);
	for (size_t i = 0; i < log->n_files; i++) {
		const struct txlog_file *file = &log->files[i];

		if (file->base.generation == from->generation && file->base.txid <= from->txid) {
			*ret_file = *file;
			found = true;
		}
	}
	return found;
}

/* Reads on until the record behind from is next. 0, 1 = no such place. */
static int skip_to(struct txlog_reader *reader, const struct position *from, struct error *err)
{
	if (reader->offset == LOG_HEADER_LEN && reader->head.base.txid == from->txid)
		return reader->head.base.checksum == from->checksum ? 0 : 1;
	for (;;) {
		int r = record_reader_next(&reader->records, err);
		const struct record_header *header = &reader->records.header;

		if (r != 0)
			return r;
		if (header->txid == from->txid)
			return header->checksum_after == from->checksum ? 0 : 1;
		if (header->txid == from->txid + 1) {
			struct txlog_place place = {
				.number = reader->number,
				.offset = reader->offset - RECORD_HEADER_LEN,
				.txid = header->txid,
			};

			if (header->checksum_before != from->checksum)
				return 1;
			return txlog_reader_seek(reader, reader->log, &place, err);
		}
		if (header->txid > from->txid)
			return 1;
	}
}

int txlog_reader_open(struct txlog_reader *reader, struct txlog *log, const struct position *from,
		      struct error *err)
{
	struct txlog_file file;
	int r;

	*reader = (struct txlog_reader){ .fd = -1, .log = log };
	if (!find_file(log, from, &file))
		return 1;
	r = record_reader_init(&reader->records, &reader->source, err);
	if (r == 0)
		r = open_file(reader, &file, txlog_index_point(log, &file, from->txid + 1), err);
	if (r == 0)
		r = skip_to(reader, from, err);
	reader->txid = from->txid;
	if (r != 0)
		txlog_reader_close(reader);
	return r;
}

/*
 * Looks for more: a longer file, or the file behind a sealed one. 0, 1 = none,
 * -ESTALE when files in between have been dropped.
 */
static int advance(struct txlog_reader *reader, struct error *err)
{
	struct txlog *log = reader->log;
	struct txlog_file next = { 0 };

	pthread_mutex_lock(&log->mutex);
	for (size_t i = 0; i < log->n_files; i++) {
		const struct txlog_file *file = &log->files[i];

		if (file->number == reader->number && file->end > reader->end) {
			reader->end = file->end;
			pthread_mutex_unlock(&log->mutex);
			return 0;
		}
		if (file->number > reader->number) {
			next = *file;
			break;
		}
	}
	pthread_mutex_unlock(&log->mutex);
	if (next.number == 0)
		return 1;
	if (next.base.generation == reader->head.base.generation &&
	    next.base.txid != reader->txid)
		return error_set(err, ESTALE, "the log holds transactions behind %llu only",
				 (unsigned long long)next.base.txid);
	reader->txid = next.base.txid;
	return open_file(reader, &next, LOG_HEADER_LEN, err);
}

int txlog_reader_next(struct txlog_reader *reader, struct error *err)
{
	uint64_t generation = reader->head.base.generation;
	uint32_t number = reader->number;

	for (;;) {
		int r = record_reader_next(&reader->records, err);

		if (r == 0)
			reader->txid = reader->records.header.txid;
		if (r != 1)
			return r;
		r = advance(reader, err);
		if (r != 0)
			return r;
		if (reader->number != number && reader->head.base.generation != generation)
			return 2;
	}
}

int txlog_reader_seek(struct txlog_reader *reader, struct txlog *log,
		      const struct txlog_place *place, struct error *err)
{
	struct txlog_file file = { 0 };

	pthread_mutex_lock(&log->mutex);
	for (size_t i = 0; i < log->n_files; i++) {
		if (log->files[i].number == place->number)
			file = log->files[i];
	}
	pthread_mutex_unlock(&log->mutex);
	if (file.number == 0)
		return error_set(err, ENOENT, "log file %08x is gone", place->number);
	if (reader->records.hash == NULL) {
		int r = record_reader_init(&reader->records, &reader->source, err);

		if (r < 0)
			return r;
	}
	reader->log = log;
	reader->txid = place->txid - 1;
	return open_file(reader, &file, place->offset, err);
}

/* Collects the places of the records in [offset, end) of fd, in order. */
static int collect_places(int fd, const struct txlog_file *file, uint64_t offset, uint64_t end,
			  struct buf *out, struct error *err)
{
	uint8_t bytes[RECORD_HEADER_LEN];
	struct record_header header;

	while (offset < end) {
		int r = 0;

		if (file_pread(fd, bytes, sizeof(bytes), (off_t)offset) != (ssize_t)sizeof(bytes))
			r = error_set(err, EBADMSG, "log file %08x is cut off", file->number);
		if (r == 0)
			r = record_header_parse(bytes, &header, err);
		if (r != 0)
			return r > 0 ? error_set(err, EBADMSG, "zeros in log file %08x",
						 file->number) : r;
		struct txlog_place place = {
			.number = file->number,
			.offset = offset,
			.size = header.size,
			.generation = file->base.generation,
			.txid = header.txid,
			.time_us = header.time_us,
		};
		if (buf_append(out, &place, sizeof(place)) < 0 ||
		    buf_append(out, &header, sizeof(header)) < 0)
			return error_set(err, ENOMEM, "out of memory");
		offset += header.size;
	}
	return 0;
}

struct placed_header {
	struct txlog_place place;
	struct record_header header;
};

typedef int each_fn(void *arg, const struct txlog_place *place, const struct record_header *header,
		    struct error *err);

/*
 * One stretch between two index points, newest record first. Behind damage no record
 * is found: those before it are what there is, and fn sees by their checksums
 * whether anything is missing.
 */
static int each_in_stretch(int fd, const struct txlog_file *file, uint64_t offset, uint64_t end,
			   each_fn *fn, void *arg, struct error *err)
{
	struct buf places CLEANUP_BUF = { 0 };
	const struct placed_header *items;
	int r = collect_places(fd, file, offset, end, &places, err);

	if (r == -EBADMSG) {
		error_done(err);
		r = 0;
	}
	items = (const struct placed_header *)places.data;
	for (size_t i = places.len / sizeof(*items); r == 0 && i-- > 0;)
		r = fn(arg, &items[i].place, &items[i].header, err);
	return r;
}

static int each_in_file(struct txlog *log, const struct txlog_file *file, each_fn *fn, void *arg,
			struct error *err)
{
	int fd CLEANUP_FD = txlog_file_open(log, file, ".log", O_RDONLY);
	struct buf index CLEANUP_BUF = { 0 };
	const struct txlog_index_entry *entries;
	uint64_t end = file->end;
	int r;

	if (fd < 0)
		return error_set_errno(err, -fd, "cannot open log file %08x", file->number);
	r = txlog_index_read(log, file, &index);
	if (r < 0)
		return error_set(err, -r, "out of memory");
	entries = (const struct txlog_index_entry *)index.data;
	for (size_t i = index.len / sizeof(*entries); r == 0 && i-- > 0;) {
		r = each_in_stretch(fd, file, entries[i].offset, end, fn, arg, err);
		end = entries[i].offset;
	}
	return r != 0 ? r : each_in_stretch(fd, file, LOG_HEADER_LEN, end, fn, arg, err);
}

int txlog_each_backward(struct txlog *log, each_fn *fn, void *arg, struct error *err)
{
	struct buf files CLEANUP_BUF = { 0 };
	const struct txlog_file *items;
	int r = txlog_copy_files(log, &files, err);

	if (r < 0)
		return r;
	items = (const struct txlog_file *)files.data;
	for (size_t i = files.len / sizeof(*items); r == 0 && i-- > 0;)
		r = each_in_file(log, &items[i], fn, arg, err);
	return r;
}
