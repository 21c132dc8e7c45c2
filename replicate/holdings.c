/* SPDX-License-Identifier: MIT */
#include "replicate/holdings.h"

#include "replicate/envelope.h"

#include <errno.h>

/* ------------------------------------------------------------------- single objects */

/* Reads the document name of folder, whose key goes to key[LAYOUT_KEY_SIZE]. */
static int get_document(struct storage *storage, const char *folder, const char *name, char *key,
			struct buf *out, struct error *err)
{
	layout_key(key, folder, name);
	return storage_get(storage, key, 0, ENVELOPE_MAX + 1, out, err);
}

int holdings_read_manifest(struct storage *storage, const char *folder,
			   struct manifest *ret_manifest, struct error *err)
{
	struct buf data CLEANUP_BUF = { 0 };
	char key[LAYOUT_KEY_SIZE];
	int r = get_document(storage, folder, LAYOUT_MANIFEST, key, &data, err);

	if (r != 0)
		return r;
	r = manifest_parse(data.data, data.len, ret_manifest, err);
	return r < 0 ? error_wrap(err, "%s of %s", key, storage_url(storage)) : 0;
}

int holdings_read_owner(struct storage *storage, const char *folder, struct owner *ret_owner,
			struct error *err)
{
	struct buf data CLEANUP_BUF = { 0 };
	char key[LAYOUT_KEY_SIZE];
	int r = get_document(storage, folder, LAYOUT_OWNER, key, &data, err);

	if (r != 0)
		return r;
	r = owner_parse(data.data, data.len, ret_owner, err);
	return r < 0 ? error_wrap(err, "%s of %s", key, storage_url(storage)) : 0;
}

int holdings_read_header(struct storage *storage, const char *key, enum object_kind kind,
			 struct object_header *ret_header, struct error *err)
{
	struct buf data CLEANUP_BUF = { 0 };
	int r = storage_get(storage, key, 0, OBJECT_HEADER_LEN, &data, err);

	if (r != 0)
		return r;
	if (data.len < OBJECT_HEADER_LEN)
		r = error_set(err, EBADMSG, "the object is cut off");
	else
		r = object_header_parse(data.data, kind, ret_header, err);
	return r < 0 ? error_wrap(err, "%s of %s", key, storage_url(storage)) : 0;
}

/* ----------------------------------------------------------------------- the folders */

static int add_folder(void *arg, const struct storage_object *object, struct error *err)
{
	struct holdings_folders *folders = arg;
	/* The key ends with a slash. */
	char *folder CLEANUP_FREE = strndup(object->key, strlen(object->key) - 1);
	char **more;

	if (folder == NULL)
		return error_set(err, ENOMEM, "out of memory");
	if (!layout_folder_valid(folder))
		return 0;
	more = reallocarray(folders->items, folders->n + 1, sizeof(*more));
	if (more == NULL)
		return error_set(err, ENOMEM, "out of memory");
	folders->items = more;
	folders->items[folders->n++] = TAKE(folder);
	return 0;
}

int holdings_folders_list(struct holdings_folders *folders, struct storage *storage,
			  struct error *err)
{
	*folders = (struct holdings_folders){ 0 };
	return storage_list_folders(storage, "", add_folder, folders, err);
}

void holdings_folders_done(struct holdings_folders *folders)
{
	for (size_t i = 0; i < folders->n; i++)
		free(folders->items[i]);
	free(folders->items);
	*folders = (struct holdings_folders){ 0 };
}

/* ---------------------------------------- generations that no manifest tells of (yet) */

/* A generation that only headers of objects tell of. */
struct fresh_generation {
	struct manifest_generation generation;
	int64_t created_us; /* when the first that told of it was made */
	bool added;
};

static struct fresh_generation *find_fresh(struct buf *fresh, uint64_t generation)
{
	struct fresh_generation *items = (struct fresh_generation *)fresh->data;

	for (size_t i = 0; i < fresh->len / sizeof(*items); i++) {
		if (items[i].generation.generation == generation)
			return &items[i];
	}
	return NULL;
}

/* Notes what the header of an object says of its generation. */
static int add_fresh(struct buf *fresh, const struct object_header *header, struct error *err)
{
	struct fresh_generation item = {
		.generation = manifest_generation_of(header),
		.created_us = header->created_us,
	};
	struct fresh_generation *known = find_fresh(fresh, item.generation.generation);

	if (known != NULL)
		known->created_us = MIN(known->created_us, item.created_us);
	else if (buf_append(fresh, &item, sizeof(item)) < 0)
		return error_set(err, ENOMEM, "out of memory");
	return 0;
}

