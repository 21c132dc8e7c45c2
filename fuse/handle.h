/* SPDX-License-Identifier: MIT */
#ifndef FUSE_HANDLE_H
#define FUSE_HANDLE_H

#include "base/buf.h"
#include "fuse/node.h"

#include <dirent.h>

/*
 * Open files and folders: what the kernel calls by fi->fh. The process-local
 * half of a session_handle.
 *
 * A handle of a database's file holds its own reference: whatever happens to the
 * name, its barriers go to the database it opened.
 */
struct handle {
	uint32_t id;
	struct node *node;
	struct handle *next;	/* node->open_mutex: the node's others */
	int fd;			/* the backing file; -1 for a virtual one */
	bool writable;
	bool mappable;		/* counted in node->n_mapped */

	struct database *db;	/* the table's mutex; set when announced to db */
	enum database_file file;

	pthread_mutex_t mutex;	/* dir, dir_off, pending: of one folder stream */
	DIR *dir;
	off_t dir_off;		/* where the stream stands */
	struct dirent *pending;	/* read, but not yet given to the kernel */
	struct buf content;	/* of a virtual file or folder; fixed at its open */
};

struct handles {
	struct nodes *nodes;
	struct handle **by_id;	/* SESSION_N_HANDLES_MAX, sparse */
	uint64_t n_open;	/* nodes->mutex */
};

int handles_init(struct handles *handles, struct nodes *nodes, struct error *err) MUST_CHECK;
/* Closes what is still open. */
void handles_done(struct handles *handles);

/*
 * A handle of node that takes fd (may be -1) over; node lives as long as it. With
 * flags of the open. NULL when there is no room: fd is then still the caller's.
 */
struct handle *handle_new(struct handles *handles, struct node *node, int fd, int flags);

/* Closes the backing file and frees handle, and its node if nothing else needs that. */
void handle_free(struct handles *handles, struct handle *handle);

/* The handle that the kernel calls id, or NULL. Lock-free. */
struct handle *handles_get(struct handles *handles, uint64_t id);

/* The database handle was announced to, with a reference, and as which file; or NULL. */
struct database *handle_database(struct handles *handles, struct handle *handle,
				 enum database_file *ret_file);
void handle_set_database(struct handles *handles, struct handle *handle, struct database *db,
			 enum database_file file);

/* How many are open. */
uint64_t handles_count(struct handles *handles);

#endif
