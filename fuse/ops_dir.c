/* SPDX-License-Identifier: MIT */
#include "base/thread.h"
#include "fuse/ops.h"
#include "fuse/virtual.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <string.h>

/*
 * Reading folders. The offset of an entry is the backing file system's own, which
 * telldir() and seekdir() are made for, so that it is good for as long as the
 * backing folder says. The entry that did not fit into one answer is kept for the
 * next, which mostly goes on there.
 */

static int open_dir(struct filesystem *fs, struct node *node, struct fuse_file_info *fi)
{
	int fd CLEANUP_FD = node_open(&fs->nodes, node, O_RDONLY | O_DIRECTORY);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct handle *handle;

	if (fd < 0)
		return fd;
	if (dir == NULL)
		return -errno;
	take_fd(&fd);
	handle = handle_new(&fs->handles, node, -1, O_RDONLY);
	if (handle == NULL) {
		closedir(dir);
		return -ENFILE;
	}
	handle->dir = dir;
	fi->fh = handle->id;
	return 0;
}

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct filesystem *fs = ops_fs(req);
	struct node *node = nodes_get(&fs->nodes, ino);
	int r;

	ops_count(OPS_OPEN);
	if (node == NULL)
		r = -ESTALE;
	else if (node->is_virtual)
		r = virtual_open_dir(fs, node, fi);
	else
		r = open_dir(fs, node, fi);
	if (r < 0)
		ops_reply(req, r);
	else if (fuse_reply_open(req, fi) != 0)
		handle_free(&fs->handles, handles_get(&fs->handles, fi->fh));
}

void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct filesystem *fs = ops_fs(req);
	struct handle *handle = handles_get(&fs->handles, fi->fh);

	ops_count(OPS_RELEASE);
	if (handle != NULL)
		handle_free(&fs->handles, handle);
	ops_reply(req, 0);
}

/* An answer that is being put together. */
struct listing {
	fuse_req_t req;
	struct handle *handle;
	char *data;
	size_t len, size;
	bool plus;
};

static bool is_dot(const char *name)
{
	return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* The next entry in *ret_entry, NULL at the end. */
static int next_entry(struct handle *handle, struct dirent **ret_entry)
{
	if (handle->pending == NULL) {
		errno = 0;
		handle->pending = readdir(handle->dir);
		if (handle->pending == NULL && errno != 0)
			return -errno;
	}
	*ret_entry = handle->pending;
	return 0;
}

/* Looks an entry up; what cannot be is listed without its attributes. */
static void fill_entry(struct listing *listing, const struct dirent *dirent,
		       struct fuse_entry_param *entry)
{
	struct filesystem *fs = ops_fs(listing->req);
	struct place place = {
		.parent = listing->handle->node,
		.name = dirent->d_name,
		.dir_fd = dirfd(listing->handle->dir),
	};
	struct node *node;
	struct stat st;

	*entry = (struct fuse_entry_param){
		.attr = { .st_ino = dirent->d_ino, .st_mode = DTTOIF(dirent->d_type) },
	};
	if (is_dot(dirent->d_name) || place_look_up(fs, &place, &node, &st) < 0)
		return;
	entry->ino = node->id;
	entry->generation = node->slot->generation;
	entry->attr = st;
	entry->attr.st_ino = nodes_ino(&fs->nodes, &st);
	entry->attr_timeout = ops_attr_timeout(node);
	entry->entry_timeout = ops_entry_timeout(node, &st);
}

static size_t add_plain(struct listing *listing, const struct dirent *dirent)
{
	struct stat st = { .st_ino = dirent->d_ino, .st_mode = DTTOIF(dirent->d_type) };

	return fuse_add_direntry(listing->req, listing->data + listing->len,
				 listing->size - listing->len, dirent->d_name, &st,
				 dirent->d_off);
}

static size_t add_plus(struct listing *listing, const struct dirent *dirent)
{
	size_t room = listing->size - listing->len;
	size_t need = fuse_add_direntry_plus(listing->req, NULL, 0, dirent->d_name, NULL, 0);
	struct fuse_entry_param entry;

	if (need > room)
		return need;
	fill_entry(listing, dirent, &entry);
	return fuse_add_direntry_plus(listing->req, listing->data + listing->len, room,
				      dirent->d_name, &entry, dirent->d_off);
}

/* The state folder may lie in this one under another name; nobody can look it up. */
static bool is_state(struct listing *listing, const struct dirent *dirent)
{
	struct filesystem *fs = ops_fs(listing->req);
	struct stat st;

	return dirent->d_ino == fs->state_ino &&
	       nodes_stat_at(&fs->nodes, dirfd(listing->handle->dir), dirent->d_name, &st) == 0 &&
	       st.st_dev == fs->state_dev && st.st_ino == fs->state_ino;
}

/* 1 when the answer is full. */
static int add_entry(struct listing *listing, const struct dirent *dirent)
{
	size_t n;

	if (place_is_virtual(listing->handle->node, dirent->d_name) || is_state(listing, dirent))
		return 0;
	n = listing->plus ? add_plus(listing, dirent) : add_plain(listing, dirent);
	if (n > listing->size - listing->len)
		return 1;
	listing->len += n;
	return 0;
}

static int list(struct listing *listing, off_t off)
{
	struct handle *handle = listing->handle;
	struct dirent *dirent;
	int r;

	if (off != handle->dir_off) {
		seekdir(handle->dir, off);
		handle->pending = NULL;
		handle->dir_off = off;
	}
	while ((r = next_entry(handle, &dirent)) == 0 && dirent != NULL) {
		if (add_entry(listing, dirent) > 0)
			break;
		handle->dir_off = dirent->d_off;
		handle->pending = NULL;
	}
	return listing->len > 0 ? 0 : r;
}

static void read_dir(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi, bool plus)
{
	struct handle *handle = handles_get(&ops_fs(req)->handles, fi->fh);
	struct listing listing = { .req = req, .handle = handle, .size = size, .plus = plus };
	char *data CLEANUP_FREE = NULL;
	int r;

	ops_count(OPS_READDIR);
	if (handle == NULL) {
		ops_reply(req, -EBADF);
		return;
	}
	if (handle->dir == NULL) {
		virtual_read_dir(req, handle, size, off, plus);
		return;
	}
	listing.data = data = malloc(size);
	if (data == NULL) {
		ops_reply(req, -ENOMEM);
		return;
	}
	pthread_mutex_lock(&handle->mutex);
	r = list(&listing, off);
	pthread_mutex_unlock(&handle->mutex);
	if (r < 0)
		ops_reply(req, r);
	else
		fuse_reply_buf(req, data, listing.len);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	read_dir(req, size, off, fi, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	read_dir(req, size, off, fi, true);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct handle *handle = handles_get(&ops_fs(req)->handles, fi->fh);
	int r = 0;

	ops_count(OPS_FSYNC);
	if (handle == NULL)
		r = -EBADF;
	else if (handle->dir != NULL && fsync(dirfd(handle->dir)) < 0)
		r = -errno;
	ops_reply(req, r);
}
