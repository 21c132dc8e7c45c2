/* SPDX-License-Identifier: MIT */
#include "tests/replicate/mount_vfs.h"

#include "replicate/companion.h"
#include "replicate/journal.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct catalog *the_catalog;
static const char *the_root;
static bool the_visibility;
static bool the_telling;
static sqlite3_vfs the_vfs;
static sqlite3_vfs *real;

static enum mount_vfs_death the_death;
static unsigned calls_to_death;
static bool killed;

void mount_vfs_kill(enum mount_vfs_death when, unsigned n_calls)
{
	the_death = when;
	calls_to_death = n_calls;
	killed = false;
}

bool mount_vfs_killed(void)
{
	return killed;
}

/* To be asked before every call that changes or syncs a file. */
static bool is_dead(void)
{
	if (the_death == MOUNT_VFS_AFTER_CALLS && calls_to_death-- == 0) {
		the_death = MOUNT_VFS_ALIVE;
		killed = true;
	}
	return killed;
}

struct file {
	sqlite3_file base;
	struct database *db;
	enum database_file kind;
	bool shm_open;
	sqlite3_file *inner;
};

static int report(int r, struct error *err)
{
	if (r >= 0)
		return SQLITE_OK;
	fprintf(stderr, "# refused: %s\n", error_what(err));
	error_done(err);
	return r == -ENOSPC ? SQLITE_FULL : SQLITE_IOERR;
}

#define INNER(f) (((struct file *)(f))->inner)

static int f_close(sqlite3_file *f)
{
	struct file *file = (struct file *)f;
	int rc = file->inner->pMethods->xClose(file->inner);

	if (file->db != NULL) {
		if (file->shm_open)
			database_released(file->db, DATABASE_SHM);
		database_released(file->db, file->kind);
	}
	database_unref(file->db);
	free(file->inner);
	return rc;
}

static int f_read(sqlite3_file *f, void *to, int n, sqlite3_int64 off)
{
	return INNER(f)->pMethods->xRead(INNER(f), to, n, off);
}

static int f_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 off)
{
	struct file *file = (struct file *)f;
	struct error err = ERROR_INIT;
	int rc = SQLITE_OK;

	if (is_dead())
		return SQLITE_IOERR;
	if (the_telling && file->db != NULL)
		rc = report(database_writing(file->db, file->kind, (uint64_t)off, (uint64_t)n,
					     &err), &err);
	if (rc != SQLITE_OK)
		return rc;
	rc = INNER(f)->pMethods->xWrite(INNER(f), from, n, off);
	if (the_telling && file->db != NULL)
		database_wrote(file->db, file->kind, (uint64_t)off, (uint64_t)n);
	return rc;
}

static int f_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	struct file *file = (struct file *)f;
	struct error err = ERROR_INIT;
	int rc;

	if (the_death == MOUNT_VFS_AT_SHRINK && file->kind == DATABASE_MAIN)
		killed = true;
	if (is_dead())
		return SQLITE_IOERR;
	if (file->db == NULL)
		return file->inner->pMethods->xTruncate(file->inner, size);
	rc = report(database_barrier_begin(file->db, file->kind, DATABASE_TRUNCATE,
					   (uint64_t)size, &err), &err);
	if (rc != SQLITE_OK)
		return rc;
	rc = file->inner->pMethods->xTruncate(file->inner, size);
	database_barrier_end(file->db, file->kind, DATABASE_TRUNCATE, rc == SQLITE_OK ? 0 : -EIO);
	return rc;
}

static bool header_is_zero(sqlite3_file *journal)
{
	uint8_t head[JOURNAL_HEADER_LEN];

	return journal->pMethods->xRead(journal, head, sizeof(head), 0) == SQLITE_OK &&
	       journal_header_zeroed(head);
}

static int f_sync(sqlite3_file *f, int flags)
{
	struct file *file = (struct file *)f;
	struct error err = ERROR_INIT;
	int rc = SQLITE_OK;

	if (the_death == MOUNT_VFS_AT_ZEROED_SYNC && file->kind == DATABASE_JOURNAL &&
	    header_is_zero(file->inner))
		killed = true;
	if (is_dead())
		return SQLITE_IOERR;
	if (file->db != NULL)
		rc = report(database_barrier_begin(file->db, file->kind, DATABASE_SYNC, 0, &err),
			    &err);
	if (rc != SQLITE_OK)
		return rc;
	rc = file->inner->pMethods->xSync(file->inner, flags);
	if (file->db != NULL)
		database_barrier_end(file->db, file->kind, DATABASE_SYNC, 0);
	return rc;
}

static int f_size(sqlite3_file *f, sqlite3_int64 *size)
{
	return INNER(f)->pMethods->xFileSize(INNER(f), size);
}

static int f_lock(sqlite3_file *f, int lock)
{
	return INNER(f)->pMethods->xLock(INNER(f), lock);
}

static int f_unlock(sqlite3_file *f, int lock)
{
	return INNER(f)->pMethods->xUnlock(INNER(f), lock);
}

static int f_check(sqlite3_file *f, int *out)
{
	return INNER(f)->pMethods->xCheckReservedLock(INNER(f), out);
}

static int f_control(sqlite3_file *f, int op, void *arg)
{
	return INNER(f)->pMethods->xFileControl(INNER(f), op, arg);
}

static int f_sector(sqlite3_file *f)
{
	return INNER(f)->pMethods->xSectorSize(INNER(f));
}

static int f_characteristics(sqlite3_file *f)
{
	return INNER(f)->pMethods->xDeviceCharacteristics(INNER(f));
}

