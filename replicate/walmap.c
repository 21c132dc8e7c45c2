/* SPDX-License-Identifier: MIT */
#include "replicate/walmap.h"

#include <errno.h>
#include <string.h>

#define SLOTS_MIN 256u
#define SLOTS_KEPT 65536u

static struct walmap_entry *slot_of(const struct walmap *map, uint32_t pgno)
{
	uint32_t at = pgno * 2654435761u & (map->n_slots - 1);

	while (map->slots[at].pgno != 0 && map->slots[at].pgno != pgno)
		at = (at + 1) & (map->n_slots - 1);
	return &map->slots[at];
}

int walmap_reserve(struct walmap *map, uint32_t extra)
{
	uint64_t want = 2 * ((uint64_t)map->n_used + extra);
	struct walmap bigger = { .n_slots = MAX(map->n_slots, SLOTS_MIN) };

	if (map->n_slots != 0 && want <= map->n_slots)
		return 0;
	while (bigger.n_slots < want) {
		if (bigger.n_slots > UINT32_MAX / 2)
			return -ENOMEM;
		bigger.n_slots *= 2;
	}
	bigger.slots = calloc(bigger.n_slots, sizeof(*bigger.slots));
	if (bigger.slots == NULL)
		return -ENOMEM;
	bigger.n_used = map->n_used;
	for (uint32_t i = 0; i < map->n_slots; i++) {
		if (map->slots[i].pgno != 0)
			*slot_of(&bigger, map->slots[i].pgno) = map->slots[i];
	}
	free(map->slots);
	*map = bigger;
	return 0;
}

void walmap_put(struct walmap *map, uint32_t pgno, uint32_t frame, uint64_t hash)
{
	struct walmap_entry *slot = slot_of(map, pgno);

	if (slot->pgno == 0)
		map->n_used++;
	*slot = (struct walmap_entry){ pgno, frame, hash };
}

const struct walmap_entry *walmap_find(const struct walmap *map, uint32_t pgno)
{
	const struct walmap_entry *slot;

	if (map->n_used == 0)
		return NULL;
	slot = slot_of(map, pgno);
	return slot->pgno != 0 ? slot : NULL;
}

void walmap_clear(struct walmap *map)
{
	if (map->n_slots > SLOTS_KEPT) {
		walmap_done(map);
		return;
	}
	if (map->n_used != 0)
		memset(map->slots, 0, map->n_slots * sizeof(*map->slots));
	map->n_used = 0;
}

void walmap_done(struct walmap *map)
{
	free(map->slots);
	*map = (struct walmap){ 0 };
}
