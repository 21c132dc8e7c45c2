/* SPDX-License-Identifier: MIT */
#include "app/config.h"

#include "app/config_field.h"
#include "app/config_read.h"
#include "base/file.h"
#include "base/glob.h"

#include <errno.h>
#include <string.h>
#include <sysexits.h>

/*
 * Text becomes a draft (config_read), the environment is laid over it
 * (config_env), and the draft becomes the typed struct here, key by key of the
 * table: a default goes the same way as a value that somebody wrote.
 */

static size_t count(const struct config_draft *draft, enum config_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < draft->n_sections; i++)
		n += draft->sections[i].kind == kind;
	return n;
}

static int refuse_missing(const struct config_draft *draft,
			  const struct config_draft_section *section,
			  const struct config_key *key, struct error *err)
{
	struct buf title CLEANUP_BUF = { 0 };
	struct buf variable CLEANUP_BUF = { 0 };

	if (config_draft_title(section, &title) < 0 ||
	    config_key_env_name(key, section->name, &variable) < 0)
		return error_set(err, ENOMEM, "out of memory");
	error_set(err, EINVAL, "%s:%u: %.*s has no %s", draft->file,
		  section->line, (int)title.len, title.data, key->name);
	return error_fix(err, "write %s = … below it, or set %.*s", key->name,
			 (int)variable.len, variable.data);
}

/* Fills the fields of target, the struct of section's kind. */
static int build_section(const struct config_draft *draft,
			 struct config_draft_section *section, void *target,
			 struct error *err)
{
	for (size_t i = 0; i < config_n_keys; i++) {
		const struct config_key *key = &config_keys[i];
		const char *text;

		if (key->kind != section->kind)
			continue;
		text = config_draft_value(section, key)->text;
		if (text == NULL)
			text = key->fallback;
		if (text == NULL)
			return refuse_missing(draft, section, key, err);
		if (config_field_store(key, text, target, err) < 0)
			return config_draft_wrap(draft, section, key, err);
	}
	return 0;
}

/* The struct that section fills: the next of its kind, with its name. */
static void *next_target(struct config *config,
			 const struct config_draft_section *section, char ***ret_name)
{
	struct config_database *database;
	struct config_backend *backend;

	switch (section->kind) {
	case CONFIG_KIND_DATABASE:
		database = &config->databases[config->n_databases++];
		*ret_name = &database->name;
		return database;
	case CONFIG_KIND_BACKEND:
		backend = &config->backends[config->n_backends++];
		*ret_name = &backend->name;
		return backend;
	default:
		*ret_name = NULL;
		return &config->mount;
	}
}

static int check_log_sizes(struct config_draft *draft,
			   const struct config *config, struct error *err)
{
	const struct config_key *key = config_key_find(CONFIG_KIND_MOUNT, "log_max_size");

	if (config->mount.log_max_size == 0 ||
	    config->mount.log_max_size >= config->mount.log_file_size)
		return 0;
	error_set(err, EINVAL, "%lld bytes is less than one file of the log takes",
		  (long long)config->mount.log_max_size);
	error_why(err, "log_file_size is %lld bytes", (long long)config->mount.log_file_size);
	error_fix(err, "raise log_max_size, or lower log_file_size");
	return config_draft_wrap(
		draft, config_draft_find(draft, CONFIG_KIND_MOUNT, NULL, 0), key, err);
}

static int build(struct config_draft *draft, struct config *config, struct error *err)
{
	config->databases = calloc(count(draft, CONFIG_KIND_DATABASE) + 1,
				   sizeof(*config->databases));
	config->backends = calloc(count(draft, CONFIG_KIND_BACKEND) + 1,
				  sizeof(*config->backends));
	if (config->databases == NULL || config->backends == NULL)
		return error_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < draft->n_sections; i++) {
		struct config_draft_section *section = &draft->sections[i];
		char **name;
		void *target;
		int r;

		if (section->kind == CONFIG_KIND_STREAM)
			continue;
		target = next_target(config, section, &name);
		r = build_section(draft, section, target, err);
		if (r < 0)
			return r;
		if (name != NULL)
			*name = TAKE(section->name);
	}
	return check_log_sizes(draft, config, err);
}

static int parse(const char *text, size_t len, const char *name,
		 const char *const *env, struct config *config, struct error *err)
{
	struct config_draft draft CLEANUP_CONFIG_DRAFT = { .file = name };
	int r;

	if (len > CONFIG_FILE_MAX)
		return error_set(err, EINVAL, "%s is larger than %d bytes", name, CONFIG_FILE_MAX);
	r = config_read(&draft, text, len, env, err);
	if (r < 0)
		return r;
	if (config_draft_find(&draft, CONFIG_KIND_MOUNT, NULL, 0) == NULL &&
	    config_draft_add(&draft, CONFIG_KIND_MOUNT, NULL, 0, 0, err) == NULL)
		return -err->code;
	r = config_env_apply(&draft, env, err);
	return r < 0 ? r : build(&draft, config, err);
}

