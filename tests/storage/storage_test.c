/* SPDX-License-Identifier: MIT */
#include "tests/storage/storage_test.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "storage/storage_fs.h"

int storage_test_setup(void **state)
{
	struct storage_test *test = calloc(1, sizeof(*test));
	void *folder = NULL;

	if (test == NULL || unit_folder_setup(&folder) < 0)
		return -1;
	test->folder = folder;
	test->key_max = STORAGE_KEY_MAX;
	*state = test;
	return 0;
}

int storage_test_teardown(void **state)
{
	struct storage_test *test = *state;
	void *folder = test->folder;
	int r;

	storage_free(test->storage);
	r = unit_folder_teardown(&folder);
	free(test);
	return r;
}

char *storage_test_path(const struct storage_test *test, const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", test->folder->path, name) < 0)
		fail_msg("out of memory");
	return path;
}

void storage_test_check(int r, int expected, struct error *err,
			const char *what, const char *key)
{
	if (r != expected)
		fail_msg("%s %s: %d instead of %d (%s)", what, key, r, expected,
			 error_what(err));
	error_done(err);
}

struct storage *storage_test_open(const struct storage_test *test, const char *name, bool create)
{
	char *path CLEANUP_FREE = storage_test_path(test, name);
	struct error err = ERROR_INIT;
	struct storage *s = NULL;

	storage_test_check(storage_fs_open(path, create, &s, &err), 0, &err, "open", path);
	return s;
}

void put_text(struct storage *s, const char *key, const char *text)
{
	struct error err = ERROR_INIT;

	storage_test_check(storage_put(s, key, text, strlen(text), &err), 0,
			   &err, "put", key);
}

void assert_text(struct storage *s, const char *key, const char *text)
{
	struct error err = ERROR_INIT;
	struct buf out = { 0 };

	storage_test_check(storage_get(s, key, 0, SIZE_MAX, &out, &err), 0, &err, "get", key);
	assert_non_null(buf_str(&out));
	assert_string_equal((char *)out.data, text);
	assert_int_equal(out.len, strlen(text));
	buf_done(&out);
}

void assert_absent(struct storage *s, const char *key)
{
	struct storage_object object;
	struct error err = ERROR_INIT;
	struct buf out = { 0 };

	storage_test_check(storage_stat(s, key, &object, &err), 1, &err, "stat", key);
	storage_test_check(storage_get(s, key, 0, 1, &out, &err), 1, &err, "get", key);
	assert_int_equal(out.len, 0);
	buf_done(&out);
}

void remove_key(struct storage *s, const char *key)
{
	struct error err = ERROR_INIT;

	storage_test_check(storage_remove(s, key, &err), 0, &err, "remove", key);
}

int collect_key(void *arg, const struct storage_object *object, struct error *err)
{
	struct buf *keys = arg;

	return buf_printf(keys, "%s%s", keys->len == 0 ? "" : " ", object->key);
}

static char *finish(struct buf *keys)
{
	assert_non_null(buf_str(keys));
	return (char *)keys->data;
}

char *list_text(struct storage *s, const char *prefix, const char *after)
{
	struct error err = ERROR_INIT;
	struct buf keys = { 0 };

	storage_test_check(storage_list(s, prefix, after, collect_key, &keys, &err),
			   0, &err, "list", prefix);
	return finish(&keys);
}

char *list_folders_text(struct storage *s, const char *prefix)
{
	struct error err = ERROR_INIT;
	struct buf keys = { 0 };

	storage_test_check(storage_list_folders(s, prefix, collect_key, &keys, &err),
			   0, &err, "list folders", prefix);
	return finish(&keys);
}

void assert_list(struct storage *s, const char *prefix, const char *after, const char *expected)
{
	char *keys CLEANUP_FREE = list_text(s, prefix, after);

	if (strcmp(keys, expected) != 0)
		fail_msg("list of '%s' after '%s': '%s' instead of '%s'",
			 prefix, after ? after : "(none)", keys, expected);
}

void assert_folders(struct storage *s, const char *prefix, const char *expected)
{
	char *keys CLEANUP_FREE = list_folders_text(s, prefix);

	if (strcmp(keys, expected) != 0)
		fail_msg("folders of '%s': '%s' instead of '%s'", prefix, keys, expected);
}

void fill_version(uint8_t *data, size_t len, uint64_t version)
{
	for (size_t i = 16; i < len; i++)
		data[i] = (uint8_t)(version * 31 + i);
	le64_put(data, version);
	le64_put(data + 8, hash64(data + 16, len - 16, version));
}

int64_t check_version(const uint8_t *data, size_t len)
{
	if (len < 16 || hash64(data + 16, len - 16, le64_get(data)) != le64_get(data + 8))
		return -1;
	return (int64_t)le64_get(data);
}
