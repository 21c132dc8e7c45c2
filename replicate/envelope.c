/* SPDX-License-Identifier: MIT */
#include "replicate/envelope.h"

#include "base/clock.h"

#include "base/hash.h"
#include "replicate/layout.h"
#include "replicate/page.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>

#define LINE_MAX_LEN ((size_t)80)

void json_cleanup(struct json_t **json)
{
	json_decref(*json);
}

/* ------------------------------------------------------------------ the envelope */

/* The first line for a document of len bytes, with its terminator, to line. */
static size_t format_line(char *line, const char *kind, unsigned version, const char *text,
			  size_t len)
{
	int n = snprintf(line, LINE_MAX_LEN, "replitedfs %s %u %08zx ", kind, version, len);
	uint64_t seed = hash64(line, (size_t)n, 0);

	n += snprintf(line + n, LINE_MAX_LEN - (size_t)n, "%016" PRIx64 "\n",
		      hash64(text, len, seed));
	return (size_t)n;
}

int envelope_write(const char *kind, unsigned version, struct json_t *json, struct buf *out,
		   struct error *err)
{
	json_t *owned CLEANUP_JSON = json;
	char *text CLEANUP_FREE = NULL;
	struct buf body CLEANUP_BUF = { 0 };
	char line[LINE_MAX_LEN];
	size_t line_len;

	if (owned != NULL)
		text = json_dumps(owned, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
	if (text == NULL || buf_printf(&body, "%s\n", text) < 0)
		return error_set(err, ENOMEM, "out of memory writing a %s", kind);
	if (body.len + LINE_MAX_LEN > ENVELOPE_MAX)
		return error_set(err, EFBIG, "the %s is too large", kind);
	line_len = format_line(line, kind, version, (char *)body.data, body.len);
	if (buf_append(out, line, line_len) < 0 || buf_append(out, body.data, body.len) < 0)
		return error_set(err, ENOMEM, "out of memory writing a %s", kind);
	return 0;
}

/* Compares the first line with what it must be. */
static int check_line(const char *kind, unsigned version, const char *data, size_t line_len,
		      const char *text, size_t len, struct error *err)
{
	char start[LINE_MAX_LEN];
	char line[LINE_MAX_LEN];
	int n = snprintf(start, sizeof(start), "replitedfs %s ", kind);
	unsigned found;

	if (line_len < (size_t)n || memcmp(data, start, (size_t)n) != 0)
		return error_set(err, EBADMSG, "not a %s", kind);
	memcpy(line, data, line_len);
	line[line_len] = '\0';
	if (sscanf(line + n, "%9u ", &found) == 1 && found > version) {
		error_set(err, EPROTONOSUPPORT,
			  "the %s has format version %u, this program reads %u", kind, found,
			  version);
		return error_fix(err, "use the replitedfs that wrote it, or a newer one");
	}
	if (format_line(line, kind, version, text, len) != line_len ||
	    memcmp(line, data, line_len) != 0)
		return error_set(err, EBADMSG, "the %s is damaged or cut off", kind);
	return 0;
}

int envelope_read(const char *kind, unsigned version, const void *data, size_t len,
		  struct json_t **ret_json, struct error *err)
{
	const char *newline = len != 0 ? memchr(data, '\n', MIN(len, LINE_MAX_LEN - 1)) : NULL;
	json_error_t json_err;
	size_t line_len;
	json_t *json;
	int r;

	if (newline == NULL || len > ENVELOPE_MAX)
		return error_set(err, EBADMSG, "not a %s", kind);
	line_len = (size_t)(newline + 1 - (const char *)data);
	r = check_line(kind, version, data, line_len, newline + 1, len - line_len, err);
	if (r < 0)
		return r;
	json = json_loadb(newline + 1, len - line_len, JSON_REJECT_DUPLICATES, &json_err);
	if (json == NULL || !json_is_object(json)) {
		json_decref(json);
		return error_set(err, EBADMSG, "the %s holds no JSON object", kind);
	}
	*ret_json = json;
	return 0;
}

/* -------------------------------------------------------------- reading an object */

static json_t *get(const struct fields *fields, const char *key)
{
	json_t *value = *fields->bad == NULL ? json_object_get(fields->object, key) : NULL;

	if (value == NULL && *fields->bad == NULL)
		*fields->bad = key;
	return value;
}

/* Notes that the field key is wrong unless ok. */
static bool check(const struct fields *fields, const char *key, bool ok)
{
	if (!ok && *fields->bad == NULL)
		*fields->bad = key;
	return ok;
}

struct fields fields_object(const struct fields *fields, const char *key)
{
	json_t *value = get(fields, key);

	check(fields, key, json_is_object(value));
	return (struct fields){ value, fields->bad };
}

struct json_t *fields_array(const struct fields *fields, const char *key, size_t max)
{
	json_t *value = get(fields, key);

