/* SPDX-License-Identifier: MIT */
#include "fuse/dbnode.h"

#include "base/file.h"
#include "base/log.h"
#include "replicate/companion.h"
#include "replicate/page.h"

#include <errno.h>
#include <string.h>

void dbnode_done(struct dbnode *dbnode)
{
	database_unref(dbnode->db);
	dbnode->db = NULL;
}

/* A name in the folder dir_fd, whose path below the mount is path. */
struct sought {
	struct filesystem *fs;
	int dir_fd;
	const char *name;
	const char *path;
	bool adopt; /* as a -wal or -journal it makes its base a database */
};

/* A database found by one of its companions. */
struct found_base {
	struct database *db;
	struct stat st; /* of its file, if it was added for this companion */
	bool added;
	bool is_new; /* begin() is to follow */
};

/*
 * Whether the companion has other names too, as none has that SQLite has just made: its
 * node, which may be locked, could be that of its own base, or of a base that is waiting
 * for it.
 */
static bool has_other_names(const struct sought *sought)
{
	struct stat st;

	return nodes_stat_at(&sought->fs->nodes, sought->dir_fd, sought->name, &st) == 0 &&
	       st.st_nlink > 1;
}

/* Whether the file next to the companion name is a regular one: its node, if known. */
static bool base_is_regular(const struct sought *sought, size_t cut, struct stat *ret_st)
{
	char *base CLEANUP_FREE = strndup(sought->name, strlen(sought->name) - cut);

	return base != NULL && base[0] != '\0' &&
	       nodes_stat_at(&sought->fs->nodes, sought->dir_fd, base, ret_st) == 0 &&
	       S_ISREG(ret_st->st_mode);
}

/*
 * Tells the engine of the handles that were opened before base was a database, or as
 * another one's file, by another of its names. Where may_wait is not set a base that
 * is being opened goes without, see has_other_names().
 */
static void attach_base(struct filesystem *fs, const struct stat *st, struct database *db,
			bool may_wait)
{
	struct dbnode dbnode = { .db = db, .file = DATABASE_MAIN };
	struct node *node = nodes_find(&fs->nodes, st);
	bool locked;

	if (node == NULL)
		return;
	locked = (may_wait ? pthread_mutex_lock(&node->open_mutex) :
			     pthread_mutex_trylock(&node->open_mutex)) == 0;
	if (locked && node->handles != NULL)
		dbnode_attach(fs, node, &dbnode);
	if (locked)
		pthread_mutex_unlock(&node->open_mutex);
	nodes_unuse(&fs->nodes, node);
}

/*
 * Captures a new database without names, for which renames would wait. One that is
 * being renamed just then is looked for again when that is done.
 */
static int begin(struct filesystem *fs, struct database *db, struct error *err)
{
	int r = catalog_begin(fs->options.catalog, db, false, err);

	if (r != -ENOENT)
		return r;
	error_done(err);
	pthread_rwlock_rdlock(&fs->names);
	pthread_rwlock_unlock(&fs->names);
	return catalog_begin(fs->options.catalog, db, true, err);
}

/*
 * What is sought is a companion of the file path[0 … base_len): its database, found or
 * added, or none. The caller holds names, and calls begin() without if it is new.
 */
static int find_base(const struct sought *sought, size_t base_len, bool adopt,
		     struct found_base *ret_base, struct error *err)
{
	struct catalog *catalog = sought->fs->options.catalog;
	char *base CLEANUP_FREE = strndup(sought->path, base_len);
	int r;

	if (base == NULL)
		return error_set(err, ENOMEM, "out of memory");
	ret_base->db = catalog_find(catalog, base);
	if (ret_base->db != NULL || !adopt || has_other_names(sought) ||
	    !base_is_regular(sought, strlen(sought->path) - base_len, &ret_base->st))
		return 0;
	r = catalog_add(catalog, base, &ret_base->is_new, &ret_base->db, err);
	ret_base->added = r == 0;
	return r < 0 ? error_wrap(err, "%s", base) : 0;
}

/* The database that has the file sought, whichever of its files that is; names is held. */
static int find_database(const struct sought *sought, struct dbnode *ret_dbnode,
			 struct found_base *ret_base, struct error *err)
{
	enum database_file file;
	size_t len;
	int r = 0;

