/* SPDX-License-Identifier: MIT */
#include "app/source_restore.h"

#include "app/live_copy.h"
#include "base/file.h"
#include "fuse/statelock.h"
#include "replicate/catalog.h"
#include "replicate/restore_output.h"

#include <errno.h>
#include <string.h>

/* A restore from a folder's log: the live state is copied first, so that the log reaches it. */
struct local {
	struct source *source;
	struct source_database database;
	struct txlog log;
	bool log_open;
	struct restore_scratch copy; /* the live state */
	struct point point;
};

static void local_done(struct local *local)
{
	source_database_done(&local->database);
	if (local->log_open)
		txlog_close(&local->log);
	restore_scratch_close(&local->copy);
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
	/* The page hashes of the state folder are changed in place. */
	int r = statelock_begin_writing(local->source->lock_fd, err);

	if (r < 0)
		return r;
	r = catalog_open(&options, &catalog, err);
	if (r < 0) {
		statelock_end_writing(local->source->lock_fd);
		return r;
	}
	db = catalog_find_id(catalog, &local->database.id);
	r = db == NULL ? error_set(err, ENOENT, "the database is gone") :
			 live_copy_make(db, local->copy.fd, false, &local->point, err);
	database_unref(db);
	catalog_close(catalog);
	statelock_end_writing(local->source->lock_fd);
	if (r == -EAGAIN) {
		error_set(err, EAGAIN, "%s was changed since it was unmounted",
			  local->database.name);
		error_fix(err, "mount the folder once, so that the change is captured, or %s",
			  "restore from a backend");
	}
	return r;
}

/* The live state goes to a file in the folder of what is restored. */
static int copy_live_state(struct local *local, const char *scratch_dir, struct error *err)
{
	int r = restore_scratch_open(&local->copy, scratch_dir, err);

	if (r < 0)
		return r;
	if (!local->source->live)
		return copy_offline(local, err);
	return live_copy_request(local->source->from, local->source->socket_dir,
				 &local->database.id, local->copy.fd, &local->point, err);
}

static int give_copy(void *arg, int fd, struct point *ret_point, struct error *err)
{
	struct local *local = arg;
	off_t size = (off_t)extent_bytes(local->point.extent);
	int r = file_copy_range(local->copy.fd, fd, 0, size);

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
	if (r == 0 && state.shortened)
		error_done(err); /* what it still holds can be had */
	if (r == 0 && state.fresh)
		return error_set(err, ENOENT, "%s has not been captured yet",
				 local->database.name);
	return r;
}

/* What is to come of the restore. */
struct task {
	const struct restore_request *request;
	struct restore_result *result;
	const char *scratch_dir;	 /* verify there; NULL: restore to the output */
	struct integrity_report *report; /* of a verification */
};

/* The folder that path is in, to be freed. */
static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL)
		return strdup(".");
	return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static int run_on_log(struct local *local, const struct task *task, struct error *err)
{
	struct restore_live copy = { give_copy, local };
	const struct restore_live *live = local->database.ended ? NULL : &copy;

	if (task->scratch_dir != NULL)
		return verify_log(&local->log, live, task->request, task->scratch_dir,
				  task->result, task->report, err);
	return restore_from_log(&local->log, live, task->request, task->result, err);
}

static int run_local(struct source *source, const char *name, const struct task *task,
		     char **ret_name, struct error *err)
{
	struct local local CLEANUP(local_done) = {
		.source = source, .copy = RESTORE_SCRATCH_INIT,
	};
	char *folder CLEANUP_FREE = NULL;
	int r = source_find(source, name, &local.database, err);

	if (r < 0)
		return r;
	folder = task->scratch_dir != NULL ? strdup(task->scratch_dir) :
					     folder_of(task->request->output);
	if (folder == NULL)
		return error_set(err, ENOMEM, "out of memory");
	/* The live state first: the log then reaches it. */
	if (!local.database.ended)
		r = copy_live_state(&local, folder, err);
	if (r == 0)
		r = open_log(&local, err);
	if (r < 0)
		return error_wrap(err, "%s", local.database.name);
	if (ret_name != NULL)
		*ret_name = TAKE(local.database.name);
	return run_on_log(&local, task, err);
}

static int run_remote(struct source *source, const char *name, const struct task *task,
		      char **ret_name, struct error *err)
{
	char *folder CLEANUP_FREE = NULL;
	int r = restore_find(source->storage, name, &folder, err);

	if (r < 0)
		return r;
	if (task->scratch_dir != NULL)
		r = verify_backend(source->storage, folder, task->request, task->scratch_dir,
				   task->result, task->report, err);
	else
		r = restore_from_backend(source->storage, folder, task->request, task->result,
					 err);
	if (r == 0 && ret_name != NULL)
		*ret_name = TAKE(task->result->name);
	return r;
}

static int run(struct source *source, const char *name, const struct task *task, char **ret_name,
	       struct error *err)
{
	return source->storage != NULL ? run_remote(source, name, task, ret_name, err) :
					 run_local(source, name, task, ret_name, err);
}

int source_restore(struct source *source, const char *name, const struct restore_request *request,
		   struct restore_result *ret_result, char **ret_name, struct error *err)
{
	const struct task task = { .request = request, .result = ret_result };

	return run(source, name, &task, ret_name, err);
}

int source_verify(struct source *source, const char *name, const struct restore_request *request,
		  const char *scratch_dir, struct restore_result *ret_result,
		  struct integrity_report *ret_report, char **ret_name, struct error *err)
{
	const struct task task = {
		.request = request,
		.result = ret_result,
		.scratch_dir = scratch_dir,
		.report = ret_report,
	};

	return run(source, name, &task, ret_name, err);
}
