/* SPDX-License-Identifier: MIT */
#ifndef STORAGE_STORAGE_FS_INTERNAL_H
#define STORAGE_STORAGE_FS_INTERNAL_H

#include "base/id.h"
#include "storage/storage_backend.h"
#include "storage/storage_fs.h"

#include <sys/types.h>

/*
 * The folder backend. Never changes after storage_fs_open(), so it needs no
 * lock.
 */
struct storage_fs {
	struct storage base;
	char *path; /* absolute; its symlinks are followed at each operation */
	struct id id; /* what the marker says; zero = the root had none */
	dev_t device; /* of the root at the open: all there is to know it by */
	ino_t inode;  /*   when it has no marker */
};

static inline struct storage_fs *storage_fs_of(const struct storage *s)
{
	return (struct storage_fs *)s;
}

/*
 * Opens the root by path and checks that it is the backend that was opened.
 * Returns a descriptor, or -errno with err set.
 */
int storage_fs_root_enter(const struct storage_fs *fs, struct error *err) MUST_CHECK;

/*
 * Makes the root if create says so, and learns what to know it by into *fs,
 * which has its path and base. 0 or -errno.
 */
int storage_fs_root_open(struct storage_fs *fs, bool create, struct error *err) MUST_CHECK;

/* Opens the folder path below dir_fd, for reading. Returns it, or -errno. */
int storage_fs_folder_open(int dir_fd, const char *path) MUST_CHECK;

/* Removes temporaries that nobody has written to for long, where that is possible. */
void storage_fs_tmp_clean(int root_fd);

/* Opens the folder of temporaries, made when it is missing. Returns it, or -errno. */
int storage_fs_tmp_open(int root_fd) MUST_CHECK;

/*
 * Writes data to a new file in tmp_fd and syncs it; its name goes to
 * name[ID_HEX_LEN + 1]. 0, or -errno and there is no file.
 */
int storage_fs_tmp_write(int tmp_fd, char *name, const void *data, size_t len) MUST_CHECK;

/*
 * Gives the file name of tmp_fd the second or, where a filesystem has no hard
 * links, only name to of folder_fd, unless there is something of that name:
 * -EEXIST. Otherwise 0 or -errno.
 */
int storage_fs_tmp_link(int tmp_fd, const char *name, int folder_fd, const char *to) MUST_CHECK;

/* fsync of a folder; fine where a filesystem cannot do that. 0 or -errno. */
int storage_fs_sync_folder(int fd) MUST_CHECK;

/* Adds to err why an operation met errno code, and what to do about it. */
void storage_fs_explain(const struct storage_fs *fs, int code, struct error *err);

/* Sets err: verb ("put") failed on key with errno code, and why, and what to do. -code. */
int storage_fs_fail(const struct storage_fs *fs, int code, const char *verb,
		    const char *key, struct error *err);

/* The operations of the same name of struct storage_ops. */
int storage_fs_list(struct storage *s, const char *prefix, const char *after,
		    storage_list_fn *fn, void *arg, struct error *err) MUST_CHECK;
int storage_fs_list_folders(struct storage *s, const char *prefix,
			    storage_list_fn *fn, void *arg, struct error *err) MUST_CHECK;

#endif
