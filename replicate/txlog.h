/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_TXLOG_H
#define REPLICATE_TXLOG_H

#include "base/buf.h"
#include "base/hash.h"
#include "replicate/record.h"
#include "replicate/record_reader.h"

#include <pthread.h>
#include <stdbool.h>

/*
 * The transaction log of one database: append-only files of records in one
 * folder, NNNNNNNN-GGGGGGGGGGGGGGGG.log (a number that only grows, and the
 * generation), and beside each an .idx with the place of a record every
 * TXLOG_INDEX_STEP bytes. A file begins with a log header that names the
 * position its first record builds on; a generation may span several files.
 *
 * Written by one thread at a time (under the database's mutex); read by any
 * number of readers, each with its own cursor and descriptor, up to the end
 * that was published last.
 */

#define TXLOG_INDEX_STEP 65536u

/* One file. */
struct txlog_file {
	uint32_t number;
	struct position base;	/* the position before its first record */
	struct extent extent;	/* size of the database there */
	int64_t base_time_us;
	uint64_t end;		/* bytes that hold whole records, header included */
};

/*
 * Invariants:
 * 1. files is sorted by number; the last one is written, the others are sealed.
 * 2. A record is visible to readers only below files[last].end, and then whole.
 * 3. position, extent and time_us are those after the last published record.
 * 4. Every number in files is below next_number.
 * Lock: mutex guards files and n_files and what they hold, position, extent and
 * time_us; all else belongs to the writer. Order: behind the database's mutex.
 */
struct txlog {
	int root_fd;	/* folder that path is relative to; not owned */
	char *path;
	uint64_t file_limit; /* a new file is begun behind this many bytes */
	bool read_only;
	pthread_mutex_t mutex;
	struct txlog_file *files;
	size_t n_files;
	uint32_t next_number;	/* of the next file; the writer's */
	struct log_header head;	/* for new files: node, database, term, parent */
	struct position position;
	struct extent extent;
	int64_t time_us;
	struct wal_mark mark;	/* of the last record */

	/* The writer's own. */
	int fd;			/* the last file, or -1 while it is closed */
	int index_fd;
	uint64_t indexed;	/* offset of the last indexed record */
	uint64_t written_out;	/* the disk has begun to write up to here */
	uint64_t n_published;	/* flushes so far */
	uint64_t n_synced;	/* as many of them are durable */
	bool dir_dirty;		/* a file was made since the last sync */
	struct buf pending;	/* bytes behind the published end, not yet written */
	uint64_t spilled;	/* bytes behind the published end that were written early */
	uint64_t record_at;	/* where the open record begins, behind the published end */
	bool overhang;		/* a write may have left bytes behind the published end */
	uint64_t reserved;	/* the last file has room on the disk up to here */
	struct position next;	/* as position, after the records in pending */
	struct extent next_extent;
	int64_t next_time_us;
	struct wal_mark next_mark;
	struct record_header open; /* the record being built; txid 0 = none */
	struct hash_stream *hash;
	bool new_generation;	/* the next record begins a file of its own */
	bool sync_failed;	/* nothing of the last file will ever count as durable */
};

/* How txlog_open found things. */
struct txlog_state {
	bool fresh;	    /* no log was there: call txlog_begin_generation() */
	uint64_t torn;	    /* bytes of an unfinished record cut off at the end */
	bool damaged;	    /* a record in the last file, or its header; see err */
	bool shortened;	    /* it begins behind a file whose header is damaged; see err */
};

/*
 * Opens the log in the folder root_fd/path, which is created when missing. The
 * last file is scanned from its last index point; an unfinished record at its
 * end is cut off. A damaged record with records behind it sets damaged (and err
 * says which): the log then ends before it, the file is left alone, and the
 * next record must begin a new generation. The same goes for the last file when its
 * header is damaged; it is renamed to .log.damaged. Of another one with such a
 * header, and of those before it, nothing counts any more: the log is shortened (err
 * says by which), and goes on as it did. root_fd must outlive the log.
 * 0 or -errno (-EPROTONOSUPPORT: written by a newer version).
 */
int txlog_open(struct txlog *log, int root_fd, const char *path, uint64_t file_limit,
	       struct txlog_state *ret_state, struct error *err) MUST_CHECK;

/*
 * The same for reading only, as from another process than the log's writer:
 * nothing is created or cut off; what is not a whole record yet does not count.
 * No other function that changes the log may be called then.
 */
int txlog_open_read_only(struct txlog *log, int root_fd, const char *path,
			 struct txlog_state *ret_state, struct error *err) MUST_CHECK;

/* Closes descriptors that only a writer needs; the next append opens them again. */
void txlog_idle(struct txlog *log);
void txlog_close(struct txlog *log);

/*
 * From now on records belong to head->base's generation and build on head->base
 * and head->extent. Writes and syncs a new file at once. 0; -errno: nothing has
 * changed.
 */
int txlog_begin_generation(struct txlog *log, const struct log_header *head,
			   struct error *err) MUST_CHECK;

/*
 * Building records. txlog_begin() takes what is known of the transaction: kind,
 * before and after, time, mark; it fills txid and checksum_before. Then one
 * txlog_add() for every entry, and txlog_end() with the checksum after. Nothing
 * is visible before txlog_flush(), which publishes all ended records with one
 * write; when it (or txlog_add) fails, everything since the last flush is gone
 * and the log is as it was. -ENOSPC: the disk is full, or a quota. None of them
 * syncs.
 */
