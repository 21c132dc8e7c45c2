/* SPDX-License-Identifier: MIT */
#include "replicate/companion.h"

#include <string.h>

static const char *const suffixes[DATABASE_N_FILES] = {
	[DATABASE_MAIN] = "",
	[DATABASE_WAL] = "-wal",
	[DATABASE_SHM] = "-shm",
	[DATABASE_JOURNAL] = "-journal",
};

const char *companion_suffix(enum database_file file)
{
	return suffixes[file];
}

bool companion_parse(const char *name, enum database_file *ret_file, size_t *ret_len)
{
	size_t len = strlen(name);

	for (enum database_file file = DATABASE_WAL; file < DATABASE_N_FILES; file++) {
		size_t suffix_len = strlen(suffixes[file]);

		if (len <= suffix_len || name[len - suffix_len - 1] == '/' ||
		    strcmp(name + len - suffix_len, suffixes[file]) != 0)
			continue;
		*ret_file = file;
		*ret_len = len - suffix_len;
		return true;
	}
	return false;
}
