/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/file.h"
#include "replicate/delta.h"
#include "replicate/page.h"
#include "replicate/txlog_internal.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>

/*
 * The transaction log by itself. Records here hold whole pages whose content
 * follows from their TXID, so that a reader can tell what it ought to get.
 */

#define PAGE_LEN 512u
#define NO_LIMIT (1ull << 40)

/* In call, check_err is an error that nobody looks at otherwise. */
#define CHECK(call)                                                            \
	do {                                                                   \
		struct error check_err CLEANUP_ERROR = ERROR_INIT;             \
		if ((call) < 0)                                                \
			fail_msg("%s: %s", #call, error_what(&check_err));     \
	} while (0)

static void fill_page(uint8_t *page, uint64_t txid, uint32_t i)
{
	for (uint32_t k = 0; k < PAGE_LEN; k++)
		page[k] = (uint8_t)(txid * 31 + i * 7 + k);
}

static struct log_header new_head(uint64_t generation)
{
	return (struct log_header){
		.node_id.bytes = { 1 },
		.database_id.bytes = { 2 },
		.base.generation = generation,
		.time_us = 1000,
	};
}

static struct txlog_state open_log(struct txlog *log, struct unit_folder *folder, uint64_t limit)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct txlog_state state;
	int r = txlog_open(log, folder->fd, "log", limit, &state, &err);

	if (r < 0)
		fail_msg("%s", error_what(&err));
	return state;
}

static void new_log(struct txlog *log, struct unit_folder *folder, uint64_t limit)
{
	struct log_header head = new_head(0xaa);

	assert_true(open_log(log, folder, limit).fresh);
	CHECK(txlog_begin_generation(log, &head, &check_err));
}

/* Builds the next record: n pages of TXID txid. 0 or the error's. */
static int add_record(struct txlog *log, uint32_t n_pages, struct error *err)
{
	uint64_t txid = log->next.txid + 1;
	struct record_header header = {
		.kind = RECORD_COMMIT,
		.after = { PAGE_LEN, MAX(n_pages, 1u) },
		.time_us = (int64_t)(1000 + txid * 10),
		.mark = { .salt1 = 1, .frame = (uint32_t)txid },
	};
	int r = 0;

	txlog_begin(log, &header);
	for (uint32_t i = 1; r == 0 && i <= n_pages; i++) {
		uint8_t page[PAGE_LEN];
		struct record_entry entry = { i, RECORD_WHOLE, PAGE_LEN, txid * 1000 + i };

		fill_page(page, txid, i);
		r = txlog_add(log, &entry, page, err);
	}
	return r < 0 ? r : txlog_end(log, RECORD_UNDOABLE, txid * 77, err);
}

static int try_record(struct txlog *log, uint32_t n_pages, struct error *err)
{
	int r = add_record(log, n_pages, err);

	return r < 0 ? r : txlog_flush(log, err);
}

static void put_record(struct txlog *log, uint32_t n_pages)
{
	CHECK(try_record(log, n_pages, &check_err));
}

static void put_records(struct txlog *log, unsigned n, uint32_t n_pages)
{
	while (n-- > 0)
		put_record(log, n_pages);
}

/* Reads the record at hand and compares it with what add_record() made. */
static int verify_record(struct txlog_reader *reader, struct error *err)
{
	uint64_t txid = reader->records.header.txid;
	struct record_entry entry;
	const uint8_t *data;
	uint32_t n = 0;
	int r;

	while ((r = record_reader_entry(&reader->records, &entry, &data, err)) == 0) {
		uint8_t page[PAGE_LEN];

		fill_page(page, txid, ++n);
		assert_int_equal(entry.pgno, n);
		assert_int_equal(entry.hash, txid * 1000 + n);
		assert_memory_equal(data, page, PAGE_LEN);
	}
	return r < 0 ? r : 0;
}

/*
 * Reads all records behind from, checking that they are consecutive. Returns
 * how many; ret_r (if given) is what ended it: 1 the end, <0 damage.
 */
static uint64_t read_all(struct txlog *log, const struct position *from, int *ret_r)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct txlog_reader reader;
	uint64_t n = 0;
	int r = txlog_reader_open(&reader, log, from, &err);

	assert_int_equal(r, 0);
	while (r == 0 || r == 2) {
		r = txlog_reader_next(&reader, &err);
		if (r != 0)
			continue;
		assert_int_equal(reader.records.header.txid, from->txid + n + 1);
		r = verify_record(&reader, &err);
		n += r == 0;
	}
	if (ret_r != NULL)
		*ret_r = r;
	else if (r < 0)
		fail_msg("%s", error_what(&err));
	txlog_reader_close(&reader);
	return n;
}

static uint64_t count_records(struct txlog *log)
{
	struct position from = txlog_oldest(log, NULL);

	return read_all(log, &from, NULL);
}

/* The path of file number n (from 1) with the suffix, in path[256]. */
static void path_of(struct unit_folder *folder, struct txlog *log, size_t n, const char *suffix,
		    char *path)
{
	snprintf(path, 256, "%s/log/%08x-%016llx%s", folder->path, log->files[n - 1].number,
		 (unsigned long long)log->files[n - 1].base.generation, suffix);
}

static struct buf read_path(const char *path)
{
	struct buf bytes = { 0 };

	CHECK(file_read_all(AT_FDCWD, path, 256 << 20, &bytes, &check_err));
	return bytes;
}

static void write_path(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(file_pwrite(fd, data, len, 0), 0);
	close(fd);
}

