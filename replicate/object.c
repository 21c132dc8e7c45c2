/* SPDX-License-Identifier: MIT */
#include "replicate/object.h"

#include "base/bytes.h"
#include "base/compress.h"
#include "base/hash.h"

#include <errno.h>

#define MAGIC_LEN 8
static const char magics[][MAGIC_LEN + 1] = {
	[OBJECT_SEGMENT] = "RPLTSEGM",
	[OBJECT_SNAPSHOT] = "RPLTSNAP",
};

/* Offsets in the header; docs/format.md has the table. */
enum {
	O_MAGIC = 0,
	O_VERSION = 8,
	O_LEN = 12,
	O_NODE = 16,
	O_DATABASE = 32,
	O_TERM = 48,
	O_KEY = 56,
	O_FLAGS = 60,
	O_PARENT = 64,
	O_GENERATION = 88,
	O_FROM = 96,
	O_TO = 128,
	O_PART = 160,
	O_N_ITEMS = 164,
	O_N_RUNS = 168,
	O_RESERVED = 172,
	O_CREATED = 176,
	O_RAW_LEN = 184,
	O_PAYLOAD_LEN = 192,
	O_PAYLOAD_HASH = 200,
	O_ZERO = 208,
	O_HASH = 248,
};

/* A point without its generation: 32 bytes. */
static void point_put(uint8_t *bytes, const struct point *point)
{
	le64_put(bytes, point->position.txid);
	le64_put(bytes + 8, point->position.checksum);
	le32_put(bytes + 16, point->extent.page_size);
	le32_put(bytes + 20, point->extent.n_pages);
	le64_put(bytes + 24, (uint64_t)point->time_us);
}

static struct point point_get(const uint8_t *bytes, uint64_t generation)
{
	return (struct point){
		.position = { generation, le64_get(bytes), le64_get(bytes + 8) },
		.extent = { le32_get(bytes + 16), le32_get(bytes + 20) },
		.time_us = (int64_t)le64_get(bytes + 24),
	};
}

static void header_format(const struct object_header *header, uint8_t *bytes)
{
	memset(bytes, 0, OBJECT_HEADER_LEN);
	memcpy(bytes + O_MAGIC, magics[header->kind], MAGIC_LEN);
	le32_put(bytes + O_VERSION, OBJECT_FORMAT_VERSION);
	le32_put(bytes + O_LEN, OBJECT_HEADER_LEN);
	memcpy(bytes + O_NODE, &header->node_id, sizeof(header->node_id));
	memcpy(bytes + O_DATABASE, &header->database_id, sizeof(header->database_id));
	le64_put(bytes + O_TERM, header->term);
	le32_put(bytes + O_KEY, header->key_id);
	le32_put(bytes + O_FLAGS, header->flags);
	le64_put(bytes + O_PARENT, header->parent.generation);
	le64_put(bytes + O_PARENT + 8, header->parent.txid);
	le64_put(bytes + O_PARENT + 16, header->parent.checksum);
	le64_put(bytes + O_GENERATION, header->to.position.generation);
	point_put(bytes + O_FROM, &header->from);
	point_put(bytes + O_TO, &header->to);
	le32_put(bytes + O_PART, header->part);
	le32_put(bytes + O_N_ITEMS, header->n_items);
	le32_put(bytes + O_N_RUNS, header->n_runs);
	le64_put(bytes + O_CREATED, (uint64_t)header->created_us);
	le64_put(bytes + O_RAW_LEN, header->raw_len);
	le64_put(bytes + O_PAYLOAD_LEN, header->payload_len);
	le64_put(bytes + O_PAYLOAD_HASH, header->payload_hash);
	le64_put(bytes + O_HASH, hash64(bytes, O_HASH, 0));
}

static void parse_fields(const uint8_t *bytes, struct object_header *header)
{
	uint64_t generation = le64_get(bytes + O_GENERATION);

	*header = (struct object_header){
		.flags = le32_get(bytes + O_FLAGS),
		.term = le64_get(bytes + O_TERM),
		.key_id = le32_get(bytes + O_KEY),
		.parent = { le64_get(bytes + O_PARENT), le64_get(bytes + O_PARENT + 8),
			    le64_get(bytes + O_PARENT + 16) },
		.from = point_get(bytes + O_FROM, generation),
		.to = point_get(bytes + O_TO, generation),
		.part = le32_get(bytes + O_PART),
		.n_items = le32_get(bytes + O_N_ITEMS),
		.n_runs = le32_get(bytes + O_N_RUNS),
		.created_us = (int64_t)le64_get(bytes + O_CREATED),
		.raw_len = le64_get(bytes + O_RAW_LEN),
		.payload_len = le64_get(bytes + O_PAYLOAD_LEN),
		.payload_hash = le64_get(bytes + O_PAYLOAD_HASH),
	};
	memcpy(&header->node_id, bytes + O_NODE, sizeof(header->node_id));
	memcpy(&header->database_id, bytes + O_DATABASE, sizeof(header->database_id));
}

