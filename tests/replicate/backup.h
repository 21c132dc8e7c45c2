/* SPDX-License-Identifier: MIT */
#ifndef TESTS_REPLICATE_BACKUP_H
#define TESTS_REPLICATE_BACKUP_H

#include "tests/replicate/fake_database.h"

#include "replicate/restore.h"
#include "replicate/uploader.h"
#include "storage/storage_fault.h"

/* A mount's databases, a backend that can be made to fail, and an uploader. */
struct backup {
	struct unit_folder *folder;
	struct catalog catalog;
	struct id node_id;
	char *backend;
	struct storage *storage; /* a fault wrapper; the uploader's */
	struct storage *reader;	 /* another one, for restores */
	struct uploader *uploader;
	struct uploader_options options; /* what is set here is used at the next start */
	struct error err;
};

void backup_open(struct backup *backup, struct unit_folder *folder);
void backup_close(struct backup *backup);

/* Adds an empty database. */
struct database *backup_add(struct backup *backup, const char *name, uint64_t seed);

/* Starts the uploader, at a new storage; stops it (as a kill would, without a drain). */
void backup_start(struct backup *backup);
void backup_stop(struct backup *backup);

/* Drains, which must succeed. */
void backup_drain(struct backup *backup);

/* Sets what fails from now on. */
void backup_fault(struct backup *backup, const struct storage_fault_options *fault);

/* Restores the database in the folder that restore_find() gives; what it returned. */
int backup_restore(struct backup *backup, const char *name, const struct restore_target *target,
		   int *ret_fd, struct restore_result *ret_result);

/* Restores, which must succeed and be the model's copy of that position. */
void backup_assert_latest(struct backup *backup, struct database *db);
void backup_assert_at(struct backup *backup, struct database *db, const struct model_copy *copy,
		      bool by_time);

/* The key of the n-th object (from 0) below prefix; to be freed, NULL when there is none. */
char *backup_key(struct backup *backup, const char *prefix, unsigned n);
unsigned backup_count(struct backup *backup, const char *prefix);

/* The folder of a database in the backend, to be freed. */
char *backup_folder(struct backup *backup, const char *name);

/* Changes one byte in the middle of an object. */
void backup_damage(struct backup *backup, const char *key);

#endif
