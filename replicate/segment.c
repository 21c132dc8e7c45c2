/* SPDX-License-Identifier: MIT */
#include "replicate/segment.h"

#include <errno.h>

void segment_packer_begin(struct segment_packer *packer, const struct id *node_id,
			  const struct log_header *head, const struct point *from)
{
	buf_reset(&packer->raw);
	packer->head = (struct object_header){
		.kind = OBJECT_SEGMENT,
		.node_id = *node_id,
		.database_id = head->database_id,
		.term = head->term,
		.parent = head->parent,
		.from = *from,
		.to = *from,
	};
	/* Within the generation the same content has its name. */
	packer->head.from.position.generation = head->base.generation;
	packer->head.to.position.generation = head->base.generation;
}

void segment_packer_done(struct segment_packer *packer)
{
	buf_done(&packer->raw);
}

bool segment_packer_has_room(const struct segment_packer *packer, uint64_t record_size)
{
	return packer->head.n_items == 0 || packer->raw.len + record_size <= OBJECT_RAW_TARGET;
}

int segment_packer_record(struct segment_packer *packer, const struct record_header *record,
			  struct error *err)
{
	uint8_t *to = buf_extend(&packer->raw, RECORD_HEADER_LEN);

	if (to == NULL)
		return error_set(err, ENOMEM, "out of memory");
	record_header_format(record, to);
	packer->record = *record;
	packer->head.n_items++;
	return 0;
}

int segment_packer_entry(struct segment_packer *packer, const struct record_entry *entry,
			 const uint8_t *data, struct error *err)
{
	uint8_t *to = buf_extend(&packer->raw, RECORD_ENTRY_LEN + entry->data_len);

	if (to == NULL)
		return error_set(err, ENOMEM, "out of memory");
	record_entry_format(entry, to);
	if (entry->data_len != 0)
		memcpy(to + RECORD_ENTRY_LEN, data, entry->data_len);
	return 0;
}

void segment_packer_end_record(struct segment_packer *packer)
{
	struct point *to = &packer->head.to;

	to->position.txid = packer->record.txid;
	to->position.checksum = packer->record.checksum_after;
	to->extent = packer->record.after;
	to->time_us = packer->record.time_us;
}

int segment_packer_seal(struct segment_packer *packer, bool final, int64_t created_us,
			struct buf *out, struct layout_segment *ret_name, struct error *err)
{
	size_t len = final ? packer->raw.len : MIN(packer->raw.len, (size_t)OBJECT_RAW_TARGET);
	struct object_header head = packer->head;
	int r;

	head.flags = final ? OBJECT_FINAL : 0;
	head.created_us = created_us;
	if (!final) {
		/* Where the record will lead is known from its header. */
		head.to.position.txid = packer->record.txid;
		head.to.position.checksum = packer->record.checksum_after;
		head.to.extent = packer->record.after;
		head.to.time_us = packer->record.time_us;
	}
	r = object_build(&head, packer->raw.data, len,
			 packer->level != 0 ? packer->level : SEGMENT_LEVEL, out, err);
	if (r < 0)
		return r;
	*ret_name = (struct layout_segment){
		.first = head.from.position.txid + 1,
		.last = head.to.position.txid,
		.generation = head.to.position.generation,
		.part = final ? LAYOUT_PART_FINAL : head.part,
	};
	packer->raw.len -= len;
	if (packer->raw.len != 0)
		memmove(packer->raw.data, packer->raw.data + len, packer->raw.len);
	packer->head.part++;
	packer->head.n_items = 0;
	return 0;
}

bool segment_header_fits(const struct object_header *header, const struct layout_segment *name)
{
	bool final = name->part == LAYOUT_PART_FINAL;

	return header->to.position.generation == name->generation &&
	       header->from.position.txid == name->first - 1 &&
	       header->to.position.txid == name->last && header->n_runs == 0 &&
	       (header->flags & OBJECT_FINAL) == (final ? (uint32_t)OBJECT_FINAL : 0) &&
	       (final ? header->part <= LAYOUT_PART_MAX + 1 : header->part == name->part);
}

int segment_open(const void *data, size_t len, const struct layout_segment *name,
		 struct object_header *ret_header, struct buf *ret_raw, struct error *err)
{
	int r = object_open(data, len, OBJECT_SEGMENT, ret_header, ret_raw, err);

	if (r == 0 && !segment_header_fits(ret_header, name))
		return error_set(err, EBADMSG, "the segment is not the one that its name says");
	return r;
}
