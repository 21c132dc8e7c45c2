/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "replicate/companion.h"

static void companions_are_told_by_their_names(void **state)
{
	static const struct {
		const char *name;
		bool is_one;
		enum database_file file;
		size_t len;
	} cases[] = {
		{ "a.db-wal", true, DATABASE_WAL, 4 },	 { "a-shm", true, DATABASE_SHM, 1 },
		{ "d/a-journal", true, DATABASE_JOURNAL, 3 }, { "-wal", false, 0, 0 },
		{ "d/-wal", false, 0, 0 },		 { "a.db", false, 0, 0 },
		{ "a-wal-wal", true, DATABASE_WAL, 5 },	 { "a-wal.x", false, 0, 0 },
		{ "a-walx", false, 0, 0 },		 { "", false, 0, 0 },
		{ "a_wal", false, 0, 0 },		 { "a-WAL", false, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		enum database_file file;
		size_t len;

		assert_int_equal(companion_parse(cases[i].name, &file, &len), cases[i].is_one);
		if (!cases[i].is_one)
			continue;
		assert_int_equal(file, cases[i].file);
		assert_int_equal(len, cases[i].len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(companions_are_told_by_their_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
