/* SPDX-License-Identifier: MIT */
/*
 * The core: checks what goes into a backend and what comes out of a list, and
 * fills in what a backend leaves out.
 */
#include "base/clock.h"
#include "storage/storage_backend.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

/* One storage_list() or storage_list_folders() under way. */
struct listing {
	struct storage *s;
	const char *prefix;
	const char *after; /* may be NULL */
	bool folders;
	storage_list_fn *fn;
	void *arg;
	struct buf last; /* the key passed on last, with its terminator */
	bool ended; /* fn wants no more: whatever fails now does not matter */
};

static void listing_done(struct listing *listing)
{
	buf_done(&listing->last);
}

int storage_init(struct storage *s, const struct storage_ops *ops,
		 struct storage *inner, const char *url, struct error *err)
{
	memset(s, 0, sizeof(*s));
	s->url = strdup(url);
	if (s->url == NULL)
		return error_set(err, ENOMEM, "out of memory opening the backend %s", url);
	s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->stop_fd < 0) {
		int code = errno;

		free(TAKE(s->url));
		return error_set_errno(err, code, "cannot open the backend %s", url);
	}
	s->ops = ops;
	s->inner = inner;
	return 0;
}

void storage_free(struct storage *s)
{
	struct storage *inner;

	if (s == NULL)
		return;
	inner = s->inner;
	close(s->stop_fd);
	free(s->url);
	s->ops->free(s);
	storage_free(inner);
}

void storage_stop(struct storage *s)
{
	static const uint64_t one = 1;

	for (; s != NULL; s = s->inner) {
		atomic_store(&s->stopped, true);
		/* The only failure is a counter that is full, and readable for that. */
		if (write(s->stop_fd, &one, sizeof(one)) < 0)
			continue;
	}
}

bool storage_is_stopped(const struct storage *s)
{
	return atomic_load(&s->stopped);
}

int storage_set_stopped(const struct storage *s, struct error *err)
{
	return error_set(err, ECANCELED, "the work on the backend %s was stopped", s->url);
}

void storage_wait(struct storage *s, int64_t ms)
{
	int64_t end_ms = clock_mono_ms() + ms;
	int64_t left_ms = ms;

	while (left_ms > 0 && !storage_is_stopped(s)) {
		struct pollfd stop = { .fd = s->stop_fd, .events = POLLIN };

		if (poll(&stop, 1, (int)MIN(left_ms, INT32_MAX)) < 0 && errno != EINTR)
			return;
		left_ms = end_ms - clock_mono_ms();
	}
}

const char *storage_url(const struct storage *s)
{
	return s->url;
}

bool storage_can(const struct storage *s, enum storage_capability what)
{
	if (s->ops->can != NULL)
		return s->ops->can(s, what);
	return s->inner != NULL && storage_can(s->inner, what);
}

static int check_call(const struct storage *s, const char *key, struct error *err)
{
	if (storage_is_stopped(s))
		return storage_set_stopped(s, err);
	return storage_check_key(key, err);
}

int storage_put(struct storage *s, const char *key, const void *data,
		size_t len, struct error *err)
{
	int r = check_call(s, key, err);

	if (r < 0)
		return r;
	if (s->ops->put == NULL)
		return storage_put(s->inner, key, data, len, err);
	return s->ops->put(s, key, data, len, err);
}

int storage_put_new(struct storage *s, const char *key, const void *data,
		    size_t len, struct error *err)
{
	struct storage_object there;
	int r = check_call(s, key, err);

	if (r < 0)
		return r;
	if (s->ops->put_new != NULL)
		return s->ops->put_new(s, key, data, len, err);
	if (s->inner != NULL)
		return storage_put_new(s->inner, key, data, len, err);
	r = storage_stat(s, key, &there, err);
	if (r != 1)
		return r < 0 ? r : 1;
	return storage_put(s, key, data, len, err);
}

int storage_get(struct storage *s, const char *key, uint64_t off,
		size_t max_len, struct buf *out, struct error *err)
{
	size_t len = out->len;
	int r = check_call(s, key, err);

	if (r < 0)
		return r;
	if (s->ops->get == NULL)
		return storage_get(s->inner, key, off, max_len, out, err);
	r = s->ops->get(s, key, off, max_len, out, err);
	if (r != 0)
		out->len = len;
	return r;
}

int storage_stat(struct storage *s, const char *key, struct storage_object *ret,
		 struct error *err)
{
	int r = check_call(s, key, err);

	if (r < 0)
		return r;
	if (s->ops->stat == NULL)
		return storage_stat(s->inner, key, ret, err);
	r = s->ops->stat(s, key, ret, err);
	ret->key = key;
	return r;
}

int storage_remove(struct storage *s, const char *key, struct error *err)
{
	int r = check_call(s, key, err);

	if (r < 0)
		return r;
	if (s->ops->remove == NULL)
		return storage_remove(s->inner, key, err);
	return s->ops->remove(s, key, err);
}

/* Whether the caller of the list asked for key, which came from outside. */
static bool is_wanted(const struct listing *listing, const char *key)
{
	size_t prefix_len = strlen(listing->prefix);
	size_t len = strlen(key);

	if (strncmp(key, listing->prefix, prefix_len) != 0)
		return false;
	if (listing->after != NULL && strcmp(key, listing->after) <= 0)
		return false;
	if (!listing->folders)
		return storage_check_key(key, NULL) == 0;
	return storage_check_prefix(key, NULL) == 0 && len > prefix_len &&
	       strchr(key + prefix_len, '/') == key + len - 1;
}