static void written_records_are_read_again(void **state)
{
	struct txlog log;
	struct position oldest;
	struct extent extent;
	int64_t time_us;

	new_log(&log, *state, NO_LIMIT);
	put_records(&log, 100, 3);
	put_record(&log, 0); /* a transaction without a page is one too */
	assert_int_equal(count_records(&log), 101);
	oldest = txlog_oldest(&log, &time_us);
	assert_int_equal(oldest.txid, 0);
	assert_int_equal(time_us, 1000);
	assert_int_equal(txlog_position(&log, &extent, &time_us).txid, 101);
	assert_int_equal(extent.n_pages, 1);
	assert_int_equal(time_us, 2010);
	txlog_close(&log);
	assert_false(open_log(&log, *state, NO_LIMIT).fresh);
	assert_int_equal(txlog_position(&log, &extent, &time_us).checksum, 101 * 77);
	assert_int_equal(time_us, 2010);
	assert_int_equal(log.mark.frame, 101);
	put_record(&log, 2);
	assert_int_equal(count_records(&log), 102);
	txlog_close(&log);
}

static void nothing_is_visible_before_the_flush(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct txlog log;

	new_log(&log, *state, NO_LIMIT);
	put_record(&log, 1);
	assert_int_equal(add_record(&log, 1, &err), 0);
	assert_int_equal(add_record(&log, 1, &err), 0);
	assert_true(txlog_pending(&log) > 0);
	assert_int_equal(count_records(&log), 1);
	txlog_discard(&log);
	assert_int_equal(txlog_pending(&log), 0);
	assert_int_equal(add_record(&log, 1, &err), 0);
	assert_int_equal(txlog_flush(&log, &err), 0);
	assert_int_equal(count_records(&log), 2);
	txlog_close(&log);
}

static void rolls_over_to_new_files(void **state)
{
	struct txlog log;

	new_log(&log, *state, 4000);
	put_records(&log, 60, 2);
	assert_true(log.n_files > 10);
	assert_int_equal(count_records(&log), 60);
	txlog_close(&log);
	open_log(&log, *state, 4000);
	assert_int_equal(count_records(&log), 60);
	put_records(&log, 10, 2);
	assert_int_equal(count_records(&log), 70);
	txlog_close(&log);
}

static void begins_from_any_position(void **state)
{
	struct txlog log;

	new_log(&log, *state, 200000);
	put_records(&log, 1000, 2);
	assert_true(log.n_files > 2);
	for (uint64_t txid = 0; txid <= 1000; txid += txid < 20 ? 1 : 13) {
		struct position from = { 0xaa, txid, txid * 77 };

		assert_int_equal(read_all(&log, &from, NULL), 1000 - txid);
	}
	txlog_close(&log);
}

static void refuses_positions_it_does_not_hold(void **state)
{
	struct position wrong[] = {
		{ 0xaa, 50, 50 * 77 + 1 }, { 0xab, 50, 50 * 77 },     { 0xaa, 101, 101 * 77 },
		{ 0xaa, 0, 1 },		   { 0xaa, 100, 100 * 77 + 1 }, { 0, 0, 0 },
	};
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct txlog log;

	new_log(&log, *state, NO_LIMIT);
	put_records(&log, 100, 1);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct txlog_reader reader;

		assert_int_equal(txlog_reader_open(&reader, &log, &wrong[i], &err), 1);
	}
	txlog_close(&log);
}

