/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_LAYOUT_H
#define REPLICATE_LAYOUT_H

#include "base/id.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * How objects are named in a backend; docs/format.md has the grammar. A
 * database lives in a folder of its own:
 *
 *   <escaped name>-<first 8 hex digits of its id>/
 *       owner
 *       manifest
 *       snapshot/<first txid>-<generation>-<random>/<part>
 *       segment/<last txid>-<first txid>-<generation>[.<part>]
 *
 * Numbers are lower-case hex of fixed width. A segment's name begins with its
 * last TXID, so that one list behind "segment/<S>" gives, in order, all that a
 * restore from a snapshot at S can need. The final part of a segment has no
 * part number in its name, and is put last: a segment without it is not
 * complete.
 */

#define LAYOUT_ID_LEN 8		  /* hex digits of the id in a folder's name */
#define LAYOUT_ESCAPED_MAX 158	  /* characters of the name in it */
#define LAYOUT_KEY_SIZE 512	  /* room for any key below; prefixes come on top */
#define LAYOUT_PART_FINAL UINT32_MAX
#define LAYOUT_PART_MAX 0xffffu	  /* parts of one segment before the final one */
#define LAYOUT_NAME_MAX 4096u	  /* bytes of a database's name */

#define LAYOUT_STATE_NAME ".replitedfs" /* no database is in there */
#define LAYOUT_OWNER "owner"
#define LAYOUT_MANIFEST "manifest"
#define LAYOUT_SEGMENTS "segment/"
#define LAYOUT_SNAPSHOTS "snapshot/"

/*
 * The name in printable ASCII, from which layout_unescape() gets it back:
 * letters, digits, '.', '_' and '-' stand for themselves, '~' for a slash,
 * "=XX" (hex) for any other byte and for a leading dot. Freed by the caller;
 * NULL when out of memory.
 */
char *layout_escape(const char *name) MUST_CHECK;

/* The name that text stands for, to be freed; NULL when text is none (or no memory). */
char *layout_unescape(const char *text) MUST_CHECK;

/*
 * Whether name can be a database's: a path below the served folder. Not empty nor
 * longer than LAYOUT_NAME_MAX, no component is empty, "." or "..", and the first
 * one is not the state folder's.
 */
bool layout_name_valid(const char *name) MUST_CHECK;

/*
 * The folder of a database: the escaped name, cut to LAYOUT_ESCAPED_MAX with
 * "==" and a hash of the whole in place of its end when it is longer, '-', and
 * the beginning of id. Freed by the caller; NULL when out of memory.
 */
char *layout_folder(const char *name, const struct id *id) MUST_CHECK;

/* Whether folder (without '/') is named as layout_folder() would, for that id. */
bool layout_folder_has_id(const char *folder, const struct id *id) MUST_CHECK;

/* Whether folder is named as layout_folder() would, for a database of that name. */
bool layout_folder_has_name(const char *folder, const char *name) MUST_CHECK;

/* Whether folder looks like a database's at all. */
bool layout_folder_valid(const char *folder) MUST_CHECK;

/* What a segment's key says. */
struct layout_segment {
	uint64_t last;	/* first - 1 when it holds no record */
	uint64_t first;
	uint64_t generation;
	uint32_t part;	/* LAYOUT_PART_FINAL, or the number of one before it */
};

/* What the key of a snapshot's part says. */
struct layout_snapshot {
	uint64_t txid;	/* where it was begun */
	uint64_t generation;
	uint32_t random;
	uint32_t part;
};

/*
 * The keys, with the folder in front, to key[LAYOUT_KEY_SIZE]. folder comes
 * from layout_folder() or passed layout_folder_valid().
 */
void layout_key(char *key, const char *folder, const char *name);
void layout_segment_key(char *key, const char *folder, const struct layout_segment *segment);
void layout_snapshot_key(char *key, const char *folder, const struct layout_snapshot *snapshot);

/* Behind this, a list of the folder's segments begins with those whose last TXID is txid. */
void layout_segments_after(char *key, const char *folder, uint64_t txid);

/* Reads a key behind its folder and '/'; false when it is no such key. */
bool layout_segment_parse(const char *text, struct layout_segment *ret_segment) MUST_CHECK;
bool layout_snapshot_parse(const char *text, struct layout_snapshot *ret_snapshot) MUST_CHECK;

#endif
