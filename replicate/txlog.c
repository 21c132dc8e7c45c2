/* SPDX-License-Identifier: MIT */
#include "replicate/txlog.h"

#include "base/bytes.h"
#include "base/file.h"
#include "base/thread.h"
#include "replicate/txlog_internal.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>

/* NULL when out of memory. */
static char *file_path(struct txlog *log, const struct txlog_file *file, const char *suffix)
{
	char *path;

	if (asprintf(&path, "%s/%08" PRIx32 "-%016" PRIx64 "%s", log->path, file->number,
		     file->base.generation, suffix) < 0)
		return NULL;
	return path;
}

int txlog_file_open(struct txlog *log, const struct txlog_file *file, const char *suffix, int flags)
{
	char *path CLEANUP_FREE = file_path(log, file, suffix);
	int fd;

	if (path == NULL)
		return -ENOMEM;
	fd = openat(log->root_fd, path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

static void remove_one(struct txlog *log, const struct txlog_file *file, const char *suffix)
{
	char *path CLEANUP_FREE = file_path(log, file, suffix);

	if (path != NULL)
		unlinkat(log->root_fd, path, 0);
}

void txlog_file_remove(struct txlog *log, const struct txlog_file *file)
{
	remove_one(log, file, ".idx");
	remove_one(log, file, ".log");
}

void txlog_index_format(const struct txlog_index_entry *entry, uint8_t *bytes)
{
	le64_put(bytes, entry->txid);
	le64_put(bytes + 8, entry->offset);
	le64_put(bytes + 16, (uint64_t)entry->time_us);
	le64_put(bytes + 24, hash64(bytes, 24, 0));
}

bool txlog_index_parse(const uint8_t *bytes, struct txlog_index_entry *ret_entry)
{
	ret_entry->txid = le64_get(bytes);
	ret_entry->offset = le64_get(bytes + 8);
	ret_entry->time_us = (int64_t)le64_get(bytes + 16);
	return le64_get(bytes + 24) == hash64(bytes, 24, 0);
}

int txlog_index_read(struct txlog *log, const struct txlog_file *file, struct buf *out)
{
	int fd CLEANUP_FD = txlog_file_open(log, file, ".idx", O_RDONLY);
	uint8_t bytes[TXLOG_INDEX_ENTRY_LEN];
	struct txlog_index_entry entry;
	uint64_t last = 0;

	for (off_t at = 0; fd >= 0; at += TXLOG_INDEX_ENTRY_LEN) {
		if (file_pread(fd, bytes, sizeof(bytes), at) != (ssize_t)sizeof(bytes))
			break;
		/* An index left by a crash may run ahead of its log. */
		if (!txlog_index_parse(bytes, &entry) || entry.offset <= last ||
		    file->end < RECORD_HEADER_LEN ||
		    entry.offset > file->end - RECORD_HEADER_LEN)
			break;
		last = entry.offset;
		if (buf_append(out, &entry, sizeof(entry)) < 0)
			return -ENOMEM;
	}
	return 0;
}

/*
 * Whether the file has no header: it is shorter than one, or begins with as many
 * zeros, which is what a power loss may leave of a file that was not synced yet.
 */
static bool header_missing(const uint8_t *bytes, ssize_t n)
{
	static const uint8_t zero[LOG_HEADER_LEN];

	return n < (ssize_t)sizeof(zero) || memcmp(bytes, zero, sizeof(zero)) == 0;
}

/* Reads and checks a file's header; sets its base and size. 0, 1 = torn, <0. */
static int load_file(struct txlog *log, struct txlog_file *file, struct log_header *ret_head,
		     struct error *err)
{
	int fd CLEANUP_FD = txlog_file_open(log, file, ".log", O_RDONLY);
	uint64_t generation = file->base.generation;
	uint8_t bytes[LOG_HEADER_LEN];
	struct stat st;
	ssize_t n;
	int r;

	if (fd < 0)
		return error_set_errno(err, -fd, "cannot open log file %08x", file->number);
	n = file_pread(fd, bytes, sizeof(bytes), 0);
	if (n < 0 || fstat(fd, &st) < 0)
		return error_set_errno(err, n < 0 ? (int)-n : errno, "cannot read log file %08x",
				       file->number);
	if (header_missing(bytes, n))
		return 1;
	r = log_header_parse(bytes, ret_head, err);
	if (r == 0 && ret_head->base.generation != generation)
		r = error_set(err, EBADMSG, "it holds another generation than its name says");
	if (r < 0)
		return error_wrap(err, "log file %08x-%016" PRIx64, file->number, generation);
	file->base = ret_head->base;
	file->extent = ret_head->extent;
	file->base_time_us = ret_head->time_us;
	file->end = (uint64_t)st.st_size;
	return 0;
}

static bool parse_name(const char *name, struct txlog_file *ret_file)
{
	char rebuilt[64];
	uint32_t number;
	uint64_t generation;

	if (sscanf(name, "%8" SCNx32 "-%16" SCNx64 ".log", &number, &generation) != 2)
		return false;
	snprintf(rebuilt, sizeof(rebuilt), "%08" PRIx32 "-%016" PRIx64 ".log", number, generation);
	*ret_file = (struct txlog_file){ .number = number, .base.generation = generation };
	return strcmp(name, rebuilt) == 0 && number != 0;
}

static int by_number(const void *a, const void *b)
{
	const struct txlog_file *x = a;
	const struct txlog_file *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

static void close_dir(DIR **dir)
{
	if (*dir != NULL)
		closedir(*dir);
}

/* Finds the files of the folder, unloaded, in order. */
static int list_files(struct txlog *log, struct error *err)
{
	int fd = openat(log->root_fd, log->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir CLEANUP(close_dir) = fd < 0 ? NULL : fdopendir(fd);
	struct buf files = { 0 };
	struct dirent *item;

	if (dir == NULL)
		return error_set_errno(err, errno, "cannot read the log folder %s", log->path);
	while ((item = readdir(dir)) != NULL) {
		struct txlog_file file;

		if (!parse_name(item->d_name, &file))
			continue;
		if (buf_append(&files, &file, sizeof(file)) < 0) {
			buf_done(&files);
			return error_set(err, ENOMEM, "out of memory");
		}
	}
	log->files = (struct txlog_file *)files.data;
	log->n_files = files.len / sizeof(struct txlog_file);
	if (log->n_files > 1)
		qsort(log->files, log->n_files, sizeof(*log->files), by_number);
	return 0;
}

/* Keeps a file whose header is damaged under a name of which the log knows nothing. */
static void set_aside(struct txlog *log, const struct txlog_file *file)
{
	char *from CLEANUP_FREE = file_path(log, file, ".log");
	char *to CLEANUP_FREE = file_path(log, file, ".log.damaged");

	if (from == NULL || to == NULL || renameat(log->root_fd, from, log->root_fd, to) < 0)
		return; /* another one then stands in front of what follows, and is damaged */
	remove_one(log, file, ".idx");
}

static void drop_files(struct txlog *log, size_t first, size_t n)
{
	memmove(&log->files[first], &log->files[first + n],
		(log->n_files - first - n) * sizeof(*log->files));
	log->n_files -= n;
}

/*
 * Loads all files. A last one that a crash left without a header goes away. With
 * a damaged header a file, and what stands before it, cannot be read in one go
 * with what follows: the log then begins behind it, shortened, or, when it is the
 * last file, ends before it, damaged. The last one is set aside, since the log goes on
 * from what stands before it; no other one is touched.
 */
static int load_files(struct txlog *log, struct txlog_state *state, struct error *err)
{
	struct log_header head;

	if (log->n_files != 0)
		log->next_number = log->files[log->n_files - 1].number + 1;
	for (size_t i = 0; i < log->n_files;) {
		bool last = i == log->n_files - 1;
		int r = load_file(log, &log->files[i], &head, err);

		if (r == 0) {
			log->head = head;
			i++;
		} else if (r > 0 && last) {
			if (!log->read_only)
				txlog_file_remove(log, &log->files[i]);
			log->next_number = log->files[i].number;
			drop_files(log, i, 1);
		} else if (r > 0 || r == -EBADMSG) {
			if (r > 0)
				error_set(err, EBADMSG, "log file %08x has no header",
					  log->files[i].number);
			*(last ? &state->damaged : &state->shortened) = true;
			if (last && !log->read_only)
				set_aside(log, &log->files[i]);
			drop_files(log, last ? i : 0, last ? 1 : i + 1);
			i = last ? i : 0;
		} else {
			return r;
		}
	}
	return 0;
}

/*
 * Where the record txid of file ends, if what follows it, in file too, cannot be read
 * as records; else the end of file. One that the log went on from was the last of
 * its generation, and what is behind was damaged or never whole.
 */
static uint64_t end_of_record(struct txlog *log, const struct txlog_file *file, uint64_t txid)
{
	int fd CLEANUP_FD = txlog_file_open(log, file, ".log", O_RDONLY);
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	struct record_header header = { .txid = file->base.txid };
	uint8_t bytes[RECORD_HEADER_LEN];
	uint64_t offset = txlog_index_point(log, file, txid);
	uint64_t end = header.txid == txid ? LOG_HEADER_LEN : 0;

	while (offset < file->end) {
		if (file_pread(fd, bytes, sizeof(bytes), (off_t)offset) != (ssize_t)sizeof(bytes) ||
		    record_header_parse(bytes, &header, &ignored) != 0)
			return end != 0 ? end : file->end;
		offset += header.size;
		if (header.txid == txid)
			end = offset;
	}
	return file->end;
}

/* Leaves out what a generation's last file holds behind where the next one goes on. */
static int cap_ends(struct txlog *log, struct error *err)
{
	for (size_t i = 0; i + 1 < log->n_files; i++) {
		struct txlog_file *file = &log->files[i];
		struct txlog_file next = log->files[i + 1];
		struct log_header head;
		int r;

		if (next.base.generation == file->base.generation)
			continue;
		r = load_file(log, &next, &head, err);
		if (r != 0)
			return r < 0 ? r : error_set(err, EIO, "log file %08x was changed",
						     next.number);
		if (head.parent.generation == file->base.generation &&
		    head.parent.txid >= file->base.txid)
			file->end = end_of_record(log, file, head.parent.txid);
	}
	return 0;
}

#define SEARCH_LEN (1u << 20)

static bool record_in(const uint8_t *bytes, size_t len, uint64_t txid)
{
	struct record_header header;

	for (size_t i = 0; i + RECORD_HEADER_LEN <= len; i++) {
		CLEANUP_ERROR struct error ignored = ERROR_INIT;

		if (bytes[i] == 'R' && record_header_parse(bytes + i, &header, &ignored) == 0 &&
		    header.txid > txid)
			return true;
	}
	return false;
}

/*
 * Whether a whole record header with a later txid stands behind offset: then
 * what is at offset was damaged later, and is not the torn end of the log. In
 * doubt it is damage, since a torn end is cut off.
 */
static bool record_behind(int fd, uint64_t offset, uint64_t end, uint64_t txid)
{
	uint8_t *bytes CLEANUP_FREE = malloc(SEARCH_LEN);

	for (uint64_t at = offset + 1; at + RECORD_HEADER_LEN <= end;
	     at += SEARCH_LEN - RECORD_HEADER_LEN + 1) {
		size_t len = (size_t)MIN(end - at, (uint64_t)SEARCH_LEN);

		if (bytes == NULL || file_pread(fd, bytes, len, (off_t)at) != (ssize_t)len ||
		    record_in(bytes, len, txid))
			return true;
	}
	return false;
}

static void adopt_record(struct txlog *log, const struct record_header *header)
{
	log->position.txid = header->txid;
	log->position.checksum = header->checksum_after;
	log->extent = header->after;
	log->time_us = header->time_us;
	log->mark = header->mark;
}

/* Where to begin scanning the last file: its last index point, else its start. */
static uint64_t scan_start(struct txlog *log, const struct txlog_file *file)
{
	struct buf index CLEANUP_BUF = { 0 };
	const struct txlog_index_entry *entries;

	if (txlog_index_read(log, file, &index) < 0 || index.len == 0)
		return LOG_HEADER_LEN;
	entries = (const struct txlog_index_entry *)index.data;
	return entries[index.len / sizeof(*entries) - 1].offset;
}

/*
 * Reads records from *offset on, and moves it behind the last whole one. 0: that
 * is the end of the file; -EBADMSG: something else follows; another -errno: the
 * file could not be read.
 */
static int scan_records(struct txlog *log, int fd, uint64_t *offset, uint64_t end,
			struct error *err)
{
	struct txlog_reader reader = { .fd = -1 };
	struct record_header last = { 0 };
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	int r;

	if (copy < 0)
		return error_set_errno(err, errno, "cannot read the transaction log");
	txlog_reader_attach(&reader, copy, *offset, end);
	r = record_reader_init(&reader.records, &reader.source, err);
	while (r == 0) {
		r = record_reader_next(&reader.records, err);
		/*
		 * Going on verified the record before, also when what follows
		 * it is no record: the reader then holds none.
		 */
		if (last.txid != 0 && (r >= 0 || reader.records.header.txid == 0)) {
			adopt_record(log, &last);
			*offset += last.size;
		}
		last = reader.records.header;
		if (r == 0 && last.size > end - *offset)
			r = error_set(err, EBADMSG, "transaction %" PRIu64 ": cut off", last.txid);
	}
	txlog_reader_close(&reader);
	return r < 0 ? r : 0;
}

/* Drops index points that a crash left for records that are not there. */
static void trim_index(struct txlog *log, const struct txlog_file *file)
{
	int fd CLEANUP_FD = txlog_file_open(log, file, ".idx", O_WRONLY);
	struct buf index CLEANUP_BUF = { 0 };
	size_t n;

	if (fd < 0 || txlog_index_read(log, file, &index) < 0)
		return;
	n = index.len / sizeof(struct txlog_index_entry);
	if (ftruncate(fd, (off_t)(n * TXLOG_INDEX_ENTRY_LEN)) < 0)
		remove_one(log, file, ".idx");
}

/* Decides what the bytes behind the last whole record are: err says what is there. */
static int judge_end(struct txlog *log, int fd, uint64_t size, struct txlog_state *state,
		     struct error *err)
{
	struct txlog_file *file = &log->files[log->n_files - 1];

	if (record_behind(fd, file->end, size, log->position.txid)) {
		state->damaged = true;
		return error_wrap(err, "log file %08x at byte %" PRIu64, file->number, file->end);
	}
	error_done(err);
	state->torn = size - file->end;
	if (!log->read_only && ftruncate(fd, (off_t)file->end) < 0)
		return error_set_errno(err, errno, "cannot cut log file %08x", file->number);
	return 0;
}

static int scan_last(struct txlog *log, struct txlog_state *state, struct error *err)
{
	struct txlog_file *file = &log->files[log->n_files - 1];
	int fd CLEANUP_FD = txlog_file_open(log, file, ".log", log->read_only ? O_RDONLY : O_RDWR);
	CLEANUP_ERROR struct error found = ERROR_INIT;
	uint64_t size = file->end;
	uint64_t start = scan_start(log, file);
	uint64_t end = start;
	int r;

	if (fd < 0)
		return error_set_errno(err, -fd, "cannot open log file %08x", file->number);
	log->position = file->base;
	log->extent = file->extent;
	log->time_us = file->base_time_us;
	log->mark = log->head.mark;
	r = scan_records(log, fd, &end, size, &found);
	/* An index point is written before its record, which a crash may have cut off. */
	if ((r == 0 || r == -EBADMSG) && end == start && start != LOG_HEADER_LEN) {
		error_done(&found);
		end = LOG_HEADER_LEN;
		r = scan_records(log, fd, &end, size, &found);
	}
	if (r == 0 || r == -EBADMSG) {
		file->end = end;
		if (!log->read_only)
			trim_index(log, file);
		r = end == size ? 0 : judge_end(log, fd, size, state, &found);
	}
	if (r < 0)
		error_move(err, &found);
	return r;
}

static int open_log(struct txlog *log, int root_fd, const char *path, bool read_only,
		    struct txlog_state *ret_state, struct error *err)
{
	int r;

	*log = (struct txlog){
		.root_fd = root_fd,
		.path = strdup(path),
		.read_only = read_only,
		.next_number = 1,
		.fd = -1,
		.index_fd = -1,
		.hash = hash_stream_new(),
	};
	*ret_state = (struct txlog_state){ 0 };
	pthread_mutex_init(&log->mutex, NULL);
	r = log->path != NULL && log->hash != NULL ? 0 : error_set(err, ENOMEM, "out of memory");
	if (r == 0 && !read_only)
		r = file_make_dir(root_fd, path, 0700, err);
	if (r == 0)
		r = list_files(log, err);
	if (r == 0)
		r = load_files(log, ret_state, err);
	if (r == 0)
		r = cap_ends(log, err);
	if (r == 0 && log->n_files != 0)
		r = scan_last(log, ret_state, err);
	if (r < 0 && (r != -EBADMSG || !ret_state->damaged)) {
		txlog_close(log);
		return r;
	}
	ret_state->fresh = log->n_files == 0;
	log->new_generation = ret_state->fresh || ret_state->damaged;
	/* Who wrote the last file may have died before it was synced. */
	log->n_published = log->n_files != 0 && !read_only ? 1 : 0;
	log->dir_dirty = log->n_published != 0;
	txlog_discard(log);
	return 0;
}

int txlog_open(struct txlog *log, int root_fd, const char *path, uint64_t file_limit,
	       struct txlog_state *ret_state, struct error *err)
{
	int r = open_log(log, root_fd, path, false, ret_state, err);

	log->file_limit = file_limit;
	return r;
}

int txlog_open_read_only(struct txlog *log, int root_fd, const char *path,
			 struct txlog_state *ret_state, struct error *err)
{
	return open_log(log, root_fd, path, true, ret_state, err);
}

void txlog_close(struct txlog *log)
{
	if (log->path == NULL && log->hash == NULL)
		return;
	txlog_idle(log);
	buf_done(&log->pending);
	hash_stream_free(log->hash);
	free(log->files);
	free(log->path);
	pthread_mutex_destroy(&log->mutex);
	*log = (struct txlog){ .fd = -1, .index_fd = -1 };
}

struct txlog_file txlog_last(struct txlog *log)
{
	LOCK_SCOPE(&log->mutex);
	return log->files[log->n_files - 1];
}

struct position txlog_position(struct txlog *log, struct extent *ret_extent, int64_t *ret_time_us)
{
	struct position position;

	pthread_mutex_lock(&log->mutex);
	position = log->position;
	if (ret_extent != NULL)
		*ret_extent = log->extent;
	if (ret_time_us != NULL)
		*ret_time_us = log->time_us;
	pthread_mutex_unlock(&log->mutex);
	return position;
}

/* With the mutex held. */
static uint64_t size_of_files(const struct txlog *log)
{
	uint64_t size = 0;

	for (size_t i = 0; i < log->n_files; i++)
		size += log->files[i].end;
	return size;
}

uint64_t txlog_size(struct txlog *log)
{
	LOCK_SCOPE(&log->mutex);
	return size_of_files(log);
}

struct position txlog_oldest(struct txlog *log, int64_t *ret_time_us)
{
	struct position oldest = { 0 };

	pthread_mutex_lock(&log->mutex);
	if (log->n_files != 0) {
		oldest = log->files[0].base;
		if (ret_time_us != NULL)
			*ret_time_us = log->files[0].base_time_us;
	}
	pthread_mutex_unlock(&log->mutex);
	return oldest;
}

uint64_t txlog_retain(struct txlog *log, int64_t before_us, uint64_t max_bytes, uint64_t keep_txid)
{
	uint64_t freed = 0;
	uint64_t size;

	LOCK_SCOPE(&log->mutex);
	size = size_of_files(log);
	while (log->n_files > 1) {
		struct txlog_file *oldest = &log->files[0];
		struct txlog_file *second = &log->files[1];
		bool expired = second->base_time_us < before_us && second->base.txid <= keep_txid;

		if (!expired && size - freed <= max_bytes)
			break;
		txlog_file_remove(log, oldest);
		freed += oldest->end;
		log->n_files--;
		memmove(oldest, second, log->n_files * sizeof(*oldest));
	}
	return freed;
}
