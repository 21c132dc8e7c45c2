/* SPDX-License-Identifier: MIT */
/* Objects; lists are in conformance_list.c. */
#include "tests/storage/conformance.h"

#include "base/hash.h"

#include <pthread.h>
#include <stdatomic.h>

static struct storage *storage_of(void **state)
{
	return ((struct storage_test *)*state)->storage;
}

void an_object_has_the_bytes_that_were_put(void **state)
{
	static const uint8_t data[] = { 0, 1, 2, 0, 0xff, '\n', 0x80, 0 };
	struct storage *s = storage_of(state);
	struct error err = ERROR_INIT;
	struct buf out = { 0 };

	storage_test_check(storage_put(s, "a/b", data, sizeof(data), &err), 0,
			   &err, "put", "a/b");
	storage_test_check(storage_get(s, "a/b", 0, SIZE_MAX, &out, &err), 0,
			   &err, "get", "a/b");
	assert_int_equal(out.len, sizeof(data));
	assert_memory_equal(out.data, data, sizeof(data));
	buf_done(&out);
	put_text(s, "top", "at the root");
	assert_text(s, "top", "at the root");
}

void an_empty_object_is_an_object(void **state)
{
	struct storage *s = storage_of(state);
	struct storage_object object = { .size = 7 };
	struct error err = ERROR_INIT;

	storage_test_check(storage_put(s, "e", NULL, 0, &err), 0, &err, "put", "e");
	storage_test_check(storage_stat(s, "e", &object, &err), 0, &err, "stat", "e");
	assert_int_equal(object.size, 0);
	assert_text(s, "e", "");
	storage_test_check(storage_put_new(s, "e", "x", 1, &err), 1, &err, "put_new", "e");
	storage_test_check(storage_put_new(s, "n", NULL, 0, &err), 0, &err, "put_new", "n");
	assert_text(s, "n", "");
	assert_list(s, "", NULL, "e n");
}

void a_get_appends_the_part_of_the_range_that_exists(void **state)
{
	static const struct {
		uint64_t off;
		size_t max_len;
		const char *expected;
	} cases[] = {
		{ 0, 10, "0123456789" },
		{ 0, SIZE_MAX, "0123456789" },
		{ 0, 1, "0" },
		{ 3, 4, "3456" },
		{ 9, 1, "9" },
		{ 7, 100, "789" },
		{ 9, SIZE_MAX, "9" },
		{ 0, 0, "" },
		{ 5, 0, "" },
		{ 10, 1, "" },
		{ 10, 0, "" },
		{ 11, 5, "" },
		{ UINT64_MAX, 1, "" },
		{ UINT64_MAX, SIZE_MAX, "" },
		{ INT64_MAX, SIZE_MAX, "" },
	};
	struct storage *s = storage_of(state);
	struct error err = ERROR_INIT;

	put_text(s, "digits", "0123456789");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf out = { 0 };

		assert_int_equal(buf_append(&out, "before:", 7), 0);
		storage_test_check(storage_get(s, "digits", cases[i].off,
					       cases[i].max_len, &out, &err),
				   0, &err, "get", "digits");
		assert_int_equal(out.len, 7 + strlen(cases[i].expected));
		assert_memory_equal(out.data, "before:", 7);
		assert_string_equal(buf_str(&out) + 7, cases[i].expected);
		buf_done(&out);
	}
}

void a_missing_object_is_an_answer_and_no_error(void **state)
{
	struct storage *s = storage_of(state);
	struct storage_object object;
	struct error err = ERROR_INIT;
	struct buf out = { 0 };

	put_text(s, "folder/object", "x");
	assert_absent(s, "none");
	assert_absent(s, "none/below");
	assert_absent(s, "folder/none");
	assert_absent(s, "folder");
	assert_int_equal(storage_stat(s, "none", &object, NULL), 1);
	assert_int_equal(buf_append(&out, "kept", 4), 0);
	storage_test_check(storage_get(s, "none", 0, 0, &out, &err), 1, &err, "get", "none");
	assert_int_equal(out.len, 4);
	buf_done(&out);
	remove_key(s, "none");
	remove_key(s, "none/below");
	remove_key(s, "folder");
	assert_text(s, "folder/object", "x");
}

