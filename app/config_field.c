/* SPDX-License-Identifier: MIT */
#include "app/config_field.h"

#include "app/config.h"
#include "app/config_value.h"
#include "base/glob.h"

#include <errno.h>
#include <string.h>

static void *field_of(const struct config_key *key, void *section)
{
	return (char *)section + key->offset;
}

static int store_string(char **field, const char *text, struct error *err)
{
	*field = strdup(text);
	return *field != NULL ? 0 : error_set(err, ENOMEM, "out of memory");
}

static int store_choice(const struct config_key *key, const char *text,
			int *field, struct error *err)
{
	size_t n = 0;

	while (n < CONFIG_CHOICES_MAX && key->choices[n] != NULL)
		n++;
	return config_value_choice(text, key->choices, n, field, err);
}

static int store_bool(const char *text, bool *field, struct error *err)
{
	static const char *const choices[] = { "no", "yes" };
	int index = 0;
	int r = config_value_choice(text, choices, ARRAY_LEN(choices), &index, err);

	*field = index == 1;
	return r;
}

static int check_range(const struct config_key *key, const char *text,
		       int64_t value, struct error *err)
{
	if (value >= key->min && value <= key->max)
		return 0;
	return error_set(err, EINVAL, "%s is too %s", text,
			 value < key->min ? "little" : "much");
}

static int store_int(const struct config_key *key, const char *text, int *field,
		     struct error *err)
{
	int64_t value;
	int r = config_value_integer(text, &value, err);

	if (r == 0)
		r = check_range(key, text, value, err);
	if (r == 0)
		*field = (int)value;
	return r;
}

static int store_quantity(const struct config_key *key, const char *text,
			  int64_t *field, struct error *err)
{
	int64_t value;
	int r;

	if (key->type == CONFIG_TYPE_SIZE_OR_AUTO && strcmp(text, "auto") == 0) {
		*field = 0;
		return 0;
	}
	r = key->type == CONFIG_TYPE_DURATION ?
		    config_value_duration(text, &value, err) :
		    config_value_size(text, &value, err);
	if (r == 0)
		r = check_range(key, text, value, err);
	if (r == 0)
		*field = value;
	return r;
}

/* Adds the pattern text[len], without the blanks around it. */
static int add_glob(struct config_globs *globs, const char *text, size_t len,
		    struct error *err)
{
	char *pattern CLEANUP_FREE = NULL;
	char **patterns;
	int r;

	for (; len > 0 && *text == ' '; len--)
		text++;
	while (len > 0 && text[len - 1] == ' ')
		len--;
	pattern = strndup(text, len);
	patterns = reallocarray(globs->patterns, globs->n_patterns + 1, sizeof(*patterns));
	if (patterns != NULL)
		globs->patterns = patterns;
	if (patterns == NULL || pattern == NULL)
		return error_set(err, ENOMEM, "out of memory");
	r = glob_check(pattern, err);
	if (r == 0)
		globs->patterns[globs->n_patterns++] = TAKE(pattern);
	return r;
}

static int store_globs(struct config_globs *globs, const char *text, struct error *err)
{
	for (;;) {
		size_t len = strcspn(text, ",");
		int r = add_glob(globs, text, len, err);

		if (r < 0 || text[len] == '\0')
			return r;
		text += len + 1;
	}
}

static int store(const struct config_key *key, const char *text, void *field,
		 struct error *err)
{
	int r = 0;

	switch (key->type) {
	case CONFIG_TYPE_CHOICE:
		return store_choice(key, text, field, err);
	case CONFIG_TYPE_BOOL:
		return store_bool(text, field, err);
	case CONFIG_TYPE_INTEGER:
		return store_int(key, text, field, err);
	case CONFIG_TYPE_DURATION:
	case CONFIG_TYPE_SIZE:
	case CONFIG_TYPE_SIZE_OR_AUTO:
		return store_quantity(key, text, field, err);
	case CONFIG_TYPE_PATH:
		r = config_value_path(text, err);
		break;
	case CONFIG_TYPE_URL:
		r = config_value_url(text, err);
		break;
	case CONFIG_TYPE_GLOB:
		r = glob_check(text, err);
		break;
	case CONFIG_TYPE_GLOBS:
		return store_globs(field, text, err);
	}
	return r < 0 ? r : store_string(field, text, err);
}

int config_field_store(const struct config_key *key, const char *text,
		       void *section, struct error *err)
{
	struct buf allowed CLEANUP_BUF = { 0 };
	int r = config_value_text(text, err);

	if (r == 0)
		r = store(key, text, field_of(key, section), err);
	if (r == -EINVAL && config_key_allowed(key, &allowed) == 0)
		error_why(err, "%s takes %.*s", key->name, (int)allowed.len, allowed.data);
	return r;
}

void config_field_clear(const struct config_key *key, void *section)
{
	struct config_globs *globs;

	switch (key->type) {
	case CONFIG_TYPE_PATH:
	case CONFIG_TYPE_URL:
	case CONFIG_TYPE_GLOB:
		free(*(char **)field_of(key, section));
		break;
	case CONFIG_TYPE_GLOBS:
		globs = field_of(key, section);
		for (size_t i = 0; i < globs->n_patterns; i++)
			free(globs->patterns[i]);
		free(globs->patterns);
		break;
	default:
		break;
	}
}
