/* SPDX-License-Identifier: MIT */
#include "fuse/check.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mountinfo.h"
#include "fuse/procscan.h"

#include <errno.h>
#include <linux/stat.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sysexits.h>

#define FUSE_MAGIC 0x65735546
#define CAP_SYS_ADMIN_BIT 21

/* ----------------------------------------------------------------- the mountpoint */

static int missing(const char *path, struct error *err)
{
	error_set(err, ENOENT, "cannot mount: %s does not exist", path);
	error_fix(err, "mkdir %s", path);
	return error_exit(err, EX_NOINPUT);
}

static int not_a_folder(const char *path, struct error *err)
{
	error_set(err, ENOTDIR, "cannot mount: %s is not a folder", path);
	error_why(err, "a folder is served, with all databases in it");
	error_fix(err, "mount the folder that %s lies in", path);
	return error_exit(err, EX_USAGE);
}

static int served_by_us(const char *path, dev_t dev, struct error *err)
{
	pid_t pid = procscan_fuse_server(dev);
	char since[CLOCK_TEXT_SIZE];

	if (pid > 0) {
		clock_format(procscan_started(pid) * CLOCK_US_PER_S, since);
		error_set(err, EBUSY, "%s is already served by pid %d since %s", path, pid, since);
	} else {
		error_set(err, EBUSY, "%s is already served by replitedfs", path);
	}
	error_fix(err, "replitedfs status %s", path);
	return error_exit(err, EX_TEMPFAIL);
}

static int served_by_another(const char *path, const struct mountinfo *info, struct error *err)
{
	pid_t pid = procscan_fuse_server(info->dev);
	char *who CLEANUP_FREE = pid > 0 ? procscan_describe(pid) : NULL;

	error_set(err, EBUSY, "cannot mount: %s is served by another file system daemon", path);
	error_why(err, "it is a mount of %s (%s)%s%s", info->source, info->type,
		  who != NULL ? " by " : "", who != NULL ? who : "");
	error_fix(err, "fusermount3 -u %s", path);
	return error_exit(err, EX_TEMPFAIL);
}

/* The path of a dead mount is known to mountinfo only: stat(2) gives ENOTCONN. */
static int dead_mount(const char *path, struct error *err)
{
	struct buf users CLEANUP_BUF = { 0 };
	char *line CLEANUP_FREE = NULL;
	struct mountinfo info;
	int r = mountinfo_find(path, &info, &line, err);

	if (r < 0)
		return r;
	if (r > 0 || strcmp(info.type, MOUNTINFO_TYPE) != 0) {
		error_set(err, ENOTCONN, "cannot mount: %s is a dead mount%s%s", path,
			  r > 0 ? " below a folder" : " of type ", r > 0 ? "" : info.type);
		error_why(err, "the daemon that served it is gone");
		error_fix(err, "fusermount3 -u %s", path);
		return error_exit(err, EX_UNAVAILABLE);
	}
	if (procscan_users(info.dev, &users) == 0 && umount2(path, UMOUNT_NOFOLLOW) == 0) {
		log_warn("%s was a dead replitedfs mount; replacing it", path);
		return 1;
	}
	error_set(err, EBUSY, "cannot mount: %s is a dead replitedfs mount that is still in use",
		  path);
	error_why(err, "its files are open in %s", users.len > 0 ? buf_str(&users) : "a process");
	error_fix(err, "stop these programs, then try again");
	return error_exit(err, EX_TEMPFAIL);
}

/* A folder inside a mount of ours, or one that another daemon is mounted on. */
static int live_fuse(const char *path, dev_t dev, struct error *err)
{
	char *line CLEANUP_FREE = NULL;
	struct mountinfo info;
	int r = mountinfo_find(path, &info, &line, err);

	if (r < 0)
		return r;
	if (r > 0 || info.dev != dev)
		return 0;
	if (strcmp(info.type, MOUNTINFO_TYPE) == 0)
		return served_by_us(path, dev, err);
	return mountinfo_is_fuse(info.type) ? served_by_another(path, &info, err) : 0;
}

/* Whether the device is that of a live mount of ours, wherever that is. */
static int inside_ours(const char *path, dev_t dev, struct error *err)
{
	char *parent CLEANUP_FREE = strdup(path);
	char *slash;

	while (parent != NULL && (slash = strrchr(parent, '/')) != NULL && slash != parent) {
		char *line CLEANUP_FREE = NULL;
		struct mountinfo info;
		int r;

		*slash = '\0';
		r = mountinfo_find(parent, &info, &line, err);
		if (r < 0)
			return r;
		if (r == 0 && info.dev == dev && strcmp(info.type, MOUNTINFO_TYPE) == 0) {
			error_set(err, EBUSY,
				  "cannot mount: %s lies in %s, which is served already", path,
				  parent);
			error_fix(err, "replitedfs status %s", parent);
			return error_exit(err, EX_TEMPFAIL);
		}
	}
	return 0;
}

