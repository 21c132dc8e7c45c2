/* SPDX-License-Identifier: MIT */
#include "replicate/snapshot.h"

#include "base/bytes.h"
#include "replicate/page.h"

#include <errno.h>

#define LEVEL 1 /* of zstd: what matters is to be done soon */

void snapshot_packer_done(struct snapshot_packer *packer)
{
	buf_done(&packer->runs);
	buf_done(&packer->pages);
}

int snapshot_packer_add(struct snapshot_packer *packer, uint32_t first, uint32_t n,
			const uint8_t *pages, uint32_t page_size, struct error *err)
{
	uint8_t *run;

	if (buf_append(&packer->pages, pages, (size_t)n * page_size) < 0)
		return error_set(err, ENOMEM, "out of memory");
	packer->head.n_items += n;
	if (packer->runs.len != 0) {
		uint8_t *last = packer->runs.data + packer->runs.len - SNAPSHOT_RUN_LEN;
		uint32_t n_before = le32_get(last + 4);

		if (le32_get(last) + n_before == first) {
			le32_put(last + 4, n_before + n);
			return 0;
		}
	}
	run = buf_extend(&packer->runs, SNAPSHOT_RUN_LEN);
	if (run == NULL)
		return error_set(err, ENOMEM, "out of memory");
	le32_put(run, first);
	le32_put(run + 4, n);
	packer->head.n_runs++;
	return 0;
}

int snapshot_packer_seal(struct snapshot_packer *packer, bool final, const struct point *to,
			 int64_t created_us, struct buf *out, struct error *err)
{
	int r = 0;

	packer->head.kind = OBJECT_SNAPSHOT;
	packer->head.flags = final ? OBJECT_FINAL : 0;
	packer->head.to = *to;
	packer->head.created_us = created_us;
	if (buf_append(&packer->runs, packer->pages.data, packer->pages.len) < 0)
		r = error_set(err, ENOMEM, "out of memory");
	if (r == 0)
		r = object_build(&packer->head, packer->runs.data, packer->runs.len, LEVEL, out,
				 err);
	buf_reset(&packer->runs);
	buf_reset(&packer->pages);
	packer->head.n_items = 0;
	packer->head.n_runs = 0;
	packer->head.part++;
	return r;
}

struct snapshot_run snapshot_part_run(const struct snapshot_part *part, uint32_t i)
{
	const uint8_t *at = part->runs + (size_t)i * SNAPSHOT_RUN_LEN;

	return (struct snapshot_run){ le32_get(at), le32_get(at + 4) };
}

static bool runs_valid(const struct snapshot_part *part)
{
	const struct object_header *head = &part->head;
	uint64_t page_size = head->to.extent.page_size;
	uint64_t n_pages = 0;

	if (head->raw_len != (uint64_t)head->n_runs * SNAPSHOT_RUN_LEN + head->n_items * page_size)
		return false;
	for (uint32_t i = 0; i < head->n_runs; i++) {
		struct snapshot_run run = snapshot_part_run(part, i);

		if (run.first == 0 || run.n == 0 || run.n > PAGE_NUMBER_MAX ||
		    run.first > PAGE_NUMBER_MAX - run.n + 1)
			return false;
		n_pages += run.n;
	}
	return n_pages == head->n_items && (page_size != 0 || n_pages == 0);
}

int snapshot_open(const void *data, size_t len, const struct layout_snapshot *name,
		  struct snapshot_part *ret_part, struct buf *raw, struct error *err)
{
	struct object_header *head = &ret_part->head;
	int r = object_open(data, len, OBJECT_SNAPSHOT, head, raw, err);

	if (r < 0)
		return r;
	ret_part->runs = raw->data;
	if (head->part != name->part || head->to.position.generation != name->generation ||
	    head->from.position.txid != name->txid)
		return error_set(err, EBADMSG,
				 "the part of a snapshot is not the one that its name says");
	if (!runs_valid(ret_part))
		return error_set(err, EBADMSG, "the part of a snapshot contradicts itself");
	ret_part->pages = raw->data + (size_t)head->n_runs * SNAPSHOT_RUN_LEN;
	return 0;
}
