/* SPDX-License-Identifier: MIT */
#ifndef APP_SOURCE_H
#define APP_SOURCE_H

#include "app/config.h"
#include "app/state.h"
#include "base/id.h"
#include "storage/storage.h"

/*
 * Where restore, list and verify read from (--from): a backend by its URL or
 * path, or a folder that is or was mounted, with its transaction log.
 *
 * A path is a mount when a daemon serves it; a served folder that is not mounted
 * when it has a state folder; else a folder backend.
 */
struct source {
	char *from;		 /* as it was given */
	struct storage *storage; /* a backend; NULL: a folder with a log */
	bool live;		 /* a daemon serves the folder */
	char *socket_dir;
	int root_fd;		 /* the folder, when it is not live */
	int lock_fd;		 /* keeps mounts away from it meanwhile; -1: none can be */
	struct state state;	 /* fd only when live */
};

#define CLEANUP_SOURCE CLEANUP(source_close)

/* Opens from; config gives the places of sockets and state. 0 or -errno. */
int source_open(struct source *source, const char *from, const struct config *config,
		struct error *err) MUST_CHECK;
void source_close(struct source *source);

/* A database whose log is in the folder. */
struct source_database {
	struct id id;
	char *name;
	bool ended;
};

/* All of them, by name; freed by source_databases_free(). 0 or -errno. */
int source_databases(const struct source *source, struct source_database **ret_list,
		     size_t *ret_n, struct error *err) MUST_CHECK;
void source_databases_free(struct source_database *list, size_t n);

/*
 * The one called name (or with that id in hex); NULL: the only one there is.
 * The entry is moved to *ret_database, to be released with
 * source_database_done(). 0; -ENOENT, and err lists what there is.
 */
int source_find(const struct source *source, const char *name,
		struct source_database *ret_database, struct error *err) MUST_CHECK;
void source_database_done(struct source_database *database);

#endif
