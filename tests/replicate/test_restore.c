/* SPDX-License-Identifier: MIT */
#include "tests/replicate/backup.h"

#include "base/file.h"
#include "base/thread.h"
#include "replicate/inventory.h"
#include "replicate/page.h"
#include "replicate/verify.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <sys/wait.h>

static const struct restore_target latest = { .kind = RESTORE_LATEST };

static char *path_in(const struct unit_folder *folder, const char *name)
{
	char *path;

	assert_true(asprintf(&path, "%s/%s", folder->path, name) > 0);
	return path;
}

/* -------------------------------------------------------------------------- damage */

/* Asks for a snapshot, and waits for it. */
static void make_snapshot(struct backup *backup, struct database *db)
{
	char *folder CLEANUP_FREE = backup_folder(backup, db->name);
	char *prefix CLEANUP_FREE = NULL;
	unsigned n;

	/* Who has just started does not know the database yet. */
	backup_drain(backup);
	assert_true(asprintf(&prefix, "%s/snapshot/", folder) > 0);
	n = backup_count(backup, prefix);
	uploader_want_snapshot(backup->uploader, db);
	do
		backup_drain(backup);
	while (backup_count(backup, prefix) == n);
	/* Until the manifest names it too: the next one's sweep takes it away else. */
	backup_drain(backup);
}

/* A database with snapshots at 10 and 20, and segments of five transactions each. */
static struct database *with_snapshots(struct backup *backup)
{
	struct database *db = backup_add(backup, "app.db", 1);

	for (int i = 0; i < 6; i++) {
		/* While nobody looks: so that the five are one segment. */
		backup_stop(backup);
		model_steps(&db->model, 5);
		backup_start(backup);
		backup_drain(backup);
		if (i == 1 || i == 3)
			make_snapshot(backup, db);
	}
	backup_stop(backup);
	return db;
}

static char *key_of(struct backup *backup, const char *what, unsigned n)
{
	char *folder CLEANUP_FREE = backup_folder(backup, "app.db");
	char *prefix CLEANUP_FREE = NULL;

	assert_true(asprintf(&prefix, "%s/%s", folder, what) > 0);
	return backup_key(backup, prefix, n);
}

static void assert_fails(struct backup *backup, const struct restore_target *target, int code,
			 const char *what, const char *fix)
{
	struct restore_result result;
	int fd;

	assert_int_equal(backup_restore(backup, "app.db", target, &fd, &result), -code);
	if (strstr(error_what(&backup->err), what) == NULL)
		fail_msg("not about %s: %s", what, error_what(&backup->err));
	if (fix != NULL && (backup->err.fix == NULL || strstr(backup->err.fix, fix) == NULL))
		fail_msg("does not suggest %s: %s", fix, backup->err.fix);
	close(fd);
}

static void a_damaged_segment_is_named(void **state)
{
	struct backup backup;
	struct database *db;

	backup_open(&backup, *state);
	db = with_snapshots(&backup);
	/* The last one, behind the last snapshot. */
	char *key CLEANUP_FREE = key_of(&backup, "segment/", 5);

	backup_damage(&backup, key);
	assert_fails(&backup, &latest, EBADMSG, key, ":25");
	backup_assert_at(&backup, db, &db->model.copies[25], false);
	/* One before the snapshot does no harm to what comes behind it. */
	free(TAKE(key));
	key = key_of(&backup, "segment/", 2);
	backup_damage(&backup, key);
	backup_assert_at(&backup, db, &db->model.copies[22], false);
	backup_close(&backup);
}

static void a_missing_segment_is_noticed(void **state)
{
	struct restore_target target = { .kind = RESTORE_TIME };
	struct backup backup;
	struct database *db;

	backup_open(&backup, *state);
	db = with_snapshots(&backup);
	char *key CLEANUP_FREE = key_of(&backup, "segment/", 4);

	MODEL_CHECK(storage_remove(backup.reader, key, &backup.err), &backup.err);
	assert_fails(&backup, &latest, ENODATA, "transaction 21", ":20");
	target.time_us = db->model.copies[23].point.time_us;
	assert_fails(&backup, &target, ENODATA, "transaction 21", ":20");
	backup_assert_at(&backup, db, &db->model.copies[20], false);
	backup_assert_at(&backup, db, &db->model.copies[19], true);
	backup_close(&backup);
}

/* The log lost what came between, and nothing but a snapshot was stored since. */
static void a_time_within_a_gap_is_refused(void **state)
{
	struct restore_target target = { .kind = RESTORE_TIME };
	struct backup backup;
	struct database *db;

	backup_open(&backup, *state);
	db = backup_add(&backup, "app.db", 1);
	backup_start(&backup);
	fake_database_steps(db, 10);
	backup_drain(&backup);
	backup_stop(&backup);
	usleep(1000);
	db->model.log.file_limit = 1;
	fake_database_steps(db, 10);
	usleep(1000);
	txlog_retain(&db->model.log, INT64_MAX, 1, UINT64_MAX);
	backup_start(&backup);
	backup_drain(&backup);
	target.time_us = db->model.copies[15].point.time_us;
	assert_fails(&backup, &target, ENODATA, "transaction 11", ":10");
	backup_assert_at(&backup, db, &db->model.copies[9], true);
	backup_assert_latest(&backup, db);
	backup_close(&backup);
}

