/* SPDX-License-Identifier: MIT */
#include "fuse/ops.h"
#include "fuse/virtual.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/falloc.h>

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct handle *handle = handles_get(&ops_fs(req)->handles, fi->fh);
	struct fuse_bufvec bufs = FUSE_BUFVEC_INIT(size);

	ops_count(OPS_READ);
	if (handle == NULL) {
		ops_reply(req, -EBADF);
		return;
	}
	if (handle->fd < 0) {
		virtual_read(req, handle, size, off);
		return;
	}
	bufs.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	bufs.buf[0].fd = handle->fd;
	bufs.buf[0].pos = off;
	fuse_reply_data(req, &bufs, FUSE_BUF_SPLICE_MOVE);
}

/* What every write begins with: the engine hears of it, and may refuse it. */
static int writing(struct filesystem *fs, struct handle *handle, off_t off, size_t len,
		   struct dbnode *ret_dbnode)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int r;

	ret_dbnode->db = handle_database(&fs->handles, handle, &ret_dbnode->file);
	if (ret_dbnode->db == NULL)
		return 0;
	r = database_writing(ret_dbnode->db, ret_dbnode->file, (uint64_t)off, len, &err);
	if (r < 0)
		ops_log_failure("write", handle->node->slot->name, &err);
	return r;
}

void op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *bufs, off_t off,
		  struct fuse_file_info *fi)
{
	struct filesystem *fs = ops_fs(req);
	struct handle *handle = handles_get(&fs->handles, fi->fh);
	struct fuse_bufvec out = FUSE_BUFVEC_INIT(fuse_buf_size(bufs));
	struct dbnode dbnode CLEANUP_DBNODE = { .db = NULL };
	ssize_t n;
	int r;

	ops_count(OPS_WRITE);
	if (handle == NULL || handle->fd < 0) {
		ops_reply(req, -EBADF);
		return;
	}
	r = writing(fs, handle, off, fuse_buf_size(bufs), &dbnode);
	if (r < 0) {
		ops_reply(req, r);
		return;
	}
	out.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
	out.buf[0].fd = handle->fd;
	out.buf[0].pos = off;
	n = fuse_buf_copy(&out, bufs, 0);
	if (dbnode.db != NULL)
		database_wrote(dbnode.db, dbnode.file, (uint64_t)off, fuse_buf_size(&out));
	if (n < 0) {
		ops_reply(req, (int)n);
		return;
	}
	/* The kernel does not know what writing back a mapped page does to the times. */
	if (fi->writepage)
		ops_inval_attr(fs, handle->node);
	fuse_reply_write(req, (size_t)n);
}

static int sync_file(struct handle *handle, int datasync)
{
	int r = datasync ? fdatasync(handle->fd) : fsync(handle->fd);

	return r < 0 ? -errno : 0;
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct filesystem *fs = ops_fs(req);
	struct handle *handle = handles_get(&fs->handles, fi->fh);
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct dbnode dbnode CLEANUP_DBNODE = { .db = NULL };
	int r = 0;

	ops_count(OPS_FSYNC);
	if (handle == NULL || handle->fd < 0) {
		ops_reply(req, handle == NULL ? -EBADF : 0);
		return;
	}
	dbnode.db = handle_database(&fs->handles, handle, &dbnode.file);
	if (dbnode.db != NULL) {
		/* The disk works while the engine captures; fdatasync() tells how it went. */
		if (dbnode.file == DATABASE_WAL)
			(void)!sync_file_range(handle->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
		r = database_barrier_begin(dbnode.db, dbnode.file, DATABASE_SYNC, 0, &err);
	}
	if (r < 0) {
		ops_log_failure("fsync", handle->node->slot->name, &err);
		ops_reply(req, r);
		return;
	}
	r = sync_file(handle, datasync);
	if (dbnode.db != NULL)
		database_barrier_end(dbnode.db, dbnode.file, DATABASE_SYNC, r);
	ops_reply(req, r);
}

/* Whether the call takes bytes away that a reader may still want. */
static bool cuts(int mode)
{
	return (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0;
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		  struct fuse_file_info *fi)
{
	struct filesystem *fs = ops_fs(req);
	struct handle *handle = handles_get(&fs->handles, fi->fh);
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct dbnode dbnode CLEANUP_DBNODE = { .db = NULL };
	int r = 0;

	ops_count(OPS_OTHER);
	if (handle == NULL || handle->fd < 0) {
		ops_reply(req, -EBADF);
		return;
	}
	if (cuts(mode))
		dbnode.db = handle_database(&fs->handles, handle, &dbnode.file);
	if (dbnode.db != NULL)
		r = database_barrier_begin(dbnode.db, dbnode.file, DATABASE_TRUNCATE,
					   (uint64_t)off, &err);
	if (r < 0) {
		ops_log_failure("fallocate", handle->node->slot->name, &err);
		ops_reply(req, r);
		return;
	}
	if (fallocate(handle->fd, mode, off, len) < 0)
		r = -errno;
	if (dbnode.db != NULL)
		database_barrier_end(dbnode.db, dbnode.file, DATABASE_TRUNCATE, r);
	ops_reply(req, r);
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	struct handle *handle = handles_get(&ops_fs(req)->handles, fi->fh);
	off_t at;

	ops_count(OPS_OTHER);
	if (handle == NULL || handle->fd < 0) {
		ops_reply(req, -EINVAL);
		return;
	}
	at = lseek(handle->fd, off, whence);
	if (at < 0)
		ops_reply(req, -errno);
	else
		fuse_reply_lseek(req, at);
}

void op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
			struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
			struct fuse_file_info *fi_out, size_t len, int flags)
{
	struct filesystem *fs = ops_fs(req);
	struct handle *in = handles_get(&fs->handles, fi_in->fh);
	struct handle *out = handles_get(&fs->handles, fi_out->fh);
	struct dbnode dbnode CLEANUP_DBNODE = { .db = NULL };
	off_t at = off_out;
	ssize_t n;
	int r;

	ops_count(OPS_WRITE);
	if (in == NULL || out == NULL || in->fd < 0 || out->fd < 0) {
		ops_reply(req, -EOPNOTSUPP);
		return;
	}
	r = writing(fs, out, off_out, len, &dbnode);
	if (r < 0) {
		ops_reply(req, r);
		return;
	}
	n = copy_file_range(in->fd, &off_in, out->fd, &at, len, (unsigned)flags);
	if (n < 0)
		n = -errno;
	if (dbnode.db != NULL)
		database_wrote(dbnode.db, dbnode.file, (uint64_t)off_out, len);
	if (n < 0) {
		ops_reply(req, n == -EXDEV || n == -ENOSYS ? -EOPNOTSUPP : (int)n);
		return;
	}
	fuse_reply_write(req, (size_t)n);
}

void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi,
	      unsigned flags, const void *in, size_t in_size, size_t out_size)
{
	ops_count(OPS_OTHER);
	ops_reply(req, -ENOTTY);
}
