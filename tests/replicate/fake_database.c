/* SPDX-License-Identifier: MIT */
#include "tests/replicate/fake_database.h"

#include "base/thread.h"

struct database *fake_database_new(int root_fd, const char *path, const char *name, uint64_t seed)
{
	struct database *db = calloc(1, sizeof(*db));
	pthread_mutexattr_t attr;

	assert_non_null(db);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&db->mutex, &attr);
	pthread_mutexattr_destroy(&attr);
	db->name = strdup(name);
	model_open(&db->model, root_fd, path, seed, 1 << 20);
	return db;
}

void fake_database_free(struct database *db)
{
	model_close(&db->model);
	pthread_mutex_destroy(&db->mutex);
	free(db->name);
	free(db);
}

void fake_database_steps(struct database *db, unsigned n)
{
	while (n-- > 0) {
		LOCK_SCOPE(&db->mutex);
		model_step(&db->model);
	}
}

void fake_database_fill(struct database *db, uint32_t page_size, uint32_t n_pages)
{
	LOCK_SCOPE(&db->mutex);
	model_fill(&db->model, page_size, n_pages);
}

void fake_database_new_generation(struct database *db, const struct model_copy *copy)
{
	LOCK_SCOPE(&db->mutex);
	model_new_generation(&db->model, copy);
}

void fake_database_rename(struct database *db, const char *name)
{
	LOCK_SCOPE(&db->mutex);
	free(db->name);
	db->name = strdup(name);
}

void fake_database_end(struct database *db)
{
	LOCK_SCOPE(&db->mutex);
	db->ended = true;
}

struct database *database_ref(struct database *db)
{
	return db;
}

void database_unref(struct database *db)
{
}

const struct id *database_id(const struct database *db)
{
	return &db->model.id;
}

char *database_name(struct database *db)
{
	LOCK_SCOPE(&db->mutex);
	return strdup(db->name);
}

struct txlog *database_log(struct database *db)
{
	return &db->model.log;
}

struct position database_position(struct database *db, struct extent *ret_extent,
				  int64_t *ret_time_us)
{
	return txlog_position(&db->model.log, ret_extent, ret_time_us);
}

static void read_page(const struct database *db, uint32_t pgno, uint8_t *to)
{
	struct extent extent = db->model.extent;

	if (pgno <= extent.n_pages)
		memcpy(to, db->model.pages + (size_t)(pgno - 1) * extent.page_size,
		       extent.page_size);
	else
		memset(to, 0, extent.page_size);
}

int database_read_exact(struct database *db, const struct position *expect, uint32_t first,
			const uint32_t *numbers, uint32_t n, uint32_t page_size, uint8_t *pages,
			struct position *ret_position, struct extent *ret_extent,
			struct error *err)
{
	LOCK_SCOPE(&db->mutex);
	if (db->before_read != NULL && !db->paused)
		db->before_read(db);
	db->n_reads++;
	if (db->n_busy > 0) {
		db->n_busy--;
		return 2;
	}
	*ret_position = txlog_position(&db->model.log, ret_extent, NULL);
	if ((expect != NULL && !position_equal(expect, ret_position)) ||
	    page_size != db->model.extent.page_size)
		return 1;
	for (uint32_t i = 0; i < n; i++)
		read_page(db, numbers != NULL ? numbers[i] : first + i,
			  pages + (size_t)i * db->model.extent.page_size);
	return 0;
}

void database_pause(struct database *db)
{
	pthread_mutex_lock(&db->mutex);
	db->paused = true;
}

void database_resume(struct database *db)
{
	db->paused = false;
	pthread_mutex_unlock(&db->mutex);
}

int database_sync_log(struct database *db, struct error *err)
{
	LOCK_SCOPE(&db->mutex);
	db->n_syncs++;
	return txlog_sync(&db->model.log, err);
}

int catalog_list(struct catalog *catalog, bool ended, struct database ***ret_list, size_t *ret_n,
		 struct error *err)
{
	*ret_list = calloc(catalog->n_databases + 1, sizeof(**ret_list));
	*ret_n = 0;
	for (size_t i = 0; i < catalog->n_databases; i++) {
		struct database *db = catalog->databases[i];
		LOCK_SCOPE(&db->mutex);

		if (ended || !db->ended)
			(*ret_list)[(*ret_n)++] = db;
	}
	return 0;
}

void catalog_list_free(struct database **list, size_t n)
{
	free(list);
}

struct database *catalog_find_id(struct catalog *catalog, const struct id *id)
{
	for (size_t i = 0; i < catalog->n_databases; i++) {
		if (id_equal(&catalog->databases[i]->model.id, id))
			return catalog->databases[i];
	}
	return NULL;
}
