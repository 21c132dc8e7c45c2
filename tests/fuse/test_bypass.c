/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/buf.h"
#include "base/file.h"
#include "fuse/bypass.h"
#include "replicate/page.h"

#include <pthread.h>
#include <semaphore.h>

#define HANGS_S 20 /* until what does not happen is taken to hang */

/* A database of which nothing is wanted but its name, which may have to be waited for. */
struct database {
	const char *name;
	bool busy;
	sem_t asked, free;
};

struct database *__wrap_database_ref(struct database *db);
void __wrap_database_unref(struct database *db);
char *__wrap_database_name(struct database *db);

struct database *__wrap_database_ref(struct database *db)
{
	return db;
}

void __wrap_database_unref(struct database *db)
{
}

char *__wrap_database_name(struct database *db)
{
	if (db->busy) {
		sem_post(&db->asked);
		while (sem_wait(&db->free) < 0 && errno == EINTR)
			;
	}
	return strdup(db->name);
}

struct fixture {
	struct unit_folder *folder;
	struct bypass bypass;
	struct database busy, other;
};

static void make_database(struct fixture *fixture, struct database *db, const char *name)
{
	int fd = openat(fixture->folder->fd, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
	db->name = name;
	sem_init(&db->asked, 0, 0);
	sem_init(&db->free, 0, 0);
}

static void set_up(void **state, struct fixture *fixture)
{
	memset(fixture, 0, sizeof(*fixture));
	fixture->folder = *state;
	make_database(fixture, &fixture->busy, "busy.db");
	make_database(fixture, &fixture->other, "other.db");
	bypass_init(&fixture->bypass, fixture->folder->fd, -1);
}

static void fixture_done(struct fixture *fixture)
{
	bypass_done(&fixture->bypass);
}
#define CLEANUP_FIXTURE CLEANUP(fixture_done)

/* One hold in a thread of its own. */
struct holder {
	struct fixture *fixture;
	struct database *db;
	pthread_t thread;
	sem_t done;
	int result;
};

static void *hold(void *arg)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct holder *holder = arg;

	holder->result = bypass_hold(&holder->fixture->bypass, holder->db, &err);
	sem_post(&holder->done);
	return NULL;
}

static void start(struct holder *holder, struct fixture *fixture, struct database *db)
{
	*holder = (struct holder){ .fixture = fixture, .db = db };
	sem_init(&holder->done, 0, 0);
	assert_int_equal(pthread_create(&holder->thread, NULL, hold, holder), 0);
}

static bool comes(sem_t *sem)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += HANGS_S;
	return sem_clockwait(sem, CLOCK_MONOTONIC, &until) == 0;
}

/* Whether another open file description could write-lock the file's first byte range. */
static bool is_locked(struct fixture *fixture, const char *name)
{
	int fd CLEANUP_FD = openat(fixture->folder->fd, name, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return file_lock(fd, F_WRLCK, PAGE_LOCK_OFFSET, 1) < 0;
}

static void a_database_that_is_busy_keeps_no_other_waiting(void **state)
{
	struct fixture fixture CLEANUP_FIXTURE;
	struct holder first, second;
	bool went_on;

	set_up(state, &fixture);
	fixture.busy.busy = true;
	start(&first, &fixture, &fixture.busy);
	assert_true(comes(&fixture.busy.asked));
	start(&second, &fixture, &fixture.other);
	went_on = comes(&second.done);
	sem_post(&fixture.busy.free);
	pthread_join(first.thread, NULL);
	pthread_join(second.thread, NULL);
	assert_true(went_on);
	assert_int_equal(first.result, 0);
	assert_int_equal(second.result, 0);
	assert_true(is_locked(&fixture, "busy.db"));
	assert_true(is_locked(&fixture, "other.db"));
}

static void two_first_opens_at_once_are_one_lock(void **state)
{
	struct fixture fixture CLEANUP_FIXTURE;
	struct holder holders[2];

	set_up(state, &fixture);
	fixture.busy.busy = true;
	start(&holders[0], &fixture, &fixture.busy);
	start(&holders[1], &fixture, &fixture.busy);
	assert_true(comes(&fixture.busy.asked));
	assert_true(comes(&fixture.busy.asked));
	for (int i = 0; i < 2; i++)
		sem_post(&fixture.busy.free);
	for (int i = 0; i < 2; i++) {
		pthread_join(holders[i].thread, NULL);
		assert_int_equal(holders[i].result, 0);
	}
	bypass_drop(&fixture.bypass, &fixture.busy);
	assert_true(is_locked(&fixture, "busy.db"));
	bypass_drop(&fixture.bypass, &fixture.busy);
	assert_false(is_locked(&fixture, "busy.db"));
}

static void what_a_bypasser_has_is_refused_and_not_counted(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct fixture fixture CLEANUP_FIXTURE;
	int fd;

	set_up(state, &fixture);
	fd = openat(fixture.folder->fd, "other.db", O_RDWR | O_CLOEXEC);
	assert_int_equal(file_lock(fd, F_WRLCK, PAGE_LOCK_OFFSET, 1), 0);
	assert_int_equal(bypass_hold(&fixture.bypass, &fixture.other, &err), -EBUSY);
	close(fd);
	assert_int_equal(bypass_hold(&fixture.bypass, &fixture.other, &err), 0);
	bypass_drop(&fixture.bypass, &fixture.other);
	assert_false(is_locked(&fixture, "other.db"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST_IN_FOLDER(a_database_that_is_busy_keeps_no_other_waiting),
		UNIT_TEST_IN_FOLDER(two_first_opens_at_once_are_one_lock),
		UNIT_TEST_IN_FOLDER(what_a_bypasser_has_is_refused_and_not_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
