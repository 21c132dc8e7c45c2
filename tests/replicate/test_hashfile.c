/* SPDX-License-Identifier: MIT */
#include "tests/unit.h"

#include "base/file.h"
#include "replicate/hashfile.h"
#include "replicate/page.h"

#include <sys/resource.h>
#include <signal.h>

static const struct id the_id = { { 1, 2, 3 } };
static const struct position the_position = { 0xaa, 5, 0x1234 };
static const struct evidence the_evidence = { 1, 2, -3, 4, 5, 6, 7 };

static int open_hashes(struct hashfile *file, struct unit_folder *folder)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int r = hashfile_open(file, folder->fd, "hashes", &the_id, &err);

	if (r < 0)
		fail_msg("%s", error_what(&err));
	return r;
}

static void reserve(struct hashfile *file, uint32_t n_pages)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;

	assert_int_equal(hashfile_reserve(file, n_pages, &err), 0);
}

static void mark_clean(struct hashfile *file)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;

	assert_int_equal(hashfile_mark_clean(file, &the_evidence, &err), 0);
}

static void fill(struct hashfile *file, uint32_t n_pages)
{
	reserve(file, n_pages);
	for (uint32_t pgno = 1; pgno <= n_pages; pgno++)
		hashfile_set(file, pgno, pgno * 0x9e3779b97f4a7c15u);
	hashfile_set_position(file, &the_position, (struct extent){ 4096, n_pages });
}

static void verify(struct hashfile *file, uint32_t n_pages)
{
	struct extent extent;
	struct position position = hashfile_position(file, &extent);
	uint64_t checksum = 0;

	assert_true(position_equal(&position, &the_position));
	assert_int_equal(extent.n_pages, n_pages);
	assert_int_equal(extent.page_size, 4096);
	for (uint32_t pgno = 1; pgno <= n_pages; pgno++) {
		assert_int_equal(hashfile_get(file, pgno), pgno * 0x9e3779b97f4a7c15u);
		checksum ^= hashfile_get(file, pgno);
	}
	assert_int_equal(hashfile_checksum(file, n_pages), checksum);
}

static void a_new_file_is_empty(void **state)
{
	struct evidence evidence;
	struct position position;
	struct hashfile file;
	struct extent extent;

	assert_int_equal(open_hashes(&file, *state), 1);
	position = hashfile_position(&file, &extent);
	assert_int_equal(position.generation, 0);
	assert_int_equal(extent.n_pages, 0);
	assert_false(hashfile_clean(&file, &evidence));
	assert_int_equal(hashfile_checksum(&file, 0), 0);
	hashfile_close(&file);
	hashfile_close(&file);
}

static void hashes_stay_over_reopening_and_growth(void **state)
{
	struct hashfile file;

	assert_int_equal(open_hashes(&file, *state), 1);
	fill(&file, 100);
	reserve(&file, 70000);
	verify(&file, 100);
	fill(&file, 70000);
	hashfile_close(&file);
	assert_int_equal(open_hashes(&file, *state), 0);
	verify(&file, 70000);
	hashfile_close(&file);
}

static void the_clean_mark_comes_and_goes(void **state)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct evidence evidence;
	struct hashfile file;

	open_hashes(&file, *state);
	fill(&file, 10);
	mark_clean(&file);
	hashfile_close(&file);
	assert_int_equal(open_hashes(&file, *state), 0);
	assert_true(hashfile_clean(&file, &evidence));
	assert_memory_equal(&evidence, &the_evidence, sizeof(evidence));
	assert_int_equal(hashfile_mark_dirty(&file, &err), 0);
	assert_int_equal(hashfile_mark_dirty(&file, &err), 0);
	hashfile_close(&file);
	assert_int_equal(open_hashes(&file, *state), 0);
	assert_false(hashfile_clean(&file, &evidence));
	verify(&file, 10);
	hashfile_close(&file);
}

static void every_flipped_byte_of_a_clean_head_is_noticed(void **state)
{
	struct unit_folder *folder = *state;

	for (off_t at = 0; at < 128; at++) {
		struct evidence evidence;
		struct hashfile file;
		uint8_t byte;
		int fd;

		open_hashes(&file, folder);
		fill(&file, 10);
		mark_clean(&file);
		hashfile_close(&file);
		fd = openat(folder->fd, "hashes", O_RDWR);
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		byte ^= 0x10;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		close(fd);
		assert_int_equal(open_hashes(&file, folder), 1);
		assert_false(hashfile_clean(&file, &evidence));
		assert_int_equal(hashfile_position(&file, NULL).generation, 0);
		hashfile_close(&file);
	}
}

static void another_databases_file_is_emptied(void **state)
{
	struct unit_folder *folder = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct id other = { { 9 } };
	struct hashfile file;

	open_hashes(&file, folder);
	fill(&file, 10);
	hashfile_close(&file);
	assert_int_equal(hashfile_open(&file, folder->fd, "hashes", &other, &err), 1);
	assert_int_equal(hashfile_position(&file, NULL).generation, 0);
	hashfile_close(&file);
	assert_int_equal(open_hashes(&file, folder), 1);
	hashfile_close(&file);
}

static void a_file_that_was_cut_is_emptied(void **state)
{
	struct unit_folder *folder = *state;
	static const off_t sizes[] = { 0, 1, 100, 4095, 4096, 4100, 4096 + 69999 * 8 };

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		struct hashfile file;
		int fd;

		open_hashes(&file, folder);
		fill(&file, 70000);
		hashfile_close(&file);
		fd = openat(folder->fd, "hashes", O_RDWR);
		assert_int_equal(ftruncate(fd, sizes[i]), 0);
		close(fd);
		assert_int_equal(open_hashes(&file, folder), 1);
		fill(&file, 100);
		verify(&file, 100);
		hashfile_close(&file);
	}
}

/* Growing needs room on the disk now, not when a page of the map is touched. */
static void a_full_disk_changes_nothing(void **state)
{
	struct rlimit small = { 64 << 10, RLIM_INFINITY };
	struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct hashfile file;
	int r;

	open_hashes(&file, *state);
	fill(&file, 100);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	r = hashfile_reserve(&file, 1000000, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	assert_true(r < 0);
	verify(&file, 100);
	reserve(&file, 1000000);
	verify(&file, 100);
	hashfile_close(&file);
}

/* No transaction writes it: what another page size left there must not stay. */
static void the_lock_page_has_no_hash(void **state)
{
	uint32_t lock_page = page_lock_number(65536);
	struct extent extent = { 65536, lock_page + 1 };
	struct hashfile file;

	open_hashes(&file, *state);
	fill(&file, lock_page + 1);
	hashfile_set_position(&file, &the_position, extent);
	assert_int_equal(hashfile_get(&file, lock_page), 0);
	assert_int_not_equal(hashfile_get(&file, lock_page - 1), 0);
	assert_int_not_equal(hashfile_get(&file, lock_page + 1), 0);
	hashfile_close(&file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST_IN_FOLDER(a_new_file_is_empty),
		UNIT_TEST_IN_FOLDER(hashes_stay_over_reopening_and_growth),
		UNIT_TEST_IN_FOLDER(the_clean_mark_comes_and_goes),
		UNIT_TEST_IN_FOLDER(every_flipped_byte_of_a_clean_head_is_noticed),
		UNIT_TEST_IN_FOLDER(another_databases_file_is_emptied),
		UNIT_TEST_IN_FOLDER(a_file_that_was_cut_is_emptied),
		UNIT_TEST_IN_FOLDER(a_full_disk_changes_nothing),
		UNIT_TEST_IN_FOLDER(the_lock_page_has_no_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
