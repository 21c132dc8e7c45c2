/* SPDX-License-Identifier: MIT */
#include "tests/replicate/walfile.h"

#include "replicate/wal_tail.h"

/*
 * The tail over a WAL made by hand. take() is the capture: it only moves the
 * tail on, as far as it was told to.
 */
struct fixture {
	struct unit_folder *folder;
	struct wal_tail tail;
	struct walfile wal;
	int wal_fd;
	int index_fd;
	bool unannounced;
};

#define SIZE 512u

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(unit_folder_setup((void **)&f->folder), 0);
	wal_tail_init(&f->tail);
	f->wal_fd = openat(f->folder->fd, "wal", O_RDWR | O_CREAT, 0600);
	f->index_fd = openat(f->folder->fd, "shm", O_RDWR | O_CREAT, 0600);
	f->tail.fd = dup(f->wal_fd);
	f->tail.index_fd = dup(f->index_fd);
	walfile_begin(&f->wal, f->wal_fd, SIZE, 100);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	wal_tail_done(&f->tail);
	close(f->wal_fd);
	close(f->index_fd);
	unit_folder_teardown((void **)&f->folder);
	free(f);
	return 0;
}

static int look(struct fixture *f, bool use_index, uint32_t *ret_target)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int r;

	f->unannounced = false;
	r = wal_tail_look(&f->tail, use_index, ret_target, &f->unannounced, &err);
	if (r < 0)
		print_message("# %s\n", error_what(&err));
	return r;
}

static void read_head(struct fixture *f, uint32_t frame, uint8_t *head)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;

	assert_int_equal(wal_tail_read_head(&f->tail, frame, head, &err), 0);
}

/* Takes the transaction of frames first … last in, and what stands before it. */
static void take(struct fixture *f, uint32_t first, uint32_t last)
{
	struct wal_span end = { .first = first, .last = last };

	read_head(f, first, end.first_head);
	read_head(f, last, end.last_head);
	wal_tail_advance(&f->tail, &end);
}

static void expect_look(struct fixture *f, bool use_index, enum tail_news news, uint32_t target)
{
	uint32_t found;

	assert_int_equal(look(f, use_index, &found), news);
	assert_int_equal(found, target);
}

static void publish(struct fixture *f, uint32_t max_frame, uint32_t n_backfill)
{
	uint8_t bytes[WAL_INDEX_HEAD_LEN];

	walfile_index(bytes, SIZE, max_frame, &f->wal.header, n_backfill);
	assert_int_equal(file_pwrite(f->index_fd, bytes, sizeof(bytes), 0), 0);
}

static void commits_are_seen_frame_by_frame(void **state)
{
	struct fixture *f = *state;

	expect_look(f, false, TAIL_NOTHING, 0);
	walfile_put(&f->wal, 1, 1, 0);
	expect_look(f, false, TAIL_NOTHING, 0); /* not yet a commit */
	walfile_put(&f->wal, 2, 1, 2);
	expect_look(f, false, TAIL_FRAMES, 2);
	take(f, 1, 2);
	expect_look(f, false, TAIL_NOTHING, 2);
	walfile_put(&f->wal, 1, 2, 2);
	walfile_put(&f->wal, 1, 3, 2);
	walfile_put(&f->wal, 2, 4, 0);
	expect_look(f, false, TAIL_FRAMES, 4);
}

static void the_index_says_what_is_published(void **state)
{
	struct fixture *f = *state;

	expect_look(f, true, TAIL_NOTHING, 0);
	for (int i = 0; i < 5; i++)
		walfile_put(&f->wal, 1, (uint32_t)i, 1);
	expect_look(f, true, TAIL_NOTHING, 0); /* not published */
	publish(f, 3, 0);
	expect_look(f, true, TAIL_FRAMES, 3);
	take(f, 3, 3);
	expect_look(f, true, TAIL_NOTHING, 3);
	publish(f, 5, 0);
	expect_look(f, true, TAIL_FRAMES, 5);
}

