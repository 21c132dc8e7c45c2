/* SPDX-License-Identifier: MIT */
#include "replicate/inventory.h"

#include "base/clock.h"
#include "replicate/envelope.h"
#include "replicate/holdings.h"

#include <errno.h>
#include <jansson.h>

static void database_done(struct inventory_database *database)
{
	manifest_done(&database->manifest);
	free(database->folder);
	free(database->damage);
	free(database->ranges);
	*database = (struct inventory_database){ 0 };
}

void inventory_done(struct inventory *inventory)
{
	for (size_t i = 0; i < inventory->n_databases; i++)
		database_done(&inventory->databases[i]);
	free(inventory->databases);
	free(inventory->url);
	*inventory = (struct inventory){ 0 };
}

static int out_of_memory(struct error *err)
{
	return error_set(err, ENOMEM, "out of memory");
}

/* --------------------------------------------------------------------------- ranges */

/* The range of that generation that segment goes on from, or a new one. */
static struct inventory_range *range_for(struct inventory_database *database,
					 const struct holdings_segment *segment)
{
	struct inventory_range *more;

	for (size_t i = database->n_ranges; i-- > 0;) {
		struct inventory_range *range = &database->ranges[i];

		if (range->generation == segment->generation && segment->first <= range->last + 1)
			return range;
	}
	more = reallocarray(database->ranges, database->n_ranges + 1, sizeof(*more));
	if (more == NULL)
		return NULL;
	database->ranges = more;
	more[database->n_ranges] = (struct inventory_range){
		.generation = segment->generation,
		.first = segment->first,
		.last = segment->first - 1,
	};
	return &more[database->n_ranges++];
}

/* Which of the generations it is, as they began. */
static size_t rank(const struct manifest *manifest, uint64_t generation)
{
	const struct manifest_generation *found = manifest_find_generation(manifest, generation);

	return found != NULL ? (size_t)(found - manifest->generations) : SIZE_MAX;
}

static int by_history(const void *a, const void *b, void *arg)
{
	const struct inventory_range *x = a;
	const struct inventory_range *y = b;
	size_t x_rank = rank(arg, x->generation);
	size_t y_rank = rank(arg, y->generation);

	if (x_rank != y_rank)
		return x_rank < y_rank ? -1 : 1;
	return (x->first > y->first) - (x->first < y->first);
}

static int collect_ranges(struct inventory_database *database, const struct holdings *holdings,
			  struct error *err)
{
	for (size_t i = 0; i < holdings->n_segments; i++) {
		const struct holdings_segment *segment = &holdings->segments[i];
		struct inventory_range *range;

		database->bytes += segment->bytes;
		if (!segment->whole) {
			database->n_incomplete++;
			continue;
		}
		if (segment->last < segment->first)
			continue; /* it only tells of a generation */
		range = range_for(database, segment);
		if (range == NULL)
			return out_of_memory(err);
		range->last = MAX(range->last, segment->last);
		range->n_segments++;
		range->bytes += segment->bytes;
	}
	if (database->n_ranges > 1)
		qsort_r(database->ranges, database->n_ranges, sizeof(*database->ranges),
			by_history, &database->manifest);
	return 0;
}

/* The header of the whole segment that begins (or ends) with that transaction. */
static int read_edge(const struct holdings *holdings, const struct inventory_range *range,
		     bool end, struct object_header *ret_header, struct error *err)
{
	for (size_t i = 0; i < holdings->n_segments; i++) {
		const struct holdings_segment *segment = &holdings->segments[i];
		struct layout_segment name = { segment->last, segment->first, segment->generation,
					       LAYOUT_PART_FINAL };
		char key[LAYOUT_KEY_SIZE];
		int r;

		if (!segment->whole || segment->generation != range->generation ||
		    (end ? segment->last != range->last : segment->first != range->first))
			continue;
		layout_segment_key(key, holdings->folder, &name);
		r = holdings_read_header(holdings->storage, key, OBJECT_SEGMENT, ret_header, err);
		if (r < 0 && err->code != EBADMSG)
			return r;
		if (r == 0)
			return 0;
	}
	return 1; /* damaged: its times stay unknown */
}

static int read_times(struct inventory_database *database, const struct holdings *holdings,
		      struct error *err)
{
	uint64_t newest = holdings_newest_generation(holdings);
	int r = 0;

