/* SPDX-License-Identifier: MIT */
#ifndef APP_CONTROL_H
#define APP_CONTROL_H

#include "base/error.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The control socket, through which commands reach the daemon of a mount: a
 * Unix socket named after the backing folder's device and inode, in
 * /run/replitedfs (or $XDG_RUNTIME_DIR/replitedfs for users). One request a
 * connection: a line of JSON, at most CONTROL_MAX bytes, maybe with one
 * descriptor; answered by one line of JSON, maybe with one descriptor. Peers
 * other than root and the daemon's own user are turned away.
 */
#define CONTROL_MAX (16u << 20)

struct json_t;

/* A request and its answer; all but request is the handler's to fill. */
struct control_call {
	struct json_t *request; /* an object; borrowed */
	int fd;			/* that came with it, or -1; borrowed */
	struct json_t *answer;	/* to be released by the server */
	int answer_fd;		/* to be sent, borrowed; -1: none */
};

struct control_connection;

/*
 * Serves each connection in a thread of its own, at most CONTROL_THREADS at a
 * time. A peer that keeps its request or leaves the answer for ten seconds is hung
 * up on. Owned by the daemon.
 */
#define CONTROL_THREADS 16
struct control_server {
	int fd;
	char *path;
	/* 0 with call->answer set, or -errno: err becomes the answer. */
	int (*handle)(void *arg, struct control_call *call, struct error *err);
	void *arg;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t idle;
	unsigned n_busy; /* mutex */
	struct control_connection *connections; /* mutex: those that are open */
	bool started;
	bool stopping; /* mutex */
};

/* socket_dir "" = the usual place, which is created. 0 or -errno. */
int control_server_start(struct control_server *server, const char *socket_dir, dev_t dev,
			 ino_t inode,
			 int (*handle)(void *arg, struct control_call *call, struct error *err),
			 void *arg, struct error *err) MUST_CHECK;

/*
 * Removes the socket, hangs up on those who have not sent their request, and waits
 * for calls under way. Fine when never started.
 */
void control_server_stop(struct control_server *server);

/*
 * Finds the daemon that serves dir (a mount, or its backing folder) and
 * connects. Returns a descriptor; -ENOENT without an error set: no daemon
 * serves it; or -errno.
 */
int control_connect(const char *dir, const char *socket_dir, struct error *err) MUST_CHECK;

/* The same, but that no daemon serves dir is an error that says so. */
int control_reach(const char *dir, const char *socket_dir, struct error *err) MUST_CHECK;

/*
 * Sends request (taken over; NULL is out of memory) with fd (or -1) over the
 * connection, which is then used up, and waits for the answer. 0 with
 * *ret_answer, and *ret_fd if one came and is asked for; -errno with the error
 * the daemon reported, or why it could not be asked.
 */
int control_call(int connection, struct json_t *request, int fd, struct json_t **ret_answer,
		 int *ret_fd, struct error *err) MUST_CHECK;

#endif