/* The copies never agree again. */
static void a_writer_that_died_between_the_copies_blocks_nothing(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[WAL_INDEX_HEAD_LEN];
	uint8_t newer[WAL_INDEX_HEAD_LEN];

	walfile_put(&f->wal, 1, 1, 1);
	walfile_put(&f->wal, 1, 2, 1);
	walfile_index(bytes, SIZE, 1, &f->wal.header, 0);
	walfile_index(newer, SIZE, 2, &f->wal.header, 0);
	memcpy(bytes + 48, newer, 48);
	assert_int_equal(file_pwrite(f->index_fd, bytes, sizeof(bytes), 0), 0);
	expect_look(f, true, TAIL_FRAMES, 1);
}

/* They are published, whatever their salts. */
static void frames_outside_the_chain_count_when_published(void **state)
{
	struct fixture *f = *state;

	walfile_put(&f->wal, 1, 1, 1);
	walfile_put(&f->wal, 1, 2, 0);
	walfile_put(&f->wal, 1, 3, 1);
	walfile_zero_salts(&f->wal, 2);
	publish(f, 3, 0);
	expect_look(f, true, TAIL_FRAMES, 3);
	wal_tail_reset(&f->tail);
	expect_look(f, false, TAIL_FRAMES, 1);
	take(f, 1, 1);
	assert_true(wal_tail_chain_broken(&f->tail));
	walfile_zero_salts(&f->wal, 3);
	assert_true(wal_tail_chain_broken(&f->tail));
	take(f, 2, 3);
	assert_false(wal_tail_chain_broken(&f->tail));
}

static void frames_of_older_salts_do_not_break_the_chain(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 1; i <= 5; i++)
		walfile_put(&f->wal, 1, i, 1);
	walfile_begin(&f->wal, f->wal_fd, SIZE, 101);
	walfile_put(&f->wal, 1, 9, 1);
	expect_look(f, false, TAIL_FRAMES, 1);
	take(f, 1, 1);
	assert_false(wal_tail_chain_broken(&f->tail));
}

static void an_announced_restart_begins_anew(void **state)
{
	struct fixture *f = *state;

	for (int use_index = 0; use_index < 2; use_index++) {
		walfile_begin(&f->wal, f->wal_fd, SIZE, 200 + (uint32_t)use_index * 10);
		wal_tail_reset(&f->tail);
		walfile_put(&f->wal, 1, 1, 1);
		publish(f, 1, 0);
		expect_look(f, use_index, TAIL_FRAMES, 1);
		take(f, 1, 1);
		f->tail.now.announced = 1;
		walfile_begin(&f->wal, f->wal_fd, SIZE, 201 + (uint32_t)use_index * 10);
		publish(f, 0, 0);
		expect_look(f, use_index, TAIL_NOTHING, 0);
		assert_false(f->unannounced);
		walfile_put(&f->wal, 2, 1, 2);
		publish(f, 1, 0);
		expect_look(f, use_index, TAIL_FRAMES, 1);
	}
}

static void an_unannounced_restart_is_suspect(void **state)
{
	struct fixture *f = *state;

	walfile_put(&f->wal, 1, 1, 1);
	expect_look(f, false, TAIL_FRAMES, 1);
	take(f, 1, 1);
	walfile_begin(&f->wal, f->wal_fd, SIZE, 300);
	walfile_put(&f->wal, 1, 2, 1);
	expect_look(f, false, TAIL_SUSPECT, 1);
	assert_true(f->unannounced);
}

/* A TRUNCATE checkpoint that died brings the old salts back. */
static void salts_that_come_back_are_suspect(void **state)
{
	struct fixture *f = *state;
	struct walfile before;

	walfile_put(&f->wal, 1, 1, 1);
	publish(f, 1, 0);
	expect_look(f, true, TAIL_FRAMES, 1);
	take(f, 1, 1);
	f->tail.now.announced = 1;
	before = f->wal;
	f->wal.header.salt1 = 999;
	publish(f, 0, 0);
	expect_look(f, true, TAIL_NOTHING, 0);
	f->wal = before;
	publish(f, 1, 0);
	expect_look(f, true, TAIL_SUSPECT, 1);
	/* Its captured frame is known again: it is not taken in twice. */
	assert_int_equal(f->tail.now.captured, 1);
}

static void an_end_that_goes_back_is_suspect(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 1; i <= 5; i++)
		walfile_put(&f->wal, 1, i, 1);
	publish(f, 5, 0);
	expect_look(f, true, TAIL_FRAMES, 5);
	take(f, 5, 5);
	publish(f, 3, 0);
	expect_look(f, true, TAIL_SUSPECT, 3);
}

