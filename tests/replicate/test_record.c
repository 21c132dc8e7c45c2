/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "replicate/delta.h"
#include "replicate/record_reader.h"

#define PAGE_LEN 512u
#define MEMBER_EQUAL(a, b, member) assert_int_equal((a).member, (b).member)

static struct record_header a_header(void)
{
	return (struct record_header){
		.kind = RECORD_COMMIT,
		.flags = RECORD_UNDOABLE,
		.size = RECORD_HEADER_LEN,
		.txid = 7,
		.time_us = -5,
		.before = { 4096, 10 },
		.after = { 4096, 12 },
		.checksum_before = 0x1111222233334444,
		.checksum_after = 0x5555666677778888,
		.mark = { 1, 2, 3, 4, 5 },
		.entries_hash = hash64("", 0, 0),
	};
}

static int parse_header(const uint8_t *bytes, struct record_header *ret_header)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;

	return record_header_parse(bytes, ret_header, &err);
}

static void a_header_is_read_as_written(void **state)
{
	struct record_header a = a_header();
	struct record_header b;
	uint8_t bytes[RECORD_HEADER_LEN];

	record_header_format(&a, bytes);
	assert_int_equal(parse_header(bytes, &b), 0);
	MEMBER_EQUAL(a, b, kind);
	MEMBER_EQUAL(a, b, flags);
	MEMBER_EQUAL(a, b, size);
	MEMBER_EQUAL(a, b, txid);
	MEMBER_EQUAL(a, b, time_us);
	MEMBER_EQUAL(a, b, before.n_pages);
	MEMBER_EQUAL(a, b, after.page_size);
	MEMBER_EQUAL(a, b, checksum_before);
	MEMBER_EQUAL(a, b, checksum_after);
	MEMBER_EQUAL(a, b, entries_hash);
	assert_memory_equal(&a.mark, &b.mark, sizeof(a.mark));
}

static void every_flipped_bit_of_a_header_is_noticed(void **state)
{
	struct record_header a = a_header();
	struct record_header b;
	uint8_t bytes[RECORD_HEADER_LEN];

	record_header_format(&a, bytes);
	for (size_t i = 0; i < sizeof(bytes) * 8; i++) {
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_int_equal(parse_header(bytes, &b), -EBADMSG);
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(parse_header(bytes, &b), 1);
}

/* With a right hash and wrong content: written by something else. */
static void headers_that_contradict_themselves_are_refused(void **state)
{
	struct record_header wrong[10];

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct record_header ignored;
		uint8_t bytes[RECORD_HEADER_LEN];

		wrong[i] = a_header();
		wrong[0].kind = 3;
		wrong[1].flags = 2;
		wrong[2].txid = 0;
		wrong[3].after.page_size = 1000;
		wrong[4].before = (struct extent){ 0, 3 };
		wrong[5].size = RECORD_HEADER_LEN - 1;
		wrong[6].n_entries = 1; /* does not fit into the size */
		wrong[7].size = RECORD_HEADER_LEN + 1;
		wrong[8].after.n_pages = UINT32_MAX;
		wrong[9].size = UINT64_MAX;
		record_header_format(&wrong[i], bytes);
		assert_int_equal(parse_header(bytes, &ignored), -EBADMSG);
	}
}

static int parse_entry(const struct record_entry *entry, struct record_entry *ret_entry)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct record_header header = a_header();
	uint8_t bytes[RECORD_ENTRY_LEN];

	record_entry_format(entry, bytes);
	return record_entry_parse(bytes, &header, ret_entry, &err);
}

static void entries_must_be_possible(void **state)
{
	/* The database had 10 pages before, and has 12 after. */
	static const struct {
		struct record_entry entry;
		int r;
	} cases[] = {
		{ { 12, RECORD_WHOLE, 4096, 9 }, 0 },
		{ { 13, RECORD_WHOLE, 4096, 9 }, -EBADMSG },
		{ { 0, RECORD_WHOLE, 4096, 9 }, -EBADMSG },
		{ { 1, RECORD_WHOLE, 4095, 9 }, -EBADMSG },
		{ { 1, RECORD_WHOLE, 4097, 9 }, -EBADMSG },
		{ { 12, RECORD_XOR, 0, 9 }, 0 },
		{ { 12, RECORD_XOR, 4096 + 16, 9 }, 0 },
		{ { 12, RECORD_XOR, 4096 + 17, 9 }, -EBADMSG },
		{ { 10, RECORD_CUT, 0, 9 }, 0 },
		{ { 11, RECORD_CUT, 0, 9 }, -EBADMSG },
		{ { 1, 0, 0, 9 }, -EBADMSG },
		{ { 1, 4, 0, 9 }, -EBADMSG },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct record_entry found;

		assert_int_equal(parse_entry(&cases[i].entry, &found), cases[i].r);
		if (cases[i].r != 0)
			continue;
		assert_int_equal(found.pgno, cases[i].entry.pgno);
		assert_int_equal(found.encoding, cases[i].entry.encoding);
		assert_int_equal(found.data_len, cases[i].entry.data_len);
		assert_int_equal(found.hash, 9);
	}
}

