/* SPDX-License-Identifier: MIT */
#include "app/source_all.h"

#include "base/file.h"
#include "replicate/holdings.h"

#include <errno.h>
#include <string.h>

typedef int each_fn(void *arg, const char *name, const char *key, struct error *err);

static int each_local(struct source *source, each_fn *fn, void *arg, struct error *err)
{
	struct source_database *list;
	size_t n;
	int r = source_databases(source, &list, &n, err);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < n; i++) {
		char hex[ID_HEX_LEN + 1];

		id_format(&list[i].id, hex);
		if (!list[i].ended)
			r = fn(arg, list[i].name, hex, err);
	}
	source_databases_free(list, n);
	return r;
}

static int each_in_folder(struct source *source, const char *folder, each_fn *fn, void *arg,
			  struct error *err)
{
	struct holdings holdings;
	int r = holdings_open(&holdings, source->storage, folder, NULL, err);

	if (r > 0)
		return 0; /* nothing of a database */
	if (r == 0 && !holdings.manifest.ended)
		r = fn(arg, holdings.manifest.name, folder, err);
	holdings_done(&holdings);
	return r;
}

static int each_remote(struct source *source, each_fn *fn, void *arg, struct error *err)
{
	struct holdings_folders folders CLEANUP(holdings_folders_done) = { 0 };
	int r = holdings_folders_list(&folders, source->storage, err);

	for (size_t i = 0; r == 0 && i < folders.n; i++)
		r = each_in_folder(source, folders.items[i], fn, arg, err);
	return r;
}

int source_each(struct source *source, each_fn *fn, void *arg, struct error *err)
{
	return source->storage != NULL ? each_remote(source, fn, arg, err) :
					 each_local(source, fn, arg, err);
}

int source_make_parents(const char *dir, const char *name, struct error *err)
{
	char *path CLEANUP_FREE = NULL;
	int r = file_make_dir(AT_FDCWD, dir, 0777, err);

	if (r == 0 && asprintf(&path, "%s/%s", dir, name) < 0) {
		path = NULL;
		r = error_set(err, ENOMEM, "out of memory");
	}
	if (r < 0)
		return r;
	for (char *slash = strchr(path + strlen(dir) + 1, '/'); r == 0 && slash != NULL;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		r = file_make_dir(AT_FDCWD, path, 0777, err);
		*slash = '/';
	}
	return r;
}
