/* SPDX-License-Identifier: MIT */
#ifndef STORAGE_STORAGE_H
#define STORAGE_STORAGE_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * A backend: a place backups go to. It has the contract of an object store,
 * whatever it is made of: whole objects under keys, no append, no rename.
 * A wrapper (prefix, retry, fault) is stacked on a backend, or on another
 * wrapper, and has the same interface.
 *
 * Keys: '/'-separated components of 1 to 255 bytes, 1024 bytes in all, in valid
 * UTF-8 without control characters. No component is "." or "..", or a name that
 * backends keep for themselves (".replitedfs-backend", ".replitedfs-tmp"). The
 * rules are the same for every backend, so that a backup can move between them.
 * No key may be a folder of another ("a" and "a/b"): a backend may refuse the
 * second with -ENOTDIR or -EISDIR. There are no folders as such: "a/" is there
 * while there is a key that begins with it.
 *
 * Every operation blocks, may be called from several threads at once, holds no
 * lock while it calls the caller, and borrows its arguments for the call only.
 * Results: 0, a documented 1, or -errno with err set (err may be NULL). Beyond
 * what each operation says: -EINVAL and -ENAMETOOLONG for a bad key,
 * -ECANCELED after storage_stop(), and what storage_is_transient() tells apart.
 *
 * A change is seen by every later operation of anyone, all at once: a reader
 * never meets half an object. When it has returned 0 it also survives a power
 * loss. When it failed it may or may not have happened, as a whole.
 */
struct storage;

#define STORAGE_KEY_MAX 1024
#define STORAGE_COMPONENT_MAX 255

struct storage_object {
	const char *key;
	uint64_t size;	     /* bytes */
	int64_t modified_us; /* when it was put, by the backend's clock; since 1970 */
};

/* Gets one object of a list. 0 goes on, 1 ends the list, <0 fails it with err. */
typedef int storage_list_fn(void *arg, const struct storage_object *object,
			    struct error *err);

enum storage_capability {
	STORAGE_CAN_PUT_NEW, /* storage_put_new() is atomic among all writers */
};

/*
 * Opens the backend that url names: "file:///path" (percent-encoded), or a path,
 * taken from the working directory of this moment; storage_fs.h has more. create
 * (for one who writes): makes the backend where there is none; otherwise that is
 * -ENOENT. -EPROTONOSUPPORT: a scheme this build does not know. The caller owns *ret.
 */
int storage_open(const char *url, bool create, struct storage **ret, struct error *err) MUST_CHECK;

/* Frees s and, of a wrapper, what it wraps. NULL is fine. No call may be in progress. */
void storage_free(struct storage *s);
static inline void storage_cleanup(struct storage **s)
{
	storage_free(*s);
}
#define CLEANUP_STORAGE CLEANUP(storage_cleanup)

/* Makes the object, or replaces it, by exactly the len bytes of data. */
int storage_put(struct storage *s, const char *key, const void *data,
		size_t len, struct error *err) MUST_CHECK;

/*
 * As storage_put() when there is no object of that key; 1 = there is one, left
 * untouched. Of several callers at once exactly one gets 0, if storage_can(s,
 * STORAGE_CAN_PUT_NEW); else the check comes before the put and both may win.
 * Through the retry wrapper, 0 may also mean that an object with the very same
 * bytes is there: who competes for a key puts something of his own into it.
 */
int storage_put_new(struct storage *s, const char *key, const void *data,
		    size_t len, struct error *err) MUST_CHECK;

/*
 * Appends to out what exists of the bytes [off, off + max_len) of the object,
 * all of one version; maybe none. 1 = no such object. out is as it was unless 0
 * is returned.
 */
int storage_get(struct storage *s, const char *key, uint64_t off,
		size_t max_len, struct buf *out, struct error *err) MUST_CHECK;

/* Fills *ret, with key itself as ret->key. 1 = no such object. */
int storage_stat(struct storage *s, const char *key, struct storage_object *ret,
		 struct error *err) MUST_CHECK;

/*
 * Calls fn for every key that begins with prefix ("" = all; a last component
 * may be incomplete) and sorts behind after (NULL = all; any text up to
 * STORAGE_KEY_MAX bytes), in ascending order of the bytes of the whole key. An
 * object that is neither put nor removed during the call is listed exactly
 * once; others once or not at all. fn may use s. What is in the backend under
 * a name that is no key is left out.
 */
int storage_list(struct storage *s, const char *prefix, const char *after,
		 storage_list_fn *fn, void *arg, struct error *err) MUST_CHECK;

/*
 * Calls fn once for each folder directly below prefix, ascending: for every
 * distinct beginning, up to and with the first '/' behind prefix, of the keys
 * that begin with prefix. object->key is that whole beginning, prefix included
 * ("dbs/" has "dbs/a/", "dbs/b/"): good as the prefix of a storage_list();
 * size and time are 0.
 */
int storage_list_folders(struct storage *s, const char *prefix, storage_list_fn *fn,
			 void *arg, struct error *err) MUST_CHECK;

/* Removes the object; 0 also when there is none. */
int storage_remove(struct storage *s, const char *key, struct error *err) MUST_CHECK;

bool storage_can(const struct storage *s, enum storage_capability what);

/* Names s in messages, without secrets. Belongs to s. */
const char *storage_url(const struct storage *s);

/*
 * For a shutdown, from any thread or signal handler: whatever waits in s or
 * below returns -ECANCELED at once, and so does every later operation. A
 * transfer that is under way may still complete.
 */
void storage_stop(struct storage *s);

/*
 * Whether an operation that returned -code may succeed when it is tried again
 * shortly. True for trouble of the network, of a busy server, of the moment and
 * of a disk (EIO; every put writes anew). False for what somebody has to change
 * first: a bad request, permissions, no space, a disk or folder that is not
 * there (ENOENT, ENOMEDIUM, EMEDIUMTYPE), damage (EBADMSG), a stop (ECANCELED).
 * A backend translates its own codes: "busy", "slow down" and a server's own
 * failure are EAGAIN, a refused key or token is EACCES.
 */
bool storage_is_transient(int code);

/* Checks key by the rules above. 0, -EINVAL or -ENAMETOOLONG. */
int storage_check_key(const char *key, struct error *err) MUST_CHECK;

/* The same for the beginning of keys. */
int storage_check_prefix(const char *prefix, struct error *err) MUST_CHECK;

#endif
