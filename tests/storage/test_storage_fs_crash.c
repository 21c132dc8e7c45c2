/* SPDX-License-Identifier: MIT */
/*
 * Writers that are killed, and syncs that fail. This program sees every sync
 * and every change of a name that the backend makes (the linker's --wrap).
 */
#include "tests/storage/storage_test.h"

#include "base/hash.h"

#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_renameat(int from_fd, const char *from, int to_fd, const char *to);
int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to);
int __real_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags);
int __wrap_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags);
int __real_unlinkat(int fd, const char *path, int flags);
int __wrap_unlinkat(int fd, const char *path, int flags);

/* What was done, in words, while root is set. */
static struct {
	const char *root; /* NULL = do not watch */
	struct buf done;
	int fail_sync; /* which fsync fails, from 1; 0 = none */
	int n_syncs;
} watch;

/* Appends "verb folder" for the folder or, of a temporary, its folder. */
static void note(const char *verb, int fd)
{
	char link[64];
	char path[4096];
	ssize_t len;
	char *hidden;

	if (watch.root == NULL)
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	if (len < 0 || strncmp(path, watch.root, strlen(watch.root)) != 0)
		abort();
	path[len] = '\0';
	hidden = strstr(path, "/.replitedfs-tmp");
	if (hidden != NULL)
		strcpy(hidden, "/TMP");
	if (buf_printf(&watch.done, "%s .%s; ", verb, path + strlen(watch.root)) < 0)
		abort();
}

int __wrap_fsync(int fd)
{
	note("sync", fd);
	if (watch.root != NULL && ++watch.n_syncs == watch.fail_sync) {
		errno = EIO;
		return -1;
	}
	return __real_fsync(fd);
}

int __wrap_renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	note("rename into", to_fd);
	return __real_renameat(from_fd, from, to_fd, to);
}

int __wrap_linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
	note("link into", to_fd);
	return __real_linkat(from_fd, from, to_fd, to, flags);
}

int __wrap_unlinkat(int fd, const char *path, int flags)
{
	note(flags & AT_REMOVEDIR ? "rmdir in" : "unlink in", fd);
	return __real_unlinkat(fd, path, flags);
}

static char *root_path;

static void start_watch(int fail_sync)
{
	buf_reset(&watch.done);
	watch.n_syncs = 0;
	watch.fail_sync = fail_sync;
	watch.root = root_path;
}

static void end_watch(const char *expected)
{
	watch.root = NULL;
	assert_string_equal(buf_str(&watch.done), expected);
}

static int setup(void **state)
{
	struct storage_test *test;

	if (storage_test_setup(state) < 0)
		return -1;
	test = *state;
	test->storage = storage_test_open(test, "backend", true);
	free(root_path);
	root_path = storage_test_path(test, "backend");
	return 0;
}

static int teardown(void **state)
{
	watch.root = NULL;
	buf_done(&watch.done);
	free(TAKE(root_path));
	return storage_test_teardown(state);
}

static void a_put_is_durable_in_the_right_order(void **state)
{
	struct storage_test *test = *state;

	start_watch(0);
	put_text(test->storage, "a/b/k", "v");
	end_watch("sync ./TMP; rename into ./a/b; sync ./a/b; sync ./a; sync .; ");
	start_watch(0);
	put_text(test->storage, "a/b/k", "w");
	end_watch("sync ./TMP; rename into ./a/b; sync ./a/b; sync ./a; sync .; ");
	start_watch(0);
	put_text(test->storage, "k", "v");
	end_watch("sync ./TMP; rename into .; sync .; ");
}

static void a_put_new_is_durable_in_the_right_order(void **state)
{
	struct storage_test *test = *state;

	start_watch(0);
	assert_int_equal(storage_put_new(test->storage, "a/k", "v", 1, NULL), 0);
	end_watch("sync ./TMP; link into ./a; unlink in ./TMP; sync ./a; sync .; ");
	start_watch(0);
	assert_int_equal(storage_put_new(test->storage, "a/k", "v", 1, NULL), 1);
	end_watch("");
}

static void a_remove_is_durable(void **state)
{
	struct storage_test *test = *state;

	put_text(test->storage, "a/b/c/k", "v");
	put_text(test->storage, "a/b/l", "v");
	start_watch(0);
	remove_key(test->storage, "a/b/c/k");
	end_watch("unlink in ./a/b/c; rmdir in ./a/b; rmdir in ./a; sync ./a/b; ");
	start_watch(0);
	remove_key(test->storage, "a/b/l");
	end_watch("unlink in ./a/b; rmdir in ./a; rmdir in .; sync .; ");
	start_watch(0);
	remove_key(test->storage, "a/b/l");
	end_watch("sync .; ");
}

