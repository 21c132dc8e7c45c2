/* SPDX-License-Identifier: MIT */
#include "tests/storage/conformance.h"
#include "tests/storage/memory.h"

#include "storage/storage_fault.h"
#include "storage/storage_retry.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define N_DELAYS 64

/* A world in which time passes only by waiting, and chance is one number. */
struct world {
	struct storage_retry_world functions;
	atomic_llong now_ms;
	uint64_t random;
	int64_t delays[N_DELAYS];
	atomic_int n_delays;
	struct storage *stop_in_wait;	/* NULL = none */
};

struct retry_test {
	struct storage_test test;
	struct storage *memory;
	struct storage *fault;
	struct world world;
};

static int64_t world_now_ms(void *arg)
{
	return atomic_load(&((struct world *)arg)->now_ms);
}

static void world_wait(void *arg, int64_t ms)
{
	struct world *world = arg;
	int n = atomic_fetch_add(&world->n_delays, 1);

	atomic_fetch_add(&world->now_ms, ms);
	if (n < N_DELAYS)
		world->delays[n] = ms;
	if (world->stop_in_wait != NULL)
		storage_stop(world->stop_in_wait);
}

static uint64_t world_random(void *arg)
{
	return ((struct world *)arg)->random;
}

static void world_init(struct world *world)
{
	*world = (struct world){
		.functions = {
			.now_ms = world_now_ms,
			.wait = world_wait,
			.random = world_random,
			.arg = world,
		},
	};
	atomic_store(&world->now_ms, 1000);
}

static struct storage *wrap_fault(struct storage *inner, struct storage_fault_options options)
{
	struct storage *s = NULL;
	struct error err = ERROR_INIT;

	storage_test_check(storage_fault_new(inner, &options, &s, &err), 0, &err, "wrap", "fault");
	return s;
}

static struct storage *wrap_retry(struct storage *inner, struct storage_retry_options options)
{
	struct storage *s = NULL;
	struct error err = ERROR_INIT;

	storage_test_check(storage_retry_new(inner, &options, &s, &err), 0, &err, "wrap", "retry");
	return s;
}

static int setup(void **state)
{
	struct retry_test *test = calloc(1, sizeof(*test));
	struct storage_test *plain;

	if (test == NULL || storage_test_setup(state) < 0)
		return -1;
	plain = *state;
	test->test = *plain;
	free(plain);
	*state = test;
	world_init(&test->world);
	test->memory = memory_new(NULL);
	test->fault = wrap_fault(test->memory, (struct storage_fault_options){ 0 });
	return 0;
}

/* Wraps what setup() made with these options, in the test's world. */
static struct storage *start(struct retry_test *test, struct storage_retry_options options)
{
	options.world = &test->world.functions;
	test->test.storage = wrap_retry(test->fault, options);
	return test->test.storage;
}

/* Over a folder whose every third operation fails, some after they took effect. */
static int setup_conformance(void **state)
{
	const struct storage_fault_options faults = {
		/* Not a put_new: after a failure it has one more way to succeed. */
		.operations = ~(unsigned)STORAGE_FAULT_PUT_NEW,
		.kind = STORAGE_FAULT_LOSE_ANSWER,
		.code = EAGAIN,
		.share = 333,
		.seed = 1,
	};
	struct retry_test *test;
	struct storage *fs;

	if (setup(state) < 0)
		return -1;
	test = *state;
	storage_free(test->fault);
	fs = storage_test_open(&test->test, "backend", true);
	test->fault = wrap_fault(fs, faults);
	/* All threads share the clock: whatever one waits passes for the others. */
	start(test, (struct storage_retry_options){
		.max_attempts = 60, .deadline_ms = INT64_MAX / 2 });
	return 0;
}

static void a_transient_failure_is_tried_again(void **state)
{
	struct retry_test *test = *state;
	struct storage *s = start(test, (struct storage_retry_options){ 0 });

	storage_fault_set(test->fault, &(struct storage_fault_options){ .first = 1, .count = 3 });
	put_text(s, "k", "v");
	assert_int_equal(storage_fault_n_seen(test->fault), 4);
	assert_int_equal(test->world.n_delays, 3);
	assert_text(test->memory, "k", "v");
}

static void a_success_waits_for_nothing(void **state)
{
	struct retry_test *test = *state;
	struct storage *s = start(test, (struct storage_retry_options){ 0 });

	put_text(s, "k", "v");
	assert_text(s, "k", "v");
	assert_absent(s, "none");
	assert_int_equal(test->world.n_delays, 0);
}

