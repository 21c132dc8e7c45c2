/* SPDX-License-Identifier: MIT */
#include "replicate/manifest.h"

#include "replicate/envelope.h"

#include <errno.h>
#include <jansson.h>

#define KIND "manifest"

/* ------------------------------------------------------------------------ writing */

static json_t *format_generation(const struct manifest_generation *generation)
{
	return json_pack("{s:o,s:o,s:I}", "generation", json_hex(generation->generation),
			 "parent", json_position(&generation->parent), "time_us",
			 (json_int_t)generation->time_us);
}

static json_t *format_snapshot(const struct manifest_snapshot *snapshot)
{
	return json_pack("{s:o,s:I,s:I,s:I,s:I,s:I}", "point", json_point(&snapshot->point),
			 "begun_txid", (json_int_t)snapshot->name.txid, "random",
			 (json_int_t)snapshot->name.random, "n_parts",
			 (json_int_t)snapshot->n_parts, "bytes", (json_int_t)snapshot->bytes,
			 "created_us", (json_int_t)snapshot->created_us);
}

static json_t *format_gap(const struct manifest_gap *gap)
{
	return json_pack("{s:o,s:o,s:I}", "begin", json_point(&gap->begin), "end",
			 json_point(&gap->end), "noticed_us", (json_int_t)gap->noticed_us);
}

/* Appends item (taken over) to array; after a failure array is NULL. */
static void append(json_t **array, json_t *item)
{
	if (json_array_append_new(*array, item) < 0) {
		json_decref(*array);
		*array = NULL;
	}
}

int manifest_format(const struct manifest *manifest, struct buf *out, struct error *err)
{
	json_t *generations = json_array();
	json_t *snapshots = json_array();
	json_t *gaps = json_array();

	for (size_t i = 0; i < manifest->n_generations; i++)
		append(&generations, format_generation(&manifest->generations[i]));
	for (size_t i = 0; i < manifest->n_snapshots; i++)
		append(&snapshots, format_snapshot(&manifest->snapshots[i]));
	for (size_t i = 0; i < manifest->n_gaps; i++)
		append(&gaps, format_gap(&manifest->gaps[i]));
	return envelope_write(
		KIND, MANIFEST_FORMAT_VERSION,
		json_pack("{s:o,s:o,s:o,s:b,s:I,s:I,s:o,s:o,s:o}", "node",
			  json_id(&manifest->node_id), "database", json_id(&manifest->database_id),
			  "name", json_name(manifest->name), "ended", (int)manifest->ended, "term",
			  (json_int_t)manifest->term, "written_us",
			  (json_int_t)manifest->written_us, "generations", generations,
			  "snapshots", snapshots, "gaps", gaps),
		out, err);
}

/* ------------------------------------------------------------------------ reading */

static int parse_generations(const struct fields *at, struct manifest *manifest)
{
	json_t *array = fields_array(at, "generations", MANIFEST_MAX_GENERATIONS);
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_array_size(array); i++) {
		struct fields item = fields_at(at, array, i);
		struct manifest_generation generation = {
			.generation = fields_hex(&item, "generation"),
			.parent = fields_position(&item, "parent"),
			.time_us = fields_time(&item, "time_us"),
		};

		if (generation.generation == 0 && *at->bad == NULL)
			*at->bad = "generation";
		r = manifest_add_generation(manifest, &generation);
	}
	return r;
}

static int parse_snapshots(const struct fields *at, struct manifest *manifest)
{
	json_t *array = fields_array(at, "snapshots", MANIFEST_MAX_SNAPSHOTS);
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_array_size(array); i++) {
		struct fields item = fields_at(at, array, i);
		struct manifest_snapshot snapshot = {
			.point = fields_point(&item, "point"),
			.name.txid = fields_number(&item, "begun_txid", INT64_MAX),
			.name.random = (uint32_t)fields_number(&item, "random", UINT32_MAX),
			.n_parts = (uint32_t)fields_number(&item, "n_parts", UINT32_MAX),
			.bytes = fields_number(&item, "bytes", INT64_MAX),
			.created_us = fields_time(&item, "created_us"),
		};

		snapshot.name.generation = snapshot.point.position.generation;
		if ((snapshot.name.generation == 0 ||
		     (snapshot.n_parts == 0 && snapshot.point.extent.n_pages != 0)) &&
		    *at->bad == NULL)
			*at->bad = "snapshot";
		r = manifest_add_snapshot(manifest, &snapshot);
	}
	return r;
}

