/* SPDX-License-Identifier: MIT */
#ifndef TESTS_STORAGE_STORAGE_TEST_H
#define TESTS_STORAGE_STORAGE_TEST_H

#include "tests/unit.h"

#include "storage/storage.h"

/*
 * What the tests of storage/ share. A test's *state is a struct whose first
 * member is the backend under test, of which this is the common beginning.
 */
struct storage_test {
	struct storage *storage;
	struct unit_folder *folder;
	size_t key_max; /* how long a key may be here */
};

/* Makes *state a storage_test with a folder and no storage yet. 0, or -1. */
int storage_test_setup(void **state);

/* Frees the storage and the folder. */
int storage_test_teardown(void **state);

/* The path name in the test's folder; the caller frees it. */
char *storage_test_path(const struct storage_test *test, const char *name);

/* Opens the folder backend name in the test's folder. */
struct storage *storage_test_open(const struct storage_test *test,
				  const char *name, bool create);

/* Fails the test, with the error, unless r is expected. */
void storage_test_check(int r, int expected, struct error *err,
			const char *what, const char *key);

/* The operations on texts, which must succeed. */
void put_text(struct storage *s, const char *key, const char *text);
void assert_text(struct storage *s, const char *key, const char *text);
void assert_absent(struct storage *s, const char *key);
void remove_key(struct storage *s, const char *key);

/* The keys of a list, with their sizes if wanted, as one text: "a b/c d". */
char *list_text(struct storage *s, const char *prefix, const char *after);
char *list_folders_text(struct storage *s, const char *prefix);
void assert_list(struct storage *s, const char *prefix, const char *after,
		 const char *expected);
void assert_folders(struct storage *s, const char *prefix, const char *expected);

/* A storage_list_fn that appends each key and a space to the struct buf arg. */
int collect_key(void *arg, const struct storage_object *object, struct error *err);

/*
 * The bytes of a version of an object: any mixture of two versions, or a cut,
 * is found by check_version(), which returns the version or -1. At least 16.
 */
void fill_version(uint8_t *data, size_t len, uint64_t version);
int64_t check_version(const uint8_t *data, size_t len);

#endif
