/* SPDX-License-Identifier: MIT */
#include "app/config_read.h"

#include "app/config.h"
#include "app/config_value.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

/*
 * REPLITEDFS_MOUNT_KEY sets a key of [mount], REPLITEDFS_BACKEND_NAME_KEY one of
 * [backend.NAME], likewise for databases. The rules:
 *
 * 1. A variable wins over the file. An empty one counts as not set, because that
 *    is what compose files make of a variable that nobody filled in.
 * 2. Values are taken as they are; ${NAME} is not expanded once more.
 * 3. The variable of the key that a section cannot be without (url, path)
 *    defines the section where the file has none; its name is the variable's in
 *    lower case. Such sections come behind those of the file, sorted by name.
 * 4. Whatever else begins with REPLITEDFS_ and the word of a section is a
 *    mistake and refused, but for the variables that Kubernetes puts into each
 *    container for a service of such a name (REPLITEDFS_MOUNT_PORT and the like).
 *    All other REPLITEDFS_… variables are not ours to judge.
 */
static const char prefix[] = "REPLITEDFS_";

/* A variable: KIND, then rest[rest_len], then its value. */
struct variable {
	enum config_kind kind;
	const char *name; /* the whole of it */
	size_t name_len;
	const char *rest; /* what follows REPLITEDFS_KIND_ */
	size_t rest_len;
	const char *value;
};

static bool same_upper(const char *upper, const char *lower, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = (char)toupper((unsigned char)lower[i]);

		if (upper[i] != (c == '-' ? '_' : c))
			return false;
	}
	return true;
}

/* Splits entry into variable; false when it is none of ours, or empty. */
static bool split(const char *entry, struct variable *variable)
{
	const char *equals = strchr(entry, '=');
	const char *at = entry + sizeof(prefix) - 1;

	if (equals == NULL || equals[1] == '\0' ||
	    strncmp(entry, prefix, sizeof(prefix) - 1) != 0)
		return false;
	for (int i = 0; i < CONFIG_N_KINDS; i++) {
		const char *word = config_kinds[i].word;
		size_t len = strlen(word);

		if ((size_t)(equals - at) <= len || at[len] != '_' ||
		    !same_upper(at, word, len))
			continue;
		*variable = (struct variable){
			.kind = (enum config_kind)i,
			.name = entry,
			.name_len = (size_t)(equals - entry),
			.rest = at + len + 1,
			.rest_len = (size_t)(equals - at) - len - 1,
			.value = equals + 1,
		};
		return true;
	}
	return false;
}

static bool ends_in(const struct variable *variable, const char *key)
{
	size_t len = strlen(key);

	return variable->rest_len > len + 1 &&
	       variable->rest[variable->rest_len - len - 1] == '_' &&
	       same_upper(variable->rest + variable->rest_len - len, key, len);
}

/* Adds the section that variable defines, if it defines one. */
static int define_section(struct config_draft *draft,
			  const struct variable *variable, struct error *err)
{
	const struct config_key *key = config_key_required(variable->kind);
	char name[CONFIG_NAME_MAX + 1] = { 0 };
	size_t len;

	if (key == NULL || !ends_in(variable, key->name))
		return 0;
	len = variable->rest_len - strlen(key->name) - 1;
	if (!config_name_valid(variable->rest, len) ||
	    config_draft_find(draft, variable->kind, variable->rest, len) != NULL)
		return 0;
	for (size_t i = 0; i < len; i++)
		name[i] = (char)tolower((unsigned char)variable->rest[i]);
	if (config_draft_add(draft, variable->kind, name, len, 0, err) == NULL)
		return error_wrap(err, "%.*s in the environment",
				  (int)variable->name_len, variable->name);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct config_draft_section *x = a;
	const struct config_draft_section *y = b;

	return strcmp(x->name ? x->name : "", y->name ? y->name : "");
}

static int define_sections(struct config_draft *draft, const char *const *env,
			   struct error *err)
{
	size_t n_before = draft->n_sections;
	struct variable variable;
	int r = 0;

	for (; *env != NULL && r == 0; env++) {
		if (split(*env, &variable))
			r = define_section(draft, &variable, err);
	}
	if (draft->n_sections > n_before)
		qsort(draft->sections + n_before, draft->n_sections - n_before,
		      sizeof(*draft->sections), by_name);
	return r;
}

/*
 * The key of section that variable sets, or NULL. *ret_key_name: what follows
 * the section's name in the variable; NULL when that is not the section's.
 */