static void a_permanent_failure_is_not(void **state)
{
	struct retry_test *test = *state;
	struct storage *s = start(test, (struct storage_retry_options){ 0 });
	struct error err = ERROR_INIT;

	storage_fault_set(test->fault, &(struct storage_fault_options){
		.first = 1, .count = 9, .code = ENOSPC });
	assert_int_equal(storage_put(s, "k", "v", 1, &err), -ENOSPC);
	assert_int_equal(err.code, ENOSPC);
	assert_null(strstr(error_what(&err), "tried"));
	assert_int_equal(storage_fault_n_seen(test->fault), 1);
	assert_int_equal(test->world.n_delays, 0);
	error_done(&err);
}

static void every_operation_is_tried_again(void **state)
{
	struct retry_test *test = *state;
	struct storage *s = start(test, (struct storage_retry_options){ 0 });
	const struct storage_fault_options once = { .first = 1, .code = ETIMEDOUT };
	struct storage_object object;
	struct error err = ERROR_INIT;

	storage_fault_set(test->fault, &once);
	put_text(s, "a/k", "value");
	storage_fault_set(test->fault, &once);
	assert_text(s, "a/k", "value");
	storage_fault_set(test->fault, &once);
	storage_test_check(storage_stat(s, "a/k", &object, &err), 0, &err, "stat", "a/k");
	assert_int_equal(object.size, 5);
	storage_fault_set(test->fault, &once);
	storage_test_check(storage_put_new(s, "b", "w", 1, &err), 0, &err, "put_new", "b");
	storage_fault_set(test->fault, &once);
	assert_list(s, "", NULL, "a/k b");
	storage_fault_set(test->fault, &once);
	assert_folders(s, "", "a/");
	storage_fault_set(test->fault, &once);
	remove_key(s, "b");
	assert_int_equal(storage_fault_n_failed(test->fault), 1);
	assert_int_equal(test->world.n_delays, 7);
	assert_list(test->memory, "", NULL, "a/k");
}

static void it_gives_up_after_so_many_attempts(void **state)
{
	struct retry_test *test = *state;
	struct storage *s = start(test, (struct storage_retry_options){ .max_attempts = 4 });
	struct error err = ERROR_INIT;

	storage_fault_set(test->fault, &(struct storage_fault_options){
		.first = 1, .count = UINT64_MAX, .code = ECONNREFUSED });
	assert_int_equal(storage_put(s, "k", "v", 1, &err), -ECONNREFUSED);
	assert_int_equal(err.code, ECONNREFUSED);
	assert_non_null(strstr(error_what(&err), "tried 4 times"));
	assert_int_equal(storage_fault_n_seen(test->fault), 4);
	assert_int_equal(test->world.n_delays, 3);
	error_done(&err);
	assert_int_equal(storage_put(s, "k", "v", 1, NULL), -ECONNREFUSED);
}

static void delays_double_up_to_their_limit(void **state)
{
	static const int64_t full[] = { 100, 200, 400, 800, 1000, 1000, 1000 };
	struct retry_test *test = *state;
	struct storage *s = start(test, (struct storage_retry_options){
		.max_attempts = 8, .first_delay_ms = 100, .max_delay_ms = 1000 });

	storage_fault_set(test->fault, &(struct storage_fault_options){
		.first = 1, .count = UINT64_MAX });
	for (uint64_t i = 0; i < 500; i++) {
		atomic_store(&test->world.n_delays, 0);
		test->world.random = i * 0x9e3779b97f4a7c15u;
		assert_int_equal(storage_put(s, "k", "v", 1, NULL), -EIO);
		assert_int_equal(test->world.n_delays, ARRAY_LEN(full));
		for (size_t j = 0; j < ARRAY_LEN(full); j++) {
			uint64_t half = (uint64_t)full[j] / 2;

			assert_int_equal(test->world.delays[j],
					 half + test->world.random % (half + 1));
		}
	}
}

static void no_attempt_begins_after_the_deadline(void **state)
{
	struct retry_test *test = *state;
	struct storage *s = start(test, (struct storage_retry_options){
		.max_attempts = 1000, .first_delay_ms = 1000, .max_delay_ms = 1000,
		.deadline_ms = 3600 });

	storage_fault_set(test->fault, &(struct storage_fault_options){
		.first = 1, .count = UINT64_MAX });
	assert_int_equal(storage_put(s, "k", "v", 1, NULL), -EIO);
	/* At 0, 500, … 3500, and at the deadline itself. */
	assert_int_equal(storage_fault_n_seen(test->fault), 9);
	assert_int_equal(world_now_ms(&test->world), 1000 + 3600);
}

static void a_stop_while_waiting_ends_it(void **state)
{
	struct retry_test *test = *state;
	struct storage *s = start(test, (struct storage_retry_options){ 0 });
	struct error err = ERROR_INIT;

	test->world.stop_in_wait = s;
	storage_fault_set(test->fault, &(struct storage_fault_options){
		.first = 1, .count = UINT64_MAX });
	assert_int_equal(storage_put(s, "k", "v", 1, &err), -ECANCELED);
	assert_int_equal(err.code, ECANCELED);
	assert_int_equal(storage_fault_n_seen(test->fault), 1);
	assert_int_equal(test->world.n_delays, 1);
	error_done(&err);
}