/* A snapshot of an empty database is a beginning only where history begins. */
static void what_was_before_a_database_was_emptied_is_found_by_time(void **state)
{
	struct backup backup;
	struct database *db;

	backup_open(&backup, *state);
	db = backup_add(&backup, "app.db", 1);
	backup_start(&backup);
	fake_database_steps(db, 5);
	usleep(1000);
	fake_database_fill(db, 4096, 0);
	backup_drain(&backup);
	make_snapshot(&backup, db);
	backup_assert_latest(&backup, db);
	backup_assert_at(&backup, db, &db->model.copies[4], true);
	backup_close(&backup);
}

static void a_hint_names_the_generation_and_never_nothing(void **state)
{
	struct restore_target target = { .kind = RESTORE_TXID, .txid = 33 };
	struct backup backup;
	struct database *db;
	char hint[64];

	backup_open(&backup, *state);
	db = backup_add(&backup, "app.db", 1);
	backup_start(&backup);
	fake_database_steps(db, 5);
	backup_drain(&backup);
	target.generation = txlog_position(&db->model.log, NULL, NULL).generation;
	fake_database_new_generation(db, &db->model.copies[3]);
	fake_database_steps(db, 5);
	backup_drain(&backup);
	/* Without it, the number would mean another transaction. */
	snprintf(hint, sizeof(hint), "--txid %016" PRIx64 ":5", target.generation);
	assert_fails(&backup, &target, ENODATA, "transaction 6", hint);
	char *key CLEANUP_FREE = key_of(&backup, "segment/", 0);

	MODEL_CHECK(storage_remove(backup.reader, key, &backup.err), &backup.err);
	assert_fails(&backup, &target, ENODATA, "transaction 1", NULL);
	assert_null(backup.err.fix);
	backup_close(&backup);
}

static void a_damaged_snapshot_is_done_without(void **state)
{
	struct restore_result result;
	struct backup backup;
	struct database *db;
	int fd;

	backup_open(&backup, *state);
	db = with_snapshots(&backup);
	for (unsigned i = 2; i-- > 0;) {
		char *key CLEANUP_FREE = key_of(&backup, "snapshot/", i);

		if (i == 1)
			backup_damage(&backup, key);
		else
			MODEL_CHECK(storage_remove(backup.reader, key, &backup.err), &backup.err);
		MODEL_CHECK(backup_restore(&backup, "app.db", &latest, &fd, &result),
			    &backup.err);
		model_assert_file(model_now(&db->model), fd);
		assert_non_null(result.warning);
		assert_non_null(strstr(result.warning, "snapshot/"));
		restore_result_done(&result);
		close(fd);
	}
	backup_close(&backup);
}

static void a_damaged_manifest_is_made_anew(void **state)
{
	struct restore_result result;
	struct backup backup;
	struct database *db;
	struct buf data CLEANUP_BUF = { 0 };
	int fd;

	backup_open(&backup, *state);
	db = with_snapshots(&backup);
	char *key CLEANUP_FREE = key_of(&backup, "manifest", 0);

	assert_int_equal(storage_get(backup.reader, key, 0, 1 << 20, &data, &backup.err), 0);
	MODEL_CHECK(storage_put(backup.reader, key, data.data, data.len / 2, &backup.err),
		    &backup.err);
	MODEL_CHECK(backup_restore(&backup, "app.db", &latest, &fd, &result), &backup.err);
	model_assert_file(model_now(&db->model), fd);
	assert_non_null(strstr(result.warning, "manifest"));
	restore_result_done(&result);
	close(fd);
	for (size_t i = 0; i <= 30; i += 3)
		backup_assert_at(&backup, db, &db->model.copies[i], false);
	/* The uploader goes on with it, and writes a whole one again. */
	backup_start(&backup);
	fake_database_steps(db, 5);
	backup_drain(&backup);
	backup_assert_latest(&backup, db);
	backup_close(&backup);
}

/* Makes the manifest list the generation before the last one as the last. */
static void swap_generations(struct backup *backup, const char *key)
{
	struct manifest manifest CLEANUP(manifest_done) = { 0 };
	struct buf data CLEANUP_BUF = { 0 };
	struct manifest_generation *last;
	struct manifest_generation kept;

	assert_int_equal(storage_get(backup->reader, key, 0, 1 << 20, &data, &backup->err), 0);
	MODEL_CHECK(manifest_parse(data.data, data.len, &manifest, &backup->err), &backup->err);
	last = &manifest.generations[manifest.n_generations - 1];
	kept = *last;
	*last = last[-1];
	last[-1] = kept;
	buf_reset(&data);
	MODEL_CHECK(manifest_format(&manifest, &data, &backup->err), &backup->err);
	MODEL_CHECK(storage_put(backup->reader, key, data.data, data.len, &backup->err),
		    &backup->err);
}

