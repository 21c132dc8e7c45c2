/* SPDX-License-Identifier: MIT */
#include "tests/replicate/backup.h"

#include "base/clock.h"
#include "replicate/owner.h"

/* What the acceptance of a backup is: every transaction since the beginning comes back. */
static void every_transaction_comes_back(void **state)
{
	struct backup backup;
	struct database *db;

	backup_open(&backup, *state);
	db = backup_add(&backup, "tenants/1/app.db", 1);
	backup_start(&backup);
	for (int i = 0; i < 20; i++) {
		fake_database_steps(db, 10);
		backup_drain(&backup);
	}
	backup_assert_latest(&backup, db);
	for (int i = 0; i < 20; i++) {
		size_t n = (size_t)model_random(&db->model, db->model.n_copies);

		backup_assert_at(&backup, db, &db->model.copies[n], false);
		backup_assert_at(&backup, db, &db->model.copies[n], true);
	}
	backup_assert_at(&backup, db, &db->model.copies[0], false);
	backup_assert_at(&backup, db, &db->model.copies[1], false);
	backup_close(&backup);
}

static void an_idle_database_costs_no_request(void **state)
{
	struct storage_fault_options count = { 0 };
	struct backup backup;
	struct database *db;

	backup_open(&backup, *state);
	db = backup_add(&backup, "app.db", 1);
	backup_start(&backup);
	fake_database_steps(db, 10);
	backup_drain(&backup);
	backup_fault(&backup, &count);
	for (int i = 0; i < 5; i++)
		backup_drain(&backup);
	assert_int_equal(storage_fault_n_seen(backup.storage), 0);
	/* One put for all that is committed in between. */
	pthread_mutex_lock(&db->mutex);
	model_steps(&db->model, 10);
	pthread_mutex_unlock(&db->mutex);
	backup_drain(&backup);
	assert_in_range(storage_fault_n_seen(backup.storage), 1, 2);
	/* A restart with its cursor asks nothing either. */
	backup_stop(&backup);
	backup_start(&backup);
	backup_fault(&backup, &count);
	backup_drain(&backup);
	assert_int_equal(storage_fault_n_seen(backup.storage), 0);
	backup_close(&backup);
}

