/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/file.h"

static void put(int dir_fd, const char *path, const char *text)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;

	if (file_replace(dir_fd, path, text, strlen(text), 0600, &err) < 0)
		fail_msg("%s", error_what(&err));
}

static void assert_holds(int dir_fd, const char *path, const char *text)
{
	struct buf buf CLEANUP_BUF = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;

	if (file_read_all(dir_fd, path, 1000000, &buf, &err) < 0)
		fail_msg("%s", error_what(&err));
	assert_string_equal(buf_str(&buf), text);
}

static void assert_opens(int fd)
{
	assert_true(fd >= 0);
	close(fd);
}

static void open_beneath_stays_in_the_folder(void **state)
{
	struct unit_folder *folder = *state;

	assert_int_equal(mkdirat(folder->fd, "a", 0700), 0);
	put(folder->fd, "a/file", "x");
	assert_int_equal(symlinkat("a", folder->fd, "link"), 0);
	assert_opens(file_open_beneath(folder->fd, "a/file", O_RDONLY, 0));
	assert_opens(file_open_beneath(folder->fd, "", O_RDONLY | O_DIRECTORY, 0));
	assert_opens(file_open_beneath(folder->fd, "a", O_RDONLY | O_DIRECTORY, 0600));
	assert_int_equal(file_open_beneath(folder->fd, "../x", O_RDONLY, 0), -EXDEV);
	assert_int_equal(file_open_beneath(folder->fd, "/etc", O_RDONLY, 0), -EXDEV);
	assert_int_equal(file_open_beneath(folder->fd, "link/file", O_RDONLY, 0), -ELOOP);
	assert_int_equal(file_open_beneath(folder->fd, "none", O_RDONLY, 0), -ENOENT);
}

