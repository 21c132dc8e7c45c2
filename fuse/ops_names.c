/* SPDX-License-Identifier: MIT */
#include "fuse/ops.h"
#include "fuse/virtual.h"

#include <errno.h>
#include <fuse_lowlevel.h>

static int look_up(struct filesystem *fs, struct node *parent, const char *name,
		   struct node **ret_node, struct stat *ret_st)
{
	struct place place CLEANUP_PLACE = { .dir_fd = -1 };
	int r;

	if (parent->is_virtual || place_is_virtual(parent, name))
		return virtual_look_up(fs, parent, name, ret_node, ret_st);
	r = place_open(fs, parent->id, name, &place);
	if (r == 0)
		r = place_look_up(fs, &place, ret_node, ret_st);
	return r;
}

/* An entry with node 0 says that there is no such name, for as long as it is kept. */
void op_lookup(fuse_req_t req, fuse_ino_t parent_id, const char *name)
{
	struct fuse_entry_param nothing = { .entry_timeout = OPS_TIMEOUT_S };
	struct filesystem *fs = ops_fs(req);
	struct node *parent = nodes_get(&fs->nodes, parent_id);
	struct node *node;
	struct stat st;
	int r;

	ops_count(OPS_LOOKUP);
	if (parent == NULL) {
		ops_reply(req, -ESTALE);
		return;
	}
	r = look_up(fs, parent, name, &node, &st);
	if (r == 0)
		ops_reply_entry(req, node, &st);
	else if (r == -ENOENT && !parent->is_virtual)
		fuse_reply_entry(req, &nothing);
	else
		ops_reply(req, r);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	ops_count(OPS_FORGET);
	nodes_forget(&ops_fs(req)->nodes, ino, n);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	ops_count(OPS_FORGET);
	for (size_t i = 0; i < count; i++)
		nodes_forget(&ops_fs(req)->nodes, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct filesystem *fs = ops_fs(req);
	struct node *node = nodes_get(&fs->nodes, ino);
	char target[PATH_MAX + 1];
	int fd CLEANUP_FD = -1;
	ssize_t n;

	ops_count(OPS_OTHER);
	fd = node != NULL ? node_open(&fs->nodes, node, O_PATH) : -ESTALE;
	if (fd < 0) {
		ops_reply(req, fd);
		return;
	}
	n = readlinkat(fd, "", target, sizeof(target));
	if (n < 0 || (size_t)n == sizeof(target)) {
		ops_reply(req, n < 0 ? -errno : -ENAMETOOLONG);
		return;
	}
	target[n] = '\0';
	fuse_reply_readlink(req, target);
}

/* Replies to a request that has just created something at place. */
static void reply_created(fuse_req_t req, struct place *place, mode_t mode)
{
	struct filesystem *fs = ops_fs(req);
	struct node *node;
	struct stat st;
	int r = place_own(req, place, mode, &st);

	if (r == 0)
		r = nodes_look_up(&fs->nodes, place->parent, place->name, &st, &node);
	if (r == 0) {
		ops_reply_entry(req, node, &st);
		return;
	}
	unlinkat(place->dir_fd, place->name, S_ISDIR(mode) ? AT_REMOVEDIR : 0);
	ops_reply(req, r);
}

/* What kind of file: it becomes what mode says, with the plain bits of it. */
static int make(struct place *place, mode_t mode, const char *link)
{
	int r;

	if (S_ISLNK(mode))
		r = symlinkat(link, place->dir_fd, place->name);
	else if (S_ISDIR(mode))
		r = mkdirat(place->dir_fd, place->name, mode & 01777);
	else
		r = mknodat(place->dir_fd, place->name, mode & (S_IFMT | 0777), 0);
	return r < 0 ? -errno : 0;
}

static void create(fuse_req_t req, uint64_t parent, const char *name, mode_t mode,
		   const char *link)
{
	struct place place CLEANUP_PLACE = { .dir_fd = -1 };
	int r = place_open(ops_fs(req), parent, name, &place);

	ops_count(OPS_CREATE);
	if (r == 0)
		r = make(&place, mode, link);
	if (r < 0)
		ops_reply(req, r);
	else
		reply_created(req, &place, mode);
}

/*
 * A regular file that is made by mknod(2) and not opened cannot be a journal in
 * use yet: dbnode sees it when it is opened.
 */
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	if (S_ISREG(mode) || S_ISFIFO(mode) || S_ISSOCK(mode))
		create(req, parent, name, mode, NULL);
	else
		ops_reply(req, -EPERM);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	create(req, parent, name, S_IFDIR | (mode & 07777), NULL);
}

void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	create(req, parent, name, S_IFLNK | 0777, link);
}

/* Two names of one database would mean two journals: it may have no hard links. */
static int check_link(struct filesystem *fs, struct node *node)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct dbnode dbnode CLEANUP_DBNODE = { .db = NULL };
	int r;

	if (node == NULL || node->is_virtual)
		return node == NULL ? -ESTALE : -EPERM;
	r = dbnode_of_node(fs, node, false, &dbnode, &err);
	return r < 0 ? r : dbnode.db != NULL ? -EPERM : 0;
}

static int link_at(struct filesystem *fs, struct node *node, struct place *place)
{
	char from[32];
	int fd CLEANUP_FD = node_open(&fs->nodes, node, O_PATH);

	if (fd < 0)
		return fd;
	snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, from, place->dir_fd, place->name, AT_SYMLINK_FOLLOW) < 0 ?
		       -errno :
		       0;
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct filesystem *fs = ops_fs(req);
	struct place place CLEANUP_PLACE = { .dir_fd = -1 };
	struct node *node = nodes_get(&fs->nodes, ino);
	struct stat st;
	int r = check_link(fs, node);

	ops_count(OPS_CREATE);
	if (r == 0)
		r = place_open(fs, parent, name, &place);
	if (r == 0)
		r = link_at(fs, node, &place);
	if (r == 0)
		r = place_look_up(fs, &place, &node, &st);
	if (r < 0)
		ops_reply(req, r);
	else
		ops_reply_entry(req, node, &st);
}
