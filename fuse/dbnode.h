/* SPDX-License-Identifier: MIT */
#ifndef FUSE_DBNODE_H
#define FUSE_DBNODE_H

#include "fuse/filesystem_internal.h"

/*
 * Which file of which database a file on the mount is, and what the engine is
 * told about it.
 */
struct dbnode {
	struct database *db; /* a reference; NULL: an ordinary file */
	enum database_file file;
};
#define CLEANUP_DBNODE CLEANUP(dbnode_done)

void dbnode_done(struct dbnode *dbnode);

/*
 * What the file called name in the folder parent (dir_fd) is, by its name. With
 * adopt, the regular file whose -wal or -journal it is becomes a database. May
 * block to hash that. 0 or -errno with the reason.
 */
int dbnode_of_name(struct filesystem *fs, struct node *parent, int dir_fd, const char *name,
		   bool adopt, struct dbnode *ret_dbnode, struct error *err) MUST_CHECK;

/*
 * What node is: as it was opened, else by its name. The same results; the
 * caller of a node that is being opened holds its open_mutex.
 */
int dbnode_of_node(struct filesystem *fs, struct node *node, bool adopt,
		   struct dbnode *ret_dbnode, struct error *err) MUST_CHECK;

/*
 * Before and after an open of dbnode: takes the bypass lock and announces it.
 * Does nothing for an ordinary file. 0, or -errno with the reason.
 */
int dbnode_opening(struct filesystem *fs, const struct dbnode *dbnode, bool create, bool writable,
		   enum road road, struct error *err) MUST_CHECK;
void dbnode_released(struct filesystem *fs, const struct dbnode *dbnode);

/*
 * node, which is open, is a database's file from now on: announces the handles
 * that are not, and those that were announced as another's. The caller holds
 * open_mutex. What cannot be announced is logged.
 */
void dbnode_attach(struct filesystem *fs, struct node *node, const struct dbnode *dbnode);

/*
 * The last writer of the ordinary file node is about to be released: makes it a
 * database when its content begins like one. The caller holds open_mutex.
 */
void dbnode_written(struct filesystem *fs, struct node *node, int fd);

/*
 * The file called name in the folder parent is no more: nor is the database that
 * it was, if it was one. The caller holds names.
 */
void dbnode_removed(struct filesystem *fs, struct node *parent, const char *name);

#endif
