/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "fuse/ops.h"
#include "fuse/virtual.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <string.h>
#include <sys/stat.h>

/*
 * Opening: find out which file of which database it is, choose the road if it is
 * the first open, tell the engine, open the backing file, and register that with
 * the kernel where the road is passthrough. All under the node's open_mutex, so
 * that opens and releases of one file take turns.
 *
 * The kernel ends an open file's mode before it sends RELEASE, so a road that is
 * still taken here can only be one that it has left already: no conflict.
 */
struct opening {
	struct filesystem *fs;
	fuse_req_t req;
	struct node *node;
	struct dbnode dbnode;
	int flags;
	bool writable;
	bool create;
	bool announced;
	enum road road;
	int fd;
	struct handle *handle;
	struct error err;
};

static void opening_init(struct opening *opening, fuse_req_t req, int flags)
{
	*opening = (struct opening){
		.fs = ops_fs(req),
		.req = req,
		.flags = flags,
		.writable = (flags & O_ACCMODE) != O_RDONLY,
		.fd = -1,
	};
}

/* The offset of appends and the alignment of direct I/O are the kernel's business. */
static int backing_flags(int flags)
{
	return (flags & (O_ACCMODE | O_SYNC | O_DSYNC | O_NOATIME)) | O_NONBLOCK | O_NOFOLLOW;
}

static int announce(struct opening *opening)
{
	int r = dbnode_opening(opening->fs, &opening->dbnode, opening->create, opening->writable,
			       opening->road, &opening->err);

	opening->announced = r == 0;
	return r;
}

static void unannounce(struct opening *opening)
{
	if (opening->announced)
		dbnode_released(opening->fs, &opening->dbnode);
	opening->announced = false;
}

/* Takes back what an open that fails has done. Once it has a handle it does not fail. */
static void opening_undo(struct opening *opening)
{
	unannounce(opening);
	if (opening->fd >= 0)
		close(opening->fd);
}

static void opening_done(struct opening *opening, const char *name)
{
	if (opening->err.code != 0)
		ops_log_failure("open", name, &opening->err);
	dbnode_done(&opening->dbnode);
	error_done(&opening->err);
}

/*
 * Registers the backing file if its node has no registration yet. Where that
 * fails the file goes the other road, and the engine hears that a -shm is not
 * visible after all.
 */
static int settle_road(struct opening *opening)
{
	struct session_node *slot = opening->node->slot;
	int r;

	if (opening->road != ROAD_PASSTHROUGH || slot->backing_id > 0)
		return 0;
	r = roads_register(&opening->fs->roads, opening->fd);
	if (r > 0) {
		slot->backing_id = r;
		return 0;
	}
	log_debug("no passthrough for a file: %s", strerror(-r));
	opening->road = ROAD_INTERCEPT;
	if (opening->dbnode.db == NULL || opening->dbnode.file != DATABASE_SHM)
		return 0;
	unannounce(opening);
	return announce(opening);
}

/* Whether what the kernel has cached of the file is still what is in it. */
static bool cache_is_valid(struct opening *opening)
{
	struct node *node = opening->node;
	struct stat st;

	if (node->handles != NULL)
		return true;
	return node->cache_valid && fstat(opening->fd, &st) == 0 &&
	       st.st_size == node->cache_size &&
	       st.st_mtim.tv_sec == node->cache_mtime.tv_sec &&
	       st.st_mtim.tv_nsec == node->cache_mtime.tv_nsec;
}

static void note_mappable(struct opening *opening)
{
	struct node *node = opening->node;

	opening->handle->mappable = opening->road == ROAD_PASSTHROUGH &&
				    opening->dbnode.db == NULL &&
				    (opening->flags & O_ACCMODE) == O_RDWR;
	if (!opening->handle->mappable)
		return;
	node->n_mapped++;
	node->mapped_now = true;
	node->mapped_once = true;
	if (!opening->create)
		ops_inval_attr(opening->fs, node);
}

/* The backing file is open: makes the handle and the answer. */
static int finish(struct opening *opening, struct fuse_file_info *fi)
{
	struct node *node = opening->node;
	bool keep;
	int r = settle_road(opening);

	if (r < 0)
		return r;
	keep = opening->road == ROAD_INTERCEPT && cache_is_valid(opening);
	opening->handle = handle_new(&opening->fs->handles, node, opening->fd, opening->flags);
	if (opening->handle == NULL)
		return -ENFILE;
	if (opening->dbnode.db != NULL) {
		handle_set_database(&opening->fs->handles, opening->handle, opening->dbnode.db,
				    opening->dbnode.file);
		dbnode_attach(opening->fs, node, &opening->dbnode);
	}
	node->slot->road = (uint8_t)opening->road;
	note_mappable(opening);
	opening->handle->next = node->handles;
	node->handles = opening->handle;
	fi->fh = opening->handle->id;
	fi->keep_cache = keep;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	if (opening->road == ROAD_PASSTHROUGH)
		fi->backing_id = node->slot->backing_id;
#endif
	return 0;
}

