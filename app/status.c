/* SPDX-License-Identifier: MIT */
#include "app/status.h"

#include "app/shown_name.h"
#include "replicate/envelope.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>

static const char *mode_name(enum database_mode mode)
{
	switch (mode) {
	case DATABASE_EMPTY:
		return "empty";
	case DATABASE_WAL_MODE:
		return "wal";
	case DATABASE_ROLLBACK:
		return "rollback";
	default:
		return "encrypted";
	}
}

/* What people should know of how this database is captured. */
static const char *capture_note(const struct database_status *status)
{
	if (status->mode == DATABASE_EMPTY)
		return "nothing to capture yet";
	if (status->coarse)
		return "by comparing: it changes without a journal that tells of it "
		       "(journal_mode MEMORY or OFF, synchronous=OFF, or not by SQLite), so "
		       "that several transactions may be one";
	return "every transaction";
}

/* Why the files of that database take the road intercept; NULL: they do not. */
static const char *intercept_reason(const struct filesystem_status *fs, bool cached_is_faster,
				    enum config_capture capture)
{
	if (!fs->passthrough)
		return fs->why_not != NULL ? fs->why_not : "passthrough is not available";
	if (capture == CONFIG_CAPTURE_INTERCEPT)
		return "capture = intercept";
	if (cached_is_faster)
		return "rollback journal: cached reads are faster";
	return NULL;
}

static json_t *position_json(const struct position *position)
{
	char text[64];

	if (position->generation == 0)
		return json_null();
	snprintf(text, sizeof(text), "%016" PRIx64 ":%" PRIu64, position->generation,
		 position->txid);
	return json_string(text);
}

static json_t *database_json(const struct status_sources *sources,
			     const struct filesystem_status *fs, struct database *db)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	struct database_status status;
	const char *why;
	char hex[ID_HEX_LEN + 1];
	json_t *json;

	if (database_status(db, &status, &ignored) < 0)
		return NULL;
	id_format(&status.id, hex);
	why = intercept_reason(fs, database_cached_is_faster(db), sources->config->mount.capture);
	json = json_pack(
		"{s:o, s:s, s:s, s:s, s:s, s:s, s:s?, s:o, s:I, s:o, s:o, s:I, s:I, s:I, s:b, "
		"s:s?, s:{s:I, s:o, s:o}, s:{s:I, s:I, s:I}, s:o}",
		"name", shown_name_json(status.name), "id", hex, "role", "primary", "mode",
		mode_name(status.mode), "capture", capture_note(&status), "road",
		why == NULL ? "passthrough" : "intercept", "road_reason", why, "position",
		position_json(&status.position), "txid", (json_int_t)status.position.txid,
		"checksum", json_hex(status.position.checksum), "time", json_time(status.time_us),
		"page_size", (json_int_t)status.extent.page_size, "pages",
		(json_int_t)status.extent.n_pages, "bytes",
		(json_int_t)extent_bytes(status.extent), "open", status.open, "trouble",
		status.trouble, "log", "bytes", (json_int_t)status.log_bytes, "oldest",
		position_json(&status.oldest), "oldest_time", json_time(status.oldest_time_us),
		"since_mount", "transactions", (json_int_t)status.n_transactions, "merged",
		(json_int_t)status.n_merged, "unannounced_restarts",
		(json_int_t)status.n_unannounced, "backends",
		backends_database_json(sources->backends, db));
	database_status_done(&status);
	return json;
}

static json_t *databases_json(const struct status_sources *sources,
			      const struct filesystem_status *fs, uint64_t *ret_log_bytes)
{
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	json_t *array = json_array();
	struct database **list;
	size_t n;

	*ret_log_bytes = 0;
	if (catalog_list(sources->catalog, false, &list, &n, &ignored) < 0)
		return array;
	for (size_t i = 0; i < n; i++) {
		*ret_log_bytes += txlog_size(database_log(list[i]));
		json_array_append_new(array, database_json(sources, fs, list[i]));
	}
	catalog_list_free(list, n);
	return array;
}

static json_t *upcalls_json(const struct filesystem_status *fs)
{
	json_t *json = json_object();

	for (int i = 0; i < OPS_N_KINDS; i++)
		json_object_set_new(json, ops_kind_name(i),
				    json_integer((json_int_t)fs->upcalls[i]));
	return json;
}

int status_make(const struct status_sources *sources, json_t **ret_json, struct error *err)
{
	static const char *const captures[] = { "auto", "passthrough", "intercept" };
	struct filesystem_status fs;
	uint64_t log_bytes;
	json_t *databases;

	filesystem_status(sources->filesystem, &fs);
	databases = databases_json(sources, &fs, &log_bytes);
	*ret_json = json_pack(
		"{s:s, s:s, s:s, s:o, s:i, s:i, s:o, s:{s:s, s:b, s:s?}, s:{s:I, s:I}, s:I, s:o, "
		"s:o, s:o}",
		"version", REPLITEDFS_VERSION, "mountpoint", sources->mountpoint, "backing",
		sources->backing, "node", json_id(&sources->node_id), "pid", (int)getpid(),
		"supervisor_pid", (int)sources->supervisor, "since", json_time(sources->since_us),
		"capture", "wanted", captures[sources->config->mount.capture], "passthrough",
		fs.passthrough, "why_not", fs.why_not, "log", "bytes", (json_int_t)log_bytes,
		"max_bytes", (json_int_t)sources->log_max_size, "open_files",
		(json_int_t)fs.n_open, "upcalls", upcalls_json(&fs), "databases", databases,
		"backends", backends_json(sources->backends));
	free(fs.why_not);
	return *ret_json != NULL ? 0 : error_set(err, ENOMEM, "cannot make the status");
}

int status_position(struct catalog *catalog, const char *name, struct buf *out)
{
	struct database *db = catalog_find(catalog, name);
	CLEANUP_ERROR struct error ignored = ERROR_INIT;
	struct position position;

	if (db == NULL)
		return -ENOENT;
	/* Who reads its own position wants its own commits in it; trouble is in status. */
	(void)!database_catch_up(db, &ignored);
	position = database_position(db, NULL, NULL);
	database_unref(db);
	return buf_printf(out, "%016" PRIx64 ":%" PRIu64 " %016" PRIx64 "\n", position.generation,
			  position.txid, position.checksum);
}
