/* SPDX-License-Identifier: MIT */
#include "app/config_draft.h"

#include "app/config.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

static bool same_letter(char a, char b)
{
	int x = toupper((unsigned char)a);
	int y = toupper((unsigned char)b);

	return (x == '-' ? '_' : x) == (y == '-' ? '_' : y);
}

static bool same_name(const char *a, const char *b, size_t b_len)
{
	if (strlen(a) != b_len)
		return false;
	for (size_t i = 0; i < b_len; i++) {
		if (!same_letter(a[i], b[i]))
			return false;
	}
	return true;
}

struct config_draft_section *config_draft_find(const struct config_draft *draft,
					       enum config_kind kind,
					       const char *name, size_t len)
{
	for (size_t i = 0; i < draft->n_sections; i++) {
		struct config_draft_section *section = &draft->sections[i];

		if (section->kind != kind)
			continue;
		if (section->name == NULL || same_name(section->name, name, len))
			return section;
	}
	return NULL;
}

/* Makes room for one more section; false when out of memory. */
static bool grow(struct config_draft *draft)
{
	size_t size = draft->size != 0 ? 2 * draft->size : 8;
	struct config_draft_section *sections;

	if (draft->n_sections < draft->size)
		return true;
	sections = reallocarray(draft->sections, size, sizeof(*sections));
	if (sections == NULL)
		return false;
	draft->sections = sections;
	draft->size = size;
	return true;
}

struct config_draft_section *config_draft_add(struct config_draft *draft, enum config_kind kind,
					      const char *name, size_t len,
					      unsigned line, struct error *err)
{
	struct config_draft_section *section;
	char *copy = NULL;

	if (draft->n_sections >= CONFIG_SECTIONS_MAX) {
		error_set(err, EINVAL, "%s: more than %d sections", draft->file,
			  CONFIG_SECTIONS_MAX);
		error_fix(err, "let patterns speak for many databases");
		return NULL;
	}
	if (config_kinds[kind].named)
		copy = strndup(name, len);
	if ((config_kinds[kind].named && copy == NULL) || !grow(draft)) {
		free(copy);
		error_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	section = &draft->sections[draft->n_sections++];
	*section = (struct config_draft_section){
		.kind = kind,
		.name = copy,
		.line = line,
	};
	return section;
}

struct config_draft_value *config_draft_value(struct config_draft_section *section,
					      const struct config_key *key)
{
	return &section->values[key - config_keys];
}

int config_draft_title(const struct config_draft_section *section, struct buf *out)
{
	return buf_printf(out, "[%s%s%s]", config_kinds[section->kind].word,
			  section->name ? "." : "", section->name ? section->name : "");
}

int config_draft_wrap(const struct config_draft *draft, struct config_draft_section *section,
		      const struct config_key *key, struct error *err)
{
	const struct config_draft_value *value = config_draft_value(section, key);
	struct buf name CLEANUP_BUF = { 0 };
	int r = value->from_env ? config_key_env_name(key, section->name, &name) :
				  config_draft_title(section, &name);

	if (r < 0)
		return error_set(err, ENOMEM, "out of memory");
	if (value->from_env)
		return error_wrap(err, "%.*s in the environment", (int)name.len, name.data);
	return error_wrap(err, "%s:%u: %s in %.*s", draft->file,
			  value->line != 0 ? value->line : section->line,
			  key->name, (int)name.len, name.data);
}

void config_draft_done(struct config_draft *draft)
{
	for (size_t i = 0; i < draft->n_sections; i++) {
		for (size_t k = 0; k < config_n_keys; k++)
			free(draft->sections[i].values[k].text);
		free(draft->sections[i].name);
	}
	free(draft->sections);
	memset(draft, 0, sizeof(*draft));
}
