/* SPDX-License-Identifier: MIT */
#include "fuse/ops.h"
#include "fuse/virtual.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <sys/statvfs.h>

static struct handle *handle_of(struct filesystem *fs, struct fuse_file_info *fi)
{
	return fi != NULL ? handles_get(&fs->handles, fi->fh) : NULL;
}

static int get_attr(struct filesystem *fs, struct node *node, struct handle *handle,
		    struct stat *ret_st)
{
	if (node->is_virtual)
		return virtual_stat(fs, node, ret_st);
	if (handle != NULL && handle->fd >= 0)
		return fstat(handle->fd, ret_st) < 0 ? -errno : 0;
	return node_stat(&fs->nodes, node, ret_st);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct filesystem *fs = ops_fs(req);
	struct node *node = nodes_get(&fs->nodes, ino);
	struct stat st;
	int r = node != NULL ? get_attr(fs, node, handle_of(fs, fi), &st) : -ESTALE;

	ops_count(OPS_GETATTR);
	if (r < 0)
		ops_reply(req, r);
	else
		ops_reply_attr(req, node, &st);
}

/* What SETATTR works on: fd may be O_PATH; file_fd is writable, -1 without a size. */
struct subject {
	struct node *node;
	struct handle *handle;
	int fd, file_fd;
	int own_fd, own_file_fd;
	struct dbnode dbnode;
};

static void subject_close(struct subject *subject)
{
	if (subject->own_fd >= 0)
		close(subject->own_fd);
	if (subject->own_file_fd >= 0)
		close(subject->own_file_fd);
	dbnode_done(&subject->dbnode);
}

static int open_for_size(struct filesystem *fs, struct node *node, struct subject *subject)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct handle *handle = subject->handle;

	if (handle != NULL && handle->writable)
		subject->file_fd = handle->fd;
	else
		subject->file_fd = subject->own_file_fd =
			node_open(&fs->nodes, node, O_WRONLY | O_NONBLOCK);
	if (subject->file_fd < 0)
		return subject->file_fd;
	if (handle != NULL)
		subject->dbnode.db = handle_database(&fs->handles, handle, &subject->dbnode.file);
	if (subject->dbnode.db != NULL)
		return 0;
	return dbnode_of_node(fs, node, false, &subject->dbnode, &err);
}

static int subject_open(struct filesystem *fs, struct node *node, struct fuse_file_info *fi,
			bool with_size, struct subject *ret_subject)
{
	int r = 0;

	*ret_subject = (struct subject){
		.node = node,
		.handle = handle_of(fs, fi),
		.file_fd = -1,
		.own_fd = -1,
		.own_file_fd = -1,
	};
	if (node->is_virtual)
		return -EACCES;
	if (with_size)
		r = open_for_size(fs, node, ret_subject);
	if (r < 0)
		return r;
	if (ret_subject->handle != NULL && ret_subject->handle->fd >= 0)
		ret_subject->fd = ret_subject->handle->fd;
	else if (ret_subject->file_fd >= 0)
		ret_subject->fd = ret_subject->file_fd;
	else
		ret_subject->fd = ret_subject->own_fd = node_open(&fs->nodes, node, O_PATH);
	return ret_subject->fd < 0 ? ret_subject->fd : 0;
}

/* Works on O_PATH descriptors too. */
static int change_mode(int fd, mode_t mode)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return chmod(path, mode & 07777) < 0 ? -errno : 0;
}

static int change_owner(int fd, const struct stat *attr, int to_set)
{
	uid_t uid = to_set & FUSE_SET_ATTR_UID ? attr->st_uid : (uid_t)-1;
	gid_t gid = to_set & FUSE_SET_ATTR_GID ? attr->st_gid : (gid_t)-1;

	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int change_size(struct subject *subject, off_t size)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct dbnode *dbnode = &subject->dbnode;
	int r = 0;

	if (dbnode->db != NULL)
		r = database_barrier_begin(dbnode->db, dbnode->file, DATABASE_TRUNCATE,
					   (uint64_t)size, &err);
	if (r < 0) {
		ops_log_failure("truncate", subject->node->slot->name, &err);
		return r;
	}
	if (ftruncate(subject->file_fd, size) < 0)
		r = -errno;
	if (dbnode->db != NULL)
		database_barrier_end(dbnode->db, dbnode->file, DATABASE_TRUNCATE, r);
	return r;
}

static void fill_time(struct timespec *ts, int to_set, int set, int now, struct timespec value)
{
	*ts = (struct timespec){ .tv_nsec = UTIME_OMIT };
	if (to_set & now)
		ts->tv_nsec = UTIME_NOW;
	else if (to_set & set)
		*ts = value;
}

static int change_times(int fd, const struct stat *attr, int to_set)
{
	struct timespec times[2];
	char path[32];

	fill_time(&times[0], to_set, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW, attr->st_atim);
	fill_time(&times[1], to_set, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW, attr->st_mtim);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return utimensat(AT_FDCWD, path, times, 0) < 0 ? -errno : 0;
}

#define TO_SET_TIMES                                                                               \
	(FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW |                     \
	 FUSE_SET_ATTR_MTIME_NOW)

static int set_attr(fuse_req_t req, struct subject *subject, const struct stat *attr, int to_set)
{
	int r = 0;

	if (to_set & FUSE_SET_ATTR_MODE)
		r = change_mode(subject->fd, attr->st_mode);
	if (r == 0 && to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
		r = change_owner(subject->fd, attr, to_set);
	if (r == 0 && to_set & FUSE_SET_ATTR_SIZE)
		r = change_size(subject, attr->st_size);
	if (r == 0 && (to_set & FUSE_SET_ATTR_KILL_SUID) && (to_set & FUSE_SET_ATTR_SIZE))
		r = ops_kill_setuid(req, subject->file_fd);
	if (r >= 0 && to_set & TO_SET_TIMES)
		r = change_times(subject->fd, attr, to_set);
	return r < 0 ? r : 0;
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		struct fuse_file_info *fi)
{
	struct filesystem *fs = ops_fs(req);
	struct node *node = nodes_get(&fs->nodes, ino);
	struct subject subject;
	struct stat st;
	int r;

	ops_count(OPS_SETATTR);
	if (node == NULL) {
		ops_reply(req, -ESTALE);
		return;
	}
	r = subject_open(fs, node, fi, to_set & FUSE_SET_ATTR_SIZE, &subject);
	if (r == 0)
		r = set_attr(req, &subject, attr, to_set);
	if (r == 0 && fstat(subject.fd, &st) < 0)
		r = -errno;
	subject_close(&subject);
	if (r < 0)
		ops_reply(req, r);
	else
		ops_reply_attr(req, node, &st);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct filesystem *fs = ops_fs(req);
	struct statvfs vfs;

	ops_count(OPS_OTHER);
	if (fstatvfs(fs->options.root_fd, &vfs) < 0)
		ops_reply(req, -errno);
	else
		fuse_reply_statfs(req, &vfs);
}
