/* SPDX-License-Identifier: MIT */
#include "replicate/restore_output.h"

#include "base/file.h"
#include "base/id.h"
#include "replicate/companion.h"
#include "replicate/page.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>

static const enum database_file companions[] = { DATABASE_JOURNAL, DATABASE_WAL, DATABASE_SHM };

/* The WAL-index's lock bytes: 120 … 127, and 128 for "somebody has it open". */
#define SHM_LOCK_OFFSET 120
#define SHM_LOCK_LEN 9

static char *join(const char *a, const char *b)
{
	char *text;

	return asprintf(&text, "%s%s", a, b) < 0 ? NULL : text;
}

static int out_of_memory(struct error *err)
{
	return error_set(err, ENOMEM, "out of memory");
}

static bool exists(const struct restore_output *output, const char *name)
{
	return faccessat(output->dir_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Splits path into an open folder and a name in it. */
static int open_folder(struct restore_output *output, const char *path, struct error *err)
{
	const char *slash = strrchr(path, '/');
	char *folder CLEANUP_FREE = NULL;

	output->path = strdup(path);
	output->name = strdup(slash != NULL ? slash + 1 : path);
	folder = slash == NULL ? strdup(".") :
				 strndup(path, slash == path ? 1 : (size_t)(slash - path));
	if (output->path == NULL || output->name == NULL || folder == NULL)
		return out_of_memory(err);
	if (output->name[0] == '\0')
		return error_set(err, EISDIR, "%s names a folder, not a file", path);
	output->dir_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (output->dir_fd < 0)
		return error_set_errno(err, errno, "cannot open the folder %s", folder);
	return 0;
}

/* Whether somebody holds a lock in the byte range of the file name. */
static bool locked(const struct restore_output *output, const char *name, off_t start, off_t len)
{
	int fd CLEANUP_FD = openat(output->dir_fd, name,
				   O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	struct flock lock = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = len,
	};

	return fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* A process that has a WAL database open holds a lock all the time. */
static int check_unused(const struct restore_output *output, struct error *err)
{
	char *shm CLEANUP_FREE = join(output->name, companion_suffix(DATABASE_SHM));

	if (shm == NULL)
		return out_of_memory(err);
	if (!locked(output, output->name, PAGE_LOCK_OFFSET, PAGE_LOCK_LEN) &&
	    !locked(output, shm, SHM_LOCK_OFFSET, SHM_LOCK_LEN))
		return 0;
	error_set(err, EBUSY, "%s is in use: a program has this database open", output->path);
	return error_fix(err, "stop that program, then try again");
}

/* Whether the target may be made. */
static int check_place(const struct restore_output *output, struct error *err)
{
	struct stat st;

	if (fstatat(output->dir_fd, output->name, &st, 0) == 0 && !S_ISREG(st.st_mode))
		return error_set(err, S_ISDIR(st.st_mode) ? EISDIR : EEXIST,
				 "%s exists and is not a regular file", output->path);
	if (output->force)
		return check_unused(output, err);
	for (size_t i = 0; i <= ARRAY_LEN(companions); i++) {
		const char *suffix = i == 0 ? "" : companion_suffix(companions[i - 1]);
		char *name CLEANUP_FREE = join(output->name, suffix);

		if (name == NULL)
			return out_of_memory(err);
		if (!exists(output, name))
			continue;
		error_set(err, EEXIST, "%s%s exists", output->path, suffix);
		return error_fix(err, "choose another --output, or replace it by --force");
	}
	return 0;
}

/* Opens a file without a name, or under output->hidden where that cannot be. */
static int open_file(struct restore_output *output, struct error *err)
{
	uint64_t random;
	int r = id_random_u64(&random, err);

	if (r < 0)
		return r;
	if (asprintf(&output->hidden, ".%.200s.restore-%08x", output->name, (unsigned)random) < 0) {
		output->hidden = NULL;
		return out_of_memory(err);
	}
	output->fd = openat(output->dir_fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	if (output->fd >= 0)
		return 0;
	output->fd = openat(output->dir_fd, output->hidden,
			    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (output->fd < 0)
		return error_set_errno(err, errno, "cannot create a file beside %s", output->path);
	output->named = true;
	return 0;
}

int restore_output_open(struct restore_output *output, const char *path, bool force,
			struct error *err)
{
	int r;

	*output = (struct restore_output){ .dir_fd = -1, .fd = -1, .force = force };
	r = open_folder(output, path, err);
	if (r == 0)
		r = check_place(output, err);
	if (r == 0)
		r = open_file(output, err);
	if (r < 0)
		restore_output_close(output);
	return r;
}

void restore_output_close(struct restore_output *output)
{
	if (output->named)
		unlinkat(output->dir_fd, output->hidden, 0);
	if (output->fd >= 0)
		close(output->fd);
	if (output->dir_fd >= 0)
		close(output->dir_fd);
	free(output->path);
	free(output->name);
	free(output->hidden);
	*output = (struct restore_output){ .dir_fd = -1, .fd = -1 };
}

/* ------------------------------------------------------------------- taking its place */

/* The umask can only be read by changing it; /proc tells without. */
static mode_t new_mode(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	unsigned mask = 022;
	char line[256];

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "Umask: %o", &mask) == 1)
			break;
	}
	if (file != NULL)
		fclose(file);
	return 0644 & ~(mode_t)mask;
}

static int set_mode(const struct restore_output *output, struct error *err)
{
	struct stat st = { .st_mode = new_mode() };

	if (fstatat(output->dir_fd, output->name, &st, 0) == 0 &&
	    fchown(output->fd, st.st_uid, st.st_gid) < 0) {
		/* Only root may give a file away; its mode is kept all the same. */
	}
	if (fchmod(output->fd, st.st_mode & 0777) < 0)
		return error_set_errno(err, errno, "cannot set the mode of %s", output->path);
	return 0;
}

static int give_name(struct restore_output *output, struct error *err)
{
	char from[64];

	if (output->named)
		return 0;
	snprintf(from, sizeof(from), "/proc/self/fd/%d", output->fd);
	if (linkat(AT_FDCWD, from, output->dir_fd, output->hidden, AT_SYMLINK_FOLLOW) < 0)
		return error_set_errno(err, errno, "cannot name the new file beside %s",
				       output->path);
	output->named = true;
	return 0;
}

static char *aside_name(const struct restore_output *output, const char *suffix)
{
	char *name;

	return asprintf(&name, "%s%s.replaced", output->hidden, suffix) < 0 ? NULL : name;
}

/* Moves the companions of the database before out of the way. */
static int move_aside(const struct restore_output *output, struct error *err)
{
	for (size_t i = 0; i < ARRAY_LEN(companions); i++) {
		const char *suffix = companion_suffix(companions[i]);
		char *name CLEANUP_FREE = join(output->name, suffix);
		char *aside CLEANUP_FREE = aside_name(output, suffix);

		if (name == NULL || aside == NULL)
			return out_of_memory(err);
		if (renameat(output->dir_fd, name, output->dir_fd, aside) < 0 && errno != ENOENT)
			return error_set_errno(err, errno, "cannot move %s%s out of the way",
					       output->path, suffix);
	}
	return 0;
}

/* Undoes move_aside(), or removes what it moved. */
static void end_aside(const struct restore_output *output, bool put_back)
{
	for (size_t i = 0; i < ARRAY_LEN(companions); i++) {
		const char *suffix = companion_suffix(companions[i]);
		char *name CLEANUP_FREE = join(output->name, suffix);
		char *aside CLEANUP_FREE = aside_name(output, suffix);
		int r = 0;

		if (name == NULL || aside == NULL)
			continue;
		if (put_back)
			r = renameat(output->dir_fd, aside, output->dir_fd, name);
		else
			r = unlinkat(output->dir_fd, aside, 0);
		(void)r; /* it was not there, or it stays under that name */
	}
}

static int sync_dir(const struct restore_output *output, struct error *err)
{
	int r = file_sync_dir(output->dir_fd);

	return r < 0 ? error_set_errno(err, -r, "cannot sync the folder of %s", output->path) : 0;
}

/* Never over a file that appeared meanwhile. */
static int rename_new(struct restore_output *output, struct error *err)
{
	int r = renameat2(output->dir_fd, output->hidden, output->dir_fd, output->name,
			  RENAME_NOREPLACE);

	/* Filesystems without that can link, which does not replace either. */
	if (r < 0 && (errno == EINVAL || errno == ENOSYS)) {
		r = linkat(output->dir_fd, output->hidden, output->dir_fd, output->name, 0);
		if (r == 0)
			unlinkat(output->dir_fd, output->hidden, 0);
	}
	if (r < 0)
		return error_set_errno(err, errno, "cannot name the new file %s", output->path);
	output->named = false;
	return 0;
}

static int rename_over(struct restore_output *output, struct error *err)
{
	int r = check_unused(output, err);

	if (r == 0)
		r = move_aside(output, err);
	if (r == 0)
		r = sync_dir(output, err);
	if (r == 0 &&
	    renameat(output->dir_fd, output->hidden, output->dir_fd, output->name) < 0)
		r = error_set_errno(err, errno, "cannot replace %s", output->path);
	if (r == 0) {
		output->named = false;
		r = sync_dir(output, err);
		end_aside(output, false);
	} else {
		end_aside(output, true);
	}
	return r;
}

int restore_output_commit(struct restore_output *output, struct error *err)
{
	int r = set_mode(output, err);

	if (r == 0 && fsync(output->fd) < 0)
		r = error_set_errno(err, errno, "cannot sync %s", output->path);
	if (r == 0)
		r = give_name(output, err);
	if (r == 0)
		r = output->force ? rename_over(output, err) : rename_new(output, err);
	return r < 0 ? r : sync_dir(output, err);
}

/* ---------------------------------------------------------------------------- scratch */

int restore_scratch_open(struct restore_scratch *scratch, const char *dir, struct error *err)
{
	int r;

	*scratch = (struct restore_scratch){
		.fd = open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600),
	};
	if (scratch->fd >= 0)
		return 0;
	scratch->path = join(dir, "/.replitedfs-scratch-XXXXXX");
	if (scratch->path == NULL)
		return out_of_memory(err);
	scratch->fd = mkostemp(scratch->path, O_CLOEXEC);
	if (scratch->fd >= 0)
		return 0;
	r = error_set_errno(err, errno, "cannot create a file in %s", dir);
	free(TAKE(scratch->path));
	return r;
}

void restore_scratch_close(struct restore_scratch *scratch)
{
	if (scratch->path != NULL)
		unlink(scratch->path);
	if (scratch->fd >= 0)
		close(scratch->fd);
	free(scratch->path);
	*scratch = (struct restore_scratch)RESTORE_SCRATCH_INIT;
}
