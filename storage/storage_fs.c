/* SPDX-License-Identifier: MIT */
/*
 * The folder backend: objects as files, under the contract of an object store.
 *
 * A put writes a temporary (storage_fs_tmp.c), syncs it, makes the folders of
 * its key, renames it to its place (put_new links it, which fails when there is
 * something) and syncs every folder from there up to the root: any of them may
 * be a moment old and made by somebody else who has not synced it yet. Readers
 * open one inode and so see one version, whole.
 *
 * There are no empty folders: a remove also removes the folders that it leaves
 * empty. So folders can go away under a put that is about to publish; it meets
 * ENOENT then and begins anew, as it does when its temporary was cleaned up.
 */
#include "base/clock.h"
#include "base/file.h"
#include "storage/storage_fs_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#define PUT_TRIES 64 /* each lost only to a remove within microseconds */

/* An object on its way into the backend. */
struct put {
	const char *key;
	const void *data;
	size_t len;
	bool is_new;
};

static void explain_no_space(const struct storage_fs *fs, struct error *err)
{
	struct statvfs st;

	if (statvfs(fs->path, &st) == 0)
		error_why(err, "its filesystem has %llu MiB free for this user",
			  (unsigned long long)st.f_bavail * st.f_frsize >> 20);
	error_fix(err, "make room on the filesystem of %s (or raise the quota)", fs->path);
}

void storage_fs_explain(const struct storage_fs *fs, int code, struct error *err)
{
	switch (code) {
	case ENOSPC:
		explain_no_space(fs, err);
		break;
	case EROFS:
		error_why(err, "its filesystem is mounted read-only");
		error_fix(err, "look for disk errors (dmesg), then mount it read-write");
		break;
	case EACCES:
	case EPERM:
		error_fix(err, "let user %u read and write everything in %s",
			  (unsigned)geteuid(), fs->path);
		break;
	case EXDEV:
		error_why(err, "another filesystem is mounted below %s", fs->path);
		error_fix(err, "unmount it, or name its folder as the backend");
		break;
	case ELOOP:
		error_why(err, "symlinks below %s are not followed", fs->path);
		error_fix(err, "put the file or folder itself in the place of the symlink");
		break;
	case ENOTDIR:
	case EISDIR:
		error_why(err, "one object cannot be the folder of another here");
		break;
	case ENAMETOOLONG:
		error_why(err, "the filesystem of %s does not take names of that length",
			  fs->path);
		break;
	default:
		break;
	}
}

int storage_fs_fail(const struct storage_fs *fs, int code, const char *verb,
		    const char *key, struct error *err)
{
	int r = error_set_errno(err, code == EDQUOT ? ENOSPC : code,
				"cannot %s %s in the backend %s", verb, key, fs->base.url);

	storage_fs_explain(fs, -r, err);
	return r;
}

static const char *last_component(const char *key)
{
	const char *slash = strrchr(key, '/');

	return slash == NULL ? key : slash + 1;
}

/* Opens the folder that holds key. Returns it, or -errno. */
static int open_folder(int root_fd, const char *key)
{
	char *path CLEANUP_FREE = strndup(key, (size_t)(last_component(key) - key));

	return path == NULL ? -ENOMEM : storage_fs_folder_open(root_fd, path);
}

/* The same, with those that are missing made. */
static int make_folder(int root_fd, const char *key)
{
	int fd CLEANUP_FD = open_folder(root_fd, key);
	const char *slash;

	if (fd != -ENOENT)
		return take_fd(&fd);
	fd = storage_fs_folder_open(root_fd, "");
	for (; fd >= 0 && (slash = strchr(key, '/')) != NULL; key = slash + 1) {
		char *name CLEANUP_FREE = strndup(key, (size_t)(slash - key));
		int next;

		if (name == NULL)
			return -ENOMEM;
		if (mkdirat(fd, name, 0700) < 0 && errno != EEXIST)
			return -errno;
		next = storage_fs_folder_open(fd, name);
		close(fd);
		fd = next;
	}
	return take_fd(&fd);
}