static const struct config_key *match_key(const struct config_draft_section *section,
					  const struct variable *variable,
					  const char **ret_key_name)
{
	size_t name_len = section->name != NULL ? strlen(section->name) : 0;
	size_t skip = section->name != NULL ? name_len + 1 : 0;

	*ret_key_name = NULL;
	if (section->kind != variable->kind || variable->rest_len <= skip)
		return NULL;
	if (section->name != NULL && (variable->rest[name_len] != '_' ||
				      !same_upper(variable->rest, section->name, name_len)))
		return NULL;
	*ret_key_name = variable->rest + skip;
	for (size_t i = 0; i < config_n_keys; i++) {
		const struct config_key *key = &config_keys[i];

		if (key->kind == section->kind &&
		    strlen(key->name) == variable->rest_len - skip &&
		    same_upper(variable->rest + skip, key->name, strlen(key->name)))
			return key;
	}
	return NULL;
}

/* What Kubernetes sets for a service: …_SERVICE_HOST, …_PORT, …_PORT_80_TCP … */
static bool is_service_link(const struct variable *variable)
{
	static const char *const parts[] = { "SERVICE_HOST", "SERVICE_PORT", "PORT" };

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		size_t len = strlen(parts[i]);
		const char *at = variable->rest;
		size_t left = variable->rest_len;

		for (; (at = memmem(at, left, parts[i], len)) != NULL; at++) {
			left = variable->rest_len - (size_t)(at - variable->rest);
			if ((at == variable->rest || at[-1] == '_') &&
			    (left == len || at[len] == '_'))
				return true;
			left--;
		}
	}
	return false;
}

/* A name for messages: without bytes that a terminal might obey. */
static void copy_name(char out[CONFIG_NAME_MAX + 1], const char *name, size_t len)
{
	size_t n = MIN(len, (size_t)CONFIG_NAME_MAX);

	for (size_t i = 0; i < n; i++) {
		char c = name[i];

		out[i] = isalnum((unsigned char)c) || c == '_' ? c : '?';
	}
	out[n] = '\0';
}

static int refuse(const struct config_draft_section *section,
		  const struct variable *variable, const char *key_name, struct error *err)
{
	char name[CONFIG_NAME_MAX + 1];
	char key[CONFIG_NAME_MAX + 1];
	struct buf near CLEANUP_BUF = { 0 };
	const char *found = NULL;

	copy_name(name, variable->name, variable->name_len);
	if (variable->kind == CONFIG_KIND_STREAM)
		return error_set(err, EINVAL, "%s in the environment is not supported by this version",
				 name);
	if (section == NULL) {
		error_set(err, EINVAL, "%s in the environment is for a [%s.NAME] that is not there",
			  name, config_kinds[variable->kind].word);
		return error_fix(err,
				 "unset %s, or define the section by the variable that "
				 "ends in _%s",
				 name, variable->kind == CONFIG_KIND_BACKEND ? "URL" : "PATH");
	}
	copy_name(key, key_name, variable->rest_len - (size_t)(key_name - variable->rest));
	found = config_key_suggest(section->kind, key);
	error_set(err, EINVAL, "%s in the environment: unknown key", name);
	if (found != NULL && config_key_env_name(config_key_find(section->kind, found),
						 section->name, &near) == 0)
		return error_fix(err, "did you mean %.*s?", (int)near.len, near.data);
	return error_fix(err, "`replitedfs config --docs` lists all keys");
}

static int set_value(struct config_draft_section *section, const struct config_key *key,
		     const struct variable *variable, struct error *err)
{
	struct config_draft_value *value = config_draft_value(section, key);

	/* Of two variables of one name, getenv(3) gives the first. */
	if (value->from_env)
		return 0;
	free(value->text);
	value->from_env = true;
	value->text = strndup(variable->value, CONFIG_VALUE_MAX + 1);
	return value->text != NULL ? 0 : error_set(err, ENOMEM, "out of memory");
}

static int apply(struct config_draft *draft, const struct variable *variable,
		 struct error *err)
{
	const struct config_draft_section *owner = NULL;
	const char *owner_key = NULL;

	for (size_t i = 0; i < draft->n_sections; i++) {
		struct config_draft_section *section = &draft->sections[i];
		const char *key_name;
		const struct config_key *key = match_key(section, variable, &key_name);

		if (key != NULL)
			return set_value(section, key, variable, err);
		if (key_name != NULL) {
			owner = section;
			owner_key = key_name;
		}
	}
	if (is_service_link(variable))
		return 0;
	return refuse(owner, variable, owner_key, err);
}

int config_env_apply(struct config_draft *draft, const char *const *env, struct error *err)
{
	struct variable variable;
	int r;

	if (env == NULL)
		return 0;
	r = define_sections(draft, env, err);
	for (; *env != NULL && r == 0; env++) {
		if (split(*env, &variable))
			r = apply(draft, &variable, err);
	}
	return r;
}