int check_mountpoint(const char *path, struct error *err)
{
	struct statfs fs;
	struct statx stx;
	dev_t dev;
	int r;

	/* statfs asks a live daemon and is refused by a dead one. */
	if (statfs(path, &fs) < 0) {
		if (errno == ENOENT)
			return missing(path, err);
		if (errno == ENOTDIR)
			return not_a_folder(path, err);
		if (errno == ENOTCONN)
			return dead_mount(path, err);
		return error_set_errno(err, errno, "cannot look at %s", path);
	}
	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &stx) < 0)
		return error_set_errno(err, errno, "cannot look at %s", path);
	if (!S_ISDIR(stx.stx_mode))
		return not_a_folder(path, err);
	if (fs.f_type != FUSE_MAGIC)
		return 0;
	dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
	r = live_fuse(path, dev, err);
	return r < 0 ? r : inside_ours(path, dev, err);
}

/* -------------------------------------------------------------------- the device */

bool check_status_has_sys_admin(const char *text)
{
	const char *line = strstr(text, "\nCapEff:");

	return line != NULL &&
	       (strtoull(line + strlen("\nCapEff:"), NULL, 16) >> CAP_SYS_ADMIN_BIT & 1) != 0;
}

static int no_device(struct error *err)
{
	error_set(err, ENODEV, "cannot mount: /dev/fuse does not exist");
	error_why(err, "the kernel's FUSE module is not loaded, or this container has no such "
		       "device");
	error_fix(err, "modprobe fuse; in Docker add --device /dev/fuse --cap-add SYS_ADMIN "
		       "(and --security-opt apparmor:unconfined on AppArmor hosts)");
	return error_exit(err, EX_UNAVAILABLE);
}

static int no_permission(struct error *err)
{
	struct stat st = { 0 };

	(void)!stat("/dev/fuse", &st);
	error_set(err, EACCES, "cannot mount: may not open /dev/fuse");
	error_why(err, "its mode is 0%o and you are uid %u; in a container the device must be "
		       "allowed too", (unsigned)st.st_mode & 0777u, geteuid());
	error_fix(err, "mount as root; in Docker add --device /dev/fuse --cap-add SYS_ADMIN");
	return error_exit(err, EX_NOPERM);
}

static int no_capability(struct error *err)
{
	error_set(err, EPERM, "cannot mount: this process lacks CAP_SYS_ADMIN");
	error_why(err, "mounting takes it, and so does passthrough");
	error_fix(err, "mount as root; in Docker add --cap-add SYS_ADMIN");
	return error_exit(err, EX_NOPERM);
}

int check_device(int *ret_fd, struct error *err)
{
	struct buf status CLEANUP_BUF = { 0 };
	char text[8192];
	int fd CLEANUP_FD = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	int status_fd CLEANUP_FD = -1;
	ssize_t n = 0;

	if (fd < 0 && (errno == EACCES || errno == EPERM))
		return no_permission(err);
	if (fd < 0)
		return no_device(err);
	status_fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	if (status_fd >= 0)
		n = file_pread(status_fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	if (n > 0 && !check_status_has_sys_admin(text))
		return no_capability(err);
	*ret_fd = take_fd(&fd);
	return 0;
}

/* ------------------------------------------------------------- open databases */

struct search {
	const struct check_file *files;
	size_t n;
	pid_t pid;
	const struct check_file *found;
	bool dead; /* through a mount that is dead */
};

/* A file of a dead session shows the backing inode number, and errors when asked. */
static bool is_of_dead_session(const struct procscan_file *open, const struct check_file *file)
{
	const char *base = strrchr(file->name, '/');
	size_t len;
	struct statx stx;

	base = base != NULL ? base + 1 : file->name;
	len = strlen(base);
	if (open->ino != file->ino || open->link == NULL || major(open->dev) != 0 ||
	    strlen(open->path) < len || strstr(open->path, base) == NULL)
		return false;
	return statx(AT_FDCWD, open->link, AT_STATX_FORCE_SYNC, STATX_INO, &stx) < 0 &&
	       errno == ENOTCONN;
}

static int search_one(void *arg, const struct procscan_file *open)
{
	struct search *search = arg;

	for (size_t i = 0; i < search->n; i++) {
		const struct check_file *file = &search->files[i];
		bool bare = open->dev == file->dev && open->ino == file->ino;

		if (!bare && !is_of_dead_session(open, file))
			continue;
		search->pid = open->pid;
		search->found = file;
		search->dead = !bare;
		return 1;
	}
	return 0;
}

int check_unused(const char *folder, const struct check_file *files, size_t n, struct error *err)
{
	struct search search = { .files = files, .n = n };
	char *who CLEANUP_FREE = NULL;

	procscan_walk(search_one, &search);
	if (search.found == NULL)
		return 0;
	who = procscan_describe(search.pid);
	error_set(err, EBUSY, "cannot mount: %s has %s/%s open", who != NULL ? who : "a process",
		  folder, search.found->name);
	if (search.dead)
		error_why(err, "through a mount of this folder that has died: it may still write, "
			       "unseen by this one");
	else
		error_why(err, "it would go on past the mount, under locks that programs on the "
			       "mount do not see");
	error_fix(err, "stop it, mount, and start it again");
	return error_exit(err, EX_TEMPFAIL);
}
