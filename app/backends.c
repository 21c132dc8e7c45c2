/* SPDX-License-Identifier: MIT */
#include "app/backends.h"

#include "base/clock.h"
#include "base/log.h"
#include "replicate/uploader.h"
#include "storage/storage.h"
#include "storage/storage_retry.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <sys/utsname.h>
#include <sysexits.h>

/* Attempts of one operation; a backend that stays down is the uploader's to wait for. */
#define ATTEMPTS 3

struct backend {
	const struct config_backend *config; /* not owned */
	struct storage *storage;
	struct uploader *uploader; /* NULL before the start */
};

struct backends {
	struct backend *items;
	size_t n;
};

/* Whether databases were shipped to a backend of that name before. */
static bool used_before(int state_fd, const char *name)
{
	char *path CLEANUP_FREE = NULL;
	DIR *dir = NULL;
	struct dirent *item;
	bool used = false;
	int fd;

	if (asprintf(&path, "backend/%s", name) < 0) {
		path = NULL;
		return false;
	}
	fd = openat(state_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	while (dir != NULL && !used && (item = readdir(dir)) != NULL)
		used = item->d_name[0] != '.';
	if (dir != NULL)
		closedir(dir);
	else if (fd >= 0)
		close(fd);
	return used;
}

static int note_any(void *arg, const struct storage_object *object, struct error *err)
{
	*(bool *)arg = true;
	return 1;
}

/*
 * A backend that we have stored in and that is empty now is most likely the bare
 * mountpoint of a disk that is not there: better not to fill that.
 */
static int check_not_emptied(const struct backend *backend, struct storage *storage, int state_fd,
			     struct error *err)
{
	bool any = false;
	int r = storage_list_folders(storage, "", note_any, &any, err);

	if (r < 0 || any || !used_before(state_fd, backend->config->name))
		return r;
	error_set(err, ENOMEDIUM, "%s is empty, though databases were stored there",
		  storage_url(storage));
	error_why(err, "perhaps its disk is not mounted");
	error_fix(err, "mount it; or, to begin anew, remove backend/%s in the state folder",
		  backend->config->name);
	return error_exit(err, EX_UNAVAILABLE);
}

/* A folder that is missing is an error; one that is there becomes a backend. */
static int open_storage(const struct backend *backend, int state_fd, struct storage **ret_storage,
			struct error *err)
{
	struct storage *storage = NULL;
	int r = storage_open(backend->config->url, false, &storage, err);

	if (r == 0)
		r = check_not_emptied(backend, storage, state_fd, err);
	storage_free(storage);
	return r < 0 ? r : storage_open(backend->config->url, true, ret_storage, err);
}

static int open_one(struct backend *backend, int state_fd, struct error *err)
{
	struct storage_retry_options options = {
		.max_attempts = ATTEMPTS,
		.max_delay_ms = backend->config->retry_max_ms,
	};
	struct storage *inner;
	int r = open_storage(backend, state_fd, &inner, err);

	if (r < 0)
		return error_wrap(err, "backend %s", backend->config->name);
	r = storage_retry_new(inner, &options, &backend->storage, err);
	if (r < 0)
		storage_free(inner);
	return r;
}

int backends_open(const struct config *config, int state_fd, struct backends **ret_backends,
		  struct error *err)
{
	struct backends *backends = calloc(1, sizeof(*backends));
	int r = 0;

	if (backends == NULL)
		return error_set(err, ENOMEM, "out of memory");
	backends->items = calloc(config->n_backends + 1, sizeof(*backends->items));
	if (backends->items == NULL)
		r = error_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; r == 0 && i < config->n_backends; i++) {
		backends->items[i].config = &config->backends[i];
		r = open_one(&backends->items[i], state_fd, err);
		backends->n += r == 0;
	}
	if (r < 0) {
		backends_close(backends);
		return r;
	}
	*ret_backends = backends;
	return 0;
}

static bool wanted(void *arg, const char *name)
{
	const struct backend *backend = arg;

	return config_backend_takes(backend->config, name);
}

int backends_start(struct backends *backends, struct catalog *catalog, int state_fd,
		   const struct id *node_id, struct error *err)
{
	struct utsname system = { 0 };

	uname(&system);
	for (size_t i = 0; i < backends->n; i++) {
		struct backend *backend = &backends->items[i];
		struct uploader_options options = {
			.name = backend->config->name,
			.storage = backend->storage,
			.catalog = catalog,
			.state_fd = state_fd,
			.node_id = *node_id,
			.host = system.nodename,
			.sync_interval_ms = backend->config->sync_interval_ms,
			.snapshot_interval_ms = backend->config->snapshot_interval_ms,
			.retry_max_ms = backend->config->retry_max_ms,
			.compression_level = backend->config->compression_level,
			.wanted = wanted,
			.arg = backend,
		};
		int r = uploader_start(&options, &backend->uploader, err);

		if (r < 0)
			return error_wrap(err, "backend %s", backend->config->name);
	}
	return 0;
}

