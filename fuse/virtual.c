/* SPDX-License-Identifier: MIT */
#include "fuse/virtual.h"

#include "base/clock.h"
#include "base/hash.h"
#include "fuse/ops.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <string.h>

#define STATUS "status"
#define POS "pos"

/*
 * The path of a virtual node, "" for .replitedfs itself, "pos/a/b.db" for a
 * database. The inode number is made from it: one node for one path.
 */
static int path_of(struct filesystem *fs, struct node *node, struct buf *out)
{
	int r = node_path(&fs->nodes, node, out);
	size_t skip = strlen(FILESYSTEM_STATE_NAME);

	if (r == 0 && buf_str(out) == NULL)
		r = -ENOMEM;
	if (r < 0)
		return r;
	if (out->len > skip)
		skip++;
	memmove(out->data, out->data + skip, out->len - skip + 1);
	out->len -= skip;
	return 0;
}

static uint64_t ino_of(const char *path)
{
	return hash64(path, strlen(path), 1) | 1ull << 63;
}

/* What lies at path: S_IFREG, S_IFDIR, or 0 for nothing. */
static mode_t type_of(struct filesystem *fs, const char *path)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct database **list;
	const char *name;
	mode_t type = 0;
	size_t n;

	if (path[0] == '\0' || strcmp(path, POS) == 0)
		return S_IFDIR;
	if (strcmp(path, STATUS) == 0)
		return S_IFREG;
	if (strncmp(path, POS "/", strlen(POS) + 1) != 0 ||
	    catalog_list(fs->options.catalog, false, &list, &n, &err) < 0)
		return 0;
	name = path + strlen(POS) + 1;
	for (size_t i = 0; i < n && type == 0; i++) {
		char *other CLEANUP_FREE = database_name(list[i]);
		size_t len = strlen(name);

		if (other == NULL || strncmp(other, name, len) != 0)
			continue;
		if (other[len] == '\0')
			type = S_IFREG;
		else if (other[len] == '/')
			type = S_IFDIR;
	}
	catalog_list_free(list, n);
	return type;
}

static void fill_stat(struct filesystem *fs, const char *path, mode_t type, struct stat *st)
{
	int64_t now_us = clock_wall_us();
	struct timespec now = {
		.tv_sec = now_us / CLOCK_US_PER_S,
		.tv_nsec = now_us % CLOCK_US_PER_S * 1000,
	};

	*st = (struct stat){
		.st_ino = ino_of(path),
		.st_mode = type | (type == S_IFDIR ? 0555 : 0444),
		.st_nlink = type == S_IFDIR ? 2 : 1,
		.st_uid = fs->nodes.root.st_uid,
		.st_gid = fs->nodes.root.st_gid,
		.st_blksize = 4096,
		.st_atim = now,
		.st_mtim = now,
		.st_ctim = now,
	};
}

static int child_path(struct filesystem *fs, struct node *parent, const char *name,
		      struct buf *out)
{
	int r = 0;

	if (parent->is_virtual) {
		r = path_of(fs, parent, out);
		if (r == 0 && out->len > 0)
			r = buf_append(out, "/", 1);
		if (r == 0)
			r = buf_append(out, name, strlen(name));
	}
	if (r == 0 && buf_str(out) == NULL)
		r = -ENOMEM;
	return r;
}

int virtual_look_up(struct filesystem *fs, struct node *parent, const char *name,
		    struct node **ret_node, struct stat *ret_st)
{
	struct buf path CLEANUP_BUF = { 0 };
	mode_t type;
	int r;

	if (strlen(name) > SESSION_NAME_MAX)
		return -ENAMETOOLONG;
	r = child_path(fs, parent, name, &path);
	if (r < 0)
		return r;
	type = type_of(fs, (char *)path.data);
	if (type == 0)
		return -ENOENT;
	fill_stat(fs, (char *)path.data, type, ret_st);
	return nodes_look_up_virtual(&fs->nodes, parent, name, ret_st->st_ino, type, ret_node);
}

int virtual_stat(struct filesystem *fs, struct node *node, struct stat *ret_st)
{
	struct buf path CLEANUP_BUF = { 0 };
	int r = path_of(fs, node, &path);

	if (r < 0)
		return r;
	fill_stat(fs, (char *)path.data, node->slot->type, ret_st);
	return 0;
}

static int open_file(struct filesystem *fs, struct node *node, struct fuse_file_info *fi,
		     struct handle **ret_handle)
{
	struct buf path CLEANUP_BUF = { 0 };
	int r;

	if ((fi->flags & O_ACCMODE) != O_RDONLY)
		return -EACCES;
	r = path_of(fs, node, &path);
	if (r < 0)
		return r;
	*ret_handle = handle_new(&fs->handles, node, -1, fi->flags);
	if (*ret_handle == NULL)
		return -ENFILE;
	r = fs->options.content(fs->options.arg, (char *)path.data, &(*ret_handle)->content);
	if (r < 0) {
		handle_free(&fs->handles, *ret_handle);
		return r;
	}
	fi->fh = (*ret_handle)->id;
	fi->direct_io = 1;
	return 0;
}

void virtual_open(fuse_req_t req, struct filesystem *fs, struct node *node,
		  struct fuse_file_info *fi)
{
	struct handle *handle;
	int r = open_file(fs, node, fi, &handle);

	if (r < 0)
		ops_reply(req, r);
	else if (fuse_reply_open(req, fi) != 0)
		handle_free(&fs->handles, handle);
}

