/* SPDX-License-Identifier: MIT */
#include "base/thread.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

static void *entry(void *arg)
{
	struct thread *thread = arg;

	pthread_setname_np(pthread_self(), thread->name);
	thread->run(thread->arg);
	return NULL;
}

static void init_bell(struct thread *thread)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&thread->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&thread->bell, &attr);
	pthread_condattr_destroy(&attr);
}

int thread_start(struct thread *thread, const char *name, void (*run)(void *arg), void *arg,
		 struct error *err)
{
	sigset_t all;
	sigset_t before;
	int r;

	memset(thread, 0, sizeof(*thread));
	thread->name = name;
	thread->run = run;
	thread->arg = arg;
	init_bell(thread);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	thread->started = true;
	r = pthread_create(&thread->handle, NULL, entry, thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0) {
		thread->started = false;
		return error_set_errno(err, r, "cannot start the %s thread", name);
	}
	return 0;
}

void thread_ring(struct thread *thread)
{
	pthread_mutex_lock(&thread->mutex);
	if (!thread->rung) {
		thread->rung = true;
		pthread_cond_signal(&thread->bell);
	}
	pthread_mutex_unlock(&thread->mutex);
}

static struct timespec deadline_after(int64_t timeout_ms)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += timeout_ms / 1000;
	at.tv_nsec += timeout_ms % 1000 * 1000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	return at;
}

bool thread_wait(struct thread *thread, int64_t timeout_ms)
{
	struct timespec deadline = deadline_after(timeout_ms >= 0 ? timeout_ms : 0);
	bool go_on;
	int r = 0;

	pthread_mutex_lock(&thread->mutex);
	while (!thread->rung && !thread->stopping && r != ETIMEDOUT) {
		if (timeout_ms < 0)
			pthread_cond_wait(&thread->bell, &thread->mutex);
		else
			r = pthread_cond_timedwait(&thread->bell, &thread->mutex, &deadline);
	}
	thread->rung = false;
	go_on = !thread->stopping;
	pthread_mutex_unlock(&thread->mutex);
	return go_on;
}

bool thread_stopping(struct thread *thread)
{
	bool stopping;

	pthread_mutex_lock(&thread->mutex);
	stopping = thread->stopping;
	pthread_mutex_unlock(&thread->mutex);
	return stopping;
}

void thread_stop(struct thread *thread)
{
	if (!thread->started)
		return;
	pthread_mutex_lock(&thread->mutex);
	thread->stopping = true;
	pthread_cond_broadcast(&thread->bell);
	pthread_mutex_unlock(&thread->mutex);
	pthread_join(thread->handle, NULL);
	pthread_cond_destroy(&thread->bell);
	pthread_mutex_destroy(&thread->mutex);
	thread->started = false;
}
