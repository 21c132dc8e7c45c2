/* SPDX-License-Identifier: MIT */
#include "storage/storage_fault.h"
#include "base/hash.h"
#include "base/thread.h"
#include "storage/storage_backend.h"

#include <errno.h>

/* Invariant: all behind mutex is only touched under it; it is never held over a call. */
struct storage_fault {
	struct storage base;
	pthread_mutex_t mutex;
	struct storage_fault_options options;
	uint64_t n_seen;
	uint64_t n_failed;
};

/* What is to happen to one operation. */
enum verdict {
	PASS,
	FAIL, /* do nothing, fail */
	DO_AND_FAIL,
	PRETEND, /* do nothing, succeed */
	CUT,
};

/* A list, to be cut short or not. */
struct cutting {
	storage_list_fn *fn;
	void *arg;
	bool cut;
	bool was_cut;
};

static struct storage_fault *fault_of(struct storage *s)
{
	return (struct storage_fault *)s;
}

/* By the number alone, so that threads do not change what a seed means. */
static bool is_chosen(const struct storage_fault_options *options, uint64_t number)
{
	if (options->first != 0 && number >= options->first &&
	    number - options->first < MAX(options->count, UINT64_C(1)))
		return true;
	return hash64(&number, sizeof(number), options->seed) % 1000 < options->share;
}

static enum verdict judge_kind(enum storage_fault_kind kind, enum storage_fault_operation operation)
{
	const unsigned changes = STORAGE_FAULT_PUT | STORAGE_FAULT_PUT_NEW | STORAGE_FAULT_REMOVE;
	const unsigned cuttable = STORAGE_FAULT_GET | STORAGE_FAULT_LIST |
				  STORAGE_FAULT_LIST_FOLDERS;

	switch (kind) {
	case STORAGE_FAULT_LOSE_ANSWER:
		return DO_AND_FAIL;
	case STORAGE_FAULT_LOSE_EFFECT:
		return operation & changes ? PRETEND : FAIL;
	case STORAGE_FAULT_CUT_SHORT:
		return operation & cuttable ? CUT : FAIL;
	default:
		return FAIL;
	}
}

/* Counts an operation and says what is to happen to it; waits its delay. */
static enum verdict judge(struct storage *s, enum storage_fault_operation operation)
{
	struct storage_fault *fault = fault_of(s);
	enum verdict verdict = PASS;
	int64_t delay_ms = 0;

	pthread_mutex_lock(&fault->mutex);
	if (fault->options.operations == 0 || (fault->options.operations & operation) != 0) {
		fault->n_seen++;
		delay_ms = fault->options.delay_ms;
		if (is_chosen(&fault->options, fault->n_seen)) {
			fault->n_failed++;
			verdict = judge_kind(fault->options.kind, operation);
		}
	}
	pthread_mutex_unlock(&fault->mutex);
	storage_wait(s, delay_ms);
	return storage_is_stopped(s) ? FAIL : verdict;
}

/* The failure that was asked for, or the stop that ended the delay. */
static int fail(struct storage *s, const char *what, struct error *err)
{
	struct storage_fault *fault = fault_of(s);
	int code;

	if (storage_is_stopped(s))
		return storage_set_stopped(s, err);
	pthread_mutex_lock(&fault->mutex);
	code = fault->options.code;
	pthread_mutex_unlock(&fault->mutex);
	return error_set_errno(err, code, "cannot %s in the backend %s (as the test wants)",
			       what, s->url);
}

/* The result of a change: r is what inner said, if it was asked. */
static int conclude(struct storage *s, enum verdict verdict, int r,
		    const char *what, struct error *err)
{
	if (verdict == PASS || r < 0 || verdict == PRETEND)
		return r;
	return fail(s, what, err);
}

static bool is_done(enum verdict verdict)
{
	return verdict == PASS || verdict == DO_AND_FAIL;
}

static int fault_put(struct storage *s, const char *key, const void *data,
		     size_t len, struct error *err)
{
	enum verdict verdict = judge(s, STORAGE_FAULT_PUT);
	int r = is_done(verdict) ? storage_put(s->inner, key, data, len, err) : 0;

	return conclude(s, verdict, r, "put", err);
}

