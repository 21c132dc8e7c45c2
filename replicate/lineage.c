/* SPDX-License-Identifier: MIT */
#include "replicate/lineage.h"

#include <errno.h>
#include <inttypes.h>

static const struct manifest_generation *find(const struct manifest_generation *generations,
					      size_t n, uint64_t generation)
{
	for (size_t i = n; i-- > 0;) {
		if (generations[i].generation == generation)
			return &generations[i];
	}
	return NULL;
}

int lineage_init(struct lineage *lineage, const struct manifest_generation *generations,
		 size_t n_generations, uint64_t leaf, struct error *err)
{
	const struct manifest_generation *at = find(generations, n_generations, leaf);
	uint64_t upper = UINT64_MAX;

	*lineage = (struct lineage){ 0 };
	if (at == NULL)
		return error_set(err, ENOENT, "no generation %016" PRIx64 " is known", leaf);
	lineage->pieces = calloc(n_generations, sizeof(*lineage->pieces));
	if (lineage->pieces == NULL)
		return error_set(err, ENOMEM, "out of memory");
	/* As many steps as there are generations: foreign data may go in circles. */
	while (at != NULL && lineage->n_pieces < n_generations) {
		lineage->pieces[lineage->n_pieces++] = (struct lineage_piece){
			.generation = at->generation,
			.lower = at->parent.txid,
			.upper = upper,
		};
		upper = at->parent.txid;
		at = at->parent.generation != 0 ?
			     find(generations, n_generations, at->parent.generation) : NULL;
	}
	for (size_t i = 0, k = lineage->n_pieces - 1; i < k; i++, k--) {
		struct lineage_piece piece = lineage->pieces[i];

		lineage->pieces[i] = lineage->pieces[k];
		lineage->pieces[k] = piece;
	}
	return 0;
}

void lineage_done(struct lineage *lineage)
{
	free(lineage->pieces);
	*lineage = (struct lineage){ 0 };
}

const struct lineage_piece *lineage_find(const struct lineage *lineage, uint64_t txid)
{
	for (size_t i = lineage->n_pieces; i-- > 0;) {
		const struct lineage_piece *piece = &lineage->pieces[i];

		if (txid > piece->lower)
			return txid <= piece->upper ? piece : NULL;
	}
	return NULL;
}

bool lineage_holds(const struct lineage *lineage, uint64_t generation, uint64_t txid)
{
	for (size_t i = 0; i < lineage->n_pieces; i++) {
		const struct lineage_piece *piece = &lineage->pieces[i];

		if (piece->generation == generation && txid >= piece->lower && txid <= piece->upper)
			return true;
	}
	return false;
}
