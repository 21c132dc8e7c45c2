/* SPDX-License-Identifier: MIT */
#include "storage/storage_backend.h"

#include <errno.h>
#include <string.h>

static const char *const reserved_names[] = {
	".",
	"..",
	STORAGE_NAME_MARKER,
	STORAGE_NAME_TMP,
};

/* The length of a UTF-8 character by its first byte; 0 when none begins so. */
static size_t character_len(uint8_t first)
{
	if (first < 0x80)
		return 1;
	if (first < 0xc0 || first >= 0xf8)
		return 0;
	return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/*
 * The length of the UTF-8 character that begins at text, with its code point;
 * 0 when it is not valid (too long a form, a surrogate, past U+10FFFF, cut off).
 */
static size_t decode_character(const char *text, uint32_t *ret_code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const uint8_t *at = (const uint8_t *)text;
	size_t len = character_len(at[0]);
	uint32_t code = len == 1 ? at[0] : at[0] & (0x7f >> len);

	for (size_t i = 1; i < len; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (at[i] & 0x3f);
	}
	if (len == 0 || code < least[len] || code > 0x10ffff ||
	    (code >= 0xd800 && code < 0xe000))
		return 0;
	*ret_code = code;
	return len;
}

static int check_characters(const char *key, struct error *err)
{
	const char *at = key;

	while (*at != '\0') {
		uint32_t code;
		size_t len = decode_character(at, &code);

		if (len == 0)
			return error_set(err, EINVAL, "the key is not valid UTF-8 at byte %zu",
					 (size_t)(at - key));
		if (code < 0x20 || (code >= 0x7f && code < 0xa0))
			return error_set(err, EINVAL, "the key has a control character at byte %zu",
					 (size_t)(at - key));
		at += len;
	}
	return 0;
}

static int check_component(const char *key, const char *at, size_t len, struct error *err)
{
	if (len == 0)
		return error_set(err, EINVAL, "the key '%s' has an empty component", key);
	if (len > STORAGE_COMPONENT_MAX)
		return error_set(err, ENAMETOOLONG, "a component of '%s' is longer than %d bytes",
				 key, STORAGE_COMPONENT_MAX);
	for (size_t i = 0; i < ARRAY_LEN(reserved_names); i++)
		if (strlen(reserved_names[i]) == len &&
		    memcmp(at, reserved_names[i], len) == 0)
			return error_set(err, EINVAL, "the key '%s' has the reserved component %s",
					 key, reserved_names[i]);
	return 0;
}

static int check(const char *key, bool whole, struct error *err)
{
	const char *slash;
	int r;

	if (strlen(key) > STORAGE_KEY_MAX)
		return error_set(err, ENAMETOOLONG, "the key is longer than %d bytes",
				 STORAGE_KEY_MAX);
	r = check_characters(key, err);
	for (const char *at = key; r == 0; at = slash + 1) {
		slash = strchrnul(at, '/');
		if (*slash == '\0' && !whole)
			break;
		r = check_component(key, at, (size_t)(slash - at), err);
		if (*slash == '\0')
			break;
	}
	return r;
}

int storage_check_key(const char *key, struct error *err)
{
	return check(key, true, err);
}

int storage_check_prefix(const char *prefix, struct error *err)
{
	return check(prefix, false, err);
}
