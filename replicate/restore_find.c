/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "replicate/restore.h"

#include <errno.h>

/*
 * Finding the folder of a database by name. Folders keep the name that the
 * database had when it was first stored, so a manifest has the last word; they
 * are read only where that can matter.
 */

#define LISTED_MAX 20 /* names in an error message */

struct search {
	struct storage *storage;
	const char *name;	/* NULL: any */
	struct id id;		/* name as an id; zero: it is none */
	struct holdings_folders folders; /* all there are */
	struct buf found;	/* of struct found */
};

/* A folder whose database has, or had last, the name. */
struct found {
	const char *folder;	/* in folders */
	bool ended;
	bool guessed;		/* its manifest is lost: it may have ended, or be called otherwise */
	int64_t written_us;
};

static size_t n_found(const struct search *search)
{
	return search->found.len / sizeof(struct found);
}

static void search_done(struct search *search)
{
	holdings_folders_done(&search->folders);
	buf_done(&search->found);
}

/* Whether the folder's own name answers the search. */
static bool folder_fits(const struct search *search, const char *folder)
{
	if (search->name == NULL)
		return true;
	if (!id_is_zero(&search->id) && layout_folder_has_id(folder, &search->id))
		return true;
	return layout_folder_has_name(folder, search->name);
}

/* Whether the manifest of a folder answers the search. */
static bool manifest_fits(const struct search *search, const struct manifest *manifest)
{
	return search->name == NULL || strcmp(manifest->name, search->name) == 0 ||
	       (!id_is_zero(&search->id) && id_equal(&manifest->database_id, &search->id));
}

/*
 * Reads the manifest of folder. 0; 1: there is none. One that is lost is no
 * reason not to find a folder by its own name, so it is made anew then; a
 * database that was renamed is found by its manifest only.
 */
static int read_manifest(struct search *search, const char *folder, bool renamed,
			 struct manifest *ret_manifest, struct error *err)
{
	struct error problem CLEANUP_ERROR = ERROR_INIT;
	struct holdings holdings CLEANUP(holdings_done) = { 0 };
	int r;

	if (renamed) {
		r = holdings_read_manifest(search->storage, folder, ret_manifest, &problem);
		/* What nobody asked for by name hides nothing. */
		if (r == -EBADMSG || r == -EPROTONOSUPPORT)
			return 1;
	} else {
		r = holdings_open(&holdings, search->storage, folder, NULL, &problem);
		if (r == 0)
			*ret_manifest = holdings.manifest;
		holdings.manifest = (struct manifest){ 0 };
	}
	if (r < 0)
		error_move(err, &problem);
	return r;
}

static int add_found(struct search *search, const char *folder, bool renamed, struct error *err)
{
	struct manifest manifest CLEANUP(manifest_done) = { 0 };
	struct found found = { .folder = folder };
	int r = read_manifest(search, folder, renamed, &manifest, err);

	if (r != 0 || !manifest_fits(search, &manifest))
		return r < 0 ? r : 0;
	found.ended = manifest.ended;
	found.guessed = manifest.written_us == 0;
	found.written_us = manifest.written_us;
	if (buf_append(&search->found, &found, sizeof(found)) < 0)
		return error_set(err, ENOMEM, "out of memory");
	return 0;
}

/* Looks at the folders whose own name answers (or at the others). */
static int look(struct search *search, bool renamed, struct error *err)
{
	const struct holdings_folders *folders = &search->folders;
	int r = 0;

	for (size_t i = 0; r == 0 && i < folders->n; i++) {
		if (folder_fits(search, folders->items[i]) != renamed)
			r = add_found(search, folders->items[i], renamed, err);
	}
	return r;
}

static int not_found(struct search *search, struct error *err)
{
	size_t n = search->folders.n;
	struct buf list CLEANUP_BUF = { 0 };
	int r = 0;

	if (n == 0 || search->name == NULL)
		return error_set(err, ENOENT, "%s holds no backup of a database",
				 storage_url(search->storage));
	for (size_t i = 0; r == 0 && i < MIN(n, (size_t)LISTED_MAX); i++)
		r = buf_printf(&list, "%s%s", i != 0 ? ", " : "", search->folders.items[i]);
	error_set(err, ENOENT, "%s holds no backup of %s", storage_url(search->storage),
		  search->name);
	error_why(err, "it has %s%s", buf_str(&list), n > LISTED_MAX ? " and others" : "");
	return -ENOENT;
}

