/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "replicate/layout.h"

static void assert_escapes(const char *name, const char *text)
{
	char *escaped CLEANUP_FREE = layout_escape(name);
	char *back CLEANUP_FREE = layout_unescape(text);

	assert_string_equal(escaped, text);
	assert_non_null(back);
	assert_string_equal(back, name);
}

static void a_name_comes_back_from_its_escape(void **state)
{
	char all[256];

	assert_escapes("app.db", "app.db");
	assert_escapes("tenants/42/main.db", "tenants~42~main.db");
	assert_escapes(".hidden", "=2ehidden");
	assert_escapes("a b=c~d", "a=20b=3dc=7ed");
	assert_escapes("caf\xc3\xa9", "caf=c3=a9");
	assert_escapes("\xff\x01", "=ff=01");
	for (int c = 1; c < 256; c++)
		all[c - 1] = (char)c;
	all[255] = '\0';
	char *text CLEANUP_FREE = layout_escape(all);
	char *back CLEANUP_FREE = layout_unescape(text);

	assert_string_equal(back, all);
	for (const char *at = text; *at != '\0'; at++)
		assert_true(*at > ' ' && *at < 0x7f);
}

static void what_no_escape_writes_is_refused(void **state)
{
	static const char *const bad[] = {
		"a/b", "a=", "a=2", "a=2F", "a=61", "=00", "a b", "\xc3\xa9", ".a", "a=7e=2f", "a%",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_null(layout_unescape(bad[i]));
}

static void names_that_lead_elsewhere_are_none(void **state)
{
	static const char *const good[] = {
		"a", "a/b", ".a", "..a", "a../b", "...", "a/.replitedfs", ".replitedfs-x/a", "a\nb",
	};
	static const char *const bad[] = {
		"", "/", "/a", "a/", "a//b", ".", "..", "./a", "../a", "a/.", "a/..", "a/../b",
		".replitedfs", ".replitedfs/db/x",
	};
	char name[LAYOUT_NAME_MAX + 2];

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(layout_name_valid(good[i]));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(layout_name_valid(bad[i]));
	memset(name, 'a', sizeof(name));
	name[LAYOUT_NAME_MAX + 1] = '\0';
	assert_false(layout_name_valid(name));
	name[LAYOUT_NAME_MAX] = '\0';
	assert_true(layout_name_valid(name));
}

static void a_folder_tells_the_name_and_the_id(void **state)
{
	struct id id = { .bytes = { 0x3f, 0x9c, 0x1a, 0x2b, 0x77 } };
	struct id other = { .bytes = { 0x3f, 0x9c, 0x1a, 0x2c } };
	char *folder CLEANUP_FREE = layout_folder("tenants/42/main.db", &id);

	assert_string_equal(folder, "tenants~42~main.db-3f9c1a2b");
	assert_true(layout_folder_has_id(folder, &id));
	assert_false(layout_folder_has_id(folder, &other));
	assert_true(layout_folder_has_name(folder, "tenants/42/main.db"));
	assert_false(layout_folder_has_name(folder, "tenants/42/main.d"));
	assert_false(layout_folder_has_name(folder, "main.db"));
}

static void long_names_stay_short_and_apart(void **state)
{
	struct id id = { .bytes = { 1 } };

	for (int fill = 0; fill < 3; fill++) {
		static const char fills[] = { 'x', '\xff', '/' };

		for (size_t len = 40; len < 400; len++) {
			char a[401];
			char b[401];

			memset(a, fills[fill], len);
			a[len] = '\0';
			strcpy(b, a);
			b[len - 1] = 'y';
			char *x CLEANUP_FREE = layout_folder(a, &id);
			char *y CLEANUP_FREE = layout_folder(b, &id);

			assert_true(strlen(x) <= LAYOUT_ESCAPED_MAX + LAYOUT_ID_LEN + 1);
			assert_true(layout_folder_valid(x));
			assert_true(layout_folder_has_name(x, a));
			assert_false(layout_folder_has_name(x, b));
			assert_string_not_equal(x, y);
		}
	}
}

static void strange_folders_are_none(void **state)
{
	static const char *const bad[] = {
		"", "-3f9c1a2b", "app.db", "app.db-3F9C1A2B", "app.db-3f9c1a2", "app.db_3f9c1a2b",
		".app-3f9c1a2b", "a/b-3f9c1a2b", "a b-3f9c1a2b", "caf\xc3\xa9-3f9c1a2b",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(layout_folder_valid(bad[i]));
}

static void segment_keys_sort_by_last_txid_and_come_back(void **state)
{
	struct layout_segment segment = { 0x20, 0x11, 0xfedcba9876543210, LAYOUT_PART_FINAL };
	struct layout_segment back;
	char key[LAYOUT_KEY_SIZE];
	char next[LAYOUT_KEY_SIZE];

	layout_segment_key(key, "a-00000001", &segment);
	assert_string_equal(key, "a-00000001/segment/0000000000000020-0000000000000011-"
				 "fedcba9876543210");
	assert_true(layout_segment_parse(key + 11, &back));
	assert_int_equal(back.last, segment.last);
	assert_int_equal(back.first, segment.first);
	assert_int_equal(back.generation, segment.generation);
	assert_int_equal(back.part, segment.part);
	segment.part = 0x1f;
	layout_segment_key(next, "a-00000001", &segment);
	assert_true(layout_segment_parse(next + 11, &back));
	assert_int_equal(back.part, 0x1f);
	assert_true(strcmp(key, next) < 0);
	layout_segments_after(next, "a-00000001", 0x20);
	assert_true(strcmp(next, key) < 0);
	layout_segments_after(next, "a-00000001", 0x21);
	assert_true(strcmp(next, key) > 0);
}

static void snapshot_keys_come_back(void **state)
{
	struct layout_snapshot snapshot = { 0x20, 0xfedcba9876543210, 0xdeadbeef, 7 };
	struct layout_snapshot back;
	char key[LAYOUT_KEY_SIZE];

	layout_snapshot_key(key, "a-00000001", &snapshot);
	assert_string_equal(key, "a-00000001/snapshot/0000000000000020-fedcba9876543210-deadbeef/"
				 "00000007");
	assert_true(layout_snapshot_parse(key + 11, &back));
	assert_memory_equal(&back, &snapshot, sizeof(back));
}

static void other_keys_are_none(void **state)
{
	static const char *const bad[] = {
		"",
		"segment/",
		"segment/0000000000000020-0000000000000011-fedcba987654321",
		"segment/0000000000000020-0000000000000011-fedcba9876543210.",
		"segment/0000000000000020-0000000000000011-fedcba9876543210.12345",
		"segment/0000000000000020-0000000000000011-fedcba9876543210x",
		"segment/0000000000000020-0000000000000011-0000000000000000",
		"segment/0000000000000020-0000000000000000-fedcba9876543210",
		"segment/0000000000000020-0000000000000022-fedcba9876543210",
		"snapshot/0000000000000020-fedcba9876543210-deadbeef/0000000g",
		"snapshot/0000000000000020-fedcba9876543210-deadbeef",
	};
	struct layout_segment segment;
	struct layout_snapshot snapshot;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_false(layout_segment_parse(bad[i], &segment));
		assert_false(layout_snapshot_parse(bad[i], &snapshot));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_comes_back_from_its_escape),
		cmocka_unit_test(what_no_escape_writes_is_refused),
		cmocka_unit_test(names_that_lead_elsewhere_are_none),
		cmocka_unit_test(a_folder_tells_the_name_and_the_id),
		cmocka_unit_test(long_names_stay_short_and_apart),
		cmocka_unit_test(strange_folders_are_none),
		cmocka_unit_test(segment_keys_sort_by_last_txid_and_come_back),
		cmocka_unit_test(snapshot_keys_come_back),
		cmocka_unit_test(other_keys_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
