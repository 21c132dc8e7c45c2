/* SPDX-License-Identifier: MIT */
#ifndef TESTS_STORAGE_CONFORMANCE_H
#define TESTS_STORAGE_CONFORMANCE_H

#include "tests/storage/storage_test.h"

/*
 * What storage.h promises, as tests that run against any backend. The setup of
 * a backend's test program makes *state a struct storage_test (or one that
 * begins like it) with an empty backend as storage:
 *
 *     #define IN_BACKEND(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
 *     static const struct CMUnitTest tests[] = { CONFORMANCE_TESTS(IN_BACKEND), … };
 */
#define CONFORMANCE_TESTS(TEST)                                                \
	TEST(an_object_has_the_bytes_that_were_put),                           \
	TEST(an_empty_object_is_an_object),                                    \
	TEST(a_get_appends_the_part_of_the_range_that_exists),                 \
	TEST(a_missing_object_is_an_answer_and_no_error),                      \
	TEST(a_put_replaces_the_object),                                       \
	TEST(put_new_leaves_an_existing_object_alone),                         \
	TEST(of_eight_put_new_exactly_one_wins),                               \
	TEST(a_reader_sees_one_version_while_it_is_replaced),                  \
	TEST(a_stat_tells_size_and_time),                                      \
	TEST(a_large_object_comes_back_whole),                                 \
	TEST(a_list_is_in_order_of_the_bytes_of_the_whole_key),                \
	TEST(a_list_has_what_begins_with_the_prefix),                          \
	TEST(a_list_goes_on_behind_any_text),                                  \
	TEST(a_list_tells_sizes),                                              \
	TEST(a_list_ends_when_its_reader_wants),                               \
	TEST(a_list_fails_with_its_readers_error),                             \
	TEST(a_long_list_is_complete_and_sorted),                              \
	TEST(a_list_is_complete_while_others_put_and_remove),                  \
	TEST(a_list_can_remove_what_it_lists),                                 \
	TEST(folders_are_what_keys_have_before_their_slash),                   \
	TEST(a_removed_object_is_gone_with_its_folders),                       \
	TEST(folders_come_and_go_under_concurrent_puts),                       \
	TEST(an_object_and_a_folder_of_one_name_do_no_harm),                   \
	TEST(every_valid_key_is_taken),                                        \
	TEST(no_operation_takes_a_bad_key),                                    \
	TEST(a_stopped_backend_refuses_everything),                            \
	TEST(a_backend_has_a_name_for_messages)

#define CONFORMANCE_DECLARE(fn) fn(void **state)
void CONFORMANCE_TESTS(CONFORMANCE_DECLARE);

#endif