int config_parse(const char *text, size_t len, const char *name,
		 const char *const *env, struct config *ret, struct error *err)
{
	struct error local CLEANUP_ERROR = ERROR_INIT;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = parse(text, len, name, env, ret, &local);
	if (r < 0) {
		config_done(ret);
		error_exit(&local, EX_CONFIG);
		error_move(err, &local);
	}
	return r;
}

int config_load(const char *path, struct config *ret, struct error *err)
{
	struct buf text CLEANUP_BUF = { 0 };
	int r = 0;

	memset(ret, 0, sizeof(*ret));
	if (path != NULL || access(CONFIG_DEFAULT_PATH, F_OK) == 0) {
		if (path == NULL)
			path = CONFIG_DEFAULT_PATH;
		r = file_read_all(AT_FDCWD, path, CONFIG_FILE_MAX, &text, err);
	}
	if (r < 0) {
		error_wrap(err, "configuration");
		if (r == -ENOENT)
			error_fix(err, "give --config a file that exists, or leave it out");
		return error_exit(err, EX_CONFIG);
	}
	return config_parse(text.len != 0 ? (const char *)text.data : "",
			    text.len, path != NULL ? path : "defaults",
			    (const char *const *)environ, ret, err);
}

/* A name for a backend of the command line that no other has. */
static char *free_backend_name(const struct config *config)
{
	for (unsigned n = 1;; n++) {
		char *name = NULL;
		bool taken = false;

		if ((n == 1 ? asprintf(&name, "backup") : asprintf(&name, "backup%u", n)) < 0)
			return NULL;
		for (size_t i = 0; i < config->n_backends; i++)
			taken = taken || strcasecmp(config->backends[i].name, name) == 0;
		if (!taken)
			return name;
		free(name);
	}
}

static void backend_done(struct config_backend *backend)
{
	free(backend->name);
	for (size_t i = 0; i < config_n_keys; i++) {
		if (config_keys[i].kind == CONFIG_KIND_BACKEND)
			config_field_clear(&config_keys[i], backend);
	}
}

static int fill_backend(struct config_backend *backend, const char *url, struct error *err)
{
	for (size_t i = 0; i < config_n_keys; i++) {
		const struct config_key *key = &config_keys[i];
		int r;

		if (key->kind != CONFIG_KIND_BACKEND)
			continue;
		r = config_field_store(key, key->fallback != NULL ? key->fallback : url,
				       backend, err);
		if (r < 0)
			return error_wrap(err, "a backend of the command line");
	}
	return 0;
}

int config_add_backend_url(struct config *config, const char *url, struct error *err)
{
	struct config_backend backend CLEANUP(backend_done) = { 0 };
	struct config_backend *backends;
	int r;

	for (size_t i = 0; i < config->n_backends; i++) {
		if (strcmp(config->backends[i].url, url) != 0)
			continue;
		error_set(err, EINVAL,
			  "a backend of the command line is that of [backend.%s] "
			  "already",
			  config->backends[i].name);
		error_fix(err, "give each place once");
		return error_exit(err, EX_CONFIG);
	}
	r = fill_backend(&backend, url, err);
	if (r < 0)
		return error_exit(err, EX_CONFIG);
	backend.name = free_backend_name(config);
	backends = reallocarray(config->backends, config->n_backends + 1, sizeof(*backends));
	if (backends != NULL)
		config->backends = backends;
	if (backends == NULL || backend.name == NULL)
		return error_set(err, ENOMEM, "out of memory");
	backends[config->n_backends++] = backend;
	memset(&backend, 0, sizeof(backend));
	return 0;
}

const struct config_database *config_find_database(const struct config *config,
						   const char *path)
{
	for (size_t i = 0; i < config->n_databases; i++) {
		if (glob_match(config->databases[i].path, path))
			return &config->databases[i];
	}
	return NULL;
}

bool config_backend_takes(const struct config_backend *backend, const char *path)
{
	for (size_t i = 0; i < backend->databases.n_patterns; i++) {
		if (glob_match(backend->databases.patterns[i], path))
			return true;
	}
	return false;
}

static void section_done(enum config_kind kind, void *section)
{
	for (size_t i = 0; i < config_n_keys; i++) {
		if (config_keys[i].kind == kind)
			config_field_clear(&config_keys[i], section);
	}
}

void config_done(struct config *config)
{
	if (config == NULL)
		return;
	section_done(CONFIG_KIND_MOUNT, &config->mount);
	for (size_t i = 0; i < config->n_databases; i++) {
		section_done(CONFIG_KIND_DATABASE, &config->databases[i]);
		free(config->databases[i].name);
	}
	for (size_t i = 0; i < config->n_backends; i++)
		backend_done(&config->backends[i]);
	free(config->databases);
	free(config->backends);
	memset(config, 0, sizeof(*config));
}
