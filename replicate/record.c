/* SPDX-License-Identifier: MIT */
#include "replicate/record.h"

#include "base/bytes.h"
#include "base/hash.h"
#include "replicate/delta.h"
#include "replicate/page.h"

#include <errno.h>

#define RECORD_MAGIC 0x4e545852u /* "RXTN" */
#define LOG_MAGIC "RPLTLOG"	 /* and its terminator: 8 bytes */

/* Offsets in a record header; docs/format.md has the table. */
enum {
	R_MAGIC = 0,
	R_KIND = 4,
	R_FLAGS = 6,
	R_SIZE = 8,
	R_TXID = 16,
	R_TIME = 24,
	R_BEFORE_PAGE_SIZE = 32,
	R_BEFORE_PAGES = 36,
	R_AFTER_PAGE_SIZE = 40,
	R_AFTER_PAGES = 44,
	R_CHECKSUM_BEFORE = 48,
	R_CHECKSUM_AFTER = 56,
	R_MARK = 64,
	R_N_ENTRIES = 84,
	R_ENTRIES_HASH = 88,
	R_RESERVED = 96,
	R_HEADER_HASH = 104,
};

static void mark_put(uint8_t *bytes, const struct wal_mark *mark)
{
	le32_put(bytes, mark->salt1);
	le32_put(bytes + 4, mark->salt2);
	le32_put(bytes + 8, mark->frame);
	le32_put(bytes + 12, mark->sum0);
	le32_put(bytes + 16, mark->sum1);
}

static struct wal_mark mark_get(const uint8_t *bytes)
{
	return (struct wal_mark){ le32_get(bytes), le32_get(bytes + 4), le32_get(bytes + 8),
				  le32_get(bytes + 12), le32_get(bytes + 16) };
}

void record_header_format(const struct record_header *header, uint8_t *bytes)
{
	le32_put(bytes + R_MAGIC, RECORD_MAGIC);
	le16_put(bytes + R_KIND, (uint16_t)header->kind);
	le16_put(bytes + R_FLAGS, (uint16_t)header->flags);
	le64_put(bytes + R_SIZE, header->size);
	le64_put(bytes + R_TXID, header->txid);
	le64_put(bytes + R_TIME, (uint64_t)header->time_us);
	le32_put(bytes + R_BEFORE_PAGE_SIZE, header->before.page_size);
	le32_put(bytes + R_BEFORE_PAGES, header->before.n_pages);
	le32_put(bytes + R_AFTER_PAGE_SIZE, header->after.page_size);
	le32_put(bytes + R_AFTER_PAGES, header->after.n_pages);
	le64_put(bytes + R_CHECKSUM_BEFORE, header->checksum_before);
	le64_put(bytes + R_CHECKSUM_AFTER, header->checksum_after);
	mark_put(bytes + R_MARK, &header->mark);
	le32_put(bytes + R_N_ENTRIES, header->n_entries);
	le64_put(bytes + R_ENTRIES_HASH, header->entries_hash);
	le64_put(bytes + R_RESERVED, 0);
	le64_put(bytes + R_HEADER_HASH, hash64(bytes, R_HEADER_HASH, 0));
}

bool extent_valid(struct extent extent)
{
	if (extent.page_size == 0)
		return extent.n_pages == 0;
	return page_size_valid(extent.page_size) && extent.n_pages <= PAGE_NUMBER_MAX;
}

/* The largest record that n_entries entries can make. */
static bool size_possible(const struct record_header *header)
{
	uint32_t page_size = MAX(header->before.page_size, header->after.page_size);
	uint64_t max = RECORD_HEADER_LEN +
		       (uint64_t)header->n_entries * (RECORD_ENTRY_LEN + delta_max_len(page_size));
	uint64_t min = RECORD_HEADER_LEN + (uint64_t)header->n_entries * RECORD_ENTRY_LEN;

	return header->size >= min && header->size <= max;
}