static int parse_gaps(const struct fields *at, struct manifest *manifest)
{
	json_t *array = fields_array(at, "gaps", MANIFEST_MAX_GAPS);
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_array_size(array); i++) {
		struct fields item = fields_at(at, array, i);
		struct manifest_gap gap = {
			.begin = fields_point(&item, "begin"),
			.end = fields_point(&item, "end"),
			.noticed_us = fields_time(&item, "noticed_us"),
		};

		r = manifest_add_gap(manifest, &gap);
	}
	return r;
}

static int parse_object(const struct fields *at, struct manifest *manifest)
{
	int r;

	*manifest = (struct manifest){
		.node_id = fields_id(at, "node"),
		.database_id = fields_id(at, "database"),
		.name = fields_name(at, "name"),
		.ended = fields_bool(at, "ended"),
		.term = fields_number(at, "term", INT64_MAX),
		.written_us = fields_time(at, "written_us"),
	};
	r = parse_generations(at, manifest);
	if (r == 0)
		r = parse_snapshots(at, manifest);
	return r < 0 ? r : parse_gaps(at, manifest);
}

int manifest_parse(const void *data, size_t len, struct manifest *ret_manifest, struct error *err)
{
	json_t *json CLEANUP_JSON = NULL;
	const char *bad = NULL;
	int r = envelope_read(KIND, MANIFEST_FORMAT_VERSION, data, len, &json, err);
	struct fields at = { json, &bad };

	if (r < 0)
		return r;
	r = parse_object(&at, ret_manifest);
	if (r < 0)
		r = error_set(err, -r, "out of memory reading a manifest");
	else if (bad != NULL)
		r = error_set(err, EBADMSG, "the manifest has a bad %s", bad);
	if (r < 0)
		manifest_done(ret_manifest);
	return r;
}

void manifest_done(struct manifest *manifest)
{
	free(manifest->name);
	free(manifest->generations);
	free(manifest->snapshots);
	free(manifest->gaps);
	*manifest = (struct manifest){ 0 };
}

/* ----------------------------------------------------------------------- changing */

/*
 * Appends item of size bytes to the array *items of *n, dropping its oldest
 * when it holds max.
 */
static int add(void *items, size_t *n, size_t max, const void *item, size_t size)
{
	char *array;

	memcpy(&array, items, sizeof(array));
	if (*n == max) {
		memmove(array, array + size, (max - 1) * size);
		*n -= 1;
	}
	array = reallocarray(array, *n + 1, size);
	if (array == NULL)
		return -ENOMEM;
	memcpy(array + *n * size, item, size);
	memcpy(items, &array, sizeof(array));
	*n += 1;
	return 0;
}

int manifest_add_generation(struct manifest *manifest, const struct manifest_generation *generation)
{
	if (manifest_find_generation(manifest, generation->generation) != NULL)
		return 0;
	return add(&manifest->generations, &manifest->n_generations, MANIFEST_MAX_GENERATIONS,
		   generation, sizeof(*generation));
}

int manifest_add_snapshot(struct manifest *manifest, const struct manifest_snapshot *snapshot)
{
	return add(&manifest->snapshots, &manifest->n_snapshots, MANIFEST_MAX_SNAPSHOTS, snapshot,
		   sizeof(*snapshot));
}

int manifest_add_gap(struct manifest *manifest, const struct manifest_gap *gap)
{
	return add(&manifest->gaps, &manifest->n_gaps, MANIFEST_MAX_GAPS, gap, sizeof(*gap));
}

int manifest_set_name(struct manifest *manifest, const char *name)
{
	char *copy = strdup(name);

	if (copy == NULL)
		return -ENOMEM;
	free(manifest->name);
	manifest->name = copy;
	return 0;
}

const struct manifest_generation *manifest_find_generation(const struct manifest *manifest,
							   uint64_t generation)
{
	for (size_t i = manifest->n_generations; i-- > 0;) {
		if (manifest->generations[i].generation == generation)
			return &manifest->generations[i];
	}
	return NULL;
}

struct manifest_generation manifest_generation_of(const struct object_header *header)
{
	return (struct manifest_generation){
		.generation = header->to.position.generation,
		.parent = header->parent,
		.time_us = header->from.time_us,
	};
}

struct manifest_generation manifest_generation_of_log(const struct log_header *head)
{
	return (struct manifest_generation){
		.generation = head->base.generation,
		.parent = head->parent,
		.time_us = head->time_us,
	};
}
