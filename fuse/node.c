/* SPDX-License-Identifier: MIT */
#include "fuse/node.h"

#include "base/log.h"
#include "base/thread.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define N_BUCKETS_START 1024u

static size_t bucket_of(const struct nodes *nodes, uint64_t dev, uint64_t ino)
{
	uint64_t x = (ino ^ (dev << 32 | dev >> 32)) * 0x9e3779b97f4a7c15ull;

	return (size_t)(x >> 32) & (nodes->n_buckets - 1);
}

static struct node *find_inode(struct nodes *nodes, uint64_t dev, uint64_t ino)
{
	struct node *node = nodes->buckets[bucket_of(nodes, dev, ino)];

	while (node != NULL && (node->slot->ino != ino || node->slot->dev != dev))
		node = node->inode_next;
	return node;
}

static void hash_insert(struct nodes *nodes, struct node *node)
{
	size_t i = bucket_of(nodes, node->slot->dev, node->slot->ino);

	node->inode_next = nodes->buckets[i];
	nodes->buckets[i] = node;
	nodes->n_nodes++;
}

static void hash_remove(struct nodes *nodes, struct node *node)
{
	struct node **at = &nodes->buckets[bucket_of(nodes, node->slot->dev, node->slot->ino)];

	while (*at != node)
		at = &(*at)->inode_next;
	*at = node->inode_next;
	nodes->n_nodes--;
}

/* Chains stay short; when there is no memory they grow longer instead. */
static void hash_grow(struct nodes *nodes)
{
	size_t n_old = nodes->n_buckets;
	struct node **old = nodes->buckets;
	struct node **buckets;

	if (nodes->n_nodes < n_old)
		return;
	buckets = calloc(n_old * 2, sizeof(*buckets));
	if (buckets == NULL)
		return;
	nodes->buckets = buckets;
	nodes->n_buckets = n_old * 2;
	nodes->n_nodes = 0;
	for (size_t i = 0; i < n_old; i++) {
		struct node *next;

		for (struct node *node = old[i]; node != NULL; node = next) {
			next = node->inode_next;
			hash_insert(nodes, node);
		}
	}
	free(old);
}

static struct node *node_new(struct nodes *nodes, uint64_t dev, uint64_t ino, mode_t mode)
{
	struct node *node = calloc(1, sizeof(*node));
	uint64_t id;

	if (node == NULL)
		return NULL;
	id = session_node_take(nodes->session);
	if (id == 0) {
		free(node);
		return NULL;
	}
	node->id = id;
	node->slot = session_node_get(nodes->session, id);
	node->slot->dev = dev;
	node->slot->ino = ino;
	node->slot->type = (uint16_t)(mode & S_IFMT);
	node->pin_fd = -1;
	pthread_mutex_init(&node->open_mutex, NULL);
	hash_insert(nodes, node);
	hash_grow(nodes);
	__atomic_store_n(&nodes->by_id[id - 1], node, __ATOMIC_RELEASE);
	return node;
}

static void node_free(struct node *node)
{
	if (node->pin_fd >= 0)
		close(node->pin_fd);
	database_unref(node->db);
	pthread_mutex_destroy(&node->open_mutex);
	free(node);
}

/* The nodes that fell out of use, chained by inode_next. */
static void free_dropped(struct node **dropped)
{
	while (*dropped != NULL) {
		struct node *node = *dropped;

		*dropped = node->inode_next;
		node_free(node);
	}
}

/*
 * Takes node out of the table if nothing needs it, then the folders that only it
 * needed. They are freed without the mutex: a pin is the last descriptor of a file
 * that was unlinked, which its file system removes at the close.
 */
static void drop_if_unused(struct nodes *nodes, struct node *node, struct node **dropped)
{
	while (node->id != SESSION_ROOT && node->slot->n_lookups == 0 &&
	       node->slot->n_children == 0 && node->slot->n_open == 0) {
		struct node *parent = nodes_get(nodes, node->slot->parent);

		hash_remove(nodes, node);
		__atomic_store_n(&nodes->by_id[node->id - 1], NULL, __ATOMIC_RELEASE);
		session_node_give(nodes->session, node->id);
		node->inode_next = *dropped;
		*dropped = node;
		if (parent == NULL)
			return;
		parent->slot->n_children--;
		node = parent;
	}
}

