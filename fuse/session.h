/* SPDX-License-Identifier: MIT */
#ifndef FUSE_SESSION_H
#define FUSE_SESSION_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The session table: the nodes and the open handles that the kernel knows of,
 * in memory that the supervisor makes and the daemon maps, so that they outlive
 * the daemon. It holds no pointer and no descriptor: what belongs to one process
 * hangs on it in arrays of that process (fuse/node.h, fuse/handle.h), indexed by
 * the same numbers.
 *
 * The memory is a sparse memfd of its largest size from the start: pages exist
 * once they are touched, no address ever moves, and a slot that was freed is the
 * next to be used. Nothing here locks: the callers do.
 *
 * It holds what a daemon would need that took a session over from one that died;
 * there is none yet, so that nothing reads role, n_writers, and the node and flags
 * of a handle.
 *
 * Invariants: 1. A free slot has used == 0 and is on its free list, linked by
 * next_free; a slot that has never been used lies at or above n_nodes or
 * n_handles. 2. generation changes each time a node slot is taken.
 */

#define SESSION_NAME_MAX 255
#define SESSION_ROOT 1u		     /* the root's node id, FUSE_ROOT_ID */
#define SESSION_N_NODES_MAX (1u << 24)
#define SESSION_N_HANDLES_MAX (1u << 20)

struct session_node {
	uint64_t parent;     /* node id; 0: no name (the root, or its name is gone) */
	uint64_t generation;
	uint64_t dev, ino;   /* of the backing file; 0, n for a virtual one */
	uint64_t n_lookups;  /* what the kernel will forget one day */
	uint32_t n_children; /* nodes whose parent this is */
	uint32_t n_open;     /* handles */
	uint32_t n_writers;  /* handles open for writing */
	uint32_t next_free;
	int32_t backing_id;  /* passthrough registration; 0: none */
	uint16_t type;	     /* S_IFMT bits */
	uint8_t used;
	uint8_t role;	     /* enum node_role */
	uint8_t road;	     /* enum road; of the handles that are open */
	uint8_t name_len;
	char name[SESSION_NAME_MAX + 1];
};

struct session_handle {
	uint64_t node;
	uint32_t flags;	     /* of the open */
	uint32_t next_free;
	uint8_t used;
};

struct session_header;

struct session {
	struct session_header *header;
	struct session_node *nodes;
	struct session_handle *handles;
};

/* Makes an empty table. 0 with *ret_fd, the caller's to close, or -errno. */
int session_create(int *ret_fd, struct error *err) MUST_CHECK;

/* Maps the table behind fd (which may be closed then). 0 or -errno. */
int session_attach(struct session *session, int fd, struct error *err) MUST_CHECK;
void session_detach(struct session *session);

/* Takes a node slot, zeroed but for its generation. Its id, or 0 when there is none left. */
uint64_t session_node_take(struct session *session);
void session_node_give(struct session *session, uint64_t id);

/* The slot of node id; NULL when that is not in use. */
struct session_node *session_node_get(struct session *session, uint64_t id);

/* The same for handles; they count from 1, 0 means there is none left. */
uint32_t session_handle_take(struct session *session);
void session_handle_give(struct session *session, uint32_t id);
struct session_handle *session_handle_get(struct session *session, uint64_t id);

/* How many slots have ever been in use at once. */
uint32_t session_n_nodes(const struct session *session);

#endif