void a_put_replaces_the_object(void **state)
{
	struct storage *s = storage_of(state);

	put_text(s, "k", "a long first version");
	put_text(s, "k", "short");
	assert_text(s, "k", "short");
	put_text(s, "k", "and a longer one again");
	assert_text(s, "k", "and a longer one again");
	put_text(s, "k", "");
	assert_text(s, "k", "");
	assert_list(s, "", NULL, "k");
}

void put_new_leaves_an_existing_object_alone(void **state)
{
	struct storage *s = storage_of(state);
	struct error err = ERROR_INIT;

	storage_test_check(storage_put_new(s, "d/k", "first", 5, &err), 0, &err,
			   "put_new", "d/k");
	storage_test_check(storage_put_new(s, "d/k", "other", 5, &err), 1, &err,
			   "put_new", "d/k");
	storage_test_check(storage_put_new(s, "d/k", "first", 5, &err), 1, &err,
			   "put_new", "d/k");
	assert_text(s, "d/k", "first");
	remove_key(s, "d/k");
	storage_test_check(storage_put_new(s, "d/k", "again", 5, &err), 0, &err,
			   "put_new", "d/k");
	assert_text(s, "d/k", "again");
}

#define N_RIVALS 8
#define N_PRIZES 40

struct rival {
	struct storage *s;
	pthread_barrier_t *start;
	int id;
	int results[N_PRIZES];
};

static void *compete(void *arg)
{
	struct rival *rival = arg;

	for (int i = 0; i < N_PRIZES; i++) {
		char *key CLEANUP_FREE = NULL;
		char text[2] = { (char)('0' + rival->id), '\0' };

		if (asprintf(&key, "prizes/%d", i) < 0)
			abort();
		pthread_barrier_wait(rival->start);
		rival->results[i] = storage_put_new(rival->s, key, text, 1, NULL);
	}
	return NULL;
}

static void check_prize(struct storage *s, const struct rival *rivals, int i)
{
	char *key CLEANUP_FREE = NULL;
	struct buf out CLEANUP_BUF = { 0 };
	struct error err = ERROR_INIT;
	int n_winners = 0;
	bool is_winners = false;

	assert_true(asprintf(&key, "prizes/%d", i) > 0);
	storage_test_check(storage_get(s, key, 0, SIZE_MAX, &out, &err), 0, &err, "get", key);
	assert_int_equal(out.len, 1);
	for (int j = 0; j < N_RIVALS; j++) {
		assert_in_range(rivals[j].results[i], 0, 1);
		if (rivals[j].results[i] != 0)
			continue;
		n_winners++;
		is_winners |= out.data[0] == '0' + rivals[j].id;
	}
	assert_true(is_winners);
	if (storage_can(s, STORAGE_CAN_PUT_NEW))
		assert_int_equal(n_winners, 1);
}

void of_eight_put_new_exactly_one_wins(void **state)
{
	struct storage *s = storage_of(state);
	struct rival rivals[N_RIVALS];
	pthread_t threads[N_RIVALS];
	pthread_barrier_t start;

	pthread_barrier_init(&start, NULL, N_RIVALS);
	for (int i = 0; i < N_RIVALS; i++) {
		rivals[i] = (struct rival){ .s = s, .start = &start, .id = i };
		assert_int_equal(pthread_create(&threads[i], NULL, compete, &rivals[i]), 0);
	}
	for (int i = 0; i < N_RIVALS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&start);
	for (int i = 0; i < N_PRIZES; i++)
		check_prize(s, rivals, i);
}

#define N_VERSIONS 150
#define VERSION_MAX (256 * 1024)

struct replacing {
	struct storage *s;
	atomic_int n_read;
	atomic_bool end;
	int failure;
};

