/* SPDX-License-Identifier: MIT */
#include "fuse/ops.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <sys/stat.h>

/*
 * Releasing files, the mirror of ops_open.c. The kernel does not wait for it, and
 * tells nobody of its errors.
 */

void ops_leave_road(struct filesystem *fs, struct node *node)
{
	if (node->handles != NULL)
		return;
	roads_unregister(&fs->roads, node->slot->backing_id);
	node->slot->backing_id = 0;
	node->slot->road = ROAD_NONE;
}

static void unlink_handle(struct node *node, struct handle *handle)
{
	struct handle **at = &node->handles;

	while (*at != NULL && *at != handle)
		at = &(*at)->next;
	if (*at != NULL)
		*at = handle->next;
}

static bool is_written(const struct node *node)
{
	for (const struct handle *handle = node->handles; handle != NULL; handle = handle->next) {
		if (handle->writable)
			return true;
	}
	return false;
}

/* The last handle is being closed: what the next open wants to know. */
static void last_release(struct filesystem *fs, struct node *node, struct handle *handle)
{
	struct stat st;

	node->cache_valid = node->slot->road == ROAD_INTERCEPT && fstat(handle->fd, &st) == 0;
	if (node->cache_valid) {
		node->cache_mtime = st.st_mtim;
		node->cache_size = st.st_size;
	}
	ops_leave_road(fs, node);
	node_set_database(&fs->nodes, node, NULL, DATABASE_MAIN);
}

void ops_release(struct filesystem *fs, struct handle *handle)
{
	struct dbnode dbnode CLEANUP_DBNODE = { .db = NULL };
	struct node *node = handle->node;
	bool writable = handle->writable;

	pthread_mutex_lock(&node->open_mutex);
	dbnode.db = handle_database(&fs->handles, handle, &dbnode.file);
	unlink_handle(node, handle);
	if (writable && dbnode.db == NULL && !is_written(node))
		dbnode_written(fs, node, handle->fd);
	if (handle->mappable) {
		node->mapped_now = --node->n_mapped > 0;
		ops_inval_attr(fs, node);
	}
	if (node->handles == NULL)
		last_release(fs, node, handle);
	pthread_mutex_unlock(&node->open_mutex);
	handle_free(&fs->handles, handle);
	dbnode_released(fs, &dbnode);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct filesystem *fs = ops_fs(req);
	struct handle *handle = handles_get(&fs->handles, fi->fh);

	ops_count(OPS_RELEASE);
	if (handle != NULL && handle->node->is_virtual)
		handle_free(&fs->handles, handle);
	else if (handle != NULL)
		ops_release(fs, handle);
	ops_reply(req, 0);
}

void ops_release_all(struct filesystem *fs)
{
	for (uint32_t id = 1; id < SESSION_N_HANDLES_MAX && handles_count(&fs->handles) > 0; id++) {
		struct handle *handle = handles_get(&fs->handles, id);

		if (handle == NULL)
			continue;
		if (handle->dir != NULL || handle->node->is_virtual)
			handle_free(&fs->handles, handle);
		else
			ops_release(fs, handle);
	}
}

/* Locks are the kernel's and errors of writes are told at once: never ask again. */
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	ops_count(OPS_OTHER);
	ops_reply(req, -ENOSYS);
}