	if (companion_parse(sought->path, &file, &len))
		r = find_base(sought, len,
			      sought->adopt && (file == DATABASE_WAL || file == DATABASE_JOURNAL),
			      ret_base, err);
	ret_dbnode->db = ret_base->db;
	if (ret_dbnode->db != NULL)
		ret_dbnode->file = file;
	else if (r == 0)
		ret_dbnode->db = catalog_find(sought->fs->options.catalog, sought->path);
	return r;
}

/*
 * SQLite opens a -wal or -journal of what it has open. Where the engine does not know
 * that, the file was opened before it was a database: the name was another's, whose file
 * was gone, and was found out to be one only then. Or somebody else opened it first, by
 * another name.
 */
static bool is_unattached(const struct sought *sought, const struct dbnode *dbnode,
			  struct stat *ret_st)
{
	if (dbnode->db == NULL || !sought->adopt ||
	    (dbnode->file != DATABASE_WAL && dbnode->file != DATABASE_JOURNAL))
		return false;
	return !database_is_open(dbnode->db, DATABASE_MAIN) &&
	       base_is_regular(sought, strlen(companion_suffix(dbnode->file)), ret_st);
}

/* What follows when names is not held any more. */
static int take_base(const struct sought *sought, struct found_base *base,
		     struct dbnode *dbnode, struct error *err)
{
	struct filesystem *fs = sought->fs;
	int r = base->is_new ? begin(fs, base->db, err) : 0;

	if (r < 0)
		dbnode_done(dbnode);
	else if (base->added || is_unattached(sought, dbnode, &base->st))
		attach_base(fs, &base->st, dbnode->db, !has_other_names(sought));
	if (r != -ENOENT)
		return r;
	error_done(err); /* it was removed meanwhile */
	return 0;
}

int dbnode_of_name(struct filesystem *fs, struct node *parent, int dir_fd, const char *name,
		   bool adopt, struct dbnode *ret_dbnode, struct error *err)
{
	struct sought sought = { .fs = fs, .dir_fd = dir_fd, .name = name, .adopt = adopt };
	struct buf path CLEANUP_BUF = { 0 };
	struct found_base base = { .db = NULL };
	int r;

	*ret_dbnode = (struct dbnode){ .file = DATABASE_MAIN };
	pthread_rwlock_rdlock(&fs->names);
	r = node_child_path(&fs->nodes, parent, name, &path);
	sought.path = r == 0 ? buf_str(&path) : NULL;
	if (r == 0 && sought.path == NULL)
		r = -ENOMEM;
	if (r < 0) {
		pthread_rwlock_unlock(&fs->names);
		return r == -ESTALE ? 0 : error_set_errno(err, -r, "no path to %s", name);
	}
	r = find_database(&sought, ret_dbnode, &base, err);
	pthread_rwlock_unlock(&fs->names);
	return r == 0 ? take_base(&sought, &base, ret_dbnode, err) : r;
}

/* The name of node and the folder it is in, with a use of that, or NULL. */
static struct node *parent_of(struct filesystem *fs, struct node *node, char *ret_name)
{
	struct node *parent;

	pthread_mutex_lock(&fs->nodes.mutex);
	parent = nodes_get(&fs->nodes, node->slot->parent);
	if (parent != NULL) {
		parent->slot->n_lookups++;
		memcpy(ret_name, node->slot->name, (size_t)node->slot->name_len + 1);
	}
	pthread_mutex_unlock(&fs->nodes.mutex);
	return parent;
}

int dbnode_of_node(struct filesystem *fs, struct node *node, bool adopt,
		   struct dbnode *ret_dbnode, struct error *err)
{
	char name[SESSION_NAME_MAX + 1];
	struct node *parent;
	int dir_fd CLEANUP_FD = -1;
	int r = 0;

	*ret_dbnode = (struct dbnode){ .db = NULL };
	if (node->slot->type != S_IFREG || node->is_virtual)
		return 0;
	ret_dbnode->db = node_database(&fs->nodes, node, &ret_dbnode->file);
	if (ret_dbnode->db != NULL)
		return 0;
	parent = parent_of(fs, node, name);
	if (parent == NULL)
		return 0;
	if (adopt)
		dir_fd = node_open(&fs->nodes, parent, O_PATH | O_DIRECTORY);
	r = dbnode_of_name(fs, parent, dir_fd, name, adopt && dir_fd >= 0, ret_dbnode, err);
	nodes_unuse(&fs->nodes, parent);
	return r;
}

