/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/bytes.h"

static const uint8_t bytes[] = { 0xff, 0x01, 0x02, 0x03, 0x04,
				 0x05, 0x06, 0x07, 0x88 };

static void little_endian_reads_the_low_byte_first(void **state)
{
	assert_int_equal(le16_get(bytes + 1), 0x0201);
	assert_int_equal(le32_get(bytes + 1), 0x04030201);
	assert_int_equal(le64_get(bytes + 1), 0x8807060504030201);
}

static void big_endian_reads_the_high_byte_first(void **state)
{
	assert_int_equal(be16_get(bytes + 1), 0x0102);
	assert_int_equal(be32_get(bytes + 1), 0x01020304);
	assert_int_equal(be64_get(bytes + 1), 0x0102030405060788);
}

static void what_was_put_is_read_back_and_nothing_beside_it_changes(void **state)
{
	uint8_t room[10] = { 0 };

	le64_put(room + 1, 0x8807060504030201);
	assert_memory_equal(room + 1, bytes + 1, 8);
	be64_put(room + 1, 0x0102030405060788);
	assert_memory_equal(room + 1, bytes + 1, 8);
	be16_put(room + 1, 0xfffe);
	assert_int_equal(be16_get(room + 1), 0xfffe);
	le32_put(room + 5, UINT32_MAX);
	assert_int_equal(le32_get(room + 5), UINT32_MAX);
	assert_int_equal(room[0], 0);
	assert_int_equal(room[9], 0);
}

static void native_reads_what_the_machine_wrote(void **state)
{
	struct {
		char odd;
		uint32_t value;
	} __attribute__((packed)) in = { .value = 0xdeadbeef };

	assert_int_equal(native32_get((char *)&in + 1), 0xdeadbeef);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(little_endian_reads_the_low_byte_first),
		cmocka_unit_test(big_endian_reads_the_high_byte_first),
		cmocka_unit_test(what_was_put_is_read_back_and_nothing_beside_it_changes),
		cmocka_unit_test(native_reads_what_the_machine_wrote),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
