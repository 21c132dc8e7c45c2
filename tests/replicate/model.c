/* SPDX-License-Identifier: MIT */
#include "tests/replicate/model.h"

#include "base/clock.h"
#include "base/file.h"
#include "replicate/delta.h"
#include "replicate/page.h"

uint64_t model_random(struct model *model, uint64_t n)
{
	model->seed = model->seed * 6364136223846793005u + 1442695040888963407u;
	return (model->seed >> 33) % n;
}

static uint8_t *page_of(uint8_t *pages, uint32_t page_size, uint32_t pgno)
{
	return pages + (size_t)(pgno - 1) * page_size;
}

static uint64_t checksum_of(struct extent extent, uint8_t *pages)
{
	uint64_t checksum = 0;

	for (uint32_t pgno = 1; pgno <= extent.n_pages; pgno++)
		checksum ^= page_hash(pgno, page_of(pages, extent.page_size, pgno),
				      extent.page_size);
	return checksum;
}

static void keep_copy(struct model *model)
{
	size_t len = extent_bytes(model->extent);
	struct model_copy copy = { .pages = malloc(len + 1) };

	if (len != 0)
		memcpy(copy.pages, model->pages, len);
	copy.point.position = txlog_position(&model->log, &copy.point.extent, &copy.point.time_us);
	model->copies = reallocarray(model->copies, model->n_copies + 1, sizeof(copy));
	model->copies[model->n_copies++] = copy;
}

void model_open(struct model *model, int root_fd, const char *path, uint64_t seed,
		uint64_t file_limit)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct log_header head = { .term = 1 };
	struct txlog_state state;

	*model = (struct model){ .seed = seed, .max_pages = 60 };
	MODEL_CHECK(id_random(&model->node_id, &err), &err);
	MODEL_CHECK(id_random(&model->id, &err), &err);
	head.node_id = model->node_id;
	head.database_id = model->id;
	head.time_us = clock_wall_us();
	MODEL_CHECK(id_random_u64(&head.base.generation, &err), &err);
	MODEL_CHECK(txlog_open(&model->log, root_fd, path, file_limit, &state, &err), &err);
	MODEL_CHECK(txlog_begin_generation(&model->log, &head, &err), &err);
	keep_copy(model);
}

void model_close(struct model *model)
{
	for (size_t i = 0; i < model->n_copies; i++)
		free(model->copies[i].pages);
	free(model->copies);
	free(model->pages);
	txlog_close(&model->log);
}

static void add_entry(struct model *model, uint32_t pgno, enum record_encoding encoding,
		      uint64_t hash, const void *data, size_t len)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct record_entry entry = { pgno, encoding, (uint32_t)len, hash };

	MODEL_CHECK(txlog_add(&model->log, &entry, data, &err), &err);
}

/* Logs what the transaction cuts off: all of it when the page size changes. */
static void add_cuts(struct model *model, struct extent after)
{
	struct extent before = model->extent;
	uint32_t keep = before.page_size == after.page_size ? after.n_pages : 0;
	uint8_t *delta CLEANUP_FREE = malloc(delta_max_len(PAGE_SIZE_MAX));

	for (uint32_t pgno = keep + 1; pgno <= before.n_pages; pgno++) {
		uint8_t *page = page_of(model->pages, before.page_size, pgno);

		add_entry(model, pgno, RECORD_CUT, page_hash(pgno, page, before.page_size), delta,
			  delta_encode(NULL, page, before.page_size, delta));
	}
}

static void add_changes(struct model *model, struct extent after, uint8_t *pages, bool whole)
{
	struct extent before = model->extent;
	uint32_t kept = before.page_size == after.page_size ? before.n_pages : 0;
	uint8_t *delta CLEANUP_FREE = malloc(delta_max_len(PAGE_SIZE_MAX));

	for (uint32_t pgno = 1; pgno <= after.n_pages; pgno++) {
		uint8_t *page = page_of(pages, after.page_size, pgno);
		uint64_t hash = page_hash(pgno, page, after.page_size);
		const uint8_t *old = pgno <= kept ?
					     page_of(model->pages, before.page_size, pgno) : NULL;
		size_t len = delta_encode(old, page, after.page_size, delta);

		if (old != NULL && len == 0)
			continue;
		if (whole && old != NULL)
			add_entry(model, pgno, RECORD_WHOLE, hash, page, after.page_size);
		else
			add_entry(model, pgno, RECORD_XOR, hash, delta, len);
	}
}

