/* SPDX-License-Identifier: MIT */
#include "fuse/handle.h"

#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#define BY_ID_SIZE (sizeof(struct handle *) * SESSION_N_HANDLES_MAX)

int handles_init(struct handles *handles, struct nodes *nodes, struct error *err)
{
	handles->nodes = nodes;
	handles->by_id = mmap(NULL, BY_ID_SIZE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (handles->by_id == MAP_FAILED) {
		handles->by_id = NULL;
		return error_set(err, ENOMEM, "out of memory for the handles");
	}
	return 0;
}

static void handle_done(struct handle *handle)
{
	if (handle->dir != NULL)
		closedir(handle->dir);
	if (handle->fd >= 0)
		close(handle->fd);
	database_unref(handle->db);
	buf_done(&handle->content);
	pthread_mutex_destroy(&handle->mutex);
	free(handle);
}

void handles_done(struct handles *handles)
{
	if (handles->by_id == NULL)
		return;
	for (uint32_t id = 1; id < SESSION_N_HANDLES_MAX && handles->n_open > 0; id++) {
		if (session_handle_get(handles->nodes->session, id) == NULL)
			continue;
		handle_done(handles->by_id[id]);
		handles->n_open--;
	}
	munmap(handles->by_id, BY_ID_SIZE);
	handles->by_id = NULL;
}

struct handle *handle_new(struct handles *handles, struct node *node, int fd, int flags)
{
	struct session *session = handles->nodes->session;
	struct handle *handle = calloc(1, sizeof(*handle));
	bool writable = (flags & O_ACCMODE) != O_RDONLY;

	if (handle == NULL)
		return NULL;
	LOCK_SCOPE(&handles->nodes->mutex);

	handle->id = session_handle_take(session);
	if (handle->id == 0) {
		free(handle);
		return NULL;
	}
	handle->node = node;
	handle->fd = fd;
	handle->writable = writable;
	pthread_mutex_init(&handle->mutex, NULL);
	session_handle_get(session, handle->id)->node = node->id;
	session_handle_get(session, handle->id)->flags = (uint32_t)flags;
	node->slot->n_open++;
	node->slot->n_writers += writable;
	handles->n_open++;
	__atomic_store_n(&handles->by_id[handle->id], handle, __ATOMIC_RELEASE);
	return handle;
}

void handle_free(struct handles *handles, struct handle *handle)
{
	struct node *node = handle->node;
	uint64_t node_id = node->id;

	pthread_mutex_lock(&handles->nodes->mutex);
	__atomic_store_n(&handles->by_id[handle->id], NULL, __ATOMIC_RELEASE);
	session_handle_give(handles->nodes->session, handle->id);
	handles->n_open--;
	node->slot->n_open--;
	node->slot->n_writers -= handle->writable;
	pthread_mutex_unlock(&handles->nodes->mutex);
	nodes_forget(handles->nodes, node_id, 0);
	handle_done(handle);
}

struct handle *handles_get(struct handles *handles, uint64_t id)
{
	if (id == 0 || id >= SESSION_N_HANDLES_MAX)
		return NULL;
	return __atomic_load_n(&handles->by_id[id], __ATOMIC_ACQUIRE);
}

struct database *handle_database(struct handles *handles, struct handle *handle,
				 enum database_file *ret_file)
{
	LOCK_SCOPE(&handles->nodes->mutex);

	*ret_file = handle->file;
	return handle->db != NULL ? database_ref(handle->db) : NULL;
}

void handle_set_database(struct handles *handles, struct handle *handle, struct database *db,
			 enum database_file file)
{
	struct database *before;

	if (db != NULL)
		database_ref(db);
	pthread_mutex_lock(&handles->nodes->mutex);
	before = handle->db;
	handle->db = db;
	handle->file = file;
	pthread_mutex_unlock(&handles->nodes->mutex);
	database_unref(before);
}

uint64_t handles_count(struct handles *handles)
{
	LOCK_SCOPE(&handles->nodes->mutex);

	return handles->n_open;
}