static int fault_put_new(struct storage *s, const char *key, const void *data,
			 size_t len, struct error *err)
{
	enum verdict verdict = judge(s, STORAGE_FAULT_PUT_NEW);
	int r = is_done(verdict) ? storage_put_new(s->inner, key, data, len, err) : 0;

	return conclude(s, verdict, r, "put a new object", err);
}

static int fault_remove(struct storage *s, const char *key, struct error *err)
{
	enum verdict verdict = judge(s, STORAGE_FAULT_REMOVE);
	int r = is_done(verdict) ? storage_remove(s->inner, key, err) : 0;

	return conclude(s, verdict, r, "remove", err);
}

static int fault_stat(struct storage *s, const char *key,
		      struct storage_object *ret, struct error *err)
{
	enum verdict verdict = judge(s, STORAGE_FAULT_STAT);

	return verdict == PASS ? storage_stat(s->inner, key, ret, err) :
				 fail(s, "stat", err);
}

static int fault_get(struct storage *s, const char *key, uint64_t off,
		     size_t max_len, struct buf *out, struct error *err)
{
	enum verdict verdict = judge(s, STORAGE_FAULT_GET);
	size_t len = out->len;
	int r;

	if (verdict != PASS && verdict != CUT)
		return fail(s, "get", err);
	r = storage_get(s->inner, key, off, max_len, out, err);
	if (r == 0 && verdict == CUT)
		out->len -= (out->len - len + 1) / 2;
	return r;
}

static int pass_or_cut(void *arg, const struct storage_object *object, struct error *err)
{
	struct cutting *cutting = arg;
	int r = cutting->fn(cutting->arg, object, err);

	if (r == 0 && cutting->cut)
		cutting->was_cut = true;
	return cutting->was_cut ? 1 : r;
}

static int fault_list(struct storage *s, const char *prefix, const char *after,
		      storage_list_fn *fn, void *arg, struct error *err)
{
	enum verdict verdict = judge(s, STORAGE_FAULT_LIST);
	struct cutting cutting = { .fn = fn, .arg = arg, .cut = verdict == CUT };
	int r;

	if (verdict == FAIL)
		return fail(s, "list", err);
	r = storage_list(s->inner, prefix, after, pass_or_cut, &cutting, err);
	return conclude(s, verdict, r, "list", err);
}

static int fault_list_folders(struct storage *s, const char *prefix,
			      storage_list_fn *fn, void *arg, struct error *err)
{
	enum verdict verdict = judge(s, STORAGE_FAULT_LIST_FOLDERS);
	struct cutting cutting = { .fn = fn, .arg = arg, .cut = verdict == CUT };
	int r;

	if (verdict == FAIL)
		return fail(s, "list folders", err);
	r = storage_list_folders(s->inner, prefix, pass_or_cut, &cutting, err);
	return conclude(s, verdict, r, "list folders", err);
}

static void fault_free(struct storage *s)
{
	pthread_mutex_destroy(&fault_of(s)->mutex);
	free(s);
}

static const struct storage_ops fault_ops = {
	.put = fault_put,
	.put_new = fault_put_new,
	.get = fault_get,
	.stat = fault_stat,
	.list = fault_list,
	.list_folders = fault_list_folders,
	.remove = fault_remove,
	.free = fault_free,
};

int storage_fault_new(struct storage *inner, const struct storage_fault_options *options,
		      struct storage **ret, struct error *err)
{
	struct storage_fault *fault = calloc(1, sizeof(*fault));
	int r;

	if (fault == NULL)
		return error_set(err, ENOMEM, "out of memory opening %s",
				 storage_url(inner));
	r = storage_init(&fault->base, &fault_ops, inner, storage_url(inner), err);
	if (r < 0) {
		free(fault);
		return r;
	}
	pthread_mutex_init(&fault->mutex, NULL);
	fault->options = *options;
	*ret = &fault->base;
	return 0;
}

void storage_fault_set(struct storage *s, const struct storage_fault_options *options)
{
	struct storage_fault *fault = fault_of(s);
	LOCK_SCOPE(&fault->mutex);

	fault->options = *options;
	fault->n_seen = 0;
	fault->n_failed = 0;
}

uint64_t storage_fault_n_seen(struct storage *s)
{
	LOCK_SCOPE(&fault_of(s)->mutex);

	return fault_of(s)->n_seen;
}

uint64_t storage_fault_n_failed(struct storage *s)
{
	LOCK_SCOPE(&fault_of(s)->mutex);

	return fault_of(s)->n_failed;
}
