/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz.h"

#include "base/hash.h"
#include "replicate/manifest.h"
#include "replicate/owner.h"
#include "replicate/upload_cursor.h"

#include <inttypes.h>

/*
 * The documents: manifest, owner, cursor. The first byte says whether the rest
 * is one as it is, or the JSON of one, which gets a right first line; and whose.
 */

static void try_manifest(const uint8_t *data, size_t size)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct manifest manifest = { 0 };
	struct manifest again = { 0 };
	struct buf text CLEANUP_BUF = { 0 };

	if (manifest_parse(data, size, &manifest, &err) < 0)
		return;
	FUZZ_CHECK(manifest.name != NULL && manifest.n_snapshots <= MANIFEST_MAX_SNAPSHOTS);
	FUZZ_CHECK(manifest_format(&manifest, &text, &err) == 0);
	FUZZ_CHECK(manifest_parse(text.data, text.len, &again, &err) == 0);
	FUZZ_CHECK(again.n_generations == manifest.n_generations);
	manifest_done(&again);
	manifest_done(&manifest);
}

static void try_owner(const uint8_t *data, size_t size)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct owner owner = { 0 };

	if (owner_parse(data, size, &owner, &err) == 0)
		FUZZ_CHECK(owner.name != NULL && owner.host != NULL);
	owner_done(&owner);
}

static void try_cursor(const uint8_t *data, size_t size)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct upload_cursor cursor = { 0 };

	if (upload_cursor_parse(data, size, &cursor, &err) == 0)
		FUZZ_CHECK(layout_folder_valid(cursor.folder));
	upload_cursor_done(&cursor);
}

static void (*const tries[])(const uint8_t *data, size_t size) = {
	try_manifest, try_owner, try_cursor,
};
static const char *const kinds[] = { "manifest", "owner", "cursor" };

/* Puts the right first line before the JSON. */
static void try_json(unsigned what, const uint8_t *data, size_t size)
{
	struct buf text CLEANUP_BUF = { 0 };
	uint64_t hash;

	if (buf_printf(&text, "replitedfs %s 1 %08zx ", kinds[what], size) < 0)
		return;
	hash = hash64(data, size, hash64(text.data, text.len, 0));
	if (buf_printf(&text, "%016" PRIx64 "\n", hash) < 0 || buf_append(&text, data, size) < 0)
		return;
	tries[what](text.data, text.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned what;

	if (size == 0)
		return 0;
	what = data[0] / 2 % ARRAY_LEN(tries);
	if (data[0] % 2 == 0)
		tries[what](data + 1, size - 1);
	else
		try_json(what, data + 1, size - 1);
	return 0;
}