/* The one to add next: the oldest whose parent is not still to be added. */
static struct fresh_generation *next_fresh(struct buf *fresh)
{
	struct fresh_generation *items = (struct fresh_generation *)fresh->data;
	struct fresh_generation *best = NULL;
	struct fresh_generation *any = NULL;

	for (size_t i = 0; i < fresh->len / sizeof(*items); i++) {
		struct fresh_generation *parent;

		if (items[i].added)
			continue;
		any = &items[i];
		parent = find_fresh(fresh, items[i].generation.parent.generation);
		if ((parent == NULL || parent->added) &&
		    (best == NULL || items[i].created_us < best->created_us))
			best = &items[i];
	}
	/* Foreign data may go in circles. */
	return best != NULL ? best : any;
}

/* Takes them into the manifest, in the order in which they began. */
static int learn_fresh(struct holdings *holdings, struct buf *fresh, struct error *err)
{
	struct fresh_generation *next;

	while (fresh->len != 0 && (next = next_fresh(fresh)) != NULL) {
		next->added = true;
		if (manifest_add_generation(&holdings->manifest, &next->generation) < 0)
			return error_set(err, ENOMEM, "out of memory");
	}
	return 0;
}

/* Reads the header of some object of the segment. */
static int read_segment_header(const struct holdings *holdings,
			       const struct holdings_segment *segment,
			       struct object_header *ret_header, struct error *err)
{
	struct layout_segment name = { segment->last, segment->first, segment->generation,
				       segment->whole ? LAYOUT_PART_FINAL : 0 };
	char key[LAYOUT_KEY_SIZE];
	int r;

	layout_segment_key(key, holdings->folder, &name);
	r = holdings_read_header(holdings->storage, key, OBJECT_SEGMENT, ret_header, err);
	if (r == 0 && ret_header->to.position.generation != segment->generation)
		r = error_set(err, EBADMSG, "%s is of another generation than it says", key);
	return r;
}

