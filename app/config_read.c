/* SPDX-License-Identifier: MIT */
#include "app/config_read.h"

#include "app/config.h"
#include "app/config_ini.h"
#include "app/config_scan.h"
#include "app/config_value.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

/*
 * Two readers go over the same text. config_scan knows lines and refuses what
 * iniparser would misread; it fills the draft with sections and keys, so that
 * unknown and repeated ones are found with their lines. iniparser then delivers
 * the values. That both have seen the same is checked at the end.
 */

struct reader {
	struct config_draft *draft;
	struct config_draft_section *section; /* the current one */
	struct error *err;
};

/* Copies a name of the text; what is longer than any of ours is cut. */
static void copy_name(char out[CONFIG_NAME_MAX + 1], const char *name, size_t len)
{
	len = MIN(len, (size_t)CONFIG_NAME_MAX);
	memcpy(out, name, len);
	out[len] = '\0';
}

static int refuse_kind(struct reader *reader, const struct config_scan_item *item)
{
	size_t word_len = strcspn(item->name, ".]");
	char word[CONFIG_NAME_MAX + 1];
	enum config_kind near;

	copy_name(word, item->name, MIN(word_len, item->name_len));
	near = config_kind_suggest(word);
	error_set(reader->err, EINVAL, "%s:%u: unknown section [%.*s]%s%s%s",
		  reader->draft->file, item->line, (int)MIN(item->name_len, (size_t)128),
		  item->name, near != CONFIG_N_KINDS ? "; did you mean [" : "",
		  near != CONFIG_N_KINDS ? config_kinds[near].word : "",
		  near == CONFIG_N_KINDS   ? "" :
		  config_kinds[near].named ? ".NAME]?" :
					     "]?");
	return error_fix(reader->err, "the sections are [mount], [stream], "
				      "[database.NAME] and [backend.NAME]");
}

static int check_name(struct reader *reader, enum config_kind kind,
		      const struct config_scan_item *item, const char *name, size_t len)
{
	const char *word = config_kinds[kind].word;

	if (name == NULL && config_kinds[kind].named) {
		error_set(reader->err, EINVAL, "%s:%u: [%s] has no name",
			  reader->draft->file, item->line, word);
		return error_fix(reader->err, "write [%s.NAME], with a name of your own", word);
	}
	if (name != NULL && !config_kinds[kind].named) {
		error_set(reader->err, EINVAL, "%s:%u: [%s] takes no name",
			  reader->draft->file, item->line, word);
		return error_fix(reader->err, "write [%s]", word);
	}
	if (name != NULL && !config_name_valid(name, len)) {
		error_set(reader->err, EINVAL, "%s:%u: '%.*s' cannot be the name of a %s",
			  reader->draft->file, item->line,
			  (int)MIN(len, (size_t)128), name, word);
		return error_fix(reader->err, "write 1 to %d letters, digits, '_' and '-'",
				 CONFIG_NAME_MAX);
	}
	return 0;
}

static int read_section(struct reader *reader, const struct config_scan_item *item)
{
	const char *dot = memchr(item->name, '.', item->name_len);
	size_t word_len = dot != NULL ? (size_t)(dot - item->name) : item->name_len;
	const char *name = dot != NULL ? dot + 1 : NULL;
	size_t name_len = dot != NULL ? item->name_len - word_len - 1 : 0;
	enum config_kind kind = config_kind_find(item->name, word_len);
	struct config_draft_section *before;
	int r;

	if (kind == CONFIG_N_KINDS)
		return refuse_kind(reader, item);
	r = check_name(reader, kind, item, name, name_len);
	if (r < 0)
		return r;
	before = config_draft_find(reader->draft, kind, name, name_len);
	if (before != NULL) {
		error_set(reader->err, EINVAL, "%s:%u: section [%.*s] is there twice",
			  reader->draft->file, item->line, (int)item->name_len,
			  item->name);
		error_why(reader->err, "it begins at line %u%s", before->line,
			  name != NULL ? "; upper and lower case, '-' and '_' count as the "
					 "same in names" :
					 "");
		return error_fix(reader->err, "make one section of the two");
	}
	reader->section = config_draft_add(reader->draft, kind, name, name_len,
					   item->line, reader->err);
	return reader->section != NULL ? 0 : -reader->err->code;
}