	return check(fields, key, json_is_array(value) && json_array_size(value) <= max) ? value :
											    NULL;
}

struct fields fields_at(const struct fields *fields, struct json_t *array, size_t i)
{
	json_t *value = json_array_get(array, i);

	check(fields, "an item of a list", json_is_object(value));
	return (struct fields){ value, fields->bad };
}

const char *fields_text(const struct fields *fields, const char *key)
{
	json_t *value = get(fields, key);

	/* A NUL inside would make two texts look the same. */
	if (!check(fields, key, json_is_string(value) && strlen(json_string_value(value)) ==
								 json_string_length(value)))
		return "";
	return json_string_value(value);
}

uint64_t fields_number(const struct fields *fields, const char *key, uint64_t max)
{
	json_t *value = get(fields, key);
	json_int_t number = json_integer_value(value);

	if (!check(fields, key, json_is_integer(value) && number >= 0 && (uint64_t)number <= max))
		return 0;
	return (uint64_t)number;
}

int64_t fields_time(const struct fields *fields, const char *key)
{
	json_t *value = get(fields, key);

	return check(fields, key, json_is_integer(value)) ? json_integer_value(value) : 0;
}

bool fields_bool(const struct fields *fields, const char *key)
{
	json_t *value = get(fields, key);

	return check(fields, key, json_is_boolean(value)) && json_is_true(value);
}

uint64_t fields_hex(const struct fields *fields, const char *key)
{
	const char *text = fields_text(fields, key);
	bool ok = strlen(text) == 16 && strspn(text, "0123456789abcdef") == 16;

	return check(fields, key, ok) ? strtoull(text, NULL, 16) : 0;
}

struct id fields_id(const struct fields *fields, const char *key)
{
	struct id id = { 0 };

	if (!check(fields, key, id_parse(fields_text(fields, key), &id)))
		memset(&id, 0, sizeof(id));
	return id;
}

struct position fields_position(const struct fields *fields, const char *key)
{
	struct fields at = fields_object(fields, key);

	return (struct position){
		.generation = fields_hex(&at, "generation"),
		.txid = fields_number(&at, "txid", INT64_MAX),
		.checksum = fields_hex(&at, "checksum"),
	};
}

struct point fields_point(const struct fields *fields, const char *key)
{
	struct fields at = fields_object(fields, key);
	struct point point = {
		.position = fields_position(fields, key),
		.extent = { (uint32_t)fields_number(&at, "page_size", PAGE_SIZE_MAX),
			    (uint32_t)fields_number(&at, "n_pages", PAGE_NUMBER_MAX) },
		.time_us = fields_time(&at, "time_us"),
	};

	check(fields, key, extent_valid(point.extent));
	return point;
}

char *fields_escaped(const struct fields *fields, const char *key)
{
	const char *text = fields_text(fields, key);
	char *name = *text != '\0' && strlen(text) <= 3 * LAYOUT_NAME_MAX ? layout_unescape(text) :
									     NULL;

	check(fields, key, name != NULL);
	return name;
}

char *fields_name(const struct fields *fields, const char *key)
{
	char *name CLEANUP_FREE = fields_escaped(fields, key);

	/* Files are made by that name. */
	return name != NULL && check(fields, key, layout_name_valid(name)) ? TAKE(name) : NULL;
}

/* -------------------------------------------------------------- making an object */

struct json_t *json_hex(uint64_t value)
{
	char text[17];

	snprintf(text, sizeof(text), "%016" PRIx64, value);
	return json_string(text);
}

struct json_t *json_id(const struct id *id)
{
	char hex[ID_HEX_LEN + 1];

	id_format(id, hex);
	return json_string(hex);
}

struct json_t *json_position(const struct position *position)
{
	return json_pack("{s:o,s:I,s:o}", "generation", json_hex(position->generation), "txid",
			 (json_int_t)position->txid, "checksum", json_hex(position->checksum));
}

struct json_t *json_point(const struct point *point)
{
	json_t *json = json_position(&point->position);

	if (json_object_set_new(json, "page_size", json_integer(point->extent.page_size)) < 0 ||
	    json_object_set_new(json, "n_pages", json_integer(point->extent.n_pages)) < 0 ||
	    json_object_set_new(json, "time_us", json_integer(point->time_us)) < 0) {
		json_decref(json);
		return NULL;
	}
	return json;
}

struct json_t *json_name(const char *name)
{
	char *text CLEANUP_FREE = layout_escape(name);

	return text != NULL ? json_string(text) : NULL;
}

json_t *json_time(int64_t us)
{
	char text[CLOCK_TEXT_SIZE];

	if (us == 0)
		return json_null();
	clock_format(us, text);
	return json_string(text);
}
