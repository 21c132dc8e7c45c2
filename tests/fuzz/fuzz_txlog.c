/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/folder.h"
#include "tests/fuzz/records.h"

#include "base/bytes.h"
#include "replicate/txlog.h"

#include <string.h>
#include <sys/stat.h>

/*
 * A file of the transaction log with its index, as a crash or a bad disk may have
 * left them. The first byte of the input says what to put right in them: bits 0
 * to 2 as in records.h, bit 3 the log's header, bit 4 the index's entries. Then
 * come the length of the index, 2 bytes, the index, and the log.
 */
enum {
	FIX_HEADER = 1 << 3,
	FIX_INDEX = 1 << 4,
};

#define NAME "log/00000001-0000000000000001"

/* As docs/format.md has them. */
#define GENERATION_OFFSET 96
#define HEADER_HASH_OFFSET 152
#define INDEX_ENTRY_LEN 32
#define INDEX_HASH_OFFSET 24

static void fix_header(uint8_t *log, size_t size)
{
	if (size < LOG_HEADER_LEN)
		return;
	le64_put(log + GENERATION_OFFSET, 1);
	le64_put(log + HEADER_HASH_OFFSET, hash64(log, HEADER_HASH_OFFSET, 0));
}

static void fix_index(uint8_t *index, size_t size)
{
	for (; size >= INDEX_ENTRY_LEN; index += INDEX_ENTRY_LEN, size -= INDEX_ENTRY_LEN)
		le64_put(index + INDEX_HASH_OFFSET, hash64(index, INDEX_HASH_OFFSET, 0));
}

/* Reading it all may end in damage, but ends. */
static void read_all(struct txlog *log)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct position oldest = txlog_oldest(log, NULL);
	struct txlog_reader reader;
	int r = txlog_reader_open(&reader, log, &oldest, &err);

	if (r != 0) {
		FUZZ_CHECK(r == 1 || err.code != 0);
		return;
	}
	do {
		r = txlog_reader_next(&reader, &err);
	} while (r == 0);
	FUZZ_CHECK(r == 1 || err.code != 0);
	txlog_reader_close(&reader);
}

static int see_record(void *arg, const struct txlog_place *place,
		      const struct record_header *header, struct error *err)
{
	FUZZ_CHECK(place->txid == header->txid && place->size == header->size);
	FUZZ_CHECK(place->offset >= LOG_HEADER_LEN && place->size <= *(size_t *)arg);
	FUZZ_CHECK(place->offset <= *(size_t *)arg - place->size);
	return 0;
}

/* Opens it; whether there is a log, that is to be closed. Nothing is made up. */
static bool open_log(bool write, size_t size, struct txlog *log, bool *ret_fresh)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct txlog_state state;
	int r;

	if (write)
		r = txlog_open(log, fuzz_folder(), "log", 1 << 20, &state, &err);
	else
		r = txlog_open_read_only(log, fuzz_folder(), "log", &state, &err);
	FUZZ_CHECK(r == 0 || (err.what != NULL && err.code != 0));
	FUZZ_CHECK(r < 0 || txlog_size(log) <= size);
	*ret_fresh = state.fresh;
	return r == 0;
}

/* As status and restore do; false: there is no log. */
static bool use_log(size_t size, struct position *ret_position)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct txlog log;
	bool fresh;

	if (!open_log(false, size, &log, &fresh))
		return false;
	*ret_position = txlog_position(&log, NULL, NULL);
	if (!fresh) {
		read_all(&log);
		(void)!txlog_each_backward(&log, see_record, &size, &err);
	}
	txlog_close(&log);
	return true;
}

/* A writer comes to the same end, also when it has cut off what is behind. */
static void check_writer(size_t size, bool expected, const struct position *end)
{
	for (int i = 0; i < 2; i++) {
		struct txlog log;
		struct position position;
		bool fresh;

		FUZZ_CHECK(open_log(true, size, &log, &fresh) == expected);
		if (!expected)
			return;
		position = txlog_position(&log, NULL, NULL);
		FUZZ_CHECK(position_equal(&position, end));
		txlog_close(&log);
	}
}

static void try_files(unsigned what, uint8_t *index, size_t index_len, uint8_t *bytes, size_t size)
{
	struct position end = { 0 };
	bool opened;

	if (what & FIX_INDEX)
		fix_index(index, index_len);
	if (what & FIX_HEADER)
		fix_header(bytes, size);
	if (size > LOG_HEADER_LEN)
		fuzz_fix_records(bytes + LOG_HEADER_LEN, size - LOG_HEADER_LEN, what);
	fuzz_folder_make("log");
	fuzz_folder_put(NAME ".idx", index, index_len);
	fuzz_folder_put(NAME ".log", bytes, size);
	opened = use_log(size, &end);
	check_writer(size, opened, &end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf copy CLEANUP_BUF = { 0 };
	size_t index_len;

	if (size < 3 || buf_append(&copy, data, size) < 0)
		return 0;
	index_len = MIN((size_t)(data[1] | data[2] << 8), size - 3);
	try_files(data[0], copy.data + 3, index_len, copy.data + 3 + index_len,
		  size - 3 - index_len);
	return 0;
}