static void a_reader_sees_what_comes_later(void **state)
{
	struct position from = { 0xaa, 0, 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct txlog_reader reader;
	struct txlog log;

	new_log(&log, *state, 3000);
	assert_int_equal(txlog_reader_open(&reader, &log, &from, &err), 0);
	for (uint64_t txid = 1; txid <= 50; txid++) {
		assert_int_equal(txlog_reader_next(&reader, &err), 1);
		put_record(&log, 2);
		assert_int_equal(txlog_reader_next(&reader, &err), 0);
		assert_int_equal(reader.records.header.txid, txid);
		assert_int_equal(verify_record(&reader, &err), 0);
	}
	txlog_reader_close(&reader);
	txlog_close(&log);
}

struct backward {
	struct txlog *log;
	uint64_t next_txid;
	uint64_t stop_at;
};

static int check_backward(void *arg, const struct txlog_place *place,
			  const struct record_header *header, struct error *err)
{
	struct backward *backward = arg;
	struct txlog_reader reader = { .fd = -1 };

	assert_int_equal(header->txid, backward->next_txid--);
	assert_int_equal(place->txid, header->txid);
	assert_int_equal(place->size, header->size);
	assert_int_equal(place->time_us, 1000 + header->txid * 10);
	if (header->txid % 17 == 0) {
		assert_int_equal(txlog_reader_seek(&reader, backward->log, place, err), 0);
		assert_int_equal(txlog_reader_next(&reader, err), 0);
		assert_int_equal(reader.records.header.txid, header->txid);
		assert_int_equal(verify_record(&reader, err), 0);
		txlog_reader_close(&reader);
	}
	return header->txid == backward->stop_at ? 7 : 0;
}

static void backward_is_forward_reversed(void **state)
{
	struct backward backward = { .next_txid = 1000 };
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct txlog log;

	backward.log = &log;
	new_log(&log, *state, 300000);
	put_records(&log, 1000, 2);
	assert_true(log.n_files > 2);
	assert_int_equal(txlog_each_backward(&log, check_backward, &backward, &err), 0);
	assert_int_equal(backward.next_txid, 0);
	backward = (struct backward){ .log = &log, .next_txid = 1000, .stop_at = 400 };
	assert_int_equal(txlog_each_backward(&log, check_backward, &backward, &err), 7);
	assert_int_equal(backward.next_txid, 399);
	txlog_close(&log);
}

static void an_index_may_be_missing_damaged_or_ahead(void **state)
{
	struct unit_folder *folder = *state;
	struct txlog_index_entry ahead = { 5000, 1 << 30, 1 };
	uint8_t bytes[TXLOG_INDEX_ENTRY_LEN];
	char path[256];

	for (int how = 0; how < 4; how++) {
		struct backward backward = { .next_txid = 500 };
		struct position from = { 0xaa, 400, 400 * 77 };
		struct buf index = { 0 };
		struct error err CLEANUP_ERROR = ERROR_INIT;
		struct txlog log;

		if (how == 0) {
			new_log(&log, folder, NO_LIMIT);
			put_records(&log, 500, 2);
		} else {
			open_log(&log, folder, NO_LIMIT);
		}
		path_of(folder, &log, 1, ".idx", path);
		txlog_close(&log);
		index = read_path(path);
		assert_true(index.len >= 4 * TXLOG_INDEX_ENTRY_LEN);
		txlog_index_format(&ahead, bytes);
		if (how == 0) /* as it is, and one point too many */
			assert_int_equal(buf_append(&index, bytes, sizeof(bytes)), 0);
		if (how == 1) /* a damaged point in the middle, and half of one */
			index.data[TXLOG_INDEX_ENTRY_LEN * 2 + 3] ^= 1;
		if (how == 1)
			index.len -= 5;
		if (how == 2) /* stale: only the first point */
			index.len = TXLOG_INDEX_ENTRY_LEN;
		write_path(path, index.data, index.len);
		if (how == 3)
			assert_int_equal(unlink(path), 0);
		open_log(&log, folder, NO_LIMIT);
		backward.log = &log;
		assert_int_equal(count_records(&log), 500);
		assert_int_equal(read_all(&log, &from, NULL), 100);
		assert_int_equal(txlog_each_backward(&log, check_backward, &backward, &err), 0);
		assert_int_equal(backward.next_txid, 0);
		txlog_close(&log);
		write_path(path, index.data, 0);
		assert_int_equal(unlink(path), 0);
		buf_reset(&index);
		/* Put a whole one back for the next round. */
		open_log(&log, folder, NO_LIMIT);
		{
			struct txlog_reader reader = { .fd = -1 };
			int fd = open(path, O_WRONLY | O_CREAT, 0600);
			uint64_t last = 0;

			assert_int_equal(txlog_reader_open(&reader, &log,
							   &(struct position){ 0xaa, 0, 0 }, &err),
					 0);
			for (;;) {
				struct txlog_index_entry entry = { .offset = reader.offset };

				if (txlog_reader_next(&reader, &err) != 0)
					break;
				entry.txid = reader.records.header.txid;
				entry.offset = reader.offset - RECORD_HEADER_LEN;
				if (entry.offset < last + TXLOG_INDEX_STEP)
					continue;
				last = entry.offset;
				txlog_index_format(&entry, bytes);
				assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
			}
			close(fd);
			txlog_reader_close(&reader);
		}
		txlog_close(&log);
		buf_done(&index);
	}
}

/* ACCEPTANCE 29, the end of the log: a kill or a power loss at any byte. */
static void opens_with_all_whole_records_when_cut_anywhere(void **state)
{
	struct unit_folder *folder = *state;
	uint64_t ends[41];
	struct txlog log;
	struct buf bytes;
	char path[256];
	size_t whole = 0;

	new_log(&log, folder, NO_LIMIT);
	ends[0] = log.files[0].end;
	for (int i = 1; i <= 40; i++) {
		put_record(&log, (uint32_t)i % 3);
		ends[i] = log.files[0].end;
	}
	path_of(folder, &log, 1, ".log", path);
	txlog_close(&log);
	bytes = read_path(path);
	for (size_t len = LOG_HEADER_LEN; len <= bytes.len; len++) {
		struct txlog_state found;

		write_path(path, bytes.data, len);
		while (whole < 40 && ends[whole + 1] <= len)
			whole++;
		found = open_log(&log, folder, NO_LIMIT);
		assert_false(found.fresh || found.damaged);
		assert_int_equal(found.torn, len - ends[whole]);
		assert_int_equal(txlog_position(&log, NULL, NULL).txid, whole);
		assert_int_equal(log.files[0].end, ends[whole]);
		if (len % 97 == 0) {
			put_record(&log, 2); /* and it goes on */
			assert_int_equal(count_records(&log), whole + 1);
		}
		txlog_close(&log);
	}
	buf_done(&bytes);
}

static void a_file_without_a_whole_header_goes_away(void **state)
{
	struct unit_folder *folder = *state;
	struct txlog log;
	struct buf bytes;
	char path[256];

	new_log(&log, folder, 1000);
	put_records(&log, 5, 3);
	assert_true(log.n_files > 2);
	path_of(folder, &log, log.n_files, ".log", path);
	txlog_close(&log);
	bytes = read_path(path);
	for (size_t len = 0; len < LOG_HEADER_LEN; len += 53) {
		uint64_t before;

		write_path(path, bytes.data, len);
		open_log(&log, folder, 1000);
		before = txlog_position(&log, NULL, NULL).txid;
		assert_int_equal(access(path, F_OK), -1);
		put_record(&log, 1);
		assert_int_equal(count_records(&log), before + 1);
		txlog_close(&log);
		assert_int_equal(access(path, F_OK), 0);
	}
	buf_done(&bytes);
}

/* A power loss may leave a file with a length and nothing in it. */
static void a_file_of_zeros_at_the_end_goes_away(void **state)
{
	static const uint8_t zeros[4096];
	struct unit_folder *folder = *state;
	struct txlog log;
	char path[256];
	uint64_t before;

	new_log(&log, folder, 1000);
	put_records(&log, 5, 3);
	path_of(folder, &log, log.n_files, ".log", path);
	before = log.files[log.n_files - 1].base.txid;
	txlog_close(&log);
	write_path(path, zeros, sizeof(zeros));
	assert_false(open_log(&log, folder, 1000).fresh);
	assert_int_equal(txlog_position(&log, NULL, NULL).txid, before);
	put_record(&log, 1);
	assert_int_equal(count_records(&log), before + 1);
	txlog_close(&log);
}

/* Reads the log as far as it goes; fails unless damage shows by record n_whole + 1. */
static void expect_detected(struct txlog *log, uint64_t n_whole, size_t at)
{
	struct position from = { 0xaa, 0, 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct txlog_reader reader;
	uint64_t n = 0;
	int r = txlog_reader_open(&reader, log, &from, &err);

	while (r == 0 || r == 2) {
		struct record_entry entry;
		const uint8_t *data;

		r = txlog_reader_next(&reader, &err);
		if (r != 0)
			continue;
		while (r == 0)
			r = record_reader_entry(&reader.records, &entry, &data, &err);
		r = r == 1 ? 0 : r;
		n += r == 0;
	}
	if (r != -EBADMSG || n != n_whole)
		fail_msg("byte %zu: %llu of %llu records, then %d", at, (unsigned long long)n,
			 (unsigned long long)n_whole, r);
	txlog_reader_close(&reader);
}

/* ACCEPTANCE 29: a reader of an open log detects every flipped byte. */
static void a_reader_detects_every_flipped_byte(void **state)
{
	struct unit_folder *folder = *state;
	uint64_t ends[201];
	struct txlog log;
	struct buf bytes;
	char path[256];
	size_t whole = 0;
	int fd;

	new_log(&log, folder, NO_LIMIT);
	ends[0] = log.files[0].end;
	for (int i = 1; i <= 200; i++) {
		put_record(&log, (uint32_t)i % 3);
		ends[i] = log.files[0].end;
	}
	path_of(folder, &log, 1, ".log", path);
	bytes = read_path(path);
	fd = open(path, O_WRONLY);
	for (size_t i = 0; i < 10000; i++) {
		size_t at = LOG_HEADER_LEN + i * (bytes.len - LOG_HEADER_LEN) / 10000;
		uint8_t byte = bytes.data[at] ^ (uint8_t)(1u << i % 8);

		while (ends[whole + 1] <= at)
			whole++;
		assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
		expect_detected(&log, whole, at);
		assert_int_equal(pwrite(fd, &bytes.data[at], 1, (off_t)at), 1);
	}
	close(fd);
	assert_int_equal(count_records(&log), 200);
	txlog_close(&log);
	buf_done(&bytes);
}

/* ... and opening it tells damage from a torn end, and keeps what is whole. */
static void opening_tells_damage_from_a_torn_end(void **state)
{
	struct unit_folder *folder = *state;
	uint64_t ends[31];
	struct txlog log;
	struct buf bytes;
	char path[256];
	size_t whole = 0;

	new_log(&log, folder, NO_LIMIT);
	ends[0] = log.files[0].end;
	for (int i = 1; i <= 30; i++) {
		put_record(&log, 1 + (uint32_t)i % 2);
		ends[i] = log.files[0].end;
	}
	path_of(folder, &log, 1, ".log", path);
	txlog_close(&log);
	bytes = read_path(path);
	for (size_t at = LOG_HEADER_LEN; at < bytes.len; at += 7) {
		struct error err CLEANUP_ERROR = ERROR_INIT;
		struct txlog_state found;
		struct buf after;

		while (ends[whole + 1] <= at)
			whole++;
		bytes.data[at] ^= 0x10;
		write_path(path, bytes.data, bytes.len);
		assert_int_equal(txlog_open(&log, folder->fd, "log", NO_LIMIT, &found, &err), 0);
		assert_int_equal(found.damaged, whole < 29);
		assert_int_equal(found.torn, whole < 29 ? 0 : bytes.len - ends[29]);
		assert_int_equal(txlog_position(&log, NULL, NULL).txid, whole);
		assert_int_equal(log.new_generation, whole < 29);
		txlog_close(&log);
		after = read_path(path); /* damage is left alone, a torn end is cut off */
		assert_int_equal(after.len, whole < 29 ? bytes.len : ends[29]);
		buf_done(&after);
		bytes.data[at] ^= 0x10;
	}
	buf_done(&bytes);
}

static void goes_on_in_a_new_generation_behind_damage(void **state)
{
	struct unit_folder *folder = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct log_header head = new_head(0xbb);
	struct txlog_state found;
	struct txlog log;
	struct buf bytes;
	char path[256];

	new_log(&log, folder, NO_LIMIT);
	put_records(&log, 20, 1);
	path_of(folder, &log, 1, ".log", path);
	txlog_close(&log);
	bytes = read_path(path);
	bytes.data[bytes.len / 2] ^= 1;
	write_path(path, bytes.data, bytes.len);
	assert_int_equal(txlog_open(&log, folder->fd, "log", NO_LIMIT, &found, &err), 0);
	assert_true(found.damaged);
	head.parent = txlog_position(&log, NULL, NULL);
	head.base = (struct position){ 0xbb, head.parent.txid, head.parent.checksum };
	CHECK(txlog_begin_generation(&log, &head, &check_err));
	put_records(&log, 5, 1);
	assert_int_equal(count_records(&log), head.parent.txid + 5);
	txlog_close(&log);
	assert_false(open_log(&log, folder, NO_LIMIT).damaged);
	assert_int_equal(txlog_position(&log, NULL, NULL).txid, head.parent.txid + 5);
	txlog_close(&log);
	buf_done(&bytes);
}

/* Goes on as the database does behind damage. */
static void begin_behind_damage(struct txlog *log)
{
	struct log_header head = new_head(0xbb);

	head.parent = txlog_position(log, NULL, NULL);
	head.base.txid = head.parent.txid;
	CHECK(txlog_begin_generation(log, &head, &check_err));
}

/* Damage in the header of file n of 3: what can be read goes on, nothing is deleted. */
static void damaged_header(struct unit_folder *folder, size_t n)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf bytes CLEANUP_BUF = { 0 };
	struct position oldest;
	struct position again;
	struct txlog_state found;
	struct txlog log;
	uint64_t before;
	char path[256];

	new_log(&log, folder, 2000);
	while (log.n_files < 3)
		put_record(&log, 1);
	path_of(folder, &log, n, ".log", path);
	txlog_close(&log);
	bytes = read_path(path);
	bytes.data[100] ^= 1;
	write_path(path, bytes.data, bytes.len);
	assert_int_equal(txlog_open(&log, folder->fd, "log", NO_LIMIT, &found, &err), 0);
	/* Its end is whole, unless that is what is damaged. */
	assert_int_equal(found.damaged, n == 3);
	assert_int_equal(found.shortened, n != 3);
	assert_int_equal(log.new_generation, n == 3);
	assert_non_null(err.what);
	before = txlog_position(&log, NULL, NULL).txid;
	if (found.damaged)
		begin_behind_damage(&log);
	put_records(&log, 5, 1);
	oldest = txlog_oldest(&log, NULL);
	assert_int_equal(read_all(&log, &oldest, NULL),
			 txlog_position(&log, NULL, NULL).txid - oldest.txid);
	txlog_close(&log);
	strcat(path, n == 3 ? ".damaged" : "");
	assert_int_equal(access(path, F_OK), 0);
	error_done(&err);
	assert_int_equal(txlog_open(&log, folder->fd, "log", NO_LIMIT, &found, &err), 0);
	assert_int_equal(txlog_position(&log, NULL, NULL).txid, before + 5);
	assert_false(found.damaged);
	assert_int_equal(found.shortened, n != 3);
	again = txlog_oldest(&log, NULL);
	assert_true(position_equal(&again, &oldest));
	txlog_close(&log);
}

static void a_damaged_header_of_the_first_file_stops_nothing(void **state)
{
	damaged_header(*state, 1);
}

static void a_damaged_header_in_the_middle_stops_nothing(void **state)
{
	damaged_header(*state, 2);
}

static void a_damaged_header_of_the_last_file_stops_nothing(void **state)
{
	damaged_header(*state, 3);
}

/* A transient fault while a log is opened must not cut anything off it. */
static void running_out_of_descriptors_cuts_nothing_off(void **state)
{
	struct unit_folder *folder = *state;
	struct rlimit old;
	struct txlog log;
	struct stat st;
	char path[256];
	off_t size;

	new_log(&log, folder, NO_LIMIT);
	put_records(&log, 50, 1);
	path_of(folder, &log, 1, ".log", path);
	txlog_close(&log);
	assert_int_equal(stat(path, &st), 0);
	size = st.st_size;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	for (rlim_t n = 3; n < 12; n++) {
		struct rlimit few = { n, old.rlim_max };
		struct error err CLEANUP_ERROR = ERROR_INIT;
		struct txlog_state found;

		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		if (txlog_open(&log, folder->fd, "log", NO_LIMIT, &found, &err) == 0) {
			assert_int_equal(txlog_position(&log, NULL, NULL).txid, 50);
			txlog_close(&log);
		}
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_size, size);
	}
}

