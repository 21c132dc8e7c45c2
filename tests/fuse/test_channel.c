/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "fuse/channel.h"
#include "fuse/supervisor.h"

#include <sys/mount.h>

static void a_descriptor_travels_with_its_message(void **state)
{
	struct channel_message message = { .kind = CHANNEL_HOLD, .id = 77 };
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int ends[2], pipes[2], fd;
	char c;

	assert_int_equal(channel_open(ends, &err), 0);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(channel_send(ends[0], &message, pipes[1]), 0);
	message = (struct channel_message){ .kind = 0 };
	assert_int_equal(channel_receive(ends[1], &message, &fd), 0);
	assert_int_equal(message.kind, CHANNEL_HOLD);
	assert_int_equal(message.id, 77);
	close(pipes[1]);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(read(pipes[0], &c, 1), 1);
	close(fd);
	close(pipes[0]);
	close(ends[0]);
	assert_int_equal(channel_receive(ends[1], &message, &fd), 1);
	close(ends[1]);
}

static void an_error_arrives_whole(void **state)
{
	struct channel_message message = { .kind = 0 };
	struct error sent CLEANUP_ERROR = ERROR_INIT;
	struct error got CLEANUP_ERROR = ERROR_INIT;

	error_set(&sent, EBUSY, "what");
	error_fix(&sent, "fix");
	error_exit(&sent, 75);
	channel_pack_error(&message, &sent);
	channel_unpack_error(&message, &got);
	assert_string_equal(error_what(&got), "what");
	assert_null(got.why);
	assert_string_equal(got.fix, "fix");
	assert_int_equal(got.code, EBUSY);
	assert_int_equal(got.exit_code, 75);
}

static void a_long_error_is_cut(void **state)
{
	struct channel_message message = { .kind = 0 };
	struct error sent CLEANUP_ERROR = ERROR_INIT;
	struct error got CLEANUP_ERROR = ERROR_INIT;

	error_set(&sent, EIO, "%05000d", 1);
	error_why(&sent, "%05000d", 2);
	error_fix(&sent, "%05000d", 3);
	channel_pack_error(&message, &sent);
	assert_true(message.text_len <= CHANNEL_TEXT_MAX);
	channel_unpack_error(&message, &got);
	assert_true(strlen(error_what(&got)) > 1000 && got.why != NULL && got.fix != NULL);
}

static void text_of_any_bytes_is_an_error(void **state)
{
	struct channel_message message;
	struct error got CLEANUP_ERROR = ERROR_INIT;

	memset(&message, 'x', sizeof(message));
	message.exit_code = 0;
	message.text_len = 0;
	memset(message.text + CHANNEL_TEXT_MAX - 3, 0, 3);
	channel_unpack_error(&message, &got);
	assert_int_equal(strlen(error_what(&got)), CHANNEL_TEXT_MAX - 3);
}

static void mount_options_are_the_usual_ones(void **state)
{
	struct mount_options options = { .allow_other = false };
	struct error err CLEANUP_ERROR = ERROR_INIT;

	assert_int_equal(mount_options_parse("", &options, &err), 0);
	assert_false(options.allow_other);
	assert_int_equal(mount_options_parse("noexec,allow_other,,noatime", &options, &err), 0);
	assert_true(options.allow_other);
	assert_int_equal(options.flags, MS_NOEXEC | MS_NOATIME);
	assert_int_equal(mount_options_parse("suid", &options, &err), -EINVAL);
	assert_int_equal(error_exit_code(&err), 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_descriptor_travels_with_its_message),
		cmocka_unit_test(an_error_arrives_whole),
		cmocka_unit_test(a_long_error_is_cut),
		cmocka_unit_test(text_of_any_bytes_is_an_error),
		cmocka_unit_test(mount_options_are_the_usual_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
