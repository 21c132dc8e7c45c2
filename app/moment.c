/* SPDX-License-Identifier: MIT */
#include "app/moment.h"

#include "app/shown_name.h"
#include "base/clock.h"
#include "replicate/envelope.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <sysexits.h>

static int bad_txid(const char *text, struct error *err)
{
	error_set(err, EINVAL, "--txid %s is no transaction", text);
	error_fix(err, "write its number, or GEN:N as `replitedfs list` shows it");
	return error_exit(err, EX_USAGE);
}

/* A number of digits only; false for anything else. */
static bool parse_number(const char *text, int base, uint64_t *ret_value)
{
	char *end;

	if (!isxdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	*ret_value = strtoull(text, &end, base);
	return errno == 0 && *end == '\0';
}

static int parse_txid(const char *text, struct restore_target *ret_target, struct error *err)
{
	const char *colon = strchr(text, ':');
	char generation[17] = "";

	if (colon != NULL) {
		if (colon - text != 16)
			return bad_txid(text, err);
		memcpy(generation, text, 16);
		if (!parse_number(generation, 16, &ret_target->generation) ||
		    ret_target->generation == 0)
			return bad_txid(text, err);
		text = colon + 1;
	}
	ret_target->kind = RESTORE_TXID;
	return parse_number(text, 10, &ret_target->txid) ? 0 : bad_txid(text, err);
}

int moment_parse(const char *txid, const char *at, struct restore_target *ret_target,
		 struct error *err)
{
	int r;

	*ret_target = (struct restore_target){ .kind = RESTORE_LATEST };
	if (txid != NULL && at != NULL) {
		error_set(err, EINVAL, "--txid and --at exclude each other");
		return error_exit(err, EX_USAGE);
	}
	if (txid != NULL)
		return parse_txid(txid, ret_target, err);
	if (at == NULL)
		return 0;
	ret_target->kind = RESTORE_TIME;
	r = clock_parse(at, clock_wall_us(), &ret_target->time_us, err);
	if (r < 0)
		error_exit(err, EX_USAGE);
	return r;
}

void moment_format(const struct position *position, char *text)
{
	snprintf(text, MOMENT_TEXT_SIZE, "%016" PRIx64 ":%" PRIu64, position->generation,
		 position->txid);
}

json_t *moment_result_json(const char *name, const char *output,
			   const struct restore_result *result)
{
	char position[MOMENT_TEXT_SIZE];
	char time_text[CLOCK_TEXT_SIZE];

	moment_format(&result->point.position, position);
	clock_format(result->point.time_us, time_text);
	return json_pack("{s:o, s:s?, s:s, s:I, s:o, s:s, s:I, s:I, s:I, s:I, s:s?}", "database",
			 name != NULL ? shown_name_json(name) : json_null(), "output", output,
			 "position", position, "txid", (json_int_t)result->point.position.txid,
			 "checksum", json_hex(result->point.position.checksum), "time", time_text,
			 "pages", (json_int_t)result->point.extent.n_pages, "bytes",
			 (json_int_t)extent_bytes(result->point.extent), "transactions",
			 (json_int_t)result->n_transactions, "bytes_read",
			 (json_int_t)result->bytes_read, "warning", result->warning);
}