static bool fields_valid(const uint8_t *bytes, const struct object_header *header)
{
	static const uint8_t zero[O_HASH - O_ZERO];

	return le32_get(bytes + O_LEN) == OBJECT_HEADER_LEN &&
	       memcmp(bytes + O_ZERO, zero, sizeof(zero)) == 0 &&
	       le32_get(bytes + O_RESERVED) == 0 &&
	       (header->flags & ~(uint32_t)OBJECT_FINAL) == 0 &&
	       header->to.position.generation != 0 &&
	       header->from.position.txid >= header->parent.txid &&
	       header->to.position.txid >= header->from.position.txid &&
	       extent_valid(header->from.extent) && extent_valid(header->to.extent) &&
	       header->raw_len <= OBJECT_RAW_MAX &&
	       header->payload_len <= OBJECT_SIZE_MAX - OBJECT_HEADER_LEN;
}

static const char *kind_name(enum object_kind kind)
{
	return kind == OBJECT_SEGMENT ? "segment" : "part of a snapshot";
}

int object_header_parse(const uint8_t *bytes, enum object_kind kind,
			struct object_header *ret_header, struct error *err)
{
	uint32_t version = le32_get(bytes + O_VERSION);

	if (memcmp(bytes + O_MAGIC, magics[kind], MAGIC_LEN) != 0)
		return error_set(err, EBADMSG, "not a %s", kind_name(kind));
	if (version > OBJECT_FORMAT_VERSION) {
		error_set(err, EPROTONOSUPPORT,
			  "the %s has format version %u, this program reads %u", kind_name(kind),
			  version, OBJECT_FORMAT_VERSION);
		return error_fix(err, "use the replitedfs that wrote it, or a newer one");
	}
	if (version == 0 || le64_get(bytes + O_HASH) != hash64(bytes, O_HASH, 0))
		return error_set(err, EBADMSG, "the header of the %s is damaged", kind_name(kind));
	parse_fields(bytes, ret_header);
	ret_header->kind = kind;
	if (!fields_valid(bytes, ret_header))
		return error_set(err, EBADMSG, "the header of the %s contradicts itself",
				 kind_name(kind));
	if (ret_header->key_id != 0)
		return error_set(err, EPROTONOSUPPORT,
				 "the %s is encrypted with key %u, which is not known",
				 kind_name(kind), ret_header->key_id);
	return 0;
}

int object_build(struct object_header *header, const void *raw, size_t raw_len, int level,
		 struct buf *out, struct error *err)
{
	size_t at = out->len;
	int r;

	if (raw_len > OBJECT_RAW_MAX)
		return error_set(err, EFBIG, "%zu bytes are too many for one %s", raw_len,
				 kind_name(header->kind));
	if (buf_extend(out, OBJECT_HEADER_LEN) == NULL)
		return error_set(err, ENOMEM, "out of memory");
	r = compress_append(out, raw, raw_len, level, err);
	if (r < 0)
		return r;
	header->raw_len = raw_len;
	header->payload_len = out->len - at - OBJECT_HEADER_LEN;
	header->payload_hash = hash64(out->data + at + OBJECT_HEADER_LEN, header->payload_len, 0);
	header_format(header, out->data + at);
	return 0;
}

int object_open(const void *data, size_t len, enum object_kind kind,
		struct object_header *ret_header, struct buf *ret_raw, struct error *err)
{
	const uint8_t *payload = (const uint8_t *)data + OBJECT_HEADER_LEN;
	void *raw;
	int r;

	if (len < OBJECT_HEADER_LEN)
		return error_set(err, EBADMSG, "the %s is cut off", kind_name(kind));
	r = object_header_parse(data, kind, ret_header, err);
	if (r < 0)
		return r;
	if (ret_header->payload_len != len - OBJECT_HEADER_LEN)
		return error_set(err, EBADMSG, "the %s has %zu bytes and should have %llu",
				 kind_name(kind), len,
				 (unsigned long long)ret_header->payload_len + OBJECT_HEADER_LEN);
	if (hash64(payload, ret_header->payload_len, 0) != ret_header->payload_hash)
		return error_set(err, EBADMSG, "the content of the %s is damaged (hash)",
				 kind_name(kind));
	buf_reset(ret_raw);
	raw = buf_extend(ret_raw, ret_header->raw_len);
	if (raw == NULL)
		return error_set(err, ENOMEM, "out of memory");
	return compress_expand(raw, ret_header->raw_len, payload, ret_header->payload_len, err);
}
