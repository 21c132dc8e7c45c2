/* SPDX-License-Identifier: MIT */
#include "tests/tools/roll.h"

#include <errno.h>
#include <inttypes.h>

static int open_at(struct txlog_reader *reader, struct txlog *log, const struct position *from,
		   struct error *err)
{
	int r = txlog_reader_open(reader, log, from, err);

	return r > 0 ? error_set(err, ENOENT, "the log does not hold transaction %" PRIu64
				 " with checksum %016" PRIx64, from->txid, from->checksum) :
		       r;
}

int roll_begin(struct txlog *log, struct apply *apply, struct error *err)
{
	struct position from = txlog_oldest(log, NULL);
	struct txlog_reader reader;
	int r = open_at(&reader, log, &from, err);
	struct point point = { from, reader.head.extent, reader.head.time_us };

	if (r == 0 && point.extent.n_pages != 0)
		r = apply_adopt(apply, &point, NULL, NULL, err);
	apply->at.position.generation = from.generation;
	txlog_reader_close(&reader);
	return r;
}

static void count(struct roll *roll, const struct record_header *header, uint64_t txid)
{
	roll->n_records++;
	roll->n_merged += header->kind == RECORD_MERGED;
	if (header->kind == RECORD_MERGED)
		roll->last_merged = txid;
	roll->n_undoable += (header->flags & RECORD_UNDOABLE) != 0;
	roll->time_went_back |= header->time_us < roll->last_us;
	roll->last_us = header->time_us;
}

/* The generation that reader is at goes on from the position reached. */
static int next_generation(const struct txlog_reader *reader, struct apply *apply,
			   struct roll *roll, struct error *err)
{
	if (reader->head.base.checksum != apply->at.position.checksum ||
	    reader->head.base.txid != apply->at.position.txid)
		return error_set(err, EBADMSG, "the history jumps");
	apply->at.position.generation = reader->head.base.generation;
	roll->n_generations++;
	return 0;
}

int roll_forward(struct txlog *log, struct apply *apply, struct roll *roll, struct error *err)
{
	struct position from = apply->at.position;
	struct txlog_reader reader;
	int r = open_at(&reader, log, &from, err);

	while (r == 0) {
		r = txlog_reader_next(&reader, err);
		if (r == 0) {
			/* Applying reads the record to its end, which its header outlives. */
			struct record_header header = reader.records.header;

			r = apply_forward(apply, &reader.records, reader.head.base.generation, err);
			if (r == 0)
				count(roll, &header, apply->at.position.txid);
		} else if (r == 2) {
			r = next_generation(&reader, apply, roll, err);
		}
	}
	txlog_reader_close(&reader);
	return r == 1 ? apply_finish(apply, err) : r;
}
