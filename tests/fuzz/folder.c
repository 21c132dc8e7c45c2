/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/folder.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

static char *folder_path;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void remove_folder(void)
{
	nftw(folder_path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(folder_path);
	folder_path = NULL;
}

static int make_folder(void)
{
	const char *tmp = getenv("TMPDIR");
	int fd;

	FUZZ_CHECK(asprintf(&folder_path, "%s/replitedfs-fuzz.XXXXXX",
			    tmp != NULL ? tmp : "/tmp") > 0);
	FUZZ_CHECK(mkdtemp(folder_path) != NULL);
	atexit(remove_folder);
	fd = open(folder_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	FUZZ_CHECK(fd >= 0);
	return fd;
}

int fuzz_folder(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = make_folder();
	return fd;
}

void fuzz_folder_make(const char *path)
{
	FUZZ_CHECK(mkdirat(fuzz_folder(), path, 0700) == 0 || errno == EEXIST);
}

void fuzz_folder_put(const char *path, const uint8_t *data, size_t size)
{
	int fd CLEANUP_FD = openat(fuzz_folder(), path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	/* A file that was empty in between ext4 would write out when it is closed. */
	FUZZ_CHECK(fd >= 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
	FUZZ_CHECK(ftruncate(fd, (off_t)size) == 0);
}
