/* SPDX-License-Identifier: MIT */
#include "tests/replicate/codec.h"

#include "replicate/segment.h"
#include "replicate/snapshot.h"

static const struct layout_segment segment_name = { 9, 8, 77, LAYOUT_PART_FINAL };
static const struct layout_snapshot snapshot_name = { 7, 77, 1, 0 };

static const struct log_header head = {
	.node_id.bytes = { 1 },
	.database_id.bytes = { 2 },
	.term = 3,
	.parent = { 66, 5, 6 },
	.base = { 77, 5, 6 },
};
static const struct point from = { { 77, 7, 70 }, { 512, 2 }, 1000 };

static int parse_segment(const uint8_t *data, size_t len)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf raw CLEANUP_BUF = { 0 };
	struct object_header header;

	return segment_open(data, len, &segment_name, &header, &raw, &err);
}

static int parse_snapshot(const uint8_t *data, size_t len)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf raw CLEANUP_BUF = { 0 };
	struct snapshot_part part;

	return snapshot_open(data, len, &snapshot_name, &part, &raw, &err);
}

static void check(int r, const struct error *err)
{
	if (r < 0)
		fail_msg("%s", error_what(err));
}

static void add_record(struct segment_packer *packer, uint64_t txid, uint32_t len)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	uint8_t *data CLEANUP_FREE = calloc(1, len);
	struct record_header record = {
		.kind = RECORD_COMMIT,
		.size = RECORD_HEADER_LEN + RECORD_ENTRY_LEN + len,
		.txid = txid,
		.time_us = (int64_t)txid * 1000,
		.before = { 512, 2 },
		.after = { 512, 2 },
		.n_entries = 1,
		.checksum_after = txid,
	};
	struct record_entry entry = { 1, RECORD_WHOLE, len, 5 };

	check(segment_packer_record(packer, &record, &err), &err);
	check(segment_packer_entry(packer, &entry, data, &err), &err);
	segment_packer_end_record(packer);
}

static void make_segment(struct buf *out)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct segment_packer packer = { 0 };
	struct layout_segment name;

	segment_packer_begin(&packer, &head.node_id, &head, &from);
	add_record(&packer, 8, 512);
	add_record(&packer, 9, 512);
	check(segment_packer_seal(&packer, true, 5, out, &name, &err), &err);
	assert_int_equal(name.last, segment_name.last);
	assert_int_equal(name.first, segment_name.first);
	assert_int_equal(name.generation, segment_name.generation);
	assert_int_equal(name.part, segment_name.part);
	segment_packer_done(&packer);
}

static void make_snapshot(struct buf *out)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct snapshot_packer packer = { .head.from = from };
	uint8_t pages[3 * 512];

	memset(pages, 7, sizeof(pages));
	check(snapshot_packer_add(&packer, 1, 1, pages, 512, &err), &err);
	check(snapshot_packer_add(&packer, 2, 2, pages, 512, &err), &err);
	check(snapshot_packer_add(&packer, 9, 3, pages, 512, &err), &err);
	check(snapshot_packer_seal(&packer, true, &from, 5, out, &err), &err);
	snapshot_packer_done(&packer);
}

static void a_segment_comes_back_as_it_was(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf object CLEANUP_BUF = { 0 };
	struct buf raw CLEANUP_BUF = { 0 };
	struct object_header header;

	make_segment(&object);
	check(segment_open(object.data, object.len, &segment_name, &header, &raw, &err), &err);
	assert_int_equal(raw.len, 2 * (RECORD_HEADER_LEN + RECORD_ENTRY_LEN + 512));
	assert_int_equal(header.n_items, 2);
	assert_int_equal(header.to.position.txid, 9);
	assert_int_equal(header.to.position.checksum, 9);
	assert_int_equal(header.to.time_us, 9000);
	assert_int_equal(header.parent.generation, 66);
	assert_memory_equal(&header.from, &from, sizeof(from));
}

static void damage_to_a_segment_is_noticed(void **state)
{
	struct buf object CLEANUP_BUF = { 0 };

	make_segment(&object);
	codec_detects_every_flip(parse_segment, object.data, object.len);
	codec_detects_every_cut(parse_segment, object.data, object.len);
	assert_true(buf_append(&object, "x", 1) == 0);
	assert_int_equal(parse_segment(object.data, object.len), -EBADMSG);
}

