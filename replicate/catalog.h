/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_CATALOG_H
#define REPLICATE_CATALOG_H

#include "replicate/database.h"

/*
 * All databases of one backing folder, by name and by id, and the folder of
 * state they share:
 *
 *   STATE/db/<id>/info          name, node, whether it has ended
 *   STATE/db/<id>/hashes        page hashes
 *   STATE/db/<id>/….log, .idx    the transaction log
 *
 * Lock order: catalog, database, log.
 */
struct catalog;

/* The name that the state folder has in the backing folder, where no database is. */
#define CATALOG_STATE_NAME ".replitedfs"

struct catalog_options {
	int root_fd;	  /* the backing folder */
	int state_fd;	  /* the state folder */
	struct id node_id;
	bool same_boot;	  /* the machine has not restarted since the last session */
	uint64_t log_file_size; /* bytes before a new log file is begun */

	/* Whether the database of that name is to be replicated. NULL: all are. */
	bool (*wanted)(void *arg, const char *name);
	/*
	 * The log of db has begun or grown, or db is renamed or gone. With the mutex of
	 * the database or of the catalog held: must not block. May be NULL.
	 */
	void (*changed)(void *arg, struct database *db);
	/*
	 * Hashing the database of that name at the start; bytes so far and in all. By
	 * catalog_recover() only, in its caller's thread. May be NULL.
	 */
	void (*progress)(void *arg, const char *name, uint64_t done, uint64_t total);
	void *arg;
};

/* The options the catalog was opened with; they belong to it. */
const struct catalog_options *catalog_get_options(const struct catalog *catalog);

/*
 * Loads what the state folder knows. The options' descriptors must outlive the
 * catalog; the struct is copied. 0 or -errno.
 */
int catalog_open(const struct catalog_options *options, struct catalog **ret_catalog,
		 struct error *err) MUST_CHECK;

/*
 * Walks the backing folder while nobody uses it: finds its databases, hashes
 * new ones, and brings every known one's log and content together (recover.c says
 * how). Blocks long, about a second a gigabyte when there is no clean mark. 0 or
 * -errno.
 */
int catalog_recover(struct catalog *catalog, struct error *err) MUST_CHECK;

/*
 * Marks everything clean (when nothing is open any more) and frees the catalog;
 * all references must have been returned.
 */
void catalog_close(struct catalog *catalog);

/*
 * No clean mark at the close: the session ended while clients may still write
 * through descriptors that outlive it.
 */
void catalog_abandon(struct catalog *catalog);

/* The database of that name, with a reference; NULL when there is none. */
struct database *catalog_find(struct catalog *catalog, const char *name);
struct database *catalog_find_id(struct catalog *catalog, const struct id *id);

/*
 * The regular file name is a database from now on: it begins with SQLite's
 * magic, or a -wal or -journal is being created beside it. Finds the existing
 * object or makes one; with a reference. Does not read the file: ret_new tells that
 * catalog_begin() is to follow. 0; 1: the config excludes it (no database comes
 * back); -errno.
 */
int catalog_add(struct catalog *catalog, const char *name, bool *ret_new, struct database **ret_db,
		struct error *err) MUST_CHECK;

/*
 * Captures the content of a database that is new: blocks to hash it, about a second a
 * gigabyte, so nothing that others wait for may be held. It may be opened, renamed or
 * removed meanwhile. 0; -ENOENT: it is not there under its name, as in the middle of a
 * rename, and stays known unless this is the last try; another -errno: it is known no
 * more.
 */
int catalog_begin(struct catalog *catalog, struct database *db, bool last_try,
		  struct error *err) MUST_CHECK;

/* Both, for a name that nobody renames or removes. As the two. */
int catalog_adopt(struct catalog *catalog, const char *name, struct database **ret_db,
		  struct error *err) MUST_CHECK;

/*
 * A file or folder was renamed; to be called right after it succeeded, with no
 * other call on either name going on. Databases below or at from carry on under
 * their new names; a database that to named before has ended.
 */
void catalog_renamed(struct catalog *catalog, const char *from, const char *to);

/* The file name was unlinked: its database, if it was one, has ended. */
void catalog_removed(struct catalog *catalog, const char *name);

/*
 * All databases, ended ones too if asked, in order of name; each with a
 * reference. Free with catalog_list_free(). 0 or -ENOMEM.
 */
int catalog_list(struct catalog *catalog, bool ended, struct database ***ret_list, size_t *ret_n,
		 struct error *err) MUST_CHECK;
void catalog_list_free(struct database **list, size_t n);

/*
 * Starts the thread that catches up when clients commit, and that applies the
 * log's retention every now and then.
 */
struct catalog_retention {
	int64_t keep_us;
	uint64_t max_bytes; /* of all logs together */
	/* A consumer still needs db's records behind that TXID; UINT64_MAX = none. May be NULL. */
	uint64_t (*needed)(void *arg, struct database *db);
	void *arg;
};
int catalog_start(struct catalog *catalog, const struct catalog_retention *retention,
		  struct error *err) MUST_CHECK;
void catalog_stop(struct catalog *catalog);

/*
 * Calls fn for every database that the state folder knows, ended ones too, in no
 * order. Blocks for one small read each. 0, or what fn returned when that was
 * not 0, or -errno (-EBADMSG, -EPROTONOSUPPORT: an info file is not readable).
 */
int catalog_each_known(int state_fd, int (*fn)(void *arg, const struct id *id, const char *name,
					       bool ended, struct error *err),
		       void *arg, struct error *err) MUST_CHECK;

/*
 * When what the state folder says of that database was written last, for instance that it
 * has ended; INT64_MAX: that cannot be told.
 */
int64_t catalog_info_time(int state_fd, const struct id *id);

/*
 * Walks the folder root_fd and calls fn for every database file in it and below:
 * a regular file that begins with SQLite's magic, or that has a -wal or -journal
 * with content beside it. Folders more than 64 levels down are left out, with a
 * warning in the log. Blocks for one or two reads a file. 0, or what fn returned
 * when that was not 0, or -errno.
 */
int catalog_each_file(int root_fd, int (*fn)(void *arg, const char *name, struct error *err),
		      void *arg, struct error *err) MUST_CHECK;

#endif
