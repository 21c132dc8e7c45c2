/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_TXLOG_INTERNAL_H
#define REPLICATE_TXLOG_INTERNAL_H

#include "replicate/txlog.h"

/* What only the txlog_*.c files share. */

#define TXLOG_INDEX_ENTRY_LEN 32u

struct txlog_index_entry {
	uint64_t txid;
	uint64_t offset;
	int64_t time_us;
};

/* Opens a file of log (suffix ".log" or ".idx"); a descriptor or -errno. */
int txlog_file_open(struct txlog *log, const struct txlog_file *file, const char *suffix,
		    int flags);

/* Removes both files of file. */
void txlog_file_remove(struct txlog *log, const struct txlog_file *file);

/* Appends a file's valid index entries, in order, to out. 0 or -ENOMEM. */
int txlog_index_read(struct txlog *log, const struct txlog_file *file, struct buf *out);

/* The last index point of file at or before record txid, else where its records begin. */
uint64_t txlog_index_point(struct txlog *log, const struct txlog_file *file, uint64_t txid);

void txlog_index_format(const struct txlog_index_entry *entry, uint8_t *bytes);
bool txlog_index_parse(const uint8_t *bytes, struct txlog_index_entry *ret_entry);

/* Points reader at bytes [offset, end) of fd, which it takes over. */
void txlog_reader_attach(struct txlog_reader *reader, int fd, uint64_t offset, uint64_t end);

/*
 * A copy of the last file's entry, which only the writer changes. Takes the
 * mutex: the retention moves entries about beside the writer.
 */
struct txlog_file txlog_last(struct txlog *log);

#endif
