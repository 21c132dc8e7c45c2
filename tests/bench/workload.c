/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/*
 * bench_workload KIND JOURNAL_MODE SYNCHRONOUS DATABASE WARM_UP
 *
 * Makes a new database; one that is not in WAL mode it closes, prints "made" and
 * opens again after a line from stdin. Does WARM_UP operations, prints "ready",
 * and then for each number read from stdin does as many operations and prints one
 * line: nanoseconds passed, and microseconds of its own CPU time in user and
 * system mode. At the end of stdin it closes and removes the database.
 */

#define BULK_ROWS 1000 /* rows of a bulk transaction; an operation is one row */
#define N_READ_ROWS 1000

struct workload {
	const char *path;
	const char *journal_mode;
	const char *synchronous;
	sqlite3 *db;
	sqlite3_stmt *stmt;
	uint64_t n_done;
};

struct kind {
	const char *name;
	const char *schema;
	const char *sql; /* the statement, prepared once */
	void (*run)(struct workload *workload, uint64_t n);
};

static void check(sqlite3 *db, int code, const char *what)
{
	if (code == SQLITE_OK || code == SQLITE_DONE || code == SQLITE_ROW)
		return;
	fprintf(stderr, "%s: %s\n", what, db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(code));
	exit(1);
}

static void execute(sqlite3 *db, const char *sql)
{
	check(db, sqlite3_exec(db, sql, NULL, NULL, NULL), sql);
}

static void connect_to(struct workload *workload)
{
	char pragma[64];

	check(workload->db, sqlite3_open(workload->path, &workload->db), "open");
	snprintf(pragma, sizeof(pragma), "PRAGMA synchronous=%s", workload->synchronous);
	execute(workload->db, pragma);
}

/* SQLite answers with the mode that it is in, whatever was asked for. */
static void set_journal_mode(struct workload *workload)
{
	sqlite3_stmt *stmt;
	char pragma[64];

	snprintf(pragma, sizeof(pragma), "PRAGMA journal_mode=%s", workload->journal_mode);
	check(workload->db, sqlite3_prepare_v2(workload->db, pragma, -1, &stmt, NULL), pragma);
	if (sqlite3_step(stmt) != SQLITE_ROW ||
	    strcasecmp((const char *)sqlite3_column_text(stmt, 0), workload->journal_mode) != 0)
		check(NULL, SQLITE_ERROR, pragma);
	sqlite3_finalize(stmt);
}

/* The same rows in every run; what they hold hardly compresses. */
static uint64_t mix(uint64_t n)
{
	n = (n ^ (n >> 31)) * 0x7fb5d329728ea185u;
	n = (n ^ (n >> 27)) * 0x81dadef4bc2dd44du;
	return n ^ (n >> 33);
}

static void insert_row(struct workload *workload)
{
	uint64_t words[12];
	int r;

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		words[i] = mix(workload->n_done * 16 + i);
	sqlite3_bind_int64(workload->stmt, 1, (int64_t)(words[0] >> 2));
	sqlite3_bind_blob(workload->stmt, 2, words, sizeof(words), SQLITE_STATIC);
	r = sqlite3_step(workload->stmt);
	check(workload->db, r, "insert");
	sqlite3_reset(workload->stmt);
	workload->n_done++;
}

static void run_commits(struct workload *workload, uint64_t n)
{
	while (n-- > 0)
		insert_row(workload);
}

static void run_bulk(struct workload *workload, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		if (i % BULK_ROWS == 0)
			execute(workload->db, "BEGIN");
		insert_row(workload);
		if (i % BULK_ROWS == BULK_ROWS - 1 || i == n - 1)
			execute(workload->db, "COMMIT");
	}
}

/* One row by its key, in a transaction of its own: it ends with the reset. */
static void read_row(struct workload *workload)
{
	int64_t id = 1 + (int64_t)(mix(workload->n_done++) % N_READ_ROWS);

	sqlite3_bind_int64(workload->stmt, 1, id);
	if (sqlite3_step(workload->stmt) != SQLITE_ROW)
		check(workload->db, SQLITE_CORRUPT, "read");
	sqlite3_reset(workload->stmt);
}

