/* SPDX-License-Identifier: MIT */
#include "app/source.h"

#include "app/command.h"
#include "app/control.h"
#include "base/buf.h"
#include "fuse/statelock.h"
#include "replicate/catalog.h"
#include "storage/storage_backend.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

void source_close(struct source *source)
{
	storage_free(source->storage);
	state_close(&source->state);
	if (source->lock_fd >= 0)
		close(source->lock_fd);
	if (source->root_fd >= 0)
		close(source->root_fd);
	free(source->from);
	free(source->socket_dir);
}

/* Asks the daemon for its state folder. 0; 1: no daemon serves from. */
static int open_live(struct source *source, struct error *err)
{
	int connection CLEANUP_FD = control_connect(source->from, source->socket_dir, err);
	json_t *answer = NULL;
	int r;

	if (connection == -ENOENT && err->code == 0)
		return 1;
	if (connection < 0)
		return connection;
	r = control_call(connection, json_pack("{s:s}", "command", "state"), -1, &answer,
			 &source->state.fd, err);
	json_decref(answer);
	if (r == 0 && source->state.fd < 0)
		r = error_set(err, EIO, "the daemon of %s gave no state folder", source->from);
	source->live = r == 0;
	return r;
}

/* A served folder that is not mounted now. 0; 1: it has no state folder. */
static int open_folder(struct source *source, const char *state_dir, struct error *err)
{
	int r;

	source->root_fd = open(source->from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (source->root_fd < 0)
		return error_set_errno(err, errno, "cannot open %s", source->from);
	r = state_open(&source->state, source->root_fd, state_dir, false, err);
	if (r != 0)
		return r;
	return statelock_share(source->state.fd, &source->lock_fd, err);
}

static bool is_folder(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A folder backend bears a marker of its own. */
static bool is_backend(const char *path)
{
	char *marker CLEANUP_FREE = NULL;

	if (asprintf(&marker, "%s/%s", path, STORAGE_NAME_MARKER) < 0) {
		marker = NULL;
		return false;
	}
	return access(marker, F_OK) == 0;
}

int source_open(struct source *source, const char *from, const struct config *config,
		struct error *err)
{
	int r = 1;

	*source = (struct source){
		.from = strdup(from),
		.socket_dir = strdup(config->mount.control_socket_dir),
		.root_fd = -1,
		.lock_fd = -1,
		.state.fd = -1,
	};
	if (source->from == NULL || source->socket_dir == NULL)
		return error_set(err, ENOMEM, "out of memory");
	if (strstr(from, "://") == NULL && is_folder(from) && !is_backend(from)) {
		r = open_live(source, err);
		if (r == 1)
			r = open_folder(source, config->mount.state_dir, err);
	}
	if (r == 1)
		r = storage_open(from, false, &source->storage, err);
	return r;
}

void source_database_done(struct source_database *database)
{
	free(database->name);
	database->name = NULL;
}

void source_databases_free(struct source_database *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		source_database_done(&list[i]);
	free(list);
}

static int take_one(void *arg, const struct id *id, const char *name, bool ended,
		    struct error *err)
{
	struct source_database database = { *id, strdup(name), ended };

	if (database.name == NULL || buf_append(arg, &database, sizeof(database)) < 0) {
		free(database.name);
		return error_set(err, ENOMEM, "out of memory");
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct source_database *x = a;
	const struct source_database *y = b;
	int order = strcmp(x->name, y->name);

	return order != 0 ? order : memcmp(&x->id, &y->id, sizeof(x->id));
}

int source_databases(const struct source *source, struct source_database **ret_list,
		     size_t *ret_n, struct error *err)
{
	struct buf list = { 0 };
	int r = catalog_each_known(source->state.fd, take_one, &list, err);

	*ret_list = (struct source_database *)list.data;
	*ret_n = list.len / sizeof(**ret_list);
	if (r < 0) {
		source_databases_free(*ret_list, *ret_n);
		return r;
	}
	if (*ret_n > 1)
		qsort(*ret_list, *ret_n, sizeof(**ret_list), by_name);
	return 0;
}

static bool is_called(const struct source_database *database, const char *name)
{
	char hex[ID_HEX_LEN + 1];

	id_format(&database->id, hex);
	return name == NULL ? !database->ended :
	       strcmp(name, hex) == 0 || (!database->ended && strcmp(name, database->name) == 0);
}

static int not_found(const struct source *source, const char *name,
		     const struct source_database *list, size_t n, size_t n_found,
		     struct error *err)
{
	struct buf names CLEANUP_BUF = { 0 };
	const char *text;

	for (size_t i = 0; i < n; i++) {
		if (!list[i].ended &&
		    buf_printf(&names, "%s%s", names.len != 0 ? ", " : "", list[i].name) < 0)
			break;
	}
	text = buf_str(&names);
	if (n_found > 1)
		error_set(err, EINVAL, "%s holds several databases: which one?", source->from);
	else
		error_set(err, ENOENT, "%s holds no database %s", source->from,
			  name != NULL ? name : "at all");
	return text == NULL || names.len == 0 ? -err->code : error_fix(err, "--db one of: %s", text);
}

int source_find(const struct source *source, const char *name,
		struct source_database *ret_database, struct error *err)
{
	struct source_database *list;
	size_t n_found = 0;
	size_t found = 0;
	size_t n;
	int r = source_databases(source, &list, &n, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (is_called(&list[i], name)) {
			found = i;
			n_found++;
		}
	}
	if (n_found == 1) {
		*ret_database = list[found];
		list[found].name = NULL;
	} else {
		r = not_found(source, name, list, n, n_found, err);
	}
	source_databases_free(list, n);
	return r;
}
