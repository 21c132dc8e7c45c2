/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "replicate/restore_plan.h"
#include "replicate/uploader_internal.h"

#include <errno.h>
#include <inttypes.h>

/*
 * The first time since the start that a database has news: where is its folder,
 * is it ours, and how far is it stored? With a cursor that is one look at the
 * owner record and one list behind the cursor. Without one the backend's
 * folders are listed (once for all databases), and the manifest is read.
 */

/* ------------------------------------------------------------------ the owner record */

/* 0, 1 = there is none. A damaged one is nobody's to replace. */
static int read_owner(struct uploader *uploader, const char *folder, struct owner *ret_owner,
		      struct error *err)
{
	int r = holdings_read_owner(uploader->storage, folder, ret_owner, err);

	/* What it says is no failure of the backend. */
	return r == -EBADMSG || r == -EPROTONOSUPPORT ? r : uploader_io(uploader, r);
}

static int note_newest(void *arg, const struct storage_object *object, struct error *err)
{
	int64_t *newest_us = arg;

	*newest_us = MAX(*newest_us, object->modified_us);
	return 0;
}

void uploader_explain_owner(struct uploader *uploader, const char *folder,
			    const struct owner *owner, struct error *err)
{
	struct error ignored CLEANUP_ERROR = ERROR_INIT;
	int64_t newest_us = owner->claimed_us;
	char prefix[LAYOUT_KEY_SIZE];
	char text[CLOCK_TEXT_SIZE];
	int r;

	layout_key(prefix, folder, "");
	r = storage_list(uploader->storage, prefix, NULL, note_newest, &newest_us, &ignored);
	(void)r; /* the time of the claim is better than none */
	clock_format(newest_us, text);
	error_set(err, EEXIST, "%s/%s belongs to node %s (last write %s)",
		  storage_url(uploader->storage), folder, owner->host, text);
	error_why(err, "two writers on one path would make a backup that does not restore");
	error_fix(err, "give this backend another path, or remove %s/" LAYOUT_OWNER
		       " from it once %s has stopped for good", folder, owner->host);
}

/* Writes our record. 0, 1 = there is one. */
static int write_owner(struct uploader *uploader, struct upload *upload, struct database *db,
		       const char *folder, struct error *err)
{
	struct buf data CLEANUP_BUF = { 0 };
	char *name CLEANUP_FREE = database_name(db);
	char key[LAYOUT_KEY_SIZE];
	struct owner owner = {
		.node_id = uploader->options.node_id,
		.database_id = upload->id,
		.name = name,
		.host = uploader->host,
		.generation = database_position(db, NULL, NULL).generation,
		.term = 1,
		.claimed_us = clock_wall_us(),
	};
	int r = name != NULL ? owner_format(&owner, &data, err) :
			       error_set(err, ENOMEM, "out of memory");

	if (r < 0)
		return r;
	layout_key(key, folder, LAYOUT_OWNER);
	return uploader_put_new(uploader, upload, key, &data, err);
}

static bool is_ours(const struct uploader *uploader, const struct upload *upload,
		    const struct owner *owner)
{
	return id_equal(&owner->node_id, &uploader->options.node_id) &&
	       id_equal(&owner->database_id, &upload->id);
}

int uploader_check_owner(struct uploader *uploader, struct upload *upload, struct error *err)
{
	int64_t now = clock_mono_ms();
	struct owner owner = { 0 };
	int r;

	if (upload->owner_checked_ms != 0 &&
	    now - upload->owner_checked_ms < uploader->options.owner_check_ms)
		return 0;
	r = read_owner(uploader, upload->cursor.folder, &owner, err);
	if (r > 0) {
		/* Somebody emptied the backend: begin anew. */
		upload_cursor_done(&upload->cursor);
		upload->opened = false;
		uploader->folders_listed = false;
		return error_set(err, ESTALE, "%s was emptied; beginning anew",
				 storage_url(uploader->storage));
	}
	if (r < 0)
		return r;
	if (is_ours(uploader, upload, &owner)) {
		upload->owner_checked_ms = now;
	} else {
		uploader_explain_owner(uploader, upload->cursor.folder, &owner, err);
		r = 1;
	}
	owner_done(&owner);
	return r;
}

/* ------------------------------------------------------------------ finding the folder */

static int list_folders(struct uploader *uploader, struct error *err)
{
	int r;

	if (uploader->folders_listed)
		return 0;
	holdings_folders_done(&uploader->folders);
	r = uploader_io(uploader,
			holdings_folders_list(&uploader->folders, uploader->storage, err));
	uploader->folders_listed = r == 0;
	return r;
}

/*
 * Looks at a folder that may be the database's, or another one's of the same
 * name. 0: it is ours, *ret_ours set; or it does not matter. 1: it is another's.
 */