/* Gives node another name, or with parent NULL none. */
static void set_name(struct nodes *nodes, struct node *node, struct node *parent, const char *name,
		     struct node **dropped)
{
	struct session_node *slot = node->slot;
	struct node *before = nodes_get(nodes, slot->parent);

	if (parent != NULL) {
		parent->slot->n_children++;
		slot->name_len = (uint8_t)strlen(name);
		memcpy(slot->name, name, (size_t)slot->name_len + 1);
	}
	slot->parent = parent != NULL ? parent->id : 0;
	if (before != NULL) {
		before->slot->n_children--;
		drop_if_unused(nodes, before, dropped);
	}
}

static bool has_name(const struct node *node, const struct node *parent, const char *name)
{
	return node->slot->parent == parent->id && strcmp(node->slot->name, name) == 0;
}

static int add_root(struct nodes *nodes, struct error *err)
{
	struct node *root;

	if (nodes_stat_at(nodes, nodes->root_fd, "", &nodes->root) < 0)
		return error_set_errno(err, errno, "cannot stat the backing folder");
	root = node_new(nodes, nodes->root.st_dev, nodes->root.st_ino, nodes->root.st_mode);
	if (root == NULL)
		return error_set(err, ENOMEM, "out of memory for the nodes");
	root->slot->n_lookups = 1;
	return 0;
}

int nodes_init(struct nodes *nodes, struct session *session, int root_fd, struct error *err)
{
	int r;

	memset(nodes, 0, sizeof(*nodes));
	nodes->session = session;
	nodes->root_fd = root_fd;
	pthread_rwlock_init(&nodes->tree, NULL);
	pthread_mutex_init(&nodes->mutex, NULL);
	nodes->n_buckets = N_BUCKETS_START;
	nodes->buckets = calloc(nodes->n_buckets, sizeof(*nodes->buckets));
	nodes->by_id = mmap(NULL, sizeof(*nodes->by_id) * SESSION_N_NODES_MAX,
			    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			    -1, 0);
	if (nodes->by_id == MAP_FAILED)
		nodes->by_id = NULL;
	if (nodes->buckets == NULL || nodes->by_id == NULL)
		r = error_set(err, ENOMEM, "out of memory for the nodes");
	else
		r = add_root(nodes, err);
	if (r < 0)
		nodes_done(nodes);
	return r;
}

void nodes_done(struct nodes *nodes)
{
	for (size_t i = 0; nodes->buckets != NULL && i < nodes->n_buckets; i++) {
		struct node *next;

		for (struct node *node = nodes->buckets[i]; node != NULL; node = next) {
			next = node->inode_next;
			node_free(node);
		}
	}
	free(nodes->buckets);
	if (nodes->by_id != NULL)
		munmap(nodes->by_id, sizeof(*nodes->by_id) * SESSION_N_NODES_MAX);
	pthread_rwlock_destroy(&nodes->tree);
	pthread_mutex_destroy(&nodes->mutex);
	memset(nodes, 0, sizeof(*nodes));
}

struct node *nodes_get(struct nodes *nodes, uint64_t id)
{
	if (id == 0 || id > SESSION_N_NODES_MAX)
		return NULL;
	return __atomic_load_n(&nodes->by_id[id - 1], __ATOMIC_ACQUIRE);
}

/*
 * A node of that inode but of another type, or without a name and a pin, is of a
 * file that went away behind our back, or that could not be pinned: it no longer
 * stands for the inode. It stays in the hash, under a number that no file has.
 */
static void disown(struct nodes *nodes, struct node *node, struct node **dropped)
{
	log_warn("a file was replaced behind the mount node=%llu ino=%llu",
		 (unsigned long long)node->id, (unsigned long long)node->slot->ino);
	hash_remove(nodes, node);
	node->slot->dev = UINT64_MAX;
	node->slot->ino = node->id;
	hash_insert(nodes, node);
	set_name(nodes, node, NULL, NULL, dropped);
}

static bool stands_for(const struct node *node, const struct stat *st)
{
	return node->slot->type == (st->st_mode & S_IFMT) &&
	       (node->slot->parent != 0 || node->pin_fd >= 0 || node->id == SESSION_ROOT);
}

