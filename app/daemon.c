/* SPDX-License-Identifier: MIT */
#include "app/daemon.h"

#include "app/control.h"
#include "app/live_copy.h"
#include "app/progress.h"
#include "app/status.h"
#include "base/clock.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define LOG_MAX_AUTO (1ull << 30)

/*
 * Everything the daemon owns, in the order in which it is made. All of it is set
 * before the first request, on the mount or on the control socket, and changes no
 * more until the last one is answered.
 */
struct daemon {
	const struct daemon_setup *setup;
	const struct session_env *env;
	int64_t since_us;
	uint64_t log_max_size;
	struct progress progress;
	struct catalog *catalog;
	struct filesystem *filesystem;
	struct control_server control;
};

static bool wanted(void *arg, const char *name)
{
	struct daemon *daemon = arg;
	const struct config_database *database =
		config_find_database(daemon->setup->config, name);

	return database == NULL || database->replicate;
}

static void changed(void *arg, struct database *db)
{
	struct daemon *daemon = arg;

	backends_ring(daemon->setup->backends);
}

static void show_progress(void *arg, const char *name, uint64_t done, uint64_t total)
{
	struct daemon *daemon = arg;

	progress_set_total(&daemon->progress, total);
	progress_update(&daemon->progress, done);
}

static uint64_t needed(void *arg, struct database *db)
{
	struct daemon *daemon = arg;

	return backends_needed(daemon->setup->backends, db);
}

/* min(1 GiB, a tenth of the disk) unless the configuration says. */
static uint64_t log_max_size(const struct daemon_setup *setup)
{
	struct statvfs disk;

	if (setup->config->mount.log_max_size != 0)
		return (uint64_t)setup->config->mount.log_max_size;
	if (fstatvfs(setup->state->fd, &disk) < 0)
		return LOG_MAX_AUTO;
	return MIN(LOG_MAX_AUTO, (uint64_t)disk.f_blocks * disk.f_frsize / 10);
}

static struct status_sources sources(struct daemon *daemon)
{
	return (struct status_sources){
		.config = daemon->setup->config,
		.mountpoint = daemon->setup->mountpoint,
		.backing = daemon->setup->backing,
		.node_id = daemon->setup->state->node_id,
		.supervisor = daemon->env->supervisor,
		.since_us = daemon->since_us,
		.log_max_size = daemon->log_max_size,
		.catalog = daemon->catalog,
		.filesystem = daemon->filesystem,
		.backends = daemon->setup->backends,
	};
}

static int open_catalog(struct daemon *daemon, struct error *err)
{
	const struct daemon_setup *setup = daemon->setup;
	struct catalog_options options = {
		.root_fd = setup->state->root_fd,
		.state_fd = setup->state->fd,
		.node_id = setup->state->node_id,
		.same_boot = setup->state->same_boot,
		.log_file_size = MIN((uint64_t)setup->config->mount.log_file_size,
				     daemon->log_max_size / 4),
		.wanted = wanted,
		.changed = changed,
		.progress = show_progress,
		.arg = daemon,
	};
	int r;

	progress_start(&daemon->progress, STDERR_FILENO, "reading the databases", 0, 10000);
	r = catalog_open(&options, &daemon->catalog, err);
	if (r == 0)
		r = catalog_recover(daemon->catalog, err);
	progress_done(&daemon->progress);
	return r < 0 ? r : state_confirm(setup->state, err);
}

static int start_catalog(struct daemon *daemon, struct error *err)
{
	const struct daemon_setup *setup = daemon->setup;
	struct catalog_retention retention = {
		.keep_us = setup->config->mount.log_retention_ms * 1000,
		.max_bytes = daemon->log_max_size,
		.needed = needed,
		.arg = daemon,
	};
	int r = backends_start(setup->backends, daemon->catalog, setup->state->fd,
			       &setup->state->node_id, err);

	return r < 0 ? r : catalog_start(daemon->catalog, &retention, err);
}

/* The content of the virtual files. */
static int content(void *arg, const char *path, struct buf *out)
{
	struct daemon *daemon = arg;
	struct status_sources from = sources(daemon);
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	json_t *json;
	int r;

	if (strncmp(path, "pos/", 4) == 0)
		return status_position(daemon->catalog, path + 4, out);
	if (strcmp(path, "status") != 0)
		return -ENOENT;
	r = status_make(&from, &json, &ignored);
	if (r < 0)
		return r;
	r = status_print(json, out);
	json_decref(json);
	return r;
}

static int answer_state(struct daemon *daemon, struct control_call *call, struct error *err)
{
	call->answer = json_pack("{s:s}", "backing", daemon->setup->backing);
	call->answer_fd = daemon->setup->state->fd;
	return call->answer != NULL ? 0 : error_set(err, ENOMEM, "out of memory");
}

