/* SPDX-License-Identifier: MIT */
#include "tests/storage/conformance.h"
#include "tests/storage/memory.h"

#include "storage/storage_fault.h"

#include <pthread.h>
#include <sched.h>

struct fault_test {
	struct storage_test test;
	struct storage *memory;
};

static int setup(void **state)
{
	const struct storage_fault_options none = { 0 };
	struct fault_test *test = calloc(1, sizeof(*test));
	struct storage_test *plain;

	if (test == NULL || storage_test_setup(state) < 0)
		return -1;
	plain = *state;
	test->test = *plain;
	free(plain);
	*state = test;
	test->memory = memory_new(NULL);
	return storage_fault_new(test->memory, &none, &test->test.storage, NULL);
}

/* Sets the options, and returns what they are set on. */
static struct storage *with(struct fault_test *test, struct storage_fault_options options)
{
	storage_fault_set(test->test.storage, &options);
	return test->test.storage;
}

static void the_nth_operation_fails(void **state)
{
	struct fault_test *test = *state;
	struct storage *s = with(test, (struct storage_fault_options){
		.first = 3, .count = 2, .code = EAGAIN });
	struct error err = ERROR_INIT;

	put_text(s, "1", "");
	put_text(s, "2", "");
	assert_int_equal(storage_put(s, "3", "", 0, &err), -EAGAIN);
	assert_int_equal(err.code, EAGAIN);
	error_done(&err);
	assert_int_equal(storage_remove(s, "1", NULL), -EAGAIN);
	put_text(s, "5", "");
	assert_list(test->memory, "", NULL, "1 2 5");
	assert_int_equal(storage_fault_n_seen(s), 5);
	assert_int_equal(storage_fault_n_failed(s), 2);
}

static void other_operations_pass_and_do_not_count(void **state)
{
	struct fault_test *test = *state;
	struct storage *s = with(test, (struct storage_fault_options){
		.operations = STORAGE_FAULT_PUT | STORAGE_FAULT_REMOVE, .first = 2 });
	struct storage_object object;

	put_text(s, "k", "v");
	assert_text(s, "k", "v");
	assert_int_equal(storage_stat(s, "k", &object, NULL), 0);
	assert_int_equal(storage_put_new(s, "n", "v", 1, NULL), 0);
	assert_list(s, "", NULL, "k n");
	assert_int_equal(storage_put(s, "/bad", "v", 1, NULL), -EINVAL);
	assert_int_equal(storage_fault_n_seen(s), 1);
	assert_int_equal(storage_remove(s, "k", NULL), -EIO);
	assert_text(s, "k", "v");
}

/* Which of a thousand puts fail under seed. */
static void failing_puts(struct fault_test *test, uint64_t seed, bool *ret_failed)
{
	struct storage *s = with(test, (struct storage_fault_options){
		.share = 250, .seed = seed });

	for (int i = 0; i < 1000; i++)
		ret_failed[i] = storage_put(s, "k", "v", 1, NULL) < 0;
}

static void a_share_fails_as_the_seed_says(void **state)
{
	struct fault_test *test = *state;
	bool first[1000];
	bool second[1000];
	uint64_t n;

	failing_puts(test, 7, first);
	n = storage_fault_n_failed(test->test.storage);
	assert_in_range(n, 200, 300);
	failing_puts(test, 7, second);
	assert_memory_equal(first, second, sizeof(first));
	failing_puts(test, 8, second);
	assert_memory_not_equal(first, second, sizeof(first));
	with(test, (struct storage_fault_options){ .share = 1000 });
	assert_int_equal(storage_put(test->test.storage, "k", "v", 1, NULL), -EIO);
}

static void a_lost_answer_leaves_the_effect(void **state)
{
	struct fault_test *test = *state;
	struct storage *s = with(test, (struct storage_fault_options){
		.kind = STORAGE_FAULT_LOSE_ANSWER, .first = 1, .count = UINT64_MAX });
	struct buf keys = { 0 };

	assert_int_equal(storage_put(s, "p", "put", 3, NULL), -EIO);
	assert_int_equal(storage_put_new(s, "n", "new", 3, NULL), -EIO);
	assert_text(test->memory, "p", "put");
	assert_text(test->memory, "n", "new");
	assert_int_equal(storage_list(s, "", NULL, collect_key, &keys, NULL), -EIO);
	assert_string_equal(buf_str(&keys), "n p");
	assert_int_equal(storage_get(s, "p", 0, 3, &keys, NULL), -EIO);
	assert_int_equal(keys.len, 3);
	assert_int_equal(storage_remove(s, "p", NULL), -EIO);
	assert_absent(test->memory, "p");
	buf_done(&keys);
}

static void a_lost_effect_looks_like_success(void **state)
{
	struct fault_test *test = *state;
	struct storage *s = with(test, (struct storage_fault_options){
		.kind = STORAGE_FAULT_LOSE_EFFECT, .first = 1, .count = UINT64_MAX });
	struct storage_object object;

	put_text(test->memory, "there", "kept");
	put_text(s, "k", "v");
	assert_int_equal(storage_put_new(s, "n", "v", 1, NULL), 0);
	remove_key(s, "there");
	assert_list(test->memory, "", NULL, "there");
	assert_int_equal(storage_stat(s, "there", &object, NULL), -EIO);
}

