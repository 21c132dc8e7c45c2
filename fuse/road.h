/* SPDX-License-Identifier: MIT */
#ifndef FUSE_ROAD_H
#define FUSE_ROAD_H

#include "base/error.h"
#include "replicate/database.h"

#include <pthread.h>
#include <stdbool.h>

/*
 * The road that the bytes of a file take. All opens of one inode share one road,
 * chosen at the first and kept until the last is released: the kernel refuses
 * intercept beside passthrough. Correct capture does not depend on it.
 */
enum road {
	ROAD_NONE,
	ROAD_PASSTHROUGH, /* the kernel reads and writes the backing file itself */
	ROAD_INTERCEPT,	  /* reads by the kernel's page cache, writes through the daemon */
};

/* The option: which road files are to take. */
enum road_capture {
	ROAD_CAPTURE_AUTO,	  /* passthrough where it can be had and is faster */
	ROAD_CAPTURE_PASSTHROUGH, /* as auto, but no mount without passthrough */
	ROAD_CAPTURE_INTERCEPT,	  /* intercept, but for -shm and -journal */
};

struct roads {
	enum road_capture capture;
	int dev_fd;		/* /dev/fuse of the session */
	pthread_mutex_t mutex;
	bool available;		/* mutex: passthrough can be had */
	char *why_not;		/* mutex: the reason when it cannot */
};

void roads_init(struct roads *roads, enum road_capture capture, int dev_fd);
void roads_done(struct roads *roads);

/*
 * Finds out whether passthrough works, after the kernel and libfuse have agreed
 * on it (negotiated): registers the backing file probe_fd for a moment. 0, or
 * with ROAD_CAPTURE_PASSTHROUGH -ENOTSUP and the reason.
 */
int roads_probe(struct roads *roads, bool negotiated, int probe_fd, struct error *err) MUST_CHECK;

/*
 * The road for a file that is about to be opened for the first time: as file of
 * db, or an ordinary one when db is NULL. May block for one pread.
 */
enum road roads_choose(struct roads *roads, struct database *db, enum database_file file);

/* Registers the backing file fd: an id > 0, or -errno. */
int roads_register(struct roads *roads, int fd) MUST_CHECK;
void roads_unregister(struct roads *roads, int backing_id);

/* Whether passthrough can be had; if not, a copy of the reason in *ret_why. */
bool roads_available(struct roads *roads, char **ret_why);

#endif
