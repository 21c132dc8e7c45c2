/* SPDX-License-Identifier: MIT */
#include "fuse/statelock.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sysexits.h>

#define POLL_MS 50
#define TEXT_MAX 16384u

static const char *const state_names[] = { "serving", "draining", "dead" };

/* The value behind "key": in text, or NULL. Our own writer knows no other layout. */
static const char *value_of(const char *text, const char *key)
{
	char pattern[32];
	const char *at;

	snprintf(pattern, sizeof(pattern), "\"%s\":", key);
	at = strstr(text, pattern);
	return at != NULL ? at + strlen(pattern) : NULL;
}

/* A string: from its quote to the next that is not escaped. */
static char *string_of(const char *value)
{
	struct buf out CLEANUP_BUF = { 0 };
	unsigned code;

	if (value == NULL || *value++ != '"')
		return NULL;
	while (*value != '"') {
		char c = *value++;

		if (c == '\0')
			return NULL;
		if (c == '\\' && sscanf(value, "u%4x", &code) == 1 && strlen(value) >= 5) {
			c = (char)code;
			value += 5;
		} else if (c == '\\') {
			c = *value++;
		}
		if (c == '\0' || buf_append(&out, &c, 1) < 0)
			return NULL;
	}
	return strdup(buf_str(&out) != NULL ? (char *)out.data : "");
}

bool statelock_parse(const char *text, struct statelock *ret_lock)
{
	char *state CLEANUP_FREE = string_of(value_of(text, "state"));
	const char *pid = value_of(text, "pid");
	const char *since = value_of(text, "since");

	memset(ret_lock, 0, sizeof(*ret_lock));
	if (state == NULL || pid == NULL || since == NULL)
		return false;
	while (strcmp(state_names[ret_lock->state], state) != 0) {
		if (ret_lock->state == STATELOCK_DEAD)
			return false;
		ret_lock->state++;
	}
	ret_lock->pid = (pid_t)strtol(pid, NULL, 10);
	ret_lock->since = strtoll(since, NULL, 10);
	ret_lock->mountpoint = string_of(value_of(text, "mountpoint"));
	if (ret_lock->pid > 0 && ret_lock->mountpoint != NULL)
		return true;
	statelock_done(ret_lock);
	return false;
}

void statelock_done(struct statelock *lock)
{
	free(lock->mountpoint);
	memset(lock, 0, sizeof(*lock));
}

static int append_escaped(struct buf *out, const char *text)
{
	int r = 0;

	for (; *text != '\0' && r == 0; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\' || c < 0x20 || c == 0x7f)
			r = buf_printf(out, "\\u%04x", c);
		else
			r = buf_append(out, text, 1);
	}
	return r;
}

static int write_lock(int fd, enum statelock_state state, int64_t since, const char *mountpoint)
{
	struct buf text CLEANUP_BUF = { 0 };
	int r = buf_printf(&text, "{\"state\":\"%s\",\"pid\":%d,\"since\":%lld,\"mountpoint\":\"",
			   state_names[state], getpid(), (long long)since);

	if (r == 0)
		r = append_escaped(&text, mountpoint);
	if (r == 0)
		r = buf_append(&text, "\"}\n", 3);
	if (r == 0)
		r = file_pwrite(fd, text.data, text.len, 0);
	if (r == 0 && ftruncate(fd, (off_t)text.len) < 0)
		r = -errno;
	return r;
}

static bool read_lock(int fd, struct statelock *ret_lock)
{
	char *text CLEANUP_FREE = calloc(1, TEXT_MAX + 1);

	memset(ret_lock, 0, sizeof(*ret_lock));
	return text != NULL && file_pread(fd, text, TEXT_MAX, 0) >= 0 &&
	       statelock_parse(text, ret_lock);
}

void statelock_note(int fd, enum statelock_state state)
{
	struct statelock lock;

	if (fd < 0 || !read_lock(fd, &lock))
		return;
	(void)!write_lock(fd, state, lock.since, lock.mountpoint);
	statelock_done(&lock);
}

