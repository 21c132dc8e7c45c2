/* SPDX-License-Identifier: MIT */
/* The folder backend's objects; its root is in test_storage_fs_root.c. */
#include "tests/storage/conformance.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

static int setup(void **state)
{
	struct storage_test *test;

	if (storage_test_setup(state) < 0)
		return -1;
	test = *state;
	test->storage = storage_test_open(test, "backend", true);
	return 0;
}

/* As on a filesystem without hard links. */
static int setup_without_links(void **state)
{
	setenv("REPLITEDFS_TEST_HOOKS", "storage-fs-no-links", 1);
	return setup(state);
}

static int teardown_without_links(void **state)
{
	unsetenv("REPLITEDFS_TEST_HOOKS");
	return storage_test_teardown(state);
}

static int n_files(const struct storage_test *test, const char *path)
{
	int fd = openat(test->folder->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fdopendir(fd);
	int n = 0;

	assert_non_null(dir);
	for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
		n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
	closedir(dir);
	return n;
}

static void write_file(const struct storage_test *test, const char *path, const char *text)
{
	int fd CLEANUP_FD =
		openat(test->folder->fd, path, O_WRONLY | O_CREAT | O_EXCL, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static bool exists(const struct storage_test *test, const char *path)
{
	return faccessat(test->folder->fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void an_object_is_a_file_that_only_its_owner_reads(void **state)
{
	struct storage_test *test = *state;
	struct stat st;

	put_text(test->storage, "a/b", "text");
	assert_int_equal(fstatat(test->folder->fd, "backend/a/b", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(st.st_size, 4);
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(fstatat(test->folder->fd, "backend/a", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
}

static void no_operation_leaves_a_temporary(void **state)
{
	struct storage_test *test = *state;
	struct storage *s = test->storage;

	put_text(s, "k", "1");
	put_text(s, "k", "2");
	assert_int_equal(storage_put_new(s, "k", "3", 1, NULL), 1);
	assert_int_equal(storage_put_new(s, "n", "3", 1, NULL), 0);
	assert_int_equal(storage_put(s, "k/below", "4", 1, NULL), -ENOTDIR);
	put_text(s, "f/x", "5");
	assert_int_equal(storage_put(s, "f", "6", 1, NULL), -EISDIR);
	assert_int_equal(storage_put_new(s, "f", "6", 1, NULL), -EISDIR);
	assert_int_equal(n_files(test, "backend/.replitedfs-tmp"), 0);
}

static void the_backends_own_files_are_hidden(void **state)
{
	struct storage_test *test = *state;

	put_text(test->storage, "k", "v");
	write_file(test, "backend/.replitedfs-tmp/0123", "half an obj");
	assert_list(test->storage, "", NULL, "k");
	assert_list(test->storage, ".", NULL, "");
	assert_list(test->storage, ".replitedfs-tmp", NULL, "");
	assert_folders(test->storage, "", "");
}

static void make_old(const struct storage_test *test, const char *path)
{
	const struct timespec old[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };

	assert_int_equal(utimensat(test->folder->fd, path, old, 0), 0);
}

static void stale_temporaries_go_when_a_writer_opens(void **state)
{
	struct storage_test *test = *state;
	struct storage *reader CLEANUP_STORAGE = NULL;
	struct storage *writer CLEANUP_STORAGE = NULL;

	put_text(test->storage, "k", "v");
	write_file(test, "backend/.replitedfs-tmp/old", "x");
	write_file(test, "backend/.replitedfs-tmp/young", "x");
	make_old(test, "backend/.replitedfs-tmp/old");
	make_old(test, "backend/k");
	reader = storage_test_open(test, "backend", false);
	assert_true(exists(test, "backend/.replitedfs-tmp/old"));
	writer = storage_test_open(test, "backend", true);
	assert_false(exists(test, "backend/.replitedfs-tmp/old"));
	assert_true(exists(test, "backend/.replitedfs-tmp/young"));
	assert_text(writer, "k", "v");
}

struct sweeping {
	const struct storage_test *test;
	atomic_bool end;
	atomic_int n_swept;
};

/*
 * Removes temporaries all the time, as a cleaner with a wrong clock would; but
 * only every second one, by its random name.
 */
static void *sweep(void *arg)
{
	struct sweeping *sweeping = arg;
	int fd = openat(sweeping->test->folder->fd, "backend/.replitedfs-tmp",
			O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fdopendir(fd);

	if (dir == NULL)
		abort();
	while (!atomic_load(&sweeping->end)) {
		rewinddir(dir);
		for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
			if (strchr("02468ace", entry->d_name[0]) != NULL &&
			    unlinkat(fd, entry->d_name, 0) == 0)
				atomic_fetch_add(&sweeping->n_swept, 1);
	}
	closedir(dir);
	return NULL;
}

static void a_put_whose_temporary_was_removed_begins_anew(void **state)
{
	struct storage_test *test = *state;
	struct sweeping sweeping = { .test = test };
	uint8_t data[4096];
	pthread_t thread;
	int r = 0;

	assert_int_equal(pthread_create(&thread, NULL, sweep, &sweeping), 0);
	for (uint64_t i = 1; r == 0 && (i <= 100 || atomic_load(&sweeping.n_swept) < 50); i++) {
		struct buf out = { 0 };

		fill_version(data, sizeof(data), i);
		r = storage_put(test->storage, "k", data, sizeof(data), NULL);
		if (r == 0)
			r = storage_get(test->storage, "k", 0, SIZE_MAX, &out, NULL);
		if (r == 0 && check_version(out.data, out.len) != (int64_t)i)
			r = -EBADMSG;
		buf_done(&out);
	}
	atomic_store(&sweeping.end, true);
	pthread_join(thread, NULL);
	assert_int_equal(r, 0);
}

static void symlinks_lead_nowhere(void **state)
{
	struct storage_test *test = *state;
	struct storage *s = test->storage;
	struct storage_object object;
	struct error err = ERROR_INIT;

	assert_int_equal(mkdirat(test->folder->fd, "outside", 0700), 0);
	write_file(test, "outside/file", "secret");
	assert_int_equal(symlinkat("../outside", test->folder->fd, "backend/folder"), 0);
	assert_int_equal(symlinkat("../outside/file", test->folder->fd, "backend/object"), 0);
	assert_int_equal(storage_put(s, "folder/new", "x", 1, &err), -ELOOP);
	assert_non_null(err.fix);
	assert_int_equal(storage_put_new(s, "folder/new", "x", 1, NULL), -ELOOP);
	assert_int_equal(storage_stat(s, "folder/file", &object, NULL), -ELOOP);
	assert_int_equal(storage_remove(s, "folder/file", NULL), -ELOOP);
	assert_int_equal(storage_stat(s, "object", &object, NULL), -ELOOP);
	assert_int_equal(storage_put_new(s, "object", "x", 1, NULL), -ELOOP);
	assert_list(s, "", NULL, "");
	put_text(s, "object", "mine");
	assert_text(s, "object", "mine");
	assert_int_equal(n_files(test, "outside"), 1);
	assert_int_equal(symlinkat("../outside/file", test->folder->fd, "backend/link"), 0);
	remove_key(s, "link");
	assert_true(exists(test, "outside/file"));
	error_done(&err);
}

static void what_is_no_file_is_no_object(void **state)
{
	struct storage_test *test = *state;

	put_text(test->storage, "k", "v");
	assert_int_equal(mkfifoat(test->folder->fd, "backend/fifo", 0600), 0);
	assert_int_equal(mkdirat(test->folder->fd, "backend/empty", 0700), 0);
	assert_int_equal(mkdirat(test->folder->fd, "backend/empty/too", 0700), 0);
	write_file(test, "backend/bad\nname", "x");
	assert_absent(test->storage, "fifo");
	assert_absent(test->storage, "empty");
	assert_list(test->storage, "", NULL, "k");
	assert_folders(test->storage, "", "");
}

static int n_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

static int stop_at_once(void *arg, const struct storage_object *object, struct error *err)
{
	return 1;
}

static void no_operation_keeps_a_descriptor(void **state)
{
	struct storage_test *test = *state;
	struct storage *s = test->storage;
	struct storage_object object;
	int before = n_descriptors();

	put_text(s, "a/b/c", "1");
	put_text(s, "a/b/c", "2");
	assert_int_equal(storage_put_new(s, "a/d", "1", 1, NULL), 0);
	assert_int_equal(storage_put_new(s, "a/d", "1", 1, NULL), 1);
	assert_int_equal(storage_put(s, "a/d/e", "1", 1, NULL), -ENOTDIR);
	assert_int_equal(storage_put(s, "a", "1", 1, NULL), -EISDIR);
	assert_text(s, "a/b/c", "2");
	assert_int_equal(storage_stat(s, "a", &object, NULL), 1);
	assert_list(s, "", NULL, "a/b/c a/d");
	assert_folders(s, "", "a/");
	assert_int_equal(storage_list(s, "", NULL, stop_at_once, NULL, NULL), 0);
	assert_int_equal(storage_list_folders(s, "", stop_at_once, NULL, NULL), 0);
	remove_key(s, "a/b/c");
	remove_key(s, "a/d");
	remove_key(s, "none/none");
	assert_int_equal(n_descriptors(), before);
	storage_free(storage_test_open(test, "other", true));
	assert_int_equal(n_descriptors(), before);
}

static void a_list_of_a_disk_passes_over_its_lost_and_found(void **state)
{
	struct storage_test *test = *state;

	assert_int_equal(mkdirat(test->folder->fd, "backend/lost+found", 0700), 0);
	put_text(test->storage, "k", "v");
	if (geteuid() != 0)
		skip();
	assert_int_equal(fchmod(test->folder->fd, 0755), 0);
	assert_int_equal(fchmodat(test->folder->fd, "backend", 0755, 0), 0);
	assert_int_equal(fchmodat(test->folder->fd, "backend/.replitedfs-backend", 0644, 0), 0);
	assert_int_equal(seteuid(65534), 0);
	char *keys CLEANUP_FREE = NULL;
	struct buf listed = { 0 };
	int r = storage_list(test->storage, "", NULL, collect_key, &listed, NULL);
	int r_folders = storage_list_folders(test->storage, "", collect_key, &listed, NULL);

	assert_int_equal(seteuid(0), 0);
	assert_int_equal(r, 0);
	assert_int_equal(r_folders, 0);
	assert_string_equal(buf_str(&listed), "k");
	buf_done(&listed);
}

#define IN_BACKEND(fn)                                                         \
	cmocka_unit_test_setup_teardown(fn, setup, storage_test_teardown)
#define WITHOUT_LINKS(fn)                                                      \
	cmocka_unit_test_setup_teardown(fn, setup_without_links, teardown_without_links)

static const struct CMUnitTest tests[] = {
	CONFORMANCE_TESTS(IN_BACKEND),
	WITHOUT_LINKS(put_new_leaves_an_existing_object_alone),
	WITHOUT_LINKS(of_eight_put_new_exactly_one_wins),
	WITHOUT_LINKS(an_object_and_a_folder_of_one_name_do_no_harm),
	WITHOUT_LINKS(no_operation_leaves_a_temporary),
	IN_BACKEND(an_object_is_a_file_that_only_its_owner_reads),
	IN_BACKEND(no_operation_leaves_a_temporary),
	IN_BACKEND(the_backends_own_files_are_hidden),
	IN_BACKEND(stale_temporaries_go_when_a_writer_opens),
	IN_BACKEND(a_put_whose_temporary_was_removed_begins_anew),
	IN_BACKEND(symlinks_lead_nowhere),
	IN_BACKEND(what_is_no_file_is_no_object),
	IN_BACKEND(no_operation_keeps_a_descriptor),
	IN_BACKEND(a_list_of_a_disk_passes_over_its_lost_and_found),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