/* Commands that other processes of the program send. */
static int handle(void *arg, struct control_call *call, struct error *err)
{
	struct daemon *daemon = arg;
	struct status_sources from = sources(daemon);
	const char *command = json_string_value(json_object_get(call->request, "command"));

	if (command == NULL)
		return error_set(err, EINVAL, "the request names no command");
	if (strcmp(command, "hello") == 0) {
		call->answer = json_pack("{s:s, s:s}", "mountpoint", daemon->setup->mountpoint,
					 "version", REPLITEDFS_VERSION);
		return call->answer != NULL ? 0 : error_set(err, ENOMEM, "out of memory");
	}
	if (strcmp(command, "status") == 0)
		return status_make(&from, &call->answer, err);
	if (strcmp(command, "state") == 0)
		return answer_state(daemon, call, err);
	if (strcmp(command, "copy") == 0)
		return live_copy_answer(daemon->catalog, call, err);
	return error_set(err, EINVAL, "this daemon does not know the command '%s'", command);
}

static int start_control(struct daemon *daemon, struct error *err)
{
	const struct daemon_setup *setup = daemon->setup;
	struct stat st;

	if (fstat(setup->state->root_fd, &st) < 0)
		return error_set_errno(err, errno, "cannot stat the backing folder");
	return control_server_start(&daemon->control, setup->config->mount.control_socket_dir,
				    st.st_dev, st.st_ino, handle, daemon, err);
}

static int open_filesystem(struct daemon *daemon, struct error *err)
{
	static const enum road_capture captures[] = {
		[CONFIG_CAPTURE_AUTO] = ROAD_CAPTURE_AUTO,
		[CONFIG_CAPTURE_PASSTHROUGH] = ROAD_CAPTURE_PASSTHROUGH,
		[CONFIG_CAPTURE_INTERCEPT] = ROAD_CAPTURE_INTERCEPT,
	};
	struct filesystem_options options = {
		.root_fd = daemon->setup->state->root_fd,
		.state_fd = daemon->setup->state->fd,
		.catalog = daemon->catalog,
		.capture = captures[daemon->setup->config->mount.capture],
		.content = content,
		.arg = daemon,
	};

	return filesystem_new(&options, daemon->env, &daemon->filesystem, err);
}

/* How far a session came. */
enum ended {
	ENDED_BEFORE_LIVE,  /* no program has seen the mount */
	ENDED_BY_UNMOUNT,   /* none has a file of it open any more */
	ENDED_OTHERWISE,    /* some may still write by descriptors they have */
};

/*
 * Undoes what was set up. Drains when the session ended by an unmount, and leaves
 * clean marks where nobody can have files of the mount open. Commands are answered
 * until all is drained, and look at everything: nothing is freed before the last of
 * them.
 */
static void shut_down(struct daemon *daemon, enum ended ended)
{
	const struct daemon_setup *setup = daemon->setup;
	bool drain = ended == ENDED_BY_UNMOUNT;

	if (daemon->catalog != NULL)
		catalog_stop(daemon->catalog);
	backends_drain(setup->backends, drain ? setup->config->mount.shutdown_timeout_ms : 0);
	control_server_stop(&daemon->control);
	filesystem_free(daemon->filesystem);
	backends_close(setup->backends);
	if (daemon->catalog != NULL && ended == ENDED_OTHERWISE)
		catalog_abandon(daemon->catalog);
	catalog_close(daemon->catalog);
	log_info("stopped");
}

int daemon_serve(void *arg, const struct session_env *env, struct error *err)
{
	struct daemon daemon = {
		.setup = arg,
		.env = env,
		.since_us = clock_wall_us(),
		.control.fd = -1,
	};
	enum ended ended = ENDED_BEFORE_LIVE;
	int r;

	signal(SIGPIPE, SIG_IGN);
	daemon.log_max_size = log_max_size(daemon.setup);
	log_info("replitedfs " REPLITEDFS_VERSION " serves %s as %s", daemon.setup->backing,
		 daemon.setup->mountpoint);
	r = open_catalog(&daemon, err);
	if (r == 0)
		r = start_catalog(&daemon, err);
	if (r == 0)
		r = open_filesystem(&daemon, err);
	if (r == 0)
		r = start_control(&daemon, err);
	if (r == 0)
		r = filesystem_start(daemon.filesystem, err);
	if (r == 0) {
		r = filesystem_serve(daemon.filesystem, err);
		ended = r == 0 ? ENDED_BY_UNMOUNT : ENDED_OTHERWISE;
	}
	if (r < 0)
		log_error("%s", error_what(err));
	shut_down(&daemon, ended);
	return r;
}
