/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "replicate/uploader_internal.h"

#include <errno.h>

/*
 * One snapshot at a time, a part a step, so that other databases are shipped in
 * between. When it is whole the manifest names it; a database that had nothing
 * stored, or a gap, goes on from there.
 */

#define STUCK_MS 600000	   /* a writer may keep a snapshot waiting for that long */
#define AGAIN_MS 2000	   /* before one that failed is begun anew */
#define STUCK_AGAIN_MS 60000

void uploader_snapshot_abort(struct uploader *uploader)
{
	snapshot_maker_free(TAKE(uploader->maker));
	if (uploader->maker_upload != NULL) {
		LOCK_SCOPE(&uploader->mutex);
		uploader->maker_upload->shown.snapshot_total = 0;
	}
	uploader->maker_upload = NULL;
	uploader->maker_stuck_ms = 0;
}

/* The next database that a snapshot is wanted of; NULL = none. */
static struct upload *next_wanted(struct uploader *uploader)
{
	int64_t now = clock_mono_ms();

	for (size_t i = 0; i < uploader->n_uploads; i++) {
		struct upload *upload = uploader->uploads[i];

		if (upload->want_snapshot && !upload->ended && upload->opened &&
		    upload->phase != UPLOADER_REFUSED && now >= upload->retry_ms)
			return upload;
	}
	return NULL;
}

static int begin(struct uploader *uploader, struct upload *upload, struct error *err)
{
	struct database *db = catalog_find_id(uploader->options.catalog, &upload->id);
	int r;

	if (db == NULL) {
		upload->want_snapshot = false;
		return 1;
	}
	r = snapshot_maker_new(db, &uploader->options.node_id, uploader->storage,
			       upload->cursor.folder, &uploader->maker, err);
	database_unref(db);
	if (r == 0)
		uploader->maker_upload = upload;
	return r;
}

static void show_progress(struct uploader *uploader)
{
	struct uploader_database *shown = &uploader->maker_upload->shown;
	uint64_t done;
	uint64_t total;

	snapshot_maker_progress(uploader->maker, &done, &total);
	LOCK_SCOPE(&uploader->mutex);
	shown->snapshot_done = done;
	shown->snapshot_total = MAX(total, (uint64_t)1);
	if (uploader->maker_upload->phase == UPLOADER_SNAPSHOT)
		uploader->maker_upload->needed = snapshot_maker_needs(uploader->maker);
}

/* The snapshot is whole: names it in the manifest. */
static int finish(struct uploader *uploader, struct error *err)
{
	struct upload *upload = uploader->maker_upload;
	struct manifest_snapshot snapshot = snapshot_maker_result(uploader->maker);
	struct manifest_generation generation = snapshot_maker_generation(uploader->maker);
	struct manifest_gap gap = {
		.begin = upload->gap_begin,
		.end = snapshot.point,
		.noticed_us = clock_wall_us(),
	};
	int r = 0;

	if (manifest_add_generation(&upload->cursor.manifest, &generation) < 0)
		return error_set(err, ENOMEM, "out of memory");
	r = uploader_write_manifest(uploader, upload, &snapshot, upload->has_gap ? &gap : NULL,
				    err);
	if (r < 0)
		return r;
	upload->cursor.snapshot = snapshot.point;
	upload->cursor.snapshot_us = snapshot.created_us;
	upload->want_snapshot = false;
	upload->has_gap = false;
	if (upload->phase == UPLOADER_SNAPSHOT) {
		uploader_set_stored(uploader, upload, &snapshot.point);
		uploader_set_phase(uploader, upload, UPLOADER_SHIPPING);
	}
	uploader_sweep_snapshots(uploader, upload);
	return 0;
}

/* A writer keeps the pages to itself: that may go on for long, but not for ever. */
static int stuck(struct uploader *uploader, struct error *err)
{
	int64_t now = clock_mono_ms();

	if (uploader->maker_stuck_ms == 0)
		uploader->maker_stuck_ms = now;
	if (now - uploader->maker_stuck_ms < STUCK_MS)
		return 0;
	return error_set(err, EBUSY, "a transaction has kept a snapshot waiting for %d minutes",
			 STUCK_MS / 60000);
}

/* After a step failed: the backend's failures are waited out, others begin anew. */
static int give_up(struct uploader *uploader, struct upload *upload, int r, struct error *err)
{
	if (uploader->backend_failed)
		return r;
	upload->retry_ms = clock_mono_ms() + (r == -EBUSY ? STUCK_AGAIN_MS : AGAIN_MS);
	uploader_snapshot_abort(uploader);
	if (r == -ESTALE) {
		error_done(err); /* nothing is wrong; it is done again */
		return 0;
	}
	return r;
}

int uploader_snapshot_step(struct uploader *uploader, struct error *err)
{
	struct upload *upload = uploader->maker_upload;
	int r = 0;

	if (upload == NULL) {
		upload = next_wanted(uploader);
		if (upload == NULL)
			return 1;
		r = begin(uploader, upload, err);
		return r < 0 ? give_up(uploader, upload, r, err) : r;
	}
	if (!snapshot_maker_is_done(uploader->maker)) {
		uint64_t before = snapshot_maker_bytes(uploader->maker);

		r = snapshot_maker_step(uploader->maker, err);
		if (r < 0 && snapshot_maker_waits(uploader->maker))
			uploader->backend_failed = true;
		uploader_count(uploader, upload, snapshot_maker_bytes(uploader->maker) - before);
		show_progress(uploader);
	}
	if (r == 2)
		r = stuck(uploader, err);
	else
		uploader->maker_stuck_ms = 0;
	if (r == 0 && snapshot_maker_is_done(uploader->maker))
		r = 1;
	if (r == 1) {
		r = finish(uploader, err);
		if (r == 0)
			uploader_snapshot_abort(uploader);
	}
	return r < 0 ? give_up(uploader, upload, r, err) : 0;
}
