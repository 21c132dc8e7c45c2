/* SPDX-License-Identifier: MIT */
#ifndef APP_CONTROL_MESSAGE_H
#define APP_CONTROL_MESSAGE_H

#include "base/error.h"

#include <stdbool.h>
#include <sys/types.h>

struct json_t;

/*
 * What both ends of the control socket share: one line of JSON with at most one
 * descriptor, and where the socket is.
 */

/* Sends json as one line, with fd unless it is -1. Blocks. 0 or -errno. */
int control_message_send(int socket, const struct json_t *json, int fd,
			 struct error *err) MUST_CHECK;

/*
 * Receives a line, at most CONTROL_MAX bytes, that must be a JSON object. The
 * caller releases *ret_json and closes *ret_fd (-1: none came). 0, -EBADMSG, or
 * another -errno.
 */
int control_message_receive(int socket, struct json_t **ret_json, int *ret_fd,
			    struct error *err) MUST_CHECK;

/* The path of the socket, to be freed; with create its folder is made. */
int control_socket_path(const char *socket_dir, dev_t dev, ino_t inode, bool create,
			char **ret_path, struct error *err) MUST_CHECK;

/* The folder of sockets, to be freed; NULL when out of memory. */
char *control_socket_dir(const char *socket_dir);

#endif