/* Of the three generations only the second has no snapshot. */
static void assert_newest_is_found(struct backup *backup, bool third_is_a_branch)
{
	struct database *db = with_snapshots(backup);

	backup_start(backup);
	fake_database_new_generation(db, NULL);
	fake_database_steps(db, 5);
	backup_drain(backup);
	fake_database_new_generation(db, third_is_a_branch ? &db->model.copies[28] : NULL);
	fake_database_steps(db, 5);
	make_snapshot(backup, db);
	backup_stop(backup);
	char *key CLEANUP_FREE = key_of(backup, "manifest", 0);

	if (!third_is_a_branch)
		swap_generations(backup, key);
	backup_assert_latest(backup, db);
	MODEL_CHECK(storage_put(backup->reader, key, "", 0, &backup->err), &backup->err);
	backup_assert_latest(backup, db);
	/* What the uploader makes of that is right too. */
	backup_start(backup);
	make_snapshot(backup, db);
	backup_assert_latest(backup, db);
}

static void the_newest_generation_is_found_without_a_manifest(void **state)
{
	struct backup backup;

	backup_open(&backup, *state);
	assert_newest_is_found(&backup, false);
	backup_close(&backup);
}

static void the_newest_branch_is_found_without_a_manifest(void **state)
{
	struct backup backup;

	backup_open(&backup, *state);
	assert_newest_is_found(&backup, true);
	backup_close(&backup);
}

static void moments_that_are_not_there_are_refused(void **state)
{
	struct restore_target target = { .kind = RESTORE_TXID, .txid = 31 };
	struct backup backup;
	struct database *db;

	backup_open(&backup, *state);
	db = with_snapshots(&backup);
	assert_fails(&backup, &target, ENODATA, "transaction 31", ":30");
	target.generation = 12345;
	assert_fails(&backup, &target, ENOENT, "0000000000003039", NULL);
	/* A time before everything is the empty beginning; one behind, the end. */
	target = (struct restore_target){ .kind = RESTORE_TIME, .time_us = INT64_MAX };
	struct restore_result result;
	int fd;

	MODEL_CHECK(backup_restore(&backup, "app.db", &target, &fd, &result), &backup.err);
	assert_int_equal(result.point.position.txid, 30);
	restore_result_done(&result);
	close(fd);
	(void)db;
	backup_close(&backup);
}

/* --------------------------------------------------------------- a writer that dies */

