/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/file.h"
#include "fuse/statelock.h"

static void the_lock_says_who_has_it(void **state)
{
	struct unit_folder *folder = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf text CLEANUP_BUF = { 0 };
	struct statelock lock;
	int fd;

	assert_int_equal(statelock_take(folder->fd, "/a \"b\"\\\n\xc3\xbc", 0, &fd, &err), 0);
	assert_int_equal(file_read_all(folder->fd, "lock", 4096, &text, &err), 0);
	assert_true(statelock_parse(buf_str(&text), &lock));
	assert_int_equal(lock.state, STATELOCK_SERVING);
	assert_int_equal(lock.pid, getpid());
	assert_string_equal(lock.mountpoint, "/a \"b\"\\\n\xc3\xbc");
	statelock_done(&lock);
	close(fd);
}

static void a_second_one_is_told_who_serves(void **state)
{
	struct unit_folder *folder = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	char expected[64];
	int fd, second;

	assert_int_equal(statelock_take(folder->fd, "/data", 0, &fd, &err), 0);
	assert_int_equal(statelock_take(folder->fd, "/data", 1000000, &second, &err), -EBUSY);
	snprintf(expected, sizeof(expected), "/data is already served by pid %d since ", getpid());
	assert_non_null(strstr(error_what(&err), expected));
	assert_int_equal(error_exit_code(&err), 75);
	close(fd);
	assert_int_equal(statelock_take(folder->fd, "/data", 0, &second, &err), 0);
	close(second);
}

static void one_that_drains_is_waited_for(void **state)
{
	struct unit_folder *folder = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int fd, second;

	assert_int_equal(statelock_take(folder->fd, "/data", 0, &fd, &err), 0);
	statelock_note(fd, STATELOCK_DRAINING);
	assert_int_equal(statelock_take(folder->fd, "/data", 100, &second, &err), -EBUSY);
	assert_non_null(strstr(error_what(&err), "has been unmounted"));
	statelock_note(fd, STATELOCK_DEAD);
	assert_int_equal(statelock_take(folder->fd, "/data", 1000000, &second, &err), -EBUSY);
	assert_non_null(strstr(error_what(&err), "died"));
	close(fd);
}

static void those_that_read_share_it_and_keep_mounts_away(void **state)
{
	struct unit_folder *folder = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int first, second, mount;

	/* The file tells of the mount that was there last. */
	assert_int_equal(statelock_take(folder->fd, "/data", 0, &mount, &err), 0);
	assert_int_equal(statelock_share(folder->fd, &first, &err), -EBUSY);
	assert_non_null(strstr(error_what(&err), "/data is already served by pid "));
	close(mount);
	assert_int_equal(statelock_share(folder->fd, &first, &err), 0);
	assert_int_equal(statelock_share(folder->fd, &second, &err), 0);
	assert_int_equal(statelock_take(folder->fd, "/data", 100, &mount, &err), -EBUSY);
	assert_non_null(strstr(error_what(&err), "/data is being read"));
	assert_int_equal(error_exit_code(&err), 75);
	/* One at a time writes. */
	assert_int_equal(statelock_begin_writing(first, &err), 0);
	assert_int_equal(file_lock(second, F_WRLCK, 0, 0), -EAGAIN);
	statelock_end_writing(first);
	assert_int_equal(statelock_begin_writing(second, &err), 0);
	close(second);
	close(first);
	assert_int_equal(statelock_take(folder->fd, "/data", 0, &mount, &err), 0);
	close(mount);
}

static void damaged_locks_are_refused(void **state)
{
	static const char *const texts[] = {
		"", "{}", "{\"state\":\"serving\"}",
		"{\"state\":\"serving\",\"pid\":1,\"since\":2}",
		"{\"state\":\"nonsense\",\"pid\":1,\"since\":2,\"mountpoint\":\"/a\"}",
		"{\"state\":\"serving\",\"pid\":0,\"since\":2,\"mountpoint\":\"/a\"}",
		"{\"state\":\"serving\",\"pid\":1,\"since\":2,\"mountpoint\":\"/a",
		"{\"state\":\"serving\",\"pid\":1,\"since\":2,\"mountpoint\":\"/a\\",
		"{\"state\":\"serving\",\"pid\":1,\"since\":2,\"mountpoint\":\"\\u00",
		"{\"state\":\"serving\",\"pid\":1,\"since\":2,\"mountpoint\":\"\\u0000\"}",
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct statelock lock;

		if (statelock_parse(texts[i], &lock))
			fail_msg("taken: %s", texts[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST_IN_FOLDER(the_lock_says_who_has_it),
		UNIT_TEST_IN_FOLDER(a_second_one_is_told_who_serves),
		UNIT_TEST_IN_FOLDER(one_that_drains_is_waited_for),
		UNIT_TEST_IN_FOLDER(those_that_read_share_it_and_keep_mounts_away),
		cmocka_unit_test(damaged_locks_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
