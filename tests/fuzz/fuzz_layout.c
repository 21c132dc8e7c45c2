/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz.h"

#include "replicate/layout.h"

#include <string.h>

/* Names of databases, folders and objects. */

static void try_name(const char *text)
{
	static const struct id id = { .bytes = { 0x12, 0x34, 0x56, 0x78 } };
	char *escaped CLEANUP_FREE = layout_escape(text);
	char *back CLEANUP_FREE = escaped != NULL ? layout_unescape(escaped) : NULL;
	char *folder CLEANUP_FREE = layout_folder(text, &id);

	if (back != NULL)
		FUZZ_CHECK(strcmp(back, text) == 0);
	if (folder == NULL || text[0] == '\0')
		return;
	FUZZ_CHECK(layout_folder_valid(folder));
	FUZZ_CHECK(layout_folder_has_id(folder, &id));
	FUZZ_CHECK(layout_folder_has_name(folder, text));
}

static void try_text(const char *text)
{
	char *name CLEANUP_FREE = layout_unescape(text);
	char *again CLEANUP_FREE = name != NULL ? layout_escape(name) : NULL;

	if (again != NULL)
		FUZZ_CHECK(strcmp(again, text) == 0);
	(void)!layout_folder_valid(text);
}

static void try_key(const char *text)
{
	struct layout_segment segment;
	struct layout_snapshot snapshot;
	char key[LAYOUT_KEY_SIZE];

	if (layout_segment_parse(text, &segment)) {
		layout_segment_key(key, "f", &segment);
		FUZZ_CHECK(strcmp(key + 2, text) == 0);
	}
	if (layout_snapshot_parse(text, &snapshot)) {
		layout_snapshot_key(key, "f", &snapshot);
		FUZZ_CHECK(strcmp(key + 2, text) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text CLEANUP_FREE = malloc(size + 1);

	if (text == NULL || size > LAYOUT_NAME_MAX)
		return 0;
	if (size != 0)
		memcpy(text, data, size);
	text[size] = '\0';
	try_name(text);
	try_text(text);
	try_key(text);
	return 0;
}
