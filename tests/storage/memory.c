/* SPDX-License-Identifier: MIT */
#include "tests/storage/memory.h"

#include "base/clock.h"
#include "base/thread.h"

#include <errno.h>
#include <string.h>

struct object {
	struct object *next;
	char *key;
	struct buf data;
	int64_t modified_us;
};

/* Invariants: 1. objects is sorted by key. 2. It is only touched under mutex. */
struct memory {
	struct storage base;
	pthread_mutex_t mutex;
	struct object *objects;
	const char *const *strays;
};

static struct memory *memory_of(struct storage *s)
{
	return (struct memory *)s;
}

/* The link to the object key, or to where it belongs. */
static struct object **find(struct memory *memory, const char *key)
{
	struct object **at = &memory->objects;

	while (*at != NULL && strcmp((*at)->key, key) < 0)
		at = &(*at)->next;
	return at;
}

static struct object *get(struct memory *memory, const char *key)
{
	struct object *object = *find(memory, key);

	return object != NULL && strcmp(object->key, key) == 0 ? object : NULL;
}

static void free_object(struct object *object)
{
	buf_done(&object->data);
	free(object->key);
	free(object);
}

static void remove_at(struct object **at)
{
	struct object *object = *at;

	if (object == NULL)
		return;
	*at = object->next;
	free_object(object);
}

static int memory_put(struct storage *s, const char *key, const void *data,
		      size_t len, struct error *err)
{
	struct memory *memory = memory_of(s);
	struct object *object = calloc(1, sizeof(*object));
	struct object **at;
	LOCK_SCOPE(&memory->mutex);

	if (object == NULL)
		abort();
	object->key = strdup(key);
	object->modified_us = clock_wall_us();
	if (object->key == NULL || (len != 0 && buf_append(&object->data, data, len) < 0))
		abort();
	at = find(memory, key);
	if (*at != NULL && strcmp((*at)->key, key) == 0)
		remove_at(at);
	object->next = *at;
	*at = object;
	return 0;
}

static int memory_get(struct storage *s, const char *key, uint64_t off,
		      size_t max_len, struct buf *out, struct error *err)
{
	struct memory *memory = memory_of(s);
	LOCK_SCOPE(&memory->mutex);
	const struct object *object = get(memory, key);

	/* Leaves a mess behind a failure, as a transfer may. */
	if (object == NULL && buf_append(out, "mess", 4) < 0)
		abort();
	if (object == NULL)
		return 1;
	if (off >= object->data.len)
		return 0;
	return buf_append(out, object->data.data + off,
			  MIN(max_len, object->data.len - (size_t)off));
}

static int memory_stat(struct storage *s, const char *key,
		       struct storage_object *ret, struct error *err)
{
	struct memory *memory = memory_of(s);
	LOCK_SCOPE(&memory->mutex);
	const struct object *object = get(memory, key);

	if (object == NULL)
		return 1;
	ret->size = object->data.len;
	ret->modified_us = object->modified_us;
	return 0;
}

/* The next key behind last (NULL = the first), as a copy; NULL at the end. */
static char *next_key(struct memory *memory, const char *last, struct storage_object *ret)
{
	LOCK_SCOPE(&memory->mutex);

	for (struct object *object = memory->objects; object != NULL; object = object->next) {
		if (last != NULL && strcmp(object->key, last) <= 0)
			continue;
		ret->size = object->data.len;
		ret->modified_us = object->modified_us;
		ret->key = strdup(object->key);
		return (char *)ret->key;
	}
	return NULL;
}

static int memory_list(struct storage *s, const char *prefix, const char *after,
		       storage_list_fn *fn, void *arg, struct error *err)
{
	struct memory *memory = memory_of(s);
	struct storage_object object = { 0 };
	char *last = NULL;
	int r = 0;

	for (size_t i = 0;
	     r == 0 && memory->strays != NULL && memory->strays[i] != NULL; i++)
		r = fn(arg, &(struct storage_object){ .key = memory->strays[i] }, err);
	while (r == 0) {
		char *key = next_key(memory, last, &object);

		free(last);
		last = key;
		if (key == NULL)
			break;
		r = fn(arg, &object, err);
	}
	free(last);
	return r;
}

static int memory_remove(struct storage *s, const char *key, struct error *err)
{
	struct memory *memory = memory_of(s);
	LOCK_SCOPE(&memory->mutex);

	if (get(memory, key) != NULL)
		remove_at(find(memory, key));
	return 0;
}

static void memory_free(struct storage *s)
{
	struct memory *memory = memory_of(s);

	while (memory->objects != NULL)
		remove_at(&memory->objects);
	pthread_mutex_destroy(&memory->mutex);
	free(memory);
}

static const struct storage_ops memory_ops = {
	.put = memory_put,
	.get = memory_get,
	.stat = memory_stat,
	.list = memory_list,
	.remove = memory_remove,
	.free = memory_free,
};

struct storage *memory_new(const char *const *strays)
{
	struct memory *memory = calloc(1, sizeof(*memory));

	if (memory == NULL ||
	    storage_init(&memory->base, &memory_ops, NULL, "memory:", NULL) < 0)
		abort();
	pthread_mutex_init(&memory->mutex, NULL);
	memory->strays = strays;
	return &memory->base;
}
