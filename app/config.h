/* SPDX-License-Identifier: MIT */
#ifndef APP_CONFIG_H
#define APP_CONFIG_H

#include "base/error.h"
#include "base/log.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/*
 * The configuration: an INI file, then the environment over it, then the
 * command line over both. docs/config.md (written by config_print_docs()) is
 * the reference for people.
 *
 * Every error of these functions names the file and line, or the variable of
 * the environment, and ends the command with exit code 78.
 */

#define CONFIG_DEFAULT_PATH "/etc/replitedfs.ini"
#define CONFIG_FILE_MAX (1 << 20) /* bytes of a configuration file */
#define CONFIG_SECTIONS_MAX 1000  /* sections of a configuration */
#define CONFIG_NAME_MAX 64	  /* characters of a section's name */

enum config_capture {
	CONFIG_CAPTURE_AUTO,
	CONFIG_CAPTURE_PASSTHROUGH,
	CONFIG_CAPTURE_INTERCEPT,
};

/* A list of patterns for glob_match(). */
struct config_globs {
	char **patterns;
	size_t n_patterns;
};

struct config_mount {
	enum config_capture capture;
	char *state_dir; /* "" = .replitedfs in the backing folder */
	char *log_dir;	 /* "" = log in the state folder */
	enum log_level log_level;
	int64_t log_retention_ms;
	int64_t log_max_size; /* 0 = auto */
	int64_t log_file_size;
	int64_t shutdown_timeout_ms;
	char *control_socket_dir; /* "" = the run-time folder */
};

/* One [database.NAME]. */
struct config_database {
	char *name;
	char *path; /* a pattern for glob_match() */
	bool replicate;
};

/* One [backend.NAME]. */
struct config_backend {
	char *name;
	char *url; /* may hold a secret: never log it as it is */
	struct config_globs databases;
	int64_t sync_interval_ms;
	int64_t snapshot_interval_ms;
	int64_t retry_max_ms;
	int compression_level;
};

/*
 * Plain values, checked: every field is within the limits of docs/config.md.
 *
 * Invariants: 1. No string and no list is NULL (an empty array may be), all are
 * owned by the struct. 2. Names are unique within their kind of section, also
 * without regard to case and to '-' for '_'. 3. The arrays are in the order of
 * the file, then those that the environment defines in the order of their names,
 * then those of the command line.
 *
 * Owned by who loaded it; read by any thread, changed by none after start.
 */
struct config {
	struct config_mount mount;
	struct config_database *databases;
	size_t n_databases;
	struct config_backend *backends;
	size_t n_backends;
};

#define CLEANUP_CONFIG CLEANUP(config_done)

/*
 * Reads the text of a configuration file (any bytes) and the overrides in env,
 * NULL-terminated "NAME=value" strings as environ has them (NULL: none). Nothing
 * else is looked at: not the file system, not the process' own environment.
 * name: the file as messages should call it. 0, -EINVAL, or -ENOMEM; ret is
 * valid (or empty after an error) and to be released in each case.
 */
int config_parse(const char *text, size_t len, const char *name,
		 const char *const *env, struct config *ret, struct error *err) MUST_CHECK;

/*
 * Reads the file path and the environment of the process. path NULL stands for
 * CONFIG_DEFAULT_PATH when that exists, else for an empty file.
 */
int config_load(const char *path, struct config *ret, struct error *err) MUST_CHECK;

/*
 * Adds a backend for url, named "backup", "backup2", …, with the defaults of
 * every other key. -EINVAL when url is none, or a backend has it already.
 */
int config_add_backend_url(struct config *config, const char *url, struct error *err) MUST_CHECK;

/*
 * The section that decides about the database path: the first whose pattern
 * matches, or NULL; a database that no section speaks of is replicated.
 */
const struct config_database *config_find_database(const struct config *config,
						   const char *path);

/* Whether the database path is to go to backend. */
bool config_backend_takes(const struct config_backend *backend, const char *path);

/* Releases what config holds and leaves it empty. NULL is fine. */
void config_done(struct config *config);

/* Writes docs/config.md: every key, its default and what it does. */
void config_print_docs(FILE *out);

#endif
