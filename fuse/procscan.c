/* SPDX-License-Identifier: MIT */
#include "fuse/procscan.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

struct walk {
	int (*visit)(void *arg, const struct procscan_file *file);
	void *arg;
};

/* Without a round trip to the server of the file. */
static bool identify(const char *link, dev_t *ret_dev, uint64_t *ret_ino)
{
	struct statx stx;

	if (statx(AT_FDCWD, link, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &stx) < 0)
		return false;
	*ret_dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
	*ret_ino = stx.stx_ino;
	return true;
}

static int visit_link(struct walk *walk, pid_t pid, const char *link)
{
	struct procscan_file file = { .pid = pid, .link = link };
	char path[PATH_MAX];
	ssize_t n;

	if (!identify(link, &file.dev, &file.ino))
		return 0;
	n = readlink(link, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	file.path = path;
	return walk->visit(walk->arg, &file);
}

static int visit_fds(struct walk *walk, pid_t pid)
{
	struct dirent *entry;
	char link[64];
	DIR *dir;
	int r = 0;

	snprintf(link, sizeof(link), "/proc/%d/fd", pid);
	dir = opendir(link);
	while (dir != NULL && r == 0 && (entry = readdir(dir)) != NULL) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(link, sizeof(link), "/proc/%d/fd/%.20s", pid, entry->d_name);
		r = visit_link(walk, pid, link);
	}
	if (dir != NULL)
		closedir(dir);
	return r;
}

/* START-END PERMS OFFSET MAJOR:MINOR INODE PATH, numbers in hex but the inode's */
bool procscan_parse_map(char *line, dev_t *ret_dev, uint64_t *ret_ino, const char **ret_path)
{
	unsigned long long start, end, offset, ino;
	unsigned major, minor;
	char perms[8];
	int n = 0;

	line[strcspn(line, "\n")] = '\0';
	if (sscanf(line, "%llx-%llx %7s %llx %x:%x %llu %n", &start, &end, perms, &offset, &major,
		   &minor, &ino, &n) != 7 ||
	    n == 0 || ino == 0)
		return false;
	*ret_dev = makedev(major, minor);
	*ret_ino = ino;
	*ret_path = line + n;
	return true;
}

static int visit_maps(struct walk *walk, pid_t pid)
{
	struct procscan_file last = { .pid = pid };
	char *line = NULL;
	size_t size = 0;
	char path[64];
	FILE *file;
	int r = 0;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	file = fopen(path, "re");
	while (file != NULL && r == 0 && getline(&line, &size, file) >= 0) {
		struct procscan_file map = { .pid = pid };

		if (!procscan_parse_map(line, &map.dev, &map.ino, &map.path) ||
		    (map.dev == last.dev && map.ino == last.ino))
			continue;
		last = map;
		r = walk->visit(walk->arg, &map);
	}
	free(line);
	if (file != NULL)
		fclose(file);
	return r;
}

static int visit_process(struct walk *walk, pid_t pid)
{
	static const char *const names[] = { "cwd", "root", "exe" };
	char link[64];
	int r = visit_fds(walk, pid);

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(names); i++) {
		snprintf(link, sizeof(link), "/proc/%d/%s", pid, names[i]);
		r = visit_link(walk, pid, link);
	}
	return r == 0 ? visit_maps(walk, pid) : r;
}

void procscan_walk(int (*visit)(void *arg, const struct procscan_file *file), void *arg)
{
	struct walk walk = { .visit = visit, .arg = arg };
	DIR *dir = opendir("/proc");
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid <= 0 || pid == getpid())
			continue;
		if (visit_process(&walk, pid) != 0)
			break;
	}
	if (dir != NULL)
		closedir(dir);
}

char *procscan_describe(pid_t pid)
{
	char path[64];
	char name[64] = "?";
	char *text;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	file = fopen(path, "re");
	if (file != NULL) {
		if (fgets(name, sizeof(name), file) == NULL)
			strcpy(name, "?");
		fclose(file);
	}
	name[strcspn(name, "\n")] = '\0';
	if (asprintf(&text, "%s (pid %d)", name, pid) < 0)
		return NULL;
	return text;
}

struct users {
	dev_t dev;
	pid_t last;
	size_t n;
	struct buf *out;
};

static int add_user(void *arg, const struct procscan_file *file)
{
	struct users *users = arg;
	char *who CLEANUP_FREE = NULL;

	if (file->dev != users->dev || file->pid == users->last)
		return 0;
	users->last = file->pid;
	who = procscan_describe(file->pid);
	if (who != NULL && users->n++ < 10)
		(void)!buf_printf(users->out, "%s%s", users->n > 1 ? ", " : "", who);
	return 0;
}

size_t procscan_users(dev_t dev, struct buf *out)
{
	struct users users = { .dev = dev, .out = out };

	procscan_walk(add_user, &users);
	if (users.n > 10)
		(void)!buf_printf(out, " and %zu more", users.n - 10);
	return users.n;
}

struct holder {
	dev_t dev;
	uint64_t ino;
	pid_t pid;
};

static int find_holder(void *arg, const struct procscan_file *file)
{
	struct holder *holder = arg;

	if (file->link == NULL || file->dev != holder->dev || file->ino != holder->ino)
		return 0;
	holder->pid = file->pid;
	return 1;
}

/* An OFD lock names no process: whoever else has the file open is the best guess. */
char *procscan_lock_holder(int fd, off_t start, off_t len)
{
	struct flock lock = { .l_type = F_WRLCK, .l_start = start, .l_len = len };
	struct holder holder = { 0 };
	struct stat st;

	if (fcntl(fd, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK || fstat(fd, &st) < 0)
		return NULL;
	if (lock.l_pid > 0)
		return procscan_describe(lock.l_pid);
	holder.dev = st.st_dev;
	holder.ino = st.st_ino;
	procscan_walk(find_holder, &holder);
	return holder.pid > 0 ? procscan_describe(holder.pid) : NULL;
}

static bool serves(const char *link, unsigned connection)
{
	char path[PATH_MAX];
	char line[128];
	unsigned n = 0;
	FILE *file;

	/* /proc/PID/fd/N becomes /proc/PID/fdinfo/N */
	snprintf(path, sizeof(path), "%.*sfdinfo/%s",
		 (int)(strrchr(link, '/') - link) - 2, link, strrchr(link, '/') + 1);
	file = fopen(path, "re");
	while (file != NULL && n != connection && fgets(line, sizeof(line), file) != NULL)
		sscanf(line, "fuse_connection: %u", &n);
	if (file != NULL)
		fclose(file);
	return n == connection;
}

struct server {
	unsigned connection;
	pid_t pid;
};

static int find_server(void *arg, const struct procscan_file *file)
{
	struct server *server = arg;

	if (file->link == NULL || strcmp(file->path, "/dev/fuse") != 0 ||
	    !serves(file->link, server->connection))
		return 0;
	server->pid = file->pid;
	return 1;
}

pid_t procscan_fuse_server(dev_t dev)
{
	struct server server = { .connection = minor(dev) };

	if (server.connection != 0)
		procscan_walk(find_server, &server);
	return server.pid;
}

int64_t procscan_started(pid_t pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	return stat(path, &st) == 0 ? st.st_mtim.tv_sec : 0;
}
