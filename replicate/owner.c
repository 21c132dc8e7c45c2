/* SPDX-License-Identifier: MIT */
#include "replicate/owner.h"

#include "replicate/envelope.h"

#include <errno.h>
#include <jansson.h>

#define KIND "owner"

int owner_format(const struct owner *owner, struct buf *out, struct error *err)
{
	char *host CLEANUP_FREE = layout_escape(owner->host);
	json_t *json;

	if (host == NULL)
		return error_set(err, ENOMEM, "out of memory");
	json = json_pack("{s:o,s:o,s:o,s:s,s:o,s:I,s:I}", "node", json_id(&owner->node_id),
			 "database", json_id(&owner->database_id), "name", json_name(owner->name),
			 "host", host, "generation", json_hex(owner->generation), "term",
			 (json_int_t)owner->term, "claimed_us", (json_int_t)owner->claimed_us);
	return envelope_write(KIND, OWNER_FORMAT_VERSION, json, out, err);
}

int owner_parse(const void *data, size_t len, struct owner *ret_owner, struct error *err)
{
	json_t *json CLEANUP_JSON = NULL;
	const char *bad = NULL;
	int r = envelope_read(KIND, OWNER_FORMAT_VERSION, data, len, &json, err);
	struct fields at = { json, &bad };

	if (r < 0)
		return r;
	*ret_owner = (struct owner){
		.node_id = fields_id(&at, "node"),
		.database_id = fields_id(&at, "database"),
		.name = fields_name(&at, "name"),
		.host = fields_escaped(&at, "host"),
		.generation = fields_hex(&at, "generation"),
		.term = fields_number(&at, "term", INT64_MAX),
		.claimed_us = fields_time(&at, "claimed_us"),
	};
	if (bad == NULL)
		return 0;
	owner_done(ret_owner);
	return error_set(err, EBADMSG, "the owner record has a bad %s", bad);
}

void owner_done(struct owner *owner)
{
	free(owner->name);
	free(owner->host);
	*owner = (struct owner){ 0 };
}
