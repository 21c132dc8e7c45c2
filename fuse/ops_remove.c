/* SPDX-License-Identifier: MIT */
#include "fuse/ops.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdio.h>

/*
 * Names that go away: by unlink, rmdir, or by being the target or the source of a
 * rename. A node whose last name goes is pinned, so that whoever has it open or
 * looked up keeps a whole file: by a descriptor from before, in one hold of tree
 * with the removal, since node_open() waits for that when it finds no file.
 */

/* The file at place, its node (used) and what it is to a database. */
struct named_file {
	struct stat st;
	struct node *node;
	struct dbnode dbnode;
	int pin_fd; /* to be the node's pin; -1: none */
};

/* 0; 1: there is no such file; -errno. */
static int named_file_find(struct filesystem *fs, struct place *place, struct named_file *file)
{
	int r = nodes_stat_at(&fs->nodes, place->dir_fd, place->name, &file->st);

	if (r == -ENOENT)
		return 1;
	if (r < 0)
		return r;
	file->node = nodes_find(&fs->nodes, &file->st);
	if (!S_ISREG(file->st.st_mode))
		return 0;
	/* Of several names any may be the one that it is a database's by. */
	if (file->node != NULL && file->st.st_nlink == 1)
		file->dbnode.db = node_database(&fs->nodes, file->node, &file->dbnode.file);
	return 0;
}

static void named_file_done(struct filesystem *fs, struct named_file *file)
{
	nodes_unuse(&fs->nodes, file->node);
	dbnode_done(&file->dbnode);
	if (file->pin_fd >= 0)
		close(file->pin_fd);
}

/* Before its name is taken away, while there is one to open it by. */
static void named_file_keep(struct place *place, struct named_file *file)
{
	if (file->node != NULL && file->node->pin_fd < 0)
		file->pin_fd = openat(place->dir_fd, place->name,
				      O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

/* Its name is gone. The caller has held tree since before. */
static void named_file_gone(struct filesystem *fs, struct place *place, struct named_file *file)
{
	if (file->node == NULL)
		return;
	node_pin(file->node, take_fd(&file->pin_fd));
	nodes_unnamed(&fs->nodes, file->node, place->parent, place->name);
}

static int remove_name(struct filesystem *fs, struct place *place, struct named_file *file,
		       int flags)
{
	int r;

	pthread_rwlock_rdlock(&fs->nodes.tree);
	r = unlinkat(place->dir_fd, place->name, flags) < 0 ? -errno : 0;
	if (r == 0)
		named_file_gone(fs, place, file);
	pthread_rwlock_unlock(&fs->nodes.tree);
	return r;
}

/* The name of a companion is about to go: its database hears of it. 0 or -errno. */
static int barrier_begin(struct dbnode *dbnode, const char *name)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int r;

	if (dbnode->db == NULL || dbnode->file == DATABASE_MAIN)
		return 0;
	r = database_barrier_begin(dbnode->db, dbnode->file, DATABASE_UNLINK, 0, &err);
	if (r < 0)
		ops_log_failure("unlink", name, &err);
	return r;
}

static void barrier_end(struct dbnode *dbnode, int result)
{
	if (dbnode->db != NULL && dbnode->file != DATABASE_MAIN)
		database_barrier_end(dbnode->db, dbnode->file, DATABASE_UNLINK, result);
}

/*
 * Tells the catalog; the caller holds names and the path is what it was. The file
 * may have become a database since it was looked at.
 */
static void database_gone(struct filesystem *fs, struct place *place, struct dbnode *dbnode)
{
	if (dbnode->db == NULL || dbnode->file == DATABASE_MAIN)
		dbnode_removed(fs, place->parent, place->name);
}

/* What is open as a database's file stays one whatever it is called; else the name says. */
static int find_dbnode(struct filesystem *fs, struct place *place, struct named_file *file)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;

	if (file->dbnode.db != NULL || !S_ISREG(file->st.st_mode))
		return 0;
	return dbnode_of_name(fs, place->parent, place->dir_fd, place->name, false,
			      &file->dbnode, &err);
}

static int remove_file(struct filesystem *fs, struct place *place, struct named_file *file)
{
	int r = barrier_begin(&file->dbnode, place->name);

	if (r < 0)
		return r;
	r = remove_name(fs, place, file, 0);
	barrier_end(&file->dbnode, r);
	if (r < 0)
		return r;
	pthread_rwlock_rdlock(&fs->names);
	database_gone(fs, place, &file->dbnode);
	pthread_rwlock_unlock(&fs->names);
	return 0;
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct filesystem *fs = ops_fs(req);
	struct place place CLEANUP_PLACE = { .dir_fd = -1 };
	struct named_file file = { .pin_fd = -1 };
	int r = place_open(fs, parent, name, &place);

	ops_count(OPS_UNLINK);
	if (r == 0)
		r = named_file_find(fs, &place, &file);
	if (r == 0)
		r = find_dbnode(fs, &place, &file);
	if (r == 0) {
		named_file_keep(&place, &file);
		r = remove_file(fs, &place, &file);
	}
	named_file_done(fs, &file);
	ops_reply(req, r > 0 ? -ENOENT : r);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct filesystem *fs = ops_fs(req);
	struct place place CLEANUP_PLACE = { .dir_fd = -1 };
	struct named_file file = { .pin_fd = -1 };
	int r = place_open(fs, parent, name, &place);

	ops_count(OPS_UNLINK);
	if (r == 0)
		r = named_file_find(fs, &place, &file);
	if (r == 0) {
		named_file_keep(&place, &file);
		r = remove_name(fs, &place, &file, AT_REMOVEDIR);
	}
	named_file_done(fs, &file);
	ops_reply(req, r > 0 ? -ENOENT : r);
}

