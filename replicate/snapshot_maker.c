/* SPDX-License-Identifier: MIT */
#include "replicate/snapshot_maker.h"

#include "base/clock.h"
#include "replicate/copier.h"
#include "replicate/snapshot.h"

#include <errno.h>

/* A copier whose sink packs the pages into parts. */
struct snapshot_maker {
	struct database *db;
	struct storage *storage;
	char *folder;
	struct copier *copier;
	struct layout_snapshot name;
	struct snapshot_packer packer;
	uint64_t bytes;		/* put */
	uint32_t n_parts;	/* put, or waiting to be */
	struct buf object;	/* a part that waits to be put; empty: none */
	bool final;		/* object is the final part */
	bool done;
};

void snapshot_maker_free(struct snapshot_maker *maker)
{
	if (maker == NULL)
		return;
	for (uint32_t part = 0; !maker->done && part < maker->n_parts; part++) {
		struct layout_snapshot name = maker->name;
		char key[LAYOUT_KEY_SIZE];

		name.part = part;
		layout_snapshot_key(key, maker->folder, &name);
		/* What stays is without a final part, so it is no snapshot. */
		if (storage_remove(maker->storage, key, NULL) < 0)
			break;
	}
	copier_free(maker->copier);
	snapshot_packer_done(&maker->packer);
	buf_done(&maker->object);
	database_unref(maker->db);
	free(maker->folder);
	free(maker);
}

static int out_of_memory(struct error *err)
{
	return error_set(err, ENOMEM, "out of memory for a snapshot");
}

static int take_pages(void *arg, uint32_t first, uint32_t n, const uint8_t *pages,
		      uint32_t page_size, struct error *err)
{
	struct snapshot_maker *maker = arg;

	return snapshot_packer_add(&maker->packer, first, n, pages, page_size, err);
}

static bool part_full(void *arg)
{
	struct snapshot_maker *maker = arg;

	return snapshot_packer_full(&maker->packer);
}

/* Puts the part that waits. 0; 1: it was the final one; -errno: it still waits. */
static int put_object(struct snapshot_maker *maker, struct error *err)
{
	struct layout_snapshot name = maker->name;
	char key[LAYOUT_KEY_SIZE];
	int r;

	name.part = maker->n_parts - 1;
	layout_snapshot_key(key, maker->folder, &name);
	r = storage_put(maker->storage, key, maker->object.data, maker->object.len, err);
	if (r < 0)
		return r;
	maker->bytes += maker->object.len;
	buf_reset(&maker->object);
	if (!maker->final)
		return 0;
	maker->done = true;
	return 1;
}

/* Makes a part of what was read, and puts it. As put_object(). */
static int put_part(struct snapshot_maker *maker, bool final, struct error *err)
{
	int r = snapshot_packer_seal(&maker->packer, final, copier_point(maker->copier),
				     clock_wall_us(), &maker->object, err);

	if (r < 0)
		return r;
	maker->n_parts++;
	maker->final = final;
	return put_object(maker, err);
}

int snapshot_maker_step(struct snapshot_maker *maker, struct error *err)
{
	int r;

	if (maker->object.len != 0)
		return put_object(maker, err);
	r = copier_step(maker->copier, err);
	if (r == 0 && snapshot_packer_full(&maker->packer))
		return put_part(maker, false, err);
	if (r != 1)
		return r;
	/* What a backend holds must never be ahead of what the log has for sure. */
	r = database_sync_log(maker->db, err);
	return r < 0 ? r : put_part(maker, true, err);
}

static int begin(struct snapshot_maker *maker, struct error *err)
{
	const struct copier_sink sink = { take_pages, part_full, maker };
	struct object_header *head = &maker->packer.head;
	const struct log_header *log_head;
	const struct point *point;
	uint64_t random;
	int r = copier_new(maker->db, &sink, &maker->copier, err);

	if (r == 0)
		r = id_random_u64(&random, err);
	if (r < 0)
		return r;
	point = copier_begin(maker->copier);
	maker->name = (struct layout_snapshot){
		.txid = point->position.txid,
		.generation = point->position.generation,
		.random = (uint32_t)random,
	};
	log_head = copier_log_head(maker->copier);
	head->database_id = log_head->database_id;
	head->term = log_head->term;
	head->parent = log_head->parent;
	head->from = *point;
	return 0;
}

int snapshot_maker_new(struct database *db, const struct id *node_id, struct storage *storage,
		       const char *folder, struct snapshot_maker **ret_maker, struct error *err)
{
	struct snapshot_maker *maker = calloc(1, sizeof(*maker));
	int r;

	if (maker == NULL)
		return out_of_memory(err);
	maker->db = database_ref(db);
	maker->packer.head.node_id = *node_id;
	maker->storage = storage;
	maker->folder = strdup(folder);
	r = maker->folder != NULL ? begin(maker, err) : out_of_memory(err);
	if (r < 0) {
		snapshot_maker_free(maker);
		return r;
	}
	*ret_maker = maker;
	return 0;
}

struct manifest_snapshot snapshot_maker_result(const struct snapshot_maker *maker)
{
	return (struct manifest_snapshot){
		.name = maker->name,
		.point = *copier_point(maker->copier),
		.n_parts = maker->n_parts,
		.bytes = maker->bytes,
		.created_us = maker->packer.head.created_us,
	};
}

bool snapshot_maker_is_done(const struct snapshot_maker *maker)
{
	return maker->done;
}

bool snapshot_maker_waits(const struct snapshot_maker *maker)
{
	return maker->object.len != 0;
}

struct manifest_generation snapshot_maker_generation(const struct snapshot_maker *maker)
{
	return (struct manifest_generation){
		.generation = maker->name.generation,
		.parent = maker->packer.head.parent,
		.time_us = maker->packer.head.from.time_us,
	};
}

uint64_t snapshot_maker_needs(const struct snapshot_maker *maker)
{
	return copier_needs(maker->copier);
}

void snapshot_maker_progress(const struct snapshot_maker *maker, uint64_t *ret_done,
			     uint64_t *ret_total)
{
	copier_progress(maker->copier, ret_done, ret_total);
}

uint64_t snapshot_maker_bytes(const struct snapshot_maker *maker)
{
	return maker->bytes;
}
