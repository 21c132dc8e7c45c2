/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "replicate/record_reader.h"
#include "replicate/segment.h"
#include "replicate/snapshot.h"

/*
 * Stored objects. The first byte says what the rest is: an object as it is; one
 * whose lengths and hashes are put right first, so that what they protect is
 * looked at; or a header's few free fields and a payload before compression.
 */
enum {
	AS_IT_IS,
	REPAIRED,
	PAYLOAD,
	N_FORMS,
};

/* Offsets in the header, as docs/format.md has them. */
#define PAYLOAD_LEN_OFFSET 192
#define PAYLOAD_HASH_OFFSET 200
#define HEADER_HASH_OFFSET 248

/* Records may be nonsense, but reading them has to end. */
static void read_records(const struct buf *raw)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct record_memory memory;
	struct record_reader reader;

	record_memory_init(&memory, raw->data, raw->len);
	if (record_reader_init(&reader, &memory.source, &err) < 0)
		return;
	while (record_reader_next(&reader, &err) == 0)
		FUZZ_CHECK(reader.header.txid != 0);
	record_reader_done(&reader);
}

static void try_segment(const uint8_t *data, size_t size)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf raw CLEANUP_BUF = { 0 };
	struct object_header header;
	struct layout_segment name;

	if (object_open(data, size, OBJECT_SEGMENT, &header, &raw, &err) < 0)
		return;
	FUZZ_CHECK(raw.len == header.raw_len && raw.len <= OBJECT_RAW_MAX);
	name = (struct layout_segment){
		.last = header.to.position.txid,
		.first = header.from.position.txid + 1,
		.generation = header.to.position.generation,
		.part = (header.flags & OBJECT_FINAL) != 0 ? LAYOUT_PART_FINAL : header.part,
	};
	if (segment_open(data, size, &name, &header, &raw, &err) == 0)
		read_records(&raw);
}

/* Touches every page, as a restore would. */
static void try_snapshot(const uint8_t *data, size_t size)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf raw CLEANUP_BUF = { 0 };
	struct snapshot_part part;
	struct object_header header;
	struct layout_snapshot name;
	size_t at = 0;

	if (object_open(data, size, OBJECT_SNAPSHOT, &header, &raw, &err) < 0)
		return;
	name = (struct layout_snapshot){
		.txid = header.from.position.txid,
		.generation = header.to.position.generation,
		.part = header.part,
	};
	if (snapshot_open(data, size, &name, &part, &raw, &err) < 0)
		return;
	for (uint32_t i = 0; i < part.head.n_runs; i++) {
		struct snapshot_run run = snapshot_part_run(&part, i);

		FUZZ_CHECK(run.first != 0 && run.n != 0);
		at += (size_t)run.n * part.head.to.extent.page_size;
		FUZZ_CHECK(part.pages + at <= raw.data + raw.len);
	}
	FUZZ_CHECK(part.pages + at == raw.data + raw.len);
}

static void try_repaired(const uint8_t *data, size_t size)
{
	uint8_t *copy CLEANUP_FREE = size >= OBJECT_HEADER_LEN ? malloc(size) : NULL;

	if (copy == NULL)
		return;
	memcpy(copy, data, size);
	le64_put(copy + PAYLOAD_LEN_OFFSET, size - OBJECT_HEADER_LEN);
	le64_put(copy + PAYLOAD_HASH_OFFSET,
		 hash64(copy + OBJECT_HEADER_LEN, size - OBJECT_HEADER_LEN, 0));
	le64_put(copy + HEADER_HASH_OFFSET, hash64(copy, HEADER_HASH_OFFSET, 0));
	try_segment(copy, size);
	try_snapshot(copy, size);
}

static void try_payload(const uint8_t *data, size_t size)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf object CLEANUP_BUF = { 0 };
	struct object_header header = { .from.position.generation = 1, .to.position = { 1, 1, 0 } };

	if (size < 10)
		return;
	header.kind = (data[0] & 1) != 0 ? OBJECT_SEGMENT : OBJECT_SNAPSHOT;
	header.to.extent = (struct extent){ 512u << (data[0] >> 1 & 7), 1 };
	header.flags = OBJECT_FINAL;
	header.n_items = le32_get(data + 1);
	header.n_runs = header.kind == OBJECT_SNAPSHOT ? le32_get(data + 5) : 0;
	if (object_build(&header, data + 9, size - 9, 1, &object, &err) < 0)
		return;
	try_segment(object.data, object.len);
	try_snapshot(object.data, object.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	switch (data[0] % N_FORMS) {
	case AS_IT_IS:
		try_segment(data + 1, size - 1);
		try_snapshot(data + 1, size - 1);
		break;
	case REPAIRED:
		try_repaired(data + 1, size - 1);
		break;
	default:
		try_payload(data + 1, size - 1);
	}
	return 0;
}