static struct log_header a_log_header(void)
{
	return (struct log_header){
		.node_id.bytes = { 1 },
		.database_id.bytes = { 2 },
		.term = 3,
		.parent = { 4, 5, 6 },
		.base = { 7, 8, 9 },
		.extent = { 65536, 11 },
		.time_us = 12,
		.mark = { 13, 14, 15, 16, 17 },
	};
}

static int parse_log(const uint8_t *bytes, struct log_header *ret_header)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;

	return log_header_parse(bytes, ret_header, &err);
}

static void a_log_header_is_read_as_written(void **state)
{
	struct log_header a = a_log_header();
	struct log_header b;
	uint8_t bytes[LOG_HEADER_LEN];

	log_header_format(&a, bytes);
	assert_int_equal(parse_log(bytes, &b), 0);
	assert_true(id_equal(&a.node_id, &b.node_id) && id_equal(&a.database_id, &b.database_id));
	assert_true(position_equal(&a.base, &b.base) && position_equal(&a.parent, &b.parent));
	MEMBER_EQUAL(a, b, term);
	MEMBER_EQUAL(a, b, extent.page_size);
	MEMBER_EQUAL(a, b, extent.n_pages);
	MEMBER_EQUAL(a, b, time_us);
	assert_memory_equal(&a.mark, &b.mark, sizeof(a.mark));
	for (size_t i = 0; i < sizeof(bytes) * 8; i++) {
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_true(parse_log(bytes, &b) < 0);
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
	}
}

static void reserved_bytes_of_a_log_header_are_zero(void **state)
{
	static const size_t reserved[] = { 92, 95, 148, 151 };
	struct log_header a = a_log_header();
	struct log_header b;
	uint8_t bytes[LOG_HEADER_LEN];

	for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
		log_header_format(&a, bytes);
		bytes[reserved[i]] = 1;
		le64_put(bytes + 152, hash64(bytes, 152, 0));
		assert_int_equal(parse_log(bytes, &b), -EBADMSG);
	}
}

static void what_a_newer_version_wrote_is_refused_as_such(void **state)
{
	struct log_header a = a_log_header();
	struct log_header b;
	uint8_t bytes[LOG_HEADER_LEN];

	log_header_format(&a, bytes);
	le32_put(bytes + 8, 2);
	assert_int_equal(parse_log(bytes, &b), -EPROTONOSUPPORT);
	a.key_id = 1;
	log_header_format(&a, bytes);
	assert_int_equal(parse_log(bytes, &b), -EPROTONOSUPPORT);
	a = a_log_header();
	a.base.generation = 0;
	log_header_format(&a, bytes);
	assert_int_equal(parse_log(bytes, &b), -EBADMSG);
}

/* Appends a record of n entries, one in three of them whole. */
static void append_record(struct buf *out, uint64_t txid, uint32_t n)
{
	struct record_header header = {
		.kind = RECORD_COMMIT,
		.txid = txid,
		.before = { PAGE_LEN, n },
		.after = { PAGE_LEN, n },
		.n_entries = n,
	};
	size_t at = out->len;
	uint8_t *bytes;

	assert_non_null(buf_extend(out, RECORD_HEADER_LEN));
	for (uint32_t i = 1; i <= n; i++) {
		struct record_entry entry = { i, i % 3 ? RECORD_XOR : RECORD_WHOLE, PAGE_LEN, txid };
		uint8_t page[PAGE_LEN] = { 0 };
		uint8_t data[PAGE_LEN + 16];

		memset(page + i, (int)txid, 50);
		if (entry.encoding == RECORD_WHOLE)
			memcpy(data, page, PAGE_LEN);
		else
			entry.data_len = (uint32_t)delta_encode(NULL, page, PAGE_LEN, data);
		bytes = buf_extend(out, RECORD_ENTRY_LEN);
		assert_non_null(bytes);
		record_entry_format(&entry, bytes);
		assert_int_equal(buf_append(out, data, entry.data_len), 0);
	}
	bytes = out->data + at;
	header.size = out->len - at;
	header.entries_hash = hash64(bytes + RECORD_HEADER_LEN, header.size - RECORD_HEADER_LEN, 0);
	record_header_format(&header, bytes);
}

