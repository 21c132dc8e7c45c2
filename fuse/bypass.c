/* SPDX-License-Identifier: MIT */
#include "fuse/bypass.h"

#include "base/file.h"
#include "base/log.h"
#include "base/thread.h"
#include "fuse/channel.h"
#include "fuse/procscan.h"
#include "replicate/page.h"

#include <errno.h>
#include <string.h>

struct bypass_lock {
	struct bypass_lock *next;
	struct database *db;
	uint64_t id;
	unsigned n_opens;
	int fd; /* -1: there was no file to lock */
	dev_t dev; /* of that file */
	ino_t ino;
};

void bypass_init(struct bypass *bypass, int root_fd, int sock)
{
	memset(bypass, 0, sizeof(*bypass));
	bypass->root_fd = root_fd;
	bypass->sock = sock;
	pthread_mutex_init(&bypass->mutex, NULL);
}

static void lock_free(struct bypass_lock *lock)
{
	if (lock->fd >= 0)
		close(lock->fd);
	database_unref(lock->db);
	free(lock);
}

void bypass_done(struct bypass *bypass)
{
	struct bypass_lock *next;

	for (struct bypass_lock *lock = bypass->locks; lock != NULL; lock = next) {
		next = lock->next;
		lock_free(lock);
	}
	pthread_mutex_destroy(&bypass->mutex);
	memset(bypass, 0, sizeof(*bypass));
}

static struct bypass_lock *find(struct bypass *bypass, struct database *db)
{
	struct bypass_lock *lock = bypass->locks;

	while (lock != NULL && lock->db != db)
		lock = lock->next;
	return lock;
}

/* The database file under its present name: it may be renamed at any time. */
static int open_database(struct bypass *bypass, struct database *db)
{
	int fd = -ENOENT;

	for (int i = 0; i < 10 && fd == -ENOENT; i++) {
		char *name CLEANUP_FREE = database_name(db);

		if (name == NULL)
			return -ENOMEM;
		fd = file_open_beneath(bypass->root_fd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0);
	}
	return fd;
}

/* Hands the lock to the supervisor and waits until it has it. */
static void share(struct bypass *bypass, struct bypass_lock *lock)
{
	struct channel_message message = { .kind = CHANNEL_HOLD, .id = lock->id };
	int fd CLEANUP_FD = -1;
	int r;

	if (bypass->sock < 0)
		return;
	r = channel_send(bypass->sock, &message, lock->fd);
	if (r == 0)
		r = channel_receive(bypass->sock, &message, &fd);
	if (r == 0 && (message.kind != CHANNEL_HELD || message.id != lock->id))
		r = -EBADMSG;
	if (r == 0)
		return;
	log_warn("the supervisor is gone: a crash of this process will let go of the locks that "
		 "keep other programs off the bare databases");
	bypass->sock = -1;
}

static int conflict(struct bypass_lock *lock, struct error *err)
{
	char *name CLEANUP_FREE = database_name(lock->db);
	char *who CLEANUP_FREE = procscan_lock_holder(lock->fd, PAGE_LOCK_OFFSET, PAGE_LOCK_LEN);

	error_set(err, EBUSY, "%s is locked on the bare folder by %s", name ? name : "a database",
		  who != NULL ? who : "a process");
	error_why(err, "it reached the file past the mount, by a working directory from before "
		       "it or in another mount namespace");
	return error_fix(err, "restart that program so that it sees the mount");
}

/*
 * Opens the database file; 0 also when there is no such file. A file this process
 * may only read is locked by nobody who writes.
 */
static int open_file(struct bypass *bypass, struct bypass_lock *lock, struct error *err)
{
	int fd = open_database(bypass, lock->db);
	struct stat st;

	if (fd == -ENOENT || fd == -EROFS)
		return 0;
	if (fd < 0)
		return error_set_errno(err, -fd, "cannot open the bare database to lock it");
	lock->fd = fd;
	if (fstat(fd, &st) < 0)
		return error_set_errno(err, errno, "cannot stat the bare database");
	lock->dev = st.st_dev;
	lock->ino = st.st_ino;
	return 0;
}