void backends_ring(struct backends *backends)
{
	for (size_t i = 0; i < backends->n; i++) {
		if (backends->items[i].uploader != NULL)
			uploader_ring(backends->items[i].uploader);
	}
}

uint64_t backends_needed(struct backends *backends, struct database *db)
{
	uint64_t oldest = UINT64_MAX;

	for (size_t i = 0; i < backends->n; i++) {
		if (backends->items[i].uploader != NULL)
			oldest = MIN(oldest, uploader_needed(backends->items[i].uploader, db));
	}
	return oldest;
}

void backends_drain(struct backends *backends, int64_t timeout_ms)
{
	int64_t deadline_ms = clock_mono_ms() + timeout_ms;

	for (size_t i = 0; i < backends->n; i++) {
		struct backend *backend = &backends->items[i];
		int64_t left_ms = MAX(deadline_ms - clock_mono_ms(), (int64_t)0);

		if (backend->uploader != NULL && !uploader_drain(backend->uploader, left_ms) &&
		    timeout_ms > 0)
			log_warn("backend=%s could not be given everything in %" PRId64
				 " ms; the next mount goes on", backend->config->name, timeout_ms);
	}
}

void backends_close(struct backends *backends)
{
	if (backends == NULL)
		return;
	for (size_t i = 0; i < backends->n; i++) {
		uploader_stop(backends->items[i].uploader);
		storage_free(backends->items[i].storage);
	}
	free(backends->items);
	free(backends);
}

static int64_t lag_ms(int64_t behind_since_us)
{
	return behind_since_us == 0 ? 0 : MAX((clock_wall_us() - behind_since_us) / 1000,
					      (int64_t)1);
}

static json_t *backend_json(const struct backend *backend)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	struct uploader_status status;
	json_t *json;

	if (backend->uploader == NULL ||
	    uploader_status(backend->uploader, &status, &ignored) < 0)
		return json_null();
	json = json_pack("{s:s, s:s, s:I, s:I, s:s?, s:I, s:I, s:I}", "name",
			 backend->config->name, "url", status.url, "waiting_bytes",
			 (json_int_t)status.waiting_bytes, "lag_ms",
			 (json_int_t)lag_ms(status.behind_since_us), "error", status.trouble,
			 "retry_in_ms", (json_int_t)status.retry_in_ms, "bytes_put",
			 (json_int_t)status.bytes_put, "puts", (json_int_t)status.n_puts);
	uploader_status_done(&status);
	return json;
}

json_t *backends_json(struct backends *backends)
{
	json_t *array = json_array();

	for (size_t i = 0; i < backends->n; i++)
		json_array_append_new(array, backend_json(&backends->items[i]));
	return array;
}

static const char *phase_name(enum uploader_phase phase)
{
	switch (phase) {
	case UPLOADER_WAITING:
		return "waiting";
	case UPLOADER_SNAPSHOT:
		return "snapshot";
	case UPLOADER_SHIPPING:
		return "shipping";
	default:
		return "refused";
	}
}

static json_t *stored_json(const struct point *stored)
{
	char text[64];

	if (stored->position.generation == 0)
		return json_null();
	snprintf(text, sizeof(text), "%016" PRIx64 ":%" PRIu64, stored->position.generation,
		 stored->position.txid);
	return json_string(text);
}

static json_t *database_json(const struct backend *backend, struct database *db)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	struct uploader_database status;
	json_t *json;

	if (backend->uploader == NULL ||
	    uploader_database_status(backend->uploader, db, &status, &ignored) != 0)
		return json_pack("{s:s, s:s, s:n, s:n}", "name", backend->config->name, "phase",
				 "waiting", "position", "error");
	json = json_pack("{s:s, s:s, s:o, s:I, s:I, s:I, s:s?, s:I, s:I}", "name",
			 backend->config->name, "phase", phase_name(status.phase), "position",
			 stored_json(&status.stored), "txid",
			 (json_int_t)status.stored.position.txid, "waiting_bytes",
			 (json_int_t)status.waiting_bytes, "lag_ms",
			 (json_int_t)lag_ms(status.behind_since_us), "error", status.trouble,
			 "bytes_put", (json_int_t)status.bytes_put, "puts",
			 (json_int_t)status.n_puts);
	uploader_database_done(&status);
	return json;
}

json_t *backends_database_json(struct backends *backends, struct database *db)
{
	json_t *array = json_array();

	for (size_t i = 0; i < backends->n; i++)
		json_array_append_new(array, database_json(&backends->items[i], db));
	return array;
}