/* Collects the generations in segments that neither the manifest nor fresh knows. */
static int collect_fresh(const struct holdings *holdings, struct buf *fresh, struct error *err)
{
	for (size_t i = 0; i < holdings->n_segments; i++) {
		const struct holdings_segment *segment = &holdings->segments[i];
		struct object_header header;
		int r;

		if (find_fresh(fresh, segment->generation) != NULL ||
		    manifest_find_generation(&holdings->manifest, segment->generation) != NULL)
			continue;
		r = read_segment_header(holdings, segment, &header, err);
		/* A damaged or vanished segment: another one may tell. */
		if (r > 0 || r == -EBADMSG)
			continue;
		if (r == 0)
			r = add_fresh(fresh, &header, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ------------------------------------------------------------------------- segments */

struct listing {
	const struct holdings *holdings;
	struct buf segments;	/* of struct holdings_segment */
};

static void listing_done(struct listing *listing)
{
	buf_done(&listing->segments);
}

/*
 * Takes one object in. The final part comes first, since its key is the shorter
 * one; the others follow in order.
 */
static int list_object(void *arg, const struct storage_object *object, struct error *err)
{
	struct listing *listing = arg;
	struct holdings_segment *last = NULL;
	struct holdings_segment fresh = { 0 };
	struct layout_segment name;

	if (!layout_segment_parse(object->key + strlen(listing->holdings->folder) + 1, &name))
		return 0;
	if (listing->segments.len != 0)
		last = (struct holdings_segment *)(listing->segments.data +
						   listing->segments.len) - 1;
	if (last == NULL || last->last != name.last || last->first != name.first ||
	    last->generation != name.generation) {
		fresh.last = name.last;
		fresh.first = name.first;
		fresh.generation = name.generation;
		if (buf_append(&listing->segments, &fresh, sizeof(fresh)) < 0)
			return error_set(err, ENOMEM, "out of memory");
		last = (struct holdings_segment *)(listing->segments.data +
						   listing->segments.len) - 1;
	}
	if (name.part == LAYOUT_PART_FINAL)
		last->whole = true;
	else if (name.part == last->n_parts)
		last->n_parts++;
	else
		last->whole = false; /* one is missing before it */
	last->bytes += object->size;
	return 0;
}

/* Lists the segments whose last TXID is txid or more. */
static int list_segments(struct holdings *holdings, uint64_t txid, struct error *err)
{
	struct listing listing CLEANUP(listing_done) = { .holdings = holdings };
	char prefix[LAYOUT_KEY_SIZE];
	char after[LAYOUT_KEY_SIZE];
	int r;

	layout_key(prefix, holdings->folder, LAYOUT_SEGMENTS);
	layout_segments_after(after, holdings->folder, txid);
	r = storage_list(holdings->storage, prefix, after, list_object, &listing, err);
	if (r < 0)
		return r;
	free(holdings->segments);
	holdings->n_segments = listing.segments.len / sizeof(*holdings->segments);
	holdings->segments = (struct holdings_segment *)TAKE(listing.segments.data);
	holdings->listed = true;
	holdings->listed_from = txid;
	return 0;
}

int holdings_list(struct holdings *holdings, uint64_t txid, struct error *err)
{
	struct buf fresh CLEANUP_BUF = { 0 };
	int r;

	if (holdings->listed && holdings->listed_from <= txid)
		return 0;
	r = list_segments(holdings, txid, err);
	if (r == 0)
		r = collect_fresh(holdings, &fresh, err);
	return r < 0 ? r : learn_fresh(holdings, &fresh, err);
}

/* ------------------------------------------------------- a manifest from what is there */

/* One snapshot's parts, as the list of all goes by. */
struct rebuild {
	struct holdings *holdings;
	struct buf fresh;	      /* the generations found */
	struct manifest_snapshot now; /* n_parts 0: none yet */
	bool broken;		      /* a part is missing */
};

static void rebuild_done(struct rebuild *rebuild)
{
	buf_done(&rebuild->fresh);
}

static bool same_snapshot(const struct layout_snapshot *a, const struct layout_snapshot *b)
{
	return a->txid == b->txid && a->generation == b->generation && a->random == b->random;
}

/* Adds the snapshot whose parts went by, if its final part is there. */
static int rebuild_end_snapshot(struct rebuild *rebuild, struct error *err)
{
	struct manifest_snapshot *now = &rebuild->now;
	struct layout_snapshot last = now->name;
	struct manifest *manifest = &rebuild->holdings->manifest;
	struct object_header header;
	char key[LAYOUT_KEY_SIZE];
	int r;

	if (now->n_parts == 0 || rebuild->broken)
		return 0;
	last.part = now->n_parts - 1;
	layout_snapshot_key(key, rebuild->holdings->folder, &last);
	r = holdings_read_header(rebuild->holdings->storage, key, OBJECT_SNAPSHOT, &header, err);
	if (r == -EBADMSG || r > 0 || (r == 0 && (header.flags & OBJECT_FINAL) == 0))
		return 0;
	if (r < 0)
		return r;
	now->point = header.to;
	now->created_us = header.created_us;
	manifest->node_id = header.node_id;
	manifest->database_id = header.database_id;
	if (manifest_add_snapshot(manifest, now) < 0)
		return error_set(err, ENOMEM, "out of memory");
	return add_fresh(&rebuild->fresh, &header, err);
}

static int rebuild_object(void *arg, const struct storage_object *object, struct error *err)
{
	struct rebuild *rebuild = arg;
	struct layout_snapshot name;
	int r = 0;

	if (!layout_snapshot_parse(object->key + strlen(rebuild->holdings->folder) + 1, &name))
		return 0;
	if (rebuild->now.n_parts == 0 || !same_snapshot(&name, &rebuild->now.name)) {
		r = rebuild_end_snapshot(rebuild, err);
		rebuild->now = (struct manifest_snapshot){ .name = name };
		rebuild->broken = false;
	}
	if (name.part != rebuild->now.n_parts)
		rebuild->broken = true;
	rebuild->now.n_parts++;
	rebuild->now.bytes += object->size;
	return r;
}

/* The name that a folder's own name stands for; one that was cut stands for itself. */
static char *name_of_folder(const char *folder)
{
	char *stem CLEANUP_FREE = strndup(folder, strlen(folder) - LAYOUT_ID_LEN - 1);
	char *name CLEANUP_FREE = stem != NULL ? layout_unescape(stem) : NULL;

	return name != NULL && layout_name_valid(name) ? TAKE(name) : TAKE(stem);
}

/* The name of a database whose manifest is lost: its owner record's, else its folder's. */
static int rebuild_name(struct holdings *holdings, struct error *err)
{
	struct owner owner CLEANUP(owner_done) = { 0 };
	int r = holdings_read_owner(holdings->storage, holdings->folder, &owner, err);

	if (r < 0 && r != -EBADMSG)
		return r;
	holdings->manifest.name = r == 0 ? TAKE(owner.name) : name_of_folder(holdings->folder);
	if (holdings->manifest.name == NULL)
		return error_set(err, ENOMEM, "out of memory");
	return 0;
}

/* A history that was stored from its first transaction on needs no snapshot. */
static int rebuild_beginnings(struct holdings *holdings, struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < holdings->n_segments; i++) {
		const struct holdings_segment *segment = &holdings->segments[i];
		struct layout_segment name = { segment->last, 1, segment->generation,
					       LAYOUT_PART_FINAL };
		struct manifest_snapshot beginning = { .name.generation = segment->generation };
		struct object_header header;
		char key[LAYOUT_KEY_SIZE];

		if (segment->first != 1 || !segment->whole)
			continue;
		layout_segment_key(key, holdings->folder, &name);
		r = holdings_read_header(holdings->storage, key, OBJECT_SEGMENT, &header, err);
		if (r > 0 || r == -EBADMSG) {
			r = 0;
			continue;
		}
		if (r < 0 || header.from.extent.n_pages != 0)
			continue;
		beginning.point = header.from;
		beginning.created_us = header.created_us;
		holdings->manifest.node_id = header.node_id;
		holdings->manifest.database_id = header.database_id;
		if (manifest_add_snapshot(&holdings->manifest, &beginning) < 0)
			r = error_set(err, ENOMEM, "out of memory");
	}
	return r;
}

/* The generations that snapshots tell of are put in order with those of segments. */
static int rebuild_generations(struct rebuild *rebuild, struct error *err)
{
	int r = list_segments(rebuild->holdings, 0, err);

	if (r == 0)
		r = collect_fresh(rebuild->holdings, &rebuild->fresh, err);
	return r < 0 ? r : learn_fresh(rebuild->holdings, &rebuild->fresh, err);
}

static int rebuild_manifest(struct holdings *holdings, struct error *err)
{
	struct rebuild rebuild CLEANUP(rebuild_done) = { .holdings = holdings };
	char prefix[LAYOUT_KEY_SIZE];
	int r;

	r = rebuild_name(holdings, err);
	if (r < 0)
		return r;
	layout_key(prefix, holdings->folder, LAYOUT_SNAPSHOTS);
	r = storage_list(holdings->storage, prefix, NULL, rebuild_object, &rebuild, err);
	if (r == 0)
		r = rebuild_end_snapshot(&rebuild, err);
	if (r == 0)
		r = rebuild_generations(&rebuild, err);
	if (r == 0)
		r = rebuild_beginnings(holdings, err);
	if (r < 0)
		return r;
	holdings->rebuilt = true;
	return holdings->manifest.n_snapshots == 0 ? 1 : 0;
}

int holdings_open(struct holdings *holdings, struct storage *storage, const char *folder,
		  struct error *ret_damage, struct error *err)
{
	struct error damage CLEANUP_ERROR = ERROR_INIT;
	int r;

	*holdings = (struct holdings){ .storage = storage, .folder = strdup(folder) };
	if (holdings->folder == NULL)
		return error_set(err, ENOMEM, "out of memory");
	r = holdings_read_manifest(storage, folder, &holdings->manifest, &damage);
	if (r == 0)
		return 0;
	if (r > 0)
		error_set(&damage, EBADMSG, "%s/" LAYOUT_MANIFEST " of %s is missing", folder,
			  storage_url(storage));
	if (damage.code == EBADMSG) {
		r = rebuild_manifest(holdings, err);
		error_move(ret_damage, &damage);
	} else {
		error_move(err, &damage);
	}
	if (r != 0)
		holdings_done(holdings);
	return r;
}

void holdings_done(struct holdings *holdings)
{
	manifest_done(&holdings->manifest);
	free(holdings->segments);
	free(holdings->folder);
	*holdings = (struct holdings){ 0 };
}

/* Whether some other generation goes on from it. */
static bool is_parent(const struct manifest *manifest, uint64_t generation)
{
	for (size_t i = 0; i < manifest->n_generations; i++) {
		const struct manifest_generation *other = &manifest->generations[i];

		if (other->parent.generation == generation && other->generation != generation)
			return true;
	}
	return false;
}

uint64_t holdings_newest_generation(const struct holdings *holdings)
{
	const struct manifest *manifest = &holdings->manifest;
	size_t n = manifest->n_generations;

	for (size_t i = n; i-- > 0;) {
		if (!is_parent(manifest, manifest->generations[i].generation))
			return manifest->generations[i].generation;
	}
	return n != 0 ? manifest->generations[n - 1].generation : 0;
}