static void open_beneath_creates_with_the_mode(void **state)
{
	struct unit_folder *folder = *state;
	struct stat st;

	assert_opens(file_open_beneath(folder->fd, "new",
				       O_RDWR | O_CREAT | O_EXCL, S_IFREG | 0600));
	assert_int_equal(fstatat(folder->fd, "new", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
}

static void reads_and_writes_keep_to_their_place(void **state)
{
	struct unit_folder *folder = *state;
	int fd CLEANUP_FD = openat(folder->fd, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char data[8] = { 0 };

	assert_int_equal(file_pwrite(fd, "hello", 5, 3), 0);
	assert_int_equal(file_pread(fd, data, 4, 3), 4);
	assert_string_equal(data, "hell");
	assert_int_equal(file_pread(fd, data, sizeof(data), 6), 2);
	assert_int_equal(file_pread(fd, data, sizeof(data), 100), 0);
	assert_int_equal(file_pread(-1, data, 1, 0), -EBADF);
	assert_int_equal(file_pwrite(-1, data, 1, 0), -EBADF);
}

static void read_all_appends_and_is_bounded(void **state)
{
	struct unit_folder *folder = *state;
	struct buf buf CLEANUP_BUF = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;

	put(folder->fd, "empty", "");
	put(folder->fd, "five", "12345");
	assert_int_equal(file_read_all(folder->fd, "empty", 0, &buf, &err), 0);
	assert_int_equal(buf.len, 0);
	assert_int_equal(file_read_all(folder->fd, "five", 5, &buf, &err), 0);
	assert_int_equal(file_read_all(folder->fd, "five", 5, &buf, &err), 0);
	assert_string_equal(buf_str(&buf), "1234512345");
	assert_int_equal(file_read_all(folder->fd, "five", 4, &buf, &err), -EFBIG);
	assert_int_equal(file_read_all(folder->fd, "none", 4, &buf, &err), -ENOENT);
	assert_int_equal(file_read_all(folder->fd, ".", 4, &buf, &err), -EINVAL);
	assert_int_equal(mkfifoat(folder->fd, "fifo", 0600), 0);
	assert_int_equal(file_read_all(folder->fd, "fifo", 4, &buf, &err), -EINVAL);
	assert_int_equal(buf.len, 10);
}

static void replace_leaves_the_new_file_with_its_mode_and_nothing_else(void **state)
{
	struct unit_folder *folder = *state;
	struct stat st;

	put(folder->fd, "f", "old and longer");
	put(folder->fd, "f.tmp", "left behind");
	assert_int_equal(fchmodat(folder->fd, "f.tmp", 0666, 0), 0);
	put(folder->fd, "f", "new");
	assert_holds(folder->fd, "f", "new");
	assert_int_equal(fstatat(folder->fd, "f", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(faccessat(folder->fd, "f.tmp", F_OK, 0), -1);
}

static void replace_says_what_it_could_not_write(void **state)
{
	struct unit_folder *folder = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;

	assert_int_equal(file_replace(folder->fd, "none/f", "x", 1, 0600, &err), -ENOENT);
	assert_int_equal(mkdirat(folder->fd, "d", 0700), 0);
	assert_int_equal(file_replace(folder->fd, "d", "x", 1, 0600, &err), -EISDIR);
	assert_non_null(strstr(error_what(&err), "cannot write d"));
	assert_int_equal(faccessat(folder->fd, "d.tmp", F_OK, 0), -1);
}

static void make_dir_wants_a_folder(void **state)
{
	struct unit_folder *folder = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;

	assert_int_equal(file_make_dir(folder->fd, "d", 0700, &err), 0);
	assert_int_equal(file_make_dir(folder->fd, "d", 0700, &err), 0);
	put(folder->fd, "f", "");
	assert_int_equal(file_make_dir(folder->fd, "f", 0700, &err), -ENOTDIR);
	assert_int_equal(file_make_dir(folder->fd, "none/d", 0700, &err), -ENOENT);
	assert_int_equal(file_sync_dir(folder->fd), 0);
}

static void locks_exclude_each_other_on_the_same_bytes(void **state)
{
	struct unit_folder *folder = *state;
	int a CLEANUP_FD = openat(folder->fd, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int b CLEANUP_FD = openat(folder->fd, "f", O_RDWR | O_CLOEXEC);

	assert_int_equal(file_lock(a, F_WRLCK, 10, 2), 0);
	assert_int_equal(file_lock(b, F_RDLCK, 12, 1), 0);
	assert_int_equal(file_lock(b, F_RDLCK, 11, 1), -EAGAIN);
	assert_int_equal(file_lock(a, F_UNLCK, 10, 2), 0);
	assert_int_equal(file_lock(b, F_WRLCK, 11, 1), 0);
}

static void copy_range_copies_only_the_range(void **state)
{
	struct unit_folder *folder = *state;
	int in CLEANUP_FD = openat(folder->fd, "in", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int out CLEANUP_FD = openat(folder->fd, "out", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	char got[11] = { 0 };

	assert_int_equal(file_pwrite(in, "0123456789", 10, 0), 0);
	assert_int_equal(file_pwrite(out, "abcdefghij", 10, 0), 0);
	assert_int_equal(file_copy_range(in, out, 3, 4), 0);
	assert_int_equal(file_pread(out, got, 10, 0), 10);
	assert_string_equal(got, "abc3456hij");
	assert_int_equal(file_copy_range(in, out, 8, 4), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST_IN_FOLDER(open_beneath_stays_in_the_folder),
		UNIT_TEST_IN_FOLDER(open_beneath_creates_with_the_mode),
		UNIT_TEST_IN_FOLDER(reads_and_writes_keep_to_their_place),
		UNIT_TEST_IN_FOLDER(read_all_appends_and_is_bounded),
		UNIT_TEST_IN_FOLDER(replace_leaves_the_new_file_with_its_mode_and_nothing_else),
		UNIT_TEST_IN_FOLDER(replace_says_what_it_could_not_write),
		UNIT_TEST_IN_FOLDER(make_dir_wants_a_folder),
		UNIT_TEST_IN_FOLDER(locks_exclude_each_other_on_the_same_bytes),
		UNIT_TEST_IN_FOLDER(copy_range_copies_only_the_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
