/* SPDX-License-Identifier: MIT */
#ifndef APP_SOURCE_ALL_H
#define APP_SOURCE_ALL_H

#include "app/source.h"

/* One database of a source, with what is known of when it was there. */
struct source_entry {
	char *name;	/* of one whose manifest cannot be read: its folder's */
	char *key;	/* by which source_restore() finds exactly that one */
	int64_t begin_us; /* time of its first state that is kept; 0: not known */
	int64_t end_us;	/* when it was noted that its file is gone; INT64_MAX: it is there */
};

struct source_all {
	struct source_entry *items; /* in the source's order */
	size_t n;
	int64_t newest_us; /* of a folder with logs: see source_all_newest() */
};

/*
 * Lists every database of source, those that ended too. One that cannot be read
 * is listed: a restore of it says why. 0 or -errno (-ENOENT: there is none);
 * source_all_done() in any case.
 */
int source_all_list(struct source *source, struct source_all *ret_all,
		    struct error *err) MUST_CHECK;
void source_all_done(struct source_all *all);

/*
 * The time of the newest transaction that source, listed in all, has of any database; of
 * those that cannot be read none. Clocks go wrong: it may be in the future. 0 or -errno.
 */
int source_all_newest(struct source *source, const struct source_all *all, int64_t *ret_us,
		      struct error *err) MUST_CHECK;

/* Whether entry, of all, was the database of its name at time_us. */
bool source_all_was(const struct source_all *all, const struct source_entry *entry,
		    int64_t time_us);

/* Makes the folder dir and those that name, relative to it, is in. 0 or -errno. */
int source_make_parents(const char *dir, const char *name, struct error *err) MUST_CHECK;

#endif