static void set_file_limit(uint64_t limit)
{
	struct rlimit rlimit = { limit, RLIM_INFINITY };

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &rlimit), 0);
}

/* A file limit stands for a full disk: the write fails half-way. */
static void a_failed_flush_leaves_the_log_as_it_was(void **state)
{
	struct unit_folder *folder = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct txlog log;
	struct stat st;
	char path[256];
	uint64_t end;

	new_log(&log, folder, NO_LIMIT);
	put_records(&log, 10, 1);
	path_of(folder, &log, 1, ".log", path);
	end = log.files[0].end;
	/* Three records in one flush, of which one and a half fit. */
	for (int i = 0; i < 3; i++)
		assert_int_equal(add_record(&log, 1, &err), 0);
	set_file_limit(end + (RECORD_HEADER_LEN + RECORD_ENTRY_LEN + PAGE_LEN) * 3 / 2);
	assert_int_equal(txlog_flush(&log, &err), -EFBIG);
	set_file_limit(RLIM_INFINITY);
	assert_int_equal(txlog_pending(&log), 0);
	assert_int_equal(txlog_position(&log, NULL, NULL).txid, 10);
	assert_int_equal(count_records(&log), 10);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, end);
	txlog_close(&log);
	assert_int_equal(open_log(&log, folder, NO_LIMIT).torn, 0);
	assert_int_equal(txlog_position(&log, NULL, NULL).txid, 10);
	put_records(&log, 3, 2);
	assert_int_equal(count_records(&log), 13);
	txlog_close(&log);
}

