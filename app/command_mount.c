/* SPDX-License-Identifier: MIT */
#include "app/backends.h"
#include "app/command.h"
#include "app/config.h"
#include "app/daemon.h"
#include "app/daemon_log.h"
#include "app/state.h"
#include "base/buf.h"
#include "base/file.h"
#include "fuse/check.h"
#include "fuse/statelock.h"
#include "fuse/supervisor.h"
#include "replicate/catalog.h"
#include "replicate/companion.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#define DRAIN_GRACE_MS 5000 /* on top of the shutdown timeout of a session that ends */

struct mount_command {
	const char *config_path;
	const char *backing_arg;
	bool foreground;
	struct config config;
	struct mount_options options;
	char *mountpoint;
	char *backing;
	int root_fd;
	struct state state;
	int lock_fd;
	struct buf backup_urls; /* const char * each */
	struct buf mount_opts;
};

static void mount_command_done(struct mount_command *mount)
{
	config_done(&mount->config);
	state_close(&mount->state);
	if (mount->root_fd >= 0)
		close(mount->root_fd);
	if (mount->lock_fd >= 0)
		close(mount->lock_fd);
	free(mount->mountpoint);
	free(mount->backing);
	buf_done(&mount->backup_urls);
	buf_done(&mount->mount_opts);
}

static int remember(void *arg, const char *value, struct error *err)
{
	return buf_append(arg, &value, sizeof(value)) < 0 ?
		       error_set(err, ENOMEM, "out of memory") : 0;
}

static int parse(struct mount_command *mount, int argc, char **argv, const char **ret_dir,
		 struct error *err)
{
	const struct option_spec specs[] = {
		{ .name = "config", .value = &mount->config_path },
		{ .name = "backing", .value = &mount->backing_arg },
		{ .name = "backup", .each = remember, .arg = &mount->backup_urls },
		{ .name = "foreground", .short_name = 'f', .flag = &mount->foreground },
		{ .name = "options", .short_name = 'o', .each = remember,
		  .arg = &mount->mount_opts },
	};
	int n_rest;
	int r = command_parse(argc, argv, specs, ARRAY_LEN(specs), &n_rest, err);

	if (r != 0)
		return r;
	if (n_rest != 1) {
		error_set(err, EINVAL, n_rest == 0 ? "mount: which folder?" :
						     "mount: one folder at a time");
		error_fix(err, "replitedfs mount /data");
		return error_exit(err, EX_USAGE);
	}
	*ret_dir = argv[1];
	return 0;
}

/* --backup paths are relative to where the command was given. */
static int add_backup(struct config *config, const char *url, struct error *err)
{
	char *absolute CLEANUP_FREE = NULL;
	char *cwd CLEANUP_FREE = NULL;

	if (url[0] == '/' || strstr(url, "://") != NULL)
		return config_add_backend_url(config, url, err);
	cwd = getcwd(NULL, 0);
	if (cwd == NULL || asprintf(&absolute, "%s/%s", cwd, url) < 0) {
		absolute = NULL;
		return error_set(err, ENOMEM, "out of memory");
	}
	return config_add_backend_url(config, absolute, err);
}

static int load_config(struct mount_command *mount, struct error *err)
{
	const char **urls = (const char **)mount->backup_urls.data;
	const char **opts = (const char **)mount->mount_opts.data;
	int r = config_load(mount->config_path, &mount->config, err);

	for (size_t i = 0; r == 0 && i < mount->backup_urls.len / sizeof(*urls); i++)
		r = add_backup(&mount->config, urls[i], err);
	for (size_t i = 0; r == 0 && i < mount->mount_opts.len / sizeof(*opts); i++)
		r = mount_options_parse(opts[i], &mount->options, err);
	return r;
}

/*
 * The absolute path without symlinks. The last component is not looked at when
 * it is a dead mount, which answers every call with ENOTCONN.
 */
static char *resolve(const char *dir)
{
	char *whole = realpath(dir, NULL);
	char *copy CLEANUP_FREE = NULL;
	char *parent CLEANUP_FREE = NULL;
	char *copy2 CLEANUP_FREE = NULL;
	char *path;

	if (whole != NULL || errno != ENOTCONN)
		return whole;
	copy = strdup(dir);
	copy2 = strdup(dir);
	parent = copy != NULL ? realpath(dirname(copy), NULL) : NULL;
	if (parent == NULL || copy2 == NULL ||
	    asprintf(&path, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent,
		     basename(copy2)) < 0)
		return NULL;
	return path;
}

static int missing(const char *dir, struct error *err)
{
	int code = errno;

	error_set_errno(err, code, "cannot mount: %s", dir);
	if (code == ENOENT) {
		error_set(err, code, "cannot mount: %s does not exist", dir);
		error_fix(err, "mkdir %s", dir);
		error_exit(err, EX_NOINPUT);
	}
	return -code;
}