	for (size_t i = 0; r >= 0 && i < database->n_ranges; i++) {
		struct inventory_range *range = &database->ranges[i];
		struct object_header header;

		r = read_edge(holdings, range, false, &header, err);
		if (r == 0)
			range->first_us = header.from.time_us;
		if (r >= 0)
			r = read_edge(holdings, range, true, &header, err);
		if (r != 0)
			continue;
		range->last_us = header.to.time_us;
		if (range->generation == newest)
			database->latest = header.to;
	}
	return r < 0 ? r : 0;
}

/* ------------------------------------------------------------------------- databases */

static void count_snapshots(struct inventory_database *database, uint64_t newest)
{
	const struct manifest *manifest = &database->manifest;

	for (size_t i = 0; i < manifest->n_snapshots; i++) {
		const struct manifest_snapshot *snapshot = &manifest->snapshots[i];

		database->bytes += snapshot->bytes;
		if (database->latest.position.generation != newest ||
		    snapshot->point.position.txid > database->latest.position.txid)
			database->latest = snapshot->point;
	}
}

/* 0; 1: nothing of a database is in folder. */
static int take_database(struct storage *storage, const char *folder,
			 struct inventory_database *database, struct error *err)
{
	struct holdings holdings CLEANUP(holdings_done) = { 0 };
	struct error damage CLEANUP_ERROR = ERROR_INIT;
	int r = holdings_open(&holdings, storage, folder, &damage, err);

	if (r == 0)
		r = holdings_list(&holdings, 0, err);
	if (r != 0)
		return r;
	database->folder = strdup(folder);
	if (holdings.rebuilt)
		database->damage = strdup(error_what(&damage));
	if (database->folder == NULL || (holdings.rebuilt && database->damage == NULL))
		return out_of_memory(err);
	database->manifest = holdings.manifest;
	r = collect_ranges(database, &holdings, err);
	if (r == 0)
		r = read_times(database, &holdings, err);
	count_snapshots(database, holdings_newest_generation(&holdings));
	holdings.manifest = (struct manifest){ 0 };
	return r;
}

struct taking {
	struct storage *storage;
	struct inventory *inventory;
};

static int add_database(struct taking *taking, const char *folder, struct error *err)
{
	struct inventory *inventory = taking->inventory;
	struct inventory_database database = { 0 };
	struct inventory_database *more;
	int r = take_database(taking->storage, folder, &database, err);

	if (r == 0) {
		more = reallocarray(inventory->databases, inventory->n_databases + 1,
				    sizeof(*more));
		if (more != NULL) {
			inventory->databases = more;
			more[inventory->n_databases++] = database;
			return 0;
		}
		r = out_of_memory(err);
	}
	database_done(&database);
	return r;
}

/* An entry that says no more than why there is none. */
static int add_unreadable(struct taking *taking, const char *folder, const char *why,
			  struct error *err)
{
	struct inventory *inventory = taking->inventory;
	struct inventory_database database = {
		.folder = strdup(folder),
		.manifest.name = strdup(folder),
		.damage = strdup(why),
	};
	struct inventory_database *more = reallocarray(
		inventory->databases, inventory->n_databases + 1, sizeof(*more));

	if (more != NULL)
		inventory->databases = more;
	if (more == NULL || database.folder == NULL || database.manifest.name == NULL ||
	    database.damage == NULL) {
		database_done(&database);
		return out_of_memory(err);
	}
	more[inventory->n_databases++] = database;
	return 0;
}

/* Every database of the backend. */
static int add_all(struct taking *taking, struct error *err)
{
	struct holdings_folders folders CLEANUP(holdings_folders_done) = { 0 };
	int r = holdings_folders_list(&folders, taking->storage, err);

	for (size_t i = 0; r >= 0 && i < folders.n; i++) {
		r = add_database(taking, folders.items[i], err);
		/* One that a newer version wrote does not hide the others. */
		if (r == -EPROTONOSUPPORT)
			r = add_unreadable(taking, folders.items[i], error_what(err), err);
	}
	return r < 0 ? r : 0;
}

int inventory_take(struct storage *storage, const char *folder, struct inventory *ret_inventory,
		   struct error *err)
{
	struct taking taking = { storage, ret_inventory };
	int r;

