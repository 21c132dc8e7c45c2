/* SPDX-License-Identifier: MIT */
#include "base/file.h"
#include "base/thread.h"
#include "fuse/node.h"

#include <errno.h>
#include <linux/stat.h>
#include <string.h>
#include <sys/sysmacros.h>

/*
 * From nodes to files: a path is put together from the names of the folders and
 * opened below the backing folder, where it can neither leave it nor follow a
 * symlink. tree is held meanwhile, so that no folder on the way is renamed. The
 * last name of a node is taken away, and the node pinned, in one hold of tree.
 */

/* The longest path handed to the kernel at once; longer ones are walked. */
#define PATH_STEP 4000u
/* Nothing real is that deep. */
#define PATH_LEN_MAX (1u << 20)

/* The caller holds nodes->mutex. */
static int path_len(struct nodes *nodes, struct node *node, size_t *ret_len)
{
	size_t len = 0;

	while (node->id != SESSION_ROOT) {
		if (node->slot->parent == 0)
			return -ESTALE;
		len += node->slot->name_len + 1u;
		if (len > PATH_LEN_MAX)
			return -ENAMETOOLONG;
		node = nodes_get(nodes, node->slot->parent);
	}
	*ret_len = len > 0 ? len - 1 : 0;
	return 0;
}

int node_path(struct nodes *nodes, struct node *node, struct buf *out)
{
	LOCK_SCOPE(&nodes->mutex);
	size_t len;
	char *end;
	int r = path_len(nodes, node, &len);

	if (r < 0 || len == 0)
		return r;
	end = buf_extend(out, len);
	if (end == NULL)
		return -ENOMEM;
	end += len;
	while (node->id != SESSION_ROOT) {
		end -= node->slot->name_len;
		memcpy(end, node->slot->name, node->slot->name_len);
		node = nodes_get(nodes, node->slot->parent);
		if (node->id != SESSION_ROOT)
			*--end = '/';
	}
	return 0;
}

int node_child_path(struct nodes *nodes, struct node *parent, const char *name, struct buf *out)
{
	size_t before = out->len;
	int r = node_path(nodes, parent, out);

	if (r == 0 && out->len > before)
		r = buf_append(out, "/", 1);
	if (r == 0)
		r = buf_append(out, name, strlen(name));
	return r;
}

/* Opens a path of any length below root_fd, changing it on the way. */
static int open_long(int root_fd, char *path, int flags)
{
	int at CLEANUP_FD = -1;

	while (strlen(path) > PATH_STEP) {
		char *slash = path + PATH_STEP;
		int next;

		while (*slash != '/')
			slash--;
		*slash = '\0';
		next = file_open_beneath(at >= 0 ? at : root_fd, path, O_PATH | O_DIRECTORY, 0);
		if (next < 0)
			return next;
		if (at >= 0)
			close(at);
		at = next;
		path = slash + 1;
	}
	return file_open_beneath(at >= 0 ? at : root_fd, path, flags, 0);
}

static int open_by_path(struct nodes *nodes, struct node *node, int flags)
{
	struct buf path CLEANUP_BUF = { 0 };
	const char *text;
	int fd;
	int r;

	pthread_rwlock_rdlock(&nodes->tree);
	r = node_path(nodes, node, &path);
	text = buf_str(&path);
	if (r == 0 && text == NULL)
		r = -ENOMEM;
	fd = r < 0 ? r : open_long(nodes->root_fd, (char *)path.data, flags);
	pthread_rwlock_unlock(&nodes->tree);
	return fd == -ENOENT || fd == -ELOOP ? -ESTALE : fd;
}

static int open_by_pin(int pin_fd, int flags)
{
	char path[32];
	int fd;

	if (flags & O_PATH) {
		fd = fcntl(pin_fd, F_DUPFD_CLOEXEC, 3);
	} else {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", pin_fd);
		fd = open(path, (flags & ~O_NOFOLLOW) | O_CLOEXEC);
	}
	return fd < 0 ? -errno : fd;
}

static int open_by_name(struct nodes *nodes, struct node *node, int flags)
{
	int fd CLEANUP_FD = open_by_path(nodes, node, flags | O_NOFOLLOW);
	struct stat st;

	if (fd < 0)
		return take_fd(&fd);
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_ino != node->slot->ino || st.st_dev != node->slot->dev)
		return -ESTALE;
	return take_fd(&fd);
}

/*
 * The file was not there: whoever is taking its name away has pinned the node when
 * he lets go of tree.
 */
static int open_after_removal(struct nodes *nodes, struct node *node, int flags)
{
	int pin_fd;

	pthread_rwlock_wrlock(&nodes->tree);
	pthread_rwlock_unlock(&nodes->tree);
	pin_fd = node->pin_fd;
	return pin_fd >= 0 ? open_by_pin(pin_fd, flags) : -ESTALE;
}

int node_open(struct nodes *nodes, struct node *node, int flags)
{
	int pin_fd = node->pin_fd;
	int fd;

	if (node->is_virtual)
		return -EACCES;
	if (pin_fd >= 0)
		return open_by_pin(pin_fd, flags);
	fd = open_by_name(nodes, node, flags);
	return fd == -ESTALE ? open_after_removal(nodes, node, flags) : fd;
}

int node_stat(struct nodes *nodes, struct node *node, struct stat *ret_st)
{
	int pin_fd = node->pin_fd;
	int fd CLEANUP_FD = -1;

	if (node->id == SESSION_ROOT)
		return fstat(nodes->root_fd, ret_st) < 0 ? -errno : 0;
	if (pin_fd >= 0)
		return fstat(pin_fd, ret_st) < 0 ? -errno : 0;
	fd = node_open(nodes, node, O_PATH);
	if (fd < 0)
		return fd;
	return fstat(fd, ret_st) < 0 ? -errno : 0;
}

static void stat_of_statx(const struct statx *stx, struct stat *st)
{
	*st = (struct stat){
		.st_dev = makedev(stx->stx_dev_major, stx->stx_dev_minor),
		.st_ino = stx->stx_ino,
		.st_mode = stx->stx_mode,
		.st_nlink = stx->stx_nlink,
		.st_uid = stx->stx_uid,
		.st_gid = stx->stx_gid,
		.st_rdev = makedev(stx->stx_rdev_major, stx->stx_rdev_minor),
		.st_size = (off_t)stx->stx_size,
		.st_blksize = (blksize_t)stx->stx_blksize,
		.st_blocks = (blkcnt_t)stx->stx_blocks,
		.st_atim = { stx->stx_atime.tv_sec, stx->stx_atime.tv_nsec },
		.st_mtim = { stx->stx_mtime.tv_sec, stx->stx_mtime.tv_nsec },
		.st_ctim = { stx->stx_ctime.tv_sec, stx->stx_ctime.tv_nsec },
	};
}

int nodes_stat_at(struct nodes *nodes, int dir_fd, const char *name, struct stat *ret_st)
{
	struct statx stx = { 0 };

	if (statx(dir_fd, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
		  STATX_BASIC_STATS | STATX_MNT_ID, &stx) < 0)
		return -errno;
	stat_of_statx(&stx, ret_st);
	if (!(stx.stx_mask & STATX_MNT_ID))
		return 0;
	if (nodes->root_mnt_id == 0)
		nodes->root_mnt_id = stx.stx_mnt_id;
	return stx.stx_mnt_id == nodes->root_mnt_id ? 0 : -EXDEV;
}
