/* SPDX-License-Identifier: MIT */
#include "base/mountinfo.h"

#include "base/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

/* \040 for a blank and so on, in place. */
static void unescape(char *text)
{
	char *out = text;

	while (*text != '\0') {
		if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] >= '0' &&
		    text[2] <= '7' && text[3] >= '0' && text[3] <= '7') {
			*out++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 |
					(text[3] - '0'));
			text += 4;
		} else {
			*out++ = *text++;
		}
	}
	*out = '\0';
}

/* ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG …] - TYPE SOURCE OPTIONS */
bool mountinfo_parse(char *line, struct mountinfo *ret_info)
{
	char *separator = strstr(line, " - ");
	unsigned major, minor;
	char *point, *type, *source, *rest;
	int n = 0;

	line[strcspn(line, "\n")] = '\0';
	if (separator == NULL ||
	    sscanf(line, "%*d %*d %u:%u %n", &major, &minor, &n) != 2 || n == 0)
		return false;
	*separator = '\0';
	rest = line + n;
	if (strsep(&rest, " ") == NULL)
		return false;
	point = strsep(&rest, " ");
	rest = separator + 3;
	type = strsep(&rest, " ");
	source = strsep(&rest, " ");
	if (point == NULL || point[0] == '\0' || type[0] == '\0' || source == NULL)
		return false;
	unescape(point);
	unescape(source);
	*ret_info = (struct mountinfo){
		.dev = makedev(major, minor),
		.point = point,
		.type = type,
		.source = source,
	};
	return true;
}

int mountinfo_find(const char *point, struct mountinfo *ret_info, char **ret_line,
		   struct error *err)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	char *found = NULL;
	size_t size = 0;

	*ret_line = NULL;
	if (file == NULL)
		return error_set_errno(err, errno, "cannot read /proc/self/mountinfo");
	while (getline(&line, &size, file) >= 0) {
		struct mountinfo info;

		if (!mountinfo_parse(line, &info) || strcmp(info.point, point) != 0)
			continue;
		free(found);
		found = line;
		*ret_info = info;
		line = NULL;
		size = 0;
	}
	free(line);
	fclose(file);
	*ret_line = found;
	return found == NULL ? 1 : 0;
}

/* Whether there is a mount of dev that is wanted. 0, 1 or -errno. */
static int has_mount(dev_t dev, bool (*wanted)(const struct mountinfo *info, const void *arg),
		     const void *arg, struct error *err)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	bool found = false;
	char *line = NULL;
	size_t size = 0;
	int r = 0;

	if (file == NULL)
		return error_set_errno(err, errno, "cannot read /proc/self/mountinfo");
	while (!found && getline(&line, &size, file) >= 0) {
		struct mountinfo info;

		found = mountinfo_parse(line, &info) && info.dev == dev &&
			wanted(&info, arg);
	}
	if (!found && !feof(file))
		r = error_set_errno(err, errno, "cannot read /proc/self/mountinfo");
	free(line);
	fclose(file);
	return r < 0 ? r : found;
}

static bool is_of_type(const struct mountinfo *info, const void *type)
{
	return strcmp(info->type, type) == 0;
}

int mountinfo_has_dev(dev_t dev, const char *type, struct error *err)
{
	return has_mount(dev, is_of_type, type, err);
}

static bool is_of_filesystem(const struct mountinfo *info, const void *fsid)
{
	int fd CLEANUP_FD = open(info->point, O_PATH | O_CLOEXEC);

	return fd >= 0 && file_system_id(fd) == *(const uint64_t *)fsid;
}

int mountinfo_has_filesystem(dev_t dev, uint64_t fsid, struct error *err)
{
	return has_mount(dev, is_of_filesystem, &fsid, err);
}

bool mountinfo_is_fuse(const char *type)
{
	return strcmp(type, "fuse") == 0 || strncmp(type, "fuse.", 5) == 0 ||
	       strcmp(type, "fuseblk") == 0 || strncmp(type, "fuseblk.", 8) == 0;
}
