/* SPDX-License-Identifier: MIT */
#ifndef FUSE_VIRTUAL_H
#define FUSE_VIRTUAL_H

#include "fuse/filesystem_internal.h"

/*
 * The virtual folder .replitedfs in the mount's root, read-only:
 *
 *   status          what `replitedfs status` says
 *   pos/<database>  its position; folders for databases in folders
 *
 * It is not listed in the root (so that copying the mount does not take it
 * along), and nothing of it is kept by the kernel. Each of its nodes carries its
 * path relative to .replitedfs.
 */
struct fuse_req;
struct fuse_file_info;

/* As lookup: 0 with a counted node, -ENOENT, -errno. */
int virtual_look_up(struct filesystem *fs, struct node *parent, const char *name,
		    struct node **ret_node, struct stat *ret_st) MUST_CHECK;

/* Attributes of a virtual node. 0 or -errno. */
int virtual_stat(struct filesystem *fs, struct node *node, struct stat *ret_st) MUST_CHECK;

/* Opens a virtual file, with its content as of now, and replies. */
void virtual_open(struct fuse_req *req, struct filesystem *fs, struct node *node,
		  struct fuse_file_info *fi);

/* Replies with a part of the content of an open virtual file. */
void virtual_read(struct fuse_req *req, struct handle *handle, size_t size, off_t off);

/* Opens a virtual folder: the caller replies. 0 or -errno. */
int virtual_open_dir(struct filesystem *fs, struct node *node,
		     struct fuse_file_info *fi) MUST_CHECK;

/* Replies with the entries from off on. */
void virtual_read_dir(struct fuse_req *req, struct handle *handle, size_t size, off_t off,
		      bool plus);

#endif
