/* SPDX-License-Identifier: MIT */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/buf.h"
#include "base/error.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/*
 * Opens path (relative, may be "") below the folder dir_fd, following no
 * symlink and leaving neither the folder nor its filesystem (openat2 with
 * RESOLVE_BENEATH|NO_SYMLINKS|NO_MAGICLINKS|NO_XDEV). Returns a descriptor
 * with O_CLOEXEC, or -errno. Does not set a struct error: the errno is often
 * an answer.
 */
int file_open_beneath(int dir_fd, const char *path, int flags, mode_t mode) MUST_CHECK;

/*
 * Reads up to len bytes at off and carries on over short reads. Returns the
 * number of bytes (short only at the end of the file) or -errno.
 */
ssize_t file_pread(int fd, void *data, size_t len, off_t off) MUST_CHECK;

/* Writes all of data at off. 0 or -errno. */
int file_pwrite(int fd, const void *data, size_t len, off_t off) MUST_CHECK;

/*
 * Appends the bytes of a regular file, at most max (else -EFBIG), to out. Does
 * not wait on a FIFO. 0 or -errno.
 */
int file_read_all(int dir_fd, const char *path, size_t max, struct buf *out,
		  struct error *err) MUST_CHECK;

/*
 * Replaces dir_fd/path by data so that a crash leaves the old or the new file:
 * a temporary file beside it, fsync, rename, fsync of the folder. Blocks for
 * the syncs. 0 or -errno.
 */
int file_replace(int dir_fd, const char *path, const void *data, size_t len, mode_t mode,
		 struct error *err) MUST_CHECK;

/* fsync of the folder dir_fd (which may be O_PATH). 0 or -errno. */
int file_sync_dir(int dir_fd) MUST_CHECK;

/*
 * mkdirat that is content with an existing folder, also behind a symlink. 0 or
 * -errno.
 */
int file_make_dir(int dir_fd, const char *path, mode_t mode, struct error *err) MUST_CHECK;

/*
 * Whether the file system of the folder dir_fd gives each write that somebody may
 * see a time of its own (multigrain timestamps, since Linux 6.13), rather than
 * that of the last clock tick. Tries it on a nameless file; false when it cannot.
 */
bool file_times_fine(int dir_fd) MUST_CHECK;

/* f_fsid of statfs(2): what most file systems keep from mount to mount; 0: it has none. */
uint64_t file_system_id(int fd);

/*
 * Sets an OFD lock of type (F_RDLCK, F_WRLCK, F_UNLCK) on len bytes at start, 0: to
 * whatever end, without waiting. 0; -EAGAIN or -EACCES: another holds one that
 * excludes it; another -errno.
 */
int file_lock(int fd, short type, off_t start, off_t len) MUST_CHECK;

/*
 * Copies the bytes [off, off + len) of in_fd to the same place of out_fd in the
 * kernel where it can. 0 or -errno.
 */
int file_copy_range(int in_fd, int out_fd, off_t off, off_t len) MUST_CHECK;

#endif
