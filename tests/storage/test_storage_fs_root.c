/* SPDX-License-Identifier: MIT */
/* The folder that a backend lives in: made, missing, gone, and back. */
#include "tests/storage/storage_test.h"

#include "storage/storage_fs.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
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

static bool may_mount;

/* In a mount namespace of its own, which ends with the process. */
static int setup_mounts(void **state)
{
	may_mount = unshare(CLONE_NEWNS) == 0 &&
		    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
	if (!may_mount)
		print_message("# skipped, nothing can be mounted here: %s\n",
			      strerror(errno));
	return setup(state);
}

#define NEEDS_MOUNTS                                                           \
	do {                                                                   \
		if (!may_mount)                                                \
			skip();                                                \
	} while (0)

/* Mounts what on the folder name of the test; NULL = a tmpfs with options. */
static void mount_at(const struct storage_test *test, const char *name,
		     const char *what, const char *options)
{
	char *at CLEANUP_FREE = storage_test_path(test, name);
	char *from CLEANUP_FREE = what == NULL ? NULL : storage_test_path(test, what);

	if (what == NULL)
		assert_int_equal(mount("tmpfs", at, "tmpfs", 0, options), 0);
	else
		assert_int_equal(mount(from, at, NULL, MS_BIND, NULL), 0);
}

static void unmount_at(const struct storage_test *test, const char *name)
{
	char *at CLEANUP_FREE = storage_test_path(test, name);

	assert_int_equal(umount(at), 0);
}

static int make_folder(const struct storage_test *test, const char *name)
{
	return mkdirat(test->folder->fd, name, 0700);
}

static void rename_in(const struct storage_test *test, const char *from, const char *to)
{
	assert_int_equal(renameat(test->folder->fd, from, test->folder->fd, to), 0);
}