/* The folder to mount on and the one to serve, which is opened before it is hidden. */
static int open_folders(struct mount_command *mount, const char *dir, struct error *err)
{
	int r;

	mount->mountpoint = resolve(dir);
	if (mount->mountpoint == NULL)
		return missing(dir, err);
	r = check_mountpoint(mount->mountpoint, err);
	if (r < 0)
		return r;
	if (r > 0)
		fprintf(stderr, "replitedfs: %s was a dead mount of ours; replacing it\n", dir);
	mount->backing = mount->backing_arg != NULL ? realpath(mount->backing_arg, NULL) :
						      strdup(mount->mountpoint);
	if (mount->backing == NULL)
		return missing(mount->backing_arg, err);
	mount->root_fd = open(mount->backing, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mount->root_fd < 0 && errno == ENOTDIR) {
		error_set(err, ENOTDIR, "cannot serve %s: it is not a folder", mount->backing);
		return error_exit(err, EX_USAGE);
	}
	if (mount->root_fd < 0)
		return missing(mount->backing, err);
	return 0;
}

struct file_list {
	int root_fd;
	struct buf files; /* struct check_file each, name owned */
};

static void file_list_done(struct file_list *list)
{
	struct check_file *files = (struct check_file *)list->files.data;

	for (size_t i = 0; i < list->files.len / sizeof(*files); i++)
		free((char *)files[i].name);
	buf_done(&list->files);
}

/* A database and its companions go on the list of files that nobody may have open. */
static int list_file(void *arg, const char *name, struct error *err)
{
	struct file_list *list = arg;

	for (enum database_file which = DATABASE_MAIN; which < DATABASE_N_FILES; which++) {
		struct check_file file;
		char *path = NULL;
		struct stat st;

		if (asprintf(&path, "%s%s", name, companion_suffix(which)) < 0)
			return error_set(err, ENOMEM, "out of memory");
		if (fstatat(list->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			free(path);
			continue;
		}
		file = (struct check_file){ st.st_dev, st.st_ino, path };
		if (buf_append(&list->files, &file, sizeof(file)) < 0) {
			free(path);
			return error_set(err, ENOMEM, "out of memory");
		}
	}
	return 0;
}

static int check_nobody_uses(struct mount_command *mount, struct error *err)
{
	struct file_list list CLEANUP(file_list_done) = { .root_fd = mount->root_fd };
	int r = catalog_each_file(mount->root_fd, list_file, &list, err);

	if (r < 0)
		return r;
	return check_unused(mount->backing, (struct check_file *)list.files.data,
			    list.files.len / sizeof(struct check_file), err);
}

static int prepare(struct mount_command *mount, struct error *err)
{
	int device_fd = -1;
	int r = check_device(&device_fd, err);

	if (r == 0)
		r = state_open(&mount->state, mount->root_fd, mount->config.mount.state_dir, true,
			       err);
	if (device_fd >= 0)
		close(device_fd);
	if (r == 0)
		r = statelock_take(mount->state.fd, mount->mountpoint,
				   mount->config.mount.shutdown_timeout_ms + DRAIN_GRACE_MS,
				   &mount->lock_fd, err);
	return r < 0 ? r : check_nobody_uses(mount, err);
}

static int start(struct mount_command *mount, struct error *err)
{
	struct daemon_setup setup = {
		.config = &mount->config,
		.state = &mount->state,
	};
	int r = backends_open(&mount->config, mount->state.fd, &setup.backends, err);

	if (r < 0)
		return r;
	/* Supervisor and daemon both write there. */
	r = daemon_log_open(&mount->config, mount->state.fd, mount->foreground, err);
	if (r < 0) {
		backends_close(setup.backends);
		return r;
	}
	setup.mountpoint = mount->mountpoint;
	setup.backing = mount->backing;
	mount->options.mountpoint = mount->mountpoint;
	mount->options.fsname = mount->backing;
	mount->options.lock_fd = mount->lock_fd;
	mount->options.foreground = mount->foreground;
	mount->options.serve = daemon_serve;
	mount->options.arg = &setup;
	r = mount_start(&mount->options, err);
	backends_close(setup.backends); /* this process' copy; the daemon has its own */
	return r;
}

int command_mount(int argc, char **argv)
{
	struct mount_command mount CLEANUP(mount_command_done) = {
		.root_fd = -1,
		.lock_fd = -1,
		.state.fd = -1,
	};
	CLEANUP_ERROR struct error err = ERROR_INIT;
	const char *dir = NULL;
	int r = parse(&mount, argc, argv, &dir, &err);

	if (r > 0)
		return 0;
	if (r == 0)
		r = load_config(&mount, &err);
	if (r == 0)
		r = open_folders(&mount, dir, &err);
	if (r == 0)
		r = prepare(&mount, &err);
	if (r == 0)
		r = start(&mount, &err);
	if (err.code == ENOSPC && err.fix == NULL)
		error_fix(&err, "make room on the disk of the state folder, or set [mount] state_dir "
				"to a folder on another disk");
	return r < 0 ? command_fail(&err, false) : 0;
}
