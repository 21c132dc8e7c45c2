/* SPDX-License-Identifier: MIT */
/*
 * How a folder backend knows its root again.
 *
 * The root is opened by path for each operation and let go after it. So a disk
 * can be unmounted while nothing is going on, and everything heals by itself
 * when it is back. But then the path may lead to something else: the bare
 * mountpoint, which an unmounted disk leaves behind and where a backup would
 * quietly fill the wrong disk; another disk; a folder that somebody made anew.
 *
 * Device and inode do not tell these apart. The same disk comes back under
 * another device number; another disk comes back under the same one, and the
 * root of every ext4 is inode 2; a folder that is removed and made again often
 * gets the same inode number. So a backend bears a name: ROOT/.replitedfs-backend
 * is one line,
 *
 *     replitedfs backend 1 <32 hex digits: an id drawn at random>
 *
 * where 1 is the version of the layout. It is written when a folder becomes a
 * backend (create, at the open), and every operation on the descriptor that it
 * has just opened compares it first. Whatever happens to the path afterwards,
 * the operation goes on in the folder that it has checked. A copy of a backend,
 * with its marker, may take its place.
 *
 * A reader also opens a folder that has no marker (a backup that was copied
 * without its hidden files) and adds none. Then device and inode have to do.
 *
 * What cannot be told: at the open itself a bare mountpoint looks like a folder
 * for a new backend. Whoever knows from elsewhere that there was a backup before
 * has to look for it.
 */
#include "base/file.h"
#include "storage/storage_fs_internal.h"

#include <errno.h>
#include <string.h>
#include <sysexits.h>

#define MARKER_START "replitedfs backend "
#define MARKER_VERSION "1 "
#define MARKER_MAX 256 /* bytes; room for what later versions may add */

/* Reads the text of a marker. 0, -EPROTO for another version, -EBADMSG. */
static int parse_marker(const char *text, struct id *ret_id)
{
	char hex[ID_HEX_LEN + 1];
	const char *at = text + strlen(MARKER_START);

	if (strncmp(text, MARKER_START, strlen(MARKER_START)) != 0)
		return -EBADMSG;
	if (strncmp(at, MARKER_VERSION, strlen(MARKER_VERSION)) != 0)
		return -EPROTO;
	at += strlen(MARKER_VERSION);
	if (strlen(at) != ID_HEX_LEN + 1 || at[ID_HEX_LEN] != '\n')
		return -EBADMSG;
	memcpy(hex, at, ID_HEX_LEN);
	hex[ID_HEX_LEN] = '\0';
	return id_parse(hex, ret_id) && !id_is_zero(ret_id) ? 0 : -EBADMSG;
}

/* What the marker in root_fd says; the zero id when there is none. 0 or -errno. */
static int read_marker(const struct storage_fs *fs, int root_fd,
		       struct id *ret_id, struct error *err)
{
	int fd CLEANUP_FD = file_open_beneath(root_fd, STORAGE_NAME_MARKER,
					      O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	char text[MARKER_MAX + 1] = "";
	ssize_t n;
	int r;

	memset(ret_id, 0, sizeof(*ret_id));
	if (fd == -ENOENT)
		return 0;
	n = fd < 0 ? fd : file_pread(fd, text, MARKER_MAX, 0);
	if (n < 0)
		return storage_fs_fail(fs, (int)-n, "read", STORAGE_NAME_MARKER, err);
	r = parse_marker(text, ret_id);
	if (r == 0)
		return 0;
	error_set(err, EBADMSG, "%s/%s is damaged", fs->path, STORAGE_NAME_MARKER);
	if (r == -EPROTO) {
		error_set(err, EPROTONOSUPPORT,
			  "the backend %s has a layout this build cannot read", fs->base.url);
		error_why(err, "%s was written by a newer version", STORAGE_NAME_MARKER);
		error_fix(err, "upgrade replitedfs");
		return -EPROTONOSUPPORT;
	}
	error_fix(err, "restore that file from a copy; without it the folder is not known to be "
		       "the backend");
	return -EBADMSG;
}

/* verb is what was to be done with the root: "open" or "create". */
static int fail_root(const struct storage_fs *fs, int code, const char *verb,
		     struct error *err)
{
	int r = error_set_errno(err, code, "cannot %s the backend %s", verb, fs->base.url);