struct putting {
	struct storage *s;
	int r;
};

static void *put_one(void *arg)
{
	struct putting *putting = arg;

	putting->r = storage_put(putting->s, "k", "v", 1, NULL);
	return NULL;
}

/* In the real world: without the stop it would take hours. */
static void a_stop_from_another_thread_ends_it(void **state)
{
	struct retry_test *test = *state;
	struct putting putting;
	pthread_t thread;

	test->test.storage = wrap_retry(test->fault, (struct storage_retry_options){
		.first_delay_ms = 1 << 30, .max_delay_ms = 1 << 30, .deadline_ms = 1 << 30 });
	putting = (struct putting){ .s = test->test.storage };
	storage_fault_set(test->fault, &(struct storage_fault_options){
		.first = 1, .count = UINT64_MAX });
	assert_int_equal(pthread_create(&thread, NULL, put_one, &putting), 0);
	while (storage_fault_n_seen(test->fault) == 0)
		sched_yield();
	storage_stop(test->test.storage);
	pthread_join(thread, NULL);
	assert_int_equal(putting.r, -ECANCELED);
	assert_int_equal(storage_fault_n_seen(test->fault), 1);
}

static void it_works_in_the_real_world(void **state)
{
	struct retry_test *test = *state;

	test->test.storage = wrap_retry(test->fault, (struct storage_retry_options){
		.first_delay_ms = 1, .max_delay_ms = 2 });
	storage_fault_set(test->fault, &(struct storage_fault_options){ .first = 1, .count = 4 });
	put_text(test->test.storage, "k", "v");
	assert_int_equal(storage_fault_n_seen(test->fault), 5);
}

static void a_put_new_that_lost_its_answer_is_recognised(void **state)
{
	struct retry_test *test = *state;
	struct storage *s = start(test, (struct storage_retry_options){ 0 });
	const struct storage_fault_options lost = {
		.operations = STORAGE_FAULT_PUT_NEW, .kind = STORAGE_FAULT_LOSE_ANSWER, .first = 1,
	};
	struct error err = ERROR_INIT;

	storage_fault_set(test->fault, &lost);
	storage_test_check(storage_put_new(s, "k", "mine", 4, &err), 0, &err, "put_new", "k");
	assert_text(s, "k", "mine");
	storage_fault_set(test->fault, &lost);
	storage_test_check(storage_put_new(s, "empty", NULL, 0, &err), 0, &err, "put_new", "empty");
	assert_int_equal(storage_fault_n_seen(test->fault), 2);
}

static void a_put_new_that_lost_the_race_is_not_taken_for_the_winner(void **state)
{
	static const char *const others[] = { "his!", "mine, too", "a longer one", "m", "" };
	struct retry_test *test = *state;
	struct storage *s = start(test, (struct storage_retry_options){ 0 });
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		put_text(test->memory, "k", others[i]);
		storage_fault_set(test->fault, &(struct storage_fault_options){
			.operations = STORAGE_FAULT_PUT_NEW, .first = 1 });
		storage_test_check(storage_put_new(s, "k", "mine", 4, &err), 1, &err, "put_new",
				   "k");
		assert_text(s, "k", others[i]);
	}
	/* Nothing failed here, so the same bytes are another's too. */
	put_text(test->memory, "k", "mine");
	storage_test_check(storage_put_new(s, "k", "mine", 4, &err), 1, &err, "put_new", "k");
}

static void the_question_whose_object_it_is_is_tried_again_too(void **state)
{
	struct retry_test *test = *state;
	struct storage *s = start(test, (struct storage_retry_options){ 0 });
	struct error err = ERROR_INIT;

	put_text(test->memory, "k", "his!");
	storage_fault_set(test->fault, &(struct storage_fault_options){ .first = 1, .count = 1 });
	storage_test_check(storage_put_new(s, "k", "mine", 4, &err), 1, &err, "put_new", "k");
	storage_fault_set(test->fault, &(struct storage_fault_options){
		.operations = STORAGE_FAULT_PUT_NEW | STORAGE_FAULT_STAT, .first = 1, .count = 3 });
	storage_test_check(storage_put_new(s, "k", "mine", 4, &err), 1, &err, "put_new", "k");
	assert_true(storage_fault_n_seen(test->fault) > 3);
}

