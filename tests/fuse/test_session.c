/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "fuse/session.h"

static void attach(struct session *session)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int fd;

	assert_int_equal(session_create(&fd, &err), 0);
	assert_int_equal(session_attach(session, fd, &err), 0);
	close(fd);
}

static void a_slot_that_is_free_is_used_again_with_another_generation(void **state)
{
	struct session session;
	uint64_t generation;

	attach(&session);
	assert_int_equal(session_node_take(&session), SESSION_ROOT);
	assert_int_equal(session_node_take(&session), 2);
	generation = session_node_get(&session, 2)->generation;
	strcpy(session_node_get(&session, 2)->name, "before");
	session_node_give(&session, 2);
	assert_null(session_node_get(&session, 2));
	assert_int_equal(session_node_take(&session), 2);
	assert_int_not_equal(session_node_get(&session, 2)->generation, generation);
	assert_string_equal(session_node_get(&session, 2)->name, "");
	assert_null(session_node_get(&session, 0));
	assert_null(session_node_get(&session, 3));
	assert_null(session_node_get(&session, UINT64_MAX));
	session_detach(&session);
}

static void slots_stay_where_they_are_while_the_table_grows(void **state)
{
	struct session_node *second;
	struct session session;

	attach(&session);
	session_node_take(&session);
	session_node_take(&session);
	second = session_node_get(&session, 2);
	strcpy(second->name, "two");
	for (uint32_t i = 0; i < 100000; i++)
		assert_int_equal(session_node_take(&session), i + 3);
	assert_ptr_equal(session_node_get(&session, 2), second);
	assert_string_equal(second->name, "two");
	assert_int_equal(session_n_nodes(&session), 100002);
	session_detach(&session);
}

static void there_is_an_end_to_handles(void **state)
{
	struct session session;
	uint32_t n = 0;

	attach(&session);
	assert_null(session_handle_get(&session, 0));
	while (session_handle_take(&session) != 0)
		n++;
	assert_int_equal(n, SESSION_N_HANDLES_MAX - 1);
	session_handle_give(&session, 5);
	assert_null(session_handle_get(&session, 5));
	assert_int_equal(session_handle_take(&session), 5);
	session_detach(&session);
}

static void another_process_finds_what_was_left(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct session first, second;
	int fd;

	assert_int_equal(session_create(&fd, &err), 0);
	assert_int_equal(session_attach(&first, fd, &err), 0);
	session_node_take(&first);
	session_node_get(&first, 1)->ino = 4711;
	session_detach(&first);
	assert_int_equal(session_attach(&second, fd, &err), 0);
	assert_int_equal(session_node_get(&second, 1)->ino, 4711);
	session_detach(&second);
	close(fd);
}

static void what_is_no_table_is_refused(void **state)
{
	struct unit_folder *folder = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct session session = { 0 };
	int fd = openat(folder->fd, "x", O_CREAT | O_RDWR, 0600);

	assert_int_equal(ftruncate(fd, 65536), 0);
	assert_int_equal(session_attach(&session, fd, &err), -EBADMSG);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slot_that_is_free_is_used_again_with_another_generation),
		cmocka_unit_test(slots_stay_where_they_are_while_the_table_grows),
		cmocka_unit_test(there_is_an_end_to_handles),
		cmocka_unit_test(another_process_finds_what_was_left),
		UNIT_TEST_IN_FOLDER(what_is_no_table_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
