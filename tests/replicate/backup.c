/* SPDX-License-Identifier: MIT */
#include "tests/replicate/backup.h"

#include "base/log.h"

#define DRAIN_MS 30000

void backup_open(struct backup *backup, struct unit_folder *folder)
{
	*backup = (struct backup){ .folder = folder };
	log_open(STDERR_FILENO, LOG_LEVEL_ERROR);
	assert_true(asprintf(&backup->backend, "%s/storage", folder->path) > 0);
	MODEL_CHECK(id_random(&backup->node_id, &backup->err), &backup->err);
	MODEL_CHECK(storage_open(backup->backend, true, &backup->reader, &backup->err),
		    &backup->err);
	backup->options = (struct uploader_options){
		.name = "test",
		.catalog = &backup->catalog,
		.state_fd = folder->fd,
		.node_id = backup->node_id,
		.host = "host1",
		.sync_interval_ms = 20,
		.retry_max_ms = 20,
	};
}

void backup_close(struct backup *backup)
{
	backup_stop(backup);
	storage_free(backup->reader);
	for (size_t i = 0; i < backup->catalog.n_databases; i++)
		fake_database_free(backup->catalog.databases[i]);
	free(backup->backend);
	error_done(&backup->err);
}

struct database *backup_add(struct backup *backup, const char *name, uint64_t seed)
{
	struct catalog *catalog = &backup->catalog;
	size_t n = catalog->n_databases;
	char path[32];

	assert_true(n < ARRAY_LEN(catalog->databases));
	/* Each with a log of its own, whatever was removed from the list. */
	snprintf(path, sizeof(path), "log-%s-%d", name, (int)seed);
	for (char *at = path; *at != '\0'; at++) {
		if (*at == '/')
			*at = '_';
	}
	catalog->databases[n] = fake_database_new(backup->folder->fd, path, name, seed);
	catalog->n_databases = n + 1;
	return catalog->databases[n];
}

void backup_start(struct backup *backup)
{
	static const struct storage_fault_options none;
	struct storage *inner;

	MODEL_CHECK(storage_open(backup->backend, true, &inner, &backup->err), &backup->err);
	MODEL_CHECK(storage_fault_new(inner, &none, &backup->storage, &backup->err),
		    &backup->err);
	backup->options.storage = backup->storage;
	MODEL_CHECK(uploader_start(&backup->options, &backup->uploader, &backup->err),
		    &backup->err);
}

void backup_stop(struct backup *backup)
{
	uploader_stop(TAKE(backup->uploader));
	storage_free(TAKE(backup->storage));
}

void backup_drain(struct backup *backup)
{
	struct uploader_status status;

	uploader_ring(backup->uploader);
	if (uploader_drain(backup->uploader, DRAIN_MS))
		return;
	MODEL_CHECK(uploader_status(backup->uploader, &status, &backup->err), &backup->err);
	for (size_t i = 0; i < status.n_databases; i++)
		print_message("%s: phase %d, trouble %s\n", status.databases[i].name,
			      (int)status.databases[i].phase, status.databases[i].trouble);
	fail_msg("not drained: %s", status.trouble);
}

void backup_fault(struct backup *backup, const struct storage_fault_options *fault)
{
	storage_fault_set(backup->storage, fault);
}

char *backup_folder(struct backup *backup, const char *name)
{
	char *folder;

	MODEL_CHECK(restore_find(backup->reader, name, &folder, &backup->err), &backup->err);
	return folder;
}

int backup_restore(struct backup *backup, const char *name, const struct restore_target *target,
		   int *ret_fd, struct restore_result *ret_result)
{
	char *folder CLEANUP_FREE = backup_folder(backup, name);
	struct restore_request request = { .target = *target };

	*ret_fd = openat(backup->folder->fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	assert_true(*ret_fd >= 0);
	return restore_to_fd(backup->reader, folder, &request, *ret_fd, ret_result, &backup->err);
}

static void assert_restores(struct backup *backup, struct database *db,
			    const struct restore_target *target, const struct model_copy *copy)
{
	struct restore_result result;
	int fd;

	MODEL_CHECK(backup_restore(backup, db->name, target, &fd, &result), &backup->err);
	assert_int_equal(result.point.position.txid, copy->point.position.txid);
	model_assert_file(copy, fd);
	restore_result_done(&result);
	close(fd);
}

void backup_assert_latest(struct backup *backup, struct database *db)
{
	assert_restores(backup, db, &(struct restore_target){ .kind = RESTORE_LATEST },
			model_now(&db->model));
}

void backup_assert_at(struct backup *backup, struct database *db, const struct model_copy *copy,
		      bool by_time)
{
	struct restore_target target = {
		.kind = by_time ? RESTORE_TIME : RESTORE_TXID,
		.generation = copy->point.position.generation,
		.txid = copy->point.position.txid,
		.time_us = copy->point.time_us,
	};

	/* Of several in the same microsecond the last one is meant. */
	while (by_time && copy < model_now(&db->model) &&
	       copy[1].point.time_us == target.time_us)
		copy++;
	assert_restores(backup, db, &target, copy);
}

struct nth {
	unsigned left;
	char *key;
	unsigned n;
};

static int find_nth(void *arg, const struct storage_object *object, struct error *err)
{
	struct nth *nth = arg;

	if (nth->n++ == nth->left)
		nth->key = strdup(object->key);
	return 0;
}

char *backup_key(struct backup *backup, const char *prefix, unsigned n)
{
	struct nth nth = { .left = n };

	MODEL_CHECK(storage_list(backup->reader, prefix, NULL, find_nth, &nth, &backup->err),
		    &backup->err);
	return nth.key;
}

unsigned backup_count(struct backup *backup, const char *prefix)
{
	struct nth nth = { .left = UINT32_MAX };

	MODEL_CHECK(storage_list(backup->reader, prefix, NULL, find_nth, &nth, &backup->err),
		    &backup->err);
	return nth.n;
}

void backup_damage(struct backup *backup, const char *key)
{
	struct buf data CLEANUP_BUF = { 0 };

	assert_int_equal(storage_get(backup->reader, key, 0, SIZE_MAX / 2, &data, &backup->err),
			 0);
	data.data[data.len / 2] ^= 0x10;
	MODEL_CHECK(storage_put(backup->reader, key, data.data, data.len, &backup->err),
		    &backup->err);
}