/* Makes pages (taken over) of extent after the new content, by one transaction. */
static void commit(struct model *model, struct extent after, uint8_t *pages)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct record_header header = {
		.kind = RECORD_COMMIT,
		.after = after,
		.time_us = clock_wall_us(),
	};
	bool whole = model_random(model, 100) < model->cannot_undo;

	txlog_begin(&model->log, &header);
	if (!whole)
		add_cuts(model, after);
	add_changes(model, after, pages, whole);
	MODEL_CHECK(txlog_end(&model->log, whole ? 0 : RECORD_UNDOABLE, checksum_of(after, pages),
			      &err), &err);
	MODEL_CHECK(txlog_flush(&model->log, &err), &err);
	free(model->pages);
	model->pages = pages;
	model->extent = after;
	keep_copy(model);
}

/* Fills len bytes with something that compresses as badly as it should. */
static void scribble(struct model *model, uint8_t *data, size_t len)
{
	uint64_t value = 0;

	for (size_t i = 0; i < len; i++) {
		if (i % 4 == 0)
			value = model_random(model, 1ull << 31) | 1u << 30;
		data[i] = (uint8_t)(value >> i % 4 * 7);
	}
}

void model_fill(struct model *model, uint32_t page_size, uint32_t n_pages)
{
	struct extent after = { page_size, n_pages };
	uint8_t *pages = calloc(1, extent_bytes(after) + 1);

	scribble(model, pages, extent_bytes(after));
	commit(model, after, pages);
}

void model_load(struct model *model, uint32_t page_size, int fd)
{
	struct extent after = { page_size, 0 };
	struct stat st;
	uint8_t *pages;

	assert_int_equal(fstat(fd, &st), 0);
	after.n_pages = (uint32_t)(st.st_size / page_size);
	pages = malloc((size_t)st.st_size + 1);
	assert_int_equal(file_pread(fd, pages, (size_t)st.st_size, 0), st.st_size);
	commit(model, after, pages);
}

static struct extent random_extent(struct model *model)
{
	struct extent extent = model->extent;

	if (extent.page_size == 0 || (model_random(model, 40) == 0 && !model->keep_page_size))
		return (struct extent){ 512u << model_random(model, 4),
					1 + (uint32_t)model_random(model, 20) };
	if (model_random(model, 4) == 0)
		extent.n_pages = 1 + (uint32_t)model_random(model, model->max_pages);
	return extent;
}

void model_step(struct model *model)
{
	struct extent before = model->extent;
	struct extent after = random_extent(model);
	uint8_t *pages = calloc(1, extent_bytes(after) + 1);
	uint64_t n_changes = 1 + model_random(model, 5);

	if (after.page_size == before.page_size && before.n_pages != 0)
		memcpy(pages, model->pages, MIN(extent_bytes(before), extent_bytes(after)));
	else
		scribble(model, pages, extent_bytes(after));
	for (uint64_t i = 0; i < n_changes; i++) {
		size_t len = 1 + model_random(model, after.page_size);

		scribble(model, pages + model_random(model, extent_bytes(after) - len + 1), len);
	}
	commit(model, after, pages);
}

void model_steps(struct model *model, unsigned n)
{
	while (n-- > 0)
		model_step(model);
}

void model_new_generation(struct model *model, const struct model_copy *copy)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct log_header head = {
		.node_id = model->node_id,
		.database_id = model->id,
		.term = 1,
	};

	if (copy == NULL)
		copy = model_now(model);
	head.parent = copy->point.position;
	head.base = head.parent;
	head.extent = copy->point.extent;
	head.time_us = copy->point.time_us;
	free(model->pages);
	model->extent = head.extent;
	model->pages = malloc(extent_bytes(head.extent) + 1);
	if (extent_bytes(head.extent) != 0)
		memcpy(model->pages, copy->pages, extent_bytes(head.extent));
	MODEL_CHECK(id_random_u64(&head.base.generation, &err), &err);
	MODEL_CHECK(txlog_begin_generation(&model->log, &head, &err), &err);
	keep_copy(model);
}

const struct model_copy *model_now(const struct model *model)
{
	return &model->copies[model->n_copies - 1];
}

const struct model_copy *model_find(const struct model *model, const struct position *position)
{
	for (size_t i = model->n_copies; i-- > 0;) {
		if (position_equal(&model->copies[i].point.position, position))
			return &model->copies[i];
	}
	return NULL;
}

void model_assert_file(const struct model_copy *copy, int fd)
{
	size_t len = extent_bytes(copy->point.extent);
	uint8_t *bytes CLEANUP_FREE = malloc(len + 1);
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, len);
	assert_int_equal(file_pread(fd, bytes, len, 0), len);
	if (memcmp(bytes, copy->pages, len) != 0)
		fail_msg("the file is not what it was at transaction %llu",
			 (unsigned long long)copy->point.position.txid);
}
