/* SPDX-License-Identifier: MIT */
#include "replicate/layout.h"

#include "base/buf.h"
#include "base/hash.h"

#include <inttypes.h>
#include <string.h>

#define HASH_MARK "==" /* never part of an escaped name */
#define HASH_DIGITS 16

static bool is_plain(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '-';
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads exactly n hex digits (lower case); NULL when they are not there. */
static const char *parse_hex(const char *at, unsigned n, uint64_t *ret_value)
{
	*ret_value = 0;
	for (unsigned i = 0; i < n; i++, at++) {
		int digit = digit_value(*at);

		if (digit < 0)
			return NULL;
		*ret_value = *ret_value << 4 | (uint64_t)digit;
	}
	return at;
}

char *layout_escape(const char *name)
{
	static const char digits[] = "0123456789abcdef";
	char *text = malloc(3 * strlen(name) + 1);
	char *to = text;

	if (text == NULL)
		return NULL;
	for (const char *at = name; *at != '\0'; at++) {
		unsigned char c = (unsigned char)*at;

		if (c == '/') {
			*to++ = '~';
		} else if (is_plain(c) && !(at == name && c == '.')) {
			*to++ = (char)c;
		} else {
			*to++ = '=';
			*to++ = digits[c >> 4];
			*to++ = digits[c & 15];
		}
	}
	*to = '\0';
	return text;
}

char *layout_unescape(const char *text)
{
	char *name = malloc(strlen(text) + 1);
	char *to = name;
	char *again CLEANUP_FREE = NULL;

	for (const char *at = text; name != NULL && *at != '\0';) {
		uint64_t value = *at == '~' ? '/' : (unsigned char)*at;

		at = *at == '=' ? parse_hex(at + 1, 2, &value) : at + 1;
		if (at == NULL || value == 0)
			goto invalid;
		*to++ = (char)value;
	}
	if (name == NULL)
		return NULL;
	*to = '\0';
	/* One name, one text: what is escaped without need is none. */
	again = layout_escape(name);
	if (again != NULL && strcmp(again, text) == 0)
		return name;
invalid:
	free(name);
	return NULL;
}

static bool is_word(const char *at, size_t len, const char *word)
{
	return len == strlen(word) && memcmp(at, word, len) == 0;
}

bool layout_name_valid(const char *name)
{
	const char *at = name;

	if (strlen(name) > LAYOUT_NAME_MAX)
		return false;
	for (;;) {
		size_t len = strcspn(at, "/");

		if (len == 0 || is_word(at, len, ".") || is_word(at, len, "..") ||
		    (at == name && is_word(at, len, LAYOUT_STATE_NAME)))
			return false;
		if (at[len] == '\0')
			return true;
		at += len + 1;
	}
}

/* The name's part of a folder's name. */
static char *folder_stem(const char *name)
{
	char *text CLEANUP_FREE = layout_escape(name);
	size_t keep = LAYOUT_ESCAPED_MAX - strlen(HASH_MARK) - HASH_DIGITS;
	char *stem;

	if (text == NULL || strlen(text) <= LAYOUT_ESCAPED_MAX)
		return TAKE(text);
	/* Not in the middle of an escape. */
	if (text[keep - 1] == '=')
		keep -= 1;
	else if (text[keep - 2] == '=')
		keep -= 2;
	if (asprintf(&stem, "%.*s" HASH_MARK "%016" PRIx64, (int)keep, text,
		     hash64(name, strlen(name), 0)) < 0)
		return NULL;
	return stem;
}

char *layout_folder(const char *name, const struct id *id)
{
	char *stem CLEANUP_FREE = folder_stem(name);
	char hex[ID_HEX_LEN + 1];
	char *folder;

	id_format(id, hex);
	if (stem == NULL || asprintf(&folder, "%s-%.*s", stem, LAYOUT_ID_LEN, hex) < 0)
		return NULL;
	return folder;
}

bool layout_folder_valid(const char *folder)
{
	size_t len = strlen(folder);
	uint64_t ignored;

	if (len <= LAYOUT_ID_LEN + 1 || len > LAYOUT_ESCAPED_MAX + LAYOUT_ID_LEN + 1)
		return false;
	for (const char *at = folder; *at != '\0'; at++) {
		if (!is_plain((unsigned char)*at) && *at != '~' && *at != '=')
			return false;
	}
	return folder[0] != '.' && folder[len - LAYOUT_ID_LEN - 1] == '-' &&
	       parse_hex(folder + len - LAYOUT_ID_LEN, LAYOUT_ID_LEN, &ignored) != NULL;
}

bool layout_folder_has_id(const char *folder, const struct id *id)
{
	char hex[ID_HEX_LEN + 1];

	id_format(id, hex);
	return layout_folder_valid(folder) &&
	       memcmp(folder + strlen(folder) - LAYOUT_ID_LEN, hex, LAYOUT_ID_LEN) == 0;
}

bool layout_folder_has_name(const char *folder, const char *name)
{
	char *stem CLEANUP_FREE = folder_stem(name);
	size_t len = strlen(folder);

	return stem != NULL && layout_folder_valid(folder) &&
	       strlen(stem) == len - LAYOUT_ID_LEN - 1 && memcmp(stem, folder, strlen(stem)) == 0;
}

void layout_key(char *key, const char *folder, const char *name)
{
	snprintf(key, LAYOUT_KEY_SIZE, "%s/%s", folder, name);
}

void layout_segment_key(char *key, const char *folder, const struct layout_segment *segment)
{
	int n = snprintf(key, LAYOUT_KEY_SIZE,
			 "%s/" LAYOUT_SEGMENTS "%016" PRIx64 "-%016" PRIx64 "-%016" PRIx64, folder,
			 segment->last, segment->first, segment->generation);

	if (segment->part != LAYOUT_PART_FINAL)
		snprintf(key + n, LAYOUT_KEY_SIZE - (size_t)n, ".%04" PRIx32, segment->part);
}

void layout_snapshot_key(char *key, const char *folder, const struct layout_snapshot *snapshot)
{
	snprintf(key, LAYOUT_KEY_SIZE,
		 "%s/" LAYOUT_SNAPSHOTS "%016" PRIx64 "-%016" PRIx64 "-%08" PRIx32 "/%08" PRIx32,
		 folder, snapshot->txid, snapshot->generation, snapshot->random, snapshot->part);
}

void layout_segments_after(char *key, const char *folder, uint64_t txid)
{
	snprintf(key, LAYOUT_KEY_SIZE, "%s/" LAYOUT_SEGMENTS "%016" PRIx64, folder, txid);
}

/* Reads a hex number of n digits that c follows; NULL when it is not there. */
static const char *parse_number(const char *at, unsigned n, char c, uint64_t *ret_value)
{
	at = parse_hex(at, n, ret_value);
	return at != NULL && *at == c ? at + (c != '\0') : NULL;
}

static const char *skip(const char *text, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(text, prefix, len) == 0 ? text + len : NULL;
}

bool layout_segment_parse(const char *text, struct layout_segment *ret_segment)
{
	const char *at = skip(text, LAYOUT_SEGMENTS);
	uint64_t part = LAYOUT_PART_FINAL;

	if (at != NULL)
		at = parse_number(at, 16, '-', &ret_segment->last);
	if (at != NULL)
		at = parse_number(at, 16, '-', &ret_segment->first);
	if (at != NULL)
		at = parse_hex(at, 16, &ret_segment->generation);
	if (at != NULL && *at == '.')
		at = parse_hex(at + 1, 4, &part);
	ret_segment->part = (uint32_t)part;
	return at != NULL && *at == '\0' && ret_segment->generation != 0 &&
	       ret_segment->first != 0 && ret_segment->last >= ret_segment->first - 1;
}

bool layout_snapshot_parse(const char *text, struct layout_snapshot *ret_snapshot)
{
	const char *at = skip(text, LAYOUT_SNAPSHOTS);
	uint64_t random = 0;
	uint64_t part = 0;

	if (at != NULL)
		at = parse_number(at, 16, '-', &ret_snapshot->txid);
	if (at != NULL)
		at = parse_number(at, 16, '-', &ret_snapshot->generation);
	if (at != NULL)
		at = parse_number(at, 8, '/', &random);
	if (at != NULL)
		at = parse_number(at, 8, '\0', &part);
	ret_snapshot->random = (uint32_t)random;
	ret_snapshot->part = (uint32_t)part;
	return at != NULL && ret_snapshot->generation != 0;
}
