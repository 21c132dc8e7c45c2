/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

/* cmocka.h wants these before it, in this order. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * A folder of its own for one test, removed with all that is in it when the
 * test ends. A test listed with UNIT_TEST_IN_FOLDER() finds it in *state.
 */
struct unit_folder {
	char *path;
	int fd;
};

static inline int unit_folder_remove_one(const char *path, const struct stat *st,
					 int type, struct FTW *walk)
{
	return remove(path);
}

static inline int unit_folder_setup(void **state)
{
	const char *parent = getenv("TMPDIR");
	struct unit_folder *folder = calloc(1, sizeof(*folder));

	if (folder == NULL || asprintf(&folder->path, "%s/replitedfs-test-XXXXXX",
				       parent ? parent : "/tmp") < 0)
		return -1;
	if (mkdtemp(folder->path) == NULL)
		return -1;
	folder->fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = folder;
	return folder->fd < 0 ? -1 : 0;
}

static inline int unit_folder_teardown(void **state)
{
	struct unit_folder *folder = *state;
	int r = nftw(folder->path, unit_folder_remove_one, 16, FTW_DEPTH | FTW_PHYS);

	close(folder->fd);
	free(folder->path);
	free(folder);
	return r;
}

#define UNIT_TEST_IN_FOLDER(fn)                                                \
	cmocka_unit_test_setup_teardown(fn, unit_folder_setup, unit_folder_teardown)

#endif