static void huge_records_are_written_early(void **state)
{
	struct unit_folder *folder = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct txlog log;
	struct stat st;
	char path[256];

	new_log(&log, folder, NO_LIMIT);
	put_record(&log, 1);
	assert_int_equal(add_record(&log, 1, &err), 0);	/* waits in front of it */
	assert_int_equal(add_record(&log, 20000, &err), 0); /* 10 MiB */
	assert_int_equal(add_record(&log, 2, &err), 0);
	assert_true(log.spilled > 4 << 20);
	assert_true(txlog_pending(&log) < 5 << 20);
	assert_int_equal(count_records(&log), 1);
	assert_int_equal(txlog_flush(&log, &err), 0);
	assert_int_equal(count_records(&log), 4);
	/* Thrown away, it leaves nothing behind. */
	path_of(folder, &log, 1, ".log", path);
	assert_int_equal(add_record(&log, 20000, &err), 0);
	txlog_discard(&log);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, log.files[0].end);
	/* The disk fills up in its middle. */
	set_file_limit((uint64_t)st.st_size + (6 << 20));
	assert_int_equal(try_record(&log, 20000, &err), -EFBIG);
	set_file_limit(RLIM_INFINITY);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, log.files[0].end);
	put_record(&log, 1);
	assert_int_equal(count_records(&log), 5);
	txlog_close(&log);
	open_log(&log, folder, NO_LIMIT);
	assert_int_equal(count_records(&log), 5);
	txlog_close(&log);
}

