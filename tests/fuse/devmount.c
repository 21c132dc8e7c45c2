/* SPDX-License-Identifier: MIT */
/*
 * devmount [-f] [-c auto|passthrough|intercept] [-o OPTIONS] [-b BACKING] DIR
 *
 * Mounts a folder with the file system and the engine, and nothing else: for the
 * tests of this layer. The log goes to DIR's state folder.
 */
#include "base/file.h"
#include "base/log.h"
#include "fuse/check.h"
#include "fuse/filesystem.h"
#include "fuse/statelock.h"
#include "fuse/supervisor.h"
#include "replicate/catalog.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

struct program {
	enum road_capture capture;
	int root_fd, state_fd;
	struct filesystem *fs;
	struct catalog *catalog;
};

static int content(void *arg, const char *path, struct buf *out)
{
	struct program *program = arg;
	struct filesystem_status status;
	struct database *db;
	struct position position;
	struct extent extent;
	int64_t time_us;
	int r = 0;

	if (strcmp(path, "status") != 0) {
		db = catalog_find(program->catalog, path + strlen("pos/"));
		if (db == NULL)
			return -ENOENT;
		position = database_position(db, &extent, &time_us);
		database_unref(db);
		return buf_printf(out, "%016llx:%llu %016llx\n",
				  (unsigned long long)position.generation,
				  (unsigned long long)position.txid,
				  (unsigned long long)position.checksum);
	}
	filesystem_status(program->fs, &status);
	r = buf_printf(out, "pid %d\npassthrough %s%s\nopen %llu\n", getpid(),
		       status.passthrough ? "yes" : "no: ",
		       status.passthrough ? "" : status.why_not,
		       (unsigned long long)status.n_open);
	for (int i = 0; i < OPS_N_KINDS && r == 0; i++)
		r = buf_printf(out, "%s %llu\n", ops_kind_name((enum ops_kind)i),
			       (unsigned long long)status.upcalls[i]);
	free(status.why_not);
	return r;
}

static int serve_files(struct program *program, const struct session_env *env, struct error *err)
{
	struct filesystem_options options = {
		.root_fd = program->root_fd,
		.state_fd = program->state_fd,
		.catalog = program->catalog,
		.capture = program->capture,
		.content = content,
		.arg = program,
	};
	struct catalog_retention retention = { .keep_us = 86400LL * 1000000, .max_bytes = 1 << 30 };
	int r = filesystem_new(&options, env, &program->fs, err);

	if (r == 0)
		r = catalog_start(program->catalog, &retention, err);
	if (r == 0)
		r = filesystem_start(program->fs, err);
	if (r == 0)
		r = filesystem_serve(program->fs, err);
	catalog_stop(program->catalog);
	filesystem_free(program->fs);
	return r;
}

static int serve(void *arg, const struct session_env *env, struct error *err)
{
	struct program *program = arg;
	struct catalog_options options = {
		.root_fd = program->root_fd,
		.state_fd = program->state_fd,
		.node_id = { { 1 } },
		.same_boot = true,
		.log_file_size = 64 << 20,
	};
	int r = catalog_open(&options, &program->catalog, err);

	if (r < 0)
		return r;
	r = catalog_recover(program->catalog, err);
	if (r == 0)
		r = serve_files(program, env, err);
	if (r != -ECONNABORTED)
		catalog_close(program->catalog);
	return r;
}

static int prepare(struct program *program, const char *backing, struct mount_options *options,
		   struct error *err)
{
	int log_fd;
	int r = check_mountpoint(options->mountpoint, err);

	if (r < 0)
		return r;
	program->root_fd = open(backing, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (program->root_fd < 0)
		return error_set_errno(err, errno, "cannot open %s", backing);
	r = file_make_dir(program->root_fd, FILESYSTEM_STATE_NAME, 0700, err);
	if (r < 0)
		return r;
	program->state_fd = openat(program->root_fd, FILESYSTEM_STATE_NAME,
				   O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	log_fd = openat(program->state_fd, "devlog", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
			0600);
	log_open(log_fd, getenv("DEVMOUNT_DEBUG") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	return statelock_take(program->state_fd, options->mountpoint, 5000, &options->lock_fd, err);
}

static int fail(const struct error *err)
{
	fprintf(stderr, "replitedfs: %s\n", error_what(err));
	if (err->why != NULL)
		fprintf(stderr, "why: %s\n", err->why);
	if (err->fix != NULL)
		fprintf(stderr, "fix: %s\n", err->fix);
	return error_exit_code(err);
}

static int parse_capture(const char *text, enum road_capture *ret_capture)
{
	static const char *const names[] = { "auto", "passthrough", "intercept" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			*ret_capture = (enum road_capture)i;
			return 0;
		}
	}
	return -EINVAL;
}

int main(int argc, char **argv)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct program program = { .state_fd = -1 };
	struct mount_options options = { .serve = serve, .arg = &program, .lock_fd = -1 };
	const char *backing = NULL;
	int c;

	while ((c = getopt(argc, argv, "fc:o:b:")) != -1) {
		if (c == 'f')
			options.foreground = true;
		else if (c == 'b')
			backing = optarg;
		else if (c == 'c' && parse_capture(optarg, &program.capture) == 0)
			continue;
		else if (c == 'o' && mount_options_parse(optarg, &options, &err) == 0)
			continue;
		else
			return err.code != 0 ? fail(&err) : EX_USAGE;
	}
	if (optind + 1 != argc)
		return EX_USAGE;
	options.mountpoint = argv[optind];
	options.fsname = backing != NULL ? backing : argv[optind];
	if (prepare(&program, options.fsname, &options, &err) < 0 ||
	    mount_start(&options, &err) < 0)
		return fail(&err);
	return 0;
}
