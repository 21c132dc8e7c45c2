/* SPDX-License-Identifier: MIT */
#ifndef FUSE_CHANNEL_H
#define FUSE_CHANNEL_H

#include "base/error.h"

#include <stdint.h>

/*
 * What supervisor and daemon say to each other, over a Unix socket of packets.
 * Both ends are the same program.
 */
enum channel_kind {
	CHANNEL_READY,	   /* daemon: the file system is served */
	CHANNEL_FAILED,	   /* daemon: it cannot be, text holds the error */
	CHANNEL_UNMOUNTED, /* daemon: the session has ended by an unmount */
	CHANNEL_HOLD,	   /* daemon, with a descriptor: keep it as number id */
	CHANNEL_HELD,	   /* supervisor: done */
	CHANNEL_DROP,	   /* daemon: close number id */
};

#define CHANNEL_TEXT_MAX 4096

struct channel_message {
	uint32_t kind;
	int32_t code, exit_code; /* of an error */
	uint64_t id;
	uint32_t text_len;
	char text[CHANNEL_TEXT_MAX]; /* of an error: what, why and fix, each with its end */
};

/* Two connected ends, close-on-exec. 0 or -errno. */
int channel_open(int ret_fds[2], struct error *err) MUST_CHECK;

/* Sends message, with a duplicate of fd unless that is -1. 0 or -errno. */
int channel_send(int sock, const struct channel_message *message, int fd) MUST_CHECK;

/*
 * Waits for the next message; *ret_fd is the descriptor that came with it, or
 * -1. 0; 1 when the other end is gone; -errno.
 */
int channel_receive(int sock, struct channel_message *message, int *ret_fd) MUST_CHECK;

/* Packs err into a message of kind CHANNEL_FAILED, and unpacks it. */
void channel_pack_error(struct channel_message *message, const struct error *err);
void channel_unpack_error(const struct channel_message *message, struct error *err);

#endif