/* The process dies while a huge record is written early. */
static void half_a_huge_record_is_torn(void **state)
{
	struct unit_folder *folder = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct txlog_state found;
	struct txlog log;
	struct buf bytes;
	char path[256];

	new_log(&log, folder, NO_LIMIT);
	put_records(&log, 3, 1);
	path_of(folder, &log, 1, ".log", path);
	assert_int_equal(add_record(&log, 20000, &err), 0);
	assert_true(log.spilled != 0);
	bytes = read_path(path);
	txlog_discard(&log);
	txlog_close(&log);
	write_path(path, bytes.data, bytes.len);
	found = open_log(&log, folder, NO_LIMIT);
	assert_false(found.damaged);
	assert_true(found.torn > 4 << 20);
	assert_int_equal(txlog_position(&log, NULL, NULL).txid, 3);
	txlog_close(&log);
	buf_done(&bytes);
}

static void a_new_file_that_cannot_be_made_changes_nothing(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct txlog log;

	new_log(&log, *state, 1000);
	put_records(&log, 2, 1);
	assert_true(log.files[0].end >= 1000);
	set_file_limit(100); /* a header does not fit */
	assert_int_equal(try_record(&log, 1, &err), -EFBIG);
	set_file_limit(RLIM_INFINITY);
	assert_int_equal(log.n_files, 1);
	put_records(&log, 2, 1);
	assert_int_equal(log.n_files, 2);
	assert_int_equal(count_records(&log), 4);
	txlog_close(&log);
}

static void a_generation_that_cannot_begin_changes_nothing(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct log_header head = new_head(0xbb);
	struct position before;
	struct extent extent;
	struct txlog log;

	new_log(&log, *state, NO_LIMIT);
	put_records(&log, 5, 2);
	before = txlog_position(&log, NULL, NULL);
	head.base = (struct position){ 0xbb, 9, 0x1234 };
	head.parent = before;
	head.extent = (struct extent){ 1024, 77 };
	head.time_us = 1 << 30;
	set_file_limit(100);
	assert_int_equal(txlog_begin_generation(&log, &head, &err), -EFBIG);
	set_file_limit(RLIM_INFINITY);
	{
		int64_t time_us;
		struct position now = txlog_position(&log, &extent, &time_us);

		assert_true(position_equal(&now, &before));
		assert_int_equal(extent.page_size, PAGE_LEN);
		assert_int_equal(time_us, 1050);
	}
	assert_int_equal(log.mark.frame, 5);
	put_record(&log, 2);
	assert_int_equal(count_records(&log), 6);
	CHECK(txlog_begin_generation(&log, &head, &check_err));
	assert_int_equal(txlog_position(&log, NULL, NULL).txid, 9);
	txlog_close(&log);
	/* A log that never had one has none after the failure. */
	assert_true(open_log(&log, *state, NO_LIMIT).fresh == false);
	txlog_close(&log);
}

static void a_first_generation_that_cannot_begin_leaves_none(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct log_header head = new_head(0xbb);
	struct txlog log;

	assert_true(open_log(&log, *state, NO_LIMIT).fresh);
	set_file_limit(100);
	assert_int_equal(txlog_begin_generation(&log, &head, &err), -EFBIG);
	set_file_limit(RLIM_INFINITY);
	assert_int_equal(txlog_position(&log, NULL, NULL).generation, 0);
	CHECK(txlog_begin_generation(&log, &head, &check_err));
	put_record(&log, 1);
	assert_int_equal(count_records(&log), 1);
	txlog_close(&log);
}

