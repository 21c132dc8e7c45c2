/* SPDX-License-Identifier: MIT */
#include "fuse/session.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/*
 * The layout of the memfd: the header, then room for all handles, then room for
 * all nodes. Slot i of nodes has node id i + 1, so the root is slot 0; handle
 * slot 0 is not used.
 */
#define SESSION_MAGIC 0x7265706c53455331ull
#define SESSION_VERSION 1

struct session_header {
	uint64_t magic;
	uint32_t version;
	uint32_t n_nodes;	/* slots [0, n_nodes) have been used */
	uint32_t free_node;	/* first free slot + 1; 0: none */
	uint32_t n_handles;
	uint32_t free_handle;
};

#define HANDLES_OFFSET 4096u
#define NODES_OFFSET (HANDLES_OFFSET + sizeof(struct session_handle) * SESSION_N_HANDLES_MAX)
#define TABLE_SIZE (NODES_OFFSET + sizeof(struct session_node) * SESSION_N_NODES_MAX)
_Static_assert(sizeof(struct session_header) <= HANDLES_OFFSET, "the header fits");

int session_create(int *ret_fd, struct error *err)
{
	struct session_header header = {
		.magic = SESSION_MAGIC,
		.version = SESSION_VERSION,
		.n_handles = 1,
	};
	int fd CLEANUP_FD = memfd_create("replitedfs-session", MFD_CLOEXEC);

	if (fd < 0)
		return error_set_errno(err, errno, "cannot make the session table");
	if (ftruncate(fd, (off_t)TABLE_SIZE) < 0 ||
	    pwrite(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header))
		return error_set_errno(err, errno, "cannot size the session table");
	*ret_fd = take_fd(&fd);
	return 0;
}

int session_attach(struct session *session, int fd, struct error *err)
{
	uint8_t *base = mmap(NULL, TABLE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
			     fd, 0);

	if (base == MAP_FAILED)
		return error_set_errno(err, errno, "cannot map the session table");
	session->header = (struct session_header *)base;
	session->handles = (struct session_handle *)(base + HANDLES_OFFSET);
	session->nodes = (struct session_node *)(base + NODES_OFFSET);
	if (session->header->magic != SESSION_MAGIC ||
	    session->header->version != SESSION_VERSION) {
		session_detach(session);
		return error_set(err, EBADMSG, "the session table is of another version");
	}
	return 0;
}

void session_detach(struct session *session)
{
	if (session->header != NULL)
		munmap(session->header, TABLE_SIZE);
	memset(session, 0, sizeof(*session));
}

uint64_t session_node_take(struct session *session)
{
	struct session_header *header = session->header;
	uint32_t slot = header->free_node;
	uint64_t generation;

	if (slot != 0) {
		header->free_node = session->nodes[--slot].next_free;
	} else {
		if (header->n_nodes == SESSION_N_NODES_MAX)
			return 0;
		slot = header->n_nodes++;
	}
	generation = session->nodes[slot].generation + 1;
	memset(&session->nodes[slot], 0, sizeof(session->nodes[slot]));
	session->nodes[slot].generation = generation;
	session->nodes[slot].used = 1;
	return (uint64_t)slot + 1;
}

void session_node_give(struct session *session, uint64_t id)
{
	struct session_node *node = &session->nodes[id - 1];

	node->used = 0;
	node->next_free = session->header->free_node;
	session->header->free_node = (uint32_t)id;
}

struct session_node *session_node_get(struct session *session, uint64_t id)
{
	if (id == 0 || id > session->header->n_nodes || !session->nodes[id - 1].used)
		return NULL;
	return &session->nodes[id - 1];
}

uint32_t session_handle_take(struct session *session)
{
	struct session_header *header = session->header;
	uint32_t id = header->free_handle;

	if (id != 0) {
		header->free_handle = session->handles[id].next_free;
	} else {
		if (header->n_handles == SESSION_N_HANDLES_MAX)
			return 0;
		id = header->n_handles++;
	}
	memset(&session->handles[id], 0, sizeof(session->handles[id]));
	session->handles[id].used = 1;
	return id;
}

void session_handle_give(struct session *session, uint32_t id)
{
	session->handles[id].used = 0;
	session->handles[id].next_free = session->header->free_handle;
	session->header->free_handle = id;
}

struct session_handle *session_handle_get(struct session *session, uint64_t id)
{
	if (id == 0 || id >= session->header->n_handles || !session->handles[id].used)
		return NULL;
	return &session->handles[id];
}

uint32_t session_n_nodes(const struct session *session)
{
	return session->header->n_nodes;
}