	switch (code) {
	case ENOENT:
		error_why(err,
			  "there is no folder %s, or none to create it in; perhaps its disk is "
			  "not mounted",
			  fs->path);
		error_fix(err, "mount the disk, or create the folder: mkdir -p '%s'",
			  fs->path);
		break;
	case ENOTDIR:
		error_why(err, "a part of %s is not a folder", fs->path);
		error_fix(err, "give the path of a folder");
		break;
	default:
		storage_fs_explain(fs, code, err);
		break;
	}
	return r;
}

static int fail_other(const struct storage_fs *fs, bool bare, struct error *err)
{
	if (bare) {
		error_set(err, ENOMEDIUM,
			  "the folder %s is no longer the backend", fs->path);
		error_why(err, "its %s is gone; perhaps its disk is not mounted",
			  STORAGE_NAME_MARKER);
	} else {
		error_set(err, EMEDIUMTYPE, "the folder %s is another backend than the one opened",
			  fs->path);
		error_why(err, "perhaps another disk is mounted there");
	}
	error_fix(err, "mount the disk that was there; to go on with what is there now, "
		       "start replitedfs again");
	error_exit(err, EX_UNAVAILABLE);
	return bare ? -ENOMEDIUM : -EMEDIUMTYPE;
}

static int open_root(const struct storage_fs *fs, struct error *err)
{
	int fd = open(fs->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? fail_root(fs, errno, "open", err) : fd;
}

int storage_fs_root_enter(const struct storage_fs *fs, struct error *err)
{
	int fd CLEANUP_FD = open_root(fs, err);
	struct stat st;
	struct id id;
	int r;

	if (fd < 0)
		return fd;
	if (id_is_zero(&fs->id)) {
		if (fstat(fd, &st) < 0)
			return fail_root(fs, errno, "open", err);
		if (st.st_dev != fs->device || st.st_ino != fs->inode)
			return fail_other(fs, false, err);
		return take_fd(&fd);
	}
	r = read_marker(fs, fd, &id, err);
	if (r < 0)
		return r;
	if (!id_equal(&id, &fs->id))
		return fail_other(fs, id_is_zero(&id), err);
	return take_fd(&fd);
}

/* Writes a marker of a new id, unless somebody else is quicker. 0 or -errno. */
static int write_marker(int root_fd)
{
	int tmp_fd CLEANUP_FD = storage_fs_tmp_open(root_fd);
	char *text CLEANUP_FREE = NULL;
	char hex[ID_HEX_LEN + 1];
	char name[ID_HEX_LEN + 1];
	struct id id;
	int r;

	if (tmp_fd < 0)
		return tmp_fd;
	r = id_random(&id, NULL);
	if (r < 0)
		return r;
	id_format(&id, hex);
	if (asprintf(&text, MARKER_START MARKER_VERSION "%s\n", hex) < 0) {
		text = NULL;
		return -ENOMEM;
	}
	r = storage_fs_tmp_write(tmp_fd, name, text, strlen(text));
	if (r < 0)
		return r;
	r = storage_fs_tmp_link(tmp_fd, name, root_fd, STORAGE_NAME_MARKER);
	unlinkat(tmp_fd, name, 0);
	if (r < 0 && r != -EEXIST)
		return r;
	return storage_fs_sync_folder(root_fd);
}

/* Makes the root durable in its parent. 0 or -errno. */
static int sync_parent(int root_fd)
{
	int fd CLEANUP_FD = openat(root_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : storage_fs_sync_folder(fd);
}

/* Makes a backend of the root, which is a folder without a marker. */
static int make_backend(const struct storage_fs *fs, int root_fd,
			struct id *ret_id, struct error *err)
{
	int r = write_marker(root_fd);

	if (r < 0)
		return storage_fs_fail(fs, -r, "write", STORAGE_NAME_MARKER, err);
	r = read_marker(fs, root_fd, ret_id, err);
	if (r == 0 && id_is_zero(ret_id))
		return fail_other(fs, true, err);
	return r;
}

int storage_fs_root_open(struct storage_fs *fs, bool create, struct error *err)
{
	bool made = create && mkdir(fs->path, 0700) == 0;
	int fd CLEANUP_FD = -1;
	struct stat st;
	int r;

	if (create && !made && errno != EEXIST)
		return fail_root(fs, errno, "create", err);
	fd = open_root(fs, err);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return fail_root(fs, errno, "open", err);
	fs->device = st.st_dev;
	fs->inode = st.st_ino;
	r = made ? sync_parent(fd) : 0;
	if (r < 0)
		return fail_root(fs, -r, "create", err);
	r = read_marker(fs, fd, &fs->id, err);
	if (r == 0 && create && id_is_zero(&fs->id))
		r = make_backend(fs, fd, &fs->id, err);
	if (r == 0 && create)
		storage_fs_tmp_clean(fd);
	return r;
}
