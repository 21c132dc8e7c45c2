/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "replicate/uploader_internal.h"

#include <errno.h>
#include <inttypes.h>

/*
 * From the log to segments. Only what was made durable in the log first is
 * shipped, up to the position that the database had before that. Segments never
 * span generations; one that begins is remembered in the cursor until a manifest
 * says so.
 */

#define PASS_BYTES (4ull * OBJECT_RAW_TARGET) /* of one database, before it is another's turn */
#define LOG_ONLY_BYTES (64ull << 20)

struct ship {
	struct uploader *uploader;
	struct upload *upload;
	struct txlog_reader reader;
	struct segment_packer packer;
	struct position upto;	/* no record behind that is durable for sure */
	uint64_t bytes;
};

static void ship_done(struct ship *ship)
{
	txlog_reader_close(&ship->reader);
	segment_packer_done(&ship->packer);
}

/* -------------------------------------------------------------------------- putting */

/*
 * A segment of that name is there. 0: it is what we would have put, or our own
 * leftover, which was replaced; 2: it is somebody else's.
 */
static int settle_existing(struct ship *ship, const char *key, const struct buf *object,
			   struct error *err)
{
	struct uploader *uploader = ship->uploader;
	struct owner other = { 0 };
	struct object_header theirs;
	struct object_header ours;
	int r = holdings_read_header(uploader->storage, key, OBJECT_SEGMENT, &theirs, err);

	if (r < 0 && err->code != EBADMSG)
		return uploader_io(uploader, r);
	if (r == 0 && !id_equal(&theirs.node_id, &uploader->options.node_id)) {
		char node[ID_HEX_LEN + 1];

		id_format(&theirs.node_id, node);
		other.host = node;
		other.claimed_us = theirs.created_us;
		uploader_explain_owner(uploader, ship->upload->cursor.folder, &other, err);
		return 2;
	}
	if (r == 0 && object_header_parse(object->data, OBJECT_SEGMENT, &ours, err) == 0 &&
	    ours.raw_len == theirs.raw_len && ours.part == theirs.part &&
	    ours.payload_hash == theirs.payload_hash &&
	    position_equal(&ours.from.position, &theirs.from.position) &&
	    position_equal(&ours.to.position, &theirs.to.position))
		return 0;
	return uploader_put(uploader, ship->upload, key, object, err);
}

/* Starts to pack what comes behind from, in the generation that the reader is in. */
static void begin_segment(struct ship *ship, const struct point *from)
{
	segment_packer_begin(&ship->packer, &ship->uploader->options.node_id, &ship->reader.head,
			     from);
}

/* Stores what was packed. 0, 2 = another's, -errno. */
static int put_segment(struct ship *ship, bool final, struct error *err)
{
	struct upload_cursor *cursor = &ship->upload->cursor;
	struct buf object CLEANUP_BUF = { 0 };
	struct layout_segment name;
	char key[LAYOUT_KEY_SIZE];
	struct point to = ship->packer.head.to;
	int r = segment_packer_seal(&ship->packer, final, clock_wall_us(), &object, &name, err);

	if (r < 0)
		return r;
	layout_segment_key(key, cursor->folder, &name);
	r = uploader_put_new(ship->uploader, ship->upload, key, &object, err);
	if (r == 1)
		r = settle_existing(ship, key, &object, err);
	if (r != 0 || !final)
		return r;
	uploader_set_stored(ship->uploader, ship->upload, &to);
	begin_segment(ship, &to);
	return 0;
}

/* Stores the records that wait in the packer, if any. */
static int flush(struct ship *ship, struct error *err)
{
	return ship->packer.head.n_items != 0 ? put_segment(ship, true, err) : 0;
}

/* -------------------------------------------------------------------------- packing */

/* Packs the record at hand; a large one goes out in parts meanwhile. */
static int pack_record(struct ship *ship, struct error *err)
{
	struct record_reader *reader = &ship->reader.records;
	const struct record_header record = reader->header;
	struct record_entry entry;
	const uint8_t *data;
	bool large = record.size > OBJECT_RAW_TARGET;
	int r = segment_packer_has_room(&ship->packer, record.size) ? 0 : flush(ship, err);

	if (r == 0)
		r = segment_packer_record(&ship->packer, &record, err);
	while (r == 0) {
		r = record_reader_entry(reader, &entry, &data, err);
		if (r != 0)
			break;
		r = segment_packer_entry(&ship->packer, &entry, data, err);
		while (r == 0 && large && segment_packer_full(&ship->packer))
			r = put_segment(ship, false, err);
	}
	if (r == 1)
		segment_packer_end_record(&ship->packer);
	ship->bytes += record.size;
	if (r == 1 && large)
		return put_segment(ship, true, err);
	return r == 1 ? 0 : r;
}

/* History jumped: nothing can be shipped but a snapshot. */
static void jump(struct ship *ship)
{
	struct upload *upload = ship->upload;

	if (!upload->has_gap)
		upload->gap_begin = upload->cursor.stored;
	upload->has_gap = true;
	upload->want_snapshot = true;
	uploader_set_phase(ship->uploader, upload, UPLOADER_SNAPSHOT);
}

static int remember_generation(struct ship *ship, struct error *err)
{
	struct manifest *manifest = &ship->upload->cursor.manifest;
	struct manifest_generation generation = manifest_generation_of_log(&ship->reader.head);

	manifest->term = ship->reader.head.term;
	if (manifest_add_generation(manifest, &generation) < 0)
		return error_set(err, ENOMEM, "out of memory");
	ship->upload->cursor_dirty = true;
	return 0;
}