static int f_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
	struct file *file = (struct file *)f;
	struct error err = ERROR_INIT;
	int rc = SQLITE_OK;

	if (!file->shm_open && file->db != NULL) {
		rc = report(database_opening(file->db, DATABASE_SHM,
					     DATABASE_OPEN_CREATE |
						     (the_visibility ? DATABASE_OPEN_VISIBLE : 0),
					     &err), &err);
		file->shm_open = rc == SQLITE_OK;
	}
	if (rc != SQLITE_OK)
		return rc;
	return file->inner->pMethods->xShmMap(file->inner, page, size, extend, out);
}

static int f_shm_lock(sqlite3_file *f, int off, int n, int flags)
{
	return INNER(f)->pMethods->xShmLock(INNER(f), off, n, flags);
}

static void f_shm_barrier(sqlite3_file *f)
{
	INNER(f)->pMethods->xShmBarrier(INNER(f));
}

static int f_shm_unmap(sqlite3_file *f, int delete_it)
{
	struct file *file = (struct file *)f;
	struct error err = ERROR_INIT;
	bool barrier = file->shm_open && delete_it;
	int rc;

	if (barrier && database_barrier_begin(file->db, DATABASE_SHM, DATABASE_UNLINK, 0, &err) < 0)
		return report(-EIO, &err);
	rc = file->inner->pMethods->xShmUnmap(file->inner, delete_it);
	if (barrier)
		database_barrier_end(file->db, DATABASE_SHM, DATABASE_UNLINK, 0);
	if (file->shm_open)
		database_released(file->db, DATABASE_SHM);
	file->shm_open = false;
	return rc;
}

static int f_fetch(sqlite3_file *f, sqlite3_int64 off, int n, void **out)
{
	*out = NULL;
	return SQLITE_OK;
}

static int f_unfetch(sqlite3_file *f, sqlite3_int64 off, void *p)
{
	return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
	3,	    f_close,	f_read,	     f_write,	  f_truncate,	     f_sync,
	f_size,	    f_lock,	f_unlock,    f_check,	  f_control,	     f_sector,
	f_characteristics, f_shm_map, f_shm_lock, f_shm_barrier, f_shm_unmap, f_fetch, f_unfetch,
};

/* The database that path belongs to, adopted when it is the first sign of one. */
static struct database *database_of(const char *path, enum database_file *ret_kind)
{
	size_t root_len = strlen(the_root);
	struct error err = ERROR_INIT;
	struct database *db = NULL;
	char *name;
	size_t len;

	*ret_kind = DATABASE_MAIN;
	if (strncmp(path, the_root, root_len) != 0)
		return NULL;
	name = strdup(path + root_len + 1);
	if (companion_parse(name, ret_kind, &len))
		name[len] = '\0';
	if (catalog_adopt(the_catalog, name, &db, &err) != 0)
		db = NULL;
	error_done(&err);
	free(name);
	return db;
}

static int v_open(sqlite3_vfs *vfs, sqlite3_filename path, sqlite3_file *f, int flags,
		  int *out_flags)
{
	struct file *file = (struct file *)f;
	struct error err = ERROR_INIT;
	int rc = SQLITE_OK;

	memset(file, 0, sizeof(*file));
	file->inner = calloc(1, (size_t)real->szOsFile);
	if (path != NULL && (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL |
				      SQLITE_OPEN_MAIN_JOURNAL))) {
		/* SQLite's own notion of it leaves empty files out. */
		bool exists = access(path, F_OK) == 0;

		/* The file itself is there before it can become a database. */
		if ((flags & SQLITE_OPEN_MAIN_DB) && !exists)
			fclose(fopen(path, "w"));
		file->db = database_of(path, &file->kind);
		if (file->db != NULL)
			rc = report(database_opening(file->db, file->kind,
						     (exists ? 0 : DATABASE_OPEN_CREATE) |
							     DATABASE_OPEN_VISIBLE |
							     (the_telling ? DATABASE_OPEN_TOLD : 0) |
							     (flags & SQLITE_OPEN_READWRITE ?
								      DATABASE_OPEN_WRITABLE : 0),
						     &err), &err);
	}
	if (rc == SQLITE_OK)
		rc = real->xOpen(real, path, file->inner, flags, out_flags);
	if (rc != SQLITE_OK) {
		database_unref(file->db);
		free(file->inner);
		return rc;
	}
	file->base.pMethods = &methods;
	return SQLITE_OK;
}

static int v_delete(sqlite3_vfs *vfs, const char *path, int sync)
{
	struct error err = ERROR_INIT;
	enum database_file kind;
	struct database *db = database_of(path, &kind);
	int rc;

	if (is_dead()) {
		database_unref(db);
		return SQLITE_IOERR;
	}
	if (db == NULL || kind == DATABASE_MAIN) {
		database_unref(db);
		return real->xDelete(real, path, sync);
	}
	rc = report(database_barrier_begin(db, kind, DATABASE_UNLINK, 0, &err), &err);
	if (rc == SQLITE_OK) {
		rc = real->xDelete(real, path, sync);
		database_barrier_end(db, kind, DATABASE_UNLINK, rc == SQLITE_OK ? 0 : -EIO);
	}
	database_unref(db);
	return rc;
}

void mount_vfs_register(struct catalog *catalog, const char *root, bool index_visible, bool told)
{
	the_telling = told;
	the_catalog = catalog;
	the_root = root;
	the_visibility = index_visible;
	real = sqlite3_vfs_find("unix");
	the_vfs = *real;
	the_vfs.zName = "mount";
	the_vfs.szOsFile = sizeof(struct file);
	the_vfs.xOpen = v_open;
	the_vfs.xDelete = v_delete;
	sqlite3_vfs_register(&the_vfs, 1);
}

void mount_vfs_unregister(void)
{
	sqlite3_vfs_register(real, 1);
	sqlite3_vfs_unregister(&the_vfs);
}
