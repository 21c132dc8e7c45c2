/* SPDX-License-Identifier: MIT */
#include "storage/storage_retry.h"
#include "base/clock.h"
#include "base/id.h"
#include "storage/storage_backend.h"

#include <errno.h>
#include <string.h>

/* Never changes after storage_retry_new(). */
struct storage_retry {
	struct storage base;
	struct storage_retry_options options; /* without zeros, but for the real world */
};

/* An operation with its arguments, of which each kind uses some. */
struct call {
	int (*attempt)(struct storage *inner, struct call *call, struct error *err);
	const char *key; /* or prefix */
	const void *data;
	size_t len;
	uint64_t off;
	struct buf *out;
	struct storage_object *ret;
	const char *after;
	storage_list_fn *fn;
	void *arg;

	unsigned n_failed; /* attempts since the last progress */
	int64_t start_ms;  /* of the first of these */
	bool progressed;   /* a list has passed something on in this attempt */
	bool is_final;	   /* fn failed, or what it got is not known any more */
	struct buf last; /* what it was, with its terminator; empty = nothing yet */
};

static void call_done(struct call *call)
{
	buf_done(&call->last);
}

static int64_t now_ms(const struct storage_retry *retry)
{
	const struct storage_retry_world *world = retry->options.world;

	return world != NULL ? world->now_ms(world->arg) : clock_mono_ms();
}

static uint64_t draw(const struct storage_retry *retry)
{
	const struct storage_retry_world *world = retry->options.world;
	uint64_t bits = 0;

	if (world != NULL)
		return world->random(world->arg);
	/* Without random numbers the delays are only the same for everyone. */
	return id_random_u64(&bits, NULL) < 0 ? 0 : bits;
}

/* How long to wait after n_failed attempts. */
static int64_t choose_delay(const struct storage_retry *retry, unsigned n_failed)
{
	const struct storage_retry_options *options = &retry->options;
	int64_t delay_ms = MIN(options->first_delay_ms, options->max_delay_ms);

	for (unsigned i = 1; i < n_failed && delay_ms < options->max_delay_ms; i++)
		delay_ms = MIN(2 * delay_ms, options->max_delay_ms);
	return delay_ms / 2 + (int64_t)(draw(retry) % (uint64_t)(delay_ms / 2 + 1));
}

/* Waits before the next attempt; false when there must be none. */
static bool wait_for_next(struct storage_retry *retry, const struct call *call)
{
	const struct storage_retry_world *world = retry->options.world;
	int64_t left_ms = call->start_ms + retry->options.deadline_ms - now_ms(retry);
	int64_t delay_ms;

	if (call->n_failed >= retry->options.max_attempts || left_ms <= 0)
		return false;
	delay_ms = MIN(choose_delay(retry, call->n_failed), left_ms);
	if (world != NULL)
		world->wait(world->arg, delay_ms);
	else
		storage_wait(&retry->base, delay_ms);
	return true;
}

static int run(struct storage *s, struct call *call, struct error *err)
{
	struct storage_retry *retry = (struct storage_retry *)s;
	int r;

	call->start_ms = now_ms(retry);
	for (;;) {
		call->progressed = false;
		r = call->attempt(s->inner, call, err);
		if (r >= 0 || call->is_final || !storage_is_transient(-r))
			return r;
		if (call->progressed) {
			call->n_failed = 0;
			call->start_ms = now_ms(retry);
		}
		call->n_failed++;
		if (!storage_is_stopped(s) && !wait_for_next(retry, call))
			break;
		if (storage_is_stopped(s))
			return storage_set_stopped(s, err);
	}
	if (call->n_failed > 1)
		error_wrap(err, "tried %u times", call->n_failed);
	return r;
}

static int attempt_put(struct storage *inner, struct call *call, struct error *err)
{
	return storage_put(inner, call->key, call->data, call->len, err);
}

static int retry_put(struct storage *s, const char *key, const void *data,
		     size_t len, struct error *err)
{
	struct call call = { .attempt = attempt_put, .key = key, .data = data, .len = len };

	return run(s, &call, err);
}

/* Whether the object that is there has the bytes of call: 0, or 1 = others. */
static int compare_object(struct storage *inner, const struct call *call, struct error *err)
{
	struct buf there CLEANUP_BUF = { 0 };
	struct storage_object object;
	int r = storage_stat(inner, call->key, &object, err);

	if (r == 0 && object.size != call->len)
		return 1;
	if (r == 0)
		r = storage_get(inner, call->key, 0, call->len, &there, err);
	if (r == 1)
		return error_set(err, EAGAIN, "cannot put %s: such an object comes and goes",
				 call->key);
	if (r < 0)
		return r;
	if (there.len != call->len)
		return 1;
	return call->len == 0 || memcmp(there.data, call->data, call->len) == 0 ? 0 : 1;
}

