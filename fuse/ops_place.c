/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "fuse/ops.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <string.h>

#define REPEAT_MS 60000 /* before the same failure is logged again */

static atomic_uint_fast64_t counters[OPS_N_KINDS];

void ops_count(enum ops_kind kind)
{
	atomic_fetch_add_explicit(&counters[kind], 1, memory_order_relaxed);
}

void ops_counters(uint64_t *ret_counts)
{
	for (int i = 0; i < OPS_N_KINDS; i++)
		ret_counts[i] = atomic_load_explicit(&counters[i], memory_order_relaxed);
}

const char *ops_kind_name(enum ops_kind kind)
{
	static const char *const names[OPS_N_KINDS] = {
		[OPS_LOOKUP] = "lookup",   [OPS_FORGET] = "forget",
		[OPS_GETATTR] = "getattr", [OPS_SETATTR] = "setattr",
		[OPS_CREATE] = "create",   [OPS_UNLINK] = "unlink",
		[OPS_RENAME] = "rename",   [OPS_OPEN] = "open",
		[OPS_RELEASE] = "release", [OPS_READ] = "read",
		[OPS_WRITE] = "write",	   [OPS_FSYNC] = "fsync",
		[OPS_READDIR] = "readdir", [OPS_XATTR] = "xattr",
		[OPS_OTHER] = "other",
	};

	return names[kind];
}

struct filesystem *ops_fs(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

void ops_reply(fuse_req_t req, int r)
{
	fuse_reply_err(req, r == -EDQUOT ? ENOSPC : -r);
}

/* SQLite tries a refused open five times over. */
void ops_log_failure(const char *what, const char *name, const struct error *err)
{
	static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	static int64_t last_ms;
	static char *last;
	int64_t now_ms = clock_mono_ms();
	char *line = NULL;

	if (asprintf(&line, "%s refused name=%s: %s%s%s", what, name, error_what(err),
		     err->why != NULL ? ": " : "", err->why != NULL ? err->why : "") < 0)
		return;
	LOCK_SCOPE(&mutex);

	if (last == NULL || strcmp(last, line) != 0 || now_ms - last_ms > REPEAT_MS) {
		log_error("%s", line);
		last_ms = now_ms;
	}
	free(last);
	last = line;
}

mode_t ops_mode_written(fuse_req_t req, const struct stat *st)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	mode_t mode = st->st_mode & 07777;

	if (ctx->uid == 0)
		return mode;
	mode &= ~(mode_t)S_ISUID;
	if ((mode & S_IXGRP) || ctx->gid != st->st_gid)
		mode &= ~(mode_t)S_ISGID;
	return mode;
}

/*
 * Writes through a shared mapping of a passthrough file are the one thing that
 * changes attributes (mtime) unseen by the kernel's FUSE inode, and a mapping
 * outlives its descriptor. SQLite maps only the -shm for writing, whose times
 * nobody looks at.
 */
double ops_attr_timeout(struct node *node)
{
	if (node->is_virtual)
		return 0;
	if (node->is_database || !node->mapped_once)
		return OPS_TIMEOUT_S;
	return node->mapped_now ? 0 : 1;
}

void ops_reply_attr(fuse_req_t req, struct node *node, const struct stat *st)
{
	struct stat shown = *st;

	if (!node->is_virtual)
		shown.st_ino = nodes_ino(&ops_fs(req)->nodes, st);
	fuse_reply_attr(req, &shown, ops_attr_timeout(node));
}

void ops_reply_entry(fuse_req_t req, struct node *node, const struct stat *st)
{
	struct filesystem *fs = ops_fs(req);
	bool virtual = node->is_virtual;
	uint64_t id = node->id;
	struct fuse_entry_param entry = {
		.ino = id,
		.generation = node->slot->generation,
		.attr = *st,
		.attr_timeout = ops_attr_timeout(node),
		.entry_timeout = virtual ? 0 : OPS_TIMEOUT_S,
	};

	if (!virtual)
		entry.attr.st_ino = nodes_ino(&fs->nodes, st);
	if (fuse_reply_entry(req, &entry) != 0)
		nodes_forget(&fs->nodes, id, 1);
}

/* An offset below 0 means attributes only: no page lock is waited for. */
void ops_inval_attr(struct filesystem *fs, struct node *node)
{
	fuse_lowlevel_notify_inval_inode(fs->se, node->id, -1, 0);
}

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
