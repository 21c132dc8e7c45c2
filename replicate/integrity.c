/* SPDX-License-Identifier: MIT */
#include "replicate/integrity.h"

#include "base/buf.h"
#include "base/id.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#define PROBLEMS_MAX 100 /* lines */

static void close_database(sqlite3 **db)
{
	sqlite3_close(*db);
}

static void end_statement(sqlite3_stmt **statement)
{
	sqlite3_finalize(*statement);
}

void integrity_report_done(struct integrity_report *report)
{
	free(report->problems);
	*report = (struct integrity_report){ 0 };
}

/*
 * SQLite opens by name, and resolves symlinks: /proc/self/fd does not do for a
 * file without one. It gets a name for the moment of opening.
 */
static int give_name(const char *dir, int fd, char **ret_path, struct error *err)
{
	char from[64];
	uint64_t random;
	int r = id_random_u64(&random, err);

	if (r < 0)
		return r;
	if (asprintf(ret_path, "%s/.replitedfs-verify-%016llx", dir,
		     (unsigned long long)random) < 0) {
		*ret_path = NULL;
		return error_set(err, ENOMEM, "out of memory");
	}
	snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, from, AT_FDCWD, *ret_path, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	r = error_set_errno(err, errno, "cannot name a file in %s", dir);
	free(TAKE(*ret_path));
	return r;
}

/* "file:" and the path, percent-encoded where a URI needs it. */
static char *make_uri(const char *path)
{
	struct buf uri CLEANUP_BUF = { 0 };
	int r = buf_printf(&uri, "file:");

	for (const char *at = path; r == 0 && *at != '\0'; at++) {
		if (*at == '%' || *at == '?' || *at == '#')
			r = buf_printf(&uri, "%%%02x", (unsigned char)*at);
		else
			r = buf_append(&uri, at, 1);
	}
	if (r == 0)
		r = buf_printf(&uri, "?immutable=1");
	return r == 0 && buf_str(&uri) != NULL ? (char *)TAKE(uri.data) : NULL;
}

static int open_database(const char *path, sqlite3 **ret_db, struct error *err)
{
	char *uri CLEANUP_FREE = make_uri(path);

	if (uri == NULL)
		return error_set(err, ENOMEM, "out of memory");
	if (sqlite3_open_v2(uri, ret_db,
			    SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_PRIVATECACHE,
			    NULL) != SQLITE_OK)
		return error_set(err, EIO, "SQLite cannot open the file: %s",
				 *ret_db != NULL ? sqlite3_errmsg(*ret_db) : "out of memory");
	sqlite3_db_config(*ret_db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(*ret_db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	return 0;
}

static int add_problem(struct buf *problems, const char *text)
{
	return text != NULL ? buf_printf(problems, "%s%s", problems->len != 0 ? "\n" : "", text) :
			      0;
}

/* Runs the check; what it says goes to problems. */
static int run_check(sqlite3 *db, struct integrity_report *report, struct buf *problems,
		     struct error *err)
{
	sqlite3_stmt *statement CLEANUP(end_statement) = NULL;
	char *sql CLEANUP_FREE = NULL;
	int r;

	if (asprintf(&sql, "PRAGMA integrity_check(%d)", PROBLEMS_MAX) < 0) {
		sql = NULL;
		return error_set(err, ENOMEM, "out of memory");
	}
	r = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
	while (r == SQLITE_OK || r == SQLITE_ROW) {
		const char *text;

		r = sqlite3_step(statement);
		if (r != SQLITE_ROW)
			break;
		text = (const char *)sqlite3_column_text(statement, 0);
		if (text != NULL && strcmp(text, "ok") != 0 && add_problem(problems, text) < 0)
			return error_set(err, ENOMEM, "out of memory");
	}
	report->checked = r != SQLITE_NOTADB;
	if (r != SQLITE_DONE && r != SQLITE_NOTADB && add_problem(problems, sqlite3_errmsg(db)) < 0)
		return error_set(err, ENOMEM, "out of memory");
	return 0;
}

static int check_named(const char *path, struct integrity_report *report, struct error *err)
{
	struct buf problems CLEANUP_BUF = { 0 };
	sqlite3 *db CLEANUP(close_database) = NULL;
	int r = open_database(path, &db, err);

	/* From here on the open file is enough. */
	unlink(path);
	if (r == 0)
		r = run_check(db, report, &problems, err);
	if (r == 0 && problems.len != 0) {
		if (buf_str(&problems) == NULL)
			return error_set(err, ENOMEM, "out of memory");
		report->problems = (char *)TAKE(problems.data);
	}
	return r;
}

int integrity_check(const char *dir, int fd, struct integrity_report *ret_report,
		    struct error *err)
{
	char *path CLEANUP_FREE = NULL;
	struct stat st;
	int r;

	*ret_report = (struct integrity_report){ 0 };
	if (fstat(fd, &st) < 0)
		return error_set_errno(err, errno, "cannot stat the restored file");
	if (st.st_size == 0)
		return 0;
	r = give_name(dir, fd, &path, err);
	return r < 0 ? r : check_named(path, ret_report, err);
}