static void an_upload_that_was_killed_goes_on(void **state)
{
	struct storage_fault_options slow = { .operations = STORAGE_FAULT_PUT_NEW,
					      .delay_ms = 15 };
	struct backup backup;
	struct database *db;

	backup_open(&backup, *state);
	db = backup_add(&backup, "app.db", 1);
	db->model.keep_page_size = true;
	fake_database_steps(db, 2);
	fake_database_fill(db, 4096, 11000); /* three parts */
	db->model.cannot_undo = 100;
	fake_database_steps(db, 20);
	for (int i = 1; i <= 12; i++) {
		pid_t pid = fork();
		int status;

		assert_true(pid >= 0);
		if (pid == 0) {
			backup_start(&backup);
			backup_fault(&backup, &slow);
			uploader_ring(backup.uploader);
			usleep((useconds_t)i * 12000);
			kill(getpid(), SIGKILL);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
	}
	backup_start(&backup);
	backup_drain(&backup);
	backup_assert_latest(&backup, db);
	backup_assert_at(&backup, db, &db->model.copies[3], false);
	backup_assert_at(&backup, db, &db->model.copies[4], false);
	backup_close(&backup);
}

/* ---------------------------------------------------------------------------- the log */

/* A live database: its file as it is now. */
struct live {
	struct model *model;
	unsigned n_copied;
};

static int copy_live(void *arg, int fd, struct point *ret_point, struct error *err)
{
	struct live *live = arg;
	const struct model_copy *now = model_now(live->model);

	live->n_copied++;
	*ret_point = now->point;
	return file_pwrite(fd, now->pages, extent_bytes(now->point.extent), 0);
}

static void assert_from_log(struct model *model, struct unit_folder *folder,
			    const struct model_copy *copy, bool with_live)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int fd CLEANUP_FD = openat(folder->fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	struct live arg = { .model = model };
	struct restore_live live = { copy_live, &arg };
	struct restore_result result;
	struct restore_request request = {
		.target = { .kind = RESTORE_TXID,
			    .generation = copy->point.position.generation,
			    .txid = copy->point.position.txid },
	};

	MODEL_CHECK(restore_log_to_fd(&model->log, with_live ? &live : NULL, &request, fd, &result,
				      &err), &err);
	assert_int_equal(result.point.position.txid, copy->point.position.txid);
	model_assert_file(copy, fd);
	restore_result_done(&result);
}

/* Three branches; two of them go back behind what was there. */
static void make_branches(struct model *model)
{
	model_steps(model, 30);
	model_new_generation(model, NULL);
	model_steps(model, 10);
	model_new_generation(model, &model->copies[20]);
	model_steps(model, 15);
}

static void the_log_restores_every_transaction_of_every_branch(void **state)
{
	struct unit_folder *folder = *state;
	struct model model;

	assert_int_equal(mkdirat(folder->fd, "log", 0700), 0);
	model_open(&model, folder->fd, "log", 5, 20000);
	make_branches(&model);
	for (size_t i = 0; i < model.n_copies; i++) {
		assert_from_log(&model, folder, &model.copies[i], true);
		assert_from_log(&model, folder, &model.copies[i], false);
	}
	model_close(&model);
}

/* Removes files until the log begins at txid or later. */
static void retain_from(struct txlog *log, uint64_t txid)
{
	while (txlog_oldest(log, NULL).txid < txid)
		assert_true(txlog_retain(log, 0, txlog_size(log) - 1, UINT64_MAX) > 0);
}

static void without_its_beginning_the_log_is_rolled_back(void **state)
{
	struct unit_folder *folder = *state;
	struct model model;
	uint64_t oldest;

	assert_int_equal(mkdirat(folder->fd, "log", 0700), 0);
	model_open(&model, folder->fd, "log", 5, 20000);
	make_branches(&model);
	retain_from(&model.log, 5);
	oldest = txlog_oldest(&model.log, NULL).txid;
	assert_true(oldest < 20);
	for (size_t i = oldest; i < model.n_copies; i++)
		assert_from_log(&model, folder, &model.copies[i], true);
	model_close(&model);
}

static void what_cannot_be_undone_is_said(void **state)
{
	struct unit_folder *folder = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int fd CLEANUP_FD = openat(folder->fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	struct restore_request request = { .target = { .kind = RESTORE_TXID, .txid = 9 } };
	struct restore_result result;
	struct model model;
	struct live arg = { .model = &model };
	struct restore_live live = { copy_live, &arg };

	assert_int_equal(mkdirat(folder->fd, "log", 0700), 0);
	model_open(&model, folder->fd, "log", 5, 1);
	model_steps(&model, 10);
	model.cannot_undo = 100;
	model_step(&model);
	model.cannot_undo = 0;
	model_steps(&model, 5);
	/* Not from the beginning any more, and not across transaction 11. */
	retain_from(&model.log, 5);
	assert_int_equal(restore_log_to_fd(&model.log, &live, &request, fd, &result, &err),
			 -ENODATA);
	assert_non_null(strstr(error_what(&err), "transaction 11 cannot be undone"));
	request.target.txid = 3;
	assert_int_equal(restore_log_to_fd(&model.log, &live, &request, fd, &result, &err),
			 -ENOENT);
	assert_from_log(&model, folder, &model.copies[11], true);
	model_close(&model);
}

/* What the log of other came to is the present state of model's, in a generation of its own. */
static struct model_copy jump(struct model *model, const struct model *other)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct model_copy copy = *model_now(other);
	struct log_header head = {
		.node_id = model->node_id,
		.database_id = model->id,
		.term = 1,
		.parent = txlog_position(&model->log, NULL, NULL),
		.base = copy.point.position,
		.extent = copy.point.extent,
		.time_us = copy.point.time_us,
	};

	head.base.txid = head.parent.txid + 1;
	MODEL_CHECK(id_random_u64(&head.base.generation, &err), &err);
	MODEL_CHECK(txlog_begin_generation(&model->log, &head, &err), &err);
	copy.point.position = head.base;
	return copy;
}

static int copy_given(void *arg, int fd, struct point *ret_point, struct error *err)
{
	const struct model_copy *copy = arg;

	*ret_point = copy->point;
	return file_pwrite(fd, copy->pages, extent_bytes(copy->point.extent), 0);
}

/* Fails unless the latest state, from the log and the live one, is now. */
static void assert_from_now(struct model *model, struct unit_folder *folder, struct model_copy *now)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int fd CLEANUP_FD = openat(folder->fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	struct restore_request request = { .target = latest };
	struct restore_live live = { copy_given, now };
	struct restore_result result;

	MODEL_CHECK(restore_log_to_fd(&model->log, &live, &request, fd, &result, &err), &err);
	assert_true(position_equal(&result.point.position, &now->point.position));
	model_assert_file(now, fd);
	restore_result_done(&result);
}

/* A generation that begins with a jump and has no record yet is not the one before. */
static void a_jump_without_records_is_the_latest_state(void **state)
{
	struct unit_folder *folder = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int fd CLEANUP_FD = openat(folder->fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	struct restore_request request = { .target = latest };
	struct restore_result result;
	struct model_copy now;
	struct model other;
	struct model model;

	assert_int_equal(mkdirat(folder->fd, "log", 0700), 0);
	assert_int_equal(mkdirat(folder->fd, "other", 0700), 0);
	model_open(&model, folder->fd, "log", 5, 20000);
	model_open(&other, folder->fd, "other", 6, 20000);
	model_steps(&model, 5);
	model_steps(&other, 8);
	now = jump(&model, &other);
	/* Of it there is only the database itself. */
	assert_true(restore_log_to_fd(&model.log, NULL, &request, fd, &result, &err) < 0);
	assert_from_now(&model, folder, &now);
	/* What was before can be had by its generation. */
	assert_from_log(&model, folder, &model.copies[5], false);
	model_close(&other);
	model_close(&model);
}

/* Flips a bit in the header of the record behind txid n. */
static void damage_record(struct model *model, uint64_t n)
{
	const struct txlog_file *file = &model->log.files[model->log.n_files - 1];
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct txlog_reader reader;
	char *path CLEANUP_FREE = NULL;
	int fd CLEANUP_FD = -1;
	uint8_t byte;
	off_t at;

	assert_int_equal(txlog_reader_open(&reader, &model->log, &model->copies[n].point.position,
					   &err), 0);
	assert_int_equal(txlog_reader_next(&reader, &err), 0);
	at = (off_t)(reader.offset - RECORD_HEADER_LEN) + 20;
	txlog_reader_close(&reader);
	assert_true(asprintf(&path, "%s/%08x-%016llx.log", model->log.path, file->number,
			     (unsigned long long)file->base.generation) > 0);
	fd = openat(model->log.root_fd, path, O_RDWR);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

/* What is on no line that ends in the newest generation can be had by its own. */
static void what_was_before_a_jump_is_named(void **state)
{
	struct unit_folder *folder = *state;
	struct restore_request request;
	struct model_copy now;
	struct model other;
	struct model model;
	char expected[64];

	assert_int_equal(mkdirat(folder->fd, "log", 0700), 0);
	assert_int_equal(mkdirat(folder->fd, "other", 0700), 0);
	model_open(&model, folder->fd, "log", 5, 20000);
	model_open(&other, folder->fd, "other", 6, 20000);
	model_steps(&model, 5);
	model_steps(&other, 8);
	now = jump(&model, &other);
	snprintf(expected, sizeof(expected), "--txid %016llx:3",
		 (unsigned long long)model.copies[3].point.position.generation);
	for (int by_time = 0; by_time < 2; by_time++) {
		struct error err CLEANUP_ERROR = ERROR_INIT;
		int fd CLEANUP_FD = openat(folder->fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
		struct restore_live live = { copy_given, &now };
		struct restore_result result;

		request = (struct restore_request){ .target = {
			.kind = by_time ? RESTORE_TIME : RESTORE_TXID,
			.txid = 3,
			.time_us = model.copies[3].point.time_us,
		} };
		assert_int_equal(restore_log_to_fd(&model.log, &live, &request, fd, &result, &err),
				 -ENOENT);
		if (by_time == 0 || model.copies[4].point.time_us != request.target.time_us)
			assert_non_null(strstr(err.fix, expected));
	}
	model_close(&other);
	model_close(&model);
}

/* The log went on behind it, in a generation that begins with a jump. */
static void a_damaged_record_costs_what_was_behind_it(void **state)
{
	struct unit_folder *folder = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct txlog_state found;
	struct model_copy now;
	struct model other;
	struct model model;

	assert_int_equal(mkdirat(folder->fd, "log", 0700), 0);
	assert_int_equal(mkdirat(folder->fd, "other", 0700), 0);
	model_open(&model, folder->fd, "log", 5, 1 << 20);
	model_open(&other, folder->fd, "other", 6, 1 << 20);
	model_steps(&model, 20);
	model_steps(&other, 8);
	damage_record(&model, 12);
	for (int opened = 0; opened < 2; opened++) {
		txlog_close(&model.log);
		MODEL_CHECK(txlog_open(&model.log, folder->fd, "log", 1 << 20, &found, &err), &err);
		if (opened == 0) {
			assert_true(found.damaged);
			error_done(&err);
			assert_int_equal(txlog_position(&model.log, NULL, NULL).txid, 12);
			now = jump(&model, &other);
		}
		for (size_t i = 0; i <= 12; i += 3)
			assert_from_log(&model, folder, &model.copies[i], false);
	}
	assert_from_now(&model, folder, &now);
	model_close(&other);
	model_close(&model);
}

/* One without a record ends where it began, whatever came in those after it. */
static void a_generation_without_records_ends_where_it_began(void **state)
{
	struct unit_folder *folder = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int fd CLEANUP_FD = openat(folder->fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	struct restore_request request = { .target = { .kind = RESTORE_TXID, .txid = 5 } };
	struct restore_result result;
	struct model model;
	struct live arg = { .model = &model };
	struct restore_live live = { copy_live, &arg };

	assert_int_equal(mkdirat(folder->fd, "log", 0700), 0);
	model_open(&model, folder->fd, "log", 5, 20000);
	model_new_generation(&model, NULL);
	model_steps(&model, 5);
	for (size_t i = 0; i < 2; i++)
		assert_from_log(&model, folder, &model.copies[i], true);
	request.target.generation = model.copies[0].point.position.generation;
	assert_true(restore_log_to_fd(&model.log, &live, &request, fd, &result, &err) < 0);
	model_close(&model);
}

static void a_restore_by_time_takes_the_last_one_before(void **state)
{
	struct unit_folder *folder = *state;
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct restore_request request = { .target.kind = RESTORE_TIME };
	struct restore_result result;
	struct model model;

	assert_int_equal(mkdirat(folder->fd, "log", 0700), 0);
	model_open(&model, folder->fd, "log", 6, 1 << 20);
	for (int i = 0; i < 10; i++) {
		model_step(&model);
		usleep(2000);
	}
	for (size_t i = 1; i <= 10; i++) {
		int fd CLEANUP_FD =
			openat(folder->fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

		request.target.time_us = model.copies[i].point.time_us + 1000;
		MODEL_CHECK(restore_log_to_fd(&model.log, NULL, &request, fd, &result, &err),
			    &err);
		assert_int_equal(result.point.position.txid, i);
		model_assert_file(&model.copies[i], fd);
	}
	model_close(&model);
}

/* -------------------------------------------------------------------------- the output */

static void write_file(struct unit_folder *folder, const char *name, const char *text)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;

	MODEL_CHECK(file_replace(folder->fd, name, text, strlen(text), 0640, &err), &err);
}

static int restore_file(struct backup *backup, const char *path, bool force)
{
	char *folder CLEANUP_FREE = backup_folder(backup, "app.db");
	struct restore_request request = { .output = path, .force = force };
	struct restore_result result;
	int r = restore_from_backend(backup->reader, folder, &request, &result, &backup->err);

	if (r == 0)
		restore_result_done(&result);
	return r;
}

static bool exists(struct unit_folder *folder, const char *name)
{
	return faccessat(folder->fd, name, F_OK, 0) == 0;
}

static void assert_file(struct unit_folder *folder, const char *name,
			const struct model_copy *copy, mode_t mode)
{
	int fd CLEANUP_FD = openat(folder->fd, name, O_RDONLY | O_CLOEXEC);
	struct stat st;

	model_assert_file(copy, fd);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, mode);
}

static void what_is_there_is_replaced_only_by_force(void **state)
{
	struct unit_folder *folder = *state;
	static const char *const there[] = { "out", "out-wal", "out-journal", "out-shm" };
	char *path CLEANUP_FREE = path_in(folder, "out");
	struct backup backup;
	struct database *db;

	umask(022);
	backup_open(&backup, folder);
	db = backup_add(&backup, "app.db", 1);
	fake_database_steps(db, 10);
	backup_start(&backup);
	backup_drain(&backup);
	for (size_t i = 0; i < ARRAY_LEN(there); i++) {
		write_file(folder, there[i], "old");
		assert_int_equal(restore_file(&backup, path, false), -EEXIST);
		assert_non_null(strstr(error_what(&backup.err), there[i]));
		assert_int_equal(unlinkat(folder->fd, there[i], 0), 0);
	}
	MODEL_CHECK(restore_file(&backup, path, false), &backup.err);
	assert_file(folder, "out", model_now(&db->model), 0644);
	for (size_t i = 0; i < ARRAY_LEN(there); i++)
		write_file(folder, there[i], "old");
	MODEL_CHECK(restore_file(&backup, path, true), &backup.err);
	assert_file(folder, "out", model_now(&db->model), 0640);
	assert_false(exists(folder, "out-wal") || exists(folder, "out-shm") ||
		     exists(folder, "out-journal"));
	backup_close(&backup);
}

static void a_database_in_use_is_not_replaced(void **state)
{
	struct unit_folder *folder = *state;
	char *path CLEANUP_FREE = path_in(folder, "out");
	struct backup backup;
	struct database *db;
	sqlite3 *sqlite;

	backup_open(&backup, folder);
	db = backup_add(&backup, "app.db", 1);
	fake_database_steps(db, 10);
	backup_start(&backup);
	backup_drain(&backup);
	assert_int_equal(sqlite3_open(path, &sqlite), SQLITE_OK);
	assert_int_equal(sqlite3_exec(sqlite, "PRAGMA journal_mode=wal; CREATE TABLE t(x);", NULL,
				      NULL, NULL), SQLITE_OK);
	assert_int_equal(restore_file(&backup, path, true), -EBUSY);
	assert_int_equal(sqlite3_exec(sqlite, "INSERT INTO t VALUES (1)", NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(sqlite);
	MODEL_CHECK(restore_file(&backup, path, true), &backup.err);
	assert_file(folder, "out", model_now(&db->model), 0644);
	backup_close(&backup);
}

static void a_failed_restore_leaves_what_was_there(void **state)
{
	struct unit_folder *folder = *state;
	char *path CLEANUP_FREE = path_in(folder, "app");
	struct buf text CLEANUP_BUF = { 0 };
	struct backup backup;

	backup_open(&backup, folder);
	with_snapshots(&backup);
	char *key CLEANUP_FREE = key_of(&backup, "segment/", 5);

	backup_damage(&backup, key);
	write_file(folder, "app", "old");
	write_file(folder, "app-wal", "old wal");
	assert_int_equal(restore_file(&backup, path, true), -EBADMSG);
	MODEL_CHECK(file_read_all(folder->fd, "app", 100, &text, &backup.err), &backup.err);
	assert_string_equal(buf_str(&text), "old");
	assert_true(exists(folder, "app-wal"));
	backup_close(&backup);
}

/* -------------------------------------------------------------------- verify and list */

/* Loads a real database into the model; returns its page size. */
static void load_sqlite(struct database *db, struct unit_folder *folder, const char *sql)
{
	char *path CLEANUP_FREE = path_in(folder, "real.db");
	sqlite3 *sqlite;

	assert_int_equal(sqlite3_open(path, &sqlite), SQLITE_OK);
	if (sqlite3_exec(sqlite, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s", sqlite3_errmsg(sqlite));
	sqlite3_close(sqlite);
	int fd CLEANUP_FD = open(path, O_RDONLY | O_CLOEXEC);

	LOCK_SCOPE(&db->mutex);
	model_load(&db->model, 4096, fd);
}

static int verify(struct backup *backup, struct integrity_report *report)
{
	char *folder CLEANUP_FREE = backup_folder(backup, "app.db");
	struct restore_request request = { .target = latest };
	struct restore_result result;
	int r = verify_backend(backup->reader, folder, &request, backup->folder->path, &result,
			       report, &backup->err);

	if (r == 0)
		restore_result_done(&result);
	return r;
}

static void verify_lets_sqlite_check_the_content(void **state)
{
	struct unit_folder *folder = *state;
	struct integrity_report report;
	struct backup backup;
	struct database *db;

	backup_open(&backup, folder);
	db = backup_add(&backup, "app.db", 1);
	load_sqlite(db, folder, "CREATE TABLE t(x UNIQUE); INSERT INTO t VALUES (zeroblob(99999)),"
				" (1), (2); PRAGMA journal_mode=wal;");
	backup_start(&backup);
	backup_drain(&backup);
	MODEL_CHECK(verify(&backup, &report), &backup.err);
	assert_true(report.checked);
	assert_null(report.problems);
	/* Damage that was there when it was written: the checksums are right. */
	char *path CLEANUP_FREE = path_in(folder, "real.db");
	int fd CLEANUP_FD = open(path, O_RDWR | O_CLOEXEC);

	assert_int_equal(pwrite(fd, "\xff\xff\xff", 3, 4096 + 1), 3);
	pthread_mutex_lock(&db->mutex);
	model_load(&db->model, 4096, fd);
	pthread_mutex_unlock(&db->mutex);
	backup_drain(&backup);
	assert_int_equal(verify(&backup, &report), -EBADMSG);
	assert_non_null(report.problems);
	integrity_report_done(&report);
	/* What SQLite cannot read is not checked, and no problem. */
	fake_database_fill(db, 4096, 5);
	backup_drain(&backup);
	MODEL_CHECK(verify(&backup, &report), &backup.err);
	assert_false(report.checked);
	backup_close(&backup);
}

static void the_inventory_tells_what_there_is(void **state)
{
	struct inventory inventory;
	struct buf json CLEANUP_BUF = { 0 };
	struct backup backup;
	struct database *db;

	backup_open(&backup, *state);
	db = with_snapshots(&backup);
	backup_start(&backup);
	fake_database_new_generation(db, NULL);
	fake_database_steps(db, 5);
	backup_drain(&backup);
	backup_add(&backup, "second.db", 4);
	fake_database_steps(backup.catalog.databases[1], 3);
	backup_drain(&backup);
	MODEL_CHECK(inventory_take(backup.reader, NULL, &inventory, &backup.err), &backup.err);
	assert_int_equal(inventory.n_databases, 2);
	const struct inventory_database *first = &inventory.databases[0];

	assert_string_equal(first->manifest.name, "app.db");
	assert_int_equal(first->manifest.n_snapshots, 3);
	assert_int_equal(first->n_ranges, 2);
	assert_int_equal(first->ranges[0].first, 1);
	assert_int_equal(first->ranges[0].last, 30);
	assert_int_equal(first->ranges[0].last_us, db->model.copies[30].point.time_us);
	assert_int_equal(first->ranges[1].last, 35);
	assert_true(position_equal(&first->latest.position,
				   &model_now(&db->model)->point.position));
	MODEL_CHECK(inventory_json(&inventory, &json, &backup.err), &backup.err);
	assert_non_null(strstr(buf_str(&json), "\"second.db\""));
	inventory_done(&inventory);
	backup_close(&backup);
}

static void ambiguous_names_are_listed(void **state)
{
	struct backup backup;
	char *folder;

	backup_open(&backup, *state);
	assert_int_equal(restore_find(backup.reader, NULL, &folder, &backup.err), -ENOENT);
	backup_add(&backup, "a.db", 1);
	backup_add(&backup, "b.db", 2);
	fake_database_steps(backup.catalog.databases[0], 3);
	fake_database_steps(backup.catalog.databases[1], 3);
	backup_start(&backup);
	backup_drain(&backup);
	assert_int_equal(restore_find(backup.reader, NULL, &folder, &backup.err), -EEXIST);
	assert_non_null(strstr(backup.err.why, "a.db-"));
	assert_non_null(strstr(backup.err.why, "b.db-"));
	assert_int_equal(restore_find(backup.reader, "c.db", &folder, &backup.err), -ENOENT);
	assert_non_null(strstr(backup.err.why, "a.db-"));
	backup_assert_latest(&backup, backup.catalog.databases[1]);
	backup_close(&backup);
}

static void a_database_that_took_the_name_of_an_ended_one_is_meant(void **state)
{
	struct backup backup;
	struct database *first;
	struct database *second;

	backup_open(&backup, *state);
	first = backup_add(&backup, "app.db", 1);
	second = backup_add(&backup, "tmp.db", 2);
	backup_start(&backup);
	fake_database_steps(first, 3);
	fake_database_steps(second, 5);
	backup_drain(&backup);
	/* VACUUM INTO tmp.db, which then takes the place of app.db. */
	first->ended = true;
	fake_database_rename(second, "app.db");
	uploader_ring(backup.uploader);
	backup_drain(&backup);
	backup_assert_latest(&backup, second);
	/* The folder's own name means the other one. */
	char *folder CLEANUP_FREE = NULL;
	char *found CLEANUP_FREE = NULL;

	assert_non_null(folder = layout_folder("app.db", &first->model.id));
	MODEL_CHECK(restore_find(backup.reader, folder, &found, &backup.err), &backup.err);
	assert_string_equal(found, folder);
	backup_close(&backup);
}

static void a_database_without_a_manifest_is_found(void **state)
{
	struct backup backup;
	struct database *db;

	backup_open(&backup, *state);
	db = with_snapshots(&backup);
	char *key CLEANUP_FREE = key_of(&backup, "manifest", 0);

	MODEL_CHECK(storage_remove(backup.reader, key, &backup.err), &backup.err);
	backup_assert_latest(&backup, db);
	backup_close(&backup);
}

static void a_long_name_is_known_without_a_manifest(void **state)
{
	struct backup backup;
	struct database *db;
	char name[300];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	backup_open(&backup, *state);
	db = backup_add(&backup, name, 1);
	backup_start(&backup);
	fake_database_steps(db, 5);
	backup_drain(&backup);
	backup_stop(&backup);
	char *key CLEANUP_FREE = backup_key(&backup, "nnn", 0);

	/* Its folder's name has only the beginning. */
	assert_string_equal(strrchr(key, '/'), "/manifest");
	MODEL_CHECK(storage_remove(backup.reader, key, &backup.err), &backup.err);
	backup_assert_latest(&backup, db);
	backup_close(&backup);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST_IN_FOLDER(a_damaged_segment_is_named),
		UNIT_TEST_IN_FOLDER(a_missing_segment_is_noticed),
		UNIT_TEST_IN_FOLDER(a_hint_names_the_generation_and_never_nothing),
		UNIT_TEST_IN_FOLDER(a_time_within_a_gap_is_refused),
		UNIT_TEST_IN_FOLDER(what_was_before_a_database_was_emptied_is_found_by_time),
		UNIT_TEST_IN_FOLDER(a_damaged_snapshot_is_done_without),
		UNIT_TEST_IN_FOLDER(a_damaged_manifest_is_made_anew),
		UNIT_TEST_IN_FOLDER(the_newest_generation_is_found_without_a_manifest),
		UNIT_TEST_IN_FOLDER(the_newest_branch_is_found_without_a_manifest),
		UNIT_TEST_IN_FOLDER(moments_that_are_not_there_are_refused),
		UNIT_TEST_IN_FOLDER(an_upload_that_was_killed_goes_on),
		UNIT_TEST_IN_FOLDER(the_log_restores_every_transaction_of_every_branch),
		UNIT_TEST_IN_FOLDER(without_its_beginning_the_log_is_rolled_back),
		UNIT_TEST_IN_FOLDER(what_cannot_be_undone_is_said),
		UNIT_TEST_IN_FOLDER(a_jump_without_records_is_the_latest_state),
		UNIT_TEST_IN_FOLDER(what_was_before_a_jump_is_named),
		UNIT_TEST_IN_FOLDER(a_damaged_record_costs_what_was_behind_it),
		UNIT_TEST_IN_FOLDER(a_generation_without_records_ends_where_it_began),
		UNIT_TEST_IN_FOLDER(a_restore_by_time_takes_the_last_one_before),
		UNIT_TEST_IN_FOLDER(what_is_there_is_replaced_only_by_force),
		UNIT_TEST_IN_FOLDER(a_database_in_use_is_not_replaced),
		UNIT_TEST_IN_FOLDER(a_failed_restore_leaves_what_was_there),
		UNIT_TEST_IN_FOLDER(verify_lets_sqlite_check_the_content),
		UNIT_TEST_IN_FOLDER(the_inventory_tells_what_there_is),
		UNIT_TEST_IN_FOLDER(ambiguous_names_are_listed),
		UNIT_TEST_IN_FOLDER(a_database_that_took_the_name_of_an_ended_one_is_meant),
		UNIT_TEST_IN_FOLDER(a_database_without_a_manifest_is_found),
		UNIT_TEST_IN_FOLDER(a_long_name_is_known_without_a_manifest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
