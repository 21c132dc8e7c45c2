/* SPDX-License-Identifier: MIT */
#include "base/id.h"

#include <errno.h>
#include <sys/random.h>

static int fill_random(void *to, size_t len, struct error *err)
{
	if (getrandom(to, len, 0) != (ssize_t)len)
		return error_set_errno(err, errno, "cannot read random numbers");
	return 0;
}

int id_random(struct id *ret_id, struct error *err)
{
	int r;

	do {
		r = fill_random(ret_id, sizeof(*ret_id), err);
		if (r < 0)
			return r;
	} while (id_is_zero(ret_id));
	return 0;
}

int id_random_u64(uint64_t *ret_value, struct error *err)
{
	int r;

	do {
		r = fill_random(ret_value, sizeof(*ret_value), err);
		if (r < 0)
			return r;
	} while (*ret_value == 0);
	return 0;
}

void id_format(const struct id *id, char *hex)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < sizeof(id->bytes); i++) {
		hex[2 * i] = digits[id->bytes[i] >> 4];
		hex[2 * i + 1] = digits[id->bytes[i] & 15];
	}
	hex[ID_HEX_LEN] = '\0';
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool id_parse(const char *text, struct id *ret_id)
{
	if (strlen(text) != ID_HEX_LEN)
		return false;
	for (size_t i = 0; i < sizeof(ret_id->bytes); i++) {
		int high = digit_value(text[2 * i]);
		int low = digit_value(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		ret_id->bytes[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}