static int attempt_put_new(struct storage *inner, struct call *call, struct error *err)
{
	int r = storage_put_new(inner, call->key, call->data, call->len, err);

	if (r == 1 && call->n_failed > 0)
		return compare_object(inner, call, err);
	return r;
}

static int retry_put_new(struct storage *s, const char *key, const void *data,
			 size_t len, struct error *err)
{
	struct call call = { .attempt = attempt_put_new, .key = key, .data = data, .len = len };

	return run(s, &call, err);
}

static int attempt_get(struct storage *inner, struct call *call, struct error *err)
{
	return storage_get(inner, call->key, call->off, call->len, call->out, err);
}

static int retry_get(struct storage *s, const char *key, uint64_t off,
		     size_t max_len, struct buf *out, struct error *err)
{
	struct call call = {
		.attempt = attempt_get,
		.key = key,
		.off = off,
		.len = max_len,
		.out = out,
	};

	return run(s, &call, err);
}

static int attempt_stat(struct storage *inner, struct call *call, struct error *err)
{
	return storage_stat(inner, call->key, call->ret, err);
}

static int retry_stat(struct storage *s, const char *key,
		      struct storage_object *ret, struct error *err)
{
	struct call call = { .attempt = attempt_stat, .key = key, .ret = ret };

	return run(s, &call, err);
}

static int attempt_remove(struct storage *inner, struct call *call, struct error *err)
{
	return storage_remove(inner, call->key, err);
}

static int retry_remove(struct storage *s, const char *key, struct error *err)
{
	struct call call = { .attempt = attempt_remove, .key = key };

	return run(s, &call, err);
}

static const char *last_listed(const struct call *call)
{
	return call->last.len != 0 ? (const char *)call->last.data : NULL;
}

/* Passes an object on, once over all attempts, and remembers it. */
static int pass_on(void *arg, const struct storage_object *object, struct error *err)
{
	struct call *call = arg;
	const char *last = last_listed(call);
	int r;

	if (last != NULL && strcmp(object->key, last) <= 0)
		return 0;
	buf_reset(&call->last);
	call->is_final = true;
	if (buf_append(&call->last, object->key, strlen(object->key) + 1) < 0)
		return error_set(err, ENOMEM, "out of memory listing %s", call->key);
	call->progressed = true;
	r = call->fn(call->arg, object, err);
	call->is_final = r < 0;
	return r;
}

static int attempt_list(struct storage *inner, struct call *call, struct error *err)
{
	char *after CLEANUP_FREE = NULL;

	if (last_listed(call) == NULL)
		return storage_list(inner, call->key, call->after, pass_on, call, err);
	/* A copy: what is listed next takes its place. */
	after = strdup(last_listed(call));
	if (after == NULL)
		return error_set(err, ENOMEM, "out of memory listing %s", call->key);
	return storage_list(inner, call->key, after, pass_on, call, err);
}

static int retry_list(struct storage *s, const char *prefix, const char *after,
		      storage_list_fn *fn, void *arg, struct error *err)
{
	struct call call CLEANUP(call_done) = {
		.attempt = attempt_list,
		.key = prefix,
		.after = after,
		.fn = fn,
		.arg = arg,
	};

	return run(s, &call, err);
}

static int attempt_list_folders(struct storage *inner, struct call *call, struct error *err)
{
	return storage_list_folders(inner, call->key, pass_on, call, err);
}

static int retry_list_folders(struct storage *s, const char *prefix,
			      storage_list_fn *fn, void *arg, struct error *err)
{
	struct call call CLEANUP(call_done) = {
		.attempt = attempt_list_folders,
		.key = prefix,
		.fn = fn,
		.arg = arg,
	};

	return run(s, &call, err);
}

static void retry_free(struct storage *s)
{
	free(s);
}

static const struct storage_ops retry_ops = {
	.put = retry_put,
	.put_new = retry_put_new,
	.get = retry_get,
	.stat = retry_stat,
	.list = retry_list,
	.list_folders = retry_list_folders,
	.remove = retry_remove,
	.free = retry_free,
};

static void fill_in(struct storage_retry_options *options)
{
	if (options->max_attempts == 0)
		options->max_attempts = 6;
	if (options->first_delay_ms == 0)
		options->first_delay_ms = 200;
	if (options->max_delay_ms == 0)
		options->max_delay_ms = 10000;
	if (options->deadline_ms == 0)
		options->deadline_ms = 60000;
}

int storage_retry_new(struct storage *inner, const struct storage_retry_options *options,
		      struct storage **ret, struct error *err)
{
	struct storage_retry *retry = calloc(1, sizeof(*retry));
	int r;

	if (retry == NULL)
		return error_set(err, ENOMEM, "out of memory opening %s",
				 storage_url(inner));
	retry->options = *options;
	fill_in(&retry->options);
	r = storage_init(&retry->base, &retry_ops, inner, storage_url(inner), err);
	if (r < 0) {
		free(retry);
		return r;
	}
	*ret = &retry->base;
	return 0;
}
