/* SPDX-License-Identifier: MIT */
#ifndef FUSE_OPS_H
#define FUSE_OPS_H

#include "fuse/dbnode.h"
#include "fuse/filesystem_internal.h"

#include <sys/types.h>

/*
 * The operations libfuse calls, by idea in ops_*.c, and what they share. Each
 * decodes, does one thing to the backing folder, and replies exactly once.
 */
struct fuse_req;
struct fuse_file_info;
struct fuse_bufvec;
struct fuse_forget_data;

/* Attributes and names change through this mount only: the kernel may keep them. */
#define OPS_TIMEOUT_S 86400.0

struct filesystem *ops_fs(struct fuse_req *req);
void ops_count(enum ops_kind kind);

/* Replies with the errno of r, 0 or negative; EDQUOT is told as ENOSPC. */
void ops_reply(struct fuse_req *req, int r);

/* Logs why an operation on name fails, once while the same goes on. */
void ops_log_failure(const char *what, const char *name, const struct error *err);

/*
 * Takes from the file fd what a write by the caller of req takes from it, as Linux
 * has it: without CAP_FSETID, which root is taken to have, setuid, and setgid where
 * it means something or the caller is not of the group. 0; 1: its mode is another
 * one now; -errno.
 */
int ops_kill_setuid(struct fuse_req *req, int fd) MUST_CHECK;

/* How long the kernel may keep the attributes of node, in seconds. */
double ops_attr_timeout(struct node *node);
/* How long it may keep a name by which node was looked up, in seconds. */
double ops_entry_timeout(const struct node *node, const struct stat *st);

/* Replies with the attributes st of node. */
void ops_reply_attr(struct fuse_req *req, struct node *node, const struct stat *st);

/* Replies with node, just looked up; takes the lookup back if the kernel does not want it. */
void ops_reply_entry(struct fuse_req *req, struct node *node, const struct stat *st);

/* The kernel is to ask for the attributes of node again. Callable in a request. */
void ops_inval_attr(struct filesystem *fs, struct node *node);

/* ops_place.c: a name in a folder that is open as dir_fd. */
struct place {
	struct node *parent;
	const char *name;
	int dir_fd;
	bool own_fd;
};
#define CLEANUP_PLACE CLEANUP(place_close)

/*
 * Opens the folder of a name. 0; -EACCES for a virtual folder or the name of the
 * virtual folder in the root; -errno. place_close() is due in any case.
 */
int place_open(struct filesystem *fs, uint64_t parent, const char *name,
	       struct place *ret_place) MUST_CHECK;
void place_close(struct place *place);

/* Whether name in folder parent is that of the virtual folder. */
bool place_is_virtual(const struct node *parent, const char *name);

/*
 * Gives what was just created at place to the caller, as Linux does: its group
 * is that of a setgid folder, and mode's special bits are set last. st is read
 * anew. 0 or -errno.
 */
int place_own(struct fuse_req *req, struct place *place, mode_t mode, struct stat *ret_st);

/* Finds out what is at place and counts a lookup of its node. 0 or -errno. */
int place_look_up(struct filesystem *fs, struct place *place, struct node **ret_node,
		  struct stat *ret_st) MUST_CHECK;

/* ops_names.c: names of files and folders */
void op_lookup(struct fuse_req *req, uint64_t parent, const char *name);
void op_forget(struct fuse_req *req, uint64_t ino, uint64_t n);
void op_forget_multi(struct fuse_req *req, size_t count, struct fuse_forget_data *forgets);
void op_readlink(struct fuse_req *req, uint64_t ino);
void op_mknod(struct fuse_req *req, uint64_t parent, const char *name, mode_t mode, dev_t rdev);
void op_mkdir(struct fuse_req *req, uint64_t parent, const char *name, mode_t mode);
void op_symlink(struct fuse_req *req, const char *link, uint64_t parent, const char *name);
void op_link(struct fuse_req *req, uint64_t ino, uint64_t parent, const char *name);

/* ops_remove.c: names that go away or move */
void op_unlink(struct fuse_req *req, uint64_t parent, const char *name);
void op_rmdir(struct fuse_req *req, uint64_t parent, const char *name);
void op_rename(struct fuse_req *req, uint64_t parent, const char *name, uint64_t new_parent,
	       const char *new_name, unsigned flags);

/* ops_attr.c: attributes */
void op_getattr(struct fuse_req *req, uint64_t ino, struct fuse_file_info *fi);
void op_setattr(struct fuse_req *req, uint64_t ino, struct stat *attr, int to_set,
		struct fuse_file_info *fi);
void op_statfs(struct fuse_req *req, uint64_t ino);

/* ops_open.c: opening and creating files */
void op_create(struct fuse_req *req, uint64_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi);
void op_open(struct fuse_req *req, uint64_t ino, struct fuse_file_info *fi);

/* ops_release.c: releasing them */
void op_release(struct fuse_req *req, uint64_t ino, struct fuse_file_info *fi);
void op_flush(struct fuse_req *req, uint64_t ino, struct fuse_file_info *fi);

/* Ends handle, with all that hangs on its being open. Frees it. */
void ops_release(struct filesystem *fs, struct handle *handle);

/* Takes the road from node if no handle is left. The caller holds its open_mutex. */
void ops_leave_road(struct filesystem *fs, struct node *node);

/* Releases what the kernel left open when it was unmounted. No worker runs any more. */
void ops_release_all(struct filesystem *fs);

/* ops_io.c: what happens to open files */
void op_read(struct fuse_req *req, uint64_t ino, size_t size, off_t off,
	     struct fuse_file_info *fi);
void op_write_buf(struct fuse_req *req, uint64_t ino, struct fuse_bufvec *bufs, off_t off,
		  struct fuse_file_info *fi);
void op_fsync(struct fuse_req *req, uint64_t ino, int datasync, struct fuse_file_info *fi);
void op_fallocate(struct fuse_req *req, uint64_t ino, int mode, off_t off, off_t len,
		  struct fuse_file_info *fi);
void op_lseek(struct fuse_req *req, uint64_t ino, off_t off, int whence,
	      struct fuse_file_info *fi);
void op_copy_file_range(struct fuse_req *req, uint64_t ino_in, off_t off_in,
			struct fuse_file_info *fi_in, uint64_t ino_out, off_t off_out,
			struct fuse_file_info *fi_out, size_t len, int flags);
void op_ioctl(struct fuse_req *req, uint64_t ino, unsigned cmd, void *arg,
	      struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
	      size_t out_size);

/* ops_dir.c: folders */
void op_opendir(struct fuse_req *req, uint64_t ino, struct fuse_file_info *fi);
void op_readdir(struct fuse_req *req, uint64_t ino, size_t size, off_t off,
		struct fuse_file_info *fi);
void op_readdirplus(struct fuse_req *req, uint64_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi);
void op_releasedir(struct fuse_req *req, uint64_t ino, struct fuse_file_info *fi);
void op_fsyncdir(struct fuse_req *req, uint64_t ino, int datasync, struct fuse_file_info *fi);

/* ops_xattr.c: extended attributes */
void op_setxattr(struct fuse_req *req, uint64_t ino, const char *name, const char *value,
		 size_t size, int flags);
void op_getxattr(struct fuse_req *req, uint64_t ino, const char *name, size_t size);
void op_listxattr(struct fuse_req *req, uint64_t ino, size_t size);
void op_removexattr(struct fuse_req *req, uint64_t ino, const char *name);

#endif