/* A sync that failed is never asked again about the same bytes. */
static void a_failed_sync_fails_the_put(void **state)
{
	struct storage_test *test = *state;
	struct error err = ERROR_INIT;

	put_text(test->storage, "a/k", "old");
	start_watch(1);
	assert_int_equal(storage_put(test->storage, "a/k", "new", 3, &err), -EIO);
	end_watch("sync ./TMP; unlink in ./TMP; ");
	assert_int_equal(err.code, EIO);
	assert_text(test->storage, "a/k", "old");
	for (int i = 2; i <= 3; i++) {
		start_watch(i);
		assert_int_equal(storage_put(test->storage, "a/k", "new", 3, NULL), -EIO);
		watch.root = NULL;
		assert_text(test->storage, "a/k", "new");
	}
	start_watch(1);
	assert_int_equal(storage_put_new(test->storage, "n", "new", 3, NULL), -EIO);
	end_watch("sync ./TMP; unlink in ./TMP; ");
	assert_absent(test->storage, "n");
	start_watch(1);
	assert_int_equal(storage_remove(test->storage, "a/k", NULL), -EIO);
	watch.root = NULL;
	error_done(&err);
}

#define N_KEYS 6
#define N_KILLS 60
#define VERSION_MAX 100000

static const char *const keys[N_KEYS] = { "a",	   "f/b",   "f/c",
					  "f/g/d", "f/g/e", "h/i/j/k" };

/* One line from the writer: this version of this key is in the backend. */
struct report {
	uint8_t key;
	uint64_t version;
};

/* Puts and removes for ever, in a process of its own. */
static void write_until_killed(struct storage *s, int pipe_fd, uint64_t version)
{
	static uint8_t data[VERSION_MAX];

	for (;; version++) {
		uint64_t chance = hash64(&version, sizeof(version), 1);
		struct report report = { .key = (uint8_t)(chance % N_KEYS),
					 .version = version };
		size_t len = 16 + chance / N_KEYS % (VERSION_MAX - 16);
		const char *key = keys[report.key];
		int r;

		fill_version(data, len, version);
		/* Also by way of nothing, so that folders go and come. */
		if (chance >> 60 == 0 && storage_remove(s, key, NULL) < 0)
			_exit(1);
		r = chance >> 60 == 0 ? storage_put_new(s, key, data, len, NULL) :
					storage_put(s, key, data, len, NULL);
		if (r != 0 || write(pipe_fd, &report, sizeof(report)) != sizeof(report))
			_exit(1);
	}
}

/* Runs a writer, kills it after n reports, and notes what it reported. */
static void kill_a_writer(struct storage *s, int n, uint64_t *acknowledged, uint64_t *next)
{
	struct report report;
	int pipe_fds[2];
	int status;
	pid_t pid;

	assert_int_equal(pipe(pipe_fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		write_until_killed(s, pipe_fds[1], *next);
	close(pipe_fds[1]);
	for (int i = 0; read(pipe_fds[0], &report, sizeof(report)) == sizeof(report); i++) {
		acknowledged[report.key] = report.version;
		*next = report.version + 1;
		if (i == n)
			kill(pid, SIGKILL);
	}
	close(pipe_fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	/* One more may be there, unreported. */
	++*next;
}

/* 1 = the key is absent, as it may be between a remove and a put_new. */
static int assert_whole(struct storage *s, int key, uint64_t acknowledged)
{
	struct error err = ERROR_INIT;
	struct buf out = { 0 };
	int r = storage_get(s, keys[key], 0, SIZE_MAX, &out, &err);

	assert_in_range(r, 0, 1);
	if (r == 0) {
		int64_t version = check_version(out.data, out.len);

		if (version < (int64_t)acknowledged)
			fail_msg("%s has version %lld after %llu", keys[key],
				 (long long)version, (unsigned long long)acknowledged);
	}
	buf_done(&out);
	return r;
}

static int check_listed(void *arg, const struct storage_object *object, struct error *err)
{
	int *n = arg;

	for (int i = 0; i < N_KEYS; i++)
		if (strcmp(keys[i], object->key) == 0) {
			++*n;
			return object->size >= 16 ? 0 : error_set(err, EBADMSG, "too small");
		}
	return error_set(err, EBADMSG, "%s was never put", object->key);
}

static void a_killed_writer_leaves_whole_objects(void **state)
{
	struct storage_test *test = *state;
	uint64_t acknowledged[N_KEYS] = { 0 };
	struct error err = ERROR_INIT;
	uint64_t next = 1;

	for (uint64_t round = 0; round < N_KILLS; round++) {
		int n_absent = 0;
		int n_listed = 0;

		kill_a_writer(test->storage, (int)(hash64(&round, sizeof(round), 2) % 40),
			      acknowledged, &next);
		for (int i = 0; i < N_KEYS; i++)
			if (acknowledged[i] != 0)
				n_absent += assert_whole(test->storage, i,
							 acknowledged[i]);
		/* Only what it was doing when it died may be missing. */
		assert_in_range(n_absent, 0, 1);
		storage_test_check(storage_list(test->storage, "", NULL,
						check_listed, &n_listed, &err),
				   0, &err, "list", "");
	}
	for (int i = 0; i < N_KEYS; i++)
		assert_true(acknowledged[i] != 0);
	put_text(test->storage, "f/b", "and on it goes");
	assert_text(test->storage, "f/b", "and on it goes");
}

#define IN_BACKEND(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		IN_BACKEND(a_put_is_durable_in_the_right_order),
		IN_BACKEND(a_put_new_is_durable_in_the_right_order),
		IN_BACKEND(a_remove_is_durable),
		IN_BACKEND(a_failed_sync_fails_the_put),
		IN_BACKEND(a_killed_writer_leaves_whole_objects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
