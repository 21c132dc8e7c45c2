/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/document.h"

#include "replicate/upload_cursor.h"

#include <errno.h>
#include <string.h>

/* The input is the cursor of an uploader, see document.h. */

static void check_same(const struct upload_cursor *a, const struct upload_cursor *b)
{
	FUZZ_CHECK(strcmp(a->url, b->url) == 0 && strcmp(a->folder, b->folder) == 0);
	FUZZ_CHECK(position_equal(&a->stored.position, &b->stored.position));
	FUZZ_CHECK(position_equal(&a->snapshot.position, &b->snapshot.position));
	FUZZ_CHECK(a->snapshot_us == b->snapshot_us && a->manifest.ended == b->manifest.ended);
	FUZZ_CHECK(strcmp(a->manifest.name, b->manifest.name) == 0);
	FUZZ_CHECK(a->manifest.n_generations == b->manifest.n_generations);
}

/* What was read is written as what reads the same. */
static void check_again(const struct upload_cursor *cursor)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf text CLEANUP_BUF = { 0 };
	struct buf same CLEANUP_BUF = { 0 };
	struct upload_cursor again = { 0 };

	if (upload_cursor_format(cursor, &text, &err) < 0) {
		FUZZ_CHECK(err.code == EFBIG || err.code == ENOMEM);
		return;
	}
	FUZZ_CHECK(upload_cursor_parse(text.data, text.len, &again, &err) == 0);
	check_same(cursor, &again);
	FUZZ_CHECK(upload_cursor_format(&again, &same, &err) == 0);
	FUZZ_CHECK(same.len == text.len && memcmp(same.data, text.data, text.len) == 0);
	upload_cursor_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf text CLEANUP_BUF = { 0 };
	struct upload_cursor cursor = { 0 };

	if (!fuzz_document("cursor", data, size, &text))
		return 0;
	if (upload_cursor_parse(text.data, text.len, &cursor, &err) < 0) {
		FUZZ_CHECK(err.what != NULL && err.code != 0);
		FUZZ_CHECK(cursor.url == NULL && cursor.folder == NULL);
		return 0;
	}
	FUZZ_CHECK(cursor.url[0] != '\0' && layout_folder_valid(cursor.folder));
	check_again(&cursor);
	upload_cursor_done(&cursor);
	return 0;
}
