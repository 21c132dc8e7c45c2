/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/file.h"
#include "base/mountinfo.h"

#include <sys/resource.h>
#include <sys/sysmacros.h>

static bool parse(const char *text, struct mountinfo *info, char **ret_line)
{
	free(*ret_line);
	*ret_line = strdup(text);
	assert_non_null(*ret_line);
	return mountinfo_parse(*ret_line, info);
}

static void a_line_is_taken_apart(void **state)
{
	char *line CLEANUP_FREE = NULL;
	struct mountinfo info;

	assert_true(parse("42 27 0:39 / /data rw,nosuid,nodev,relatime shared:7 master:1 - "
			  "fuse.replitedfs /srv/a rw,user_id=0\n", &info, &line));
	assert_true(info.dev == makedev(0, 39));
	assert_string_equal(info.point, "/data");
	assert_string_equal(info.type, "fuse.replitedfs");
	assert_string_equal(info.source, "/srv/a");
}

static void octal_escapes_stand_for_bytes(void **state)
{
	char *line CLEANUP_FREE = NULL;
	struct mountinfo info;

	assert_true(parse("1 1 8:1 / /a\\040b\\011c\\134d\\12 rw - ext4 /dev/a\\040b rw", &info,
			  &line));
	assert_string_equal(info.point, "/a b\tc\\d\\12");
	assert_string_equal(info.source, "/dev/a b");
}

static void what_is_no_line_is_refused(void **state)
{
	static const char *const lines[] = {
		"", "\n", " - ", "1 2 3:4", "1 2 3:4 / /p rw", "1 2 3:4 / /p rw -",
		"1 2 3:4 - a b c",
		"1 2 3:4 / - a b c", "x 2 3:4 / /p rw - t s o", "1 2 3 / /p rw - t s o",
		"1 2 3:4 / /p rw - t", "1 2 3:4 / /p rw -  s o",
	};
	char *line CLEANUP_FREE = NULL;
	struct mountinfo info;

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		if (parse(lines[i], &info, &line))
			fail_msg("taken: %s", lines[i]);
	}
}

static void no_input_of_any_bytes_goes_wrong(void **state)
{
	static const char alphabet[] = "0123 :-/\\\n40.abc";
	unsigned seed = 7;

	for (int round = 0; round < 20000; round++) {
		char *line CLEANUP_FREE = NULL;
		struct mountinfo info;
		char text[64];
		size_t len = (size_t)rand_r(&seed) % sizeof(text);

		for (size_t i = 0; i < len; i++)
			text[i] = alphabet[(size_t)rand_r(&seed) % (sizeof(alphabet) - 1)];
		text[MIN(len, sizeof(text) - 1)] = '\0';
		if (parse(text, &info, &line))
			assert_true(strlen(info.point) + strlen(info.source) < sizeof(text));
	}
}

static void the_root_is_mounted_and_a_made_up_folder_is_not(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	char *line CLEANUP_FREE = NULL;
	char *none CLEANUP_FREE = NULL;
	struct mountinfo info;
	int root_fd CLEANUP_FD = open("/", O_PATH | O_CLOEXEC);
	uint64_t fsid = file_system_id(root_fd);

	assert_int_equal(mountinfo_find("/", &info, &line, &err), 0);
	assert_int_equal(mountinfo_has_filesystem(info.dev, fsid, &err), 1);
	assert_int_equal(mountinfo_has_filesystem(info.dev, fsid + 1, &err), 0);
	assert_int_equal(mountinfo_has_dev(info.dev, info.type, &err), 1);
	assert_int_equal(mountinfo_has_dev(info.dev, MOUNTINFO_TYPE, &err), 0);
	assert_int_equal(mountinfo_find("/no/such/mount", &info, &none, &err), 1);
	assert_null(none);
	assert_int_equal(mountinfo_has_dev(makedev(4000, 4000), MOUNTINFO_TYPE, &err), 0);
}

static void without_a_look_nothing_is_said(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct rlimit before, none;
	int r;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	r = mountinfo_has_dev(makedev(4000, 4000), MOUNTINFO_TYPE, &err);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(r, -EMFILE);
}

static void fuse_types_are_told_from_others(void **state)
{
	assert_true(mountinfo_is_fuse("fuse"));
	assert_true(mountinfo_is_fuse("fuse.sshfs"));
	assert_true(mountinfo_is_fuse("fuseblk"));
	assert_false(mountinfo_is_fuse("fusectl"));
	assert_false(mountinfo_is_fuse("ext4"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_is_taken_apart),
		cmocka_unit_test(octal_escapes_stand_for_bytes),
		cmocka_unit_test(what_is_no_line_is_refused),
		cmocka_unit_test(no_input_of_any_bytes_goes_wrong),
		cmocka_unit_test(the_root_is_mounted_and_a_made_up_folder_is_not),
		cmocka_unit_test(without_a_look_nothing_is_said),
		cmocka_unit_test(fuse_types_are_told_from_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
