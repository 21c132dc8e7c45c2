/* SPDX-License-Identifier: MIT */
/*
 * replay STATE_DIR DATABASE_ID OUTPUT [BASE]
 *
 * For tests: replays a database's transaction log, from its very beginning,
 * into the empty file OUTPUT, verifying every record, page and checksum on the
 * way, and computes the checksum of the result from scratch. BASE is the content
 * that a database had when its log began. Prints what it saw as JSON. Exits 1
 * with the error as JSON when anything does not fit, 2 when the log does not
 * begin with an empty database and there is no BASE.
 */
#include "base/file.h"
#include "replicate/page.h"
#include "tests/tools/roll.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>

static int fail(const struct error *err, const struct roll *roll, int code)
{
	json_t *json = json_pack("{s:s, s:I}", "error", error_what(err),
				 "records", (json_int_t)roll->n_records);

	json_dumpf(json, stdout, 0);
	printf("\n");
	json_decref(json);
	return code;
}

/* The checksum of the file as it is, hashed anew page by page. */
static uint64_t scratch_checksum(int fd, struct extent extent)
{
	uint8_t page[PAGE_SIZE_MAX];
	uint64_t checksum = 0;

	for (uint32_t pgno = 1; pgno <= extent.n_pages; pgno++) {
		if (file_pread(fd, page, extent.page_size, (off_t)(pgno - 1) * extent.page_size) !=
		    (ssize_t)extent.page_size)
			return 0;
		checksum ^= page_hash(pgno, page, extent.page_size);
	}
	return checksum;
}

static int report(struct txlog *log, int fd, const struct roll *roll, const struct apply *apply)
{
	uint64_t checksum = scratch_checksum(fd, apply->at.extent);
	char text[32];
	json_t *json;

	snprintf(text, sizeof(text), "%016" PRIx64, checksum);
	json = json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:I, s:I, s:s, s:b}", "records",
		(json_int_t)roll->n_records, "merged", (json_int_t)roll->n_merged,
		"last_merged", (json_int_t)roll->last_merged, "undoable",
		(json_int_t)roll->n_undoable, "generations",
		(json_int_t)roll->n_generations + 1, "time_went_back",
		roll->time_went_back, "txid", (json_int_t)apply->at.position.txid,
		"page_size", (json_int_t)apply->at.extent.page_size, "pages",
		(json_int_t)apply->at.extent.n_pages, "checksum", text, "checksum_ok",
		checksum == txlog_position(log, NULL, NULL).checksum);
	json_dumpf(json, stdout, 0);
	printf("\n");
	json_decref(json);
	return 0;
}

static int copy(const char *path, int to, struct error *err)
{
	uint8_t bytes[1 << 16];
	int fd CLEANUP_FD = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	for (off_t at = 0; fd >= 0; at += n) {
		n = file_pread(fd, bytes, sizeof(bytes), at);
		if (n <= 0 || file_pwrite(to, bytes, (size_t)n, at) < 0)
			break;
	}
	return n != 0 ? error_set(err, EIO, "cannot copy %s", path) : 0;
}

int main(int argc, char **argv)
{
	CLEANUP_ERROR struct error err = ERROR_INIT;
	struct txlog_state state;
	struct apply apply CLEANUP(apply_done) = { 0 };
	struct txlog log CLEANUP(txlog_close) = { .fd = -1, .index_fd = -1 };
	struct roll roll = { 0 };
	char path[64];
	int state_fd;
	int fd;
	int r;

	if (argc != 4 && argc != 5)
		return 64;
	state_fd = open(argv[1], O_RDONLY | O_DIRECTORY);
	snprintf(path, sizeof(path), "db/%s", argv[2]);
	if (txlog_open_read_only(&log, state_fd, path, &state, &err) < 0 || state.damaged)
		return fail(&err, &roll, 1);
	if (state.fresh || (argc == 4 && txlog_oldest(&log, NULL).txid != 0)) {
		error_set(&err, ENOENT, "the log does not begin with an empty database");
		return fail(&err, &roll, 2);
	}
	fd = open(argv[3], O_RDWR | O_CREAT | O_EXCL, 0600);
	r = fd < 0 ? error_set_errno(&err, errno, "cannot create %s", argv[3]) :
		     apply_init(&apply, fd, &err);
	if (r == 0 && argc == 5)
		r = copy(argv[4], fd, &err);
	if (r == 0)
		r = roll_begin(&log, &apply, &err);
	if (r == 0)
		r = roll_forward(&log, &apply, &roll, &err);
	return r < 0 ? fail(&err, &roll, 1) : report(&log, fd, &roll, &apply);
}