static int print_found(const struct found *found, struct buf *out)
{
	char text[CLOCK_TEXT_SIZE];

	if (found->guessed)
		return buf_printf(out, "%s (without a manifest)", found->folder);
	clock_format(found->written_us, text);
	return buf_printf(out, "%s (%s, manifest of %s)", found->folder,
			  found->ended ? "ended" : "live", text);
}

static int ambiguous(struct search *search, struct error *err)
{
	const struct found *found = (const struct found *)search->found.data;
	size_t n = n_found(search);
	struct buf list CLEANUP_BUF = { 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < MIN(n, (size_t)LISTED_MAX); i++) {
		if (i != 0)
			r = buf_printf(&list, ", ");
		if (r == 0)
			r = print_found(&found[i], &list);
	}
	error_set(err, EEXIST, "%s holds %zu databases%s%s", storage_url(search->storage), n,
		  search->name != NULL ? " named " : "", search->name != NULL ? search->name : "");
	error_why(err, "they are %s%s", buf_str(&list), n > LISTED_MAX ? " and others" : "");
	error_fix(err, "name one by --db %s", found[0].folder);
	error_exit(err, 64);
	return -EEXIST;
}

/* Of several, the only one that has not ended; else the one that ended last. */
static const struct found *choose(const struct search *search)
{
	const struct found *found = (const struct found *)search->found.data;
	const struct found *live = NULL;
	const struct found *latest = &found[0];
	size_t n = n_found(search);

	for (size_t i = 0; i < n; i++) {
		if (found[i].written_us > latest->written_us)
			latest = &found[i];
		if (found[i].ended)
			continue;
		if (live != NULL)
			return NULL;
		live = &found[i];
	}
	if (live != NULL || search->name != NULL || n == 1)
		return live != NULL ? live : latest;
	return NULL;
}

static bool has_live(const struct search *search)
{
	const struct found *found = (const struct found *)search->found.data;

	for (size_t i = 0; i < n_found(search); i++) {
		if (!found[i].ended && !found[i].guessed)
			return true;
	}
	return false;
}

/* The folder that is called so; NULL: there is none. It is meant, whatever else is. */
static const char *exact_folder(const struct search *search)
{
	for (size_t i = 0; search->name != NULL && i < search->folders.n; i++) {
		if (strcmp(search->folders.items[i], search->name) == 0)
			return search->folders.items[i];
	}
	return NULL;
}

/* Looks for what is called search->name, and sets *ret_folder. */
static int find(struct search *search, const char **ret_folder, struct error *err)
{
	const struct found *chosen;
	int r;

	*ret_folder = exact_folder(search);
	if (*ret_folder != NULL)
		return 0;
	r = look(search, false, err);
	/* One that ended may have made room for another, which was renamed to its name. */
	if (r == 0 && !has_live(search) && search->name != NULL)
		r = look(search, true, err);
	if (r < 0)
		return r;
	if (search->found.len == 0)
		return not_found(search, err);
	chosen = choose(search);
	if (chosen == NULL)
		return ambiguous(search, err);
	*ret_folder = chosen->folder;
	return 0;
}

int restore_find(struct storage *storage, const char *name, char **ret_folder, struct error *err)
{
	struct search search CLEANUP(search_done) = { .storage = storage, .name = name };
	const char *folder = NULL;
	int r;

	if (name == NULL || !id_parse(name, &search.id))
		memset(&search.id, 0, sizeof(search.id));
	r = holdings_folders_list(&search.folders, storage, err);
	if (r == 0)
		r = find(&search, &folder, err);
	if (r < 0)
		return r;
	*ret_folder = strdup(folder);
	return *ret_folder != NULL ? 0 : error_set(err, ENOMEM, "out of memory");
}