int dbnode_opening(struct filesystem *fs, const struct dbnode *dbnode, bool create, bool writable,
		   enum road road, struct error *err)
{
	unsigned flags = create ? DATABASE_OPEN_CREATE : 0;
	int r;

	if (dbnode->file != DATABASE_SHM || road == ROAD_PASSTHROUGH)
		flags |= DATABASE_OPEN_VISIBLE;
	if (road != ROAD_PASSTHROUGH)
		flags |= DATABASE_OPEN_TOLD;
	if (writable)
		flags |= DATABASE_OPEN_WRITABLE;

	if (dbnode->db == NULL)
		return 0;
	r = bypass_hold(&fs->bypass, dbnode->db, err);
	if (r < 0)
		return r;
	r = database_opening(dbnode->db, dbnode->file, flags, err);
	if (r < 0)
		bypass_drop(&fs->bypass, dbnode->db);
	return r;
}

void dbnode_released(struct filesystem *fs, const struct dbnode *dbnode)
{
	if (dbnode->db == NULL)
		return;
	database_released(dbnode->db, dbnode->file);
	bypass_drop(&fs->bypass, dbnode->db);
}

/* Lets go of those that were opened as another database's: that holds the same file. */
static void detach_others(struct filesystem *fs, struct node *node, const struct database *db)
{
	for (struct handle *handle = node->handles; handle != NULL; handle = handle->next) {
		struct dbnode other CLEANUP_DBNODE = { .db = NULL };

		if (handle->db == NULL || handle->db == db)
			continue;
		other.db = handle_database(&fs->handles, handle, &other.file);
		handle_set_database(&fs->handles, handle, NULL, DATABASE_MAIN);
		dbnode_released(fs, &other);
	}
}

void dbnode_attach(struct filesystem *fs, struct node *node, const struct dbnode *dbnode)
{
	detach_others(fs, node, dbnode->db);
	for (struct handle *handle = node->handles; handle != NULL; handle = handle->next) {
		struct error err CLEANUP_ERROR = ERROR_INIT;

		if (handle->db != NULL)
			continue;
		if (dbnode_opening(fs, dbnode, false, handle->writable,
				   (enum road)node->slot->road, &err) < 0)
			log_error("a file that is open is not captured: %s", error_what(&err));
		else
			handle_set_database(&fs->handles, handle, dbnode->db, dbnode->file);
	}
	node_set_database(&fs->nodes, node, dbnode->db, dbnode->file);
	node->mapped_once = false;
}

static bool begins_like_a_database(struct filesystem *fs, struct node *node, int fd)
{
	int own CLEANUP_FD = -1;
	char head[PAGE_MAGIC_LEN];

	if (file_pread(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head)) {
		own = node_open(&fs->nodes, node, O_RDONLY | O_NONBLOCK);
		if (own < 0 || file_pread(own, head, sizeof(head), 0) != (ssize_t)sizeof(head))
			return false;
	}
	return memcmp(head, PAGE_MAGIC, PAGE_MAGIC_LEN) == 0;
}

void dbnode_written(struct filesystem *fs, struct node *node, int fd)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct dbnode dbnode CLEANUP_DBNODE = { .file = DATABASE_MAIN };
	struct buf path CLEANUP_BUF = { 0 };
	bool is_new = false;
	const char *text;
	int r;

	if (!begins_like_a_database(fs, node, fd))
		return;
	pthread_rwlock_rdlock(&fs->names);
	r = node_path(&fs->nodes, node, &path);
	text = r == 0 ? buf_str(&path) : NULL;
	if (text != NULL)
		r = catalog_add(fs->options.catalog, text, &is_new, &dbnode.db, &err);
	pthread_rwlock_unlock(&fs->names);
	if (r == 0 && is_new)
		r = begin(fs, dbnode.db, &err);
	/* Whoever wrote it may have unlinked it already. */
	if (text != NULL && r < 0 && r != -ENOENT)
		log_error("a database is not captured name=%s: %s", text, error_what(&err));
	if (r == 0 && dbnode.db != NULL)
		dbnode_attach(fs, node, &dbnode);
}

void dbnode_removed(struct filesystem *fs, struct node *parent, const char *name)
{
	struct buf path CLEANUP_BUF = { 0 };

	if (node_child_path(&fs->nodes, parent, name, &path) == 0 && buf_str(&path) != NULL)
		catalog_removed(fs->options.catalog, (char *)path.data);
}
