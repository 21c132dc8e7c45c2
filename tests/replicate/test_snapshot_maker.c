/* SPDX-License-Identifier: MIT */
#include "tests/replicate/fake_database.h"

#include "base/buf.h"
#include "replicate/apply.h"
#include "replicate/snapshot.h"
#include "replicate/snapshot_maker.h"
#include "storage/storage_fault.h"

#define FOLDER "app.db-00000001"

struct scene {
	struct unit_folder *folder;
	struct database *db;
	struct storage *storage;
	struct error err;
};

static void open_scene(struct scene *scene, struct unit_folder *folder, uint64_t seed)
{
	char *path CLEANUP_FREE = NULL;

	*scene = (struct scene){ .folder = folder };
	assert_true(asprintf(&path, "%s/backend", folder->path) > 0);
	MODEL_CHECK(storage_open(path, true, &scene->storage, &scene->err), &scene->err);
	scene->db = fake_database_new(folder->fd, "log", "app.db", seed);
}

static void close_scene(struct scene *scene)
{
	storage_free(scene->storage);
	fake_database_free(scene->db);
	error_done(&scene->err);
}

/* Runs a snapshot to its end; counts the answers "not right now". */
static struct manifest_snapshot make(struct scene *scene, unsigned *ret_n_busy)
{
	struct snapshot_maker *maker;
	struct manifest_snapshot made;
	int r = 0;

	*ret_n_busy = 0;
	MODEL_CHECK(snapshot_maker_new(scene->db, &scene->db->model.node_id, scene->storage, FOLDER,
				       &maker, &scene->err),
		    &scene->err);
	while (r != 1) {
		r = snapshot_maker_step(maker, &scene->err);
		MODEL_CHECK(r, &scene->err);
		*ret_n_busy += r == 2;
	}
	made = snapshot_maker_result(maker);
	snapshot_maker_free(maker);
	return made;
}

