/* SPDX-License-Identifier: MIT */
#include "fuse/ops.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <string.h>
#include <sys/stat.h>

bool place_is_virtual(const struct node *parent, const char *name)
{
	return parent->id == SESSION_ROOT && strcmp(name, FILESYSTEM_STATE_NAME) == 0;
}

int place_open(struct filesystem *fs, uint64_t parent, const char *name, struct place *ret_place)
{
	*ret_place = (struct place){
		.parent = nodes_get(&fs->nodes, parent),
		.name = name,
		.dir_fd = -1,
	};
	if (ret_place->parent == NULL)
		return -ESTALE;
	if (strlen(name) > SESSION_NAME_MAX)
		return -ENAMETOOLONG;
	if (ret_place->parent->is_virtual ||
	    place_is_virtual(ret_place->parent, name))
		return -EACCES;
	if (parent == SESSION_ROOT) {
		ret_place->dir_fd = fs->options.root_fd;
		return 0;
	}
	ret_place->own_fd = true;
	ret_place->dir_fd = node_open(&fs->nodes, ret_place->parent, O_PATH | O_DIRECTORY);
	return ret_place->dir_fd < 0 ? ret_place->dir_fd : 0;
}

void place_close(struct place *place)
{
	if (place->own_fd && place->dir_fd >= 0)
		close(place->dir_fd);
	place->dir_fd = -1;
}

/* The group a new file gets: the folder's when that is setgid. */
static int wanted_gid(struct place *place, gid_t caller, gid_t got, gid_t *ret_gid)
{
	struct stat dir;

	*ret_gid = caller;
	if (got == caller)
		return 0;
	if (fstat(place->dir_fd, &dir) < 0)
		return -errno;
	if (dir.st_mode & S_ISGID)
		*ret_gid = dir.st_gid;
	return 0;
}

/*
 * The daemon creates as root and gives the file away, since it has not got the
 * caller's groups. The setuid bit comes last, so that no file of root's ever has
 * it.
 */
int place_own(fuse_req_t req, struct place *place, mode_t mode, struct stat *ret_st)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct filesystem *fs = ops_fs(req);
	bool changed = false;
	gid_t gid = ctx->gid;
	int r = nodes_stat_at(&fs->nodes, place->dir_fd, place->name, ret_st);

	if (r == 0)
		r = wanted_gid(place, ctx->gid, ret_st->st_gid, &gid);
	if (r < 0)
		return r;
	if (ret_st->st_uid != ctx->uid || ret_st->st_gid != gid) {
		if (fchownat(place->dir_fd, place->name, ctx->uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		changed = true;
	}
	if ((mode & (S_ISUID | S_ISGID)) && (S_ISREG(mode) || S_ISFIFO(mode) || S_ISSOCK(mode))) {
		if (fchmodat(place->dir_fd, place->name, mode & 07777, 0) < 0)
			return -errno;
		changed = true;
	}
	return changed ? nodes_stat_at(&fs->nodes, place->dir_fd, place->name, ret_st) : 0;
}

int place_look_up(struct filesystem *fs, struct place *place, struct node **ret_node,
		  struct stat *ret_st)
{
	int r = nodes_stat_at(&fs->nodes, place->dir_fd, place->name, ret_st);

	if (r < 0)
		return r;
	/* Under whatever name: file systems may ignore case. */
	if (ret_st->st_dev == fs->state_dev && ret_st->st_ino == fs->state_ino)
		return -ENOENT;
	return nodes_look_up(&fs->nodes, place->parent, place->name, ret_st, ret_node);
}
