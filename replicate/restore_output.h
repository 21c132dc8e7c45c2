/* SPDX-License-Identifier: MIT */
#ifndef REPLICATE_RESTORE_OUTPUT_H
#define REPLICATE_RESTORE_OUTPUT_H

#include "base/error.h"

#include <stdbool.h>

/*
 * The file that a restore makes: written without a name in the folder of its
 * target (where the filesystem can; else under a hidden name), made durable,
 * and then put in its place at once. What was there stays until that moment.
 * Owned by the restore; one thread.
 */
struct restore_output {
	int dir_fd;
	int fd;		/* where to write; -1 = not open */
	char *path;	/* as given, for messages */
	char *name;	/* in dir_fd */
	char *hidden;	/* the name until then */
	bool named;	/* hidden exists */
	bool force;
};

/*
 * Prepares the file path. Without force neither it nor a -wal, -journal or -shm
 * beside it may exist (-EEXIST); with force it is replaced, but not while a
 * process has it open as a SQLite database (-EBUSY). 0 or -errno.
 */
int restore_output_open(struct restore_output *output, const char *path, bool force,
			struct error *err) MUST_CHECK;

/*
 * Makes the file durable and puts it in its place, with the mode (and if
 * possible the owner) of the file that it replaces, else 0644 less the umask.
 *
 * A -wal or -journal of the file before would be played into the new one. They
 * are moved aside first, then the file is replaced, then they are removed: a
 * crash in between leaves the old database without them, but keeps them under
 * their new names. 0 or -errno; then nothing has its place taken.
 */
int restore_output_commit(struct restore_output *output, struct error *err) MUST_CHECK;

/* Drops what was not put in its place. */
void restore_output_close(struct restore_output *output);

/*
 * A file to be thrown away, in the folder dir: without a name where the filesystem
 * can have such a file, else under a hidden one until it is closed (which a file
 * needs that is to be given another name).
 */
struct restore_scratch {
	int fd;		/* -1 = not open */
	char *path;	/* NULL: it has no name */
};

#define RESTORE_SCRATCH_INIT                                                   \
	{                                                                      \
		.fd = -1                                                       \
	}

int restore_scratch_open(struct restore_scratch *scratch, const char *dir,
			 struct error *err) MUST_CHECK;
void restore_scratch_close(struct restore_scratch *scratch);

#endif