static int judge_folder(struct uploader *uploader, struct upload *upload, const char *folder,
			bool *ret_ours, struct error *err)
{
	struct manifest manifest CLEANUP(manifest_done) = { 0 };
	struct owner owner CLEANUP(owner_done) = { 0 };
	bool live = true;
	int r = read_owner(uploader, folder, &owner, err);

	/* Without an owner it is whose database is in it. */
	*ret_ours = r > 0 ? layout_folder_has_id(folder, &upload->id) :
			    r == 0 && is_ours(uploader, upload, &owner);
	if (r < 0)
		return r;
	/* Our own, for an earlier database of this name, does not matter. */
	if (r > 0 || id_equal(&owner.node_id, &uploader->options.node_id))
		return 0;
	if (holdings_read_manifest(uploader->storage, folder, &manifest, NULL) == 0)
		live = !manifest.ended;
	/* Nor does another's that has ended, unless it is a copy of this very one. */
	if (!live && !id_equal(&owner.database_id, &upload->id))
		return 0;
	uploader_explain_owner(uploader, folder, &owner, err);
	return 1;
}

/* Finds our folder among those there are. 0: *ret_folder may be NULL; 1: refused. */
static int find_folder(struct uploader *uploader, struct upload *upload, const char *name,
		       char **ret_folder, struct error *err)
{
	int r = list_folders(uploader, err);

	*ret_folder = NULL;
	for (size_t i = 0; r == 0 && i < uploader->folders.n; i++) {
		const char *folder = uploader->folders.items[i];
		bool ours = false;

		if (!layout_folder_has_id(folder, &upload->id) &&
		    !layout_folder_has_name(folder, name))
			continue;
		r = judge_folder(uploader, upload, folder, &ours, err);
		if (r == 0 && ours) {
			*ret_folder = strdup(folder);
			return *ret_folder != NULL ? 0 : error_set(err, ENOMEM, "out of memory");
		}
	}
	return r;
}

/* Makes folder ours. 0; 1: somebody else was faster. */
static int claim_folder(struct uploader *uploader, struct upload *upload, struct database *db,
			const char *folder, struct error *err)
{
	struct owner owner = { 0 };
	int r = write_owner(uploader, upload, db, folder, err);

	if (r <= 0)
		return r;
	r = read_owner(uploader, folder, &owner, err);
	if (r != 0)
		return r < 0 ? r : error_set(err, EAGAIN, "the owner record of %s comes and goes",
					     folder);
	if (!is_ours(uploader, upload, &owner)) {
		uploader_explain_owner(uploader, folder, &owner, err);
		r = 1;
	}
	owner_done(&owner);
	return r;
}

/* -------------------------------------------------------------------- how far it is */

/* The position behind a whole segment. 0, 1 = gone. */
static int segment_end(struct uploader *uploader, const char *folder,
		       const struct layout_segment *name, struct point *ret_point,
		       struct error *err)
{
	struct object_header header;
	char key[LAYOUT_KEY_SIZE];
	int r;

	layout_segment_key(key, folder, name);
	r = holdings_read_header(uploader->storage, key, OBJECT_SEGMENT, &header, err);
	if (r < 0 && err->code != EBADMSG)
		return uploader_io(uploader, r);
	if (r == 0)
		*ret_point = header.to;
	return r == 0 ? 0 : 1;
}

/* Moves the cursor over what was stored behind it before a crash. */
static int extend_cursor(struct uploader *uploader, struct upload *upload, struct error *err)
{
	struct upload_cursor *cursor = &upload->cursor;
	struct layout_segment last = { .part = LAYOUT_PART_FINAL };
	uint64_t txid = cursor->stored.position.txid;
	struct holdings holdings CLEANUP(holdings_done) = {
		.storage = uploader->storage, .folder = strdup(cursor->folder),
	};
	int r = holdings.folder != NULL ? holdings_list(&holdings, txid, err) :
					  error_set(err, ENOMEM, "out of memory");

	if (r < 0)
		return uploader_io(uploader, r);
	for (size_t i = 0; i < holdings.n_segments; i++) {
		const struct holdings_segment *segment = &holdings.segments[i];

		if (!segment->whole || segment->first > txid + 1 || segment->last <= txid ||
		    segment->generation != cursor->stored.position.generation)
			continue;
		txid = segment->last;
		last.last = segment->last;
		last.first = segment->first;
		last.generation = segment->generation;
	}
	if (last.generation == 0)
		return 0;
	r = segment_end(uploader, cursor->folder, &last, &cursor->stored, err);
	upload->cursor_dirty = true;
	return r < 0 ? r : 0;
}

