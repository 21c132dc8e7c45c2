/* SPDX-License-Identifier: MIT */
#include "app/status.h"

#include "app/progress.h"

#include <jansson.h>

/* The status as people read it, from its JSON. */

static const char *text_of(const json_t *json, const char *key)
{
	const char *text = json_string_value(json_object_get(json, key));

	return text != NULL ? text : "";
}

static uint64_t number_of(const json_t *json, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(json, key));
}

static int print_size(uint64_t bytes, struct buf *out)
{
	return progress_format_size(bytes, out);
}

static int print_head(const json_t *json, struct buf *out)
{
	const json_t *capture = json_object_get(json, "capture");
	const json_t *log = json_object_get(json, "log");
	int r = buf_printf(out, "%s served since %s by pid %d (replitedfs %s)\n",
			   text_of(json, "mountpoint"), text_of(json, "since"),
			   (int)number_of(json, "pid"), text_of(json, "version"));

	if (r == 0)
		r = json_is_true(json_object_get(capture, "passthrough")) ?
			    buf_printf(out, "capture: %s, passthrough available\n",
				       text_of(capture, "wanted")) :
			    buf_printf(out, "capture: %s, intercept only (%s)\n",
				       text_of(capture, "wanted"), text_of(capture, "why_not"));
	if (r == 0)
		r = buf_printf(out, "transaction log: ");
	if (r == 0)
		r = print_size(number_of(log, "bytes"), out);
	if (r == 0)
		r = buf_printf(out, " of at most ");
	if (r == 0)
		r = print_size(number_of(log, "max_bytes"), out);
	return r == 0 ? buf_printf(out, "\n") : r;
}

static int print_backend_line(const json_t *backend, struct buf *out)
{
	const json_t *waiting = json_object_get(backend, "waiting_bytes");
	int r = buf_printf(out, "    %s: ", text_of(backend, "name"));

	if (r == 0 && json_is_string(json_object_get(backend, "position")))
		r = buf_printf(out, "at %s", text_of(backend, "position"));
	else if (r == 0)
		r = buf_printf(out, "nothing stored yet");
	if (r == 0 && number_of(backend, "lag_ms") != 0)
		r = buf_printf(out, ", %.1f s behind", (double)number_of(backend, "lag_ms") / 1000);
	if (r == 0 && json_integer_value(waiting) != 0) {
		r = buf_printf(out, ", ");
		if (r == 0)
			r = print_size((uint64_t)json_integer_value(waiting), out);
		if (r == 0)
			r = buf_printf(out, " waiting");
	}
	if (r == 0 && json_is_string(json_object_get(backend, "error")))
		r = buf_printf(out, "\n      error: %s", text_of(backend, "error"));
	return r == 0 ? buf_printf(out, "\n") : r;
}

static int print_database(const json_t *db, struct buf *out)
{
	const json_t *backends = json_object_get(db, "backends");
	const json_t *backend;
	size_t i;
	int r = buf_printf(out, "\n%s  %s, %s, at %s\n  ", text_of(db, "name"),
			   text_of(db, "role"), text_of(db, "mode"),
			   json_is_string(json_object_get(db, "position")) ?
				   text_of(db, "position") :
				   "no position yet");

	if (r == 0)
		r = print_size(number_of(db, "bytes"), out);
	if (r == 0)
		r = buf_printf(out, ", road: %s", text_of(db, "road"));
	if (r == 0 && json_is_string(json_object_get(db, "road_reason")))
		r = buf_printf(out, " (%s)", text_of(db, "road_reason"));
	if (r == 0)
		r = buf_printf(out, ", log ");
	if (r == 0)
		r = print_size(number_of(json_object_get(db, "log"), "bytes"), out);
	if (r == 0)
		r = buf_printf(out, " from %s\n  captured: %s\n",
			       text_of(json_object_get(db, "log"), "oldest_time"),
			       text_of(db, "capture"));
	if (r == 0 && json_is_string(json_object_get(db, "trouble")))
		r = buf_printf(out, "  trouble: %s\n", text_of(db, "trouble"));
	json_array_foreach(backends, i, backend) {
		if (r == 0)
			r = print_backend_line(backend, out);
	}
	return r;
}

int status_print(const json_t *json, struct buf *out)
{
	const json_t *databases = json_object_get(json, "databases");
	const json_t *backends = json_object_get(json, "backends");
	const json_t *item;
	size_t i;
	int r = print_head(json, out);

	json_array_foreach(backends, i, item) {
		if (r == 0)
			r = buf_printf(out, "backend %s: %s%s%s\n", text_of(item, "name"),
				       text_of(item, "url"),
				       json_is_string(json_object_get(item, "error")) ?
					       ", error: " :
					       "",
				       text_of(item, "error"));
	}
	if (r == 0 && json_array_size(databases) == 0)
		r = buf_printf(out, "\nno databases yet\n");
	json_array_foreach(databases, i, item) {
		if (r == 0)
			r = print_database(item, out);
	}
	return r;
}
