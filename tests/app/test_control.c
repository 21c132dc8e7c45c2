/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "app/control.h"
#include "base/buf.h"

#include <jansson.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define HANGS_S 60 /* ends a test that would never end */
#define SPINS 1000 /* attempts that nobody makes who waits between them */

static struct {
	atomic_bool out_of_descriptors;
	atomic_uint n_attempts;
	atomic_bool waited;
	sem_t decided; /* it has waited, or it spins */
} faults;

int __real_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);
int __real_pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock,
				  const struct timespec *until);
int __wrap_pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock,
				  const struct timespec *until);

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
	if (!faults.out_of_descriptors)
		return __real_accept4(fd, address, len, flags);
	if (++faults.n_attempts == SPINS)
		sem_post(&faults.decided);
	errno = EMFILE;
	return -1;
}

int __wrap_pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock,
				  const struct timespec *until)
{
	faults.waited = true;
	sem_post(&faults.decided);
	return __real_pthread_cond_clockwait(cond, mutex, clock, until);
}

static int answer_hello(void *arg, struct control_call *call, struct error *err)
{
	call->answer = json_pack("{s:b}", "hello", true);
	return 0;
}

static void serve(struct unit_folder *folder, struct control_server *server)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct stat st;

	memset(&faults, 0, sizeof(faults));
	sem_init(&faults.decided, 0, 0);
	alarm(HANGS_S);
	assert_int_equal(fstat(folder->fd, &st), 0);
	assert_int_equal(control_server_start(server, folder->path, st.st_dev, st.st_ino,
					      answer_hello, NULL, &err),
			 0);
}

static int connect_silently(const struct control_server *server)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, server->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void call_and_be_answered(const struct unit_folder *folder)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int fd CLEANUP_FD = control_connect(folder->path, folder->path, &err);
	json_t *answer;

	assert_true(fd >= 0);
	assert_int_equal(control_call(fd, json_object(), -1, &answer, NULL, &err), 0);
	assert_true(json_is_true(json_object_get(answer, "hello")));
	json_decref(answer);
}

static void who_never_asks_does_not_keep_it_from_stopping(void **state)
{
	struct unit_folder *folder = *state;
	struct control_server server;
	int idle CLEANUP_FD = -1;
	char byte;

	serve(folder, &server);
	idle = connect_silently(&server);
	/* In the order of their connections: the idle one is being served then. */
	call_and_be_answered(folder);
	control_server_stop(&server);
	while (recv(idle, &byte, 1, 0) > 0)
		;
}

static void half_a_request_does_not_keep_it_from_stopping(void **state)
{
	struct unit_folder *folder = *state;
	struct control_server server;
	int idle CLEANUP_FD = -1;

	serve(folder, &server);
	idle = connect_silently(&server);
	assert_int_equal(send(idle, "{\"comm", 6, MSG_NOSIGNAL), 6);
	call_and_be_answered(folder);
	control_server_stop(&server);
}

static void without_descriptors_it_waits_before_it_tries_again(void **state)
{
	struct unit_folder *folder = *state;
	struct control_server server;
	int first CLEANUP_FD = -1;

	serve(folder, &server);
	faults.out_of_descriptors = true;
	/* Ends the accept(2) that was called before. */
	first = connect_silently(&server);
	while (sem_wait(&faults.decided) < 0 && errno == EINTR)
		;
	assert_true(faults.waited);
	faults.out_of_descriptors = false;
	call_and_be_answered(folder);
	control_server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST_IN_FOLDER(who_never_asks_does_not_keep_it_from_stopping),
		UNIT_TEST_IN_FOLDER(half_a_request_does_not_keep_it_from_stopping),
		UNIT_TEST_IN_FOLDER(without_descriptors_it_waits_before_it_tries_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