static void a_segment_under_another_name_is_refused(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf object CLEANUP_BUF = { 0 };
	struct buf raw CLEANUP_BUF = { 0 };
	struct layout_segment names[] = { segment_name, segment_name, segment_name, segment_name };
	struct object_header header;

	make_segment(&object);
	names[0].last++;
	names[1].first++;
	names[2].generation++;
	names[3].part = 0;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_int_equal(segment_open(object.data, object.len, &names[i], &header, &raw,
					      &err), -EBADMSG);
}

static void a_large_record_spans_parts(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct segment_packer packer = { 0 };
	struct layout_segment name;
	struct object_header header;
	size_t total = 0;

	segment_packer_begin(&packer, &head.node_id, &head, &from);
	add_record(&packer, 8, 2 * OBJECT_RAW_TARGET + 5);
	for (uint32_t part = 0; part < 3; part++) {
		struct buf object CLEANUP_BUF = { 0 };
		struct buf raw CLEANUP_BUF = { 0 };
		bool final = !segment_packer_full(&packer);

		assert_int_equal(final, part == 2);
		check(segment_packer_seal(&packer, final, 5, &object, &name, &err), &err);
		assert_int_equal(name.part, final ? LAYOUT_PART_FINAL : part);
		check(segment_open(object.data, object.len, &name, &header, &raw, &err), &err);
		assert_int_equal(header.part, part);
		assert_int_equal(header.n_items, part == 0);
		assert_int_equal(header.to.position.txid, 8);
		total += raw.len;
	}
	assert_int_equal(total, 2 * OBJECT_RAW_TARGET + 5 + RECORD_HEADER_LEN + RECORD_ENTRY_LEN);
	segment_packer_done(&packer);
}

static void a_snapshot_part_comes_back_as_it_was(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf object CLEANUP_BUF = { 0 };
	struct buf raw CLEANUP_BUF = { 0 };
	struct snapshot_part part;

	make_snapshot(&object);
	check(snapshot_open(object.data, object.len, &snapshot_name, &part, &raw, &err), &err);
	assert_int_equal(part.head.n_runs, 2);
	assert_int_equal(part.head.n_items, 6);
	assert_int_equal(snapshot_part_run(&part, 0).n, 3);
	assert_int_equal(snapshot_part_run(&part, 1).first, 9);
	assert_int_equal(part.pages[6 * 512 - 1], 7);
}

static void damage_to_a_snapshot_part_is_noticed(void **state)
{
	struct buf object CLEANUP_BUF = { 0 };

	make_snapshot(&object);
	codec_detects_every_flip(parse_snapshot, object.data, object.len);
	codec_detects_every_cut(parse_snapshot, object.data, object.len);
}

static void impossible_runs_are_refused(void **state)
{
	static const uint32_t bad[][2] = { { 0, 1 }, { 1, 0 }, { UINT32_MAX, 1 }, { 1, 2 } };
	struct error err CLEANUP_ERROR = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct buf object CLEANUP_BUF = { 0 };
		struct object_header header = {
			.kind = OBJECT_SNAPSHOT,
			.from = from,
			.to = from,
			.n_items = 1,
			.n_runs = 1,
		};
		uint8_t raw[SNAPSHOT_RUN_LEN + 512] = { 0 };

		memcpy(raw, &bad[i], 8);
		check(object_build(&header, raw, sizeof(raw), 1, &object, &err), &err);
		assert_int_equal(parse_snapshot(object.data, object.len), -EBADMSG);
	}
}

static void a_bomb_is_refused(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf object CLEANUP_BUF = { 0 };
	struct object_header header = { .kind = OBJECT_SEGMENT, .from = from, .to = from };
	uint8_t *zeros CLEANUP_FREE = calloc(1, OBJECT_RAW_MAX + 1);

	assert_int_equal(object_build(&header, zeros, OBJECT_RAW_MAX + 1, 1, &object, &err),
			 -EFBIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_segment_comes_back_as_it_was),
		cmocka_unit_test(damage_to_a_segment_is_noticed),
		cmocka_unit_test(a_segment_under_another_name_is_refused),
		cmocka_unit_test(a_large_record_spans_parts),
		cmocka_unit_test(a_snapshot_part_comes_back_as_it_was),
		cmocka_unit_test(damage_to_a_snapshot_part_is_noticed),
		cmocka_unit_test(impossible_runs_are_refused),
		cmocka_unit_test(a_bomb_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
