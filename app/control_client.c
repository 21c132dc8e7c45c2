/* SPDX-License-Identifier: MIT */
#include "app/control.h"

#include "app/control_message.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>

static int connect_to(const char *path, struct error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd CLEANUP_FD = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
		return error_set(err, EIO, "cannot use the control socket %s", path);
	strcpy(address.sun_path, path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return take_fd(&fd);
	if (errno == ENOENT || errno == ECONNREFUSED)
		return -ENOENT;
	return error_set_errno(err, errno, "cannot reach the daemon at %s", path);
}

/* Whether the daemon behind the socket serves the mountpoint. */
static bool serves(const char *path, const char *mountpoint)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	int fd CLEANUP_FD = connect_to(path, &ignored);
	json_t *answer = NULL;
	bool yes = false;

	if (fd >= 0 && control_call(fd, json_pack("{s:s}", "command", "hello"), -1, &answer, NULL,
				    &ignored) == 0) {
		const char *at = json_string_value(json_object_get(answer, "mountpoint"));

		yes = at != NULL && strcmp(at, mountpoint) == 0;
	}
	json_decref(answer);
	return yes;
}

/*
 * A mount shows its backing folder's inode, but a device of its own: asks every
 * daemon whose socket bears that inode.
 */
static char *find_by_mountpoint(const char *dir, const char *mountpoint, ino_t inode)
{
	DIR *sockets = opendir(dir);
	struct dirent *item;
	char *found = NULL;
	char suffix[32];

	snprintf(suffix, sizeof(suffix), "-%" PRIx64 ".sock", (uint64_t)inode);
	while (sockets != NULL && found == NULL && (item = readdir(sockets)) != NULL) {
		size_t len = strlen(item->d_name);

		if (len <= strlen(suffix) || strcmp(item->d_name + len - strlen(suffix), suffix) != 0)
			continue;
		if (asprintf(&found, "%s/%s", dir, item->d_name) < 0)
			found = NULL;
		if (found != NULL && !serves(found, mountpoint)) {
			free(found);
			found = NULL;
		}
	}
	if (sockets != NULL)
		closedir(sockets);
	return found;
}

int control_connect(const char *dir, const char *socket_dir, struct error *err)
{
	char *sockets CLEANUP_FREE = control_socket_dir(socket_dir);
	char *mountpoint CLEANUP_FREE = realpath(dir, NULL);
	char *path CLEANUP_FREE = NULL;
	struct stat st;
	int r;

	if (mountpoint == NULL || stat(dir, &st) < 0)
		return error_set_errno(err, errno, "cannot stat %s", dir);
	if (sockets == NULL)
		return error_set(err, ENOMEM, "out of memory");
	r = control_socket_path(socket_dir, st.st_dev, st.st_ino, false, &path, err);
	if (r < 0)
		return r;
	r = connect_to(path, err);
	if (r != -ENOENT)
		return r;
	free(path);
	path = find_by_mountpoint(sockets, mountpoint, st.st_ino);
	return path == NULL ? -ENOENT : connect_to(path, err);
}

int control_reach(const char *dir, const char *socket_dir, struct error *err)
{
	int fd = control_connect(dir, socket_dir, err);

	if (fd != -ENOENT || err->code != 0)
		return fd;
	error_set(err, ENOTCONN, "no replitedfs serves %s", dir);
	error_fix(err, "replitedfs mount %s", dir);
	return error_exit(err, EX_UNAVAILABLE);
}

#define ERRNO_MAX 4095

/* The error in an answer, as the daemon set it; 0 when there is none. */
static int answer_error(const json_t *answer, struct error *err)
{
	const json_t *error = json_object_get(answer, "error");
	const char *what = json_string_value(json_object_get(error, "what"));
	const char *why = json_string_value(json_object_get(error, "why"));
	const char *fix = json_string_value(json_object_get(error, "fix"));
	json_int_t code = json_integer_value(json_object_get(error, "code"));

	if (error == NULL)
		return 0;
	error_set(err, code > 0 && code <= ERRNO_MAX ? (int)code : EIO, "%s",
		  what != NULL ? what : "the daemon refused");
	error_exit(err, (int)json_integer_value(json_object_get(error, "exit_code")));
	if (why != NULL)
		error_why(err, "%s", why);
	if (fix != NULL)
		error_fix(err, "%s", fix);
	return -err->code;
}

int control_call(int connection, json_t *request, int fd, json_t **ret_answer, int *ret_fd,
		 struct error *err)
{
	int got = -1;
	int r = request == NULL ? error_set(err, ENOMEM, "out of memory") :
				  control_message_send(connection, request, fd, err);

	json_decref(request);
	*ret_answer = NULL;
	if (r == 0)
		r = control_message_receive(connection, ret_answer, &got, err);
	if (r == 0)
		r = answer_error(*ret_answer, err);
	if (r < 0) {
		json_decref(*ret_answer);
		*ret_answer = NULL;
	}
	if (ret_fd != NULL && r == 0)
		*ret_fd = got;
	else if (got >= 0)
		close(got);
	return r;
}
