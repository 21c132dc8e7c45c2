/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/id.h"

static void random_ids_differ_and_are_not_zero(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct id a;
	struct id b;
	uint64_t x;
	uint64_t y;

	assert_int_equal(id_random(&a, &err), 0);
	assert_int_equal(id_random(&b, &err), 0);
	assert_false(id_equal(&a, &b));
	assert_false(id_is_zero(&a));
	assert_int_equal(id_random_u64(&x, &err), 0);
	assert_int_equal(id_random_u64(&y, &err), 0);
	assert_int_not_equal(x, y);
	assert_int_not_equal(x, 0);
}

static void an_id_survives_being_written_and_read(void **state)
{
	struct id id = { .bytes = { 0x00, 0x01, 0x9a, 0xff, 0x10 } };
	char hex[ID_HEX_LEN + 1];
	struct id back;

	id_format(&id, hex);
	assert_string_equal(hex, "00019aff100000000000000000000000");
	assert_true(id_parse(hex, &back));
	assert_true(id_equal(&id, &back));
	assert_true(id_parse("00019AFF100000000000000000000000", &back));
	assert_true(id_equal(&id, &back));
}

static void only_exactly_32_hex_digits_are_an_id(void **state)
{
	struct id id;

	assert_false(id_parse("", &id));
	assert_false(id_parse("00019aff10000000000000000000000", &id));
	assert_false(id_parse("00019aff1000000000000000000000000", &id));
	assert_false(id_parse("00019aff1000000000000000000000g0", &id));
	assert_false(id_parse("0x019aff100000000000000000000000", &id));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_ids_differ_and_are_not_zero),
		cmocka_unit_test(an_id_survives_being_written_and_read),
		cmocka_unit_test(only_exactly_32_hex_digits_are_an_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
