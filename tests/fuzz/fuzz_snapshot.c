/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/stored.h"

#include "base/bytes.h"
#include "replicate/page.h"
#include "replicate/snapshot.h"

#include <string.h>

/*
 * The input is a part of a snapshot, in one of the forms of stored.h. Before a
 * payload stand a byte, whose last three bits are the page size, and the numbers
 * of items and runs, 4 bytes each. What is to be packed has the same byte, then
 * for each run 4 bytes of first page, one of how many (and of what is in them).
 */
#define RUN_MAX 4
#define PACKED_RUN_LEN 5
#define PACKED_MAX (256u << 10) /* bytes of pages */

static uint32_t page_size_of(uint8_t byte)
{
	return PAGE_SIZE_MIN << (byte & 7);
}

/* Reads every page, as a restore would: they end where the payload does. */
static void check_pages(const struct snapshot_part *part, const struct buf *raw)
{
	uint32_t page_size = part->head.to.extent.page_size;
	const uint8_t *page = part->pages;
	uint32_t n_pages = 0;

	for (uint32_t i = 0; i < part->head.n_runs; i++) {
		struct snapshot_run run = snapshot_part_run(part, i);

		FUZZ_CHECK(run.first != 0 && run.first <= PAGE_NUMBER_MAX);
		FUZZ_CHECK(run.n != 0 && run.n - 1 <= PAGE_NUMBER_MAX - run.first);
		for (uint32_t k = 0; k < run.n; k++, page += page_size)
			(void)!page_hash(run.first + k, page, page_size);
		n_pages += run.n;
	}
	FUZZ_CHECK(n_pages == part->head.n_items);
	FUZZ_CHECK(page == raw->data + raw->len);
}

/* Opens it by the name that it has; no other name will do. 0 when it is one. */
static int open_part(const uint8_t *data, size_t size, struct snapshot_part *part,
		     struct buf *raw)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct error other_err CLEANUP_ERROR = ERROR_INIT;
	struct object_header header;
	struct layout_snapshot name;

	if (fuzz_stored_is_large(data, size)) {
		(void)!object_header_parse(data, OBJECT_SNAPSHOT, &header, &err);
		return -1;
	}
	if (object_open(data, size, OBJECT_SNAPSHOT, &header, raw, &err) < 0) {
		FUZZ_CHECK(err.what != NULL && err.code != 0);
		return -1;
	}
	FUZZ_CHECK(raw->len == header.raw_len && raw->len <= OBJECT_RAW_MAX);
	name = (struct layout_snapshot){
		.txid = header.from.position.txid,
		.generation = header.to.position.generation,
		.part = header.part + 1,
	};
	FUZZ_CHECK(snapshot_open(data, size, &name, part, raw, &other_err) < 0);
	name.part--;
	return snapshot_open(data, size, &name, part, raw, &err);
}

static void try_part(const uint8_t *data, size_t size)
{
	struct buf raw CLEANUP_BUF = { 0 };
	struct snapshot_part part;

	if (open_part(data, size, &part, &raw) == 0)
		check_pages(&part, &raw);
}

static void try_payload(const uint8_t *data, size_t size)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct object_header header = { .kind = OBJECT_SNAPSHOT, .to.position.generation = 1 };
	struct buf object CLEANUP_BUF = { 0 };

	if (size < 9)
		return;
	header.to.extent = (struct extent){ page_size_of(data[0]), 1 };
	header.flags = OBJECT_FINAL;
	header.n_items = le32_get(data + 1);
	header.n_runs = le32_get(data + 5);
	if (object_build(&header, data + 9, size - 9, 1, &object, &err) == 0)
		try_part(object.data, object.len);
}

/* A run that is possible, of pages that tell each other apart. */
static struct snapshot_run make_run(const uint8_t *data, uint32_t page_size, uint8_t *pages)
{
	struct snapshot_run run = { le32_get(data), data[4] % RUN_MAX + 1 };

	if (run.first == 0 || run.first > PAGE_NUMBER_MAX - RUN_MAX)
		run.first = 1;
	for (uint32_t i = 0; i < run.n; i++)
		memset(pages + (size_t)i * page_size, (int)(data[4] + i), page_size);
	return run;
}

/* The pages of what was packed come out of the part in order. */
static void check_packed(const uint8_t *data, size_t size, uint32_t page_size,
			 const struct snapshot_part *part)
{
	static uint8_t expected[(size_t)RUN_MAX * PAGE_SIZE_MAX];
	const uint8_t *page = part->pages;
	struct snapshot_run at = { 0, 0 };
	uint32_t i = 0;

	for (; size >= PACKED_RUN_LEN; data += PACKED_RUN_LEN, size -= PACKED_RUN_LEN) {
		struct snapshot_run run = make_run(data, page_size, expected);

		for (uint32_t k = 0; k < run.n; k++) {
			if (at.n == 0) {
				FUZZ_CHECK(i < part->head.n_runs);
				at = snapshot_part_run(part, i++);
			}
			FUZZ_CHECK(at.first++ == run.first + k && at.n-- != 0);
			FUZZ_CHECK(memcmp(page, expected + (size_t)k * page_size, page_size) == 0);
			page += page_size;
		}
	}
	FUZZ_CHECK(at.n == 0 && i == part->head.n_runs);
}

static void try_packed(const uint8_t *data, size_t size)
{
	static uint8_t pages[(size_t)RUN_MAX * PAGE_SIZE_MAX];
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct snapshot_packer packer = { .head.from.position.generation = 1 };
	struct point to = { .position = { 1, 1, 0 } };
	struct buf object CLEANUP_BUF = { 0 };
	struct buf raw CLEANUP_BUF = { 0 };
	struct snapshot_part part;
	uint32_t page_size;

	if (size == 0)
		return;
	page_size = page_size_of(*data++);
	size--;
	if (size / PACKED_RUN_LEN * RUN_MAX * page_size > PACKED_MAX)
		return;
	to.extent = (struct extent){ page_size, PAGE_NUMBER_MAX };
	for (size_t i = 0; i + PACKED_RUN_LEN <= size; i += PACKED_RUN_LEN) {
		struct snapshot_run run = make_run(data + i, page_size, pages);

		FUZZ_CHECK(snapshot_packer_add(&packer, run.first, run.n, pages, page_size,
					       &err) == 0);
	}
	FUZZ_CHECK(snapshot_packer_seal(&packer, true, &to, 0, &object, &err) == 0);
	FUZZ_CHECK(open_part(object.data, object.len, &part, &raw) == 0);
	check_pages(&part, &raw);
	check_packed(data, size, page_size, &part);
	snapshot_packer_done(&packer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf repaired CLEANUP_BUF = { 0 };

	if (size == 0)
		return 0;
	switch (data[0] % (FUZZ_STORED_PACKED + 1)) {
	case FUZZ_STORED_AS_IT_IS:
		try_part(data + 1, size - 1);
		break;
	case FUZZ_STORED_REPAIRED:
		if (fuzz_stored_repair(data + 1, size - 1, &repaired) == 0)
			try_part(repaired.data, repaired.len);
		break;
	case FUZZ_STORED_PAYLOAD:
		try_payload(data + 1, size - 1);
		break;
	default:
		try_packed(data + 1, size - 1);
	}
	return 0;
}