static int busy(const struct statelock *lock, struct error *err)
{
	char since[CLOCK_TEXT_SIZE];

	if (lock->pid == 0) {
		error_set(err, EBUSY, "the folder is being mounted by another process");
		return error_exit(err, EX_TEMPFAIL);
	}
	clock_format(lock->since * CLOCK_US_PER_S, since);
	error_set(err, EBUSY, "%s is already served by pid %d since %s", lock->mountpoint,
		  lock->pid, since);
	if (lock->state == STATELOCK_SERVING) {
		error_fix(err, "replitedfs status %s", lock->mountpoint);
	} else if (lock->state == STATELOCK_DRAINING) {
		error_set(err, EBUSY, "%s has been unmounted, but pid %d is still storing its "
				      "last transactions", lock->mountpoint, lock->pid);
		error_fix(err, "wait, or kill %d: what it has not stored yet is stored by the "
			       "next mount", lock->pid);
	} else {
		error_set(err, EBUSY, "programs still use files of a mount of %s that died",
			  lock->mountpoint);
		error_why(err, "pid %d keeps others off its databases until they have left; its "
			       "log says who they are", lock->pid);
		error_fix(err, "fuser -vm %s, stop them, then try again", lock->mountpoint);
	}
	return error_exit(err, EX_TEMPFAIL);
}

static int busy_reading(const char *mountpoint, struct error *err)
{
	error_set(err, EBUSY, "%s is being read by a list, restore or verify", mountpoint);
	error_fix(err, "wait until it is done, then try again");
	return error_exit(err, EX_TEMPFAIL);
}

/* Whether those that have the lock share it. */
static bool is_shared(int fd)
{
	if (flock(fd, LOCK_SH | LOCK_NB) < 0)
		return false;
	flock(fd, LOCK_UN);
	return true;
}

/* Somebody has the lock. 0: wait for it; or -EBUSY with who has it. */
static int judge_holder(int fd, const char *mountpoint, bool late, struct error *err)
{
	struct statelock lock;
	bool known;
	int r = 0;

	if (is_shared(fd))
		return late ? busy_reading(mountpoint, err) : 0;
	known = read_lock(fd, &lock);
	if ((known && lock.state != STATELOCK_DRAINING) || late)
		r = busy(&lock, err);
	statelock_done(&lock);
	return r;
}

static int wait_for(int fd, const char *mountpoint, int64_t wait_ms, struct error *err)
{
	int64_t deadline = clock_mono_ms() + wait_ms;

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int r;

		if (errno != EWOULDBLOCK)
			return error_set_errno(err, errno, "cannot lock the state folder");
		r = judge_holder(fd, mountpoint, clock_mono_ms() >= deadline, err);
		if (r < 0)
			return r;
		poll(NULL, 0, POLL_MS);
	}
	return 0;
}

int statelock_take(int state_fd, const char *mountpoint, int64_t wait_ms, int *ret_fd,
		   struct error *err)
{
	int fd CLEANUP_FD = openat(state_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
				   0600);
	int r;

	if (fd < 0)
		return error_set_errno(err, errno, "cannot open the lock of the state folder");
	r = wait_for(fd, mountpoint, wait_ms, err);
	if (r == 0)
		r = write_lock(fd, STATELOCK_SERVING, clock_wall_us() / CLOCK_US_PER_S, mountpoint);
	if (r < 0 && err->code == 0)
		return error_set_errno(err, -r, "cannot write the lock of the state folder");
	if (r < 0)
		return r;
	*ret_fd = take_fd(&fd);
	return 0;
}

/* Opens the file, to be written if that can be. -ENOENT: there is none. */
static int open_to_share(int state_fd)
{
	int fd = openat(state_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0 && (errno == EROFS || errno == EACCES))
		fd = openat(state_fd, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

int statelock_share(int state_fd, int *ret_fd, struct error *err)
{
	int fd CLEANUP_FD = open_to_share(state_fd);
	struct statelock lock;
	int r;

	*ret_fd = -1;
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return error_set_errno(err, -fd, "cannot open the lock of the state folder");
	if (flock(fd, LOCK_SH | LOCK_NB) == 0) {
		*ret_fd = take_fd(&fd);
		return 0;
	}
	if (errno != EWOULDBLOCK)
		return error_set_errno(err, errno, "cannot lock the state folder");
	(void)read_lock(fd, &lock);
	r = busy(&lock, err);
	statelock_done(&lock);
	return r;
}

int statelock_begin_writing(int fd, struct error *err)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	/* Another kind of lock than flock(2), so that mounts do not meet it. */
	while (fcntl(fd, F_OFD_SETLKW, &lock) < 0) {
		if (errno == EBADF)
			return error_set(err, EROFS, "the state folder cannot be written");
		if (errno != EINTR)
			return error_set_errno(err, errno, "cannot lock the state folder");
	}
	return 0;
}

void statelock_end_writing(int fd)
{
	struct flock lock = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	fcntl(fd, F_OFD_SETLK, &lock);
}
