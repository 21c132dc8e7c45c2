/* SPDX-License-Identifier: MIT */
#include "app/control.h"

#include "app/control_message.h"
#include "base/file.h"
#include "base/log.h"
#include "base/thread.h"

#include <errno.h>
#include <jansson.h>
#include <sys/socket.h>
#include <sys/un.h>

/* A peer that says or takes nothing for so long is hung up on. */
#define PEER_TIMEOUT_S 10
/* Without a descriptor for a connection: until the next attempt. */
#define RETRY_S 1

struct control_connection {
	struct control_server *server;
	struct control_connection *next; /* server->mutex */
	int fd;
};

static json_t *error_answer(const struct error *err)
{
	return json_pack("{s:{s:s, s:s?, s:s?, s:i, s:i}}", "error", "what", error_what(err),
			 "why", err->why, "fix", err->fix, "code", err->code, "exit_code",
			 error_exit_code(err));
}

/* Only root and the user who runs the daemon may ask. */
static bool peer_allowed(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

static void answer_call(struct control_connection *connection)
{
	struct control_server *server = connection->server;
	struct control_call call = { .fd = -1, .answer_fd = -1 };
	CLEANUP_ERROR struct error err = ERROR_INIT;
	int r;

	if (!peer_allowed(connection->fd))
		r = error_set(&err, EPERM, "only root and the user who mounted it may ask");
	else
		r = control_message_receive(connection->fd, &call.request, &call.fd, &err);
	if (r == 0)
		r = server->handle(server->arg, &call, &err);
	if (r < 0) {
		json_decref(call.answer);
		call.answer = error_answer(&err);
		call.answer_fd = -1;
	}
	error_done(&err);
	if (call.answer != NULL &&
	    control_message_send(connection->fd, call.answer, call.answer_fd, &err) < 0)
		log_debug("control: cannot answer: %s", error_what(&err));
	json_decref(call.answer);
	json_decref(call.request);
	if (call.fd >= 0)
		close(call.fd);
}

/* Its descriptor is shut down by no one once it is not on the list. */
static void end_connection(struct control_connection *connection)
{
	struct control_server *server = connection->server;
	struct control_connection **at = &server->connections;

	pthread_mutex_lock(&server->mutex);
	while (*at != connection)
		at = &(*at)->next;
	*at = connection->next;
	pthread_mutex_unlock(&server->mutex);
	close(connection->fd);
	free(connection);
}

static void give_place(struct control_server *server)
{
	pthread_mutex_lock(&server->mutex);
	server->n_busy--;
	pthread_cond_broadcast(&server->idle);
	pthread_mutex_unlock(&server->mutex);
}

static void *serve_one(void *arg)
{
	struct control_connection *connection = arg;
	struct control_server *server = connection->server;

	pthread_setname_np(pthread_self(), "control");
	answer_call(connection);
	end_connection(connection);
	give_place(server);
	return NULL;
}

static bool take_place(struct control_server *server)
{
	bool go_on;

	pthread_mutex_lock(&server->mutex);
	while (server->n_busy >= CONTROL_THREADS && !server->stopping)
		pthread_cond_wait(&server->idle, &server->mutex);
	go_on = !server->stopping;
	if (go_on)
		server->n_busy++;
	pthread_mutex_unlock(&server->mutex);
	return go_on;
}

static void wait_a_while(struct control_server *server)
{
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += RETRY_S;
	pthread_mutex_lock(&server->mutex);
	while (!server->stopping && r != ETIMEDOUT)
		r = pthread_cond_clockwait(&server->idle, &server->mutex, CLOCK_MONOTONIC, &until);
	pthread_mutex_unlock(&server->mutex);
}

/* Waits for the next connection and puts it on the list; NULL: there is none. */
static struct control_connection *accept_connection(struct control_server *server)
{
	static const struct timeval patience = { .tv_sec = PEER_TIMEOUT_S };
	struct control_connection *connection = malloc(sizeof(*connection));
	int fd CLEANUP_FD = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);

	/* Being told to stop is one such failure: then nothing is waited for. */
	if (fd < 0 && errno != EINTR && errno != ECONNABORTED)
		wait_a_while(server);
	if (fd < 0 || connection == NULL ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0) {
		free(connection);
		return NULL;
	}
	*connection = (struct control_connection){ .server = server, .fd = take_fd(&fd) };
	pthread_mutex_lock(&server->mutex);
	connection->next = server->connections;
	server->connections = connection;
	pthread_mutex_unlock(&server->mutex);
	return connection;
}

static void *serve(void *arg)
{
	struct control_server *server = arg;

	pthread_setname_np(pthread_self(), "control");
	while (take_place(server)) {
		struct control_connection *connection = accept_connection(server);
		pthread_t thread;

		if (connection == NULL) {
			give_place(server);
			continue; /* the next turn sees whether it is to stop */
		}
		if (pthread_create(&thread, NULL, serve_one, connection) != 0) {
			end_connection(connection);
			give_place(server);
			continue;
		}
		pthread_detach(thread);
	}
	return NULL;
}

static int bind_socket(struct control_server *server, struct error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(server->path) >= sizeof(address.sun_path))
		return error_set(err, ENAMETOOLONG, "the control socket's path is too long: %s",
				 server->path);
	strcpy(address.sun_path, server->path);
	server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* Whoever left it is gone: the state folder's lock is ours. */
	unlink(server->path);
	if (server->fd < 0 ||
	    bind(server->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    chmod(server->path, 0600) < 0 || listen(server->fd, 64) < 0)
		return error_set_errno(err, errno, "cannot open the control socket %s",
				       server->path);
	return 0;
}

int control_server_start(struct control_server *server, const char *socket_dir, dev_t dev,
			 ino_t inode,
			 int (*handle)(void *arg, struct control_call *call, struct error *err),
			 void *arg, struct error *err)
{
	int r;

	*server = (struct control_server){ .fd = -1, .handle = handle, .arg = arg };
	pthread_mutex_init(&server->mutex, NULL);
	pthread_cond_init(&server->idle, NULL);
	r = control_socket_path(socket_dir, dev, inode, true, &server->path, err);
	if (r == 0)
		r = bind_socket(server, err);
	if (r == 0) {
		r = pthread_create(&server->thread, NULL, serve, server);
		server->started = r == 0;
		r = r == 0 ? 0 : error_set_errno(err, r, "cannot start the control thread");
	}
	if (r < 0)
		control_server_stop(server);
	return r;
}

/* Peers that still owe their request get no more time; answers under way are sent. */
static void await_calls(struct control_server *server)
{
	pthread_mutex_lock(&server->mutex);
	for (struct control_connection *at = server->connections; at != NULL; at = at->next)
		shutdown(at->fd, SHUT_RD);
	while (server->n_busy != 0)
		pthread_cond_wait(&server->idle, &server->mutex);
	pthread_mutex_unlock(&server->mutex);
}

void control_server_stop(struct control_server *server)
{
	if (server->path != NULL)
		unlink(server->path);
	if (server->started) {
		pthread_mutex_lock(&server->mutex);
		server->stopping = true;
		pthread_cond_broadcast(&server->idle);
		pthread_mutex_unlock(&server->mutex);
		shutdown(server->fd, SHUT_RDWR); /* ends the accept */
		pthread_join(server->thread, NULL);
		await_calls(server);
		server->started = false;
	}
	if (server->fd >= 0)
		close(server->fd);
	server->fd = -1;
	free(server->path);
	server->path = NULL;
}
