/* SPDX-License-Identifier: MIT */
#include "replicate/record_reader.h"

#include <errno.h>

static int read_memory(struct record_source *source, void *to, size_t len, struct error *err)
{
	struct record_memory *memory = (struct record_memory *)source;

	if (memory->len == 0)
		return 1;
	if (memory->len < len)
		return error_set(err, EBADMSG, "a transaction record is cut off");
	memcpy(to, memory->data, len);
	memory->data += len;
	memory->len -= len;
	return 0;
}

void record_memory_init(struct record_memory *memory, const void *data, size_t len)
{
	*memory = (struct record_memory){
		.source.read = read_memory,
		.data = data,
		.len = len,
	};
}

int record_reader_init(struct record_reader *reader, struct record_source *source,
		       struct error *err)
{
	*reader = (struct record_reader){ .source = source };
	reader->hash = hash_stream_new();
	if (reader->hash == NULL)
		return error_set(err, ENOMEM, "out of memory");
	return 0;
}

void record_reader_done(struct record_reader *reader)
{
	hash_stream_free(reader->hash);
	reader->hash = NULL;
	buf_done(&reader->data);
}

/* Reads len of the record's remaining bytes, which take part in its hash. */
static int read_hashed(struct record_reader *reader, void *to, size_t len, struct error *err)
{
	int r;

	if (len > reader->bytes_left)
		return error_set(err, EBADMSG, "transaction %llu: its entries overrun the record",
				 (unsigned long long)reader->header.txid);
	r = reader->source->read(reader->source, to, len, err);
	if (r > 0)
		return error_set(err, EBADMSG, "transaction %llu: the record is cut off",
				 (unsigned long long)reader->header.txid);
	if (r < 0)
		return r;
	hash_stream_update(reader->hash, to, len);
	reader->bytes_left -= len;
	return 0;
}

/* After the last entry: nothing may be left, and the hash must be right. */
static int finish_record(struct record_reader *reader, struct error *err)
{
	if (reader->bytes_left != 0)
		return error_set(err, EBADMSG, "transaction %llu: bytes behind its last entry",
				 (unsigned long long)reader->header.txid);
	if (hash_stream_value(reader->hash) != reader->header.entries_hash)
		return error_set(err, EBADMSG, "transaction %llu: its pages are damaged (hash)",
				 (unsigned long long)reader->header.txid);
	return 1;
}

int record_reader_entry(struct record_reader *reader, struct record_entry *ret_entry,
			const uint8_t **ret_data, struct error *err)
{
	uint8_t head[RECORD_ENTRY_LEN];
	uint8_t *data;
	int r;

	if (reader->n_left == 0)
		return finish_record(reader, err);
	r = read_hashed(reader, head, sizeof(head), err);
	if (r == 0)
		r = record_entry_parse(head, &reader->header, ret_entry, err);
	if (r < 0)
		return r;
	buf_reset(&reader->data);
	data = buf_extend(&reader->data, ret_entry->data_len + 1);
	if (data == NULL)
		return error_set(err, ENOMEM, "out of memory");
	if (ret_entry->data_len != 0) {
		r = read_hashed(reader, data, ret_entry->data_len, err);
		if (r == 0)
			r = record_entry_check(ret_entry, &reader->header, data, err);
		if (r < 0)
			return r;
	}
	reader->n_left--;
	*ret_data = data;
	return 0;
}

static int skip_rest(struct record_reader *reader, struct error *err)
{
	struct record_entry entry;
	const uint8_t *data;
	int r = 0;

	if (reader->header.txid == 0)
		return 0;
	while (r == 0)
		r = record_reader_entry(reader, &entry, &data, err);
	return r < 0 ? r : 0;
}

int record_reader_next(struct record_reader *reader, struct error *err)
{
	uint8_t head[RECORD_HEADER_LEN];
	int r = skip_rest(reader, err);

	if (r < 0)
		return r;
	reader->header.txid = 0;
	r = reader->source->read(reader->source, head, sizeof(head), err);
	if (r != 0)
		return r;
	r = record_header_parse(head, &reader->header, err);
	if (r > 0)
		return error_set(err, EBADMSG, "zeros where a transaction record was expected");
	if (r < 0)
		return r;
	reader->n_left = reader->header.n_entries;
	reader->bytes_left = reader->header.size - RECORD_HEADER_LEN;
	hash_stream_reset(reader->hash);
	return 0;
}
