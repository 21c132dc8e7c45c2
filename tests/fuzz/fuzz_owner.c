/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/document.h"

#include "replicate/owner.h"

#include <string.h>

/* The input is an owner record, see document.h. */

/* What was read is written as what reads the same. */
static void check_again(const struct owner *owner)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf text CLEANUP_BUF = { 0 };
	struct owner again = { 0 };

	FUZZ_CHECK(owner_format(owner, &text, &err) == 0);
	FUZZ_CHECK(owner_parse(text.data, text.len, &again, &err) == 0);
	FUZZ_CHECK(memcmp(&owner->node_id, &again.node_id, sizeof(again.node_id)) == 0);
	FUZZ_CHECK(memcmp(&owner->database_id, &again.database_id,
			  sizeof(again.database_id)) == 0);
	FUZZ_CHECK(strcmp(owner->name, again.name) == 0 && strcmp(owner->host, again.host) == 0);
	FUZZ_CHECK(owner->generation == again.generation && owner->term == again.term);
	FUZZ_CHECK(owner->claimed_us == again.claimed_us);
	owner_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	struct buf text CLEANUP_BUF = { 0 };
	struct owner owner = { 0 };

	if (!fuzz_document("owner", data, size, &text))
		return 0;
	if (owner_parse(text.data, text.len, &owner, &err) < 0) {
		FUZZ_CHECK(err.what != NULL && err.code != 0);
		return 0;
	}
	FUZZ_CHECK(owner.name[0] != '\0' && owner.host[0] != '\0');
	check_again(&owner);
	owner_done(&owner);
	return 0;
}
