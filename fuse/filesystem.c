/* SPDX-License-Identifier: MIT */
#include "fuse/filesystem.h"

#include "base/mountinfo.h"
#include "fuse/connection.h"
#include "fuse/filesystem_internal.h"
#include "fuse/ops.h"
#include "fuse/supervisor.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* Every open file costs descriptors; there is no reason to have fewer than one may. */
static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int set_up(struct filesystem *fs, const struct session_env *env, struct error *err)
{
	struct stat st;
	int dev_fd;
	int r;

	if (fs->options.state_fd >= 0 && fstat(fs->options.state_fd, &st) == 0) {
		fs->state_dev = st.st_dev;
		fs->state_ino = st.st_ino;
	}
	r = session_attach(&fs->session, env->table_fd, err);
	if (r == 0)
		r = nodes_init(&fs->nodes, &fs->session, fs->options.root_fd, err);
	if (r == 0)
		r = handles_init(&fs->handles, &fs->nodes, err);
	if (r < 0)
		return r;
	dev_fd = fcntl(env->dev_fd, F_DUPFD_CLOEXEC, 3);
	if (dev_fd < 0)
		return error_set_errno(err, errno, "cannot duplicate a descriptor");
	fs->se = connection_new(fs, dev_fd, err);
	if (fs->se == NULL) {
		close(dev_fd);
		return -err->code;
	}
	return 0;
}

int filesystem_new(const struct filesystem_options *options, const struct session_env *env,
		   struct filesystem **ret_fs, struct error *err)
{
	struct filesystem *fs = calloc(1, sizeof(*fs));
	int r;

	if (fs == NULL)
		return error_set(err, ENOMEM, "out of memory");
	fs->options = *options;
	fs->env = env;
	pthread_rwlock_init(&fs->names, NULL);
	roads_init(&fs->roads, options->capture, env->dev_fd);
	bypass_init(&fs->bypass, options->root_fd, env->sock);
	raise_limits();
	umask(0);
	r = set_up(fs, env, err);
	if (r < 0) {
		filesystem_free(fs);
		return r;
	}
	*ret_fs = fs;
	return 0;
}

/* A regular file on the backing file system, to try passthrough with. */
static int probe_roads(struct filesystem *fs, struct error *err)
{
	int fd CLEANUP_FD = openat(fs->options.root_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0 && fs->options.state_fd >= 0)
		fd = openat(fs->options.state_fd, "lock", O_RDWR | O_CLOEXEC);
	return roads_probe(&fs->roads, fs->negotiated, fd, err);
}

int filesystem_start(struct filesystem *fs, struct error *err)
{
	int r = connection_start(fs->se, err);

	if (r == 0)
		r = probe_roads(fs, err);
	return r < 0 ? r : session_ready(fs->env, err);
}

/*
 * The workers have ended: by an unmount, or because the connection was aborted.
 * Where that cannot be told, programs may still have files of the mount open.
 */
static int check_unmounted(struct filesystem *fs, struct error *err)
{
	int r = mountinfo_has_dev(fs->env->mount_dev, MOUNTINFO_TYPE, err);

	if (r == 0)
		return 0;
	if (r < 0)
		return error_wrap(err, "cannot tell whether the mount is gone");
	error_set(err, ECONNABORTED, "the connection with the kernel was aborted");
	return error_why(err, "the mount is still there, but dead");
}

int filesystem_serve(struct filesystem *fs, struct error *err)
{
	int r = connection_loop(fs->se, err);

	if (r == 0)
		r = check_unmounted(fs, err);
	if (r < 0)
		return r;
	ops_release_all(fs);
	session_unmounted(fs->env);
	return 0;
}

void filesystem_free(struct filesystem *fs)
{
	if (fs == NULL)
		return;
	handles_done(&fs->handles);
	nodes_done(&fs->nodes);
	if (fs->se != NULL)
		fuse_session_destroy(fs->se);
	session_detach(&fs->session);
	bypass_done(&fs->bypass);
	roads_done(&fs->roads);
	pthread_rwlock_destroy(&fs->names);
	free(fs);
}

void filesystem_status(struct filesystem *fs, struct filesystem_status *ret_status)
{
	memset(ret_status, 0, sizeof(*ret_status));
	ret_status->passthrough = roads_available(&fs->roads, &ret_status->why_not);
	ret_status->n_open = handles_count(&fs->handles);
	ops_counters(ret_status->upcalls);
}
