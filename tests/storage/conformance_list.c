/* SPDX-License-Identifier: MIT */
#include "tests/storage/conformance.h"

#include <pthread.h>
#include <stdatomic.h>

static struct storage *storage_of(void **state)
{
	return ((struct storage_test *)*state)->storage;
}

/* In order. '!', '-' and '.' sort before '/', '0' and letters behind. */
static const char *const tricky_keys[] = {
	"A",	   "a!",     "a-b",	"a-b/x",    "a-b/x-y",
	"a-b/x/z", "a-b/x0", "a.b",	"a/a",	    "a/b-c",
	"a/b.c",   "a/b/c",  "a/b/d/e", "a/b0",	    "a/c",
	"a0",	   "a0/x",   "aa",	"b",	    "c/x/y",
	"c/x0/y",  "c0",     "z/z/z/z", "\xc3\xa4", "\xc3\xa4/x0",
};

/* Without those that have another key as a folder. */
static bool is_usable(size_t i)
{
	size_t len = strlen(tricky_keys[i]);

	for (size_t j = 0; j < ARRAY_LEN(tricky_keys); j++)
		if (strncmp(tricky_keys[j], tricky_keys[i], len) == 0 &&
		    tricky_keys[j][len] == '/')
			return false;
	return true;
}

static void put_tricky_keys(struct storage *s)
{
	/* In an order that is neither that of the list nor its reverse. */
	for (size_t i = 0; i < ARRAY_LEN(tricky_keys); i++) {
		size_t at = i * 7 % ARRAY_LEN(tricky_keys);

		if (is_usable(at))
			put_text(s, tricky_keys[at], tricky_keys[at]);
	}
}

/* What a list should have, from the table alone. */
static char *expected_list(const char *prefix, const char *after)
{
	struct buf keys = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(tricky_keys); i++) {
		if (!is_usable(i) || strncmp(tricky_keys[i], prefix, strlen(prefix)) != 0)
			continue;
		if (after != NULL && strcmp(tricky_keys[i], after) <= 0)
			continue;
		struct storage_object object = { .key = tricky_keys[i] };

		assert_int_equal(collect_key(&keys, &object, NULL), 0);
	}
	assert_non_null(buf_str(&keys));
	return (char *)keys.data;
}

static void assert_tricky_list(struct storage *s, const char *prefix, const char *after)
{
	char *expected CLEANUP_FREE = expected_list(prefix, after);

	assert_list(s, prefix, after, expected);
}

void a_list_is_in_order_of_the_bytes_of_the_whole_key(void **state)
{
	struct storage *s = storage_of(state);

	assert_list(s, "", NULL, "");
	for (size_t i = 1; i < ARRAY_LEN(tricky_keys); i++)
		assert_true(strcmp(tricky_keys[i - 1], tricky_keys[i]) < 0);
	put_tricky_keys(s);
	assert_tricky_list(s, "", NULL);
}

void a_list_has_what_begins_with_the_prefix(void **state)
{
	static const char *const prefixes[] = {
		"a",	 "a-",	    "a-b",    "a-b/",	  "a-b/x",
		"a/",	 "a/b",	    "a/b/",   "a/b/c",	  "a/b/cc",
		"a/.",	 ".",	    "..",     "A",	  "B",
		"b",	 "b/",	    "c/x",    "c/x/",	  "none",
		"none/", "z/z/z/z", "z/z/z/", "\xc3\xa4", "zz",
	};
	struct storage *s = storage_of(state);

	put_tricky_keys(s);
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
		assert_tricky_list(s, prefixes[i], NULL);
}

