/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "replicate/walmap.h"

static void put(struct walmap *map, uint32_t pgno, uint32_t frame)
{
	assert_int_equal(walmap_reserve(map, 1), 0);
	walmap_put(map, pgno, frame, (uint64_t)frame * 3);
}

static void an_empty_map_finds_nothing(void **state)
{
	struct walmap map = { 0 };

	assert_null(walmap_find(&map, 1));
	walmap_clear(&map);
	assert_int_equal(walmap_reserve(&map, 0), 0);
	assert_null(walmap_find(&map, 1));
	walmap_done(&map);
	assert_null(walmap_find(&map, 1));
}

/* Page numbers that fall on each other at any size of the table. */
static void the_newest_frame_of_every_page_is_found(void **state)
{
	static const uint32_t steps[] = { 1, 256, 65536, 0x01000000, 0x9e3779b1 };
	struct walmap map = { 0 };

	for (size_t s = 0; s < ARRAY_LEN(steps); s++) {
		uint32_t n = steps[s] == 0x01000000 ? 200 : 20000;

		for (uint32_t round = 1; round <= 2; round++) {
			for (uint32_t i = 1; i <= n; i++)
				put(&map, i * steps[s] | 1, round * n + i);
		}
		for (uint32_t i = 1; i <= n; i++) {
			const struct walmap_entry *entry = walmap_find(&map, i * steps[s] | 1);

			assert_non_null(entry);
			/* Numbers that the | made equal: the later one won. */
			assert_true(entry->frame >= 2 * n + i && entry->frame <= 2 * n + i + 1);
			assert_int_equal(entry->hash, (uint64_t)entry->frame * 3);
		}
		assert_null(walmap_find(&map, 0xfffffffe));
		walmap_clear(&map);
		assert_null(walmap_find(&map, steps[s] | 1));
	}
	walmap_done(&map);
}

static void reserved_room_is_enough(void **state)
{
	struct walmap map = { 0 };
	struct walmap_entry *slots;

	assert_int_equal(walmap_reserve(&map, 5000), 0);
	slots = map.slots;
	for (uint32_t pgno = 1; pgno <= 5000; pgno++)
		walmap_put(&map, pgno, pgno, 0);
	assert_ptr_equal(map.slots, slots);
	assert_int_equal(map.n_used, 5000);
	assert_true(map.n_slots > map.n_used); /* or a search would not end */
	walmap_done(&map);
}

static void too_much_is_refused(void **state)
{
	struct walmap map = { 0 };

	put(&map, 1, 1);
	assert_int_equal(walmap_reserve(&map, UINT32_MAX), -ENOMEM);
	assert_int_equal(walmap_find(&map, 1)->frame, 1);
	walmap_done(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_map_finds_nothing),
		cmocka_unit_test(the_newest_frame_of_every_page_is_found),
		cmocka_unit_test(reserved_room_is_enough),
		cmocka_unit_test(too_much_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
