/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz.h"

#include "app/control.h"
#include "app/control_message.h"
#include "replicate/envelope.h"

#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * The input is what comes over the control socket behind a byte: bit 0 clear, a
 * request that the daemon reads, else an answer to a command; bits 1 and 2, how
 * many descriptors come with it.
 */
#define MAX_LEN 60000 /* fits into the socket's buffer */

#define FDS_SEEN 64

/* How many descriptors there are: whether one was left open. */
static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < FDS_SEEN; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void send_input(int socket, const uint8_t *data, size_t size, unsigned n_fds)
{
	union {
		char bytes[CMSG_SPACE(3 * sizeof(int))];
		struct cmsghdr align;
	} space = { 0 };
	int fds[3] = { STDERR_FILENO, STDERR_FILENO, STDERR_FILENO };
	struct iovec part = { (void *)data, size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	if (n_fds != 0) {
		struct cmsghdr *header;

		message.msg_control = &space;
		message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(header), fds, n_fds * sizeof(int));
	}
	FUZZ_CHECK(size == 0 || sendmsg(socket, &message, MSG_NOSIGNAL) == (ssize_t)size);
	FUZZ_CHECK(shutdown(socket, SHUT_WR) == 0);
}

static void receive(int socket, bool answer)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	json_t *json CLEANUP_JSON = NULL;
	int fd = -1;
	int r;

	if (answer)
		r = control_call(socket, json_object(), -1, &json, &fd, &err);
	else
		r = control_message_receive(socket, &json, &fd, &err);
	if (r == 0)
		FUZZ_CHECK(json_is_object(json));
	else
		FUZZ_CHECK(r < 0 && json == NULL && fd < 0 && err.what != NULL && err.code == -r);
	if (r == 0 && answer)
		FUZZ_CHECK(json_object_get(json, "error") == NULL);
	if (fd >= 0)
		close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int before = count_fds();
	int sockets[2];

	if (size == 0 || size > MAX_LEN)
		return 0;
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
	send_input(sockets[0], data + 1, size - 1, data[0] >> 1 & 3);
	receive(sockets[1], data[0] & 1);
	close(sockets[0]);
	close(sockets[1]);
	FUZZ_CHECK(count_fds() == before);
	return 0;
}