static void *replace_versions(void *arg)
{
	struct replacing *replacing = arg;
	uint8_t *data = malloc(VERSION_MAX);

	if (data == NULL)
		abort();
	/* On until the reader has seen enough of it, too. */
	for (uint64_t i = 1;
	     replacing->failure == 0 && !atomic_load(&replacing->end) &&
	     (i <= N_VERSIONS || atomic_load(&replacing->n_read) < N_VERSIONS);
	     i++) {
		size_t len = 16 + (size_t)(hash64(&i, sizeof(i), 0) % (VERSION_MAX - 16));

		fill_version(data, len, i);
		replacing->failure = storage_put(replacing->s, "v", data, len, NULL);
	}
	free(data);
	atomic_store(&replacing->end, true);
	return NULL;
}

/* Reads until the writer is done. NULL, or what was wrong. */
static const char *read_versions(struct replacing *replacing)
{
	struct buf out CLEANUP_BUF = { 0 };
	int64_t last = 0;

	while (!atomic_load(&replacing->end)) {
		int64_t version;

		buf_reset(&out);
		if (storage_get(replacing->s, "v", 0, SIZE_MAX, &out, NULL) != 0)
			return "the object could not be read";
		version = check_version(out.data, out.len);
		if (version < 0)
			return "the object was torn";
		if (version < last)
			return "an older version came back";
		last = version;
		atomic_fetch_add(&replacing->n_read, 1);
	}
	return NULL;
}

void a_reader_sees_one_version_while_it_is_replaced(void **state)
{
	struct replacing replacing = { .s = storage_of(state) };
	struct error err = ERROR_INIT;
	const char *failure;
	pthread_t writer;
	uint8_t first[16];

	fill_version(first, sizeof(first), 0);
	storage_test_check(storage_put(replacing.s, "v", first, sizeof(first), &err),
			   0, &err, "put", "v");
	assert_int_equal(pthread_create(&writer, NULL, replace_versions, &replacing), 0);
	failure = read_versions(&replacing);
	atomic_store(&replacing.end, true);
	pthread_join(writer, NULL);
	assert_int_equal(replacing.failure, 0);
	if (failure != NULL)
		fail_msg("%s", failure);
}

void a_stat_tells_size_and_time(void **state)
{
	struct storage *s = storage_of(state);
	static const char key[] = "d/k";
	struct storage_object object = { 0 };
	struct error err = ERROR_INIT;

	put_text(s, key, "12345");
	storage_test_check(storage_stat(s, key, &object, &err), 0, &err, "stat", key);
	assert_int_equal(object.size, 5);
	assert_true(object.modified_us > 0);
	assert_ptr_equal(object.key, key);
}

#define LARGE (64 * 1024 * 1024)

void a_large_object_comes_back_whole(void **state)
{
	struct storage *s = storage_of(state);
	uint8_t *data CLEANUP_FREE = malloc(LARGE);
	struct error err = ERROR_INIT;
	struct buf out = { 0 };

	assert_non_null(data);
	fill_version(data, LARGE, 3);
	storage_test_check(storage_put(s, "large", data, LARGE, &err), 0, &err, "put", "large");
	storage_test_check(storage_get(s, "large", 0, SIZE_MAX, &out, &err), 0,
			   &err, "get", "large");
	assert_int_equal(out.len, LARGE);
	assert_true(memcmp(out.data, data, LARGE) == 0);
	buf_reset(&out);
	storage_test_check(storage_get(s, "large", LARGE - 5, 100, &out, &err),
			   0, &err, "get", "large");
	assert_int_equal(out.len, 5);
	assert_memory_equal(out.data, data + LARGE - 5, 5);
	buf_done(&out);
}

/* Every thread has its own object in folders that all share. */
static void *put_and_remove(void *arg)
{
	struct rival *rival = arg;
	char *key CLEANUP_FREE = NULL;
	int r = 0;

	if (asprintf(&key, "shared/folder/%d", rival->id) < 0)
		abort();
	for (int i = 0; r == 0 && i < 150; i++) {
		r = storage_put(rival->s, key, "x", 1, NULL);
		if (r == 0)
			r = storage_remove(rival->s, key, NULL);
	}
	rival->results[0] = r;
	return NULL;
}

