/* SPDX-License-Identifier: MIT */
#ifndef APP_BACKENDS_H
#define APP_BACKENDS_H

#include "app/config.h"
#include "replicate/catalog.h"

/*
 * The backends of a mount: for each one in the configuration a storage, with its
 * wrappers, and the uploader that ships to it.
 *
 * Owned by the daemon. After backends_start() every function may be called from
 * any thread.
 */
struct backends;
struct json_t;

/*
 * Opens the storage of every backend of config. A missing folder, a bad URL, or a
 * backend that is empty though state_fd says that we stored there is an error
 * here, at the mount. config must outlive the backends. 0 or -errno.
 */
int backends_open(const struct config *config, int state_fd, struct backends **ret_backends,
		  struct error *err) MUST_CHECK;

/* Starts shipping the catalog's databases; cursors are kept in state_fd. 0 or -errno. */
int backends_start(struct backends *backends, struct catalog *catalog, int state_fd,
		   const struct id *node_id, struct error *err) MUST_CHECK;

/* The log of a database has grown. Does not block. */
void backends_ring(struct backends *backends);

/* The oldest TXID of db that a backend still needs; UINT64_MAX = none. */
uint64_t backends_needed(struct backends *backends, struct database *db);

/* Ships what is there, for at most timeout_ms, then stops. Blocks for that. */
void backends_drain(struct backends *backends, int64_t timeout_ms);

/* Stops and frees. NULL is fine. */
void backends_close(struct backends *backends);

/* An array with an object for each backend, and one with an entry of db for each. */
struct json_t *backends_json(struct backends *backends);
struct json_t *backends_database_json(struct backends *backends, struct database *db);

#endif
