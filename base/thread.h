/* SPDX-License-Identifier: MIT */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include "base/error.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * A worker thread with a bell: it sleeps until it is rung, told to stop, or a
 * deadline passes.
 *
 * Invariant: rung and stopping are only touched under mutex. Owned by the
 * object whose work it does; any thread may ring.
 */
struct thread {
	pthread_t handle;
	pthread_mutex_t mutex;
	pthread_cond_t bell;
	bool started;
	bool rung;
	bool stopping;
	void (*run)(void *arg);
	void *arg;
	const char *name;
};

/*
 * Starts run(arg) in a new thread with all signals blocked. name: at most 15
 * characters, static. 0 or -errno.
 */
int thread_start(struct thread *thread, const char *name, void (*run)(void *arg), void *arg,
		 struct error *err) MUST_CHECK;

/* Wakes the thread. Cheap when it has been rung already. */
void thread_ring(struct thread *thread);

/*
 * Called by the thread itself: waits until it is rung (and takes the ring),
 * told to stop, or timeout_ms (negative: no limit) passes. False = stop.
 */
bool thread_wait(struct thread *thread, int64_t timeout_ms);

/* Whether the thread was told to stop. */
bool thread_stopping(struct thread *thread);

/* Tells the thread to stop and waits for its end. Fine when never started. */
void thread_stop(struct thread *thread);

/* A mutex held for the scope of the local that is declared with it. */
static inline pthread_mutex_t *thread_lock(pthread_mutex_t *mutex)
{
	pthread_mutex_lock(mutex);
	return mutex;
}
static inline void thread_unlock_cleanup(pthread_mutex_t **mutex)
{
	if (*mutex != NULL)
		pthread_mutex_unlock(*mutex);
}
#define LOCKED_NAME2(line) locked_##line
#define LOCKED_NAME(line) LOCKED_NAME2(line)
#define LOCK_SCOPE(mutex)                                                      \
	pthread_mutex_t *LOCKED_NAME(__LINE__) CLEANUP(thread_unlock_cleanup)  \
		__attribute__((unused)) = thread_lock(mutex)

#endif
