/* SPDX-License-Identifier: MIT */
/*
 * Lists of the folder backend, in ascending order of the whole key.
 *
 * A folder is read whole, sorted, and walked in order. Sorting by file name
 * would be wrong: the keys in the folder "a" begin with "a/", and "a-b" and "a.b"
 * sort before "a/x", "a0" behind it. With '/' appended to the names of folders
 * the order of the names is the order of the keys, since no name has a '/'
 * within. What cannot hold a key that is asked for is not opened.
 */
#include "base/clock.h"
#include "base/file.h"
#include "storage/storage_fs_internal.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

/* One list under way. */
struct walk {
	const struct storage_fs *fs;
	const char *prefix;
	const char *after; /* "" = all */
	storage_list_fn *fn;
	void *arg;
	struct error *err;
	struct buf path; /* of the folder being walked, with '/'; "" = the root */
};

/* What a folder holds. */
struct entries {
	struct buf names;   /* terminated names, those of folders with '/' */
	struct buf offsets; /* size_t each: where a name begins; sorted by name */
};

static void walk_done(struct walk *walk)
{
	buf_done(&walk->path);
}

static void entries_done(struct entries *entries)
{
	buf_done(&entries->names);
	buf_done(&entries->offsets);
}

static void close_folder(DIR **dir)
{
	if (*dir != NULL)
		closedir(*dir);
}

static size_t n_entries(const struct entries *entries)
{
	return entries->offsets.len / sizeof(size_t);
}

static const char *entry_name(const struct entries *entries, size_t i)
{
	return (const char *)entries->names.data +
	       ((const size_t *)entries->offsets.data)[i];
}

static int compare_names(const void *a, const void *b, void *names)
{
	return strcmp((const char *)names + *(const size_t *)a,
		      (const char *)names + *(const size_t *)b);
}

static int walk_fail(const struct walk *walk, int code, const char *path)
{
	return storage_fs_fail(walk->fs, code, "list",
			       path[0] != '\0' ? path : "the root", walk->err);
}

/* Puts name behind the path; pop_name() with the length before takes it off. */
static int push_name(struct walk *walk, const char *name)
{
	if (buf_append(&walk->path, name, strlen(name)) < 0 || buf_str(&walk->path) == NULL)
		return walk_fail(walk, ENOMEM, name);
	return 0;
}

static void pop_name(struct walk *walk, size_t path_len)
{
	walk->path.len = path_len;
	walk->path.data[path_len] = '\0';
}

/* Whether path, a key or (with '/' at its end) a folder, can be or hold a key asked for. */
static bool is_wanted(const struct walk *walk, const char *path)
{
	size_t len = strlen(path);
	size_t prefix_len = strlen(walk->prefix);
	bool is_folder = path[len - 1] == '/';
	size_t common = is_folder ? MIN(len, prefix_len) : prefix_len;

	if (strncmp(path, walk->prefix, common) != 0)
		return false;
	if (is_folder)
		return strncmp(path, walk->after, len) >= 0;
	return strcmp(path, walk->after) > 0;
}

static bool is_hidden(const struct walk *walk, const char *name)
{
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return true;
	return walk->path.len == 0 && (strcmp(name, STORAGE_NAME_MARKER) == 0 ||
				       strcmp(name, STORAGE_NAME_TMP) == 0);
}

/* DT_REG, DT_DIR, or something that is neither. */
static unsigned char entry_type(DIR *dir, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type;
	if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return DT_UNKNOWN;
	return IFTODT(st.st_mode);
}

static int add_entry(struct walk *walk, DIR *dir, const struct dirent *entry,
		     struct entries *entries)
{
	unsigned char type = entry_type(dir, entry);
	size_t path_len = walk->path.len;
	size_t at = entries->names.len;
	int r;

	if ((type != DT_REG && type != DT_DIR) || is_hidden(walk, entry->d_name))
		return 0;
	r = buf_printf(&entries->names, "%s%s", entry->d_name, type == DT_DIR ? "/" : "");
	if (r == 0)
		r = buf_append(&entries->names, "", 1);
	if (r < 0)
		return walk_fail(walk, -r, entry->d_name);
	r = push_name(walk, (char *)entries->names.data + at);
	if (r == 0 && !is_wanted(walk, (char *)walk->path.data))
		entries->names.len = at;
	else if (r == 0 && buf_append(&entries->offsets, &at, sizeof(at)) < 0)
		r = walk_fail(walk, ENOMEM, entry->d_name);
	pop_name(walk, path_len);
	return r;
}

/* Reads the names in dir that are wanted, sorted. */
static int read_entries(struct walk *walk, DIR *dir, struct entries *entries)
{
	struct dirent *entry;
	int r = 0;

	while (r == 0) {
		errno = 0;
		entry = readdir(dir);
		if (entry == NULL && errno != 0)
			return walk_fail(walk, errno, (char *)walk->path.data);
		if (entry == NULL)
			break;
		r = add_entry(walk, dir, entry, entries);
	}
	if (n_entries(entries) != 0)
		qsort_r(entries->offsets.data, n_entries(entries),
			sizeof(size_t), compare_names, entries->names.data);
	return r;
}

