/* SPDX-License-Identifier: MIT */
#include "app/source_restore.h"

#include "app/live_copy.h"
#include "base/file.h"
#include "replicate/catalog.h"
#include "replicate/layout.h"

#include <errno.h>
#include <inttypes.h>

/* A restore from a folder's log: the live state is copied first, so that the log reaches it. */
struct local {
	struct source *source;
	struct source_database database;
	struct txlog log;
	bool log_open;
	int copy_fd; /* the live state, or -1 */
	struct point point;
};

static void local_done(struct local *local)
{
	source_database_done(&local->database);
	if (local->log_open)
		txlog_close(&local->log);
	if (local->copy_fd >= 0)
		close(local->copy_fd);
}

/* Reads the database of a folder that is not mounted. */
static int copy_offline(struct local *local, struct error *err)
{
	struct catalog_options options = {
		.root_fd = local->source->root_fd,
		.state_fd = local->source->state.fd,
		.node_id = local->source->state.node_id,
		.same_boot = local->source->state.same_boot,
		.log_file_size = 64u << 20,
	};
	struct catalog *catalog;
	struct database *db;
	int r = catalog_open(&options, &catalog, err);

	if (r < 0)
		return r;
	db = catalog_find_id(catalog, &local->database.id);
	r = db == NULL ? error_set(err, ENOENT, "the database is gone") :
			 live_copy_make(db, local->copy_fd, &local->point, err);
	database_unref(db);
	catalog_close(catalog);
	if (r == -EAGAIN) {
		error_set(err, EAGAIN, "%s was changed since it was unmounted",
			  local->database.name);
		error_fix(err, "mount the folder once, so that the change is captured, or %s",
			  "restore from a backend");
	}
	return r;
}

/* A scratch file that is gone when it is closed, in the folder of near or in /var/tmp. */
static int scratch_file(const char *near)
{
	char *dir CLEANUP_FREE = strdup(near != NULL ? near : "/var/tmp/x");
	char *slash = dir != NULL ? strrchr(dir, '/') : NULL;

	if (slash != NULL)
		slash[slash == dir ? 1 : 0] = '\0';
	return open(slash != NULL ? dir : ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

static int copy_live_state(struct local *local, const struct restore_request *request,
			   struct error *err)
{
	local->copy_fd = scratch_file(request->output);
	if (local->copy_fd < 0)
		return error_set_errno(err, errno, "cannot create a scratch file");
	if (!local->source->live)
		return copy_offline(local, err);
	return live_copy_request(local->source->from, local->source->socket_dir,
				 &local->database.id, local->copy_fd, &local->point, err);
}

static int give_copy(void *arg, int fd, struct point *ret_point, struct error *err)
{
	struct local *local = arg;
	off_t size = (off_t)extent_bytes(local->point.extent);
	int r = file_copy_range(local->copy_fd, fd, 0, size);

	*ret_point = local->point;
	return r < 0 ? error_set_errno(err, -r, "cannot copy the live database") : 0;
}

static int open_log(struct local *local, struct error *err)
{
	struct txlog_state state;
	char hex[ID_HEX_LEN + 1];
	char path[ID_HEX_LEN + 4];
	int r;

	id_format(&local->database.id, hex);
	snprintf(path, sizeof(path), "db/%s", hex);
	r = txlog_open_read_only(&local->log, local->source->state.fd, path, &state, err);
	local->log_open = r == 0;
	if (r == 0 && state.damaged)
		return -err->code;
	if (r == 0 && state.fresh)
		return error_set(err, ENOENT, "%s has not been captured yet",
				 local->database.name);
	return r;
}

/* fd -1: to request->output. */
static int restore_local(struct source *source, const char *name,
			 const struct restore_request *request, int fd,
			 struct restore_result *ret_result, char **ret_name, struct error *err)
{
	struct local local CLEANUP(local_done) = { .source = source, .copy_fd = -1 };
	struct restore_live live = { give_copy, &local };
	bool gone;
	int r = source_find(source, name, &local.database, err);

	if (r < 0)
		return r;
	gone = local.database.ended;
	if (!gone)
		r = copy_live_state(&local, request, err);
	if (r == 0)
		r = open_log(&local, err);
	if (r < 0)
		return error_wrap(err, "%s", local.database.name);
	if (ret_name != NULL)
		*ret_name = TAKE(local.database.name);
	if (fd < 0)
		return restore_from_log(&local.log, gone ? NULL : &live, request, ret_result, err);
	return restore_log_to_fd(&local.log, gone ? NULL : &live, request, fd, ret_result, err);
}

static int restore_remote(struct source *source, const char *name,
			  const struct restore_request *request, int fd,
			  struct restore_result *ret_result, char **ret_name, struct error *err)
{
	char *folder CLEANUP_FREE = NULL;
	int r = restore_find(source->storage, name, &folder, err);

	if (r < 0)
		return r;
	if (ret_name != NULL)
		*ret_name = strdup(name != NULL ? name : folder);
	if (fd < 0)
		return restore_from_backend(source->storage, folder, request, ret_result, err);
	return restore_to_fd(source->storage, folder, request, fd, ret_result, err);
}

int source_restore_to_fd(struct source *source, const char *name,
			 const struct restore_request *request, int fd,
			 struct restore_result *ret_result, char **ret_name, struct error *err)
{
	if (source->storage != NULL)
		return restore_remote(source, name, request, fd, ret_result, ret_name, err);
	return restore_local(source, name, request, fd, ret_result, ret_name, err);
}

int source_restore(struct source *source, const char *name, const struct restore_request *request,
		   struct restore_result *ret_result, char **ret_name, struct error *err)
{
	return source_restore_to_fd(source, name, request, -1, ret_result, ret_name, err);
}