static void run_reads(struct workload *workload, uint64_t n)
{
	while (n-- > 0)
		read_row(workload);
	if (sqlite3_txn_state(workload->db, NULL) != SQLITE_TXN_NONE)
		check(NULL, SQLITE_MISUSE, "the last read has left its transaction open");
}

/* A connection for each query, and no other: -wal and -shm come and go. */
static void run_opens(struct workload *workload, uint64_t n)
{
	sqlite3_finalize(workload->stmt);
	sqlite3_close(workload->db);
	while (n-- > 0) {
		connect_to(workload);
		execute(workload->db, "SELECT count(*) FROM t WHERE id < 10");
		sqlite3_close(workload->db);
	}
	workload->db = NULL;
	workload->stmt = NULL;
}

#define TABLE "CREATE TABLE t(id INTEGER PRIMARY KEY, k INTEGER, v BLOB);"
#define INDEX "CREATE INDEX i ON t(k);"
#define ROWS                                                                                       \
	"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) "          \
	"INSERT INTO t(id, k, v) SELECT i, i, randomblob(100) FROM n;"
#define INSERT "INSERT INTO t(k, v) VALUES(?, ?)"

static const struct kind kinds[] = {
	{ "commit", TABLE, INSERT, run_commits },
	{ "indexed", TABLE INDEX, INSERT, run_commits },
	{ "bulk", TABLE, INSERT, run_bulk },
	{ "read", TABLE ROWS, "SELECT v FROM t WHERE id = ?", run_reads },
	{ "open", TABLE ROWS, "SELECT 1", run_opens },
};

static const struct kind *find_kind(const char *name)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	return NULL;
}

/* As the row is measured: an existing database, unless it is in WAL mode. */
static void make_database(struct workload *workload, const struct kind *kind)
{
	char line[64];

	connect_to(workload);
	set_journal_mode(workload);
	execute(workload->db, kind->schema);
	if (strcasecmp(workload->journal_mode, "WAL") != 0) {
		check(workload->db, sqlite3_close(workload->db), "close");
		puts("made");
		if (fgets(line, sizeof(line), stdin) == NULL)
			exit(1);
		connect_to(workload);
		set_journal_mode(workload);
	}
	check(workload->db, sqlite3_prepare_v2(workload->db, kind->sql, -1, &workload->stmt, NULL),
	      kind->sql);
}

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static int64_t us_between(struct timeval from, struct timeval to)
{
	return (to.tv_sec - from.tv_sec) * 1000000LL + to.tv_usec - from.tv_usec;
}

static void measure(struct workload *workload, const struct kind *kind, uint64_t n)
{
	struct rusage before, after;
	int64_t start;

	getrusage(RUSAGE_SELF, &before);
	start = now_ns();
	kind->run(workload, n);
	start = now_ns() - start;
	getrusage(RUSAGE_SELF, &after);
	printf("%lld %lld %lld\n", (long long)start,
	       (long long)us_between(before.ru_utime, after.ru_utime),
	       (long long)us_between(before.ru_stime, after.ru_stime));
}

static void remove_database(const char *path)
{
	static const char *const suffixes[] = { "", "-wal", "-shm", "-journal" };
	char name[4096];

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
		snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
		unlink(name);
	}
}

int main(int argc, char **argv)
{
	struct workload workload = { 0 };
	const struct kind *kind = argc == 6 ? find_kind(argv[1]) : NULL;
	char line[64];

	if (kind == NULL) {
		fprintf(stderr, "bench_workload KIND JOURNAL_MODE SYNCHRONOUS DATABASE WARM_UP\n");
		return 64;
	}
	workload.journal_mode = argv[2];
	workload.synchronous = argv[3];
	workload.path = argv[4];
	remove_database(workload.path);
	setvbuf(stdout, NULL, _IOLBF, 0);
	make_database(&workload, kind);
	kind->run(&workload, strtoull(argv[5], NULL, 10));
	puts("ready");
	while (fgets(line, sizeof(line), stdin) != NULL)
		measure(&workload, kind, strtoull(line, NULL, 10));
	sqlite3_finalize(workload.stmt);
	sqlite3_close(workload.db);
	remove_database(workload.path);
	return 0;
}
