/* SPDX-License-Identifier: MIT */
#include "fuse/channel.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#define HEADER_LEN offsetof(struct channel_message, text)

int channel_open(int ret_fds[2], struct error *err)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_fds) < 0)
		return error_set_errno(err, errno, "cannot make a socket pair");
	return 0;
}

int channel_send(int sock, const struct channel_message *message, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = {
		.iov_base = (void *)message,
		.iov_len = HEADER_LEN + message->text_len,
	};
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (fd >= 0) {
		struct cmsghdr *cmsg;

		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	}
	do {
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static int received_fd(struct msghdr *msg)
{
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);
	int fd = -1;

	if (cmsg != NULL && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS &&
	    cmsg->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	return fd;
}

int channel_receive(int sock, struct channel_message *message, int *ret_fd)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { .iov_base = message, .iov_len = sizeof(*message) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;

	*ret_fd = -1;
	do {
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 1 : -errno;
	if (n == 0)
		return 1;
	*ret_fd = received_fd(&msg);
	if ((size_t)n < HEADER_LEN || (size_t)n != HEADER_LEN + message->text_len)
		return -EBADMSG;
	return 0;
}

static void pack_text(struct channel_message *message, const char *text)
{
	size_t room = sizeof(message->text) / 3;
	size_t len = text != NULL ? MIN(strlen(text), room - 1) : 0;

	if (len > 0)
		memcpy(message->text + message->text_len, text, len);
	message->text_len += (uint32_t)len;
	message->text[message->text_len++] = '\0';
}

void channel_pack_error(struct channel_message *message, const struct error *err)
{
	message->kind = CHANNEL_FAILED;
	message->code = err->code;
	message->exit_code = err->exit_code;
	message->text_len = 0;
	pack_text(message, error_what(err));
	pack_text(message, err->why);
	pack_text(message, err->fix);
}

void channel_unpack_error(const struct channel_message *message, struct error *err)
{
	const char *what = message->text;
	const char *why = what + strnlen(what, CHANNEL_TEXT_MAX - 3) + 1;
	const char *end = message->text + CHANNEL_TEXT_MAX - 2;
	const char *fix = why + strnlen(why, (size_t)(end - why)) + 1;

	error_set(err, message->code, "%s", what);
	if (why[0] != '\0')
		error_why(err, "%s", why);
	if (fix[0] != '\0')
		error_fix(err, "%s", fix);
	if (message->exit_code != 0)
		error_exit(err, message->exit_code);
}
