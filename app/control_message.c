/* SPDX-License-Identifier: MIT */
#include "app/control_message.h"

#include "app/control.h"
#include "base/buf.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <sys/socket.h>
#include <string.h>
#include <sys/stat.h>

union control_space {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

/* Sends some bytes, with the descriptor if there is one. */
static ssize_t send_some(int socket, const char *text, size_t len, int fd)
{
	struct iovec part = { (void *)text, len };
	union control_space space = { 0 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *header;

		message.msg_control = &space;
		message.msg_controllen = sizeof(space);
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	}
	return sendmsg(socket, &message, MSG_NOSIGNAL);
}

int control_message_send(int socket, const json_t *json, int fd, struct error *err)
{
	char *text CLEANUP_FREE = json_dumps(json, JSON_COMPACT);
	size_t len;
	size_t done = 0;

	if (text == NULL)
		return error_set(err, ENOMEM, "out of memory");
	len = strlen(text);
	text[len++] = '\n'; /* in place of the terminator */
	while (done < len) {
		ssize_t n = send_some(socket, text + done, len - done, done == 0 ? fd : -1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set_errno(err, errno, "cannot send over the control socket");
		done += (size_t)n;
	}
	return 0;
}

/* Takes the descriptor out of a message; closes what is too many. */
static void take_descriptor(struct msghdr *message, int *fd)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	size_t n;

	if (header == NULL || header->cmsg_level != SOL_SOCKET ||
	    header->cmsg_type != SCM_RIGHTS)
		return;
	n = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	for (size_t i = 0; i < n; i++) {
		int got;

		memcpy(&got, CMSG_DATA(header) + i * sizeof(int), sizeof(got));
		if (*fd < 0)
			*fd = got;
		else
			close(got);
	}
}

static ssize_t receive_some(int socket, struct buf *text, int *fd)
{
	union control_space space;
	struct iovec part;
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &space,
		.msg_controllen = sizeof(space),
	};
	ssize_t n;

	if (buf_reserve(text, 65536) < 0)
		return -ENOMEM;
	part = (struct iovec){ text->data + text->len, 65536 };
	do {
		n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	take_descriptor(&message, fd);
	text->len += (size_t)n;
	return n;
}

int control_message_receive(int socket, json_t **ret_json, int *ret_fd, struct error *err)
{
	struct buf text CLEANUP_BUF = { 0 };
	json_error_t problem;
	int fd = -1;
	ssize_t n;

	do {
		n = receive_some(socket, &text, &fd);
	} while (n > 0 && text.len <= CONTROL_MAX && text.data[text.len - 1] != '\n');
	*ret_json = n > 0 && text.len <= CONTROL_MAX ?
			    json_loadb((const char *)text.data, text.len, 0, &problem) :
			    NULL;
	if (!json_is_object(*ret_json)) {
		json_decref(*ret_json);
		*ret_json = NULL;
		if (fd >= 0)
			close(fd);
		if (n < 0)
			return error_set_errno(err, (int)-n, "cannot read the control socket");
		return error_set(err, EBADMSG, "the other end of the control socket hung up");
	}
	*ret_fd = fd;
	return 0;
}

char *control_socket_dir(const char *socket_dir)
{
	const char *run = getenv("XDG_RUNTIME_DIR");
	char *path;

	if (socket_dir[0] != '\0')
		return strdup(socket_dir);
	if (geteuid() == 0 || run == NULL || run[0] != '/')
		run = "/run";
	return asprintf(&path, "%s/replitedfs", run) < 0 ? NULL : path;
}

int control_socket_path(const char *socket_dir, dev_t dev, ino_t inode, bool create,
			char **ret_path, struct error *err)
{
	char *dir CLEANUP_FREE = control_socket_dir(socket_dir);

	if (dir == NULL || asprintf(ret_path, "%s/%" PRIx64 "-%" PRIx64 ".sock", dir,
				    (uint64_t)dev, (uint64_t)inode) < 0) {
		*ret_path = NULL;
		return error_set(err, ENOMEM, "out of memory");
	}
	if (create && mkdir(dir, 0755) < 0 && errno != EEXIST)
		return error_set_errno(err, errno, "cannot create %s for the control socket", dir);
	return 0;
}
