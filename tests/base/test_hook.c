/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/hook.h"

static void set(const char *hooks)
{
	if (hooks == NULL)
		unsetenv("REPLITEDFS_TEST_HOOKS");
	else
		setenv("REPLITEDFS_TEST_HOOKS", hooks, 1);
}

static void without_the_variable_nothing_is_enabled(void **state)
{
	set(NULL);
	assert_false(hook_enabled("a"));
	set("");
	assert_false(hook_enabled("a"));
}

static void whole_names_are_found(void **state)
{
	set("fail_sync,delay,last");
	assert_true(hook_enabled("fail_sync"));
	assert_true(hook_enabled("delay"));
	assert_true(hook_enabled("last"));
	assert_false(hook_enabled("fail"));
	assert_false(hook_enabled("sync"));
	assert_false(hook_enabled("las"));
	assert_false(hook_enabled("lastly"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_the_variable_nothing_is_enabled),
		cmocka_unit_test(whole_names_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