int record_header_parse(const uint8_t *bytes, struct record_header *ret_header, struct error *err)
{
	static const uint8_t zero[RECORD_HEADER_LEN];
	struct record_header header = {
		.kind = (enum record_kind)le16_get(bytes + R_KIND),
		.flags = le16_get(bytes + R_FLAGS),
		.size = le64_get(bytes + R_SIZE),
		.txid = le64_get(bytes + R_TXID),
		.time_us = (int64_t)le64_get(bytes + R_TIME),
		.before = { le32_get(bytes + R_BEFORE_PAGE_SIZE),
			    le32_get(bytes + R_BEFORE_PAGES) },
		.after = { le32_get(bytes + R_AFTER_PAGE_SIZE), le32_get(bytes + R_AFTER_PAGES) },
		.checksum_before = le64_get(bytes + R_CHECKSUM_BEFORE),
		.checksum_after = le64_get(bytes + R_CHECKSUM_AFTER),
		.mark = mark_get(bytes + R_MARK),
		.n_entries = le32_get(bytes + R_N_ENTRIES),
		.entries_hash = le64_get(bytes + R_ENTRIES_HASH),
	};

	if (memcmp(bytes, zero, sizeof(zero)) == 0)
		return 1;
	if (le32_get(bytes) != RECORD_MAGIC ||
	    le64_get(bytes + R_HEADER_HASH) != hash64(bytes, R_HEADER_HASH, 0))
		return error_set(err, EBADMSG, "a transaction record's header is damaged");
	if ((header.kind != RECORD_COMMIT && header.kind != RECORD_MERGED) ||
	    (header.flags & ~(uint32_t)RECORD_UNDOABLE) != 0 || header.txid == 0 ||
	    le64_get(bytes + R_RESERVED) != 0 || !extent_valid(header.before) ||
	    !extent_valid(header.after) || !size_possible(&header))
		return error_set(err, EBADMSG, "a transaction record's header contradicts itself");
	*ret_header = header;
	return 0;
}

void record_entry_format(const struct record_entry *entry, uint8_t *bytes)
{
	le32_put(bytes, entry->pgno);
	le32_put(bytes + 4, (uint32_t)entry->encoding);
	le32_put(bytes + 8, entry->data_len);
	le32_put(bytes + 12, 0);
	le64_put(bytes + 16, entry->hash);
}

/* The extent in whose pages the entry's page is counted. */
static struct extent entry_extent(const struct record_entry *entry,
				  const struct record_header *header)
{
	return entry->encoding == RECORD_CUT ? header->before : header->after;
}

int record_entry_parse(const uint8_t *bytes, const struct record_header *header,
		       struct record_entry *ret_entry, struct error *err)
{
	struct record_entry entry = {
		.pgno = le32_get(bytes),
		.encoding = (enum record_encoding)le32_get(bytes + 4),
		.data_len = le32_get(bytes + 8),
		.hash = le64_get(bytes + 16),
	};
	struct extent extent = entry_extent(&entry, header);
	bool whole = entry.encoding == RECORD_WHOLE;

	if (entry.encoding < RECORD_WHOLE || entry.encoding > RECORD_CUT || entry.pgno == 0 ||
	    entry.pgno > extent.n_pages || le32_get(bytes + 12) != 0 ||
	    (whole ? entry.data_len != extent.page_size :
		     entry.data_len > delta_max_len(extent.page_size)))
		return error_set(err, EBADMSG, "transaction %llu: a page entry is damaged",
				 (unsigned long long)header->txid);
	*ret_entry = entry;
	return 0;
}

int record_entry_check(const struct record_entry *entry, const struct record_header *header,
		       const uint8_t *data, struct error *err)
{
	if (entry->encoding == RECORD_WHOLE ||
	    delta_valid(data, entry->data_len, entry_extent(entry, header).page_size))
		return 0;
	return error_set(err, EBADMSG, "transaction %llu: the change of page %u is damaged",
			 (unsigned long long)header->txid, entry->pgno);
}

