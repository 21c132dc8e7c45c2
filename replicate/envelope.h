/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_ENVELOPE_H
#define REPLICATE_ENVELOPE_H

#include "base/buf.h"
#include "replicate/object.h"

#include <stdbool.h>

/*
 * Small documents for people and programs: JSON behind one line that says what
 * it is, in which version, how long, and its hash:
 *
 *   replitedfs <kind> <version> <length, 8 hex digits> <hash, 16 hex digits>\n
 *   {…}\n
 *
 * The length counts what is behind the first line. The hash is XXH3-64 of that,
 * under a seed that is the XXH3-64 of the line up to and with the blank before
 * the hash.
 */

#define ENVELOPE_MAX (4u << 20) /* bytes of a whole document */

struct json_t; /* jansson.h, which no header includes */

/* Appends the document; takes json over (NULL: out of memory). 0 or -errno. */
int envelope_write(const char *kind, unsigned version, struct json_t *json, struct buf *out,
		   struct error *err) MUST_CHECK;

/*
 * Reads a document of that kind and version into *ret_json, an object that the
 * caller releases with json_cleanup(). 0; -EBADMSG; -EPROTONOSUPPORT (with the
 * version that can read it) when a newer version wrote it.
 */
int envelope_read(const char *kind, unsigned version, const void *data, size_t len,
		  struct json_t **ret_json, struct error *err) MUST_CHECK;

void json_cleanup(struct json_t **json);
#define CLEANUP_JSON CLEANUP(json_cleanup)

/*
 * Reads the fields of an object one by one; the first that is missing, of
 * another type or out of bounds is kept in bad, and all then read as zero.
 */
struct fields {
	struct json_t *object; /* borrowed; NULL reads as an empty one */
	const char **bad;	/* shared with the objects in it */
};

struct fields fields_object(const struct fields *fields, const char *key);
struct json_t *fields_array(const struct fields *fields, const char *key, size_t max);
struct fields fields_at(const struct fields *fields, struct json_t *array, size_t i);
const char *fields_text(const struct fields *fields, const char *key); /* never NULL */
uint64_t fields_number(const struct fields *fields, const char *key, uint64_t max);
int64_t fields_time(const struct fields *fields, const char *key);
bool fields_bool(const struct fields *fields, const char *key);
uint64_t fields_hex(const struct fields *fields, const char *key); /* 16 digits */
struct id fields_id(const struct fields *fields, const char *key);
struct position fields_position(const struct fields *fields, const char *key);
struct point fields_point(const struct fields *fields, const char *key);
/* To be freed: what layout_escape() was given; the name of a database. */
char *fields_escaped(const struct fields *fields, const char *key);
char *fields_name(const struct fields *fields, const char *key);

/* The same values, to be put into an object that is being made; NULL = no memory. */
struct json_t *json_hex(uint64_t value);
struct json_t *json_id(const struct id *id);
struct json_t *json_position(const struct position *position);
struct json_t *json_point(const struct point *point);
struct json_t *json_name(const char *name);

/* A time for people, as clock_format() has it; null for 0, which stands for none. */
struct json_t *json_time(int64_t us);

#endif
