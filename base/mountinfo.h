/* SPDX-License-Identifier: MIT */
#ifndef BASE_MOUNTINFO_H
#define BASE_MOUNTINFO_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* /proc/self/mountinfo (proc(5)), one line. The strings point into the line. */
struct mountinfo {
	dev_t dev;	    /* as in st_dev of its files */
	const char *point;  /* where it is mounted, unescaped */
	const char *type;   /* with subtype, as in fuse.replitedfs */
	const char *source; /* unescaped */
};

#define MOUNTINFO_TYPE "fuse.replitedfs" /* ours */

/* Takes line apart in place. False when it is not a line of mountinfo. */
bool mountinfo_parse(char *line, struct mountinfo *ret_info);

/*
 * What is mounted on top at the absolute path point. 0; 1: nothing is; -errno.
 * Free *ret_line, which the strings point into.
 */
int mountinfo_find(const char *point, struct mountinfo *ret_info, char **ret_line,
		   struct error *err) MUST_CHECK;

/*
 * Whether the file system dev, of that type, is mounted anywhere in this namespace. When
 * one is gone the kernel gives its number to the next. 0; 1: it is; -errno.
 */
int mountinfo_has_dev(dev_t dev, const char *type, struct error *err) MUST_CHECK;

/* The same for one with that file_system_id(), which may block for as long as that does. */
int mountinfo_has_filesystem(dev_t dev, uint64_t fsid, struct error *err) MUST_CHECK;

/* Whether type is that of a FUSE file system. */
bool mountinfo_is_fuse(const char *type);

#endif
