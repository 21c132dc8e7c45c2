/* SPDX-License-Identifier: MIT */
#include "app/listing.h"

#include "app/progress.h"
#include "app/shown_name.h"
#include "base/clock.h"
#include "replicate/envelope.h"
#include "replicate/inventory.h"
#include "replicate/log_line.h"
#include "replicate/restore.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>

static int list_backend(struct source *source, const char *db, json_t **ret_json,
			struct error *err)
{
	struct inventory inventory;
	struct buf text CLEANUP_BUF = { 0 };
	char *folder CLEANUP_FREE = NULL;
	int r = db == NULL ? 0 : restore_find(source->storage, db, &folder, err);

	if (r == 0)
		r = inventory_take(source->storage, folder, &inventory, err);
	if (r < 0)
		return r;
	r = inventory_json(&inventory, &text, err);
	inventory_done(&inventory);
	if (r < 0)
		return r;
	*ret_json = json_loadb((const char *)text.data, text.len, 0, NULL);
	return *ret_json != NULL ? 0 : error_set(err, ENOMEM, "out of memory");
}

/* The newest line of the log as one range. */
static json_t *line_json(const struct source_database *database, const struct log_line *line,
			 uint64_t bytes)
{
	uint64_t end = log_line_end(line);
	uint64_t begin = line->base.position.txid;
	struct position latest = {
		.generation = log_line_generation(line, end),
		.txid = end,
		.checksum = line->n_steps != 0 ? line->steps[line->n_steps - 1].checksum_after :
						 line->base.position.checksum,
	};
	json_t *range = json_pack(
		"{s:o, s:I, s:I, s:o, s:o, s:I}", "generation", json_hex(latest.generation),
		"first_txid", (json_int_t)(begin + 1), "last_txid", (json_int_t)end, "from",
		json_time(line->base.time_us), "to", json_time(log_line_time(line, end)), "bytes",
		(json_int_t)bytes);

	return json_pack("{s:o, s:o, s:b, s:o, s:o, s:I, s:[o], s:[], s:[]}", "name",
			 shown_name_json(database->name), "id", json_id(&database->id), "ended",
			 database->ended, "latest", json_position(&latest), "latest_time",
			 json_time(log_line_time(line, end)), "bytes", (json_int_t)bytes, "ranges",
			 range, "snapshots", "gaps");
}

static int list_log(const struct source *source, const struct source_database *database,
		    json_t *array, struct error *err)
{
	struct log_line line = { 0 };
	struct txlog_state state;
	struct txlog log;
	char hex[ID_HEX_LEN + 1];
	char path[ID_HEX_LEN + 4];
	int r;

	id_format(&database->id, hex);
	snprintf(path, sizeof(path), "db/%s", hex);
	r = txlog_open_read_only(&log, source->state.fd, path, &state, err);
	if (r < 0)
		return error_wrap(err, "%s", database->name);
	if (state.shortened && !state.damaged)
		error_done(err); /* what it still holds is what there is */
	if (!state.fresh && !state.damaged)
		r = log_line_init(&line, &log, 0, err);
	else if (state.damaged)
		r = -err->code;
	if (r == 0 && !state.fresh)
		json_array_append_new(array, line_json(database, &line, txlog_size(&log)));
	log_line_done(&line);
	txlog_close(&log);
	return r < 0 ? error_wrap(err, "%s", database->name) : 0;
}

static int list_folder(const struct source *source, const char *db, json_t **ret_json,
		       struct error *err)
{
	struct source_database *list = NULL;
	struct source_database one = { 0 };
	json_t *array = json_array();
	size_t n = 0;
	int r;

	if (db != NULL) {
		r = source_find(source, db, &one, err);
		if (r == 0)
			r = list_log(source, &one, array, err);
		source_database_done(&one);
	} else {
		r = source_databases(source, &list, &n, err);
		for (size_t i = 0; r == 0 && i < n; i++)
			r = list_log(source, &list[i], array, err);
		if (list != NULL)
			source_databases_free(list, n);
	}
	*ret_json = json_pack("{s:s, s:o}", "url", source->from, "databases", array);
	return r < 0 || *ret_json != NULL ? r : error_set(err, ENOMEM, "out of memory");
}

int listing_make(struct source *source, const char *db, json_t **ret_json, struct error *err)
{
	*ret_json = NULL;
	return source->storage != NULL ? list_backend(source, db, ret_json, err) :
					 list_folder(source, db, ret_json, err);
}

static const char *text_of(const json_t *json, const char *key)
{
	const char *text = json_string_value(json_object_get(json, key));

	return text != NULL ? text : "?";
}

static json_int_t number_of(const json_t *json, const char *key)
{
	return json_integer_value(json_object_get(json, key));
}

static int print_range(const json_t *range, struct buf *out)
{
	return buf_printf(out, "  transactions %s:%" PRId64 " to %" PRId64 "  (%s to %s)\n",
			  text_of(range, "generation"),
			  (int64_t)number_of(range, "first_txid") - 1,
			  (int64_t)number_of(range, "last_txid"), text_of(range, "from"),
			  text_of(range, "to"));
}

static int print_snapshot(const json_t *snapshot, struct buf *out)
{
	int r = buf_printf(out, "  snapshot %s:%" PRId64 "  (%s), ",
			   text_of(snapshot, "generation"), (int64_t)number_of(snapshot, "txid"),
			   text_of(snapshot, "time"));

	if (r == 0)
		r = progress_format_size((uint64_t)number_of(snapshot, "bytes"), out);
	return r == 0 ? buf_printf(out, " stored\n") : r;
}

static int print_gap(const json_t *gap, struct buf *out)
{
	return buf_printf(out, "  gap: nothing between transactions %" PRId64 " and %" PRId64 "\n",
			  (int64_t)number_of(gap, "after_txid"),
			  (int64_t)number_of(gap, "before_txid"));
}

static int print_each(const json_t *database, const char *key,
		      int (*print)(const json_t *item, struct buf *out), struct buf *out)
{
	const json_t *array = json_object_get(database, key);
	const json_t *item;
	size_t i;
	int r = 0;

	json_array_foreach(array, i, item) {
		if (r == 0)
			r = print(item, out);
	}
	return r;
}

static int print_database(const json_t *database, struct buf *out)
{
	const json_t *latest = json_object_get(database, "latest");
	int r = buf_printf(out, "%s%s  latest %s:%" PRId64 " (%s), ", text_of(database, "name"),
			   json_is_true(json_object_get(database, "ended")) ? " (deleted)" : "",
			   text_of(latest, "generation"), (int64_t)number_of(latest, "txid"),
			   text_of(database, "latest_time"));

	if (r == 0)
		r = progress_format_size((uint64_t)number_of(database, "bytes"), out);
	if (r == 0)
		r = buf_printf(out, ", id %s\n", text_of(database, "id"));
	if (r == 0 && json_is_string(json_object_get(database, "damage")))
		r = buf_printf(out, "  damaged manifest: %s\n", text_of(database, "damage"));
	if (r == 0)
		r = print_each(database, "snapshots", print_snapshot, out);
	if (r == 0)
		r = print_each(database, "ranges", print_range, out);
	return r == 0 ? print_each(database, "gaps", print_gap, out) : r;
}

int listing_print(const json_t *json, struct buf *out)
{
	if (json_array_size(json_object_get(json, "databases")) == 0)
		return buf_printf(out, "%s holds no database yet\n", text_of(json, "url"));
	return print_each(json, "databases", print_database, out);
}