static void remove_cursors(struct backup *backup)
{
	char *path CLEANUP_FREE = NULL;

	assert_true(asprintf(&path, "%s/backend/test", backup->folder->path) > 0);
	assert_int_equal(nftw(path, unit_folder_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* Nothing was stored twice, and nothing left out. */
static void assert_segments_follow_each_other(struct backup *backup, const char *name)
{
	char *folder CLEANUP_FREE = backup_folder(backup, name);
	char *prefix CLEANUP_FREE = NULL;
	uint64_t txid = 0;
	unsigned n;

	assert_true(asprintf(&prefix, "%s/segment/", folder) > 0);
	n = backup_count(backup, prefix);
	assert_true(n > 2);
	for (unsigned i = 0; i < n; i++) {
		char *key CLEANUP_FREE = backup_key(backup, prefix, i);
		struct layout_segment segment;

		assert_true(layout_segment_parse(key + strlen(folder) + 1, &segment));
		assert_int_equal(segment.first, txid + 1);
		txid = segment.last;
	}
}

static void a_lost_cursor_is_rebuilt(void **state)
{
	struct backup backup;
	struct database *db;

	backup_open(&backup, *state);
	db = backup_add(&backup, "app.db", 1);
	for (int i = 0; i < 4; i++) {
		backup_start(&backup);
		fake_database_steps(db, 10);
		backup_drain(&backup);
		backup_stop(&backup);
		remove_cursors(&backup);
	}
	assert_segments_follow_each_other(&backup, "app.db");
	backup_assert_latest(&backup, db);
	backup_close(&backup);
}

static void a_stale_cursor_is_moved_on(void **state)
{
	struct backup backup;
	struct database *db;

	backup_open(&backup, *state);
	db = backup_add(&backup, "app.db", 1);
	backup_start(&backup);
	fake_database_steps(db, 10);
	backup_drain(&backup);
	backup_stop(&backup);
	char *command CLEANUP_FREE = NULL;

	assert_true(asprintf(&command, "cp -a %s/backend/test %s/old", backup.folder->path,
			     backup.folder->path) > 0);
	assert_int_equal(system(command), 0);
	backup_start(&backup);
	fake_database_steps(db, 10);
	backup_drain(&backup);
	fake_database_steps(db, 10);
	backup_drain(&backup);
	backup_stop(&backup);
	free(command);
	assert_true(asprintf(&command, "cp -a %s/old/. %s/backend/test/", backup.folder->path,
			     backup.folder->path) > 0);
	assert_int_equal(system(command), 0);
	backup_start(&backup);
	fake_database_steps(db, 10);
	backup_drain(&backup);
	backup_assert_latest(&backup, db);
	assert_segments_follow_each_other(&backup, "app.db");
	backup_close(&backup);
}

static void an_existing_database_begins_with_a_snapshot(void **state)
{
	struct backup backup;
	struct database *db;

	backup_open(&backup, *state);
	db = backup_add(&backup, "app.db", 1);
	db->model.keep_page_size = true;
	fake_database_fill(db, 4096, 6000);
	/* Its log begins later than it. */
	db->model.log.file_limit = 1;
	fake_database_steps(db, 5);
	txlog_retain(&db->model.log, INT64_MAX, 1, UINT64_MAX);
	backup_start(&backup);
	backup_drain(&backup);
	fake_database_steps(db, 5);
	backup_drain(&backup);
	backup_assert_latest(&backup, db);
	char *folder CLEANUP_FREE = backup_folder(&backup, "app.db");
	char *prefix CLEANUP_FREE = NULL;

	assert_true(asprintf(&prefix, "%s/snapshot/", folder) > 0);
	assert_true(backup_count(&backup, prefix) > 0);
	backup_close(&backup);
}

static void retention_that_passed_the_cursor_leaves_a_gap(void **state)
{
	struct restore_target target = { .kind = RESTORE_TXID };
	struct restore_result result;
	struct backup backup;
	struct database *db;
	int fd;

	backup_open(&backup, *state);
	db = backup_add(&backup, "app.db", 1);
	backup_start(&backup);
	fake_database_steps(db, 10);
	backup_drain(&backup);
	assert_int_equal(uploader_needed(backup.uploader, db), 10);
	backup_stop(&backup);
	db->model.log.file_limit = 1;
	fake_database_steps(db, 10);
	txlog_retain(&db->model.log, INT64_MAX, 1, UINT64_MAX);
	backup_start(&backup);
	backup_drain(&backup);
	fake_database_steps(db, 10);
	backup_drain(&backup);
	backup_assert_latest(&backup, db);
	backup_assert_at(&backup, db, &db->model.copies[10], false);
	backup_assert_at(&backup, db, &db->model.copies[25], false);
	target.txid = 15;
	assert_int_equal(backup_restore(&backup, "app.db", &target, &fd, &result), -ENODATA);
	assert_non_null(strstr(backup.err.fix, ":10"));
	close(fd);
	backup_close(&backup);
}

static void branches_of_history_can_all_be_restored(void **state)
{
	struct backup backup;
	struct database *db;

	backup_open(&backup, *state);
	db = backup_add(&backup, "app.db", 3);
	backup_start(&backup);
	fake_database_steps(db, 10);
	backup_drain(&backup);
	/* One that continues, an empty one, and one that went back behind what is stored. */
	fake_database_new_generation(db, NULL);
	fake_database_steps(db, 5);
	backup_drain(&backup);
	fake_database_new_generation(db, NULL);
	fake_database_new_generation(db, NULL);
	fake_database_steps(db, 5);
	backup_drain(&backup);
	fake_database_new_generation(db, &db->model.copies[8]);
	fake_database_steps(db, 5);
	backup_drain(&backup);
	backup_assert_latest(&backup, db);
	for (size_t i = 0; i <= 22; i++)
		backup_assert_at(&backup, db, &db->model.copies[i], false);
	/* Without a generation, the newest line is meant. */
	struct restore_target target = { .kind = RESTORE_TXID, .txid = 13 };
	struct restore_result result;
	int fd;

	MODEL_CHECK(backup_restore(&backup, "app.db", &target, &fd, &result), &backup.err);
	model_assert_file(model_now(&db->model), fd);
	restore_result_done(&result);
	close(fd);
	backup_close(&backup);
}

static void a_backend_that_fails_is_caught_up_with(void **state)
{
	struct storage_fault_options down = { .share = 1000 };
	struct storage_fault_options flaky = { .share = 300, .seed = 5 };
	struct storage_fault_options lossy = { .share = 300, .seed = 6,
					       .kind = STORAGE_FAULT_LOSE_ANSWER };
	struct storage_fault_options none = { 0 };
	struct uploader_status status;
	struct backup backup;
	struct database *db;

	backup_open(&backup, *state);
	db = backup_add(&backup, "app.db", 1);
	backup_start(&backup);
	backup_fault(&backup, &down);
	fake_database_steps(db, 10);
	uploader_ring(backup.uploader);
	assert_false(uploader_drain(backup.uploader, 300));
	MODEL_CHECK(uploader_status(backup.uploader, &status, &backup.err), &backup.err);
	assert_non_null(status.trouble);
	assert_true(status.waiting_bytes > 0);
	assert_true(status.behind_since_us != 0);
	uploader_status_done(&status);
	for (int i = 0; i < 10; i++) {
		backup_fault(&backup, i % 2 == 0 ? &flaky : &lossy);
		fake_database_steps(db, 10);
		backup_drain(&backup);
	}
	backup_fault(&backup, &none);
	backup_drain(&backup);
	backup_assert_latest(&backup, db);
	MODEL_CHECK(uploader_status(backup.uploader, &status, &backup.err), &backup.err);
	assert_null(status.trouble);
	assert_int_equal(status.waiting_bytes, 0);
	assert_int_equal(status.behind_since_us, 0);
	assert_int_equal(status.databases[0].phase, UPLOADER_SHIPPING);
	uploader_status_done(&status);
	for (size_t i = 0; i < db->model.n_copies; i += 7)
		backup_assert_at(&backup, db, &db->model.copies[i], false);
	backup_close(&backup);
}

/* Another mount with a copy of the state, or with a database of the same name. */
static void a_second_writer_is_refused(void **state)
{
	struct uploader_database shown;
	struct backup backup;
	struct database *db;
	struct database *other;
	unsigned n;

	backup_open(&backup, *state);
	db = backup_add(&backup, "app.db", 1);
	backup_start(&backup);
	fake_database_steps(db, 10);
	backup_drain(&backup);
	backup_stop(&backup);
	n = backup_count(&backup, "");
	MODEL_CHECK(id_random(&backup.options.node_id, &backup.err), &backup.err);
	backup.options.host = "host2";
	/* The other mount has databases of its own. */
	backup.catalog.n_databases = 0;
	other = backup_add(&backup, "app.db", 2);
	backup_add(&backup, "fine.db", 3);
	backup_start(&backup);
	fake_database_steps(other, 10);
	fake_database_steps(backup.catalog.databases[1], 10);
	backup_drain(&backup);
	assert_int_equal(uploader_database_status(backup.uploader, other, &shown, &backup.err), 0);
	assert_int_equal(shown.phase, UPLOADER_REFUSED);
	assert_non_null(strstr(shown.trouble, "belongs to node host1 (last write 2"));
	assert_int_equal(uploader_needed(backup.uploader, other), UINT64_MAX);
	uploader_database_done(&shown);
	backup_assert_latest(&backup, backup.catalog.databases[1]);
	backup_assert_latest(&backup, db);
	/* Of the refused one nothing was stored. */
	assert_int_equal(backup_count(&backup, "app"), n);
	fake_database_free(db);
	backup_close(&backup);
}

static void a_copied_state_folder_is_refused_until_the_owner_record_is_removed(void **state)
{
	struct uploader_database shown;
	struct backup backup;
	struct database *db;

	backup_open(&backup, *state);
	db = backup_add(&backup, "app.db", 1);
	backup_start(&backup);
	fake_database_steps(db, 10);
	backup_drain(&backup);
	backup_stop(&backup);
	MODEL_CHECK(id_random(&backup.options.node_id, &backup.err), &backup.err);
	for (int cursor = 1; cursor >= 0; cursor--) {
		if (!cursor)
			remove_cursors(&backup);
		backup_start(&backup);
		fake_database_steps(db, 10);
		backup_drain(&backup);
		assert_int_equal(uploader_database_status(backup.uploader, db, &shown,
							  &backup.err), 0);
		assert_int_equal(shown.phase, UPLOADER_REFUSED);
		uploader_database_done(&shown);
		backup_stop(&backup);
	}
	char *folder CLEANUP_FREE = backup_folder(&backup, "app.db");
	char *owner CLEANUP_FREE = NULL;

	assert_true(asprintf(&owner, "%s/" LAYOUT_OWNER, folder) > 0);
	MODEL_CHECK(storage_remove(backup.reader, owner, &backup.err), &backup.err);
	backup_start(&backup);
	backup_drain(&backup);
	fake_database_steps(db, 10);
	backup_drain(&backup);
	backup_assert_latest(&backup, db);
	assert_segments_follow_each_other(&backup, "app.db");
	backup_close(&backup);
}

/* Puts the owner record of another mount for a database called name. */
static void claim_for_another(struct backup *backup, const char *name)
{
	struct owner owner = { .name = (char *)name, .host = (char[]){ "host2" } };
	char *folder CLEANUP_FREE = NULL;
	struct buf data CLEANUP_BUF = { 0 };
	char key[LAYOUT_KEY_SIZE];

	MODEL_CHECK(id_random(&owner.node_id, &backup->err), &backup->err);
	MODEL_CHECK(id_random(&owner.database_id, &backup->err), &backup->err);
	MODEL_CHECK(owner_format(&owner, &data, &backup->err), &backup->err);
	assert_non_null(folder = layout_folder(name, &owner.database_id));
	layout_key(key, folder, LAYOUT_OWNER);
	MODEL_CHECK(storage_put(backup->reader, key, data.data, data.len, &backup->err),
		    &backup->err);
}

static void after_the_backend_was_emptied_its_folders_are_listed_again(void **state)
{
	struct uploader_database shown;
	struct backup backup;
	struct database *db;
	char *folder;
	char *path CLEANUP_FREE = NULL;

	backup_open(&backup, *state);
	backup.options.owner_check_ms = 1;
	db = backup_add(&backup, "app.db", 1);
	backup_start(&backup);
	fake_database_steps(db, 10);
	backup_drain(&backup);
	folder = backup_folder(&backup, "app.db");
	assert_true(asprintf(&path, "%s/%s", backup.backend, folder) > 0);
	free(folder);
	/* Another mount is the first to come back to it. */
	assert_int_equal(nftw(path, unit_folder_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	claim_for_another(&backup, "app.db");
	fake_database_steps(db, 10);
	backup_drain(&backup);
	assert_int_equal(uploader_database_status(backup.uploader, db, &shown, &backup.err), 0);
	assert_int_equal(shown.phase, UPLOADER_REFUSED);
	assert_non_null(strstr(shown.trouble, "belongs to node host2"));
	uploader_database_done(&shown);
	backup_close(&backup);
}

static void a_renamed_database_keeps_its_folder(void **state)
{
	struct restore_target target = { .kind = RESTORE_LATEST };
	struct restore_result result;
	struct backup backup;
	struct database *db;
	char *before;
	char *after;
	int fd;

	backup_open(&backup, *state);
	db = backup_add(&backup, "old.db", 1);
	backup_start(&backup);
	fake_database_steps(db, 10);
	backup_drain(&backup);
	before = backup_folder(&backup, "old.db");
	fake_database_rename(db, "new.db");
	backup_drain(&backup);
	after = backup_folder(&backup, "new.db");
	assert_string_equal(before, after);
	free(TAKE(after));
	assert_int_equal(restore_find(backup.reader, "old.db", &after, &backup.err), -ENOENT);
	/* A new file of the old name is a new database. */
	struct database *second = backup_add(&backup, "old.db", 2);

	fake_database_steps(second, 10);
	backup_drain(&backup);
	backup_assert_latest(&backup, db);
	backup_assert_latest(&backup, second);
	fake_database_end(db);
	backup_drain(&backup);
	/* With the other one ended there is no doubt which is meant. */
	MODEL_CHECK(backup_restore(&backup, NULL, &target, &fd, &result), &backup.err);
	model_assert_file(model_now(&second->model), fd);
	restore_result_done(&result);
	close(fd);
	free(before);
	backup_close(&backup);
}

static bool ended_in_manifest(struct backup *backup, const char *folder)
{
	struct manifest manifest CLEANUP(manifest_done) = { 0 };

	MODEL_CHECK(holdings_read_manifest(backup->reader, folder, &manifest, &backup->err),
		    &backup->err);
	return manifest.ended;
}

static void a_name_and_an_end_that_could_not_be_told_are_told_later(void **state)
{
	struct storage_fault_options down = { .share = 1000 };
	struct storage_fault_options none = { 0 };
	struct backup backup;
	struct database *db;

	backup_open(&backup, *state);
	db = backup_add(&backup, "old.db", 1);
	backup_start(&backup);
	fake_database_steps(db, 10);
	backup_drain(&backup);
	char *folder CLEANUP_FREE = backup_folder(&backup, "old.db");
	char *found CLEANUP_FREE = NULL;

	backup_fault(&backup, &down);
	fake_database_rename(db, "new.db");
	assert_false(uploader_drain(backup.uploader, 300));
	backup_fault(&backup, &none);
	backup_drain(&backup);
	found = backup_folder(&backup, "new.db");
	assert_string_equal(found, folder);
	backup_fault(&backup, &down);
	fake_database_end(db);
	assert_false(uploader_drain(backup.uploader, 300));
	backup_fault(&backup, &none);
	backup_drain(&backup);
	assert_true(ended_in_manifest(&backup, folder));
	backup_close(&backup);
}

static void what_ended_while_nobody_shipped_is_told_and_shipped(void **state)
{
	struct backup backup;
	struct database *db;

	backup_open(&backup, *state);
	db = backup_add(&backup, "app.db", 1);
	backup_start(&backup);
	fake_database_steps(db, 10);
	backup_drain(&backup);
	char *folder CLEANUP_FREE = backup_folder(&backup, "app.db");

	backup_stop(&backup);
	fake_database_steps(db, 5);
	fake_database_end(db);
	backup_start(&backup);
	backup_drain(&backup);
	assert_true(ended_in_manifest(&backup, folder));
	backup_assert_latest(&backup, db);
	backup_close(&backup);
}

static void a_huge_transaction_spans_parts(void **state)
{
	struct backup backup;
	struct database *db;

	backup_open(&backup, *state);
	db = backup_add(&backup, "app.db", 1);
	backup_start(&backup);
	fake_database_steps(db, 3);
	fake_database_fill(db, 4096, 10000);
	backup_drain(&backup);
	fake_database_fill(db, 4096, 10);
	fake_database_steps(db, 3);
	backup_drain(&backup);
	char *folder CLEANUP_FREE = backup_folder(&backup, "app.db");
	char *prefix CLEANUP_FREE = NULL;

	assert_true(asprintf(&prefix, "%s/segment/", folder) > 0);
	assert_true(backup_count(&backup, prefix) > 5);
	backup_assert_latest(&backup, db);
	backup_assert_at(&backup, db, &db->model.copies[4], false);
	backup_assert_at(&backup, db, &db->model.copies[3], false);
	backup_assert_at(&backup, db, &db->model.copies[5], false);
	/* Without its final part it is not there (yet). */
	backup_stop(&backup);
	backup_close(&backup);
}

static void a_snapshot_is_made_when_asked_for(void **state)
{
	struct backup backup;
	struct database *db;
	int64_t deadline;

	backup_open(&backup, *state);
	db = backup_add(&backup, "app.db", 1);
	backup_start(&backup);
	fake_database_steps(db, 10);
	backup_drain(&backup);
	char *folder CLEANUP_FREE = backup_folder(&backup, "app.db");
	char *prefix CLEANUP_FREE = NULL;

	assert_true(asprintf(&prefix, "%s/snapshot/", folder) > 0);
	assert_int_equal(backup_count(&backup, prefix), 0);
	uploader_want_snapshot(backup.uploader, db);
	deadline = clock_mono_ms() + 10000;
	while (backup_count(&backup, prefix) == 0 && clock_mono_ms() < deadline)
		backup_drain(&backup);
	assert_int_equal(backup_count(&backup, prefix), 1);
	fake_database_steps(db, 10);
	backup_drain(&backup);
	backup_assert_latest(&backup, db);
	for (size_t i = 0; i < db->model.n_copies; i++)
		backup_assert_at(&backup, db, &db->model.copies[i], false);
	backup_close(&backup);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST_IN_FOLDER(every_transaction_comes_back),
		UNIT_TEST_IN_FOLDER(an_idle_database_costs_no_request),
		UNIT_TEST_IN_FOLDER(a_lost_cursor_is_rebuilt),
		UNIT_TEST_IN_FOLDER(a_stale_cursor_is_moved_on),
		UNIT_TEST_IN_FOLDER(an_existing_database_begins_with_a_snapshot),
		UNIT_TEST_IN_FOLDER(retention_that_passed_the_cursor_leaves_a_gap),
		UNIT_TEST_IN_FOLDER(branches_of_history_can_all_be_restored),
		UNIT_TEST_IN_FOLDER(a_backend_that_fails_is_caught_up_with),
		UNIT_TEST_IN_FOLDER(a_second_writer_is_refused),
		UNIT_TEST_IN_FOLDER(a_copied_state_folder_is_refused_until_the_owner_record_is_removed),
		UNIT_TEST_IN_FOLDER(after_the_backend_was_emptied_its_folders_are_listed_again),
		UNIT_TEST_IN_FOLDER(a_renamed_database_keeps_its_folder),
		UNIT_TEST_IN_FOLDER(a_name_and_an_end_that_could_not_be_told_are_told_later),
		UNIT_TEST_IN_FOLDER(what_ended_while_nobody_shipped_is_told_and_shipped),
		UNIT_TEST_IN_FOLDER(a_huge_transaction_spans_parts),
		UNIT_TEST_IN_FOLDER(a_snapshot_is_made_when_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