/*
 * Where the commit frame is the commit, its author may have died before he
 * published it: the next writer goes over it, perhaps with a shorter one.
 */
static void an_overwritten_transaction_is_suspect(void **state)
{
	struct fixture *f = *state;
	struct wal_sum sum;

	walfile_put(&f->wal, 1, 1, 1);
	sum = f->wal.sum;
	walfile_put(&f->wal, 1, 2, 0);
	walfile_put(&f->wal, 2, 2, 0);
	walfile_put(&f->wal, 3, 2, 3);
	expect_look(f, false, TAIL_FRAMES, 4);
	take(f, 2, 4);
	walfile_rewind(&f->wal, 1, sum);
	walfile_put(&f->wal, 1, 7, 1);
	expect_look(f, false, TAIL_SUSPECT, 2);
}

static void an_overwritten_last_frame_is_suspect(void **state)
{
	struct fixture *f = *state;
	struct wal_sum sum;

	walfile_put(&f->wal, 1, 1, 1);
	sum = f->wal.sum;
	walfile_put(&f->wal, 1, 2, 1);
	expect_look(f, false, TAIL_FRAMES, 2);
	take(f, 2, 2);
	walfile_rewind(&f->wal, 1, sum);
	walfile_put(&f->wal, 1, 7, 1);
	walfile_put(&f->wal, 1, 8, 1);
	expect_look(f, false, TAIL_SUSPECT, 3);
}

/* Asked for once, not at every second look. */
static void backfill_beyond_the_end_is_suspect_once(void **state)
{
	struct fixture *f = *state;
	unsigned n_suspect = 0;
	uint32_t target;

	walfile_put(&f->wal, 1, 1, 1);
	publish(f, 1, 0);
	expect_look(f, true, TAIL_FRAMES, 1);
	take(f, 1, 1);
	publish(f, 1, 9);
	expect_look(f, true, TAIL_NOTHING, 1);
	for (int i = 0; i < 20; i++)
		n_suspect += look(f, true, &target) == TAIL_SUSPECT;
	assert_int_equal(n_suspect, 1);
	publish(f, 1, 1);
	expect_look(f, true, TAIL_NOTHING, 1);
	publish(f, 1, 9);
	expect_look(f, true, TAIL_NOTHING, 1);
	expect_look(f, true, TAIL_SUSPECT, 1);
}

static void a_wal_of_another_kind_is_refused(void **state)
{
	struct fixture *f = *state;
	uint32_t target;

	/* SQLite's magic with the version of a branch of it. */
	assert_int_equal(file_pwrite(f->wal_fd, "\x37\x7f\x06\x82\x00\x2e\x18\xc8", 8, 0), 0);
	assert_int_equal(look(f, false, &target), -EPROTONOSUPPORT);
	assert_int_equal(ftruncate(f->wal_fd, 0), 0);
	expect_look(f, false, TAIL_NOTHING, 0);
}

static uint64_t hash_of(void *arg, uint32_t pgno)
{
	return pgno * 11;
}

static int resume(struct fixture *f, const struct wal_mark *mark)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct error ignored CLEANUP_ERROR = ERROR_INIT;
	int verified = wal_tail_resume(&f->tail, mark, true, hash_of, NULL, &ignored);

	assert_int_equal(wal_tail_resume(&f->tail, mark, false, hash_of, NULL, &err), verified);
	return verified;
}

static void resumes_behind_the_mark(void **state)
{
	struct fixture *f = *state;
	struct wal_mark mark;

	walfile_put(&f->wal, 1, 1, 1);
	walfile_put(&f->wal, 3, 2, 0);
	walfile_put(&f->wal, 2, 2, 3);
	expect_look(f, false, TAIL_FRAMES, 3);
	take(f, 2, 3);
	mark = wal_tail_mark(&f->tail);
	assert_int_equal(mark.frame, 3);
	walfile_put(&f->wal, 1, 3, 3);
	wal_tail_reset(&f->tail);
	assert_int_equal(resume(f, &mark), 0);
	assert_int_equal(f->tail.now.captured, 3);
	assert_int_equal(f->tail.now.end.first, 2);
	assert_int_equal(walmap_find(&f->tail.map, 3)->frame, 2);
	assert_int_equal(walmap_find(&f->tail.map, 3)->hash, 33);
	assert_int_equal(walmap_find(&f->tail.map, 1)->frame, 1);
	expect_look(f, false, TAIL_FRAMES, 4);
}