static void a_new_generation_is_announced_to_readers(void **state)
{
	struct position from = { 0xaa, 0, 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct log_header head = new_head(0xbb);
	struct txlog_reader reader;
	struct txlog log;

	new_log(&log, *state, NO_LIMIT);
	put_records(&log, 3, 1);
	assert_int_equal(txlog_reader_open(&reader, &log, &from, &err), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(txlog_reader_next(&reader, &err), 0);
	head.parent = txlog_position(&log, NULL, NULL);
	head.base = (struct position){ 0xbb, 3, 3 * 77 };
	CHECK(txlog_begin_generation(&log, &head, &check_err));
	assert_int_equal(txlog_reader_next(&reader, &err), 2);
	assert_true(position_equal(&reader.head.parent, &head.parent));
	assert_int_equal(txlog_reader_next(&reader, &err), 1);
	put_record(&log, 1);
	assert_int_equal(txlog_reader_next(&reader, &err), 0);
	assert_int_equal(reader.records.header.txid, 4);
	txlog_reader_close(&reader);
	txlog_close(&log);
}

static void retention_drops_the_oldest_files(void **state)
{
	struct unit_folder *folder = *state;
	struct txlog log;
	char path[256];
	uint64_t size;
	uint64_t keep;
	size_t n_files;

	new_log(&log, folder, 3000);
	put_records(&log, 100, 1);
	n_files = log.n_files;
	assert_true(n_files > 10);
	size = txlog_size(&log);
	/* Nothing is old, nothing is too much. */
	assert_int_equal(txlog_retain(&log, 0, size, UINT64_MAX), 0);
	/* Old, but wanted from the start on. */
	assert_int_equal(txlog_retain(&log, INT64_MAX, size, 0), 0);
	/* Old, and wanted from the third file on. */
	keep = log.files[2].base.txid;
	path_of(folder, &log, 1, ".log", path);
	assert_true(txlog_retain(&log, INT64_MAX, size, keep) > 0);
	assert_int_equal(log.n_files, n_files - 2);
	assert_int_equal(txlog_oldest(&log, NULL).txid, keep);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(count_records(&log), 100 - keep);
	/* By age: what ends before is dropped. */
	txlog_retain(&log, log.files[3].base_time_us, size, UINT64_MAX);
	assert_int_equal(log.n_files, n_files - 4);
	/* Too much: also what is wanted goes, but never the last file. */
	txlog_retain(&log, 0, 7000, 0);
	assert_true(txlog_size(&log) <= 7000);
	txlog_retain(&log, 0, 0, 0);
	assert_int_equal(log.n_files, 1);
	put_record(&log, 1);
	assert_int_equal(txlog_position(&log, NULL, NULL).txid, 101);
	txlog_close(&log);
	open_log(&log, folder, 3000);
	assert_int_equal(txlog_position(&log, NULL, NULL).txid, 101);
	txlog_close(&log);
}

/* What a reader had not read yet has been dropped: it must not skip it silently. */
static void a_reader_notices_a_gap(void **state)
{
	struct position from = { 0xaa, 0, 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct txlog_reader reader;
	struct txlog log;
	int r = 0;

	new_log(&log, *state, 3000);
	put_records(&log, 50, 1);
	assert_int_equal(txlog_reader_open(&reader, &log, &from, &err), 0);
	assert_int_equal(txlog_reader_next(&reader, &err), 0);
	txlog_retain(&log, 0, 4000, 0);
	for (uint64_t txid = 2; r == 0; txid++) {
		r = txlog_reader_next(&reader, &err);
		if (r == 0)
			assert_int_equal(reader.records.header.txid, txid);
	}
	assert_int_equal(r, -ESTALE);
	txlog_reader_close(&reader);
	txlog_close(&log);
}

struct retainer {
	struct txlog *log;
	atomic_bool stop;
};

static void *retain_all_the_time(void *arg)
{
	struct retainer *retainer = arg;

	while (!atomic_load(&retainer->stop))
		txlog_retain(retainer->log, 0, 3000, 0);
	return NULL;
}

/* The writer and the thread that applies the retention do not hold each other up. */
static void retention_may_run_beside_the_writer(void **state)
{
	struct retainer retainer = { 0 };
	struct txlog log;
	pthread_t thread;

	new_log(&log, *state, 1000);
	retainer.log = &log;
	assert_int_equal(pthread_create(&thread, NULL, retain_all_the_time, &retainer), 0);
	put_records(&log, 800, 1);
	atomic_store(&retainer.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(txlog_position(&log, NULL, NULL).txid, 800);
	assert_int_equal(count_records(&log), 800 - txlog_oldest(&log, NULL).txid);
	txlog_close(&log);
	open_log(&log, *state, 1000);
	assert_int_equal(txlog_position(&log, NULL, NULL).txid, 800);
	txlog_close(&log);
}

/* A thread that sets it waits, once, behind the first mutex that it gives back. */
static _Thread_local bool waits;
static pthread_barrier_t all_wait;

int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	int r = __real_pthread_mutex_unlock(mutex);

	if (waits) {
		waits = false;
		pthread_barrier_wait(&all_wait);
	}
	return r;
}

struct limited {
	struct txlog *log;
	uint64_t max_bytes;
};

static void *retain_once(void *arg)
{
	const struct limited *limited = arg;

	waits = true;
	txlog_retain(limited->log, 0, limited->max_bytes, 0);
	return NULL;
}

/* What one of them has removed the other does not count as still there. */
static void two_retentions_at_once_remove_no_more_than_one(void **state)
{
	struct txlog log;
	pthread_t threads[2];
	struct limited limited = { .log = &log };
	size_t n_files;

	new_log(&log, *state, 1000);
	put_records(&log, 50, 1);
	n_files = log.n_files;
	limited.max_bytes = txlog_size(&log) - 1;
	assert_int_equal(pthread_barrier_init(&all_wait, NULL, 2), 0);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, retain_once, &limited), 0);
	for (size_t i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&all_wait);
	assert_int_equal(log.n_files, n_files - 1);
	txlog_close(&log);
}

/* The daemon that wrote the records may have died before it synced them. */
static void what_an_earlier_process_wrote_is_synced_too(void **state)
{
	struct txlog_sync_pending pending;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct txlog log;

	new_log(&log, *state, NO_LIMIT);
	put_record(&log, 1);
	txlog_close(&log);
	open_log(&log, *state, NO_LIMIT);
	assert_int_equal(txlog_sync_begin(&log, &pending, &err), 0);
	assert_int_equal(txlog_sync_end(&log, &pending, 0, &err), 0);
	assert_int_equal(txlog_sync_begin(&log, &pending, &err), 1);
	put_record(&log, 1);
	assert_int_equal(txlog_sync(&log, &err), 0);
	assert_int_equal(txlog_sync_begin(&log, &pending, &err), 1);
	txlog_close(&log);
}

/* A second fdatasync may report success for what the first one lost. */
static void a_failed_sync_gives_the_file_up(void **state)
{
	struct unit_folder *folder = *state;
	struct txlog_sync_pending pending;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct log_header head = new_head(0xbb);
	struct txlog log;
	int null_fd;

	new_log(&log, folder, NO_LIMIT);
	put_record(&log, 1);
	assert_int_equal(txlog_sync_begin(&log, &pending, &err), 0);
	assert_int_equal(txlog_sync_end(&log, &pending, -EIO, &err), -EIO);
	assert_true(log.new_generation);
	assert_int_equal(txlog_sync_begin(&log, &pending, &err), -EIO);
	/* Nor is it after a generation could not begin. */
	assert_int_equal(renameat(folder->fd, "log", folder->fd, "away"), 0);
	assert_int_equal(txlog_begin_generation(&log, &head, &err), -ENOENT);
	assert_int_equal(renameat(folder->fd, "away", folder->fd, "log"), 0);
	assert_true(log.new_generation);
	assert_int_equal(txlog_sync_begin(&log, &pending, &err), -EIO);
	error_done(&err);
	/* No sync of the old file is tried again: on this descriptor it would fail. */
	null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	close(log.fd);
	log.fd = null_fd;
	head.parent = txlog_position(&log, NULL, NULL);
	head.base = (struct position){ 0xbb, 1, 77 };
	CHECK(txlog_begin_generation(&log, &head, &check_err));
	assert_false(log.new_generation);
	put_record(&log, 1);
	assert_int_equal(txlog_sync(&log, &err), 0);
	assert_int_equal(count_records(&log), 2);
	txlog_close(&log);
}

static void reading_only_changes_nothing(void **state)
{
	struct unit_folder *folder = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct txlog_state found;
	struct txlog log;
	struct buf bytes;
	struct stat st;
	char path[256];

	assert_int_equal(txlog_open_read_only(&log, folder->fd, "log", &found, &err), -ENOENT);
	error_done(&err);
	new_log(&log, folder, NO_LIMIT);
	put_records(&log, 10, 1);
	path_of(folder, &log, 1, ".log", path);
	txlog_close(&log);
	bytes = read_path(path);
	write_path(path, bytes.data, bytes.len - 5);
	assert_int_equal(txlog_open_read_only(&log, folder->fd, "log", &found, &err), 0);
	assert_int_equal(count_records(&log), 9);
	txlog_close(&log);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, bytes.len - 5);
	buf_done(&bytes);
}

