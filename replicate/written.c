/* SPDX-License-Identifier: MIT */
#include "replicate/written.h"

#include "base/thread.h"

#define RANGES_MAX (1u << 18) /* 4 MiB; more than that is compared as a whole */

void written_init(struct written *written)
{
	*written = (struct written){ 0 };
	pthread_mutex_init(&written->mutex, NULL);
}

void written_done(struct written *written)
{
	free(written->ranges);
	pthread_mutex_destroy(&written->mutex);
}

static bool make_room(struct written *written)
{
	size_t n_room = MAX(2 * written->n_room, (size_t)16);
	struct written_range *more;

	if (written->n_ranges < written->n_room)
		return true;
	if (n_room > RANGES_MAX)
		return false;
	more = realloc(written->ranges, n_room * sizeof(*more));
	if (more == NULL)
		return false;
	written->ranges = more;
	written->n_room = n_room;
	return true;
}

void written_note(struct written *written, uint64_t off, uint64_t len)
{
	uint64_t end = off + len;
	struct written_range *last;

	LOCK_SCOPE(&written->mutex);
	if (written->overflow)
		return;
	last = written->n_ranges != 0 ? &written->ranges[written->n_ranges - 1] : NULL;
	if (last != NULL && off <= last->end && end >= last->off) {
		last->off = MIN(last->off, off);
		last->end = MAX(last->end, end);
		return;
	}
	if (!make_room(written))
		written->overflow = true;
	else
		written->ranges[written->n_ranges++] = (struct written_range){ off, end };
}

bool written_take(struct written *written, struct written_range **ret_ranges, size_t *ret_n)
{
	bool all;

	LOCK_SCOPE(&written->mutex);
	all = !written->overflow;
	*ret_ranges = all ? written->ranges : NULL;
	*ret_n = all ? written->n_ranges : 0;
	if (!all)
		free(written->ranges);
	written->ranges = NULL;
	written->n_ranges = 0;
	written->n_room = 0;
	written->overflow = false;
	return all;
}

bool written_any(struct written *written)
{
	LOCK_SCOPE(&written->mutex);
	return written->overflow || written->n_ranges != 0;
}