/*
 * Opens the folder path below dir_fd into *ret; NULL when it is gone, or is the
 * lost+found of a disk, which belongs to root.
 */
static int open_folder(struct walk *walk, int dir_fd, const char *path, DIR **ret)
{
	int fd CLEANUP_FD = storage_fs_folder_open(dir_fd, path);

	*ret = NULL;
	if (fd == -ENOENT || fd == -ENOTDIR)
		return 0;
	if (fd == -EACCES && strcmp((char *)walk->path.data, "lost+found/") == 0)
		return 0;
	if (fd >= 0)
		*ret = fdopendir(fd);
	if (*ret == NULL)
		return walk_fail(walk, fd < 0 ? -fd : errno, path);
	take_fd(&fd);
	return 0;
}

/* Passes on the object that the walk is at. */
static int visit_object(struct walk *walk, int dir_fd, const char *name)
{
	struct storage_object object = { .key = (char *)walk->path.data };
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : walk_fail(walk, errno, object.key);
	object.size = (uint64_t)st.st_size;
	object.modified_us = st.st_mtim.tv_sec * CLOCK_US_PER_S + st.st_mtim.tv_nsec / 1000;
	return walk->fn(walk->arg, &object, walk->err);
}

/* Walks the folder name of dir_fd, which the path says. 1 = fn wants no more. */
static int visit_folder(struct walk *walk, int dir_fd, const char *name)
{
	struct entries entries CLEANUP(entries_done) = { 0 };
	DIR *dir CLEANUP(close_folder) = NULL;
	size_t path_len = walk->path.len;
	int r = open_folder(walk, dir_fd, name, &dir);

	if (r < 0 || dir == NULL)
		return r;
	r = read_entries(walk, dir, &entries);
	for (size_t i = 0; r == 0 && i < n_entries(&entries); i++) {
		const char *entry = entry_name(&entries, i);

		r = push_name(walk, entry);
		if (r < 0)
			break;
		if (entry[strlen(entry) - 1] == '/')
			r = visit_folder(walk, dirfd(dir), entry);
		else
			r = visit_object(walk, dirfd(dir), entry);
		pop_name(walk, path_len);
	}
	return r;
}

/* Makes the walk's path the folder part of prefix: "a/b/" of "a/b/c". */
static int start_walk(struct walk *walk)
{
	const char *slash = strrchr(walk->prefix, '/');
	size_t len = slash == NULL ? 0 : (size_t)(slash + 1 - walk->prefix);

	if (buf_append(&walk->path, walk->prefix, len) < 0 || buf_str(&walk->path) == NULL)
		return walk_fail(walk, ENOMEM, walk->prefix);
	return 0;
}

int storage_fs_list(struct storage *s, const char *prefix, const char *after,
		    storage_list_fn *fn, void *arg, struct error *err)
{
	struct storage_fs *fs = storage_fs_of(s);
	struct walk walk CLEANUP(walk_done) = {
		.fs = fs,
		.prefix = prefix,
		.after = after != NULL ? after : "",
		.fn = fn,
		.arg = arg,
		.err = err,
	};
	int root_fd CLEANUP_FD = storage_fs_root_enter(fs, err);
	int r;

	if (root_fd < 0)
		return root_fd;
	r = start_walk(&walk);
	return r < 0 ? r : visit_folder(&walk, root_fd, (char *)walk.path.data);
}

static int stop_at_first(void *arg, const struct storage_object *object, struct error *err)
{
	return storage_check_key(object->key, NULL) == 0 ? 1 : 0;
}

/* Passes the folder that the walk is at on to fn, if there is an object in it. */
static int offer_folder(struct walk *walk, DIR *dir, const char *name,
			storage_list_fn *fn, void *arg)
{
	size_t path_len = walk->path.len;
	int r = push_name(walk, name);

	if (r == 0)
		r = visit_folder(walk, dirfd(dir), name);
	if (r == 1)
		r = fn(arg, &(struct storage_object){ .key = (char *)walk->path.data },
		       walk->err);
	pop_name(walk, path_len);
	return r;
}

int storage_fs_list_folders(struct storage *s, const char *prefix,
			    storage_list_fn *fn, void *arg, struct error *err)
{
	struct storage_fs *fs = storage_fs_of(s);
	struct walk walk CLEANUP(walk_done) = {
		.fs = fs,
		.prefix = prefix,
		.after = "",
		.fn = stop_at_first,
		.err = err,
	};
	struct entries entries CLEANUP(entries_done) = { 0 };
	int root_fd CLEANUP_FD = storage_fs_root_enter(fs, err);
	DIR *dir CLEANUP(close_folder) = NULL;
	int r;

	if (root_fd < 0)
		return root_fd;
	r = start_walk(&walk);
	if (r == 0)
		r = open_folder(&walk, root_fd, (char *)walk.path.data, &dir);
	if (r < 0 || dir == NULL)
		return r;
	r = read_entries(&walk, dir, &entries);
	for (size_t i = 0; r == 0 && i < n_entries(&entries); i++) {
		const char *name = entry_name(&entries, i);

		if (name[strlen(name) - 1] == '/')
			r = offer_folder(&walk, dir, name, fn, arg);
	}
	return r;
}