int nodes_look_up(struct nodes *nodes, struct node *parent, const char *name,
		  const struct stat *st, struct node **ret_node)
{
	struct node *dropped CLEANUP(free_dropped) = NULL;
	LOCK_SCOPE(&nodes->mutex);
	struct node *node = find_inode(nodes, st->st_dev, st->st_ino);

	if (node != NULL && !stands_for(node, st)) {
		disown(nodes, node, &dropped);
		node = NULL;
	}
	if (node == NULL)
		node = node_new(nodes, st->st_dev, st->st_ino, st->st_mode);
	if (node == NULL)
		return -ENOMEM;
	node->slot->n_lookups++;
	if (node->id != SESSION_ROOT && !has_name(node, parent, name))
		set_name(nodes, node, parent, name, &dropped);
	*ret_node = node;
	return 0;
}

int nodes_look_up_virtual(struct nodes *nodes, struct node *parent, const char *name,
			  uint64_t ino, mode_t mode, struct node **ret_node)
{
	struct node *dropped CLEANUP(free_dropped) = NULL;
	LOCK_SCOPE(&nodes->mutex);
	struct node *node = find_inode(nodes, 0, ino);

	if (node == NULL) {
		node = node_new(nodes, 0, ino, mode);
		if (node == NULL)
			return -ENOMEM;
		node->slot->role = NODE_VIRTUAL;
		node->is_virtual = true;
		set_name(nodes, node, parent, name, &dropped);
	}
	node->slot->n_lookups++;
	*ret_node = node;
	return 0;
}

void nodes_forget(struct nodes *nodes, uint64_t id, uint64_t n)
{
	struct node *dropped CLEANUP(free_dropped) = NULL;
	LOCK_SCOPE(&nodes->mutex);
	struct node *node = nodes_get(nodes, id);

	if (node == NULL || id == SESSION_ROOT)
		return;
	node->slot->n_lookups -= MIN(n, node->slot->n_lookups);
	drop_if_unused(nodes, node, &dropped);
}

struct node *nodes_find(struct nodes *nodes, const struct stat *st)
{
	LOCK_SCOPE(&nodes->mutex);
	struct node *node = find_inode(nodes, st->st_dev, st->st_ino);

	if (node == NULL || !stands_for(node, st))
		return NULL;
	node->slot->n_lookups++;
	return node;
}

void nodes_unuse(struct nodes *nodes, struct node *node)
{
	if (node != NULL)
		nodes_forget(nodes, node->id, 1);
}

void node_pin(struct node *node, int fd)
{
	int none = -1;

	if (fd >= 0 && !atomic_compare_exchange_strong(&node->pin_fd, &none, fd))
		close(fd);
}

void nodes_unnamed(struct nodes *nodes, struct node *node, struct node *parent, const char *name)
{
	struct node *dropped CLEANUP(free_dropped) = NULL;
	LOCK_SCOPE(&nodes->mutex);

	if (has_name(node, parent, name))
		set_name(nodes, node, NULL, NULL, &dropped);
}

void nodes_renamed(struct nodes *nodes, struct node *node, struct node *parent, const char *name)
{
	struct node *dropped CLEANUP(free_dropped) = NULL;
	LOCK_SCOPE(&nodes->mutex);

	if (!has_name(node, parent, name))
		set_name(nodes, node, parent, name, &dropped);
}

struct database *node_database(struct nodes *nodes, struct node *node,
			       enum database_file *ret_file)
{
	LOCK_SCOPE(&nodes->mutex);

	*ret_file = node->file;
	return node->db != NULL ? database_ref(node->db) : NULL;
}

void node_set_database(struct nodes *nodes, struct node *node, struct database *db,
		       enum database_file file)
{
	struct database *before;

	if (db != NULL)
		database_ref(db);
	pthread_mutex_lock(&nodes->mutex);
	before = node->db;
	node->db = db;
	node->file = file;
	node->slot->role = db != NULL ? NODE_DATABASE : NODE_ORDINARY;
	node->is_database = db != NULL;
	pthread_mutex_unlock(&nodes->mutex);
	database_unref(before);
}

uint64_t nodes_ino(const struct nodes *nodes, const struct stat *st)
{
	if (st->st_dev == nodes->root.st_dev)
		return st->st_ino;
	return st->st_ino ^ st->st_dev * 0x9e3779b97f4a7c15ull;
}
