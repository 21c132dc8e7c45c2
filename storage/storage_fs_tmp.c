/* SPDX-License-Identifier: MIT */
/*
 * Temporaries of the folder backend.
 *
 * An object is written to ROOT/.replitedfs-tmp/<random>, synced, and then
 * renamed or linked to its place; all temporaries are in this one folder, so
 * what a crash left is found without a walk through the backend. A leftover is
 * known by its age only, since its writer may have been another machine or
 * container. That is safe with a writer that was merely suspended, too: it finds
 * its file gone when it wants to publish it, and writes it once more.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/hook.h"
#include "storage/storage_fs_internal.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#define STALE_AFTER_US (60 * 60 * CLOCK_US_PER_S)

int storage_fs_folder_open(int dir_fd, const char *path)
{
	return file_open_beneath(dir_fd, path, O_RDONLY | O_DIRECTORY, 0);
}

int storage_fs_sync_folder(int fd)
{
	return fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
}

int storage_fs_tmp_open(int root_fd)
{
	int fd = storage_fs_folder_open(root_fd, STORAGE_NAME_TMP);

	if (fd != -ENOENT)
		return fd;
	if (mkdirat(root_fd, STORAGE_NAME_TMP, 0700) < 0 && errno != EEXIST)
		return -errno;
	return storage_fs_folder_open(root_fd, STORAGE_NAME_TMP);
}

int storage_fs_tmp_write(int tmp_fd, char *name, const void *data, size_t len)
{
	int fd CLEANUP_FD = -1;
	struct id id;
	int r = id_random(&id, NULL);

	if (r < 0)
		return r;
	id_format(&id, name);
	fd = openat(tmp_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = file_pwrite(fd, data, len, 0);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(tmp_fd, name, 0);
	return r;
}

/* Whether name has got a second name: over NFS a link may succeed and say EEXIST. */
static bool is_linked(int tmp_fd, const char *name)
{
	struct stat st;

	return fstatat(tmp_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_nlink == 2;
}

int storage_fs_tmp_link(int tmp_fd, const char *name, int folder_fd, const char *to)
{
	int code = EPERM;

	if (!hook_enabled("storage-fs-no-links"))
		code = linkat(tmp_fd, name, folder_fd, to, 0) < 0 ? errno : 0;
	if (code == EEXIST && is_linked(tmp_fd, name))
		code = 0;
	if (code != EPERM && code != EOPNOTSUPP && code != ENOSYS && code != EMLINK)
		return -code;
	/* No hard links here (FAT, some network filesystems). */
	if (renameat2(tmp_fd, name, folder_fd, to, RENAME_NOREPLACE) < 0)
		return -errno;
	return 0;
}

static bool is_stale(int tmp_fd, const char *name)
{
	struct stat st;
	int64_t age_us;

	if (fstatat(tmp_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return false;
	age_us = clock_wall_us() - st.st_mtim.tv_sec * CLOCK_US_PER_S;
	return age_us > STALE_AFTER_US;
}

void storage_fs_tmp_clean(int root_fd)
{
	int fd CLEANUP_FD = storage_fs_folder_open(root_fd, STORAGE_NAME_TMP);
	struct dirent *entry;
	DIR *dir;

	dir = fd < 0 ? NULL : fdopendir(fd);
	if (dir == NULL)
		return;
	take_fd(&fd);
	while ((entry = readdir(dir)) != NULL)
		if (is_stale(dirfd(dir), entry->d_name))
			unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
}