/* Reads a stream to its end. The records that were whole; ret_r what ended it. */
static uint64_t read_stream(const struct buf *stream, uint32_t n_read, int *ret_r)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct record_memory memory;
	struct record_reader reader;
	uint64_t n = 0;
	int r;

	record_memory_init(&memory, stream->data, stream->len);
	assert_int_equal(record_reader_init(&reader, &memory.source, &err), 0);
	while ((r = record_reader_next(&reader, &err)) == 0) {
		struct record_entry entry;
		const uint8_t *data;

		assert_int_equal(reader.header.txid, ++n);
		for (uint32_t i = 0; i < n_read && r == 0; i++) {
			r = record_reader_entry(&reader, &entry, &data, &err);
			if (r == 0)
				assert_int_equal(entry.pgno, i + 1);
		}
		if (r < 0)
			break;
	}
	*ret_r = r;
	record_reader_done(&reader);
	return r < 0 && n > 0 ? n - 1 : n;
}

static void a_stream_is_read_whole_in_part_or_skipped(void **state)
{
	struct buf stream CLEANUP_BUF = { 0 };
	int r;

	for (uint32_t i = 1; i <= 20; i++)
		append_record(&stream, i, i % 7);
	for (uint32_t n_read = 0; n_read < 10; n_read++) {
		assert_int_equal(read_stream(&stream, n_read, &r), 20);
		assert_int_equal(r, 1);
	}
}

static void every_flipped_byte_of_a_stream_is_noticed(void **state)
{
	struct buf stream CLEANUP_BUF = { 0 };
	size_t ends[6] = { 0 };
	size_t whole = 0;

	for (uint32_t i = 1; i <= 5; i++) {
		append_record(&stream, i, i);
		ends[i] = stream.len;
	}
	for (size_t at = 0; at < stream.len; at++) {
		uint64_t n;
		int r;

		while (ends[whole + 1] <= at)
			whole++;
		stream.data[at] ^= 0x04;
		/* At the latest when the record behind it is asked for. */
		n = read_stream(&stream, at % 2 != 0 ? 100 : 0, &r);
		assert_int_equal(r, -EBADMSG);
		assert_true(n <= whole && n + 1 >= whole);
		stream.data[at] ^= 0x04;
	}
}

static void a_stream_that_is_cut_off_is_noticed(void **state)
{
	struct buf stream CLEANUP_BUF = { 0 };
	size_t ends[4] = { 0 };
	size_t len;

	for (uint32_t i = 1; i <= 3; i++) {
		append_record(&stream, i, 2);
		ends[i] = stream.len;
	}
	len = stream.len;
	for (stream.len = 0; stream.len <= len; stream.len++) {
		bool at_end = stream.len == 0 || stream.len == ends[1] || stream.len == ends[2] ||
			      stream.len == ends[3];
		int r;

		read_stream(&stream, 100, &r);
		assert_int_equal(r, at_end ? 1 : -EBADMSG);
	}
	stream.len = len;
}

static void zeros_are_no_record(void **state)
{
	struct buf stream CLEANUP_BUF = { 0 };
	int r;

	append_record(&stream, 1, 2);
	memset(buf_extend(&stream, 500), 0, 500);
	read_stream(&stream, 100, &r);
	assert_int_equal(r, -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_header_is_read_as_written),
		cmocka_unit_test(every_flipped_bit_of_a_header_is_noticed),
		cmocka_unit_test(headers_that_contradict_themselves_are_refused),
		cmocka_unit_test(entries_must_be_possible),
		cmocka_unit_test(a_log_header_is_read_as_written),
		cmocka_unit_test(reserved_bytes_of_a_log_header_are_zero),
		cmocka_unit_test(what_a_newer_version_wrote_is_refused_as_such),
		cmocka_unit_test(a_stream_is_read_whole_in_part_or_skipped),
		cmocka_unit_test(every_flipped_byte_of_a_stream_is_noticed),
		cmocka_unit_test(a_stream_that_is_cut_off_is_noticed),
		cmocka_unit_test(zeros_are_no_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
