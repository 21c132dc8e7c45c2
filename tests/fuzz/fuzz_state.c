/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/document.h"
#include "tests/fuzz/folder.h"

#include "app/state.h"
#include "replicate/catalog.h"
#include "replicate/envelope.h"
#include "replicate/layout.h"

#include <fcntl.h>
#include <jansson.h>
#include <string.h>

/*
 * The small files of the state folder. The first byte says which: identity when
 * even, else a database's info; behind it is a document, see document.h.
 */
#define ID "0123456789abcdef0123456789abcdef"
#define IDENTITY STATE_NAME "/identity"
#define INFO STATE_NAME "/db/" ID "/info"

static void make_folders(void)
{
	fuzz_folder_make(STATE_NAME);
	fuzz_folder_make(STATE_NAME "/db");
	fuzz_folder_make(STATE_NAME "/db/" ID);
}

/* Nothing that must be in it was missing. */
static void check_fields(const struct buf *text)
{
	static const char *const names[] = { "node", "machine", "boot", "device", "inode" };
	const char *line_end = memchr(text->data, '\n', text->len);
	size_t line_len = (size_t)(line_end - (const char *)text->data) + 1;
	json_t *json CLEANUP_JSON = json_loadb(line_end + 1, text->len - line_len, 0, NULL);

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		FUZZ_CHECK(json_is_string(json_object_get(json, names[i])));
}

static void try_identity(const uint8_t *data, size_t size)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf text CLEANUP_BUF = { 0 };
	struct state state;

	if (!fuzz_document("identity", data, size, &text))
		return;
	fuzz_folder_put(IDENTITY, text.data, text.len);
	if (state_open(&state, fuzz_folder(), "", false, &err) < 0) {
		FUZZ_CHECK(err.what != NULL && err.code != 0 && state.fd < 0);
		return;
	}
	check_fields(&text);
	/* No input knows the inode. */
	FUZZ_CHECK(state.fd >= 0 && state.copied && !state.same_boot);
	state_close(&state);
}

static int see_database(void *arg, const struct id *id, const char *name, bool ended,
			struct error *err)
{
	char *escaped CLEANUP_FREE = layout_escape(name);
	char *back CLEANUP_FREE = escaped != NULL ? layout_unescape(escaped) : NULL;
	char hex[ID_HEX_LEN + 1];

	id_format(id, hex);
	FUZZ_CHECK(strcmp(hex, ID) == 0 && name[0] != '\0');
	FUZZ_CHECK(back == NULL || strcmp(back, name) == 0);
	*(int *)arg += 1;
	return 0;
}

static void try_info(const uint8_t *data, size_t size)
{
	int state_fd CLEANUP_FD = openat(fuzz_folder(), STATE_NAME, O_RDONLY | O_DIRECTORY);
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf text CLEANUP_BUF = { 0 };
	int n = 0;
	int r;

	if (!fuzz_document("database", data, size, &text))
		return;
	fuzz_folder_put(INFO, text.data, text.len);
	r = catalog_each_known(state_fd, see_database, &n, &err);
	FUZZ_CHECK(r == 0 ? n == 1 : n == 0 && err.what != NULL && err.code != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	make_folders();
	if (data[0] % 2 == 0)
		try_identity(data + 1, size - 1);
	else
		try_info(data + 1, size - 1);
	return 0;
}