void txlog_begin(struct txlog *log, const struct record_header *header);
int txlog_add(struct txlog *log, const struct record_entry *entry, const void *data,
	      struct error *err) MUST_CHECK;
int txlog_end(struct txlog *log, uint32_t flags, uint64_t checksum_after,
	      struct error *err) MUST_CHECK;
int txlog_flush(struct txlog *log, struct error *err) MUST_CHECK;
void txlog_discard(struct txlog *log);

/*
 * Takes room on the disk for the next len bytes of records, some in advance, so
 * that writing them does not fail for want of it. Where the file system cannot
 * promise that there is no promise. 0 or -errno (-ENOSPC: there is none).
 */
int txlog_reserve(struct txlog *log, uint64_t len, struct error *err) MUST_CHECK;

/* What it was taken for is in the log: gives back what is much more than the usual. */
void txlog_unreserve(struct txlog *log);

/* Bytes that wait for txlog_flush(). */
static inline size_t txlog_pending(const struct txlog *log)
{
	return log->pending.len;
}

/*
 * Makes all published records durable; cheap when nothing is new. After a failed
 * sync the file is given up: the next record must begin a new generation. 0 or
 * -errno.
 */
int txlog_sync(struct txlog *log, struct error *err) MUST_CHECK;

/*
 * The same in two steps, so that the writer can go on during the sync. begin: 1
 * = nothing to do; 0: call fdatasync(ret_pending->fd), then end with its result
 * (0 or -errno), which closes it. Begin and end are the writer's calls.
 */
struct txlog_sync_pending {
	int fd;
	uint64_t n_published;
};
int txlog_sync_begin(struct txlog *log, struct txlog_sync_pending *ret_pending,
		     struct error *err) MUST_CHECK;
int txlog_sync_end(struct txlog *log, struct txlog_sync_pending *pending, int result,
		   struct error *err) MUST_CHECK;

/* The position after the last published record, and the size there. */
struct position txlog_position(struct txlog *log, struct extent *ret_extent, int64_t *ret_time_us);

/* Bytes of all files together. */
uint64_t txlog_size(struct txlog *log);

/* How many of these bytes, without headers, are behind offset of file number. */
uint64_t txlog_bytes_behind(struct txlog *log, uint32_t number, uint64_t offset);

/* Appends a copy of the list of files, oldest first, to out: of struct txlog_file. 0, -ENOMEM. */
int txlog_copy_files(struct txlog *log, struct buf *out, struct error *err) MUST_CHECK;

/* The oldest position the log can begin from. */
struct position txlog_oldest(struct txlog *log, int64_t *ret_time_us);

/*
 * Removes the oldest sealed files: those whose successor begins before
 * before_us, and more until at most max_bytes are left; but none that holds a
 * record behind keep_txid (a consumer still wants it) unless the log exceeds
 * max_bytes. Returns the bytes freed.
 */
uint64_t txlog_retain(struct txlog *log, int64_t before_us, uint64_t max_bytes,
		      uint64_t keep_txid);

/*
 * A cursor over the published records of the log, or of a folder of log files
 * that nobody writes. One thread at a time.
 */
struct txlog_reader {
	struct record_source source;
	struct record_reader records;
	struct txlog *log; /* not owned */
	int fd;
	uint32_t number;      /* of the open file; 0 = none */
	uint64_t offset;      /* of the next byte in it */
	uint64_t end;	      /* as last seen */
	uint64_t txid;	      /* of the record read last, else of where it began */
	struct log_header head; /* of the open file */
	struct buf ahead;     /* bytes read from offset on */
	size_t ahead_at;
};

/*
 * Opens a cursor whose first record is the one behind position from.
 * 0; 1: the log holds no such place (too old, or of another history).
 */
int txlog_reader_open(struct txlog_reader *reader, struct txlog *log, const struct position *from,
		      struct error *err) MUST_CHECK;
void txlog_reader_close(struct txlog_reader *reader);

/*
 * Goes to the next published record, across files. 0: reader->records.header is
 * it, its generation is reader->head.base.generation, and its entries follow by
 * record_reader_entry(&reader->records, …). 1: there is none yet. 2: a new
 * generation begins, on reader->head.base; it builds on the position reached
 * only if head.parent is that position. Call again to go on in it. -ESTALE: the
 * retention has dropped what comes next.
 */
int txlog_reader_next(struct txlog_reader *reader, struct error *err) MUST_CHECK;

/* Where a record stands, for reading backwards. */
struct txlog_place {
	uint32_t number;
	uint64_t offset;
	uint64_t size;
	uint64_t generation;
	uint64_t txid;
	int64_t time_us;
};

/*
 * Calls fn for all published records, newest first, until fn returns non-zero,
 * which is returned. Only headers are read; whether one record continues the
 * other is for fn to judge by their checksums: those behind a damaged header, up to
 * the next index point, are left out.
 */
int txlog_each_backward(struct txlog *log, int (*fn)(void *arg, const struct txlog_place *place,
						     const struct record_header *header,
						     struct error *err),
			void *arg, struct error *err) MUST_CHECK;

/* Moves reader to the record at place; txlog_reader_next() reads it. 0 or -errno. */
int txlog_reader_seek(struct txlog_reader *reader, struct txlog *log,
		      const struct txlog_place *place, struct error *err) MUST_CHECK;

#endif
