/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz.h"

#include "app/config.h"
#include "app/config_table.h"
#include "base/glob.h"

#include <ctype.h>
#include <string.h>

/*
 * The input is a configuration file; after a line "%%env" come variables of the
 * environment, one a line.
 */
static const char env_mark[] = "\n%%env\n";

#define ENV_MAX 64

/* Splits text, which it changes, into lines for env[ENV_MAX + 1]. */
static void split_env(char *text, const char **env)
{
	size_t n = 0;
	char *rest = NULL;

	for (char *line = strtok_r(text, "\n", &rest);
	     line != NULL && n < ENV_MAX; line = strtok_r(NULL, "\n", &rest))
		env[n++] = line;
	env[n] = NULL;
}

static void check_number(const struct config_key *key, int64_t value)
{
	if (key->type == CONFIG_TYPE_SIZE_OR_AUTO && value == 0)
		return;
	FUZZ_CHECK(value >= key->min && value <= key->max);
}

static void check_globs(const struct config_globs *globs)
{
	FUZZ_CHECK(globs->n_patterns > 0);
	for (size_t i = 0; i < globs->n_patterns; i++) {
		FUZZ_CHECK(glob_check(globs->patterns[i], NULL) == 0);
		(void)!glob_match(globs->patterns[i], "tenants/42/main.db");
	}
}

static void check_field(const struct config_key *key, const void *field)
{
	switch (key->type) {
	case CONFIG_TYPE_CHOICE:
		FUZZ_CHECK(*(const unsigned *)field < CONFIG_CHOICES_MAX);
		FUZZ_CHECK(key->choices[*(const unsigned *)field] != NULL);
		break;
	case CONFIG_TYPE_BOOL:
		FUZZ_CHECK(*(const uint8_t *)field <= 1);
		break;
	case CONFIG_TYPE_INTEGER:
		check_number(key, *(const int *)field);
		break;
	case CONFIG_TYPE_DURATION:
	case CONFIG_TYPE_SIZE:
	case CONFIG_TYPE_SIZE_OR_AUTO:
		check_number(key, *(const int64_t *)field);
		break;
	case CONFIG_TYPE_PATH:
		FUZZ_CHECK(strchr("/", **(char *const *)field) != NULL);
		break;
	case CONFIG_TYPE_URL:
		FUZZ_CHECK(**(char *const *)field != '\0');
		break;
	case CONFIG_TYPE_GLOB:
		FUZZ_CHECK(glob_check(*(char *const *)field, NULL) == 0);
		break;
	case CONFIG_TYPE_GLOBS:
		check_globs(field);
		break;
	}
}

static void check_section(enum config_kind kind, const void *section, const char *name)
{
	if (name != NULL)
		FUZZ_CHECK(config_name_valid(name, strlen(name)));
	for (size_t i = 0; i < config_n_keys; i++) {
		if (config_keys[i].kind == kind)
			check_field(&config_keys[i],
				    (const char *)section + config_keys[i].offset);
	}
}

static void check_config(struct config *config)
{
	check_section(CONFIG_KIND_MOUNT, &config->mount, NULL);
	for (size_t i = 0; i < config->n_databases; i++)
		check_section(CONFIG_KIND_DATABASE, &config->databases[i],
			      config->databases[i].name);
	for (size_t i = 0; i < config->n_backends; i++) {
		check_section(CONFIG_KIND_BACKEND, &config->backends[i],
			      config->backends[i].name);
		for (size_t k = 0; k < i; k++)
			FUZZ_CHECK(strcasecmp(config->backends[i].name,
					      config->backends[k].name) != 0);
	}
}

/* A message goes to terminals and logs: nothing in it may steer them. */
static void check_error(const struct error *err)
{
	FUZZ_CHECK(err->what != NULL && err->code != 0);
	for (const char *c = err->what; *c != '\0'; c++)
		FUZZ_CHECK(!iscntrl((unsigned char)*c));
}

static void parse(const char *text, size_t len, const char *const *env)
{
	struct config config CLEANUP_CONFIG = { 0 };
	struct error err CLEANUP_ERROR = ERROR_INIT;

	if (config_parse(text, len, "fuzz.ini", env, &config, &err) < 0) {
		check_error(&err);
		FUZZ_CHECK(config.mount.state_dir == NULL && config.backends == NULL);
		return;
	}
	check_config(&config);
	if (config_add_backend_url(&config, "file:///added", &err) == 0)
		check_config(&config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = size != 0 ? (const char *)data : "";
	const char *mark = memmem(text, size, env_mark, sizeof(env_mark) - 1);
	size_t len = mark != NULL ? (size_t)(mark - text) + 1 : size;
	const char *env[ENV_MAX + 1] = { NULL };
	char *copy CLEANUP_FREE = NULL;

	if (mark != NULL) {
		mark += sizeof(env_mark) - 1;
		copy = strndup(mark, size - (size_t)(mark - text));
		if (copy == NULL)
			return 0;
		split_env(copy, env);
	}
	parse(text, len, env);
	return 0;
}
