/* SPDX-License-Identifier: MIT */
#include "app/state.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/mountinfo.h"
#include "replicate/envelope.h"

#include <errno.h>
#include <jansson.h>
#include <sysexits.h>

#define KIND "identity"
#define VERSION 1u
#define FILE_MAX (16u << 10)

/* What is written in the file. */
struct identity {
	struct id node_id;
	char *machine;
	char *boot;
	uint64_t dev;
	uint64_t inode;
	uint64_t fsid; /* file_system_id(); 0: not known */
};

static void identity_done(struct identity *identity)
{
	free(identity->machine);
	free(identity->boot);
}

/* The first line of a small file of the system; "" when there is none. */
static char *read_line(const char *path)
{
	int fd CLEANUP_FD = open(path, O_RDONLY | O_CLOEXEC);
	char text[128] = "";
	ssize_t n = fd < 0 ? 0 : file_pread(fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return strdup(text);
}

/* What the file should say on this machine, for this folder; no node id yet. */
static int identity_now(struct identity *identity, int root_fd, struct error *err)
{
	struct stat st;

	if (fstat(root_fd, &st) < 0)
		return error_set_errno(err, errno, "cannot stat the folder");
	identity->machine = read_line("/etc/machine-id");
	identity->boot = read_line("/proc/sys/kernel/random/boot_id");
	identity->dev = st.st_dev;
	identity->inode = st.st_ino;
	identity->fsid = file_system_id(root_fd);
	if (identity->machine == NULL || identity->boot == NULL)
		return error_set(err, ENOMEM, "out of memory");
	return 0;
}

static int write_identity(int fd, const struct identity *identity, struct error *err)
{
	struct buf text CLEANUP_BUF = { 0 };
	json_t *json = json_pack("{s:o, s:s, s:s, s:o, s:o, s:o}", "node",
				 json_id(&identity->node_id), "machine", identity->machine,
				 "boot", identity->boot, "device", json_hex(identity->dev),
				 "inode", json_hex(identity->inode), "filesystem",
				 json_hex(identity->fsid));
	int r = envelope_write(KIND, VERSION, json, &text, err);

	return r < 0 ? r : file_replace(fd, KIND, text.data, text.len, 0600, err);
}

/* 0; 1: there is no file. */
static int read_identity(int fd, struct identity *identity, struct error *err)
{
	struct buf text CLEANUP_BUF = { 0 };
	CLEANUP_JSON json_t *json = NULL;
	const char *bad = NULL;
	struct fields fields;
	int r = file_read_all(fd, KIND, FILE_MAX, &text, err);

	if (r == -ENOENT)
		return 1;
	if (r == 0)
		r = envelope_read(KIND, VERSION, text.data, text.len, &json, err);
	if (r == -EBADMSG)
		error_fix(err, "put the file " KIND " back from a copy, or move the state folder %s",
			  "away: the databases are whole, only their history begins anew");
	if (r < 0)
		return r;
	fields = (struct fields){ json, &bad };
	identity->node_id = fields_id(&fields, "node");
	identity->machine = strdup(fields_text(&fields, "machine"));
	identity->boot = strdup(fields_text(&fields, "boot"));
	identity->dev = fields_hex(&fields, "device");
	identity->inode = fields_hex(&fields, "inode");
	if (json_object_get(json, "filesystem") != NULL)
		identity->fsid = fields_hex(&fields, "filesystem");
	if (bad != NULL)
		return error_set(err, EBADMSG, "the field '%s' is missing or wrong", bad);
	if (identity->machine == NULL || identity->boot == NULL)
		return error_set(err, ENOMEM, "out of memory");
	return 0;
}

/* Opens the folder itself. 1 = there is none. */
static int open_folder(struct state *state, const char *state_dir, bool create, struct error *err)
{
	const char *path = state_dir[0] != '\0' ? state_dir : STATE_NAME;
	int at = state_dir[0] != '\0' ? AT_FDCWD : state->root_fd;
	int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (at == AT_FDCWD ? 0 : O_NOFOLLOW);

	if (create && mkdirat(at, path, 0700) < 0 && errno != EEXIST) {
		error_set_errno(err, errno, "cannot create the state folder %s", path);
		if (errno == EROFS || errno == EACCES || errno == EPERM)
			error_fix(err, "make the folder writable, or set [mount] state_dir to %s",
				  "a folder on another disk");
		return error_exit(err, EX_CANTCREAT);
	}
	state->fd = openat(at, path, flags);
	if (state->fd < 0 && errno == ENOENT && !create)
		return 1;
	if (state->fd < 0)
		return error_set_errno(err, errno, "cannot open the state folder %s", path);
	return 0;
}

/*
 * Whether it is the folder that was found, and not a copy. A disk may have another
 * device number at its next mount; a copy of it has its id, but mostly stands beside it.
 */
static bool is_same_folder(const struct identity *found, const struct identity *now)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;

	if (strcmp(found->machine, now->machine) != 0 || found->inode != now->inode)
		return false;
	return found->dev == now->dev ||
	       (found->fsid != 0 && found->fsid == now->fsid &&
		mountinfo_has_filesystem(found->dev, found->fsid, &ignored) == 0);
}

/* A folder copied with its state is a node of its own. */
static int check_node(struct state *state, struct identity *found, const struct identity *now,
		      bool own_place, struct error *err)
{
	bool same = is_same_folder(found, now);

	state->node_id = found->node_id;
	state->same_boot = same && strcmp(found->boot, now->boot) == 0;
	if (same)
		return 0;
	if (!own_place) {
		error_set(err, EEXIST, "the state folder belongs to another folder");
		error_why(err, "it was made for another machine, device or inode than this one");
		error_fix(err, "give each folder a state_dir of its own; if this is the same %s",
			  "folder, moved: move its state into it as " STATE_NAME);
		return error_exit(err, EX_CONFIG);
	}
	state->copied = true;
	return id_random(&state->node_id, err);
}

int state_open(struct state *state, int root_fd, const char *state_dir, bool create,
	       struct error *err)
{
	struct identity now CLEANUP(identity_done) = { 0 };
	struct identity found CLEANUP(identity_done) = { 0 };
	int r;

	*state = (struct state){ .root_fd = root_fd, .fd = -1 };
	r = open_folder(state, state_dir, create, err);
	if (r != 0)
		return r;
	r = identity_now(&now, root_fd, err);
	if (r == 0)
		r = read_identity(state->fd, &found, err);
	if (r == 0)
		r = check_node(state, &found, &now, state_dir[0] == '\0', err);
	else if (r == 1 && create)
		r = id_random(&state->node_id, err);
	if (r == 0 && create && (state->copied || found.machine == NULL)) {
		/* The boot is noted by state_confirm(), when recovery is complete. */
		now.node_id = state->node_id;
		free(now.boot);
		now.boot = strdup("");
		r = write_identity(state->fd, &now, err);
	}
	if (r != 0) {
		state_close(state);
		return r < 0 ? error_wrap(err, "the state folder") : r;
	}
	return 0;
}

int state_confirm(struct state *state, struct error *err)
{
	struct identity now CLEANUP(identity_done) = { 0 };
	int r = identity_now(&now, state->root_fd, err);

	now.node_id = state->node_id;
	return r < 0 ? r : write_identity(state->fd, &now, err);
}

void state_close(struct state *state)
{
	if (state->fd >= 0)
		close(state->fd);
	state->fd = -1;
}
