/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "replicate/uploader_internal.h"

#include <errno.h>

/* Reads the manifest there is, or begins one. */
static int read_manifest(struct uploader *uploader, struct upload *upload,
			 struct manifest *ret_manifest, struct error *err)
{
	struct holdings holdings CLEANUP(holdings_done) = { 0 };
	int r = holdings_open(&holdings, uploader->storage, upload->cursor.folder, NULL, err);

	if (r < 0)
		return uploader_io(uploader, r);
	/* A damaged one was made anew from what there is. */
	*ret_manifest = holdings.manifest;
	holdings.manifest = (struct manifest){ 0 };
	return 0;
}

static int add_generations(struct manifest *manifest, const struct manifest *fresh)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < fresh->n_generations; i++)
		r = manifest_add_generation(manifest, &fresh->generations[i]);
	return r;
}

static int change(struct uploader *uploader, struct upload *upload, struct manifest *manifest,
		  const struct manifest_snapshot *snapshot, const struct manifest_gap *gap)
{
	int r = manifest_set_name(manifest, upload->cursor.manifest.name);

	manifest->node_id = uploader->options.node_id;
	manifest->database_id = upload->id;
	manifest->ended = upload->cursor.manifest.ended;
	manifest->term = MAX(manifest->term, upload->cursor.manifest.term);
	manifest->written_us = clock_wall_us();
	if (r == 0)
		r = add_generations(manifest, &upload->cursor.manifest);
	if (r == 0 && snapshot != NULL)
		r = manifest_add_snapshot(manifest, snapshot);
	if (r == 0 && gap != NULL)
		r = manifest_add_gap(manifest, gap);
	return r;
}

int uploader_write_manifest(struct uploader *uploader, struct upload *upload,
			    const struct manifest_snapshot *snapshot,
			    const struct manifest_gap *gap, struct error *err)
{
	struct manifest manifest CLEANUP(manifest_done) = { 0 };
	struct manifest *cursor = &upload->cursor.manifest;
	struct buf data CLEANUP_BUF = { 0 };
	char key[LAYOUT_KEY_SIZE];
	int r = read_manifest(uploader, upload, &manifest, err);

	if (r < 0)
		return r;
	if (change(uploader, upload, &manifest, snapshot, gap) < 0)
		return error_set(err, ENOMEM, "out of memory");
	r = manifest_format(&manifest, &data, err);
	if (r < 0)
		return r;
	layout_key(key, upload->cursor.folder, LAYOUT_MANIFEST);
	r = uploader_put(uploader, upload, key, &data, err);
	if (r < 0)
		return r;
	/* The cursor needs to keep only what the manifest does not say. */
	free(cursor->generations);
	cursor->generations = NULL;
	cursor->n_generations = 0;
	upload->cursor_dirty = true;
	return 0;
}

/* --------------------------------------------------------------------------- sweeping */

struct sweep {
	struct uploader *uploader;
	const char *folder;
	const struct manifest *manifest;
};

static bool is_named(const struct manifest *manifest, const struct layout_snapshot *name)
{
	for (size_t i = 0; i < manifest->n_snapshots; i++) {
		const struct layout_snapshot *known = &manifest->snapshots[i].name;

		if (known->txid == name->txid && known->generation == name->generation &&
		    known->random == name->random)
			return true;
	}
	return false;
}

static int sweep_object(void *arg, const struct storage_object *object, struct error *err)
{
	struct sweep *sweep = arg;
	struct layout_snapshot name;

	if (!layout_snapshot_parse(object->key + strlen(sweep->folder) + 1, &name) ||
	    is_named(sweep->manifest, &name))
		return 0;
	return storage_remove(sweep->uploader->storage, object->key, err);
}

void uploader_sweep_snapshots(struct uploader *uploader, struct upload *upload)
{
	struct error ignored CLEANUP_ERROR = ERROR_INIT;
	struct manifest manifest CLEANUP(manifest_done) = { 0 };
	struct sweep sweep = { uploader, upload->cursor.folder, &manifest };
	char prefix[LAYOUT_KEY_SIZE];

	/* Only by a manifest that is whole: what it does not name is nothing then. */
	if (holdings_read_manifest(uploader->storage, upload->cursor.folder, &manifest,
				   &ignored) != 0)
		return;
	layout_key(prefix, upload->cursor.folder, LAYOUT_SNAPSHOTS);
	if (storage_list(uploader->storage, prefix, NULL, sweep_object, &sweep, &ignored) < 0)
		return; /* the next snapshot's sweep takes them */
}
