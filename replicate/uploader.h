/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_UPLOADER_H
#define REPLICATE_UPLOADER_H

#include "replicate/catalog.h"
#include "replicate/object.h"
#include "storage/storage.h"

/*
 * Ships the databases of a catalog to one backend, in one thread: first a
 * snapshot (or, of a database whose log goes back to its beginning, the whole
 * log), then segments of what was committed since, at most one put per database
 * and sync interval, then a snapshot every now and then. An idle database costs
 * no request. A backend that is down is tried again with growing delays; the
 * log keeps what it lacks. What another node owns in the backend is never
 * touched: that database's backup stops, and says so.
 */
struct uploader;

/* A zero of a time stands for its default. */
struct uploader_options {
	const char *name;	 /* of the backend: its cursors are in STATE/backend/<name>/ */
	struct storage *storage; /* borrowed; good for nothing but free after uploader_stop() */
	struct catalog *catalog; /* borrowed */
	int state_fd;		 /* borrowed */
	struct id node_id;
	const char *host;	 /* for people who meet our owner record */
	int compression_level;	 /* of zstd, for segments; 3 */
	int64_t sync_interval_ms;     /* 1,000 */
	int64_t snapshot_interval_ms; /* 24 h */
	int64_t retry_max_ms;	      /* between two attempts; 60,000 */
	int64_t owner_check_ms;	      /* between two looks at the owner record; 600,000 */
	/* Whether the database of that name goes to this backend. NULL: all do. */
	bool (*wanted)(void *arg, const char *name);
	void *arg;
};

/* options is copied. 0 or -errno. */
int uploader_start(const struct uploader_options *options, struct uploader **ret_uploader,
		   struct error *err) MUST_CHECK;

/* The log of some database has grown. Does not block; from any thread. */
void uploader_ring(struct uploader *uploader);

/* Asks for a snapshot of db soon. From any thread. */
void uploader_want_snapshot(struct uploader *uploader, struct database *db);

/*
 * The log's records of db behind that TXID are still needed; UINT64_MAX = none
 * are. From any thread, also with the catalog's lock held.
 */
uint64_t uploader_needed(struct uploader *uploader, struct database *db);

/*
 * Ships all there is, without waiting for intervals; blocks until it is done or
 * timeout_ms have passed. Whether all is stored, but for databases that are
 * refused.
 */
bool uploader_drain(struct uploader *uploader, int64_t timeout_ms);

/* Stops the storage, ends the thread and frees the uploader. NULL is fine. */
void uploader_stop(struct uploader *uploader);

enum uploader_phase {
	UPLOADER_WAITING,  /* nothing is known yet: the backend was not asked */
	UPLOADER_SNAPSHOT, /* its first snapshot is to be made, or a new one behind a gap */
	UPLOADER_SHIPPING,
	UPLOADER_REFUSED,  /* another node owns it */
};

/* One database in this backend. */
struct uploader_database {
	struct id id;
	char *name;
	enum uploader_phase phase;
	struct point stored;	/* all zero: nothing */
	uint64_t waiting_bytes;	/* of the log, about */
	int64_t behind_since_us; /* 0: everything is stored */
	char *trouble;		/* the last error; NULL: all is well */
	int64_t trouble_us;
	uint64_t bytes_put;
	uint64_t n_puts;
	uint64_t snapshot_done;	 /* pages of the snapshot that is being made … */
	uint64_t snapshot_total; /* … of so many; 0: none is */
};

/* All of them together. */
struct uploader_status {
	char *url;
	struct uploader_database *databases;
	size_t n_databases;
	uint64_t waiting_bytes;
	int64_t behind_since_us;
	char *trouble;		/* of the backend as a whole */
	int64_t trouble_us;
	int64_t retry_in_ms;	/* until the next attempt; 0: none is due */
	uint64_t bytes_put;
	uint64_t n_puts;
	int64_t stored_us;	/* when something was stored last */
};

/* Fills ret_status, the caller's to uploader_status_done(). 0 or -ENOMEM. */
int uploader_status(struct uploader *uploader, struct uploader_status *ret_status,
		    struct error *err) MUST_CHECK;
void uploader_status_done(struct uploader_status *status);

/* The same of one database. 0; 1: it does not go to this backend (yet). */
int uploader_database_status(struct uploader *uploader, struct database *db,
			     struct uploader_database *ret_database,
			     struct error *err) MUST_CHECK;
void uploader_database_done(struct uploader_database *database);

#endif
