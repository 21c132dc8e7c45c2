/* SPDX-License-Identifier: MIT */
#include "base/file.h"

#include <errno.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

int file_open_beneath(int dir_fd, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)flags | O_CLOEXEC,
		.mode = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? mode & 07777 : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
			   RESOLVE_NO_XDEV,
	};
	long fd;

	do {
		fd = syscall(SYS_openat2, dir_fd, path[0] != '\0' ? path : ".", &how, sizeof(how));
	} while (fd < 0 && (errno == EINTR || errno == EAGAIN));
	return fd < 0 ? -errno : (int)fd;
}

ssize_t file_pread(int fd, void *data, size_t len, off_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)data + done, len - done, off + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int file_pwrite(int fd, const void *data, size_t len, off_t off)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(fd, (const char *)data + done, len - done, off + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		done += (size_t)n;
	}
	return 0;
}

int file_read_all(int dir_fd, const char *path, size_t max, struct buf *out, struct error *err)
{
	int fd CLEANUP_FD = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	ssize_t n;
	void *to;

	if (fd < 0)
		return error_set_errno(err, errno, "cannot open %s", path);
	if (fstat(fd, &st) < 0)
		return error_set_errno(err, errno, "cannot stat %s", path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, EINVAL, "%s is not a regular file", path);
	if ((uint64_t)st.st_size > max)
		return error_set(err, EFBIG, "%s is larger than %zu bytes", path, max);
	to = buf_extend(out, (size_t)st.st_size);
	if (to == NULL)
		return error_set(err, ENOMEM, "out of memory reading %s", path);
	n = file_pread(fd, to, (size_t)st.st_size, 0);
	if (n < 0)
		return error_set_errno(err, (int)-n, "cannot read %s", path);
	out->len -= (size_t)(st.st_size - n);
	return 0;
}

int file_sync_dir(int dir_fd)
{
	int fd CLEANUP_FD = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

/* Opens the folder that holds path below dir_fd. */
static int open_parent(int dir_fd, const char *path)
{
	const char *slash = strrchr(path, '/');
	char *parent CLEANUP_FREE = NULL;
	int fd;

	if (slash == NULL)
		parent = strdup(".");
	else
		parent = strndup(path, slash == path ? 1 : (size_t)(slash - path));
	if (parent == NULL)
		return -ENOMEM;
	fd = openat(dir_fd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int write_temporary(int dir_fd, const char *path, const void *data, size_t len, mode_t mode)
{
	int fd CLEANUP_FD = -1;
	int r;

	/* What a crash left behind may have another mode. */
	if (unlinkat(dir_fd, path, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = openat(dir_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	r = file_pwrite(fd, data, len, 0);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	return r;
}

int file_replace(int dir_fd, const char *path, const void *data, size_t len, mode_t mode,
		 struct error *err)
{
	char *temporary CLEANUP_FREE = NULL;
	int parent_fd CLEANUP_FD = open_parent(dir_fd, path);
	int r;

	if (parent_fd < 0)
		return error_set_errno(err, -parent_fd, "cannot open the folder of %s", path);
	if (asprintf(&temporary, "%s.tmp", path) < 0) {
		temporary = NULL;
		return error_set(err, ENOMEM, "out of memory");
	}
	r = write_temporary(dir_fd, temporary, data, len, mode);
	if (r == 0 && renameat(dir_fd, temporary, dir_fd, path) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dir_fd, temporary, 0);
		return error_set_errno(err, -r, "cannot write %s", path);
	}
	if (fsync(parent_fd) < 0)
		return error_set_errno(err, errno, "cannot sync the folder of %s", path);
	return 0;
}

int file_make_dir(int dir_fd, const char *path, mode_t mode, struct error *err)
{
	struct stat st;

	if (mkdirat(dir_fd, path, mode) == 0)
		return 0;
	if (errno != EEXIST)
		return error_set_errno(err, errno, "cannot create the folder %s", path);
	if (fstatat(dir_fd, path, &st, 0) < 0 || !S_ISDIR(st.st_mode))
		return error_set(err, ENOTDIR, "%s is in the way: it is not a folder", path);
	return 0;
}

bool file_times_fine(int dir_fd)
{
	int fd CLEANUP_FD = openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct timespec last = { 0 };

	for (int i = 0; i < 5; i++) {
		struct stat st;

		if (fd < 0 || pwrite(fd, "?", 1, 0) != 1 || fstat(fd, &st) < 0 ||
		    (st.st_mtim.tv_sec == last.tv_sec && st.st_mtim.tv_nsec == last.tv_nsec))
			return false;
		last = st.st_mtim;
	}
	return true;
}

uint64_t file_system_id(int fd)
{
	struct statfs fs;
	uint32_t words[2];

	if (fstatfs(fd, &fs) < 0)
		return 0;
	_Static_assert(sizeof(fs.f_fsid) == sizeof(words), "f_fsid is two words");
	memcpy(words, &fs.f_fsid, sizeof(words));
	return (uint64_t)words[1] << 32 | words[0];
}

int file_lock(int fd, short type, off_t start, off_t len)
{
	struct flock lock = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = start,
		.l_len = len,
	};

	return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

int file_copy_range(int in_fd, int out_fd, off_t off, off_t len)
{
	off_t end = off + len;

	while (off < end) {
		off_t in_off = off;
		off_t out_off = off;
		ssize_t n = copy_file_range(in_fd, &in_off, out_fd, &out_off, (size_t)(end - off),
					    0);
		char block[65536];

		if (n <= 0) {
			n = file_pread(in_fd, block,
				       MIN((size_t)(end - off), sizeof(block)), off);
			if (n <= 0)
				return n < 0 ? (int)n : -EIO;
			int r = file_pwrite(out_fd, block, (size_t)n, off);

			if (r < 0)
				return r;
		}
		off += n;
	}
	return 0;
}
