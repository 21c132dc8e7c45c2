/* SPDX-License-Identifier: MIT */
#ifndef APP_CONFIG_TABLE_H
#define APP_CONFIG_TABLE_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The one table of all keys. What is not in it does not exist: the reader, the
 * environment, the defaults, the limits and docs/config.md all come from here.
 */

enum config_kind {
	CONFIG_KIND_MOUNT,
	CONFIG_KIND_STREAM,
	CONFIG_KIND_DATABASE,
	CONFIG_KIND_BACKEND,
	CONFIG_N_KINDS,
};

/* A kind of section. */
struct config_section_kind {
	const char *word; /* what stands in brackets, before any ".NAME" */
	bool named;	  /* [word.NAME], any number of them */
	const char *description;
};

enum config_type {
	CONFIG_TYPE_CHOICE,	  /* int (or an enum): index in choices */
	CONFIG_TYPE_BOOL,	  /* bool: yes or no */
	CONFIG_TYPE_INTEGER,	  /* int */
	CONFIG_TYPE_DURATION,	  /* int64_t, milliseconds */
	CONFIG_TYPE_SIZE,	  /* int64_t, bytes */
	CONFIG_TYPE_SIZE_OR_AUTO, /* int64_t, bytes; 0 for auto */
	CONFIG_TYPE_PATH,	  /* char *: absolute, or empty */
	CONFIG_TYPE_URL,	  /* char * */
	CONFIG_TYPE_GLOB,	  /* char * */
	CONFIG_TYPE_GLOBS,	  /* struct config_globs */
};

#define CONFIG_CHOICES_MAX 5

struct config_key {
	enum config_kind kind;
	const char *name;
	enum config_type type;
	size_t offset;	      /* of the field in the struct of the section */
	const char *fallback; /* the default; NULL: the key is required */
	int64_t min;	      /* of integers, durations and sizes */
	int64_t max;
	const char *choices[CONFIG_CHOICES_MAX]; /* ends with NULL */
	const char *description;
};

#define CONFIG_KEYS_MAX 32

extern const struct config_section_kind config_kinds[CONFIG_N_KINDS];
extern const struct config_key config_keys[];
extern const size_t config_n_keys; /* at most CONFIG_KEYS_MAX */

/* The key of that name (lower case), or NULL. */
const struct config_key *config_key_find(enum config_kind kind, const char *name);

/* The key that a section of kind cannot be without, or NULL. */
const struct config_key *config_key_required(enum config_kind kind);

/* The key that name may be a slip of, or NULL. */
const char *config_key_suggest(enum config_kind kind, const char *name);

/* The kind whose word that is (in any case), or CONFIG_N_KINDS. */
enum config_kind config_kind_find(const char *word, size_t len);

/* The kind that word may be a slip of, or CONFIG_N_KINDS. */
enum config_kind config_kind_suggest(const char *word);

/*
 * Whether text can be the NAME of a section: 1 to CONFIG_NAME_MAX of letters,
 * digits, '_' and '-'.
 */
bool config_name_valid(const char *name, size_t len);

/*
 * Appends the environment's name for key: REPLITEDFS_KIND_KEY, or
 * REPLITEDFS_KIND_NAME_KEY, upper case and '_' for '-'. name: NULL where the
 * kind has none. 0 or -ENOMEM.
 */
int config_key_env_name(const struct config_key *key, const char *name,
			struct buf *out) MUST_CHECK;

/* Appends what a value of key may be, in a few words. 0 or -ENOMEM. */
int config_key_allowed(const struct config_key *key, struct buf *out) MUST_CHECK;

#endif
