# SPDX-License-Identifier: MIT
"""Libraries for LD_PRELOAD that stop or kill a SQLite program at an exact point.

Each acts once the file named by ARM exists; where it holds the program it makes the file
ARM.there, and waits for ARM.go. Those that look at one kind of file only are told by AT how
its name ends.
"""

import os
import pathlib

from mount import preload, wait_for

COMMON = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

static int armed(void)
{
	const char *arm = getenv("ARM");
	return arm != NULL && access(arm, F_OK) == 0;
}
static void die(void)
{
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}
static void hold(void)
{
	char path[PATH_MAX];
	int fd;
	snprintf(path, sizeof(path), "%s.there", getenv("ARM"));
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	snprintf(path, sizeof(path), "%s.go", getenv("ARM"));
	while (access(path, F_OK) != 0)
		usleep(1000);
	unlink(getenv("ARM"));
}
static int ends(const char *name, const char *suffix)
{
	size_t n = strlen(name), m = strlen(suffix);
	return n >= m && strcmp(name + n - m, suffix) == 0;
}
static int fd_ends(int fd, const char *suffix)
{
	char link[64], path[PATH_MAX];
	ssize_t n;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return 0;
	path[n] = '\0';
	return ends(path, suffix);
}
static int is_at(int fd)
{
	return fd_ends(fd, getenv("AT"));
}
#define REAL(name, ...) ((__VA_ARGS__)dlsym(RTLD_NEXT, #name))
"""

# The last close removes -shm, then -wal.
KILL_AT_UNLINK_OF_WAL = r"""
int unlink(const char *path)
{
	if (ends(path, "-wal") && armed())
		die();
	return REAL(unlink, int (*)(const char *))(path);
}
"""

# A TRUNCATE checkpoint has written the new header into the WAL-index.
KILL_AT_TRUNCATION_OF_WAL = r"""
int ftruncate64(int fd, off_t size)
{
	if (size == 0 && fd_ends(fd, "-wal") && armed())
		die();
	return REAL(ftruncate64, int (*)(int, off_t))(fd, size);
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
"""

# A checkpoint has copied everything and announces it.
HOLD_AT_TRUNCATION_OF_DATABASE = r"""
int ftruncate64(int fd, off_t size)
{
	if (size != 0 && fd_ends(fd, ".db") && armed())
		hold();
	return REAL(ftruncate64, int (*)(int, off_t))(fd, size);
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
"""

# Between the two copies of the WAL-index header SQLite's barrier takes a mutex.
KILL_BETWEEN_HEADER_COPIES = r"""
static char *index_map;
void *mmap64(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
	void *map = REAL(mmap64, void *(*)(void *, size_t, int, int, int, off_t))
		(at, len, prot, flags, fd, off);
	if (map != MAP_FAILED && fd >= 0 && off == 0 && fd_ends(fd, "-shm"))
		index_map = map;
	return map;
}
void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
	return mmap64(at, len, prot, flags, fd, off);
}
int pthread_mutex_lock(pthread_mutex_t *mutex)
{
	static int (*real)(pthread_mutex_t *);
	if (real == NULL)
		real = REAL(pthread_mutex_lock, int (*)(pthread_mutex_t *));
	if (index_map != NULL && memcmp(index_map, index_map + 48, 48) != 0 && armed())
		die();
	return real(mutex);
}
"""

# The commit frame is whole in the WAL, but not published.
KILL_AFTER_COMMIT_FRAME = r"""
ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t off)
{
	static int commit;
	ssize_t done = REAL(pwrite64, ssize_t (*)(int, const void *, size_t, off_t))
		(fd, bytes, n, off);
	if (!fd_ends(fd, "-wal"))
		return done;
	if (commit && n > 24 && armed())
		die();
	commit = n == 24 && memcmp((const char *)bytes + 4, "\0\0\0\0", 4) != 0;
	return done;
}
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t off)
{
	return pwrite64(fd, bytes, n, off);
}
"""

# A transaction in rollback mode is about to end.
KILL_AT_UNLINK_OF_JOURNAL = r"""
int unlink(const char *path)
{
	if (ends(path, "-journal") && armed())
		die();
	return REAL(unlink, int (*)(const char *))(path);
}
"""

# A file has been cut or extended to a size other than 0.
KILL_AFTER_TRUNCATION = r"""
int ftruncate64(int fd, off_t size)
{
	int done = REAL(ftruncate64, int (*)(int, off_t))(fd, size);
	if (size != 0 && is_at(fd) && armed())
		die();
	return done;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
"""

# The header of a kept journal has been zeroed, which commits, but not synced.
AFTER_ZEROING_OF_JOURNAL = r"""
ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t off)
{
	ssize_t done = REAL(pwrite64, ssize_t (*)(int, const void *, size_t, off_t))
		(fd, bytes, n, off);
	if (n == 28 && off == 0 && fd_ends(fd, "-journal") && armed())
		act();
	return done;
}
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t off)
{
	return pwrite64(fd, bytes, n, off);
}
"""
KILL_AFTER_ZEROING_OF_JOURNAL = "#define act die" + AFTER_ZEROING_OF_JOURNAL
HOLD_AFTER_ZEROING_OF_JOURNAL = "#define act hold" + AFTER_ZEROING_OF_JOURNAL

# The mount has refused a write.
KILL_AT_REFUSED_WRITE = r"""
ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t off)
{
	ssize_t done = REAL(pwrite64, ssize_t (*)(int, const void *, size_t, off_t))
		(fd, bytes, n, off);
	if (done < 0 && is_at(fd) && armed())
		die();
	return done;
}
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t off)
{
	return pwrite64(fd, bytes, n, off);
}
"""

# A checkpointer has read the header of the WAL-index, and is about to read nBackfill, the
# word behind it. Nothing is called in between: while it has the checkpoint lock the page
# may not be touched, and is lent out for one instruction at a time until it is that word's.
HOLD_BEFORE_READ_OF_BACKFILL = r"""
#if !defined(__x86_64__)
#error "steps through instructions of this processor only"
#endif
enum { BACKFILL = 96, CHECKPOINT_LOCK = 121, INDEX_HEAD = 4096, SINGLE_STEP = 0x100 };
static char *index_map;
static void on_touch(int sig, siginfo_t *info, void *context)
{
	greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];
	char *at = info->si_addr;
	if (at < index_map || at >= index_map + INDEX_HEAD)
		abort();
	mprotect(index_map, INDEX_HEAD, PROT_READ | PROT_WRITE);
	if (at == index_map + BACKFILL)
		hold();
	else
		*flags |= SINGLE_STEP;
}
static void on_step(int sig, siginfo_t *info, void *context)
{
	((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~SINGLE_STEP;
	mprotect(index_map, INDEX_HEAD, PROT_NONE);
}
static void watch_index(void)
{
	struct sigaction touch = { .sa_sigaction = on_touch, .sa_flags = SA_SIGINFO };
	struct sigaction step = { .sa_sigaction = on_step, .sa_flags = SA_SIGINFO };
	sigaction(SIGSEGV, &touch, NULL);
	sigaction(SIGTRAP, &step, NULL);
	mprotect(index_map, INDEX_HEAD, PROT_NONE);
}
void *mmap64(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
	void *map = REAL(mmap64, void *(*)(void *, size_t, int, int, int, off_t))
		(at, len, prot, flags, fd, off);
	if (map != MAP_FAILED && fd >= 0 && off == 0 && fd_ends(fd, "-shm"))
		index_map = map;
	return map;
}
void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
	return mmap64(at, len, prot, flags, fd, off);
}
int fcntl64(int fd, int cmd, ...)
{
	va_list list;
	void *arg;
	int done;
	va_start(list, cmd);
	arg = va_arg(list, void *);
	va_end(list);
	done = REAL(fcntl64, int (*)(int, int, void *))(fd, cmd, arg);
	if (cmd == F_SETLK && done == 0 && index_map != NULL && fd_ends(fd, "-shm")) {
		const struct flock *lock = arg;
		if (lock->l_type == F_WRLCK && lock->l_start == CHECKPOINT_LOCK && armed())
			watch_index();
	}
	return done;
}
int fcntl(int fd, int cmd, ...)
{
	va_list list;
	void *arg;
	va_start(list, cmd);
	arg = va_arg(list, void *);
	va_end(list);
	return fcntl64(fd, cmd, arg);
}
"""


class Fault:
    """One library, and the file that arms it."""

    def __init__(self, folder, source, at=""):
        self.arm_file = pathlib.Path(folder) / "arm"
        library = preload(COMMON + source, pathlib.Path(folder) / "fault.so")
        self.env = {"LD_PRELOAD": library, "ARM": str(self.arm_file), "AT": at}

    def arm(self):
        """From now on it acts."""
        self.arm_file.touch()

    def disarm(self):
        """For the programs that come after."""
        self.arm_file.unlink(missing_ok=True)

    def wait_until_held(self):
        """A program stands at the point."""
        wait_for(lambda: os.path.exists(f"{self.arm_file}.there"), "the program to get there")

    def let_go(self):
        """It goes on."""
        pathlib.Path(f"{self.arm_file}.go").touch()