static int refuse_key(struct reader *reader,
		      const struct config_scan_item *item, const char *name)
{
	struct buf title CLEANUP_BUF = { 0 };
	enum config_kind kind = reader->section->kind;
	const char *near = config_key_suggest(kind, name);

	if (config_draft_title(reader->section, &title) < 0)
		return error_set(reader->err, ENOMEM, "out of memory");
	if (kind == CONFIG_KIND_STREAM) {
		error_set(reader->err, EINVAL,
			  "%s:%u: '%s' in [stream] is not supported by this version",
			  reader->draft->file, item->line, name);
		return error_fix(reader->err, "leave [stream] empty");
	}
	error_set(reader->err, EINVAL, "%s:%u: unknown key '%s' in %.*s%s%s%s",
		  reader->draft->file, item->line, name, (int)title.len, title.data,
		  near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	return error_fix(reader->err, "`replitedfs config --docs` lists all keys");
}

static int read_key(struct reader *reader, const struct config_scan_item *item)
{
	char name[CONFIG_NAME_MAX + 1];
	const struct config_key *key;
	struct config_draft_value *value;

	copy_name(name, item->name, item->name_len);
	for (char *c = name; *c != '\0'; c++)
		*c = (char)tolower((unsigned char)*c);
	key = config_key_find(reader->section->kind, name);
	if (key == NULL || item->name_len > CONFIG_NAME_MAX)
		return refuse_key(reader, item, name);
	value = config_draft_value(reader->section, key);
	if (value->line != 0) {
		error_set(reader->err, EINVAL, "%s:%u: '%s' is there twice",
			  reader->draft->file, item->line, name);
		error_why(reader->err, "line %u of the same section sets it too",
			  value->line);
		return error_fix(reader->err, "leave one of the two lines out");
	}
	value->line = item->line;
	return 0;
}

/* Fills the draft with sections and keys; returns how many, or -errno. */
static int read_structure(struct config_draft *draft, const char *text,
			  size_t len, struct error *err)
{
	struct reader reader = { .draft = draft, .err = err };
	struct config_scan_item item;
	struct config_scan scan;
	int n = 0;
	int r;

	config_scan_init(&scan, text, len, draft->file);
	for (;;) {
		r = config_scan_next(&scan, &item, err);
		if (r <= 0)
			return r < 0 ? r : n;
		r = item.is_section ? read_section(&reader, &item) :
				      read_key(&reader, &item);
		if (r < 0)
			return r;
		n++;
	}
}

static int read_value(const struct config_ini *ini, const char *title,
		      const struct config_key *key, struct config_draft_value *value,
		      const char *const *env, struct error *err)
{
	struct buf expanded CLEANUP_BUF = { 0 };
	const char *text = config_ini_get(ini, title, key->name);
	const char *string;
	int r;

	if (text == NULL)
		return error_set(err, EIO, "the value was not found again");
	r = config_value_text(text, err);
	if (r == 0)
		r = config_value_expand(text, env, &expanded, err);
	if (r < 0)
		return r;
	string = buf_str(&expanded);
	value->text = string != NULL ? strdup(string) : NULL;
	return value->text != NULL ? 0 : error_set(err, ENOMEM, "out of memory");
}

/* The name that iniparser knows section by: lower case, without brackets. */
static char *ini_title(const struct config_draft_section *section)
{
	struct buf title CLEANUP_BUF = { 0 };

	if (config_draft_title(section, &title) < 0)
		return NULL;
	for (size_t i = 0; i < title.len; i++)
		title.data[i] = (uint8_t)tolower(title.data[i]);
	return strndup((const char *)title.data + 1, title.len - 2);
}

static int read_section_values(struct config_draft *draft,
			       struct config_draft_section *section,
			       const struct config_ini *ini,
			       const char *const *env, struct error *err)
{
	char *title CLEANUP_FREE = ini_title(section);

	if (title == NULL)
		return error_set(err, ENOMEM, "out of memory");
	for (size_t k = 0; k < config_n_keys; k++) {
		struct config_draft_value *value = &section->values[k];

		if (value->line == 0)
			continue;
		if (read_value(ini, title, &config_keys[k], value, env, err) < 0)
			return config_draft_wrap(draft, section, &config_keys[k], err);
	}
	return 0;
}

int config_read(struct config_draft *draft, const char *text, size_t len,
		const char *const *env, struct error *err)
{
	struct config_ini *ini CLEANUP(config_ini_cleanup) = NULL;
	int n;
	int r;

	/* Editors elsewhere put a byte order mark in front. */
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		text += 3;
		len -= 3;
	}
	n = read_structure(draft, text, len, err);
	if (n <= 0)
		return n;
	r = config_ini_load(text, len, &ini, err);
	if (r < 0)
		return r;
	if (config_ini_count(ini) != (size_t)n)
		return error_set(err, EIO, "%s: iniparser finds %zu sections and keys, not %d",
				 draft->file, config_ini_count(ini), n);
	for (size_t i = 0; i < draft->n_sections && r == 0; i++)
		r = read_section_values(draft, &draft->sections[i], ini, env, err);
	return r;
}
