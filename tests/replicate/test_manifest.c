/* SPDX-License-Identifier: MIT */
#include "tests/replicate/codec.h"

#include "replicate/manifest.h"
#include "replicate/owner.h"

static int parse_manifest(const uint8_t *data, size_t len)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct manifest manifest = { 0 };
	int r = manifest_parse(data, len, &manifest, &err);

	manifest_done(&manifest);
	return r;
}

static int parse_owner(const uint8_t *data, size_t len)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct owner owner = { 0 };
	int r = owner_parse(data, len, &owner, &err);

	owner_done(&owner);
	return r;
}

static void fill(struct manifest *manifest)
{
	struct point point = { { 0xffffffffffffffff, 7, 0x8000000000000001 }, { 4096, 3 }, 99 };
	struct manifest_generation generation = { 0xfffffffffffffffe, { 5, 6, 7 }, -3 };
	struct manifest_snapshot snapshot = {
		.name = { 5, 0xffffffffffffffff, 0xffffffff, 0 },
		.point = point,
		.n_parts = 2,
		.bytes = 1ull << 40,
		.created_us = 100,
	};
	struct manifest_gap gap = { point, point, 101 };

	*manifest = (struct manifest){
		.node_id.bytes = { 1 },
		.database_id.bytes = { 2 },
		.name = strdup("tenants/\xff \"x\".db"),
		.ended = true,
		.term = 3,
		.written_us = 4,
	};
	assert_int_equal(manifest_add_generation(manifest, &generation), 0);
	generation.generation--;
	assert_int_equal(manifest_add_generation(manifest, &generation), 0);
	assert_int_equal(manifest_add_generation(manifest, &generation), 0);
	assert_int_equal(manifest_add_snapshot(manifest, &snapshot), 0);
	assert_int_equal(manifest_add_gap(manifest, &gap), 0);
}

static void format(const struct manifest *manifest, struct buf *out)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;

	if (manifest_format(manifest, out, &err) < 0)
		fail_msg("%s", error_what(&err));
}

static void a_manifest_comes_back_as_it_was(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf text CLEANUP_BUF = { 0 };
	struct buf again CLEANUP_BUF = { 0 };
	struct manifest manifest;
	struct manifest back;

	fill(&manifest);
	format(&manifest, &text);
	assert_int_equal(manifest_parse(text.data, text.len, &back, &err), 0);
	format(&back, &again);
	assert_int_equal(again.len, text.len);
	assert_memory_equal(again.data, text.data, text.len);
	assert_string_equal(back.name, manifest.name);
	assert_int_equal(back.n_generations, 2);
	assert_int_equal(back.snapshots[0].bytes, 1ull << 40);
	assert_int_equal(back.snapshots[0].name.generation, 0xffffffffffffffff);
	assert_int_equal(back.snapshots[0].point.extent.n_pages, 3);
	manifest_done(&back);
	manifest_done(&manifest);
}

static void damage_to_a_manifest_is_noticed(void **state)
{
	struct buf text CLEANUP_BUF = { 0 };
	struct manifest manifest;

	fill(&manifest);
	format(&manifest, &text);
	codec_detects_every_flip(parse_manifest, text.data, text.len);
	codec_detects_every_cut(parse_manifest, text.data, text.len);
	manifest_done(&manifest);
}

static void a_newer_manifest_is_refused_with_what_to_do(void **state)
{
	static const char text[] = "replitedfs manifest 2 00000003 0123456789abcdef\n{}\n";
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct manifest manifest;

	assert_int_equal(manifest_parse(text, strlen(text), &manifest, &err), -EPROTONOSUPPORT);
	assert_non_null(strstr(error_what(&err), "version 2"));
	assert_non_null(err.fix);
}

static void a_name_that_leads_out_of_the_folder_is_refused(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct manifest manifest = { 0 };
	struct manifest back = { 0 };
	struct buf text CLEANUP_BUF = { 0 };

	assert_int_equal(manifest_set_name(&manifest, "../../etc/cron.d/x"), 0);
	format(&manifest, &text);
	assert_int_equal(manifest_parse(text.data, text.len, &back, &err), -EBADMSG);
	assert_non_null(strstr(error_what(&err), "bad name"));
	manifest_done(&manifest);
}

static void the_oldest_make_room(void **state)
{
	struct manifest manifest = { 0 };

	for (uint64_t i = 1; i <= MANIFEST_MAX_GENERATIONS + 10; i++) {
		struct manifest_generation generation = { .generation = i };

		assert_int_equal(manifest_add_generation(&manifest, &generation), 0);
	}
	assert_int_equal(manifest.n_generations, MANIFEST_MAX_GENERATIONS);
	assert_null(manifest_find_generation(&manifest, 10));
	assert_non_null(manifest_find_generation(&manifest, 11));
	manifest_done(&manifest);
}

static void an_owner_comes_back_and_damage_is_noticed(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf text CLEANUP_BUF = { 0 };
	struct owner owner = {
		.node_id.bytes = { 1 },
		.database_id.bytes = { 2 },
		.name = (char[]){ "app.db" },
		.host = (char[]){ "host1" },
		.generation = 0xffffffffffffffff,
		.term = 3,
		.claimed_us = 4,
	};
	struct owner back;

	assert_int_equal(owner_format(&owner, &text, &err), 0);
	assert_int_equal(owner_parse(text.data, text.len, &back, &err), 0);
	assert_string_equal(back.host, "host1");
	assert_int_equal(back.generation, owner.generation);
	assert_true(id_equal(&back.node_id, &owner.node_id));
	owner_done(&back);
	codec_detects_every_flip(parse_owner, text.data, text.len);
	codec_detects_every_cut(parse_owner, text.data, text.len);
	assert_int_equal(parse_manifest(text.data, text.len), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_manifest_comes_back_as_it_was),
		cmocka_unit_test(damage_to_a_manifest_is_noticed),
		cmocka_unit_test(a_newer_manifest_is_refused_with_what_to_do),
		cmocka_unit_test(a_name_that_leads_out_of_the_folder_is_refused),
		cmocka_unit_test(the_oldest_make_room),
		cmocka_unit_test(an_owner_comes_back_and_damage_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
