/* SPDX-License-Identifier: MIT */
#include "replicate/fetcher.h"

#include "base/thread.h"
#include "replicate/segment.h"
#include "replicate/snapshot.h"

#include <errno.h>

/* One object under way. Item i uses slot i % FETCHER_WINDOW. */
struct slot {
	bool ready;
	int result;
	struct error err;
	struct object_header head;
	struct buf raw;
	uint64_t bytes;
};

/*
 * Invariants: 1. n_given <= n_taken <= n_given + FETCHER_WINDOW. 2. The slots of
 * items n_given … n_taken - 1 are in use; one that is not ready belongs to the
 * thread that took it, and all others to the caller.
 * Lock: mutex guards n_taken, n_given, stopping and ready.
 */
struct fetcher {
	struct storage *storage;
	const char *folder;
	const struct fetcher_item *items;
	size_t n;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	size_t n_taken;
	size_t n_given;	/* returned by fetcher_next(), and done with */
	bool holds;	/* the caller is at slot n_given */
	bool stopping;
	struct slot slots[FETCHER_WINDOW];
	struct thread threads[FETCHER_N_THREADS];
};

static void item_key(const struct fetcher *fetcher, const struct fetcher_item *item, char *key)
{
	if (item->kind == OBJECT_SEGMENT)
		layout_segment_key(key, fetcher->folder, &item->segment);
	else
		layout_snapshot_key(key, fetcher->folder, &item->snapshot);
}

static int open_object(const struct fetcher_item *item, const struct buf *data, struct slot *slot)
{
	struct snapshot_part part;
	int r;

	if (item->kind == OBJECT_SEGMENT)
		return segment_open(data->data, data->len, &item->segment, &slot->head, &slot->raw,
				    &slot->err);
	r = snapshot_open(data->data, data->len, &item->snapshot, &part, &slot->raw, &slot->err);
	slot->head = part.head;
	return r;
}

/* data is the thread's own, to be used again: large memory is dear to come by. */
static int fetch(struct fetcher *fetcher, const struct fetcher_item *item, struct slot *slot,
		 struct buf *data)
{
	char key[LAYOUT_KEY_SIZE];
	int r;

	item_key(fetcher, item, key);
	buf_reset(data);
	r = storage_get(fetcher->storage, key, 0, OBJECT_SIZE_MAX + 1, data, &slot->err);
	if (r > 0)
		return error_set(&slot->err, EBADMSG, "%s of %s is missing", key,
				 storage_url(fetcher->storage));
	if (r < 0)
		return r;
	slot->bytes = data->len;
	r = open_object(item, data, slot);
	return r < 0 ? error_wrap(&slot->err, "%s of %s", key, storage_url(fetcher->storage)) : 0;
}

/* The number of the item to fetch now, waiting for room; n when there is none. */
static size_t take(struct fetcher *fetcher)
{
	size_t i;

	LOCK_SCOPE(&fetcher->mutex);
	while (!fetcher->stopping && fetcher->n_taken < fetcher->n &&
	       fetcher->n_taken >= fetcher->n_given + FETCHER_WINDOW)
		pthread_cond_wait(&fetcher->changed, &fetcher->mutex);
	if (fetcher->stopping || fetcher->n_taken == fetcher->n)
		return fetcher->n;
	i = fetcher->n_taken++;
	fetcher->slots[i % FETCHER_WINDOW].ready = false;
	return i;
}

static void run(void *arg)
{
	struct fetcher *fetcher = arg;
	struct buf data CLEANUP_BUF = { 0 };
	size_t i;

	while ((i = take(fetcher)) < fetcher->n) {
		struct slot *slot = &fetcher->slots[i % FETCHER_WINDOW];

		slot->result = fetch(fetcher, &fetcher->items[i], slot, &data);
		pthread_mutex_lock(&fetcher->mutex);
		slot->ready = true;
		pthread_cond_broadcast(&fetcher->changed);
		pthread_mutex_unlock(&fetcher->mutex);
	}
}

int fetcher_start(struct storage *storage, const char *folder, const struct fetcher_item *items,
		  size_t n, struct fetcher **ret_fetcher, struct error *err)
{
	struct fetcher *fetcher = calloc(1, sizeof(*fetcher));
	int r = 0;

	if (fetcher == NULL)
		return error_set(err, ENOMEM, "out of memory");
	fetcher->storage = storage;
	fetcher->folder = folder;
	fetcher->items = items;
	fetcher->n = n;
	pthread_mutex_init(&fetcher->mutex, NULL);
	pthread_cond_init(&fetcher->changed, NULL);
	for (size_t i = 0; r == 0 && i < MIN(n, (size_t)FETCHER_N_THREADS); i++)
		r = thread_start(&fetcher->threads[i], "fetch", run, fetcher, err);
	if (r < 0) {
		fetcher_stop(fetcher);
		return r;
	}
	*ret_fetcher = fetcher;
	return 0;
}

void fetcher_stop(struct fetcher *fetcher)
{
	if (fetcher == NULL)
		return;
	pthread_mutex_lock(&fetcher->mutex);
	fetcher->stopping = true;
	pthread_cond_broadcast(&fetcher->changed);
	pthread_mutex_unlock(&fetcher->mutex);
	for (size_t i = 0; i < FETCHER_N_THREADS; i++)
		thread_stop(&fetcher->threads[i]);
	for (size_t i = 0; i < FETCHER_WINDOW; i++) {
		error_done(&fetcher->slots[i].err);
		buf_done(&fetcher->slots[i].raw);
	}
	pthread_cond_destroy(&fetcher->changed);
	pthread_mutex_destroy(&fetcher->mutex);
	free(fetcher);
}

/* Waits for the next item; NULL when there is none. */
static struct slot *wait_next(struct fetcher *fetcher)
{
	struct slot *slot;

	LOCK_SCOPE(&fetcher->mutex);
	if (fetcher->holds) {
		fetcher->n_given++;
		fetcher->holds = false;
		pthread_cond_broadcast(&fetcher->changed);
	}
	if (fetcher->n_given == fetcher->n)
		return NULL;
	slot = &fetcher->slots[fetcher->n_given % FETCHER_WINDOW];
	while (fetcher->n_taken <= fetcher->n_given || !slot->ready)
		pthread_cond_wait(&fetcher->changed, &fetcher->mutex);
	fetcher->holds = true;
	return slot;
}

int fetcher_next(struct fetcher *fetcher, struct fetched *ret_fetched, struct error *err)
{
	struct slot *slot = wait_next(fetcher);

	if (slot == NULL)
		return 1;
	if (slot->result < 0) {
		error_move(err, &slot->err);
		return slot->result;
	}
	*ret_fetched = (struct fetched){
		.head = slot->head,
		.raw = slot->raw.data,
		.raw_len = slot->raw.len,
		.bytes = slot->bytes,
	};
	return 0;
}