/* The lock of a database that is the same file, by another of its names. */
static struct bypass_lock *find_twin(struct bypass *bypass, const struct bypass_lock *lock)
{
	struct bypass_lock *twin = bypass->locks;

	while (twin != NULL && (twin == lock || twin->fd < 0 || twin->dev != lock->dev ||
				twin->ino != lock->ino))
		twin = twin->next;
	return lock->fd >= 0 ? twin : NULL;
}

/* Locks the file of lock, or takes part in the lock that it has. As file_lock(). */
static int lock_file(struct bypass *bypass, struct bypass_lock *lock)
{
	const struct bypass_lock *twin = find_twin(bypass, lock);
	int fd;

	if (lock->fd < 0)
		return 0;
	if (twin == NULL)
		return file_lock(lock->fd, F_WRLCK, PAGE_LOCK_OFFSET, PAGE_LOCK_LEN);
	fd = fcntl(twin->fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -errno;
	close(lock->fd);
	lock->fd = fd;
	return 0;
}

/* Locks the file that is open and makes the lock known; 1: someone else has it. */
static int take(struct bypass *bypass, struct bypass_lock *lock, struct error *err)
{
	int r = lock_file(bypass, lock);

	if (r == -EAGAIN || r == -EACCES)
		return 1;
	if (r < 0)
		return error_set_errno(err, -r, "cannot lock the bare database");
	lock->id = ++bypass->last_id;
	lock->n_opens = 1;
	if (lock->fd >= 0)
		share(bypass, lock);
	lock->next = bypass->locks;
	bypass->locks = lock;
	return 0;
}

/* One more open of a database that is held already. */
static bool join(struct bypass *bypass, struct database *db)
{
	struct bypass_lock *lock = find(bypass, db);

	if (lock != NULL)
		lock->n_opens++;
	return lock != NULL;
}

/*
 * What is asked of the database or may take long is done before and after, not
 * under the mutex; another open of the same database may be faster meanwhile.
 */
static int hold_first(struct bypass *bypass, struct database *db, struct error *err)
{
	struct bypass_lock *lock = calloc(1, sizeof(*lock));
	bool joined;
	int r;

	if (lock == NULL)
		return error_set(err, ENOMEM, "out of memory");
	lock->db = database_ref(db);
	lock->fd = -1;
	r = open_file(bypass, lock, err);
	pthread_mutex_lock(&bypass->mutex);
	joined = r == 0 && join(bypass, db);
	if (r == 0 && !joined)
		r = take(bypass, lock, err);
	pthread_mutex_unlock(&bypass->mutex);
	if (r > 0)
		r = conflict(lock, err);
	if (r < 0 || joined)
		lock_free(lock);
	return r;
}

int bypass_hold(struct bypass *bypass, struct database *db, struct error *err)
{
	bool joined;

	pthread_mutex_lock(&bypass->mutex);
	joined = join(bypass, db);
	pthread_mutex_unlock(&bypass->mutex);
	return joined ? 0 : hold_first(bypass, db, err);
}

void bypass_drop(struct bypass *bypass, struct database *db)
{
	struct channel_message message = { .kind = CHANNEL_DROP };
	struct bypass_lock **at;
	struct bypass_lock *lock;

	pthread_mutex_lock(&bypass->mutex);
	at = &bypass->locks;
	while (*at != NULL && (*at)->db != db)
		at = &(*at)->next;
	lock = *at;
	if (lock == NULL || --lock->n_opens > 0) {
		pthread_mutex_unlock(&bypass->mutex);
		return;
	}
	*at = lock->next;
	message.id = lock->id;
	if (lock->fd >= 0 && find_twin(bypass, lock) == NULL)
		(void)!file_lock(lock->fd, F_UNLCK, PAGE_LOCK_OFFSET, PAGE_LOCK_LEN);
	if (lock->fd >= 0 && bypass->sock >= 0)
		(void)!channel_send(bypass->sock, &message, -1);
	pthread_mutex_unlock(&bypass->mutex);
	lock_free(lock);
}
