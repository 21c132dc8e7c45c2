/* SPDX-License-Identifier: MIT */
#include "app/source_all.h"

#include "base/clock.h"
#include "base/file.h"
#include "replicate/catalog.h"
#include "replicate/holdings.h"
#include "replicate/inventory.h"
#include "replicate/txlog.h"

#include <errno.h>
#include <string.h>

void source_all_done(struct source_all *all)
{
	for (size_t i = 0; i < all->n; i++) {
		free(all->items[i].name);
		free(all->items[i].key);
	}
	free(all->items);
	*all = (struct source_all){ 0 };
}

/* Adds an entry; name and key are copied. */
static int add(struct source_all *all, const char *name, const char *key, int64_t begin_us,
	       int64_t end_us, struct error *err)
{
	struct source_entry *more = reallocarray(all->items, all->n + 1, sizeof(*more));

	if (more == NULL)
		return error_set(err, ENOMEM, "out of memory");
	all->items = more;
	more += all->n++;
	*more = (struct source_entry){ strdup(name), strdup(key), begin_us, end_us };
	if (more->name == NULL || more->key == NULL)
		return error_set(err, ENOMEM, "out of memory");
	return 0;
}

/* ------------------------------------------------------------------ a folder with logs */

/* When the log begins, and its newest transaction; 0: that cannot be told. */
static void look_at_log(const struct source *source, const char *path, int64_t *ret_begin_us,
			int64_t *ret_newest_us)
{
	struct error ignored CLEANUP_ERROR = ERROR_INIT;
	struct txlog_state state;
	struct txlog log;

	*ret_begin_us = 0;
	*ret_newest_us = 0;
	if (txlog_open_read_only(&log, source->state.fd, path, &state, &ignored) < 0)
		return;
	if (!state.fresh && !state.damaged)
		(void)txlog_oldest(&log, ret_begin_us);
	txlog_position(&log, NULL, ret_newest_us);
	txlog_close(&log);
}

static int list_local(struct source *source, struct source_all *all, struct error *err)
{
	struct source_database *list;
	size_t n;
	int r = source_databases(source, &list, &n, err);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < n; i++) {
		char hex[ID_HEX_LEN + 1];
		char path[ID_HEX_LEN + 4];
		int64_t begin_us;
		int64_t newest_us;

		id_format(&list[i].id, hex);
		snprintf(path, sizeof(path), "db/%s", hex);
		look_at_log(source, path, &begin_us, &newest_us);
		all->newest_us = MAX(all->newest_us, newest_us);
		r = add(all, list[i].name, hex, begin_us,
			list[i].ended ? catalog_info_time(source->state.fd, &list[i].id) : INT64_MAX,
			err);
	}
	source_databases_free(list, n);
	return r;
}

/* --------------------------------------------------------------------------- a backend */

/* The first state that is kept; 0: there is none. */
static int64_t manifest_begin(const struct manifest *manifest)
{
	int64_t begin_us = manifest->n_snapshots != 0 ? INT64_MAX : 0;

	for (size_t i = 0; i < manifest->n_snapshots; i++)
		begin_us = MIN(begin_us, manifest->snapshots[i].point.time_us);
	return begin_us;
}

static int list_folder(struct source *source, const char *folder, struct source_all *all,
		       struct error *err)
{
	struct error problem CLEANUP_ERROR = ERROR_INIT;
	struct holdings holdings CLEANUP(holdings_done) = { 0 };
	const struct manifest *manifest = &holdings.manifest;
	int r = holdings_open(&holdings, source->storage, folder, NULL, &problem);

	if (r > 0)
		return 0; /* nothing of a database */
	if (r < 0)
		return add(all, folder, folder, 0, INT64_MAX, err);
	return add(all, manifest->name, folder, manifest_begin(manifest),
		   manifest->ended ? manifest->written_us : INT64_MAX, err);
}

static int list_remote(struct source *source, struct source_all *all, struct error *err)
{
	struct holdings_folders folders CLEANUP(holdings_folders_done) = { 0 };
	int r = holdings_folders_list(&folders, source->storage, err);

	for (size_t i = 0; r == 0 && i < folders.n; i++)
		r = list_folder(source, folders.items[i], all, err);
	return r;
}

int source_all_list(struct source *source, struct source_all *ret_all, struct error *err)
{
	int r;

	*ret_all = (struct source_all){ 0 };
	r = source->storage != NULL ? list_remote(source, ret_all, err) :
				      list_local(source, ret_all, err);
	if (r == 0 && ret_all->n == 0)
		r = error_set(err, ENOENT, "%s holds no database", source->from);
	return r;
}

/* ------------------------------------------------------------------------ its newest time */

static int newest_stored(struct storage *storage, int64_t *ret_us, struct error *err)
{
	struct inventory inventory;
	int r = inventory_take(storage, NULL, &inventory, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < inventory.n_databases; i++)
		*ret_us = MAX(*ret_us, inventory.databases[i].latest.time_us);
	inventory_done(&inventory);
	return 0;
}

int source_all_newest(struct source *source, const struct source_all *all, int64_t *ret_us,
		      struct error *err)
{
	*ret_us = all->newest_us;
	return source->storage != NULL ? newest_stored(source->storage, ret_us, err) : 0;
}

static bool existed(const struct source_entry *entry, int64_t time_us)
{
	return entry->begin_us <= time_us && entry->end_us > time_us;
}

bool source_all_was(const struct source_all *all, const struct source_entry *entry,
		    int64_t time_us)
{
	if (!existed(entry, time_us))
		return false;
	/* The end of one is noted some time after another has taken its name. */
	for (size_t i = 0; i < all->n; i++) {
		const struct source_entry *other = &all->items[i];

		if (strcmp(other->name, entry->name) == 0 && existed(other, time_us) &&
		    other->begin_us > entry->begin_us)
			return false;
	}
	return true;
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
