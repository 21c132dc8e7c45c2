/* SPDX-License-Identifier: MIT */
#include "fuse/ops.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

/*
 * Extended attributes, passed through. The kernel has checked who may touch
 * which before it asks. They are reached by /proc/self/fd of an O_PATH
 * descriptor, which follows nothing and works for every kind of file.
 */
struct target {
	int fd;
	char path[32];
};

static void target_close(struct target *target)
{
	if (target->fd >= 0)
		close(target->fd);
}
#define CLEANUP_TARGET CLEANUP(target_close)

static int target_open(fuse_req_t req, fuse_ino_t ino, struct target *target)
{
	struct filesystem *fs = ops_fs(req);
	struct node *node = nodes_get(&fs->nodes, ino);

	ops_count(OPS_XATTR);
	if (node == NULL)
		return -ESTALE;
	if (node->is_virtual)
		return -EOPNOTSUPP;
	target->fd = node_open(&fs->nodes, node, O_PATH);
	if (target->fd < 0)
		return target->fd;
	snprintf(target->path, sizeof(target->path), "/proc/self/fd/%d", target->fd);
	return 0;
}

/*
 * The kernel asks for this one before the first write after each refresh of the
 * attributes, which for a database is once a commit: so that there is none is
 * remembered, until one is being set.
 */
static bool is_capability(const char *name)
{
	return strcmp(name, "security.capability") == 0;
}

static bool has_no_capability(const struct node *node)
{
	return atomic_load(&node->no_capability_at) == atomic_load(&node->capability_sets) + 1;
}

static int set_capability(struct node *node, const struct target *target, const char *name,
			  const char *value, size_t size, int flags)
{
	int r;

	atomic_fetch_add(&node->capability_sets, 1);
	r = setxattr(target->path, name, value, size, flags) < 0 ? -errno : 0;
	atomic_fetch_add(&node->capability_sets, 1);
	return r;
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
		 int flags)
{
	struct target target CLEANUP_TARGET = { .fd = -1 };
	int r = target_open(req, ino, &target);

	if (r == 0 && is_capability(name))
		r = set_capability(nodes_get(&ops_fs(req)->nodes, ino), &target, name, value,
				   size, flags);
	else if (r == 0 && setxattr(target.path, name, value, size, flags) < 0)
		r = -errno;
	ops_reply(req, r);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct target target CLEANUP_TARGET = { .fd = -1 };
	int r = target_open(req, ino, &target);

	if (r == 0 && removexattr(target.path, name) < 0)
		r = -errno;
	ops_reply(req, r);
}

/* The value, of at most size bytes, or its length when that is 0; -errno. */
static ssize_t get(fuse_req_t req, fuse_ino_t ino, const char *name, char *value, size_t size)
{
	struct target target CLEANUP_TARGET = { .fd = -1 };
	struct node *node = nodes_get(&ops_fs(req)->nodes, ino);
	unsigned sets = node != NULL ? atomic_load(&node->capability_sets) : 0;
	ssize_t n;
	int r;

	if (node != NULL && is_capability(name) && has_no_capability(node)) {
		ops_count(OPS_XATTR);
		return -ENODATA;
	}
	r = target_open(req, ino, &target);
	if (r < 0)
		return r;
	n = getxattr(target.path, name, value, size);
	if (n < 0)
		n = -errno;
	if (n == -ENODATA && is_capability(name))
		atomic_store(&node->no_capability_at, sets + 1);
	return n;
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	char *value CLEANUP_FREE = size > 0 ? malloc(size) : NULL;
	ssize_t n = size > 0 && value == NULL ? -ENOMEM : get(req, ino, name, value, size);

	if (n < 0)
		ops_reply(req, (int)n);
	else if (size == 0)
		fuse_reply_xattr(req, (size_t)n);
	else
		fuse_reply_buf(req, value, (size_t)n);
}

/* trusted.* is for the privileged only; the backing file system thinks that is us. */
static size_t drop_trusted(char *names, size_t len)
{
	size_t kept = 0;

	for (size_t i = 0; i < len;) {
		size_t one = strnlen(names + i, len - i) + 1;

		if (strncmp(names + i, "trusted.", 8) != 0) {
			memmove(names + kept, names + i, MIN(one, len - i));
			kept += one;
		}
		i += one;
	}
	return kept;
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct target target CLEANUP_TARGET = { .fd = -1 };
	char *names CLEANUP_FREE = malloc(XATTR_LIST_MAX);
	int r = target_open(req, ino, &target);
	size_t len = 0;
	ssize_t n;

	if (r == 0 && names == NULL)
		r = -ENOMEM;
	if (r == 0) {
		n = listxattr(target.path, names, XATTR_LIST_MAX);
		r = n < 0 ? -errno : 0;
		len = n < 0 ? 0 : (size_t)n;
	}
	if (r == 0 && fuse_req_ctx(req)->uid != 0)
		len = drop_trusted(names, len);
	if (r == 0 && size > 0 && len > size)
		r = -ERANGE;
	if (r < 0)
		ops_reply(req, r);
	else if (size == 0)
		fuse_reply_xattr(req, len);
	else
		fuse_reply_buf(req, names, len);
}
