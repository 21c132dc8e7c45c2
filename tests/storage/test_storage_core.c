/* SPDX-License-Identifier: MIT */
/* What the core adds to a backend that has only the necessary operations. */
#include "tests/storage/conformance.h"
#include "tests/storage/memory.h"

#include "base/clock.h"
#include "base/thread.h"
#include "storage/storage_prefix.h"

static int setup(void **state)
{
	struct storage_test *test;

	if (storage_test_setup(state) < 0)
		return -1;
	test = *state;
	test->storage = memory_new(NULL);
	return 0;
}

static void put_new_without_the_backends_help_is_not_atomic(void **state)
{
	struct storage_test *test = *state;

	assert_false(storage_can(test->storage, STORAGE_CAN_PUT_NEW));
}

/* A list from outside may hold anything. */
static void a_list_passes_on_only_what_was_asked_for(void **state)
{
	static const char *const strays[] = {
		"",	"/",	 ".",	 "../../etc/passwd", "a", "a//b",
		"a/\n", "b\xff", "c/..", "folder/",	     "k", "k",
		"k/x",	NULL,
	};
	struct storage *s CLEANUP_STORAGE = memory_new(strays);

	assert_list(s, "", NULL, "a k k/x");
	assert_list(s, "k", NULL, "k k/x");
	assert_list(s, "", "a", "k k/x");
	assert_list(s, "k/", NULL, "k/x");
	assert_folders(s, "", "k/");
}

static void a_list_out_of_order_is_an_error(void **state)
{
	static const char *const strays[] = { "b", "a", "c", NULL };
	struct storage *s CLEANUP_STORAGE = memory_new(strays);
	struct error err = ERROR_INIT;
	struct buf keys = { 0 };

	assert_int_equal(storage_list(s, "", NULL, collect_key, &keys, &err), -EBADMSG);
	assert_non_null(strstr(error_what(&err), "memory:"));
	assert_string_equal(buf_str(&keys), "b");
	buf_done(&keys);
	error_done(&err);
}

static int stop_it(void *arg, const struct storage_object *object, struct error *err)
{
	storage_stop(arg);
	return 0;
}

static void a_stop_ends_a_list_under_way(void **state)
{
	struct storage_test *test = *state;

	put_text(test->storage, "a", "");
	put_text(test->storage, "b", "");
	assert_int_equal(storage_list(test->storage, "", NULL, stop_it, test->storage, NULL),
			 -ECANCELED);
}

static void a_stop_reaches_what_is_wrapped(void **state)
{
	struct storage *inner = memory_new(NULL);
	struct storage *outer CLEANUP_STORAGE = NULL;
	struct error err = ERROR_INIT;

	storage_test_check(storage_prefix_new(inner, "p", &outer, &err), 0,
			   &err, "wrap", "p");
	storage_stop(outer);
	assert_true(storage_is_stopped(inner));
	assert_int_equal(storage_put(inner, "k", "", 0, NULL), -ECANCELED);
}

struct waiter {
	struct storage *s;
	pthread_barrier_t *start;
};

static void *wait_long(void *arg)
{
	struct waiter *waiter = arg;

	pthread_barrier_wait(waiter->start);
	storage_wait(waiter->s, INT64_MAX / 2);
	return NULL;
}

/* Without the stop the test would never end. */
static void a_stop_ends_all_waits(void **state)
{
	struct storage_test *test = *state;
	pthread_barrier_t start;
	struct waiter waiter = { .s = test->storage, .start = &start };
	pthread_t threads[3];

	pthread_barrier_init(&start, NULL, 4);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, wait_long, &waiter), 0);
	pthread_barrier_wait(&start);
	storage_stop(test->storage);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&start);
	storage_wait(test->storage, INT64_MAX / 2);
}

static void a_wait_lasts_as_long_as_it_was_told(void **state)
{
	struct storage_test *test = *state;
	int64_t start_ms = clock_mono_ms();

	storage_wait(test->storage, 0);
	storage_wait(test->storage, -5);
	storage_wait(test->storage, 30);
	assert_true(clock_mono_ms() - start_ms >= 30);
}

static void errors_are_transient_when_nobody_has_to_act(void **state)
{
	static const int transient[] = {
		EAGAIN,	      EBUSY,	 EINTR,	     EIO,	   ENOMEM,
		EMFILE,	      ETIMEDOUT, ECONNRESET, ECONNREFUSED, ENETUNREACH,
		EHOSTUNREACH, EPIPE,	 ESTALE,
	};
	static const int permanent[] = {
		0,	   EINVAL,	ENAMETOOLONG, ENOENT,
		ENOTDIR,   EISDIR,	EACCES,	      EPERM,
		EROFS,	   ENOSPC,	EDQUOT,	      EFBIG,
		EXDEV,	   ELOOP,	EBADMSG,      EPROTONOSUPPORT,
		ENOMEDIUM, EMEDIUMTYPE, ECANCELED,    EEXIST,
		ENOTSUP,
	};

	for (size_t i = 0; i < ARRAY_LEN(transient); i++)
		assert_true(storage_is_transient(transient[i]));
	for (size_t i = 0; i < ARRAY_LEN(permanent); i++)
		assert_false(storage_is_transient(permanent[i]));
}

#define IN_BACKEND(fn)                                                         \
	cmocka_unit_test_setup_teardown(fn, setup, storage_test_teardown)

static const struct CMUnitTest tests[] = {
	CONFORMANCE_TESTS(IN_BACKEND),
	IN_BACKEND(put_new_without_the_backends_help_is_not_atomic),
	cmocka_unit_test(a_list_passes_on_only_what_was_asked_for),
	cmocka_unit_test(a_list_out_of_order_is_an_error),
	IN_BACKEND(a_stop_ends_a_list_under_way),
	cmocka_unit_test(a_stop_reaches_what_is_wrapped),
	IN_BACKEND(a_stop_ends_all_waits),
	IN_BACKEND(a_wait_lasts_as_long_as_it_was_told),
	cmocka_unit_test(errors_are_transient_when_nobody_has_to_act),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