static void a_refusal_does_nothing(void **state)
{
	struct fault_test *test = *state;
	struct storage *s = with(test, (struct storage_fault_options){
		.first = 1, .count = UINT64_MAX, .code = ENOSPC });
	struct buf out = { 0 };

	put_text(test->memory, "there", "kept");
	assert_int_equal(storage_put(s, "k", "v", 1, NULL), -ENOSPC);
	assert_int_equal(storage_put_new(s, "k", "v", 1, NULL), -ENOSPC);
	assert_int_equal(storage_remove(s, "there", NULL), -ENOSPC);
	assert_int_equal(storage_get(s, "there", 0, 9, &out, NULL), -ENOSPC);
	assert_int_equal(storage_list(s, "", NULL, collect_key, &out, NULL), -ENOSPC);
	assert_int_equal(storage_list_folders(s, "", collect_key, &out, NULL), -ENOSPC);
	assert_int_equal(out.len, 0);
	assert_list(test->memory, "", NULL, "there");
}

static void a_get_is_cut_in_half(void **state)
{
	struct fault_test *test = *state;
	struct storage *s = with(test, (struct storage_fault_options){
		.kind = STORAGE_FAULT_CUT_SHORT, .first = 1, .count = UINT64_MAX });
	struct buf out = { 0 };

	put_text(test->memory, "k", "0123456789");
	assert_int_equal(buf_append(&out, "before:", 7), 0);
	assert_int_equal(storage_get(s, "k", 0, SIZE_MAX, &out, NULL), 0);
	assert_string_equal(buf_str(&out), "before:01234");
	buf_reset(&out);
	assert_int_equal(storage_get(s, "k", 9, 1, &out, NULL), 0);
	assert_int_equal(out.len, 0);
	assert_int_equal(storage_get(s, "none", 0, 1, &out, NULL), 1);
	buf_done(&out);
}

static void a_list_is_cut_after_its_first_object(void **state)
{
	struct fault_test *test = *state;
	struct storage *s = with(test, (struct storage_fault_options){
		.kind = STORAGE_FAULT_CUT_SHORT, .first = 1, .count = UINT64_MAX });
	struct buf keys = { 0 };

	put_text(test->memory, "a/x", "");
	put_text(test->memory, "b/x", "");
	assert_int_equal(storage_list(s, "", NULL, collect_key, &keys, NULL), -EIO);
	assert_string_equal(buf_str(&keys), "a/x");
	buf_reset(&keys);
	assert_int_equal(storage_list_folders(s, "", collect_key, &keys, NULL), -EIO);
	assert_string_equal(buf_str(&keys), "a/");
	buf_done(&keys);
}

static void new_options_end_the_old_trouble(void **state)
{
	struct fault_test *test = *state;
	struct storage *s = with(test, (struct storage_fault_options){
		.first = 1, .count = UINT64_MAX });

	assert_int_equal(storage_put(s, "k", "v", 1, NULL), -EIO);
	with(test, (struct storage_fault_options){ 0 });
	put_text(s, "k", "v");
	assert_int_equal(storage_fault_n_seen(s), 1);
	assert_int_equal(storage_fault_n_failed(s), 0);
}

static void *put_one(void *arg)
{
	return (void *)(intptr_t)storage_put(arg, "k", "v", 1, NULL);
}

/* Without the stop it would take days. */
static void a_stop_ends_a_delay(void **state)
{
	struct fault_test *test = *state;
	struct storage *s = with(test, (struct storage_fault_options){ .delay_ms = 1 << 30 });
	pthread_t thread;
	void *r;

	assert_int_equal(pthread_create(&thread, NULL, put_one, s), 0);
	while (storage_fault_n_seen(s) == 0)
		sched_yield();
	storage_stop(s);
	pthread_join(thread, &r);
	assert_int_equal((intptr_t)r, -ECANCELED);
}

#define IN_BACKEND(fn) cmocka_unit_test_setup_teardown(fn, setup, storage_test_teardown)

static const struct CMUnitTest tests[] = {
	CONFORMANCE_TESTS(IN_BACKEND),
	IN_BACKEND(the_nth_operation_fails),
	IN_BACKEND(other_operations_pass_and_do_not_count),
	IN_BACKEND(a_share_fails_as_the_seed_says),
	IN_BACKEND(a_lost_answer_leaves_the_effect),
	IN_BACKEND(a_lost_effect_looks_like_success),
	IN_BACKEND(a_refusal_does_nothing),
	IN_BACKEND(a_get_is_cut_in_half),
	IN_BACKEND(a_list_is_cut_after_its_first_object),
	IN_BACKEND(new_options_end_the_old_trouble),
	IN_BACKEND(a_stop_ends_a_delay),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
