/* SPDX-License-Identifier: MIT */
#include "replicate/verify.h"

#include "replicate/restore_output.h"

#include <errno.h>
#include <inttypes.h>

/* Lets SQLite check what was restored. */
static int check(const char *dir, int fd, struct restore_result *result,
		 struct integrity_report *ret_report, struct error *err)
{
	int r = integrity_check(dir, fd, ret_report, err);

	if (r == 0 && ret_report->problems != NULL) {
		r = error_set(err, EBADMSG,
			      "SQLite finds the database damaged at transaction %" PRIu64,
			      result->point.position.txid);
		error_why(err, "%s", ret_report->problems);
		error_fix(err, "the checksums are right, so it was damaged when it was written: "
			       "try an earlier transaction");
	}
	if (r < 0)
		restore_result_done(result);
	return r;
}

int verify_backend(struct storage *storage, const char *folder,
		   const struct restore_request *request, const char *scratch_dir,
		   struct restore_result *ret_result, struct integrity_report *ret_report,
		   struct error *err)
{
	struct restore_scratch scratch CLEANUP(restore_scratch_close) = RESTORE_SCRATCH_INIT;
	int r = restore_scratch_open(&scratch, scratch_dir, err);

	*ret_report = (struct integrity_report){ 0 };
	if (r < 0)
		return r;
	r = restore_to_fd(storage, folder, request, scratch.fd, ret_result, err);
	return r < 0 ? r : check(scratch_dir, scratch.fd, ret_result, ret_report, err);
}

int verify_log(struct txlog *log, const struct restore_live *live,
	       const struct restore_request *request, const char *scratch_dir,
	       struct restore_result *ret_result, struct integrity_report *ret_report,
	       struct error *err)
{
	struct restore_scratch scratch CLEANUP(restore_scratch_close) = RESTORE_SCRATCH_INIT;
	int r = restore_scratch_open(&scratch, scratch_dir, err);

	*ret_report = (struct integrity_report){ 0 };
	if (r < 0)
		return r;
	r = restore_log_to_fd(log, live, request, scratch.fd, ret_result, err);
	return r < 0 ? r : check(scratch_dir, scratch.fd, ret_result, ret_report, err);
}