/* Loads the parts into a file and compares it with the copy of its position. */
static void assert_restores(struct scene *scene, const struct manifest_snapshot *made)
{
	int fd CLEANUP_FD = openat(scene->folder->fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	struct layout_snapshot name = made->name;
	struct apply apply;

	MODEL_CHECK(apply_init(&apply, fd, &scene->err), &scene->err);
	for (name.part = 0; name.part < made->n_parts; name.part++) {
		struct buf data CLEANUP_BUF = { 0 };
		struct buf raw CLEANUP_BUF = { 0 };
		struct snapshot_part part;
		const uint8_t *pages;
		char key[LAYOUT_KEY_SIZE];

		layout_snapshot_key(key, FOLDER, &name);
		assert_int_equal(storage_get(scene->storage, key, 0, OBJECT_SIZE_MAX, &data,
					     &scene->err), 0);
		MODEL_CHECK(snapshot_open(data.data, data.len, &name, &part, &raw, &scene->err),
			    &scene->err);
		assert_int_equal(part.head.flags, name.part + 1 == made->n_parts);
		pages = part.pages;
		for (uint32_t i = 0; i < part.head.n_runs; i++) {
			struct snapshot_run run = snapshot_part_run(&part, i);

			MODEL_CHECK(apply_pages(&apply, &made->point, run.first, run.n, pages,
						&scene->err), &scene->err);
			pages += (size_t)run.n * made->point.extent.page_size;
		}
	}
	MODEL_CHECK(apply_reach(&apply, &made->point, &scene->err), &scene->err);
	model_assert_file(model_find(&scene->db->model, &made->point.position), fd);
	apply_done(&apply);
}

static void a_quiet_database_is_one_part(void **state)
{
	struct manifest_snapshot made;
	struct scene scene;
	unsigned n_busy;

	open_scene(&scene, *state, 1);
	fake_database_steps(scene.db, 20);
	made = make(&scene, &n_busy);
	assert_int_equal(made.n_parts, 1);
	assert_true(scene.db->n_syncs > 0);
	assert_restores(&scene, &made);
	close_scene(&scene);
}

static void an_empty_database_has_a_snapshot(void **state)
{
	struct manifest_snapshot made;
	struct scene scene;
	unsigned n_busy;

	open_scene(&scene, *state, 1);
	made = make(&scene, &n_busy);
	assert_int_equal(made.point.extent.n_pages, 0);
	assert_restores(&scene, &made);
	close_scene(&scene);
}

/* One transaction before every exact read, for a while. */
static unsigned n_steps_left;
static void step_before_read(struct database *db)
{
	if (n_steps_left == 0)
		return;
	n_steps_left--;
	fake_database_steps(db, 1);
}

static void changes_while_it_is_made_are_in_it(void **state)
{
	for (uint64_t seed = 1; seed < 12; seed++) {
		struct manifest_snapshot made;
		struct scene scene;
		unsigned n_busy;

		open_scene(&scene, *state, seed);
		model_fill(&scene.db->model, 4096, 1500);
		scene.db->model.keep_page_size = true;
		scene.db->model.max_pages = seed % 3 == 0 ? 3000 : 1000;
		scene.db->before_read = step_before_read;
		n_steps_left = 2 * (unsigned)seed;
		made = make(&scene, &n_busy);
		assert_true(made.point.position.txid > 1);
		assert_restores(&scene, &made);
		close_scene(&scene);
		unit_folder_teardown(state);
		assert_int_equal(unit_folder_setup(state), 0);
	}
}

static void busy_pages_are_waited_for(void **state)
{
	struct manifest_snapshot made;
	struct scene scene;
	unsigned n_busy;

	open_scene(&scene, *state, 7);
	fake_database_steps(scene.db, 20);
	scene.db->n_busy = 3;
	made = make(&scene, &n_busy);
	assert_int_equal(n_busy, 3);
	assert_restores(&scene, &made);
	close_scene(&scene);
}

static void another_page_size_begins_it_anew(void **state)
{
	struct snapshot_maker *maker;
	struct scene scene;

	open_scene(&scene, *state, 7);
	model_fill(&scene.db->model, 4096, 9000);
	MODEL_CHECK(snapshot_maker_new(scene.db, &scene.db->model.node_id, scene.storage, FOLDER,
				       &maker, &scene.err),
		    &scene.err);
	assert_int_equal(snapshot_maker_step(maker, &scene.err), 0);
	model_fill(&scene.db->model, 512, 90);
	assert_int_equal(snapshot_maker_step(maker, &scene.err), -ESTALE);
	snapshot_maker_free(maker);
	close_scene(&scene);
}

static int count_object(void *arg, const struct storage_object *object, struct error *err)
{
	++*(unsigned *)arg;
	return 0;
}

static void what_is_given_up_leaves_no_parts(void **state)
{
	struct snapshot_maker *maker;
	struct scene scene;
	unsigned n = 0;

	open_scene(&scene, *state, 7);
	model_fill(&scene.db->model, 4096, 9000);
	MODEL_CHECK(snapshot_maker_new(scene.db, &scene.db->model.node_id, scene.storage, FOLDER,
				       &maker, &scene.err),
		    &scene.err);
	assert_int_equal(snapshot_maker_step(maker, &scene.err), 0);
	MODEL_CHECK(storage_list(scene.storage, "", NULL, count_object, &n, &scene.err),
		    &scene.err);
	assert_int_equal(n, 1);
	snapshot_maker_free(maker);
	n = 0;
	MODEL_CHECK(storage_list(scene.storage, "", NULL, count_object, &n, &scene.err),
		    &scene.err);
	assert_int_equal(n, 0);
	close_scene(&scene);
}

static void a_put_that_fails_is_done_again(void **state)
{
	struct storage_fault_options fault = { .operations = STORAGE_FAULT_PUT, .first = 2,
					       .count = 3 };
	struct snapshot_maker *maker;
	struct manifest_snapshot made;
	struct storage *faulty;
	struct scene scene;
	unsigned n_failed = 0;
	int r = 0;

	open_scene(&scene, *state, 7);
	MODEL_CHECK(storage_fault_new(scene.storage, &fault, &faulty, &scene.err), &scene.err);
	scene.storage = faulty;
	model_fill(&scene.db->model, 4096, 9000);
	MODEL_CHECK(snapshot_maker_new(scene.db, &scene.db->model.node_id, scene.storage, FOLDER,
				       &maker, &scene.err),
		    &scene.err);
	while (r != 1) {
		r = snapshot_maker_step(maker, &scene.err);
		assert_true(r >= 0 || snapshot_maker_waits(maker));
		n_failed += r < 0;
	}
	assert_int_equal(n_failed, 3);
	made = snapshot_maker_result(maker);
	snapshot_maker_free(maker);
	assert_restores(&scene, &made);
	close_scene(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST_IN_FOLDER(a_quiet_database_is_one_part),
		UNIT_TEST_IN_FOLDER(an_empty_database_has_a_snapshot),
		UNIT_TEST_IN_FOLDER(changes_while_it_is_made_are_in_it),
		UNIT_TEST_IN_FOLDER(busy_pages_are_waited_for),
		UNIT_TEST_IN_FOLDER(another_page_size_begins_it_anew),
		UNIT_TEST_IN_FOLDER(what_is_given_up_leaves_no_parts),
		UNIT_TEST_IN_FOLDER(a_put_that_fails_is_done_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