static void other_salts_are_all_new(void **state)
{
	struct fixture *f = *state;
	struct wal_mark mark = { .salt1 = 1, .salt2 = 2, .frame = 7 };

	walfile_put(&f->wal, 1, 1, 1);
	assert_int_equal(resume(f, &mark), 0);
	assert_int_equal(f->tail.now.captured, 0);
	expect_look(f, false, TAIL_FRAMES, 1);
	assert_int_equal(resume(f, &(struct wal_mark){ 0 }), 0);
	expect_look(f, false, TAIL_FRAMES, 1);
	assert_int_equal(ftruncate(f->wal_fd, 0), 0);
	assert_int_equal(resume(f, &mark), 0);
	assert_int_equal(f->tail.page_size, 0);
}

static void a_mark_that_is_not_there_asks_for_a_comparison(void **state)
{
	struct fixture *f = *state;
	struct wal_mark mark;

	walfile_put(&f->wal, 1, 1, 1);
	walfile_put(&f->wal, 1, 2, 1);
	expect_look(f, false, TAIL_FRAMES, 2);
	take(f, 2, 2);
	mark = wal_tail_mark(&f->tail);
	mark.sum0++;
	assert_int_equal(resume(f, &mark), 1);
	mark.sum0--;
	mark.frame = 3; /* cut off */
	assert_int_equal(resume(f, &mark), 1);
	assert_int_equal(f->tail.now.captured, 0);
	assert_null(walmap_find(&f->tail.map, 1));
	expect_look(f, false, TAIL_FRAMES, 2);
	mark.frame = 2;
	assert_int_equal(resume(f, &mark), 0);
	walfile_zero_salts(&f->wal, 1); /* recovery gets nowhere */
	assert_int_equal(resume(f, &mark), 1);
}

/* A power loss may have kept a frame's header and lost its page. */
static void a_page_lost_with_the_machine_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct wal_mark mark;

	for (uint32_t i = 1; i <= 3; i++)
		walfile_put(&f->wal, 1, i, 1);
	expect_look(f, false, TAIL_FRAMES, 3);
	take(f, 3, 3);
	mark = wal_tail_mark(&f->tail);
	assert_int_equal(pwrite(f->wal_fd, "!", 1, (off_t)wal_frame_offset(SIZE, 2) + 300), 1);
	assert_int_equal(wal_tail_resume(&f->tail, &mark, false, hash_of, NULL, &err), 0);
	assert_int_equal(wal_tail_resume(&f->tail, &mark, true, hash_of, NULL, &err), 1);
	expect_look(f, false, TAIL_FRAMES, 1);
}

static void nothing_is_read_without_files(void **state)
{
	struct fixture *f = *state;

	walfile_put(&f->wal, 1, 1, 1);
	expect_look(f, true, TAIL_NOTHING, 0); /* an index that is empty */
	wal_tail_close_files(&f->tail);
	expect_look(f, false, TAIL_NOTHING, 0);
	expect_look(f, true, TAIL_NOTHING, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(commits_are_seen_frame_by_frame),
		TEST(the_index_says_what_is_published),
		TEST(a_writer_that_died_between_the_copies_blocks_nothing),
		TEST(frames_outside_the_chain_count_when_published),
		TEST(frames_of_older_salts_do_not_break_the_chain),
		TEST(an_announced_restart_begins_anew),
		TEST(an_unannounced_restart_is_suspect),
		TEST(salts_that_come_back_are_suspect),
		TEST(an_end_that_goes_back_is_suspect),
		TEST(an_overwritten_transaction_is_suspect),
		TEST(an_overwritten_last_frame_is_suspect),
		TEST(backfill_beyond_the_end_is_suspect_once),
		TEST(a_wal_of_another_kind_is_refused),
		TEST(resumes_behind_the_mark),
		TEST(other_salts_are_all_new),
		TEST(a_mark_that_is_not_there_asks_for_a_comparison),
		TEST(a_page_lost_with_the_machine_is_noticed),
		TEST(nothing_is_read_without_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
