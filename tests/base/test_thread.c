/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/thread.h"

#include <signal.h>
#include <stdatomic.h>

/* A worker that counts its wake-ups and answers each with a byte in a pipe. */
struct worker {
	struct thread thread;
	int answer[2];
	atomic_int n_woken;
	bool signals_blocked;
};

static void answer(struct worker *worker)
{
	if (write(worker->answer[1], "", 1) != 1)
		abort();
}

static void work(void *arg)
{
	struct worker *worker = arg;
	sigset_t blocked;

	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	worker->signals_blocked = sigismember(&blocked, SIGTERM) == 1;
	while (thread_wait(&worker->thread, -1)) {
		worker->n_woken++;
		answer(worker);
	}
}

static void start(struct worker *worker)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;

	assert_int_equal(pipe(worker->answer), 0);
	assert_int_equal(thread_start(&worker->thread, "worker", work, worker, &err), 0);
}

static void stop(struct worker *worker)
{
	thread_stop(&worker->thread);
	close(worker->answer[0]);
	close(worker->answer[1]);
}

static void await_answer(struct worker *worker)
{
	char c;

	assert_int_equal(read(worker->answer[0], &c, 1), 1);
}

static void every_ring_wakes_the_thread(void **state)
{
	struct worker worker = { 0 };

	start(&worker);
	for (int i = 1; i <= 10; i++) {
		thread_ring(&worker.thread);
		await_answer(&worker);
		assert_int_equal(worker.n_woken, i);
	}
	assert_false(thread_stopping(&worker.thread));
	stop(&worker);
	assert_true(worker.signals_blocked);
}

static void stopping_ends_a_waiting_thread(void **state)
{
	struct worker worker = { 0 };

	start(&worker);
	stop(&worker);
	assert_int_equal(worker.n_woken, 0);
	thread_stop(&worker.thread);
}

static void stopping_what_never_started_is_fine(void **state)
{
	struct thread thread = { 0 };

	thread_stop(&thread);
}

static void wait_until_timeout(void *arg)
{
	struct worker *worker = arg;

	while (worker->n_woken < 3 && thread_wait(&worker->thread, 1))
		worker->n_woken++;
	answer(worker);
}

static void a_deadline_wakes_the_thread_without_a_ring(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct worker worker = { 0 };

	assert_int_equal(pipe(worker.answer), 0);
	assert_int_equal(thread_start(&worker.thread, "worker",
				      wait_until_timeout, &worker, &err),
			 0);
	await_answer(&worker);
	stop(&worker);
	assert_int_equal(worker.n_woken, 3);
}

static void lock_scope_releases_at_the_end_of_the_block(void **state)
{
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

	{
		LOCK_SCOPE(&mutex);
		assert_int_equal(pthread_mutex_trylock(&mutex), EBUSY);
	}
	assert_int_equal(pthread_mutex_trylock(&mutex), 0);
	pthread_mutex_unlock(&mutex);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_ring_wakes_the_thread),
		cmocka_unit_test(stopping_ends_a_waiting_thread),
		cmocka_unit_test(stopping_what_never_started_is_fine),
		cmocka_unit_test(a_deadline_wakes_the_thread_without_a_ring),
		cmocka_unit_test(lock_scope_releases_at_the_end_of_the_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