/* From a copy: the handle may be released as soon as the kernel has the answer. */
void virtual_read(fuse_req_t req, struct handle *handle, size_t size, off_t off)
{
	const struct buf *content = &handle->content;
	size_t start = MIN((size_t)off, content->len);
	struct buf part CLEANUP_BUF = { 0 };

	if (buf_append(&part, content->data + start, MIN(size, content->len - start)) < 0)
		ops_reply(req, -ENOMEM);
	else
		fuse_reply_buf(req, (char *)part.data, part.len);
}

/* A folder's content: type byte, name and its end, for each entry once. */
static int add_name(struct buf *out, mode_t type, const char *name, size_t len)
{
	for (size_t i = 0; i < out->len; i += strlen((char *)out->data + i) + 1) {
		i++;
		if (strlen((char *)out->data + i) == len &&
		    memcmp(out->data + i, name, len) == 0)
			return 0;
	}
	if (buf_append(out, type == S_IFDIR ? "d" : "f", 1) < 0 ||
	    buf_append(out, name, len) < 0 || buf_append(out, "", 1) < 0)
		return -ENOMEM;
	return 0;
}

/* The databases below folder ("" or "a/b/"), one level of them. */
static int list_databases(struct filesystem *fs, const char *folder, struct buf *out)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct database **list;
	size_t len = strlen(folder);
	size_t n;
	int r = catalog_list(fs->options.catalog, false, &list, &n, &err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n && r == 0; i++) {
		char *name CLEANUP_FREE = database_name(list[i]);
		const char *slash;

		if (name == NULL || strncmp(name, folder, len) != 0)
			continue;
		slash = strchr(name + len, '/');
		if (slash != NULL)
			r = add_name(out, S_IFDIR, name + len, (size_t)(slash - (name + len)));
		else
			r = add_name(out, S_IFREG, name + len, strlen(name + len));
	}
	catalog_list_free(list, n);
	return r;
}

static int list_folder(struct filesystem *fs, struct buf *path, struct buf *out)
{
	int r = add_name(out, S_IFDIR, ".", 1);

	if (r == 0)
		r = add_name(out, S_IFDIR, "..", 2);
	if (r == 0 && path->len == 0) {
		r = add_name(out, S_IFREG, STATUS, strlen(STATUS));
		return r < 0 ? r : add_name(out, S_IFDIR, POS, strlen(POS));
	}
	if (r == 0)
		r = buf_append(path, "/", 1);
	if (r < 0 || buf_str(path) == NULL)
		return -ENOMEM;
	return list_databases(fs, (char *)path->data + strlen(POS) + 1, out);
}

int virtual_open_dir(struct filesystem *fs, struct node *node, struct fuse_file_info *fi)
{
	struct buf path CLEANUP_BUF = { 0 };
	struct handle *handle;
	int r = path_of(fs, node, &path);

	if (r < 0)
		return r;
	handle = handle_new(&fs->handles, node, -1, O_RDONLY);
	if (handle == NULL)
		return -ENFILE;
	r = list_folder(fs, &path, &handle->content);
	if (r < 0)
		handle_free(&fs->handles, handle);
	else
		fi->fh = handle->id;
	return r;
}

/* What a stat of the entry called name shows as its number. 0 or -errno. */
static int entry_ino(struct filesystem *fs, struct node *folder, const char *name,
		     uint64_t *ret_ino)
{
	struct buf path CLEANUP_BUF = { 0 };
	struct node *parent = nodes_get(&fs->nodes, folder->slot->parent);
	int r;

	if (strcmp(name, "..") == 0 && parent != NULL && !parent->is_virtual) {
		*ret_ino = nodes_ino(&fs->nodes, &fs->nodes.root);
		return 0;
	}
	if (strcmp(name, "..") == 0 && parent != NULL)
		r = path_of(fs, parent, &path);
	else if (strcmp(name, ".") == 0)
		r = path_of(fs, folder, &path);
	else
		r = child_path(fs, folder, name, &path);
	if (r == 0)
		*ret_ino = ino_of((char *)path.data);
	return r;
}

/* An answer that is being put together. */
struct listing {
	fuse_req_t req;
	struct node *folder;
	char *data;
	size_t len, size;
	bool plus;
};

/* Adds entry, a type byte and a name; next is the offset behind it. 1: it is full. */
static int list_entry(struct listing *listing, const char *entry, off_t next)
{
	size_t room = listing->size - listing->len;
	char *end = listing->data + listing->len;
	struct fuse_entry_param param = {
		.attr.st_mode = entry[0] == 'd' ? S_IFDIR : S_IFREG,
	};
	size_t n;
	int r = entry_ino(ops_fs(listing->req), listing->folder, entry + 1, &param.attr.st_ino);

	if (r < 0)
		return r;
	if (listing->plus)
		n = fuse_add_direntry_plus(listing->req, end, room, entry + 1, &param, next);
	else
		n = fuse_add_direntry(listing->req, end, room, entry + 1, &param.attr, next);
	if (n > room)
		return 1;
	listing->len += n;
	return 0;
}

/* The offset of an entry is where the next one begins in the content. */
void virtual_read_dir(fuse_req_t req, struct handle *handle, size_t size, off_t off, bool plus)
{
	const struct buf *content = &handle->content;
	char *data CLEANUP_FREE = malloc(size);
	struct listing listing = {
		.req = req,
		.folder = handle->node,
		.data = data,
		.size = size,
		.plus = plus,
	};
	int r = data != NULL ? 0 : -ENOMEM;

	for (size_t at = (size_t)MAX(off, 0); r == 0 && at < content->len;) {
		const char *entry = (const char *)content->data + at;

		at += strlen(entry) + 1;
		r = list_entry(&listing, entry, (off_t)at);
	}
	if (r < 0)
		ops_reply(req, r);
	else
		fuse_reply_buf(req, data, listing.len);
}
