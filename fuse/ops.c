/* SPDX-License-Identifier: MIT */
#include "fuse/ops.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

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

static mode_t mode_written(fuse_req_t req, const struct stat *st)
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

int ops_kill_setuid(fuse_req_t req, int fd)
{
	struct stat st;
	mode_t mode;

	if (fstat(fd, &st) < 0)
		return -errno;
	mode = mode_written(req, &st);
	if (mode == (st.st_mode & 07777))
		return 0;
	return fchmod(fd, mode) < 0 ? -errno : 1;
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

/*
 * Which of its names a file with several is opened by is told by the lookup before
 * that, so the kernel must not keep any of them.
 */
double ops_entry_timeout(const struct node *node, const struct stat *st)
{
	return node->is_virtual || (S_ISREG(st->st_mode) && st->st_nlink > 1) ? 0 : OPS_TIMEOUT_S;
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
		.entry_timeout = ops_entry_timeout(node, st),
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