static bool exists(const struct storage_test *test, const char *path)
{
	return faccessat(test->folder->fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool is_empty(const struct storage_test *test, const char *path)
{
	int fd = openat(test->folder->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fdopendir(fd);
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n == 2;
}

static void write_file(const struct storage_test *test, const char *path, const char *text)
{
	int fd CLEANUP_FD =
		openat(test->folder->fd, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* Every operation fails with code, and explains itself. */
static void assert_all_fail(struct storage *s, int code)
{
	struct storage_object object;
	struct error err = ERROR_INIT;
	struct buf out = { 0 };

	assert_int_equal(storage_put(s, "k", "x", 1, &err), -code);
	assert_int_equal(err.code, code);
	assert_non_null(err.why);
	assert_non_null(err.fix);
	assert_int_equal(storage_put_new(s, "n", "x", 1, NULL), -code);
	assert_int_equal(storage_get(s, "k", 0, 1, &out, NULL), -code);
	assert_int_equal(storage_stat(s, "k", &object, NULL), -code);
	assert_int_equal(storage_list(s, "", NULL, collect_key, &out, NULL), -code);
	assert_int_equal(storage_list_folders(s, "", collect_key, &out, NULL), -code);
	assert_int_equal(storage_remove(s, "k", NULL), -code);
	assert_int_equal(out.len, 0);
	error_done(&err);
}

static void assert_open_fails(const struct storage_test *test, const char *name,
			      bool create, int code)
{
	char *path CLEANUP_FREE = storage_test_path(test, name);
	struct storage *s = NULL;
	struct error err = ERROR_INIT;
	int r = storage_fs_open(path, create, &s, &err);

	if (r != -code)
		fail_msg("open %s: %d instead of %d (%s)", name, r, -code,
			 error_what(&err));
	assert_null(s);
	assert_int_equal(err.code, code);
	assert_non_null(strstr(error_what(&err), name));
	assert_non_null(err.fix);
	error_done(&err);
}

static void a_missing_folder_is_an_error_that_helps(void **state)
{
	struct storage_test *test = *state;

	assert_open_fails(test, "missing", false, ENOENT);
	assert_false(exists(test, "missing"));
}

static void only_the_last_folder_is_made(void **state)
{
	struct storage_test *test = *state;
	struct storage *s CLEANUP_STORAGE = NULL;

	assert_open_fails(test, "not-mounted/backups", true, ENOENT);
	assert_false(exists(test, "not-mounted"));
	assert_int_equal(make_folder(test, "mounted"), 0);
	s = storage_test_open(test, "mounted/backups", true);
	put_text(s, "k", "v");
	assert_true(exists(test, "mounted/backups/k"));
}

static void a_file_is_no_backend(void **state)
{
	struct storage_test *test = *state;

	write_file(test, "file", "x");
	assert_open_fails(test, "file", false, ENOTDIR);
	assert_open_fails(test, "file", true, ENOTDIR);
	assert_open_fails(test, "file/below", true, ENOTDIR);
}

static void a_backend_is_opened_again(void **state)
{
	struct storage_test *test = *state;
	struct storage *writer CLEANUP_STORAGE = NULL;
	struct storage *reader CLEANUP_STORAGE = NULL;

	put_text(test->storage, "k", "v");
	writer = storage_test_open(test, "backend", true);
	reader = storage_test_open(test, "backend", false);
	assert_text(writer, "k", "v");
	assert_text(reader, "k", "v");
	put_text(reader, "r", "a reader may write, too");
	assert_text(test->storage, "r", "a reader may write, too");
}

static void *open_and_put(void *arg)
{
	struct storage *s = NULL;
	intptr_t r = storage_fs_open(arg, true, &s, NULL);

	if (r == 0)
		r = storage_put(s, "k", "v", 1, NULL);
	storage_free(s);
	return (void *)r;
}

static void several_may_make_the_same_backend_at_once(void **state)
{
	struct storage_test *test = *state;
	pthread_t threads[8];

	for (int round = 0; round < 20; round++) {
		char name[16];
		char *path CLEANUP_FREE = NULL;
		void *r = NULL;

		snprintf(name, sizeof(name), "new-%d", round);
		path = storage_test_path(test, name);
		for (size_t i = 0; i < ARRAY_LEN(threads); i++)
			assert_int_equal(pthread_create(&threads[i], NULL, open_and_put, path), 0);
		for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
			pthread_join(threads[i], &r);
			assert_int_equal((intptr_t)r, 0);
		}
	}
}

static void a_root_that_went_away_is_used_again_when_it_is_back(void **state)
{
	struct storage_test *test = *state;

	put_text(test->storage, "k", "v");
	rename_in(test, "backend", "elsewhere");
	assert_all_fail(test->storage, ENOENT);
	assert_false(exists(test, "backend"));
	rename_in(test, "elsewhere", "backend");
	assert_text(test->storage, "k", "v");
	put_text(test->storage, "k", "w");
	assert_text(test->storage, "k", "w");
}

static void nothing_is_written_where_the_marker_is_missing(void **state)
{
	struct storage_test *test = *state;

	put_text(test->storage, "k", "v");
	rename_in(test, "backend", "elsewhere");
	assert_int_equal(make_folder(test, "backend"), 0);
	assert_all_fail(test->storage, ENOMEDIUM);
	assert_true(is_empty(test, "backend"));
	assert_int_equal(unlinkat(test->folder->fd, "backend", AT_REMOVEDIR), 0);
	rename_in(test, "elsewhere", "backend");
	assert_text(test->storage, "k", "v");
}

static void another_backend_is_not_taken_for_the_one_opened(void **state)
{
	struct storage_test *test = *state;
	struct storage *other CLEANUP_STORAGE = storage_test_open(test, "other", true);

	put_text(test->storage, "k", "mine");
	put_text(other, "k", "other");
	rename_in(test, "backend", "elsewhere");
	rename_in(test, "other", "backend");
	assert_all_fail(test->storage, EMEDIUMTYPE);
	rename_in(test, "backend", "other");
	assert_text(other, "k", "other");
	rename_in(test, "elsewhere", "backend");
	assert_text(test->storage, "k", "mine");
}

static void the_root_may_be_reached_through_a_symlink(void **state)
{
	struct storage_test *test = *state;
	struct storage *s CLEANUP_STORAGE = NULL;

	assert_int_equal(symlinkat("backend", test->folder->fd, "link"), 0);
	s = storage_test_open(test, "link", true);
	put_text(s, "k", "v");
	assert_text(test->storage, "k", "v");
	assert_int_equal(unlinkat(test->folder->fd, "link", 0), 0);
	assert_all_fail(s, ENOENT);
	rename_in(test, "backend", "moved");
	assert_int_equal(symlinkat("moved", test->folder->fd, "link"), 0);
	assert_text(s, "k", "v");
}

static void a_reader_adds_nothing_and_needs_no_marker(void **state)
{
	struct storage_test *test = *state;
	struct storage *s CLEANUP_STORAGE = NULL;
	struct error err = ERROR_INIT;

	assert_int_equal(make_folder(test, "copy"), 0);
	s = storage_test_open(test, "copy", false);
	assert_list(s, "", NULL, "");
	assert_true(is_empty(test, "copy"));
	write_file(test, "copy/k", "v");
	assert_text(s, "k", "v");
	rename_in(test, "copy", "elsewhere");
	assert_int_equal(make_folder(test, "copy"), 0);
	assert_int_equal(storage_put(s, "k", "x", 1, &err), -EMEDIUMTYPE);
	assert_true(is_empty(test, "copy"));
	assert_int_equal(unlinkat(test->folder->fd, "copy", AT_REMOVEDIR), 0);
	rename_in(test, "elsewhere", "copy");
	assert_text(s, "k", "v");
	error_done(&err);
}

static void a_writer_makes_a_backend_of_a_folder_with_content(void **state)
{
	struct storage_test *test = *state;
	struct storage *s CLEANUP_STORAGE = NULL;

	assert_int_equal(make_folder(test, "copy"), 0);
	write_file(test, "copy/k", "v");
	s = storage_test_open(test, "copy", true);
	assert_text(s, "k", "v");
	assert_true(exists(test, "copy/.replitedfs-backend"));
}

#define ID "0123456789abcdef0123456789abcdef"

static void a_marker_is_read_strictly(void **state)
{
	static const struct {
		const char *text;
		int code;
	} cases[] = {
		{ "replitedfs backend 1 " ID "\n", 0 },
		{ "replitedfs backend 2 " ID "\n", EPROTONOSUPPORT },
		{ "replitedfs backend 10 " ID "\n", EPROTONOSUPPORT },
		{ "replitedfs backend 2 more\nand more\n", EPROTONOSUPPORT },
		{ "", EBADMSG },
		{ "\n", EBADMSG },
		{ "replitedfs backend 1 " ID, EBADMSG },
		{ "replitedfs backend 1 " ID "\n\n", EBADMSG },
		{ "replitedfs backend 1 " ID "0\n", EBADMSG },
		{ "replitedfs backend 1 0123456789abcdef\n", EBADMSG },
		{ "replitedfs backend 1 0123456789abcdeg0123456789abcdef\n", EBADMSG },
		{ "replitedfs backend 1 00000000000000000000000000000000\n", EBADMSG },
		{ "something else altogether", EBADMSG },
	};
	struct storage_test *test = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct storage *s CLEANUP_STORAGE = NULL;

		write_file(test, "backend/.replitedfs-backend", cases[i].text);
		if (cases[i].code == 0) {
			s = storage_test_open(test, "backend", true);
			continue;
		}
		assert_open_fails(test, "backend", false, cases[i].code);
		assert_open_fails(test, "backend", true, cases[i].code);
		assert_int_equal(storage_put(test->storage, "k", "x", 1, NULL),
				 -cases[i].code);
	}
	assert_false(exists(test, "backend/k"));
}

static void the_bare_mountpoint_of_a_disk_stays_bare(void **state)
{
	struct storage_test *test = *state;
	struct storage *s CLEANUP_STORAGE = NULL;

	NEEDS_MOUNTS;
	assert_int_equal(make_folder(test, "disk"), 0);
	assert_int_equal(make_folder(test, "mountpoint"), 0);
	mount_at(test, "mountpoint", "disk", NULL);
	s = storage_test_open(test, "mountpoint", true);
	put_text(s, "k", "v");
	unmount_at(test, "mountpoint");
	assert_all_fail(s, ENOMEDIUM);
	assert_true(is_empty(test, "mountpoint"));
	mount_at(test, "mountpoint", NULL, "size=1m");
	assert_all_fail(s, ENOMEDIUM);
	assert_true(is_empty(test, "mountpoint"));
	unmount_at(test, "mountpoint");
	mount_at(test, "mountpoint", "backend", NULL);
	assert_all_fail(s, EMEDIUMTYPE);
	unmount_at(test, "mountpoint");
	mount_at(test, "mountpoint", "disk", NULL);
	assert_text(s, "k", "v");
	put_text(s, "k", "w");
	unmount_at(test, "mountpoint");
	assert_true(exists(test, "disk/k"));
}

static void a_full_disk_is_named_and_recovered_from(void **state)
{
	static uint8_t data[1 << 20];
	struct storage_test *test = *state;
	struct storage *s CLEANUP_STORAGE = NULL;
	struct error err = ERROR_INIT;

	NEEDS_MOUNTS;
	assert_int_equal(make_folder(test, "small"), 0);
	mount_at(test, "small", NULL, "size=256k");
	s = storage_test_open(test, "small", true);
	put_text(s, "k", "old");
	assert_int_equal(storage_put(s, "k", data, sizeof(data), &err), -ENOSPC);
	assert_int_equal(err.code, ENOSPC);
	assert_non_null(strstr(error_what(&err), storage_url(s)));
	assert_non_null(err.why);
	assert_non_null(err.fix);
	assert_int_equal(error_exit_code(&err), 73);
	assert_int_equal(storage_put_new(s, "n", data, sizeof(data), NULL), -ENOSPC);
	assert_text(s, "k", "old");
	assert_absent(s, "n");
	assert_true(is_empty(test, "small/.replitedfs-tmp"));
	put_text(s, "k", "new");
	assert_text(s, "k", "new");
	error_done(&err);
	storage_free(TAKE(s));
	unmount_at(test, "small");
}

static void a_read_only_disk_can_be_read(void **state)
{
	struct storage_test *test = *state;
	struct storage *s CLEANUP_STORAGE = NULL;
	char *path CLEANUP_FREE = storage_test_path(test, "backend");
	struct error err = ERROR_INIT;

	NEEDS_MOUNTS;
	put_text(test->storage, "k", "v");
	mount_at(test, "backend", "backend", NULL);
	assert_int_equal(mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
	s = storage_test_open(test, "backend", true);
	assert_text(s, "k", "v");
	assert_list(s, "", NULL, "k");
	assert_int_equal(storage_put(s, "k", "x", 1, &err), -EROFS);
	assert_non_null(strstr(error_what(&err), storage_url(s)));
	assert_non_null(err.fix);
	assert_int_equal(storage_remove(s, "k", NULL), -EROFS);
	assert_open_fails(test, "backend/new", true, EROFS);
	error_done(&err);
	storage_free(TAKE(s));
	unmount_at(test, "backend");
}

static void what_is_mounted_below_is_not_entered(void **state)
{
	struct storage_test *test = *state;
	struct storage_object object;
	struct buf keys = { 0 };

	NEEDS_MOUNTS;
	put_text(test->storage, "folder/k", "v");
	put_text(test->storage, "a", "v");
	mount_at(test, "backend/folder", NULL, "size=1m");
	assert_int_equal(storage_put(test->storage, "folder/k", "x", 1, NULL), -EXDEV);
	assert_int_equal(storage_stat(test->storage, "folder/k", &object, NULL), -EXDEV);
	assert_int_equal(storage_remove(test->storage, "folder/k", NULL), -EXDEV);
	assert_int_equal(storage_list(test->storage, "", NULL, collect_key, &keys, NULL),
			 -EXDEV);
	assert_true(is_empty(test, "backend/folder"));
	unmount_at(test, "backend/folder");
	assert_text(test->storage, "folder/k", "v");
	buf_done(&keys);
}

/* As another user for the one call, so that a failing assertion stays root. */
static int put_as_nobody(struct storage *s, struct error *err)
{
	int r;

	if (seteuid(65534) < 0)
		return -EINVAL;
	r = storage_put(s, "k", "x", 1, err);
	return seteuid(0) < 0 ? -EINVAL : r;
}

static void a_folder_of_another_user_is_refused(void **state)
{
	struct storage_test *test = *state;
	struct error err = ERROR_INIT;

	if (geteuid() != 0)
		skip();
	assert_int_equal(put_as_nobody(test->storage, &err), -EACCES);
	assert_non_null(strstr(err.fix, "65534"));
	assert_int_equal(error_exit_code(&err), 77);
	assert_int_equal(fchmod(test->folder->fd, 0755), 0);
	assert_int_equal(fchmodat(test->folder->fd, "backend", 0755, 0), 0);
	assert_int_equal(fchmodat(test->folder->fd, "backend/.replitedfs-backend", 0644, 0), 0);
	assert_int_equal(put_as_nobody(test->storage, &err), -EACCES);
	assert_non_null(strstr(err.fix, "65534"));
	put_text(test->storage, "k", "mine");
	error_done(&err);
}

#define IN_BACKEND(fn)                                                         \
	cmocka_unit_test_setup_teardown(fn, setup, storage_test_teardown)
#define WITH_MOUNTS(fn)                                                        \
	cmocka_unit_test_setup_teardown(fn, setup_mounts, storage_test_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		IN_BACKEND(a_missing_folder_is_an_error_that_helps),
		IN_BACKEND(only_the_last_folder_is_made),
		IN_BACKEND(a_file_is_no_backend),
		IN_BACKEND(a_backend_is_opened_again),
		IN_BACKEND(several_may_make_the_same_backend_at_once),
		IN_BACKEND(a_root_that_went_away_is_used_again_when_it_is_back),
		IN_BACKEND(nothing_is_written_where_the_marker_is_missing),
		IN_BACKEND(another_backend_is_not_taken_for_the_one_opened),
		IN_BACKEND(the_root_may_be_reached_through_a_symlink),
		IN_BACKEND(a_reader_adds_nothing_and_needs_no_marker),
		IN_BACKEND(a_writer_makes_a_backend_of_a_folder_with_content),
		IN_BACKEND(a_marker_is_read_strictly),
		IN_BACKEND(a_folder_of_another_user_is_refused),
		WITH_MOUNTS(the_bare_mountpoint_of_a_disk_stays_bare),
		WITH_MOUNTS(a_full_disk_is_named_and_recovered_from),
		WITH_MOUNTS(a_read_only_disk_can_be_read),
		WITH_MOUNTS(what_is_mounted_below_is_not_entered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