	*ret_inventory = (struct inventory){ .url = strdup(storage_url(storage)) };
	if (ret_inventory->url == NULL)
		return out_of_memory(err);
	if (folder == NULL)
		r = add_all(&taking, err);
	else
		r = add_database(&taking, folder, err);
	if (r > 0)
		r = error_set(err, ENOENT, "%s of %s holds no backup of a database", folder,
			      storage_url(storage));
	if (r < 0)
		inventory_done(ret_inventory);
	return r;
}

/* ------------------------------------------------------------------------------ JSON */

/* A name that is no UTF-8 has only its escaped form. */
static json_t *json_plain_name(const char *name)
{
	json_t *json = json_string(name);

	return json != NULL ? json : json_null();
}

static json_t *snapshot_json(const struct manifest_snapshot *snapshot)
{
	return json_pack("{s:o,s:I,s:o,s:I,s:I,s:I,s:o}", "generation",
			 json_hex(snapshot->point.position.generation), "txid",
			 (json_int_t)snapshot->point.position.txid, "time",
			 json_time(snapshot->point.time_us), "database_bytes",
			 (json_int_t)extent_bytes(snapshot->point.extent), "bytes",
			 (json_int_t)snapshot->bytes, "parts", (json_int_t)snapshot->n_parts,
			 "created", json_time(snapshot->created_us));
}

static json_t *range_json(const struct inventory_range *range)
{
	return json_pack("{s:o,s:I,s:I,s:o,s:o,s:I,s:I}", "generation",
			 json_hex(range->generation), "first_txid", (json_int_t)range->first,
			 "last_txid", (json_int_t)range->last, "from", json_time(range->first_us),
			 "to", json_time(range->last_us), "segments",
			 (json_int_t)range->n_segments, "bytes", (json_int_t)range->bytes);
}

static json_t *generation_json(const struct manifest_generation *generation)
{
	return json_pack("{s:o,s:o}", "generation", json_hex(generation->generation), "parent",
			 generation->parent.generation != 0 ? json_position(&generation->parent) :
							       json_null());
}

static json_t *gap_json(const struct manifest_gap *gap)
{
	return json_pack("{s:I,s:I,s:o,s:o}", "after_txid", (json_int_t)gap->begin.position.txid,
			 "before_txid", (json_int_t)gap->end.position.txid, "from",
			 json_time(gap->begin.time_us), "to", json_time(gap->end.time_us));
}

/* An array of what make gives for each of the n items of size bytes. */
#define JSON_ARRAY(items, n, make)                                             \
	({                                                                     \
		json_t *array_ = json_array();                                 \
		for (size_t i_ = 0; i_ < (n); i_++)                            \
			json_array_append_new(array_, make(&(items)[i_]));     \
		array_;                                                        \
	})

static json_t *database_json(const struct inventory_database *database)
{
	const struct manifest *manifest = &database->manifest;

	return json_pack(
		"{s:s,s:o,s:o,s:b,s:o,s:o,s:I,s:I,s:s*,s:o,s:o,s:o,s:o}", "folder",
		database->folder, "name", json_plain_name(manifest->name), "id",
		json_id(&manifest->database_id), "ended", (int)manifest->ended, "latest",
		json_position(&database->latest.position), "latest_time",
		json_time(database->latest.time_us), "bytes", (json_int_t)database->bytes,
		"incomplete_segments", (json_int_t)database->n_incomplete, "damage",
		database->damage, "generations",
		JSON_ARRAY(manifest->generations, manifest->n_generations, generation_json),
		"snapshots", JSON_ARRAY(manifest->snapshots, manifest->n_snapshots, snapshot_json),
		"ranges", JSON_ARRAY(database->ranges, database->n_ranges, range_json), "gaps",
		JSON_ARRAY(manifest->gaps, manifest->n_gaps, gap_json));
}

int inventory_json(const struct inventory *inventory, struct buf *out, struct error *err)
{
	json_t *json CLEANUP_JSON = json_pack(
		"{s:s,s:o}", "url", inventory->url, "databases",
		JSON_ARRAY(inventory->databases, inventory->n_databases, database_json));
	char *text CLEANUP_FREE = json != NULL ? json_dumps(json, JSON_INDENT(2)) : NULL;

	if (text == NULL || buf_printf(out, "%s\n", text) < 0)
		return out_of_memory(err);
	return 0;
}
