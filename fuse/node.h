/* SPDX-License-Identifier: MIT */
#ifndef FUSE_NODE_H
#define FUSE_NODE_H

#include "base/buf.h"
#include "base/error.h"
#include "fuse/session.h"
#include "replicate/database.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/*
 * Nodes: what the kernel has looked up. One node stands for one backing inode
 * and is reached by name, through the nodes of its folders, so that no
 * descriptor is held for it. Only a node whose last known name was taken away
 * while the kernel still knows it is pinned by an O_PATH descriptor, which also
 * keeps the backing file system from giving its inode number to another file.
 *
 * A file with several hard links has one node and one of its names, the one seen
 * last; when just that is taken away the node is pinned.
 *
 * Invariants: 1. A node exists while n_lookups, n_children or n_open is not 0.
 * 2. It has a parent or a pin, except the root, virtual nodes and those whose
 * pin could not be had (ESTALE). 3. Its place in the hash of inodes is free for
 * another only when it is gone. 4. pin_fd is set once.
 *
 * Locks: tree is held shared while a path is built and opened and while a name is
 * removed, exclusively while a rename happens; node_open() waits for a removal that is
 * under way before it says ESTALE. mutex guards all slots, counts, names and the hash; it is
 * taken last and held for no system call. The pointer of a node stays valid for
 * as long as the kernel may send requests on it.
 */

/* What a node is; in the table, for a successor. */
enum node_role {
	NODE_ORDINARY,
	NODE_VIRTUAL, /* below .replitedfs: no backing file */
	NODE_DATABASE, /* a database or one of its companions, see node_database() */
};

struct handle;

struct node {
	uint64_t id;
	struct session_node *slot;
	struct node *inode_next;
	bool is_virtual;	  /* its role, which does not change */
	atomic_int pin_fd;

	/*
	 * Serialises opens, releases and the choice of a road; held while these
	 * block. Order: a companion's before its database's.
	 */
	pthread_mutex_t open_mutex;
	struct handle *handles;	  /* open_mutex */
	bool cache_valid;	  /* open_mutex: what the kernel cached is what is there */
	struct timespec cache_mtime; /* open_mutex: mtime and size at the last release */
	off_t cache_size;
	uint32_t n_mapped;	  /* open_mutex: handles that could write by mmap unseen */
	atomic_bool is_database;  /* db != NULL */
	atomic_bool mapped_now;	  /* n_mapped > 0 */
	atomic_bool mapped_once;  /* n_mapped was > 0 one day */
	atomic_uint capability_sets; /* counts both ends of each setting of one */
	atomic_uint no_capability_at; /* there was none when that was one less; 0: not known */

	struct database *db;	  /* the table's mutex; a reference */
	enum database_file file;  /* which of db's files */
};

struct nodes {
	struct session *session;
	int root_fd;
	struct stat root;	/* of the backing folder */
	uint64_t root_mnt_id;
	pthread_rwlock_t tree;
	pthread_mutex_t mutex;
	struct node **by_id;	/* SESSION_N_NODES_MAX, sparse */
	struct node **buckets;
	size_t n_buckets, n_nodes;
};

/* Sets up the root. root_fd must outlive nodes. 0 or -errno. */
int nodes_init(struct nodes *nodes, struct session *session, int root_fd,
	       struct error *err) MUST_CHECK;
void nodes_done(struct nodes *nodes);

/* The node of that id; NULL when there is none. Lock-free. */
struct node *nodes_get(struct nodes *nodes, uint64_t id);

/*
 * The node of the backing file st, new or known, under the name it was just
 * found by, with one more lookup. 0 or -ENOMEM.
 */
int nodes_look_up(struct nodes *nodes, struct node *parent, const char *name,
		  const struct stat *st, struct node **ret_node) MUST_CHECK;

/* A node without a backing file, of a number of its own, with one more lookup. 0 or -ENOMEM. */
int nodes_look_up_virtual(struct nodes *nodes, struct node *parent, const char *name,
			  uint64_t ino, mode_t mode, struct node **ret_node) MUST_CHECK;

/* The kernel forgets n lookups of node id. */
void nodes_forget(struct nodes *nodes, uint64_t id, uint64_t n);

/* Finds the node of a backing inode and counts a use of it, or NULL. */
struct node *nodes_find(struct nodes *nodes, const struct stat *st);
void nodes_unuse(struct nodes *nodes, struct node *node); /* NULL is fine */

/*
 * Pins node by fd, an O_PATH descriptor of its file, which it takes over (or
 * closes if there is a pin). To be called when its name has been taken away, before
 * nodes_unnamed(), with tree held since before that.
 */
void node_pin(struct node *node, int fd);

/* The name parent/name is gone: node loses it if that is the one it has. */
void nodes_unnamed(struct nodes *nodes, struct node *node, struct node *parent, const char *name);

/* node is called parent/name now. The caller holds tree exclusively. */
void nodes_renamed(struct nodes *nodes, struct node *node, struct node *parent, const char *name);

/*
 * Appends the path of node, relative to the backing folder, to out; nothing for
 * the root. 0, -ESTALE when it has no name, -ENOMEM.
 */
int node_path(struct nodes *nodes, struct node *node, struct buf *out) MUST_CHECK;

/* The same for the name in the folder parent. */
int node_child_path(struct nodes *nodes, struct node *parent, const char *name,
		    struct buf *out) MUST_CHECK;

/*
 * Opens the backing file of node with flags (O_NOFOLLOW is added) and checks
 * that it is the one. A descriptor, or -errno: -ESTALE when it is not there.
 */
int node_open(struct nodes *nodes, struct node *node, int flags) MUST_CHECK;

/* Reads attributes of the backing file by name. 0, -ESTALE, -errno. */
int node_stat(struct nodes *nodes, struct node *node, struct stat *ret_st) MUST_CHECK;

/*
 * statx of name in the folder dir_fd ("": dir_fd itself), no symlink followed.
 * 0; -EXDEV when something else is mounted there; -errno.
 */
int nodes_stat_at(struct nodes *nodes, int dir_fd, const char *name,
		  struct stat *ret_st) MUST_CHECK;

/* The database that node belongs to, with a reference, and as which file; or NULL. */
struct database *node_database(struct nodes *nodes, struct node *node,
			       enum database_file *ret_file);

/* Sets (with a reference of its own) or clears the database of node. */
void node_set_database(struct nodes *nodes, struct node *node, struct database *db,
		       enum database_file file);

/* The number to show as st_ino: the backing one, made unique across subvolumes. */
uint64_t nodes_ino(const struct nodes *nodes, const struct stat *st);

#endif
