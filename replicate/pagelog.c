/* SPDX-License-Identifier: MIT */
#include "replicate/pagelog.h"

#include "replicate/delta.h"
#include "replicate/page.h"

#include <errno.h>

int pagelog_init(struct pagelog *pagelog, struct txlog *log, struct error *err)
{
	*pagelog = (struct pagelog){
		.log = log,
		.delta = malloc(delta_max_len(PAGE_SIZE_MAX)),
		.flags = RECORD_UNDOABLE,
		.checksum = log->position.checksum,
	};
	return pagelog->delta != NULL ? 0 : error_set(err, ENOMEM, "out of memory");
}

void pagelog_done(struct pagelog *pagelog)
{
	free(pagelog->delta);
	pagelog->delta = NULL;
}

int pagelog_change(struct pagelog *pagelog, const struct page_change *change, struct error *err)
{
	struct record_entry entry = {
		.pgno = change->pgno,
		.encoding = RECORD_XOR,
		.hash = change->hash,
	};
	const uint8_t *before = change->existed ? change->before : NULL;
	const uint8_t *data = pagelog->delta;

	if (change->existed)
		pagelog->checksum ^= change->hash_before;
	pagelog->checksum ^= change->hash;
	if (change->existed && before == NULL) {
		entry.encoding = RECORD_WHOLE;
		entry.data_len = pagelog->page_size;
		data = change->page;
		pagelog->flags &= ~(uint32_t)RECORD_UNDOABLE;
	} else {
		entry.data_len = (uint32_t)delta_encode(before, change->page, pagelog->page_size,
							pagelog->delta);
	}
	if (entry.data_len == 0 && change->existed)
		return 0;
	return txlog_add(pagelog->log, &entry, data, err);
}

int pagelog_cut(struct pagelog *pagelog, uint32_t pgno, uint64_t hash, const uint8_t *page,
		struct error *err)
{
	struct record_entry entry = {
		.pgno = pgno,
		.encoding = RECORD_CUT,
		.hash = hash,
	};

	pagelog->checksum ^= hash;
	if (page == NULL) {
		pagelog->flags &= ~(uint32_t)RECORD_UNDOABLE;
		return 0;
	}
	entry.data_len = (uint32_t)delta_encode(NULL, page, pagelog->page_size, pagelog->delta);
	return txlog_add(pagelog->log, &entry, pagelog->delta, err);
}