/* Stands between a backend's list and the caller's fn. */
static int pass_on(void *arg, const struct storage_object *object, struct error *err)
{
	struct listing *listing = arg;
	int order = 1;
	int r;

	if (storage_is_stopped(listing->s))
		return storage_set_stopped(listing->s, err);
	if (!is_wanted(listing, object->key))
		return 0;
	if (listing->last.len != 0)
		order = strcmp(object->key, (const char *)listing->last.data);
	if (order == 0)
		return 0;
	if (order < 0)
		return error_set(err, EBADMSG, "the backend %s lists %s behind %s",
				 listing->s->url, object->key,
				 (const char *)listing->last.data);
	buf_reset(&listing->last);
	if (buf_append(&listing->last, object->key, strlen(object->key) + 1) < 0)
		return error_set(err, ENOMEM, "out of memory listing %s",
				 listing->s->url);
	r = listing->fn(listing->arg, object, err);
	listing->ended = r > 0;
	return r;
}

/* The result of a list for its caller, from that of the backend. */
static int finish(const struct listing *listing, int r, struct error *err)
{
	if (listing->ended && r < 0)
		error_done(err);
	return listing->ended || r >= 0 ? 0 : r;
}

static int check_list(const struct storage *s, const char *prefix,
		      const char *after, struct error *err)
{
	if (storage_is_stopped(s))
		return storage_set_stopped(s, err);
	if (after != NULL && strlen(after) > STORAGE_KEY_MAX)
		return error_set(err, ENAMETOOLONG, "the key to list from is longer than %d bytes",
				 STORAGE_KEY_MAX);
	return storage_check_prefix(prefix, err);
}

int storage_list(struct storage *s, const char *prefix, const char *after,
		 storage_list_fn *fn, void *arg, struct error *err)
{
	struct listing listing CLEANUP(listing_done) = {
		.s = s,
		.prefix = prefix,
		.after = after,
		.fn = fn,
		.arg = arg,
	};
	int r = check_list(s, prefix, after, err);

	if (r < 0)
		return r;
	if (s->ops->list == NULL)
		return storage_list(s->inner, prefix, after, fn, arg, err);
	return finish(&listing, s->ops->list(s, prefix, after, pass_on, &listing, err), err);
}

/* Looks for the next folder in a list of keys. */
struct skip {
	const char *prefix;
	struct buf folder; /* with its terminator; empty = none found */
};

static void skip_done(struct skip *skip)
{
	buf_done(&skip->folder);
}

static int take_folder(void *arg, const struct storage_object *object, struct error *err)
{
	struct skip *skip = arg;
	const char *slash = strchr(object->key + strlen(skip->prefix), '/');

	if (slash == NULL)
		return 0;
	if (buf_append(&skip->folder, object->key, (size_t)(slash + 1 - object->key)) < 0 ||
	    buf_append(&skip->folder, "", 1) < 0)
		return error_set(err, ENOMEM, "out of memory listing folders");
	return 1;
}

/*
 * The folders by way of list: after "a/" was found, the next key that is not in
 * it sorts behind "a0", since '0' follows '/'. (The key "a0" itself is passed
 * over, and is no folder.)
 */
static int list_folders_by_list(struct storage *s, const char *prefix,
				storage_list_fn *fn, void *arg, struct error *err)
{
	struct skip skip CLEANUP(skip_done) = { .prefix = prefix };
	char *after CLEANUP_FREE = NULL;
	int r;

	for (;;) {
		buf_reset(&skip.folder);
		r = storage_list(s, prefix, after, take_folder, &skip, err);
		if (r < 0 || skip.folder.len == 0)
			return r;
		r = fn(arg, &(struct storage_object){ .key = (char *)skip.folder.data }, err);
		if (r != 0)
			return r;
		skip.folder.data[skip.folder.len - 2] = '/' + 1;
		free(after);
		after = strdup((char *)skip.folder.data);
		if (after == NULL)
			return error_set(err, ENOMEM, "out of memory listing folders");
	}
}

int storage_list_folders(struct storage *s, const char *prefix,
			 storage_list_fn *fn, void *arg, struct error *err)
{
	struct listing listing CLEANUP(listing_done) = {
		.s = s,
		.prefix = prefix,
		.folders = true,
		.fn = fn,
		.arg = arg,
	};
	int r = check_list(s, prefix, NULL, err);

	if (r < 0)
		return r;
	if (s->ops->list_folders == NULL && s->inner != NULL)
		return storage_list_folders(s->inner, prefix, fn, arg, err);
	if (s->ops->list_folders != NULL)
		r = s->ops->list_folders(s, prefix, pass_on, &listing, err);
	else
		r = list_folders_by_list(s, prefix, pass_on, &listing, err);
	return finish(&listing, r, err);
}

bool storage_is_transient(int code)
{
	switch (code) {
	case EAGAIN:
	case EBUSY:
	case EINTR:
	case EIO:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case EPROTO:
	case EPIPE:
	case ESTALE:
	case ETIMEDOUT:
	case ECONNABORTED:
	case ECONNREFUSED:
	case ECONNRESET:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ENETDOWN:
	case ENETRESET:
	case ENETUNREACH:
	case ENOLINK:
	case ENOTCONN:
	case EREMOTEIO:
		return true;
	default:
		return false;
	}
}