static int open_known(struct opening *opening, struct fuse_file_info *fi)
{
	struct filesystem *fs = opening->fs;
	struct node *node = opening->node;
	int r = dbnode_of_node(fs, node, opening->writable, &opening->dbnode, &opening->err);

	if (r < 0)
		return r;
	opening->road = (enum road)node->slot->road;
	if (node->handles == NULL)
		opening->road = roads_choose(&fs->roads, opening->dbnode.db, opening->dbnode.file);
	r = announce(opening);
	if (r < 0)
		return r;
	opening->fd = node_open(&fs->nodes, node, backing_flags(opening->flags));
	if (opening->fd < 0)
		return opening->fd;
	/* Here, since passthrough writes pass by. The kernel knows the mode it had. */
	if (opening->writable && ops_kill_setuid(opening->req, opening->fd) > 0)
		ops_inval_attr(fs, node);
	return finish(opening, fi);
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct filesystem *fs = ops_fs(req);
	struct node *node = nodes_get(&fs->nodes, ino);
	struct opening opening;
	int r;

	ops_count(OPS_OPEN);
	if (node == NULL || node->is_virtual) {
		if (node == NULL)
			ops_reply(req, -ESTALE);
		else
			virtual_open(req, fs, node, fi);
		return;
	}
	opening_init(&opening, req, fi->flags);
	opening.node = node;
	pthread_mutex_lock(&node->open_mutex);
	r = open_known(&opening, fi);
	if (r < 0) {
		opening_undo(&opening);
		ops_leave_road(fs, node);
	}
	pthread_mutex_unlock(&node->open_mutex);
	opening_done(&opening, node->slot->name);
	if (r < 0)
		ops_reply(req, r);
	else if (fuse_reply_open(req, fi) != 0)
		ops_release(fs, opening.handle);
}

/* What another program made there behind the mount was not checked by the kernel. */
static int create_backing(struct opening *opening, struct place *place, mode_t mode)
{
	int flags = backing_flags(opening->flags) | O_CREAT | O_EXCL | O_CLOEXEC;

	opening->fd = openat(place->dir_fd, place->name, flags, mode & 0777);
	if (opening->fd >= 0)
		return 0;
	return errno == EEXIST && !(opening->flags & O_EXCL) ? -ESTALE : -errno;
}

static int create_new(struct opening *opening, struct place *place, mode_t mode,
		      struct fuse_file_info *fi, struct stat *ret_st)
{
	struct filesystem *fs = opening->fs;
	int r = create_backing(opening, place, mode);

	if (r < 0)
		return r;
	r = place_own(opening->req, place, S_IFREG | mode, ret_st);
	if (r == 0)
		r = nodes_look_up(&fs->nodes, place->parent, place->name, ret_st, &opening->node);
	if (r == 0) {
		pthread_mutex_lock(&opening->node->open_mutex);
		r = finish(opening, fi);
		if (r < 0)
			ops_leave_road(fs, opening->node);
		pthread_mutex_unlock(&opening->node->open_mutex);
		if (r < 0)
			nodes_forget(&fs->nodes, opening->node->id, 1);
	}
	if (r < 0)
		unlinkat(place->dir_fd, place->name, 0);
	return r;
}

/*
 * A database of the name of a file that is not there is one that was unlinked while
 * it was being taken for a database: the new file is another one.
 */
static void forget_stale(struct opening *opening, struct place *place)
{
	struct filesystem *fs = opening->fs;
	struct stat st;

	if (opening->dbnode.db == NULL || opening->dbnode.file != DATABASE_MAIN)
		return;
	pthread_rwlock_rdlock(&fs->names);
	if (nodes_stat_at(&fs->nodes, place->dir_fd, place->name, &st) == -ENOENT) {
		dbnode_removed(fs, place->parent, place->name);
		dbnode_done(&opening->dbnode);
	}
	pthread_rwlock_unlock(&fs->names);
}

static int create_at(struct opening *opening, struct place *place, mode_t mode,
		     struct fuse_file_info *fi, struct stat *ret_st)
{
	struct filesystem *fs = opening->fs;
	int r = dbnode_of_name(fs, place->parent, place->dir_fd, place->name, opening->writable,
			       &opening->dbnode, &opening->err);

	if (r < 0)
		return r;
	forget_stale(opening, place);
	opening->create = true;
	opening->road = roads_choose(&fs->roads, opening->dbnode.db, opening->dbnode.file);
	r = announce(opening);
	if (r == 0)
		r = create_new(opening, place, mode, fi, ret_st);
	if (r < 0)
		opening_undo(opening);
	return r;
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi)
{
	struct filesystem *fs = ops_fs(req);
	struct place place CLEANUP_PLACE = { .dir_fd = -1 };
	struct fuse_entry_param entry = { .entry_timeout = OPS_TIMEOUT_S };
	struct opening opening;
	int r = place_open(fs, parent, name, &place);

	ops_count(OPS_CREATE);
	opening_init(&opening, req, fi->flags);
	if (r == 0)
		r = create_at(&opening, &place, mode, fi, &entry.attr);
	opening_done(&opening, name);
	if (r < 0) {
		ops_reply(req, r);
		return;
	}
	entry.ino = opening.node->id;
	entry.generation = opening.node->slot->generation;
	entry.attr_timeout = ops_attr_timeout(opening.node);
	entry.attr.st_ino = nodes_ino(&fs->nodes, &entry.attr);
	if (fuse_reply_create(req, &entry, fi) != 0) {
		ops_release(fs, opening.handle);
		nodes_forget(&fs->nodes, entry.ino, 1);
	}
}