/* Offsets in a log file's header. */
enum {
	L_MAGIC = 0,
	L_VERSION = 8,
	L_LEN = 12,
	L_NODE = 16,
	L_DATABASE = 32,
	L_TERM = 48,
	L_PARENT = 56,
	L_KEY = 80,
	L_PAGE_SIZE = 84,
	L_PAGES = 88,
	L_RESERVED = 92,
	L_BASE = 96,
	L_TIME = 120,
	L_MARK = 128,
	L_ZERO = 148,
	L_HASH = 152,
};

static void position_put(uint8_t *bytes, const struct position *position)
{
	le64_put(bytes, position->generation);
	le64_put(bytes + 8, position->txid);
	le64_put(bytes + 16, position->checksum);
}

static struct position position_get(const uint8_t *bytes)
{
	return (struct position){ le64_get(bytes), le64_get(bytes + 8), le64_get(bytes + 16) };
}

void log_header_format(const struct log_header *header, uint8_t *bytes)
{
	memset(bytes, 0, LOG_HEADER_LEN);
	memcpy(bytes + L_MAGIC, LOG_MAGIC, 8);
	le32_put(bytes + L_VERSION, RECORD_FORMAT_VERSION);
	le32_put(bytes + L_LEN, LOG_HEADER_LEN);
	memcpy(bytes + L_NODE, &header->node_id, sizeof(header->node_id));
	memcpy(bytes + L_DATABASE, &header->database_id, sizeof(header->database_id));
	le64_put(bytes + L_TERM, header->term);
	position_put(bytes + L_PARENT, &header->parent);
	le32_put(bytes + L_KEY, header->key_id);
	le32_put(bytes + L_PAGE_SIZE, header->extent.page_size);
	le32_put(bytes + L_PAGES, header->extent.n_pages);
	position_put(bytes + L_BASE, &header->base);
	le64_put(bytes + L_TIME, (uint64_t)header->time_us);
	mark_put(bytes + L_MARK, &header->mark);
	le64_put(bytes + L_HASH, hash64(bytes, L_HASH, 0));
}

static void parse_fields(const uint8_t *bytes, struct log_header *header)
{
	memcpy(&header->node_id, bytes + L_NODE, sizeof(header->node_id));
	memcpy(&header->database_id, bytes + L_DATABASE, sizeof(header->database_id));
	header->term = le64_get(bytes + L_TERM);
	header->parent = position_get(bytes + L_PARENT);
	header->key_id = le32_get(bytes + L_KEY);
	header->extent = (struct extent){ le32_get(bytes + L_PAGE_SIZE), le32_get(bytes + L_PAGES) };
	header->base = position_get(bytes + L_BASE);
	header->time_us = (int64_t)le64_get(bytes + L_TIME);
	header->mark = mark_get(bytes + L_MARK);
}

int log_header_parse(const uint8_t *bytes, struct log_header *ret_header, struct error *err)
{
	uint32_t version = le32_get(bytes + L_VERSION);

	if (memcmp(bytes, LOG_MAGIC, 8) != 0)
		return error_set(err, EBADMSG, "not a replitedfs transaction log");
	if (version != RECORD_FORMAT_VERSION) {
		error_set(err, EPROTONOSUPPORT,
			  "the transaction log has format version %u, this program reads %u",
			  version, RECORD_FORMAT_VERSION);
		return error_fix(err, "use the version of replitedfs that wrote it, or a newer one");
	}
	if (le64_get(bytes + L_HASH) != hash64(bytes, L_HASH, 0))
		return error_set(err, EBADMSG, "the header of a transaction log is damaged");
	parse_fields(bytes, ret_header);
	if (le32_get(bytes + L_LEN) != LOG_HEADER_LEN || le32_get(bytes + L_RESERVED) != 0 ||
	    le32_get(bytes + L_ZERO) != 0 || ret_header->base.generation == 0 ||
	    !extent_valid(ret_header->extent))
		return error_set(err, EBADMSG, "the header of a transaction log contradicts itself");
	if (ret_header->key_id != 0)
		return error_set(err, EPROTONOSUPPORT,
				 "the transaction log is encrypted with key %u, which is not known",
				 ret_header->key_id);
	return 0;
}