static void a_list_goes_on_where_it_failed(void **state)
{
	struct retry_test *test = *state;
	struct storage *s = start(test, (struct storage_retry_options){ .max_attempts = 2 });
	struct storage_fault_options cut = { .kind = STORAGE_FAULT_CUT_SHORT, .first = 1 };

	for (char key[] = "k/a/x"; key[2] < 'k'; key[2]++)
		put_text(test->memory, key, key);
	/* More failures than attempts, with one more object each time. */
	cut.count = 9;
	storage_fault_set(test->fault, &cut);
	assert_list(s, "k", NULL, "k/a/x k/b/x k/c/x k/d/x k/e/x k/f/x k/g/x k/h/x k/i/x k/j/x");
	assert_int_equal(storage_fault_n_failed(test->fault), 9);
	cut.count = 6;
	storage_fault_set(test->fault, &cut);
	assert_list(s, "", "k/d", "k/d/x k/e/x k/f/x k/g/x k/h/x k/i/x k/j/x");
	cut.count = 1;
	storage_fault_set(test->fault, &cut);
	assert_folders(s, "k/", "k/a/ k/b/ k/c/ k/d/ k/e/ k/f/ k/g/ k/h/ k/i/ k/j/");
	assert_int_equal(storage_fault_n_failed(test->fault), 1);
}

static void a_list_that_gets_no_further_is_given_up(void **state)
{
	struct retry_test *test = *state;
	struct storage *s = start(test, (struct storage_retry_options){ .max_attempts = 3 });
	struct buf keys = { 0 };

	put_text(test->memory, "a", "");
	put_text(test->memory, "b", "");
	storage_fault_set(test->fault, &(struct storage_fault_options){
		.kind = STORAGE_FAULT_CUT_SHORT, .first = 1, .count = UINT64_MAX });
	assert_int_equal(storage_list(s, "", NULL, collect_key, &keys, NULL), -EIO);
	assert_string_equal(buf_str(&keys), "a b");
	/* The second object was the first attempt of three that got no further. */
	assert_int_equal(storage_fault_n_seen(test->fault), 4);
	buf_done(&keys);
}

static int fail_transiently(void *arg, const struct storage_object *object, struct error *err)
{
	++*(int *)arg;
	return error_set(err, EAGAIN, "the reader's own trouble");
}

static void a_failure_of_a_lists_reader_is_not_tried_again(void **state)
{
	struct retry_test *test = *state;
	struct storage *s = start(test, (struct storage_retry_options){ 0 });
	struct error err = ERROR_INIT;
	int n = 0;

	put_text(s, "a/x", "");
	put_text(s, "b/x", "");
	assert_int_equal(storage_list(s, "", NULL, fail_transiently, &n, &err), -EAGAIN);
	assert_string_equal(error_what(&err), "the reader's own trouble");
	assert_int_equal(n, 1);
	assert_int_equal(storage_list_folders(s, "", fail_transiently, &n, &err), -EAGAIN);
	assert_int_equal(n, 2);
	assert_int_equal(test->world.n_delays, 0);
	error_done(&err);
}

static int teardown_unwrapped(void **state)
{
	struct retry_test *test = *state;

	if (test->test.storage == NULL)
		storage_free(test->fault);
	return storage_test_teardown(state);
}

#define IN_BACKEND(fn)                                                         \
	cmocka_unit_test_setup_teardown(fn, setup_conformance, teardown_unwrapped)
#define WITH_FAULTS(fn)                                                        \
	cmocka_unit_test_setup_teardown(fn, setup, teardown_unwrapped)

static const struct CMUnitTest tests[] = {
	CONFORMANCE_TESTS(IN_BACKEND),
	WITH_FAULTS(a_transient_failure_is_tried_again),
	WITH_FAULTS(a_success_waits_for_nothing),
	WITH_FAULTS(a_permanent_failure_is_not),
	WITH_FAULTS(every_operation_is_tried_again),
	WITH_FAULTS(it_gives_up_after_so_many_attempts),
	WITH_FAULTS(delays_double_up_to_their_limit),
	WITH_FAULTS(no_attempt_begins_after_the_deadline),
	WITH_FAULTS(a_stop_while_waiting_ends_it),
	WITH_FAULTS(a_stop_from_another_thread_ends_it),
	WITH_FAULTS(it_works_in_the_real_world),
	WITH_FAULTS(a_put_new_that_lost_its_answer_is_recognised),
	WITH_FAULTS(a_put_new_that_lost_the_race_is_not_taken_for_the_winner),
	WITH_FAULTS(the_question_whose_object_it_is_is_tried_again_too),
	WITH_FAULTS(a_list_goes_on_where_it_failed),
	WITH_FAULTS(a_list_that_gets_no_further_is_given_up),
	WITH_FAULTS(a_failure_of_a_lists_reader_is_not_tried_again),
};

int main(void)
{
	return cmocka_run_group_tests(tests, NULL, NULL);
}