/* Syncs the folder that holds key and all above it. 0 or -errno. */
static int sync_folders(int root_fd, const char *key)
{
	char *path CLEANUP_FREE = strdup(key);
	char *slash;

	if (path == NULL)
		return -ENOMEM;
	while ((slash = strrchr(path, '/')) != NULL) {
		int fd CLEANUP_FD = -1;
		int r;

		*slash = '\0';
		fd = storage_fs_folder_open(root_fd, path);
		r = fd < 0 ? fd : storage_fs_sync_folder(fd);
		/* Gone: a remove came after us, and has what it did synced. */
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return storage_fs_sync_folder(root_fd);
}

/* 1 = what has the name to is an object; <0 = it is something else. */
static int check_existing(int folder_fd, const char *to)
{
	struct stat st;

	if (fstatat(folder_fd, to, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 1 : -errno;
	if (S_ISREG(st.st_mode))
		return 1;
	return S_ISDIR(st.st_mode) ? -EISDIR : -ELOOP;
}

/* Moves the temporary to its place. 1 = put_new found an object there. */
static int publish(int root_fd, int tmp_fd, const char *name, const struct put *put)
{
	int folder_fd CLEANUP_FD = make_folder(root_fd, put->key);
	const char *to = last_component(put->key);
	int r;

	if (folder_fd < 0)
		return folder_fd;
	if (put->is_new) {
		r = storage_fs_tmp_link(tmp_fd, name, folder_fd, to);
		if (r == -EEXIST)
			r = check_existing(folder_fd, to);
	} else {
		r = renameat(tmp_fd, name, folder_fd, to) < 0 ? -errno : 0;
	}
	return r;
}

/* 0, 1 as publish(), or -errno; -ENOENT: something was taken away meanwhile. */
static int put_once(int root_fd, const struct put *put)
{
	int tmp_fd CLEANUP_FD = storage_fs_tmp_open(root_fd);
	char name[ID_HEX_LEN + 1];
	int r;

	if (tmp_fd < 0)
		return tmp_fd;
	r = storage_fs_tmp_write(tmp_fd, name, put->data, put->len);
	if (r < 0)
		return r;
	r = publish(root_fd, tmp_fd, name, put);
	if (r != 0 || put->is_new)
		unlinkat(tmp_fd, name, 0);
	return r == 0 ? sync_folders(root_fd, put->key) : r;
}

static int put_object(struct storage_fs *fs, const struct put *put, struct error *err)
{
	int r = 0;

	for (int i = 0; i < PUT_TRIES; i++) {
		int root_fd CLEANUP_FD = storage_fs_root_enter(fs, err);

		if (root_fd < 0)
			return root_fd;
		r = put_once(root_fd, put);
		if (r != -ENOENT)
			break;
	}
	return r < 0 ? storage_fs_fail(fs, -r, "put", put->key, err) : r;
}

static int fs_put(struct storage *s, const char *key, const void *data,
		  size_t len, struct error *err)
{
	struct put put = { .key = key, .data = data, .len = len };

	return put_object(storage_fs_of(s), &put, err);
}

static int fs_stat(struct storage *s, const char *key,
		   struct storage_object *ret, struct error *err);

static int fs_put_new(struct storage *s, const char *key, const void *data,
		      size_t len, struct error *err)
{
	struct put put = { .key = key, .data = data, .len = len, .is_new = true };
	struct storage_object there;
	int r = fs_stat(s, key, &there, err);

	if (r != 1)
		return r < 0 ? r : 1;
	return put_object(storage_fs_of(s), &put, err);
}

/* Opens the object for reading and stats it. 1 = there is none. */
static int open_object(const struct storage_fs *fs, const char *key,
		       int *ret_fd, struct stat *st, struct error *err)
{
	int root_fd CLEANUP_FD = storage_fs_root_enter(fs, err);
	int fd CLEANUP_FD = -1;

	if (root_fd < 0)
		return root_fd;
	fd = file_open_beneath(root_fd, key, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	if (fd == -ENOENT || fd == -ENOTDIR)
		return 1;
	if (fd < 0)
		return storage_fs_fail(fs, -fd, "open", key, err);
	if (fstat(fd, st) < 0)
		return storage_fs_fail(fs, errno, "stat", key, err);
	if (!S_ISREG(st->st_mode))
		return 1;
	*ret_fd = take_fd(&fd);
	return 0;
}

static int fs_get(struct storage *s, const char *key, uint64_t off,
		  size_t max_len, struct buf *out, struct error *err)
{
	const struct storage_fs *fs = storage_fs_of(s);
	int fd CLEANUP_FD = -1;
	struct stat st;
	size_t len;
	ssize_t n;
	void *to;
	int r = open_object(fs, key, &fd, &st, err);

	if (r != 0)
		return r;
	if (off >= (uint64_t)st.st_size || max_len == 0)
		return 0;
	len = (size_t)MIN((uint64_t)st.st_size - off, (uint64_t)max_len);
	to = buf_extend(out, len);
	if (to == NULL)
		return storage_fs_fail(fs, ENOMEM, "get", key, err);
	n = file_pread(fd, to, len, (off_t)off);
	if (n < 0)
		return storage_fs_fail(fs, (int)-n, "get", key, err);
	if ((size_t)n < len)
		return error_set(err, EIO, "cannot get %s from the backend %s: it became shorter",
				 key, s->url);
	return 0;
}

static int fs_stat(struct storage *s, const char *key,
		   struct storage_object *ret, struct error *err)
{
	int fd CLEANUP_FD = -1;
	struct stat st;
	int r = open_object(storage_fs_of(s), key, &fd, &st, err);

	if (r != 0)
		return r;
	ret->size = (uint64_t)st.st_size;
	ret->modified_us = st.st_mtim.tv_sec * CLOCK_US_PER_S + st.st_mtim.tv_nsec / 1000;
	return 0;
}

/* Removes the folder path. 0, or -errno: mostly because it is not empty. */
static int remove_folder(int root_fd, const char *path)
{
	int fd CLEANUP_FD = open_folder(root_fd, path);

	if (fd < 0)
		return fd;
	return unlinkat(fd, last_component(path), AT_REMOVEDIR) < 0 ? -errno : 0;
}

/* Removes the folders of key that are empty, and syncs the first that is not. */
static int prune(int root_fd, const char *key)
{
	char *path CLEANUP_FREE = strdup(key);
	char *slash;

	if (path == NULL)
		return -ENOMEM;
	for (;;) {
		int fd CLEANUP_FD = open_folder(root_fd, path);

		slash = strrchr(path, '/');
		if (fd < 0 && fd != -ENOENT)
			return fd;
		if (slash == NULL)
			return storage_fs_sync_folder(root_fd);
		*slash = '\0';
		if (fd >= 0 && remove_folder(root_fd, path) < 0)
			return storage_fs_sync_folder(fd);
	}
}

static int fs_remove(struct storage *s, const char *key, struct error *err)
{
	const struct storage_fs *fs = storage_fs_of(s);
	int root_fd CLEANUP_FD = storage_fs_root_enter(fs, err);
	int folder_fd CLEANUP_FD = -1;
	int r;

	if (root_fd < 0)
		return root_fd;
	folder_fd = open_folder(root_fd, key);
	r = folder_fd < 0 ? folder_fd : 0;
	if (r == 0 && unlinkat(folder_fd, last_component(key), 0) < 0)
		r = -errno;
	if (r == -ENOTDIR || r == -EISDIR)
		return 0;
	/* Also when it is gone already: whoever did it may not have synced yet. */
	if (r == 0 || r == -ENOENT)
		r = prune(root_fd, key);
	return r < 0 ? storage_fs_fail(fs, -r, "remove", key, err) : 0;
}

static bool fs_can(const struct storage *s, enum storage_capability what)
{
	return what == STORAGE_CAN_PUT_NEW;
}

static void fs_free(struct storage *s)
{
	struct storage_fs *fs = storage_fs_of(s);

	free(fs->path);
	free(fs);
}

static const struct storage_ops fs_ops = {
	.put = fs_put,
	.put_new = fs_put_new,
	.get = fs_get,
	.stat = fs_stat,
	.list = storage_fs_list,
	.list_folders = storage_fs_list_folders,
	.remove = fs_remove,
	.can = fs_can,
	.free = fs_free,
};

/* path from the root of the filesystem on, without "./" before or '/' behind it. */
static char *make_absolute(const char *path)
{
	char *here CLEANUP_FREE = path[0] == '/' ? strdup("") : get_current_dir_name();
	char *absolute;
	size_t len;

	while (strncmp(path, "./", 2) == 0)
		path += 1 + strspn(path + 1, "/");
	if (here == NULL ||
	    asprintf(&absolute, "%s%s%s", here, path[0] == '/' ? "" : "/", path) < 0)
		return NULL;
	len = strlen(absolute);
	while (len > 1 && absolute[len - 1] == '/')
		absolute[--len] = '\0';
	return absolute;
}

/* The URL that storage_open() takes for path. */
static int append_url(struct buf *url, const char *path)
{
	int r = buf_printf(url, "file://");

	for (; r == 0 && *path != '\0'; path++) {
		unsigned char c = (unsigned char)*path;

		if (c <= ' ' || c == 0x7f || strchr("%?#", c) != NULL)
			r = buf_printf(url, "%%%02X", c);
		else
			r = buf_append(url, path, 1);
	}
	return r == 0 ? buf_append(url, "", 1) : r;
}

static void cleanup_fs(struct storage_fs **fs)
{
	if (*fs != NULL)
		fs_free(&(*fs)->base);
}

static int make_fs(const char *path, struct storage_fs **ret, struct error *err)
{
	struct storage_fs *fs CLEANUP(cleanup_fs) = calloc(1, sizeof(*fs));
	struct buf url CLEANUP_BUF = { 0 };
	int r;

	if (fs == NULL)
		return error_set(err, ENOMEM,
				 "cannot open the backend %s: out of memory", path);
	fs->path = make_absolute(path);
	if (fs->path == NULL)
		return error_set_errno(err, errno, "cannot open the backend %s", path);
	if (append_url(&url, fs->path) < 0)
		return error_set(err, ENOMEM,
				 "cannot open the backend %s: out of memory", path);
	r = storage_init(&fs->base, &fs_ops, NULL, (char *)url.data, err);
	if (r == 0)
		*ret = TAKE(fs);
	return r;
}

int storage_fs_open(const char *path, bool create, struct storage **ret, struct error *err)
{
	struct storage *s CLEANUP_STORAGE = NULL;
	struct storage_fs *fs = NULL;
	int r;

	if (path[0] == '\0')
		return error_set(err, EINVAL, "the path of the backend is empty");
	r = make_fs(path, &fs, err);
	if (r < 0)
		return r;
	s = &fs->base;
	r = storage_fs_root_open(fs, create, err);
	if (r == 0)
		*ret = TAKE(s);
	return r;
}