/* Everything a rename deals with. */
struct move {
	struct place from, to;
	struct named_file source, target; /* target.node NULL and st zero: nothing there */
	bool replaces;
	unsigned flags;
};

static int move_names(struct filesystem *fs, struct move *move)
{
	int r = 0;

	pthread_rwlock_wrlock(&fs->nodes.tree);
	if (renameat2(move->from.dir_fd, move->from.name, move->to.dir_fd, move->to.name,
		      move->flags) < 0)
		r = -errno;
	if (r == 0)
		named_file_gone(fs, &move->to, &move->target);
	if (r == 0 && move->source.node != NULL)
		nodes_renamed(&fs->nodes, move->source.node, move->to.parent, move->to.name);
	pthread_rwlock_unlock(&fs->nodes.tree);
	return r;
}

/*
 * A companion that is replaced, or moved away from its database, ends as by
 * unlink. Both may be of one database: then one barrier holds it already.
 */
static int move_in_barriers(struct filesystem *fs, struct move *move)
{
	bool one = move->source.dbnode.db == move->target.dbnode.db &&
		   move->target.dbnode.file != DATABASE_MAIN;
	int r = barrier_begin(&move->target.dbnode, move->to.name);

	if (r < 0)
		return r;
	if (!one)
		r = barrier_begin(&move->source.dbnode, move->from.name);
	if (r < 0) {
		barrier_end(&move->target.dbnode, r);
		return r;
	}
	r = move_names(fs, move);
	if (!one)
		barrier_end(&move->source.dbnode, r);
	barrier_end(&move->target.dbnode, r);
	return r;
}

static int paths_of(struct filesystem *fs, struct move *move, struct buf *from, struct buf *to)
{
	int r = node_child_path(&fs->nodes, move->from.parent, move->from.name, from);

	if (r == 0)
		r = node_child_path(&fs->nodes, move->to.parent, move->to.name, to);
	if (r == 0 && (buf_str(from) == NULL || buf_str(to) == NULL))
		r = -ENOMEM;
	return r;
}

/* The caller holds names exclusively. */
static int move_locked(struct filesystem *fs, struct move *move)
{
	struct buf from CLEANUP_BUF = { 0 };
	struct buf to CLEANUP_BUF = { 0 };
	int r = paths_of(fs, move, &from, &to);

	if (r < 0)
		return r;
	r = move_in_barriers(fs, move);
	if (r == 0 && (S_ISREG(move->source.st.st_mode) || S_ISDIR(move->source.st.st_mode)))
		catalog_renamed(fs->options.catalog, (char *)from.data, (char *)to.data);
	else if (r == 0 && move->replaces)
		database_gone(fs, &move->to, &move->target.dbnode);
	return r;
}

static int move_prepare(struct filesystem *fs, struct move *move)
{
	int r = named_file_find(fs, &move->from, &move->source);

	if (r != 0)
		return r > 0 ? -ENOENT : r;
	r = named_file_find(fs, &move->to, &move->target);
	if (r < 0)
		return r;
	move->replaces = r == 0;
	if (move->replaces && (move->flags & RENAME_NOREPLACE))
		return -EEXIST;
	r = find_dbnode(fs, &move->from, &move->source);
	if (r == 0 && move->replaces)
		r = find_dbnode(fs, &move->to, &move->target);
	return r;
}

/* Two names of one file: rename(2) leaves both. */
static bool same_file(const struct move *move)
{
	return move->replaces && move->source.st.st_ino == move->target.st.st_ino &&
	       move->source.st.st_dev == move->target.st.st_dev;
}

static int move(struct filesystem *fs, struct move *move)
{
	int r = move_prepare(fs, move);

	if (r < 0 || same_file(move))
		return r;
	if (move->replaces)
		named_file_keep(&move->to, &move->target);
	pthread_rwlock_wrlock(&fs->names);
	r = move_locked(fs, move);
	pthread_rwlock_unlock(&fs->names);
	return r;
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
	       const char *new_name, unsigned flags)
{
	struct filesystem *fs = ops_fs(req);
	struct move m = { .flags = flags, .source.pin_fd = -1, .target.pin_fd = -1 };
	int r = 0;

	ops_count(OPS_RENAME);
	if (flags & ~(unsigned)RENAME_NOREPLACE)
		r = -EINVAL;
	if (r == 0)
		r = place_open(fs, parent, name, &m.from);
	if (r == 0)
		r = place_open(fs, new_parent, new_name, &m.to);
	if (r == 0)
		r = move(fs, &m);
	named_file_done(fs, &m.source);
	named_file_done(fs, &m.target);
	place_close(&m.from);
	place_close(&m.to);
	ops_reply(req, r);
}
