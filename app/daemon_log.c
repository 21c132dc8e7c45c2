/* SPDX-License-Identifier: MIT */
#include "app/daemon_log.h"

#include "base/file.h"

#include <errno.h>

#define NAME "replitedfs.log"

static void rotate(int dir_fd)
{
	char from[64];
	char to[64];
	struct stat st;

	if (fstatat(dir_fd, NAME, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_size < DAEMON_LOG_MAX)
		return;
	for (int i = DAEMON_LOG_KEPT - 1; i >= 0; i--) {
		snprintf(to, sizeof(to), NAME ".%d", i + 1);
		if (i == 0)
			snprintf(from, sizeof(from), NAME);
		else
			snprintf(from, sizeof(from), NAME ".%d", i);
		renameat(dir_fd, from, dir_fd, to); /* a missing one is fine */
	}
}

int daemon_log_open(const struct config *config, int state_fd, bool foreground,
		    struct error *err)
{
	const char *dir = config->mount.log_dir;
	int dir_fd CLEANUP_FD = -1;
	int fd;
	int r = 0;

	if (foreground) {
		log_open(STDERR_FILENO, config->mount.log_level);
		return 0;
	}
	if (dir[0] == '\0') {
		r = file_make_dir(state_fd, "log", 0700, err);
		dir_fd = openat(state_fd, "log", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	} else {
		dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (r < 0)
		return r;
	if (dir_fd < 0) {
		error_set_errno(err, errno, "cannot open the folder of log files %s", dir);
		return error_fix(err, "create it, or leave [mount] log_dir empty");
	}
	rotate(dir_fd);
	fd = openat(dir_fd, NAME, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return error_set_errno(err, errno, "cannot open the log file");
	log_open(fd, config->mount.log_level); /* open until the process ends */
	return 0;
}
