/* SPDX-License-Identifier: MIT */
#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* XXH3's state wants 64-byte alignment, which malloc does not promise. */
struct hash_stream {
	XXH3_state_t *state;
};

uint64_t hash64(const void *data, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, len, seed);
}

struct hash_stream *hash_stream_new(void)
{
	struct hash_stream *stream = malloc(sizeof(*stream));

	if (stream == NULL)
		return NULL;
	stream->state = XXH3_createState();
	if (stream->state == NULL) {
		free(stream);
		return NULL;
	}
	hash_stream_reset(stream);
	return stream;
}

void hash_stream_reset(struct hash_stream *stream)
{
	XXH3_64bits_reset(stream->state);
}

void hash_stream_update(struct hash_stream *stream, const void *data, size_t len)
{
	XXH3_64bits_update(stream->state, data, len);
}

uint64_t hash_stream_value(const struct hash_stream *stream)
{
	return XXH3_64bits_digest(stream->state);
}

void hash_stream_free(struct hash_stream *stream)
{
	if (stream == NULL)
		return;
	XXH3_freeState(stream->state);
	free(stream);
}
