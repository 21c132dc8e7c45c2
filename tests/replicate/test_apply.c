/* SPDX-License-Identifier: MIT */
#include "tests/replicate/model.h"

#include "replicate/apply.h"

/* A file being rebuilt from the log of a model, whose copies it must equal. */
struct rebuild {
	struct model model;
	struct apply apply;
	struct error err;
	int fd;
};

static void start(struct rebuild *rebuild, struct unit_folder *folder, uint64_t seed)
{
	*rebuild = (struct rebuild){ 0 };
	rebuild->fd = openat(folder->fd, "file", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(rebuild->fd >= 0);
	assert_int_equal(mkdirat(folder->fd, "log", 0700), 0);
	model_open(&rebuild->model, folder->fd, "log", seed, 200000);
	MODEL_CHECK(apply_init(&rebuild->apply, rebuild->fd, &rebuild->err), &rebuild->err);
}

static void stop(struct rebuild *rebuild)
{
	apply_done(&rebuild->apply);
	model_close(&rebuild->model);
	error_done(&rebuild->err);
	close(rebuild->fd);
}

static void assert_at(struct rebuild *rebuild, const struct model_copy *copy)
{
	MODEL_CHECK(apply_finish(&rebuild->apply, &rebuild->err), &rebuild->err);
	assert_int_equal(rebuild->apply.at.position.txid, copy->point.position.txid);
	assert_int_equal(rebuild->apply.at.position.checksum, copy->point.position.checksum);
	assert_int_equal(rebuild->apply.at.time_us, copy->point.time_us);
	model_assert_file(copy, rebuild->fd);
}

/* Applies the whole log from its beginning, comparing after every record. */
static void roll_forward(struct rebuild *rebuild)
{
	struct model *model = &rebuild->model;
	struct txlog_reader reader;
	size_t i = 0;
	int r;

	MODEL_CHECK(txlog_reader_open(&reader, &model->log, &model->copies[0].point.position,
				      &rebuild->err), &rebuild->err);
	rebuild->apply.at.position.generation = model->copies[0].point.position.generation;
	while ((r = txlog_reader_next(&reader, &rebuild->err)) == 0) {
		MODEL_CHECK(apply_forward(&rebuild->apply, &reader.records,
					  reader.head.base.generation, &rebuild->err),
			    &rebuild->err);
		assert_at(rebuild, &model->copies[++i]);
	}
	MODEL_CHECK(r, &rebuild->err);
	assert_int_equal(i, model->n_copies - 1);
	txlog_reader_close(&reader);
}

/* Takes the record at place back. */
static int roll_back_one(void *arg, const struct txlog_place *place,
			 const struct record_header *header, struct error *err)
{
	struct rebuild *rebuild = arg;
	struct model *model = &rebuild->model;
	const struct model_copy *before = &model->copies[header->txid - 1];
	struct txlog_reader reader = { .fd = -1 };
	int r;

	MODEL_CHECK(txlog_reader_seek(&reader, &model->log, place, err), err);
	assert_int_equal(txlog_reader_next(&reader, err), 0);
	r = apply_backward(&rebuild->apply, &reader.records, place->generation,
			   before->point.time_us, err);
	txlog_reader_close(&reader);
	if (r == 0)
		assert_at(rebuild, before);
	return r;
}

static void histories_apply_forward(void **state)
{
	for (uint64_t seed = 1; seed <= 5; seed++) {
		struct rebuild rebuild;

		start(&rebuild, *state, seed);
		rebuild.model.cannot_undo = 30;
		model_steps(&rebuild.model, 200);
		roll_forward(&rebuild);
		stop(&rebuild);
		unit_folder_teardown(state);
		assert_int_equal(unit_folder_setup(state), 0);
	}
}

static void histories_apply_backward(void **state)
{
	for (uint64_t seed = 1; seed <= 5; seed++) {
		struct rebuild rebuild;

		start(&rebuild, *state, seed);
		model_steps(&rebuild.model, 200);
		roll_forward(&rebuild);
		MODEL_CHECK(txlog_each_backward(&rebuild.model.log, roll_back_one, &rebuild,
						&rebuild.err), &rebuild.err);
		assert_int_equal(rebuild.apply.at.position.txid, 0);
		assert_int_equal(rebuild.apply.at.extent.n_pages, 0);
		stop(&rebuild);
		unit_folder_teardown(state);
		assert_int_equal(unit_folder_setup(state), 0);
	}
}

static void a_copy_is_adopted_only_for_what_it_is(void **state)
{
	struct rebuild rebuild;
	struct point point;

	start(&rebuild, *state, 9);
	model_steps(&rebuild.model, 50);
	roll_forward(&rebuild);
	apply_done(&rebuild.apply);
	MODEL_CHECK(apply_init(&rebuild.apply, rebuild.fd, &rebuild.err), &rebuild.err);
	point = model_now(&rebuild.model)->point;
	MODEL_CHECK(apply_adopt(&rebuild.apply, &point, NULL, NULL, &rebuild.err), &rebuild.err);
	assert_at(&rebuild, model_now(&rebuild.model));
	apply_done(&rebuild.apply);
	MODEL_CHECK(apply_init(&rebuild.apply, rebuild.fd, &rebuild.err), &rebuild.err);
	assert_int_equal(pwrite(rebuild.fd, "x", 1, 100), 1);
	assert_int_equal(apply_adopt(&rebuild.apply, &point, NULL, NULL, &rebuild.err), -EBADMSG);
	stop(&rebuild);
}

static void a_record_that_cannot_be_undone_leaves_the_file_alone(void **state)
{
	struct rebuild rebuild;

	start(&rebuild, *state, 3);
	model_steps(&rebuild.model, 5);
	rebuild.model.cannot_undo = 100;
	model_step(&rebuild.model);
	roll_forward(&rebuild);
	assert_int_equal(txlog_each_backward(&rebuild.model.log, roll_back_one, &rebuild,
					     &rebuild.err), 1);
	assert_at(&rebuild, model_now(&rebuild.model));
	stop(&rebuild);
}

/* The record behind position, at hand. */
static void open_at(struct rebuild *rebuild, struct txlog_reader *reader, size_t i)
{
	MODEL_CHECK(txlog_reader_open(reader, &rebuild->model.log,
				      &rebuild->model.copies[i].point.position, &rebuild->err),
		    &rebuild->err);
	assert_int_equal(txlog_reader_next(reader, &rebuild->err), 0);
}

static void a_record_that_does_not_fit_is_refused(void **state)
{
	struct rebuild rebuild;
	struct txlog_reader reader;

	start(&rebuild, *state, 4);
	model_steps(&rebuild.model, 5);
	open_at(&rebuild, &reader, 3);
	assert_int_equal(apply_forward(&rebuild.apply, &reader.records, 1, &rebuild.err),
			 -EBADMSG);
	assert_int_equal(apply_backward(&rebuild.apply, &reader.records, 1, 0, &rebuild.err),
			 -EBADMSG);
	txlog_reader_close(&reader);
	stop(&rebuild);
}

static void a_page_that_is_not_as_it_was_is_noticed(void **state)
{
	struct rebuild rebuild;
	struct txlog_reader reader;
	struct point last;

	start(&rebuild, *state, 5);
	model_fill(&rebuild.model, 512, 8);
	last = model_now(&rebuild.model)->point;
	roll_forward(&rebuild);
	rebuild.model.max_pages = 8;
	do {
		model_step(&rebuild.model);
	} while (rebuild.model.extent.page_size != 512);
	open_at(&rebuild, &reader, (size_t)last.position.txid);
	for (off_t at = 0; at < 8 * 512; at++)
		assert_int_equal(pwrite(rebuild.fd, "", 1, at), 1);
	assert_int_equal(apply_forward(&rebuild.apply, &reader.records,
				       last.position.generation, &rebuild.err), -EBADMSG);
	assert_non_null(strstr(error_what(&rebuild.err), "hash"));
	txlog_reader_close(&reader);
	stop(&rebuild);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST_IN_FOLDER(histories_apply_forward),
		UNIT_TEST_IN_FOLDER(histories_apply_backward),
		UNIT_TEST_IN_FOLDER(a_copy_is_adopted_only_for_what_it_is),
		UNIT_TEST_IN_FOLDER(a_record_that_cannot_be_undone_leaves_the_file_alone),
		UNIT_TEST_IN_FOLDER(a_record_that_does_not_fit_is_refused),
		UNIT_TEST_IN_FOLDER(a_page_that_is_not_as_it_was_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
