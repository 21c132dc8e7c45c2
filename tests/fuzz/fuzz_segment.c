/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/records.h"
#include "tests/fuzz/stored.h"

#include "base/bytes.h"
#include "replicate/segment.h"

#include <string.h>

/*
 * The input is a part of a segment, in one of the forms of stored.h. A payload has
 * a byte before it: what to put right in the records, and NOT_FINAL.
 */
#define NOT_FINAL (1 << 3)

#define TXID_OFFSET 16 /* in a record, as docs/format.md has it */

static struct layout_segment name_of(const struct object_header *header)
{
	bool final = (header->flags & OBJECT_FINAL) != 0;

	return (struct layout_segment){
		.last = header->to.position.txid,
		.first = header->from.position.txid + 1,
		.generation = header->to.position.generation,
		.part = final ? LAYOUT_PART_FINAL : header->part,
	};
}

/* It fits its own name and no other. */
static void check_names(const struct object_header *header, const struct layout_segment *name)
{
	struct layout_segment other = *name;

	FUZZ_CHECK(segment_header_fits(header, name));
	other.last++;
	FUZZ_CHECK(!segment_header_fits(header, &other));
	other = *name;
	other.first--;
	FUZZ_CHECK(!segment_header_fits(header, &other));
	other = *name;
	other.generation++;
	FUZZ_CHECK(!segment_header_fits(header, &other));
	other = *name;
	other.part = name->part == LAYOUT_PART_FINAL ? header->part : LAYOUT_PART_FINAL;
	FUZZ_CHECK(!segment_header_fits(header, &other));
}

/* Gives the record at hand to packer. 0, or <0: it is damaged. */
static int pack_record(struct segment_packer *packer, struct record_reader *reader)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct record_entry entry;
	const uint8_t *data;
	int r = segment_packer_record(packer, &reader->header, &err);

	while (r == 0 && (r = record_reader_entry(reader, &entry, &data, &err)) == 0)
		r = segment_packer_entry(packer, &entry, data, &err);
	if (r == 1)
		segment_packer_end_record(packer);
	return r < 0 ? r : 0;
}

/* The payload is the same after another packing. */
static void check_packed(struct segment_packer *packer, const struct buf *raw)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf object CLEANUP_BUF = { 0 };
	struct buf again CLEANUP_BUF = { 0 };
	struct layout_segment name;
	struct object_header header;
	uint32_t n_items = packer->head.n_items;

	if (packer->head.to.position.txid < packer->head.from.position.txid)
		return;
	packer->level = 1;
	FUZZ_CHECK(segment_packer_seal(packer, true, 0, &object, &name, &err) == 0);
	FUZZ_CHECK(segment_open(object.data, object.len, &name, &header, &again, &err) == 0);
	FUZZ_CHECK(header.n_items == n_items);
	FUZZ_CHECK(again.len == raw->len &&
		   (raw->len == 0 || memcmp(again.data, raw->data, raw->len) == 0));
}

/* Records may be nonsense, but reading them has to end; whole ones are packed again. */
static void check_records(const struct buf *raw)
{
	static const struct id node_id;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct segment_packer packer = { 0 };
	struct log_header head = { .base.generation = 1 };
	struct point from = { .position.txid = 0 };
	struct record_memory memory;
	struct record_reader reader;
	int r;

	record_memory_init(&memory, raw->data, raw->len);
	r = record_reader_init(&reader, &memory.source, &err);
	segment_packer_begin(&packer, &node_id, &head, &from);
	while (r == 0 && (r = record_reader_next(&reader, &err)) == 0) {
		FUZZ_CHECK(reader.header.txid != 0);
		r = pack_record(&packer, &reader);
	}
	if (r == 1)
		check_packed(&packer, raw);
	segment_packer_done(&packer);
	record_reader_done(&reader);
}

static void try_segment(const uint8_t *data, size_t size)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf raw CLEANUP_BUF = { 0 };
	struct object_header header;
	struct layout_segment name;

	if (fuzz_stored_is_large(data, size)) {
		(void)!object_header_parse(data, OBJECT_SEGMENT, &header, &err);
		return;
	}
	if (object_open(data, size, OBJECT_SEGMENT, &header, &raw, &err) < 0) {
		FUZZ_CHECK(err.what != NULL && err.code != 0);
		return;
	}
	FUZZ_CHECK(raw.len == header.raw_len && raw.len <= OBJECT_RAW_MAX);
	name = name_of(&header);
	if (segment_open(data, size, &name, &header, &raw, &err) < 0) {
		FUZZ_CHECK(header.n_runs != 0 || header.part > LAYOUT_PART_MAX + 1);
		return;
	}
	check_names(&header, &name);
	check_records(&raw);
}

static void try_payload(const uint8_t *data, size_t size)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct object_header header = { .kind = OBJECT_SEGMENT, .to.position.generation = 1 };
	struct buf records CLEANUP_BUF = { 0 };
	struct buf object CLEANUP_BUF = { 0 };

	if (size == 0 || buf_append(&records, data + 1, size - 1) < 0)
		return;
	fuzz_fix_records(records.data, records.len, data[0]);
	if (records.len >= RECORD_HEADER_LEN)
		header.from.position.txid = le64_get(records.data + TXID_OFFSET) - 1;
	header.to.position.txid = header.from.position.txid;
	header.flags = (data[0] & NOT_FINAL) != 0 ? 0 : OBJECT_FINAL;
	if (object_build(&header, records.data, records.len, 1, &object, &err) == 0)
		try_segment(object.data, object.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf repaired CLEANUP_BUF = { 0 };

	if (size == 0)
		return 0;
	switch (data[0] % FUZZ_STORED_PACKED) {
	case FUZZ_STORED_AS_IT_IS:
		try_segment(data + 1, size - 1);
		break;
	case FUZZ_STORED_REPAIRED:
		if (fuzz_stored_repair(data + 1, size - 1, &repaired) == 0)
			try_segment(repaired.data, repaired.len);
		break;
	default:
		try_payload(data + 1, size - 1);
	}
	return 0;
}