/* The end of the plan: of its last segment, or the snapshot itself. */
static int plan_end(struct uploader *uploader, const struct restore_plan *plan,
		    const char *folder, struct point *ret_point, struct error *err)
{
	const struct fetcher_item *last = plan->items;
	int r;

	*ret_point = plan->snapshot->point;
	if (plan->n_items == 0)
		return 0;
	last += plan->n_items - 1;
	if (last->kind != OBJECT_SEGMENT)
		return 0;
	r = segment_end(uploader, folder, &last->segment, ret_point, err);
	return r < 0 ? r : 0;
}

/*
 * Makes a cursor of what the backend holds. 0; 1: nothing that could be
 * continued.
 */
static int rebuild_cursor(struct uploader *uploader, struct upload *upload, const char *folder,
			  struct error *err)
{
	static const struct restore_target latest = { .kind = RESTORE_LATEST };
	struct restore_plan plan CLEANUP(restore_plan_done) = { 0 };
	struct holdings holdings CLEANUP(holdings_done) = { 0 };
	struct upload_cursor *cursor = &upload->cursor;
	int r = holdings_open(&holdings, uploader->storage, folder, NULL, err);

	if (r != 0)
		return uploader_io(uploader, r);
	r = restore_plan_open(&plan, &holdings, &latest, err);
	if (r == -ENOENT)
		return 1;
	if (r == 0)
		r = restore_plan_choose(&plan, &holdings, 0, &latest, err);
	/* A hole is filled again, if the log still can. */
	if (r < 0 && r != -ENODATA)
		return uploader_io(uploader, r);
	r = plan_end(uploader, &plan, folder, &cursor->stored, err);
	if (r < 0)
		return r;
	cursor->snapshot = plan.candidates[0]->point;
	cursor->snapshot_us = plan.candidates[0]->created_us;
	free(cursor->manifest.name);
	cursor->manifest.name = TAKE(holdings.manifest.name);
	cursor->manifest.ended = holdings.manifest.ended;
	/* Those that the manifest knows are added once more, which changes nothing. */
	for (size_t i = 0; i < holdings.manifest.n_generations; i++) {
		if (manifest_add_generation(&cursor->manifest,
					    &holdings.manifest.generations[i]) < 0)
			return error_set(err, ENOMEM, "out of memory");
	}
	return 0;
}

/* --------------------------------------------------------------------------- opening */

/* Prepares an empty cursor in folder (taken over). */
static int new_cursor(struct uploader *uploader, struct upload *upload, const char *name,
		      char *folder, struct error *err)
{
	upload_cursor_done(&upload->cursor);
	upload->cursor.folder = folder;
	upload->cursor.url = strdup(storage_url(uploader->storage));
	upload->cursor.manifest.name = strdup(name);
	if (upload->cursor.url == NULL || upload->cursor.manifest.name == NULL)
		return error_set(err, ENOMEM, "out of memory");
	return 0;
}

/* Without a cursor. 0: phase is set; 1: refused. */
static int open_anew(struct uploader *uploader, struct upload *upload, struct database *db,
		     struct error *err)
{
	char *name CLEANUP_FREE = database_name(db);
	char *folder CLEANUP_FREE = NULL;
	bool found;
	int r = name != NULL ? find_folder(uploader, upload, name, &folder, err) :
			       error_set(err, ENOMEM, "out of memory");

	if (r != 0)
		return r;
	found = folder != NULL;
	if (!found)
		folder = layout_folder(name, &upload->id);
	if (folder == NULL)
		return error_set(err, ENOMEM, "out of memory");
	r = claim_folder(uploader, upload, db, folder, err);
	if (r != 0)
		return r;
	r = new_cursor(uploader, upload, name, TAKE(folder), err);
	if (r == 0 && found)
		r = rebuild_cursor(uploader, upload, upload->cursor.folder, err);
	else if (r == 0)
		r = 1;
	if (r < 0)
		return r;
	uploader_set_phase(uploader, upload, r == 0 ? UPLOADER_SHIPPING : UPLOADER_SNAPSHOT);
	upload->cursor_dirty = true;
	upload->owner_checked_ms = clock_mono_ms();
	return 0;
}

/* With a cursor from the last time. */
static int open_again(struct uploader *uploader, struct upload *upload, struct error *err)
{
	int r = uploader_check_owner(uploader, upload, err);

	if (r == 0)
		r = extend_cursor(uploader, upload, err);
	if (r == 0)
		uploader_set_phase(uploader, upload, UPLOADER_SHIPPING);
	return r;
}

int uploader_open_upload(struct uploader *uploader, struct upload *upload, struct database *db,
			 struct error *err)
{
	int r;

	if (upload->opened)
		return 0;
	if (upload->cursor.folder != NULL && upload->cursor.stored.position.generation != 0)
		r = open_again(uploader, upload, err);
	else
		r = open_anew(uploader, upload, db, err);
	if (r == 0) {
		upload->opened = true;
		uploader_set_stored(uploader, upload, &upload->cursor.stored);
	}
	return r;
}
