/* SPDX-License-Identifier: MIT */
#ifndef APP_PROGRESS_H
#define APP_PROGRESS_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * What long work shows of itself: on a terminal one line that is drawn anew in
 * its place, at most ten times a second; elsewhere nothing, or a line in the log
 * now and then if asked for.
 *
 *     restoring app.db  12.3 MiB of 1.2 GiB   1%  45.1 MiB/s  27 s left
 *
 * Owned by the command that does the work and used by one thread.
 *
 * Invariant: drawn says whether the terminal's line shows something that
 * progress_done() must wipe.
 */
struct progress {
	char *label; /* NULL: not started, or done */
	int fd;	     /* not owned */
	bool terminal;
	int64_t log_every_ms; /* 0: never */
	uint64_t done;
	uint64_t total; /* 0: not known */
	int64_t start_ms;
	int64_t shown_ms;  /* when the line was drawn or logged last */
	int64_t sample_ms; /* what the rate was last computed from */
	uint64_t sample_done;
	uint64_t rate; /* bytes a second, smoothed; 0: not known yet */
	bool drawn;
};

#define CLEANUP_PROGRESS CLEANUP(progress_done)

/*
 * Begins to show the work called label ("restoring app.db") of total bytes (0:
 * not known) on fd, if that is a terminal that can. log_every_ms: where it is
 * none, how often to log a line; 0: never. Out of memory, and with label NULL, it
 * shows nothing.
 */
void progress_start(struct progress *progress, int fd, const char *label,
		    uint64_t total, int64_t log_every_ms);

/* The size of the work, once it is known. */
void progress_set_total(struct progress *progress, uint64_t total);

/* done bytes of the work are done. Cheap: most calls only store it. */
void progress_update(struct progress *progress, uint64_t done);

/* progress_update() at the moment now_ms of clock_mono_ms(). */
void progress_update_at(struct progress *progress, uint64_t done, int64_t now_ms);

/* Wipes the line and releases what progress holds. Fine when never started. */
void progress_done(struct progress *progress);

/*
 * Appends "12.3 MiB of 1.2 GiB   1%  45.1 MiB/s  27 s left" in at most width
 * columns, leaving out from the right what does not fit. total 0: not known, and
 * the time that it took so far instead of what is left. rate 0: not known.
 * 0 or -ENOMEM.
 */
int progress_format(uint64_t done, uint64_t total, int64_t elapsed_ms,
		    uint64_t rate, size_t width, struct buf *out) MUST_CHECK;

/* Appends bytes for people: "512 B", "12.3 MiB". 0 or -ENOMEM. */
int progress_format_size(uint64_t bytes, struct buf *out) MUST_CHECK;

/* Appends a time for people: "8 s", "3 min 05 s", "2 h 09 min". 0 or -ENOMEM. */
int progress_format_time(uint64_t seconds, struct buf *out) MUST_CHECK;

#endif
