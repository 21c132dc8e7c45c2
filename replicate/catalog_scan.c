/* SPDX-License-Identifier: MIT */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/file.h"
#include "replicate/catalog_internal.h"
#include "replicate/companion.h"
#include "replicate/envelope.h"
#include "replicate/layout.h"
#include "replicate/page.h"
#include "replicate/wal.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>

/* The state folder's list of databases, and the walk through the backing folder. */

#define INFO_KIND "database"
#define INFO_VERSION 1u
#define INFO_MAX (64u << 10)
#define DEPTH_MAX 64 /* of folders below the backing folder; each takes a descriptor */

static void close_dir(DIR **dir)
{
	if (*dir != NULL)
		closedir(*dir);
}

static DIR *open_dir(int dir_fd, const char *path)
{
	int fd = file_open_beneath(dir_fd, path, O_RDONLY | O_DIRECTORY, 0);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (fd < 0)
		errno = -fd;
	else if (dir == NULL)
		close(fd);
	return dir;
}

int catalog_write_info(struct catalog *catalog, const struct id *id, const char *name, bool ended,
		       struct error *err)
{
	struct buf text CLEANUP_BUF = { 0 };
	char hex[ID_HEX_LEN + 1];
	char path[ID_HEX_LEN + 16];
	json_t *json = json_pack("{s:o, s:o, s:o, s:b}", "id", json_id(id), "node",
				 json_id(&catalog->options.node_id), "name", json_name(name),
				 "ended", ended);
	int r = envelope_write(INFO_KIND, INFO_VERSION, json, &text, err);

	if (r < 0)
		return r;
	id_format(id, hex);
	snprintf(path, sizeof(path), "db/%s", hex);
	r = file_make_dir(catalog->options.state_fd, path, 0700, err);
	snprintf(path, sizeof(path), "db/%s/info", hex);
	if (r == 0)
		r = file_replace(catalog->options.state_fd, path, text.data, text.len, 0600, err);
	return r;
}

static int read_info(int state_fd, const char *hex, char **ret_name, bool *ret_ended,
		     struct error *err)
{
	struct buf text CLEANUP_BUF = { 0 };
	CLEANUP_JSON json_t *json = NULL;
	const char *bad = NULL;
	struct fields fields;
	char *path CLEANUP_FREE = NULL;
	int r;

	if (asprintf(&path, "db/%s/info", hex) < 0) {
		path = NULL;
		return error_set(err, ENOMEM, "out of memory");
	}
	r = file_read_all(state_fd, path, INFO_MAX, &text, err);
	if (r < 0)
		return r;
	r = envelope_read(INFO_KIND, INFO_VERSION, text.data, text.len, &json, err);
	if (r == -EBADMSG)
		error_fix(err, "put %s back from a copy, or move that folder away: its %s", path,
			  "database is whole, only its history begins anew");
	if (r < 0)
		return error_wrap(err, "the state folder's %s", path);
	fields = (struct fields){ json, &bad };
	*ret_name = fields_name(&fields, "name");
	*ret_ended = fields_bool(&fields, "ended");
	if (bad != NULL || *ret_name == NULL)
		return error_set(err, EBADMSG, "%s: bad field '%s'", path, bad ? bad : "name");
	return 0;
}

