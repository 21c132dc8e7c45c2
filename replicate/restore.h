/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_RESTORE_H
#define REPLICATE_RESTORE_H

#include "replicate/apply.h"
#include "replicate/restore_plan.h"
#include "replicate/txlog.h"
#include "storage/storage.h"

/*
 * Rebuilds a database as it was at a moment, from a backend or from a
 * transaction log. The result is verified: every page that a transaction wrote
 * by its hash, and the whole by the checksum of its position. All of it blocks.
 */

struct restore_request {
	struct restore_target target;
	const char *output;	/* the file to make */
	bool force;		/* see restore_output_open() */
	/* Bytes read so far, of about total. May be NULL. */
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};

/* What came of it; restore_result_done() afterwards. */
struct restore_result {
	char *name;		/* of the database, as its manifest says; NULL for a log */
	struct point point;	/* the position reached */
	uint64_t bytes_read;	/* from the backend, or the log */
	uint64_t bytes_written;
	uint64_t n_transactions; /* applied or taken back */
	char *warning;		/* what was damaged and could be done without; or NULL */
};
void restore_result_done(struct restore_result *result);

/*
 * The folder of the database name in the backend: name may also be a folder, or
 * its database's id in hex; NULL stands for the only one there is. One that has
 * not ended goes before others that have had the name. The caller frees
 * *ret_folder. -ENOENT: there is none (err lists what there is); -EEXIST:
 * several may be meant, err lists them.
 */
int restore_find(struct storage *storage, const char *name, char **ret_folder,
		 struct error *err) MUST_CHECK;

/*
 * Restores from folder. When a part of a snapshot is damaged, an older one is
 * taken where there is one. 0 or -errno; -EBADMSG names the object that is
 * damaged and says up to where a restore goes.
 */
int restore_from_backend(struct storage *storage, const char *folder,
			 const struct restore_request *request, struct restore_result *ret_result,
			 struct error *err) MUST_CHECK;

/* The same into the empty file fd, which is not synced; output and force do not count. */
int restore_to_fd(struct storage *storage, const char *folder,
		  const struct restore_request *request, int fd, struct restore_result *ret_result,
		  struct error *err) MUST_CHECK;

/* The live state of a database, for a restore from its log. */
struct restore_live {
	/*
	 * Copies the database as it is at some position of the log to the empty
	 * file fd, and says which position that is. 0 or -errno.
	 */
	int (*copy)(void *arg, int fd, struct point *ret_point, struct error *err);
	void *arg;
};

/*
 * Restores from a transaction log: from a copy of the live state backwards, or,
 * where the log begins with an empty database and that is less work (or live
 * is NULL), forwards. 0; -ENOENT: the log does not hold that moment; -ENODATA:
 * a transaction on the way cannot be undone.
 */
int restore_from_log(struct txlog *log, const struct restore_live *live,
		     const struct restore_request *request, struct restore_result *ret_result,
		     struct error *err) MUST_CHECK;

/* The same into the empty file fd, which is not synced. */
int restore_log_to_fd(struct txlog *log, const struct restore_live *live,
		      const struct restore_request *request, int fd,
		      struct restore_result *ret_result, struct error *err) MUST_CHECK;

#endif
