/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz.h"

#include "base/file.h"

#include <dirent.h>
#include <string.h>

/*
 * Gives every file of a folder, and nothing at all, to a fuzz target: what the
 * fuzzer once found stays found, also where there is no libFuzzer. Speaks TAP.
 */

static int run_file(int dir_fd, const char *name)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf data CLEANUP_BUF = { 0 };
	uint8_t *exact CLEANUP_FREE = NULL;

	if (file_read_all(dir_fd, name, 64 << 20, &data, &err) < 0) {
		printf("Bail out! %s\n", error_what(&err));
		return -1;
	}
	/* In a block of its own, so that a sanitizer sees a byte read too far. */
	exact = malloc(data.len);
	if (exact == NULL && data.len != 0)
		return -1;
	if (data.len != 0)
		memcpy(exact, data.data, data.len);
	LLVMFuzzerTestOneInput(exact, data.len);
	return 0;
}

static int is_input(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
	struct dirent **entries = NULL;
	int dir_fd CLEANUP_FD = -1;
	int n;
	int failed = 0;

	if (argc != 2)
		return 64;
	dir_fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	n = scandir(argv[1], &entries, is_input, alphasort);
	if (dir_fd < 0 || n <= 0) {
		printf("Bail out! no inputs in %s\n", argv[1]);
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("1..%d\n", n + 1);
	LLVMFuzzerTestOneInput(NULL, 0);
	printf("ok 1 - nothing\n");
	for (int i = 0; i < n; i++) {
		if (run_file(dir_fd, entries[i]->d_name) < 0)
			failed = 1;
		else
			printf("ok %d - %s\n", i + 2, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return failed;
}