void a_list_goes_on_behind_any_text(void **state)
{
	static const char *const texts[] = {
		"",	"\x01",	    "@",   "a",	   "a/",    "a/b",
		"a/b/", "a/b/c/",   "a-",  "a-b/", "a.",    "a//",
		"a0/",	"c/",	    "c/x", "c/x/", "c/x/z", "c0/",
		"z",	"z/z/z/zz", "zzz", "\xc3", "\xff",
	};
	struct storage *s = storage_of(state);

	put_tricky_keys(s);
	for (size_t i = 0; i < ARRAY_LEN(tricky_keys); i++) {
		assert_tricky_list(s, "", tricky_keys[i]);
		assert_tricky_list(s, "a/", tricky_keys[i]);
		assert_tricky_list(s, "a", tricky_keys[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		assert_tricky_list(s, "", texts[i]);
		assert_tricky_list(s, "a", texts[i]);
		assert_tricky_list(s, "c/x", texts[i]);
	}
}

static int collect_sizes(void *arg, const struct storage_object *object, struct error *err)
{
	assert_true(object->modified_us > 0);
	return buf_printf(arg, "%s=%llu ", object->key,
			  (unsigned long long)object->size);
}

void a_list_tells_sizes(void **state)
{
	struct storage *s = storage_of(state);
	struct error err = ERROR_INIT;
	struct buf text = { 0 };

	put_text(s, "empty", "");
	put_text(s, "f/three", "123");
	put_text(s, "f/ten", "0123456789");
	storage_test_check(storage_list(s, "", NULL, collect_sizes, &text, &err),
			   0, &err, "list", "");
	assert_string_equal(buf_str(&text), "empty=0 f/ten=10 f/three=3 ");
	buf_done(&text);
}

struct counted {
	int n;
	int limit; /* at which result is returned */
	int result;
};

static int count(void *arg, const struct storage_object *object, struct error *err)
{
	struct counted *counted = arg;

	if (++counted->n < counted->limit)
		return 0;
	return counted->result < 0 ? error_set(err, -counted->result, "enough") :
				     counted->result;
}

void a_list_ends_when_its_reader_wants(void **state)
{
	struct storage *s = storage_of(state);
	struct error err = ERROR_INIT;

	put_tricky_keys(s);
	for (int limit = 1; limit < 8; limit++) {
		struct counted keys = { .limit = limit, .result = 1 };

		storage_test_check(storage_list(s, "", NULL, count, &keys, &err),
				   0, &err, "list", "");
		assert_int_equal(keys.n, limit);
	}
	struct counted folders = { .limit = 2, .result = 1 };

	storage_test_check(storage_list_folders(s, "", count, &folders, &err),
			   0, &err, "folders", "");
	assert_int_equal(folders.n, 2);
}

void a_list_fails_with_its_readers_error(void **state)
{
	struct storage *s = storage_of(state);
	struct counted keys = { .limit = 3, .result = -EIO };
	struct counted folders = { .limit = 2, .result = -EAGAIN };
	struct error err = ERROR_INIT;

	put_tricky_keys(s);
	assert_int_equal(storage_list(s, "", NULL, count, &keys, &err), -EIO);
	assert_string_equal(error_what(&err), "enough");
	assert_int_equal(keys.n, 3);
	assert_int_equal(storage_list_folders(s, "", count, &folders, &err), -EAGAIN);
	assert_string_equal(error_what(&err), "enough");
	assert_int_equal(folders.n, 2);
	error_done(&err);
}

#define N_MANY 1200

static void many_key(char *key, size_t size, int i)
{
	snprintf(key, size, "many/%d/%04d", i / 500, i);
}

struct checked {
	int n;
	bool wrong;
};

static int check_many(void *arg, const struct storage_object *object, struct error *err)
{
	struct checked *checked = arg;
	char key[32];

	many_key(key, sizeof(key), checked->n++);
	checked->wrong |= strcmp(key, object->key) != 0;
	return 0;
}

void a_long_list_is_complete_and_sorted(void **state)
{
	struct storage *s = storage_of(state);
	struct checked checked = { 0 };
	struct error err = ERROR_INIT;
	char key[32];

	for (int i = 0; i < N_MANY; i++) {
		many_key(key, sizeof(key), (i * 7) % N_MANY);
		put_text(s, key, "m");
	}
	storage_test_check(storage_list(s, "many/", NULL, check_many, &checked, &err),
			   0, &err, "list", "many/");
	assert_false(checked.wrong);
	assert_int_equal(checked.n, N_MANY);
	many_key(key, sizeof(key), 999);
	checked = (struct checked){ .n = 1000 };
	storage_test_check(storage_list(s, "many/", key, check_many, &checked, &err),
			   0, &err, "list", "many/");
	assert_false(checked.wrong);
	assert_int_equal(checked.n, N_MANY);
}

struct busy {
	struct storage *s;
	atomic_bool end;
	atomic_int n_rounds;
	atomic_int failure;
};

/* Makes and removes objects and folders between those that stay. */
static void *keep_busy(void *arg)
{
	static const char *const keys[] = { "s/00.", "s/03/new/er", "s/04-x", "s/x/y", "t" };
	struct busy *busy = arg;
	int r = 0;

	while (r == 0 && !atomic_load(&busy->end)) {
		for (size_t i = 0; r == 0 && i < ARRAY_LEN(keys); i++)
			r = storage_put(busy->s, keys[i], "busy", 4, NULL);
		for (size_t i = 0; r == 0 && i < ARRAY_LEN(keys); i++)
			r = storage_remove(busy->s, keys[i], NULL);
		atomic_fetch_add(&busy->n_rounds, 1);
	}
	atomic_store(&busy->failure, r);
	return NULL;
}

/* Appends the keys that stay, those that end in "stays". */
static int collect_staying(void *arg, const struct storage_object *object, struct error *err)
{
	size_t len = strlen(object->key);

	if (len < 5 || strcmp(object->key + len - 5, "stays") != 0)
		return 0;
	return collect_key(arg, object, err);
}

void a_list_is_complete_while_others_put_and_remove(void **state)
{
	struct busy busy = { .s = storage_of(state) };
	struct error err = ERROR_INIT;
	struct buf expected = { 0 };
	pthread_t thread;
	int r = 0;

	for (int i = 0; i < 40; i++) {
		char key[32];

		snprintf(key, sizeof(key), "s/%02d%sstays", i / 2, i % 2 ? "/" : "-");
		put_text(busy.s, key, "x");
		assert_int_equal(collect_key(&expected,
					     &(struct storage_object){ .key = key }, NULL),
				 0);
	}
	assert_int_equal(pthread_create(&thread, NULL, keep_busy, &busy), 0);
	for (int i = 0; r == 0 && (i < 60 || atomic_load(&busy.n_rounds) < 20); i++) {
		struct buf listed = { 0 };

		r = storage_list(busy.s, "", NULL, collect_staying, &listed, &err);
		if (r == 0 && (listed.len != expected.len ||
			       memcmp(listed.data, expected.data, listed.len) != 0))
			r = 1;
		buf_done(&listed);
		if (atomic_load(&busy.failure) != 0)
			break;
	}
	atomic_store(&busy.end, true);
	pthread_join(thread, NULL);
	buf_done(&expected);
	assert_int_equal(atomic_load(&busy.failure), 0);
	storage_test_check(r, 0, &err, "list", "while others put");
}

static int remove_listed(void *arg, const struct storage_object *object, struct error *err)
{
	return storage_remove(arg, object->key, err);
}

void a_list_can_remove_what_it_lists(void **state)
{
	struct storage *s = storage_of(state);
	struct error err = ERROR_INIT;

	put_tricky_keys(s);
	storage_test_check(storage_list(s, "a", NULL, remove_listed, s, &err),
			   0, &err, "list", "a");
	assert_list(s, "a", NULL, "");
	assert_list(s, "b", NULL, "b");
}

void folders_are_what_keys_have_before_their_slash(void **state)
{
	struct storage *s = storage_of(state);

	assert_folders(s, "", "");
	put_tricky_keys(s);
	assert_folders(s, "", "a-b/ a/ a0/ c/ z/ \xc3\xa4/");
	assert_folders(s, "a", "a-b/ a/ a0/");
	assert_folders(s, "a/", "a/b/");
	assert_folders(s, "a-b/", "a-b/x/");
	assert_folders(s, "c/", "c/x/ c/x0/");
	assert_folders(s, "c/x", "c/x/ c/x0/");
	assert_folders(s, "c/x/", "");
	assert_folders(s, "z/z/", "z/z/z/");
	assert_folders(s, "b", "");
	assert_folders(s, "b/", "");
	assert_folders(s, "none/", "");
}
