/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_UPLOADER_INTERNAL_H
#define REPLICATE_UPLOADER_INTERNAL_H

#include "base/log.h"
#include "base/thread.h"
#include "replicate/holdings.h"
#include "replicate/owner.h"
#include "replicate/segment.h"
#include "replicate/snapshot_maker.h"
#include "replicate/upload_cursor.h"
#include "replicate/uploader.h"

#include <stdatomic.h>

/* What the uploader_*.c files share. */

/*
 * One database in the backend. All but shown is the thread's own.
 *
 * Invariant: cursor.folder is set from the moment that the owner record there
 * is known to be ours.
 */
struct upload {
	struct id id;
	enum uploader_phase phase;
	struct upload_cursor cursor;
	bool cursor_dirty;
	bool opened;		/* the backend was asked since the start */
	int64_t owner_checked_ms;
	int64_t retry_ms;	/* nothing before that time; trouble of its own */
	bool has_gap;		/* history jumped behind gap_begin */
	struct point gap_begin;
	bool want_snapshot;
	uint64_t asked_snapshot; /* value of shown.ask_snapshot that was answered */
	bool ended;
	struct database *kept;	/* ended, but not all of it is stored: not to be forgotten */
	struct log_repeat repeat;
	struct uploader_database shown; /* under the uploader's mutex, as the next two */
	uint64_t needed;
	uint64_t ask_snapshot;	/* counts the requests */
	uint32_t log_number;	/* where the log's records behind stored begin */
	uint64_t log_offset;
};

/*
 * Lock: mutex guards uploads (made by the thread only) and each one's shown, and
 * the fields of the second block. It is the innermost lock: nothing is called
 * with it held.
 */
struct uploader {
	struct uploader_options options;
	char *name;
	char *host;
	char *folder_path;	/* of the cursors */
	struct storage *storage;
	struct thread thread;
	atomic_bool deaf;	/* the thread sleeps on purpose: do not ring */
	atomic_bool rung;
	/* The thread's own. */
	struct snapshot_maker *maker;
	struct upload *maker_upload;
	int64_t maker_stuck_ms;	/* since when a writer keeps it waiting; 0 */
	struct holdings_folders folders; /* of the backend, listed once */
	bool folders_listed;
	bool backend_failed;	/* the error at hand is the backend's */
	unsigned n_failures;
	int64_t retry_ms;	/* the backend is left alone until then */
	int64_t shipped_ms;	/* when the last round of shipping began */
	int64_t saved_ms;	/* when cursors were saved */
	struct log_repeat repeat;

	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct upload **uploads;
	size_t n_uploads;
	struct uploader_status total; /* without databases */
	int64_t shown_retry_ms;	/* copy of retry_ms */
	bool draining;
	bool drained;		/* everything was stored when the last pass ended */
	uint64_t n_passes;
};

/* ------------------------------------------------------------- requests (uploader_io.c) */

/* As the storage_*() functions, counting, and noting that the backend failed. */
int uploader_put(struct uploader *uploader, struct upload *upload, const char *key,
		 const struct buf *data, struct error *err) MUST_CHECK;
int uploader_put_new(struct uploader *uploader, struct upload *upload, const char *key,
		     const struct buf *data, struct error *err) MUST_CHECK;

/* Counts one put of len bytes; nothing for 0. */
void uploader_count(struct uploader *uploader, struct upload *upload, uint64_t len);

/* Passes r on, noting a failure of the backend. */
int uploader_io(struct uploader *uploader, int r);

/* ---------------------------------------------------------- the folder (uploader_open.c) */

/*
 * Finds or claims the folder of db, and how far it is stored. 0: phase is
 * SNAPSHOT or SHIPPING; 1: refused; -errno.
 */
int uploader_open_upload(struct uploader *uploader, struct upload *upload, struct database *db,
			 struct error *err) MUST_CHECK;

/* Looks at the owner record again when it is time. 0, 1: it is another's; -errno. */
int uploader_check_owner(struct uploader *uploader, struct upload *upload,
			 struct error *err) MUST_CHECK;

/* Sets err to what to tell about a folder that owner has. */
void uploader_explain_owner(struct uploader *uploader, const char *folder,
			    const struct owner *owner, struct error *err);

/* -------------------------------------------------------- the manifest (uploader_manifest.c) */

/*
 * Rewrites the manifest with the cursor's name and generations, and with
 * snapshot and gap where given. 0 or -errno.
 */
int uploader_write_manifest(struct uploader *uploader, struct upload *upload,
			    const struct manifest_snapshot *snapshot,
			    const struct manifest_gap *gap, struct error *err) MUST_CHECK;

/* Removes parts of snapshots that no manifest will ever name. Failing is harmless. */
void uploader_sweep_snapshots(struct uploader *uploader, struct upload *upload);

/* ------------------------------------------------------------ segments (uploader_ship.c) */

/*
 * Ships what the log has behind the cursor. 0: all of it; 1: there is more;
 * 2: it is another's; -errno. May set want_snapshot and has_gap.
 */
int uploader_ship(struct uploader *uploader, struct upload *upload, struct database *db,
		  struct error *err) MUST_CHECK;

/*
 * Whether the log still has all transactions from an empty database on, and is
 * short enough to do without a snapshot; if so makes the manifest say so.
 * 0; 1: a snapshot is needed; -errno.
 */
int uploader_begin_with_log(struct uploader *uploader, struct upload *upload, struct database *db,
			    struct error *err) MUST_CHECK;

/* ------------------------------------------------------ snapshots (uploader_snapshot.c) */

/* Works on the snapshot under way, or begins one that is wanted. 0; 1: nothing to do. */
int uploader_snapshot_step(struct uploader *uploader, struct error *err) MUST_CHECK;
void uploader_snapshot_abort(struct uploader *uploader);

/* -------------------------------------------------- one database (uploader_serve.c) */

/* The upload of that database; NULL: there is none. By the thread, or under the mutex. */
struct upload *uploader_find(const struct uploader *uploader, const struct id *id);

/* Makes the upload of a database that was not there before. NULL: no memory. */
struct upload *uploader_add(struct uploader *uploader, struct database *db,
			    const char *name) MUST_CHECK;
void uploader_free_upload(struct upload *upload); /* NULL is fine */

/* Saves the cursors that moved. */
void uploader_save_cursors(struct uploader *uploader);

/* Whether anything is to be done for it: news, or a name to follow. */
bool uploader_wants_service(const struct upload *upload, struct database *db, const char *name);

/* Ships what there is. 0: all is stored; 1: there is more, or it waits for a snapshot. */
int uploader_serve(struct uploader *uploader, struct upload *upload,
		   struct database *db) MUST_CHECK;

/* Notes since when something is not stored. */
void uploader_note_behind(struct uploader *uploader, struct upload *upload, bool behind);

/* A snapshot is due when the last one is old and something changed since, or at request. */
void uploader_check_snapshot(struct uploader *uploader, struct upload *upload);

/* The cursor moved to point: shown, and to be saved. */
void uploader_set_stored(struct uploader *uploader, struct upload *upload,
			 const struct point *point);

/* Notes the trouble of one database (err NULL: all is well), and logs changes. */
void uploader_set_trouble(struct uploader *uploader, struct upload *upload,
			  const struct error *err);

void uploader_set_phase(struct uploader *uploader, struct upload *upload,
			enum uploader_phase phase);

#endif
