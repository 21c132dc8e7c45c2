/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/document.h"

#include "replicate/manifest.h"
#include "replicate/page.h"

#include <errno.h>
#include <string.h>

/* The input is a manifest, see document.h. */

static void check_point(const struct point *point)
{
	struct extent extent = point->extent;

	FUZZ_CHECK(extent.page_size == 0 ? extent.n_pages == 0 :
					   page_size_valid(extent.page_size));
}

static void check_bounds(const struct manifest *manifest)
{
	FUZZ_CHECK(manifest->name != NULL && layout_name_valid(manifest->name));
	FUZZ_CHECK(manifest->n_generations <= MANIFEST_MAX_GENERATIONS);
	FUZZ_CHECK(manifest->n_snapshots <= MANIFEST_MAX_SNAPSHOTS);
	FUZZ_CHECK(manifest->n_gaps <= MANIFEST_MAX_GAPS);
	for (size_t i = 0; i < manifest->n_generations; i++)
		FUZZ_CHECK(manifest_find_generation(manifest,
						    manifest->generations[i].generation) != NULL);
	for (size_t i = 0; i < manifest->n_snapshots; i++)
		check_point(&manifest->snapshots[i].point);
	for (size_t i = 0; i < manifest->n_gaps; i++) {
		check_point(&manifest->gaps[i].begin);
		check_point(&manifest->gaps[i].end);
	}
}

static void check_same(const struct manifest *a, const struct manifest *b)
{
	FUZZ_CHECK(memcmp(&a->node_id, &b->node_id, sizeof(a->node_id)) == 0);
	FUZZ_CHECK(memcmp(&a->database_id, &b->database_id, sizeof(a->database_id)) == 0);
	FUZZ_CHECK(strcmp(a->name, b->name) == 0 && a->ended == b->ended);
	FUZZ_CHECK(a->term == b->term && a->written_us == b->written_us);
	FUZZ_CHECK(a->n_generations == b->n_generations);
	FUZZ_CHECK(a->n_snapshots == b->n_snapshots && a->n_gaps == b->n_gaps);
	for (size_t i = 0; i < a->n_snapshots; i++)
		FUZZ_CHECK(position_equal(&a->snapshots[i].point.position,
					  &b->snapshots[i].point.position));
}

/* What was read is written as what reads the same. */
static void check_again(const struct manifest *manifest)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf text CLEANUP_BUF = { 0 };
	struct buf same CLEANUP_BUF = { 0 };
	struct manifest again = { 0 };

	if (manifest_format(manifest, &text, &err) < 0) {
		FUZZ_CHECK(err.code == EFBIG || err.code == ENOMEM);
		return;
	}
	FUZZ_CHECK(manifest_parse(text.data, text.len, &again, &err) == 0);
	check_same(manifest, &again);
	FUZZ_CHECK(manifest_format(&again, &same, &err) == 0);
	FUZZ_CHECK(same.len == text.len && memcmp(same.data, text.data, text.len) == 0);
	manifest_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf text CLEANUP_BUF = { 0 };
	struct manifest manifest = { 0 };

	if (!fuzz_document("manifest", data, size, &text))
		return 0;
	if (manifest_parse(text.data, text.len, &manifest, &err) < 0) {
		FUZZ_CHECK(err.what != NULL && err.code != 0);
		return 0;
	}
	check_bounds(&manifest);
	check_again(&manifest);
	manifest_done(&manifest);
	return 0;
}
