/* SPDX-License-Identifier: MIT */
#include "storage/storage_prefix.h"
#include "storage/storage_backend.h"

#include <errno.h>
#include <string.h>

/* Never changes after storage_prefix_new(). */
struct storage_prefix {
	struct storage base;
	char *prefix; /* "" or with '/' at its end */
};

/* A list of inner on its way to the caller of the wrapper's. */
struct stripping {
	size_t len;
	storage_list_fn *fn;
	void *arg;
};

/* Puts the prefix before key, into *ret_key. 0 or -ENOMEM. */
static int join(const struct storage *s, const char *key, char **ret_key, struct error *err)
{
	const struct storage_prefix *prefix = (const struct storage_prefix *)s;

	if (asprintf(ret_key, "%s%s", prefix->prefix, key) >= 0)
		return 0;
	*ret_key = NULL;
	return error_set(err, ENOMEM, "out of memory in the backend %s", s->url);
}

static int prefix_put(struct storage *s, const char *key, const void *data,
		      size_t len, struct error *err)
{
	char *full CLEANUP_FREE = NULL;
	int r = join(s, key, &full, err);

	return r < 0 ? r : storage_put(s->inner, full, data, len, err);
}

static int prefix_put_new(struct storage *s, const char *key, const void *data,
			  size_t len, struct error *err)
{
	char *full CLEANUP_FREE = NULL;
	int r = join(s, key, &full, err);

	return r < 0 ? r : storage_put_new(s->inner, full, data, len, err);
}

static int prefix_get(struct storage *s, const char *key, uint64_t off,
		      size_t max_len, struct buf *out, struct error *err)
{
	char *full CLEANUP_FREE = NULL;
	int r = join(s, key, &full, err);

	return r < 0 ? r : storage_get(s->inner, full, off, max_len, out, err);
}

static int prefix_stat(struct storage *s, const char *key,
		       struct storage_object *ret, struct error *err)
{
	char *full CLEANUP_FREE = NULL;
	int r = join(s, key, &full, err);

	return r < 0 ? r : storage_stat(s->inner, full, ret, err);
}

static int prefix_remove(struct storage *s, const char *key, struct error *err)
{
	char *full CLEANUP_FREE = NULL;
	int r = join(s, key, &full, err);

	return r < 0 ? r : storage_remove(s->inner, full, err);
}

static int strip(void *arg, const struct storage_object *object, struct error *err)
{
	const struct stripping *stripping = arg;
	struct storage_object stripped = *object;

	stripped.key += stripping->len;
	return stripping->fn(stripping->arg, &stripped, err);
}

static int prefix_list(struct storage *s, const char *prefix, const char *after,
		       storage_list_fn *fn, void *arg, struct error *err)
{
	char *full CLEANUP_FREE = NULL;
	char *full_after CLEANUP_FREE = NULL;
	struct stripping stripping = {
		.len = strlen(((struct storage_prefix *)s)->prefix),
		.fn = fn,
		.arg = arg,
	};
	int r = join(s, prefix, &full, err);

	if (r == 0 && after != NULL)
		r = join(s, after, &full_after, err);
	return r < 0 ? r : storage_list(s->inner, full, full_after, strip, &stripping, err);
}

static int prefix_list_folders(struct storage *s, const char *prefix,
			       storage_list_fn *fn, void *arg, struct error *err)
{
	char *full CLEANUP_FREE = NULL;
	struct stripping stripping = {
		.len = strlen(((struct storage_prefix *)s)->prefix),
		.fn = fn,
		.arg = arg,
	};
	int r = join(s, prefix, &full, err);

	return r < 0 ? r : storage_list_folders(s->inner, full, strip, &stripping, err);
}

static void prefix_free(struct storage *s)
{
	struct storage_prefix *prefix = (struct storage_prefix *)s;

	free(prefix->prefix);
	free(prefix);
}

static const struct storage_ops prefix_ops = {
	.put = prefix_put,
	.put_new = prefix_put_new,
	.get = prefix_get,
	.stat = prefix_stat,
	.list = prefix_list,
	.list_folders = prefix_list_folders,
	.remove = prefix_remove,
	.free = prefix_free,
};

/* The folder with '/' at its end, or "". NULL when out of memory. */
static char *make_prefix(const char *folder)
{
	size_t len = strlen(folder);
	char *prefix;

	while (len > 0 && folder[len - 1] == '/')
		len--;
	if (asprintf(&prefix, "%.*s%s", (int)len, folder, len > 0 ? "/" : "") < 0)
		return NULL;
	return prefix;
}

static char *make_url(const struct storage *inner, const char *prefix)
{
	size_t len = strlen(storage_url(inner));
	char *url;

	while (len > 0 && storage_url(inner)[len - 1] == '/')
		len--;
	if (asprintf(&url, "%.*s/%s", (int)len, storage_url(inner), prefix) < 0)
		return NULL;
	return url;
}

int storage_prefix_new(struct storage *inner, const char *prefix,
		       struct storage **ret, struct error *err)
{
	struct storage_prefix *s = calloc(1, sizeof(*s));
	char *full CLEANUP_FREE = make_prefix(prefix);
	char *url CLEANUP_FREE = full == NULL ? NULL : make_url(inner, full);
	int r;

	if (s == NULL || url == NULL) {
		free(s);
		return error_set(err, ENOMEM, "out of memory opening %s", prefix);
	}
	r = storage_check_prefix(full, err);
	if (r == 0)
		r = storage_init(&s->base, &prefix_ops, inner, url, err);
	if (r < 0) {
		free(s);
		return r;
	}
	s->prefix = TAKE(full);
	*ret = &s->base;
	return 0;
}