/*
 * The log goes on in another generation. An own segment tells of one that ends
 * without a record, so that its child's line can be followed. 0; 1: history
 * jumped; 2; -errno.
 */
static int next_generation(struct ship *ship, struct error *err)
{
	struct point *stored = &ship->upload->cursor.stored;
	const struct log_header *head = &ship->reader.head;
	const struct position before = ship->packer.head.parent;
	struct point here;
	int r = flush(ship, err);

	if (r != 0)
		return r;
	if (!position_equal(&head->parent, &stored->position)) {
		jump(ship);
		return 1;
	}
	if (before.generation != 0 && before.txid == stored->position.txid)
		r = put_segment(ship, true, err);
	if (r == 0)
		r = remember_generation(ship, err);
	if (r != 0)
		return r;
	here = *stored;
	here.position = head->base;
	uploader_set_stored(ship->uploader, ship->upload, &here);
	begin_segment(ship, &here);
	return 0;
}

/* Whether the record at hand may go out. */
static bool is_durable(const struct ship *ship)
{
	return ship->reader.head.base.generation != ship->upto.generation ||
	       ship->reader.records.header.txid <= ship->upto.txid;
}

static int pack_all(struct ship *ship, struct error *err)
{
	for (;;) {
		int r = ship->bytes < PASS_BYTES ? txlog_reader_next(&ship->reader, err) : 3;

		/* What comes behind upto is for the next time. */
		if (r == 2 && ship->packer.head.to.position.generation != ship->upto.generation) {
			r = next_generation(ship, err);
			if (r != 0)
				return r == 1 ? 0 : r;
			continue;
		}
		if (r == 0 && is_durable(ship)) {
			r = pack_record(ship, err);
			if (r != 0)
				return r;
			continue;
		}
		if (r < 0)
			return r;
		bool more = r == 3;

		r = flush(ship, err);
		return r != 0 ? r : more;
	}
}

/* ------------------------------------------------------------------------- the cursor */

/*
 * Whether the log begins with a generation that goes on where the cursor is: its
 * parent's files are gone. 0: the reader is there; 1: no.
 */
static int open_at_child(struct ship *ship, struct txlog *log, struct error *err)
{
	struct upload *upload = ship->upload;
	struct position oldest = txlog_oldest(log, NULL);
	int r = txlog_reader_open(&ship->reader, log, &oldest, err);

	if (r != 0)
		return r;
	if (!position_equal(&ship->reader.head.parent, &upload->cursor.stored.position) ||
	    oldest.txid != ship->reader.head.parent.txid) {
		txlog_reader_close(&ship->reader);
		return 1;
	}
	upload->cursor.stored.position = oldest;
	return remember_generation(ship, err);
}

/* 0; 1: the log does not hold the cursor's place. */
static int open_reader(struct ship *ship, struct txlog *log, struct error *err)
{
	int r = txlog_reader_open(&ship->reader, log, &ship->upload->cursor.stored.position, err);

	if (r == 1)
		r = open_at_child(ship, log, err);
	if (r == 0)
		begin_segment(ship, &ship->upload->cursor.stored);
	return r;
}

/* Where the log's bytes that are not stored begin, for status. */
static void note_place(struct ship *ship)
{
	LOCK_SCOPE(&ship->uploader->mutex);
	ship->upload->log_number = ship->reader.number;
	ship->upload->log_offset = ship->reader.offset;
}

int uploader_ship(struct uploader *uploader, struct upload *upload, struct database *db,
		  struct error *err)
{
	struct ship ship CLEANUP(ship_done) = {
		.uploader = uploader, .upload = upload, .reader.fd = -1,
		.packer.level = uploader->options.compression_level,
		.upto = database_position(db, NULL, NULL),
	};
	int r = database_sync_log(db, err);

	if (r == 0)
		r = open_reader(&ship, database_log(db), err);
	if (r > 0) {
		jump(&ship);
		return 0;
	}
	if (r == 0)
		r = pack_all(&ship, err);
	if (r >= 0)
		note_place(&ship);
	/* A damaged log: what is behind can only be had by a snapshot. */
	if (r < 0 && err->code == EBADMSG && !uploader->backend_failed)
		jump(&ship);
	return r;
}

/* ------------------------------------------------------------------------- the beginning */

int uploader_begin_with_log(struct uploader *uploader, struct upload *upload, struct database *db,
			    struct error *err)
{
	struct ship ship CLEANUP(ship_done) = {
		.uploader = uploader, .upload = upload, .reader.fd = -1,
	};
	struct txlog *log = database_log(db);
	struct manifest_snapshot beginning = { .created_us = clock_wall_us() };
	struct extent extent;
	struct position oldest = txlog_oldest(log, &beginning.point.time_us);
	int r;

	txlog_position(log, &extent, NULL);
	if (oldest.generation == 0 || oldest.txid != 0 || upload->has_gap ||
	    txlog_size(log) > MAX(LOG_ONLY_BYTES, 2 * extent_bytes(extent)))
		return 1;
	r = txlog_reader_open(&ship.reader, log, &oldest, err);
	if (r != 0)
		return r;
	if (ship.reader.head.extent.n_pages != 0 || ship.reader.head.parent.generation != 0)
		return 1;
	beginning.point.position = oldest;
	beginning.name.generation = oldest.generation;
	r = remember_generation(&ship, err);
	if (r == 0)
		r = uploader_write_manifest(uploader, upload, &beginning, NULL, err);
	if (r < 0)
		return r;
	upload->cursor.snapshot = beginning.point;
	upload->cursor.snapshot_us = beginning.created_us;
	uploader_set_stored(uploader, upload, &beginning.point);
	uploader_set_phase(uploader, upload, UPLOADER_SHIPPING);
	return 0;
}
