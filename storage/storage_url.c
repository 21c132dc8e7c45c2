/* SPDX-License-Identifier: MIT */
/* From a URL to a backend: the one place that knows which there are. */
#include "storage/storage_fs.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sysexits.h>

static int open_file(const char *url, const char *rest, bool create,
		     struct storage **ret, struct error *err);

static const struct {
	const char *scheme;
	/* rest: what follows "scheme:" */
	int (*open)(const char *url, const char *rest, bool create,
		    struct storage **ret, struct error *err);
} schemes[] = {
	{ "file", open_file },
};

static int hex_value(char c)
{
	if (isdigit((unsigned char)c))
		return c - '0';
	if (isxdigit((unsigned char)c))
		return tolower((unsigned char)c) - 'a' + 10;
	return -1;
}

/* Undoes percent-encoding into path, which has room. False: not a plain path. */
static bool decode_path(const char *text, char *path)
{
	for (; *text != '\0'; text++) {
		int high;
		int low;

		if (*text == '?' || *text == '#')
			return false;
		if (*text != '%') {
			*path++ = *text;
			continue;
		}
		high = hex_value(text[1]);
		low = high < 0 ? -1 : hex_value(text[2]);
		if (low < 0 || (high | low) == 0)
			return false;
		*path++ = (char)(high << 4 | low);
		text += 2;
	}
	*path = '\0';
	return true;
}

/* RFC 8089: file:/path, file:///path, file://localhost/path. */
static int open_file(const char *url, const char *rest, bool create,
		     struct storage **ret, struct error *err)
{
	char *path CLEANUP_FREE = strdup(rest);

	if (path == NULL)
		return error_set(err, ENOMEM, "out of memory opening the backend %s", url);
	if (strncmp(rest, "//localhost/", strlen("//localhost/")) == 0)
		rest += strlen("//localhost");
	else if (strncmp(rest, "//", 2) == 0)
		rest += 2;
	if (rest[0] == '/' && decode_path(rest, path))
		return storage_fs_open(path, create, ret, err);
	error_set(err, EINVAL, "'%s' does not name a folder", url);
	error_fix(err, "write it as file:///absolute/path, with '%%', '?' and '#' as %%25, %%3F "
		       "and %%23, or as a plain path");
	error_exit(err, EX_USAGE);
	return -EINVAL;
}

/* How long the scheme of url is; 0 = it is a path. */
static size_t scheme_len(const char *url)
{
	size_t len = 0;

	if (!isalpha((unsigned char)url[0]))
		return 0;
	while (isalnum((unsigned char)url[len]) ||
	       (url[len] != '\0' && strchr("+.-", url[len])))
		len++;
	return url[len] == ':' ? len : 0;
}

/* Says no more of url than its scheme: a key may be in it. */
static int fail_scheme(const char *url, size_t len, struct error *err)
{
	struct buf known CLEANUP_BUF = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
		if (buf_printf(&known, "%s%s://", i == 0 ? "" : ", ", schemes[i].scheme) < 0)
			return error_set(err, ENOMEM, "out of memory opening a backend");
	error_set(err, EPROTONOSUPPORT, "there are no backends of the kind %.*s: in this build",
		  (int)len, url);
	error_why(err, "it knows %.*s and plain paths", (int)known.len,
		  (char *)known.data);
	error_fix(err, "use one of those; put ./ before a path that has a ':' in its first part");
	error_exit(err, EX_USAGE);
	return -EPROTONOSUPPORT;
}

int storage_open(const char *url, bool create, struct storage **ret, struct error *err)
{
	size_t len = scheme_len(url);

	if (len == 0)
		return storage_fs_open(url, create, ret, err);
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
		if (strlen(schemes[i].scheme) == len &&
		    strncasecmp(url, schemes[i].scheme, len) == 0)
			return schemes[i].open(url, url + len + 1, create, ret, err);
	return fail_scheme(url, len, err);
}
