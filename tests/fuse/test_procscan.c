/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "fuse/check.h"
#include "fuse/procscan.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

static bool parse(const char *text, dev_t *dev, uint64_t *ino, char *ret_path)
{
	char *line CLEANUP_FREE = strdup(text);
	const char *path;
	bool ok = procscan_parse_map(line, dev, ino, &path);

	if (ok)
		strcpy(ret_path, path);
	return ok;
}

static void mappings_of_files_are_recognised(void **state)
{
	char path[256];
	uint64_t ino;
	dev_t dev;

	assert_true(parse("7f00-7f10 r--p 00001000 fe:0a 123456  /a b/c (deleted)\n", &dev, &ino,
			  path));
	assert_true(dev == makedev(0xfe, 0xa));
	assert_int_equal(ino, 123456);
	assert_string_equal(path, "/a b/c (deleted)");
	assert_false(parse("7f00-7f10 rw-p 00000000 00:00 0 [heap]\n", &dev, &ino, path));
	assert_false(parse("7f00-7f10 rw-p 00000000 00:00 0\n", &dev, &ino, path));
}

static void damaged_mappings_are_refused(void **state)
{
	static const char *const lines[] = {
		"", "\n", "7f00", "7f00-7f10", "7f00-7f10 rwxpsomethinglong 0 0:0 1 x",
		"7f00-7f10 r--p zz 0:0 1 x", "7f00-7f10 r--p 0 0 1 x", "g-h r--p 0 0:0 1 x",
	};
	char path[256];
	uint64_t ino;
	dev_t dev;

	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		assert_false(parse(lines[i], &dev, &ino, path));
}

static void the_capability_is_read_from_the_status(void **state)
{
	assert_true(check_status_has_sys_admin("Name:\tx\nCapEff:\t000001ffffffffff\n"));
	assert_true(check_status_has_sys_admin("Name:\tx\nCapEff:\t0000000000200000\n"));
	assert_false(check_status_has_sys_admin("Name:\tx\nCapEff:\t0000000000100000\n"));
	assert_false(check_status_has_sys_admin("Name:\tx\nCapPrm:\t000001ffffffffff\n"));
	assert_false(check_status_has_sys_admin("Name:\tx\nCapEff:\t"));
	assert_false(check_status_has_sys_admin(""));
}

/* A child that holds folder/file: by a descriptor, or only by a mapping. */
static pid_t holder(struct unit_folder *folder, bool mapped)
{
	int ready[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		int fd = openat(folder->fd, "file", O_RDWR);

		if (mapped && mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED)
			close(fd);
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(0);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void check_finds(struct unit_folder *folder, bool mapped)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct check_file file = { .name = "file" };
	pid_t pid = holder(folder, mapped);
	char expected[32];
	struct stat st;

	assert_int_equal(fstatat(folder->fd, "file", &st, 0), 0);
	file.dev = st.st_dev;
	file.ino = st.st_ino;
	assert_int_equal(check_unused("/data", &file, 1, &err), -EBUSY);
	snprintf(expected, sizeof(expected), "(pid %d) has /data/file open", pid);
	assert_non_null(strstr(error_what(&err), expected));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	error_done(&err);
	assert_int_equal(check_unused("/data", &file, 1, &err), 0);
}

static void who_has_a_database_open_is_found(void **state)
{
	struct unit_folder *folder = *state;
	int fd = openat(folder->fd, "file", O_CREAT | O_WRONLY, 0600);

	assert_int_equal(ftruncate(fd, 4096), 0);
	close(fd);
	check_finds(folder, false);
	check_finds(folder, true);
}

static void who_holds_a_lock_is_found(void **state)
{
	struct unit_folder *folder = *state;
	int fd = openat(folder->fd, "file", O_CREAT | O_RDWR, 0600);
	char expected[32];
	int ready[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(ready), 0);
	assert_null(procscan_lock_holder(fd, 0, 10));
	pid = fork();
	if (pid == 0) {
		struct flock lock = { .l_type = F_RDLCK, .l_start = 5, .l_len = 1 };
		int own = openat(folder->fd, "file", O_RDWR);

		if (fcntl(own, F_SETLK, &lock) == 0 && write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	char *who CLEANUP_FREE = procscan_lock_holder(fd, 0, 10);

	snprintf(expected, sizeof(expected), "(pid %d)", pid);
	assert_non_null(who);
	assert_non_null(strstr(who, expected));
	assert_null(procscan_lock_holder(fd, 6, 10));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(ready[0]);
	close(ready[1]);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mappings_of_files_are_recognised),
		cmocka_unit_test(damaged_mappings_are_refused),
		cmocka_unit_test(the_capability_is_read_from_the_status),
		UNIT_TEST_IN_FOLDER(who_has_a_database_open_is_found),
		UNIT_TEST_IN_FOLDER(who_holds_a_lock_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
