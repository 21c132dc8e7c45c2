/* SPDX-License-Identifier: MIT */
#ifndef APP_CONFIG_SCAN_H
#define APP_CONFIG_SCAN_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * Walks the lines of an INI file before iniparser reads it: says which section
 * and key stands on which line, and refuses every line that iniparser would cut,
 * join or skip (see config_scan.c). Values are not its business.
 */
struct config_scan {
	const char *at; /* what is not read yet */
	const char *end;
	const char *file; /* as messages call it */
	unsigned line;	  /* the number of the line last read */
	bool in_section;
};

/* A section's header or a key. name points into the text, without blanks. */
struct config_scan_item {
	bool is_section;
	const char *name;
	size_t name_len;
	unsigned line;
};

/* Longest line, without its end. iniparser gives up at 1023. */
#define CONFIG_SCAN_LINE_MAX 1000

/* Begins with text, which stays the caller's and has to outlive the scan. */
void config_scan_init(struct config_scan *scan, const char *text, size_t len,
		      const char *file);

/* The next item: 1, 0 at the end, or -EINVAL. */
int config_scan_next(struct config_scan *scan, struct config_scan_item *ret_item,
		     struct error *err) MUST_CHECK;

#endif
