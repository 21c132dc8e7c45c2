/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/folder.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "replicate/hashfile.h"

#include <string.h>

/*
 * The input is a file of page hashes behind a byte that says what to put right in
 * it: bit 0 magic, version and id, bit 1 the hash of the head. Of the head only
 * the bytes that are used are there.
 */
enum {
	FIX_KIND = 1 << 0,
	FIX_HASH = 1 << 1,
};

/* As docs/format.md has it. */
#define HEAD_LEN 4096
#define ID_OFFSET 16
#define HASH_OFFSET 120
#define USED_LEN 128

static const struct id id = { .bytes = { 0x12, 0x34 } };

/* The bytes of the file. */
static int make_file(const uint8_t *data, size_t size, struct buf *out)
{
	size_t used = MIN(size - 1, (size_t)USED_LEN);
	uint8_t *head = buf_extend(out, HEAD_LEN);

	if (head == NULL)
		return -1;
	memset(head, 0, HEAD_LEN);
	memcpy(head, data + 1, used);
	if (data[0] & FIX_KIND) {
		memcpy(head, "RPLTHASH", 8);
		le32_put(head + 8, 1);
		memcpy(head + ID_OFFSET, &id, sizeof(id));
	}
	if (data[0] & FIX_HASH)
		le64_put(head + HASH_OFFSET, hash64(head, HASH_OFFSET, 0));
	return buf_append(out, data + 1 + used, size - 1 - used);
}

/* What is in the file can be used, and stays in it. */
static void use(struct hashfile *file, bool fresh)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct evidence evidence;
	struct extent extent;
	struct extent again;
	struct position position = hashfile_position(file, &extent);
	struct position found;

	FUZZ_CHECK(!fresh || (extent.n_pages == 0 && !hashfile_clean(file, &evidence)));
	(void)!hashfile_checksum(file, extent.n_pages);
	hashfile_set_position(file, &position, extent);
	found = hashfile_position(file, &again);
	FUZZ_CHECK(position_equal(&position, &found));
	FUZZ_CHECK(extent.page_size == again.page_size && extent.n_pages == again.n_pages);
	FUZZ_CHECK(hashfile_mark_dirty(file, &err) == 0 && !hashfile_clean(file, &evidence));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf bytes CLEANUP_BUF = { 0 };
	struct hashfile file;
	int r;

	if (size == 0 || make_file(data, size, &bytes) < 0)
		return 0;
	fuzz_folder_put("hashes", bytes.data, bytes.len);
	r = hashfile_open(&file, fuzz_folder(), "hashes", &id, &err);
	FUZZ_CHECK(r == 0 || r == 1);
	use(&file, r == 1);
	hashfile_close(&file);
	return 0;
}