void folders_come_and_go_under_concurrent_puts(void **state)
{
	struct storage *s = storage_of(state);
	struct rival rivals[4];
	pthread_t threads[4];

	for (int i = 0; i < 4; i++) {
		rivals[i] = (struct rival){ .s = s, .id = i };
		assert_int_equal(pthread_create(&threads[i], NULL,
						put_and_remove, &rivals[i]),
				 0);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < 4; i++)
		assert_int_equal(rivals[i].results[0], 0);
	assert_list(s, "", NULL, "");
	assert_folders(s, "", "");
}

void a_removed_object_is_gone_with_its_folders(void **state)
{
	struct storage *s = storage_of(state);

	put_text(s, "a/b/c/one", "1");
	put_text(s, "a/b/two", "2");
	remove_key(s, "a/b/c/one");
	assert_absent(s, "a/b/c/one");
	assert_folders(s, "a/b/", "");
	assert_list(s, "", NULL, "a/b/two");
	remove_key(s, "a/b/two");
	remove_key(s, "a/b/two");
	assert_folders(s, "", "");
	assert_list(s, "", NULL, "");
	put_text(s, "a", "what was a folder is a key now");
	assert_text(s, "a", "what was a folder is a key now");
}

static void assert_done_or_refused(int r)
{
	if (r != 0 && r != -ENOTDIR && r != -EISDIR)
		fail_msg("%d is neither done nor refused", r);
}

void an_object_and_a_folder_of_one_name_do_no_harm(void **state)
{
	struct storage *s = storage_of(state);

	put_text(s, "object", "o");
	put_text(s, "folder/x", "x");
	assert_absent(s, "object/below");
	assert_absent(s, "folder");
	assert_done_or_refused(storage_put(s, "object/below", "b", 1, NULL));
	assert_done_or_refused(storage_put_new(s, "object/new", "n", 1, NULL));
	assert_done_or_refused(storage_put(s, "folder", "f", 1, NULL));
	assert_int_not_equal(storage_put_new(s, "folder", "g", 1, NULL), -EEXIST);
	assert_text(s, "object", "o");
	assert_text(s, "folder/x", "x");
	remove_key(s, "folder");
	remove_key(s, "object/below");
	assert_text(s, "object", "o");
	assert_text(s, "folder/x", "x");
}

/* A key of len bytes, in components of nearly the greatest length. */
static char *long_key(size_t len)
{
	char *key = malloc(len + 1);

	assert_non_null(key);
	memset(key, 'k', len);
	for (size_t i = STORAGE_COMPONENT_MAX; i + 1 < len; i += STORAGE_COMPONENT_MAX)
		key[i] = '/';
	key[len] = '\0';
	return key;
}

void every_valid_key_is_taken(void **state)
{
	static const char *const keys[] = {
		" ",
		"!",
		"#hash?query&x=1",
		"%",
		"%41",
		"+ +",
		"-",
		"--help",
		"...",
		"..a",
		".hidden",
		".replitedfs",
		".replitedfs-backend2",
		"a b/c d",
		"a*?[x]",
		"a:b",
		"a\\b",
		"con",
		"e\xcc\x81",
		"quote'\"",
		"x.replitedfs-tmp",
		"~",
		"\xc3\xa9",
		"\xe6\x97\xa5\xe6\x9c\xac/\xe8\xaa\x9e",
		"\xf0\x9f\x92\xbe",
	};
	struct storage_test *test = *state;
	char *longest CLEANUP_FREE = long_key(test->key_max);
	char *listed CLEANUP_FREE = NULL;
	struct buf expected = { 0 };

	assert_int_equal(strlen(longest), test->key_max);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		put_text(test->storage, keys[i], keys[i]);
		assert_int_equal(buf_printf(&expected, "%s%s", i == 0 ? "" : " ", keys[i]), 0);
	}
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		assert_text(test->storage, keys[i], keys[i]);
	listed = list_text(test->storage, "", NULL);
	assert_string_equal(listed, buf_str(&expected));
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		remove_key(test->storage, keys[i]);
	put_text(test->storage, longest, "long");
	assert_text(test->storage, longest, "long");
	assert_list(test->storage, "", NULL, longest);
	remove_key(test->storage, longest);
	assert_list(test->storage, "", NULL, "");
	buf_done(&expected);
}

