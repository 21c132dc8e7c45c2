/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_TAILER_H
#define REPLICATE_TAILER_H

#include "base/thread.h"

#include "replicate/catalog.h"

#include <stdatomic.h>

/*
 * The one thread that makes capture prompt; barriers make it right. It watches
 * the -wal of every open database by inotify while that is idle, looks at it
 * every millisecond while commits keep coming, and at all of them once a second
 * in any case (the last publication of a burst rings nothing). It also applies
 * the log's retention. A second thread, the log syncer, makes a log durable while
 * the checkpoint that wants it so is still under way.
 *
 * Invariants: a database is listed while a client has it open. Lock: mutex
 * guards open and n_open and the tailer's fields of each database; a database's
 * mutex may be held when it is taken, so it is never held when one is taken.
 */
struct tailer {
	struct catalog *catalog; /* not owned */
	struct catalog_retention retention;
	pthread_mutex_t mutex;
	pthread_t thread;
	pthread_t syncer;
	pthread_cond_t sync_wanted; /* some database's flag of that name was set */
	bool started;
	bool syncer_started;
	atomic_bool stopping;
	atomic_bool idle; /* asleep until a bell */
	int bell_fd;	  /* eventfd, or -1 */
	int inotify_fd;	  /* or -1: then only looking helps */
	struct database **open;
	size_t n_open;
	_Atomic int64_t retained_ms; /* when retention was applied last; 0: it is wanted */
};

int tailer_init(struct tailer *tailer, struct catalog *catalog, struct error *err) MUST_CHECK;
int tailer_start(struct tailer *tailer, const struct catalog_retention *retention,
		 struct error *err) MUST_CHECK;
void tailer_stop(struct tailer *tailer);
void tailer_done(struct tailer *tailer);

#endif
