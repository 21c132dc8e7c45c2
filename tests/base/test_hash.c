/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/hash.h"

static void the_hash_is_xxh3_with_64_bits(void **state)
{
	/* XSUM_XXH3 test vectors: the empty input under seeds 0 and PRIME64. */
	assert_int_equal(hash64("", 0, 0), 0x2d06800538d394c2);
	assert_int_equal(hash64("", 0, 0x9e3779b185ebca8d), 0xa8a6b918b2f0364a);
}

static void seed_and_every_byte_count(void **state)
{
	char data[300] = { 0 };
	uint64_t before = hash64(data, sizeof(data), 0);

	assert_int_not_equal(before, hash64(data, sizeof(data), 1));
	assert_int_not_equal(before, hash64(data, sizeof(data) - 1, 0));
	for (size_t i = 0; i < sizeof(data); i++) {
		data[i] = 1;
		assert_int_not_equal(before, hash64(data, sizeof(data), 0));
		data[i] = 0;
	}
}

static void a_stream_gives_the_hash_of_the_whole(void **state)
{
	struct hash_stream *stream = hash_stream_new();
	uint8_t data[5000];

	assert_non_null(stream);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	assert_int_equal(hash_stream_value(stream), hash64("", 0, 0));
	for (size_t i = 0; i < sizeof(data); i += 100)
		hash_stream_update(stream, data + i, 100);
	assert_int_equal(hash_stream_value(stream), hash64(data, sizeof(data), 0));
	hash_stream_reset(stream);
	hash_stream_update(stream, data, 10);
	assert_int_equal(hash_stream_value(stream), hash64(data, 10, 0));
	hash_stream_free(stream);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_hash_is_xxh3_with_64_bits),
		cmocka_unit_test(seed_and_every_byte_count),
		cmocka_unit_test(a_stream_gives_the_hash_of_the_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