static void assert_key_refused(struct storage *s, const char *key, int code)
{
	struct error err = ERROR_INIT;
	struct storage_object object;
	struct buf out = { 0 };

	storage_test_check(storage_put(s, key, "x", 1, &err), -code, &err, "put", key);
	storage_test_check(storage_put_new(s, key, "x", 1, &err), -code, &err,
			   "put_new", key);
	storage_test_check(storage_get(s, key, 0, 1, &out, &err), -code, &err, "get", key);
	storage_test_check(storage_stat(s, key, &object, &err), -code, &err, "stat", key);
	storage_test_check(storage_remove(s, key, &err), -code, &err, "remove", key);
	assert_int_equal(storage_put(s, key, "x", 1, NULL), -code);
	assert_int_equal(storage_put(s, key, "x", 1, &err), -code);
	assert_int_equal(err.code, code);
	assert_non_null(err.what);
	error_done(&err);
}

void no_operation_takes_a_bad_key(void **state)
{
	static const char *const bad[] = {
		"",
		"/",
		"/a",
		"a/",
		"a//b",
		".",
		"..",
		"a/.",
		"a/..",
		"../a",
		"a/../b",
		"./a",
		"a\nb",
		"a\x7f",
		"\xff",
		"a/.replitedfs-tmp/b",
		".replitedfs-backend",
	};
	struct storage_test *test = *state;
	char *too_long CLEANUP_FREE = long_key(STORAGE_KEY_MAX + 1);
	char component[STORAGE_COMPONENT_MAX + 2];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_key_refused(test->storage, bad[i], EINVAL);
	assert_key_refused(test->storage, too_long, ENAMETOOLONG);
	memset(component, 'c', sizeof(component) - 1);
	component[sizeof(component) - 1] = '\0';
	assert_key_refused(test->storage, component, ENAMETOOLONG);
	assert_int_equal(storage_list(test->storage, "a//", NULL, collect_key, NULL, NULL),
			 -EINVAL);
	assert_int_equal(storage_list(test->storage, "", too_long, collect_key, NULL, NULL),
			 -ENAMETOOLONG);
	assert_int_equal(storage_list_folders(test->storage, "/", collect_key, NULL, NULL),
			 -EINVAL);
	assert_list(test->storage, "", NULL, "");
}

void a_stopped_backend_refuses_everything(void **state)
{
	struct storage *s = storage_of(state);
	struct storage_object object;
	struct error err = ERROR_INIT;
	struct buf out = { 0 };

	put_text(s, "k", "x");
	storage_stop(s);
	storage_stop(s);
	assert_int_equal(storage_put(s, "k", "y", 1, &err), -ECANCELED);
	assert_int_equal(err.code, ECANCELED);
	error_done(&err);
	assert_int_equal(storage_put_new(s, "n", "y", 1, NULL), -ECANCELED);
	assert_int_equal(storage_get(s, "k", 0, 1, &out, NULL), -ECANCELED);
	assert_int_equal(storage_stat(s, "k", &object, NULL), -ECANCELED);
	assert_int_equal(storage_remove(s, "k", NULL), -ECANCELED);
	assert_int_equal(storage_list(s, "", NULL, collect_key, &out, NULL), -ECANCELED);
	assert_int_equal(storage_list_folders(s, "", collect_key, &out, NULL), -ECANCELED);
	assert_int_equal(out.len, 0);
}

void a_backend_has_a_name_for_messages(void **state)
{
	assert_true(strlen(storage_url(storage_of(state))) > 0);
}