static void a_newer_format_is_refused(void **state)
{
	struct unit_folder *folder = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct txlog_state found;
	struct txlog log;
	struct buf bytes;
	char path[256];

	new_log(&log, folder, NO_LIMIT);
	path_of(folder, &log, 1, ".log", path);
	txlog_close(&log);
	bytes = read_path(path);
	bytes.data[8]++;
	write_path(path, bytes.data, bytes.len);
	assert_int_equal(txlog_open(&log, folder->fd, "log", NO_LIMIT, &found, &err),
			 -EPROTONOSUPPORT);
	assert_int_equal(access(path, F_OK), 0);
	buf_done(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST_IN_FOLDER(written_records_are_read_again),
		UNIT_TEST_IN_FOLDER(nothing_is_visible_before_the_flush),
		UNIT_TEST_IN_FOLDER(rolls_over_to_new_files),
		UNIT_TEST_IN_FOLDER(begins_from_any_position),
		UNIT_TEST_IN_FOLDER(refuses_positions_it_does_not_hold),
		UNIT_TEST_IN_FOLDER(a_reader_sees_what_comes_later),
		UNIT_TEST_IN_FOLDER(backward_is_forward_reversed),
		UNIT_TEST_IN_FOLDER(an_index_may_be_missing_damaged_or_ahead),
		UNIT_TEST_IN_FOLDER(opens_with_all_whole_records_when_cut_anywhere),
		UNIT_TEST_IN_FOLDER(a_file_without_a_whole_header_goes_away),
		UNIT_TEST_IN_FOLDER(a_file_of_zeros_at_the_end_goes_away),
		UNIT_TEST_IN_FOLDER(a_reader_detects_every_flipped_byte),
		UNIT_TEST_IN_FOLDER(opening_tells_damage_from_a_torn_end),
		UNIT_TEST_IN_FOLDER(goes_on_in_a_new_generation_behind_damage),
		UNIT_TEST_IN_FOLDER(a_damaged_header_of_the_first_file_stops_nothing),
		UNIT_TEST_IN_FOLDER(a_damaged_header_in_the_middle_stops_nothing),
		UNIT_TEST_IN_FOLDER(a_damaged_header_of_the_last_file_stops_nothing),
		UNIT_TEST_IN_FOLDER(running_out_of_descriptors_cuts_nothing_off),
		UNIT_TEST_IN_FOLDER(a_failed_flush_leaves_the_log_as_it_was),
		UNIT_TEST_IN_FOLDER(huge_records_are_written_early),
		UNIT_TEST_IN_FOLDER(half_a_huge_record_is_torn),
		UNIT_TEST_IN_FOLDER(a_new_file_that_cannot_be_made_changes_nothing),
		UNIT_TEST_IN_FOLDER(a_generation_that_cannot_begin_changes_nothing),
		UNIT_TEST_IN_FOLDER(a_first_generation_that_cannot_begin_leaves_none),
		UNIT_TEST_IN_FOLDER(a_new_generation_is_announced_to_readers),
		UNIT_TEST_IN_FOLDER(retention_drops_the_oldest_files),
		UNIT_TEST_IN_FOLDER(a_reader_notices_a_gap),
		UNIT_TEST_IN_FOLDER(retention_may_run_beside_the_writer),
		UNIT_TEST_IN_FOLDER(two_retentions_at_once_remove_no_more_than_one),
		UNIT_TEST_IN_FOLDER(what_an_earlier_process_wrote_is_synced_too),
		UNIT_TEST_IN_FOLDER(a_failed_sync_gives_the_file_up),
		UNIT_TEST_IN_FOLDER(reading_only_changes_nothing),
		UNIT_TEST_IN_FOLDER(a_newer_format_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