int64_t catalog_info_time(int state_fd, const struct id *id)
{
	char hex[ID_HEX_LEN + 1];
	char path[ID_HEX_LEN + 16];
	struct stat st;

	id_format(id, hex);
	snprintf(path, sizeof(path), "db/%s/info", hex);
	if (fstatat(state_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return INT64_MAX;
	return st.st_mtim.tv_sec * CLOCK_US_PER_S + st.st_mtim.tv_nsec / 1000;
}

int catalog_each_known(int state_fd, int (*fn)(void *arg, const struct id *id, const char *name,
					       bool ended, struct error *err),
		       void *arg, struct error *err)
{
	DIR *dir CLEANUP(close_dir) = open_dir(state_fd, "db");
	struct dirent *item;
	int r = 0;

	if (dir == NULL && errno == ENOENT)
		return 0;
	if (dir == NULL)
		return error_set_errno(err, errno, "cannot read the state folder");
	while (r == 0 && (item = readdir(dir)) != NULL) {
		char *name CLEANUP_FREE = NULL;
		struct id id;
		bool ended = false;

		if (!id_parse(item->d_name, &id))
			continue;
		r = read_info(state_fd, item->d_name, &name, &ended, err);
		/* A crash between the folder and its info leaves one without a name. */
		if (r == -ENOENT) {
			r = 0;
			continue;
		}
		if (r == 0)
			r = fn(arg, &id, name, ended, err);
	}
	return r;
}

void catalog_remove_state(struct catalog *catalog, const char *state_path)
{
	DIR *dir CLEANUP(close_dir) = open_dir(catalog->options.state_fd, state_path);
	struct dirent *item;

	while (dir != NULL && (item = readdir(dir)) != NULL) {
		if (item->d_name[0] != '.')
			unlinkat(dirfd(dir), item->d_name, 0);
	}
	unlinkat(catalog->options.state_fd, state_path, AT_REMOVEDIR);
}

/* Reads the first len bytes of a file; false when it has not as many. */
static bool read_head(int dir_fd, const char *name, void *head, size_t len)
{
	int fd CLEANUP_FD = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	return fd >= 0 && file_pread(fd, head, len, 0) == (ssize_t)len;
}

static bool read_companion_head(int dir_fd, const char *name, enum database_file file, void *head,
				size_t len)
{
	char *path CLEANUP_FREE = NULL;

	if (asprintf(&path, "%s%s", name, companion_suffix(file)) < 0) {
		path = NULL;
		return false;
	}
	return read_head(dir_fd, path, head, len);
}

/* A companion with content that only SQLite writes makes a database of X. */
static bool has_companion(int dir_fd, const char *name)
{
	uint8_t head[JOURNAL_MAGIC_LEN];

	if (read_companion_head(dir_fd, name, DATABASE_WAL, head, 4) &&
	    (be32_get(head) & ~1u) == WAL_MAGIC)
		return true;
	return read_companion_head(dir_fd, name, DATABASE_JOURNAL, head, JOURNAL_MAGIC_LEN) &&
	       memcmp(head, JOURNAL_MAGIC, JOURNAL_MAGIC_LEN) == 0;
}

static bool is_database(int dir_fd, const char *name)
{
	char head[PAGE_MAGIC_LEN];
	enum database_file file;
	size_t len;

	/* A database named like a companion of another is still judged by its magic. */
	if (read_head(dir_fd, name, head, sizeof(head)) &&
	    memcmp(head, PAGE_MAGIC, sizeof(head)) == 0)
		return true;
	return !companion_parse(name, &file, &len) && has_companion(dir_fd, name);
}

struct walk {
	int root_fd;
	int (*fn)(void *arg, const char *name, struct error *err);
	void *arg;
};

static int walk_dir(const struct walk *walk, const char *path, int depth, struct error *err);

static int walk_item(const struct walk *walk, int dir_fd, const char *path, const char *name,
		     int depth, struct error *err)
{
	char *below CLEANUP_FREE = NULL;
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 :
					 error_set_errno(err, errno, "cannot stat %s", name);
	if (asprintf(&below, "%s%s%s", path, path[0] != '\0' ? "/" : "", name) < 0) {
		below = NULL;
		return error_set(err, ENOMEM, "out of memory");
	}
	if (S_ISDIR(st.st_mode))
		return walk_dir(walk, below, depth + 1, err);
	if (S_ISREG(st.st_mode) && is_database(dir_fd, name))
		return walk->fn(walk->arg, below, err);
	return 0;
}

static int walk_dir(const struct walk *walk, const char *path, int depth, struct error *err)
{
	DIR *dir CLEANUP(close_dir) = NULL;
	struct dirent *item;
	int r = 0;

	if (depth > DEPTH_MAX) {
		log_warn("folder=%s is more than %d folders deep: databases in it are found "
			 "when they are opened, not before", path, DEPTH_MAX);
		return 0;
	}
	dir = open_dir(walk->root_fd, path);
	/* Other filesystems below the folder are not served. */
	if (dir == NULL && (errno == EXDEV || errno == ENOENT))
		return 0;
	if (dir == NULL)
		return error_set_errno(err, errno, "cannot read the folder %s", path);
	while (r == 0 && (item = readdir(dir)) != NULL) {
		if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0 ||
		    (depth == 0 && strcmp(item->d_name, CATALOG_STATE_NAME) == 0))
			continue;
		r = walk_item(walk, dirfd(dir), path, item->d_name, depth, err);
	}
	return r;
}

int catalog_each_file(int root_fd, int (*fn)(void *arg, const char *name, struct error *err),
		      void *arg, struct error *err)
{
	struct walk walk = { root_fd, fn, arg };

	return walk_dir(&walk, "", 0, err);
}
