/* SPDX-License-Identifier: MIT */
#include "app/config_ini.h"

#include "base/file.h"

#include <errno.h>
#include <iniparser/iniparser.h>
#include <sys/mman.h>

struct config_ini {
	dictionary *values;
};

/* iniparser's own messages, on stderr, would come beside ours. */
__attribute__((format(printf, 1, 2))) static int say_nothing(const char *fmt, ...)
{
	return 0;
}

/* A nameless file with the text: iniparser 4.1 only reads from a path. */
static int make_file(const char *text, size_t len, struct error *err)
{
	int fd CLEANUP_FD = memfd_create("replitedfs-config", MFD_CLOEXEC);
	int r;

	if (fd < 0)
		return error_set_errno(err, errno, "cannot make a file in memory");
	r = file_pwrite(fd, text, len, 0);
	/* A last line of one character counts only when it is ended. */
	if (r == 0)
		r = file_pwrite(fd, "\n", 1, (off_t)len);
	if (r < 0)
		return error_set_errno(err, -r, "cannot write a file in memory");
	return take_fd(&fd);
}

int config_ini_load(const char *text, size_t len, struct config_ini **ret_ini,
		    struct error *err)
{
	struct config_ini *ini CLEANUP(config_ini_cleanup) = calloc(1, sizeof(*ini));
	char *path CLEANUP_FREE = NULL;
	int fd CLEANUP_FD = make_file(text, len, err);

	if (fd < 0)
		return fd;
	if (ini == NULL || asprintf(&path, "/proc/self/fd/%d", fd) < 0) {
		path = NULL;
		return error_set(err, ENOMEM, "out of memory");
	}
	iniparser_set_error_callback(say_nothing);
	ini->values = iniparser_load(path);
	if (ini->values == NULL) {
		error_set(err, EIO, "cannot read the configuration back from memory");
		return error_why(err, "iniparser does not read %s", path);
	}
	*ret_ini = TAKE(ini);
	return 0;
}

size_t config_ini_count(const struct config_ini *ini)
{
	return (size_t)ini->values->n;
}

const char *config_ini_get(const struct config_ini *ini, const char *section, const char *key)
{
	char *name CLEANUP_FREE = NULL;

	if (asprintf(&name, "%s:%s", section, key) < 0) {
		name = NULL;
		return NULL;
	}
	return iniparser_getstring(ini->values, name, NULL);
}

void config_ini_free(struct config_ini *ini)
{
	if (ini == NULL)
		return;
	iniparser_freedict(ini->values);
	free(ini);
}
