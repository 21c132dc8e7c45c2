/* SPDX-License-Identifier: MIT */
#include "app/config_value.h"

#include "app/suggest.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

struct unit {
	const char *name;
	int64_t factor;
};

/* Units of one kind of quantity, smallest first. */
struct quantity {
	const char *noun;
	const char *fix;
	const struct unit *units;
	size_t n_units;
	bool unit_optional;
};

static const struct unit duration_units[] = {
	{ "ms", 1 },	  { "s", 1000 },     { "min", 60000 },
	{ "h", 3600000 }, { "d", 86400000 },
};

static const struct unit size_units[] = {
	{ "B", 1 },	      { "kB", 1000 },	       { "KiB", 1LL << 10 },
	{ "MB", 1000000 },    { "MiB", 1LL << 20 },    { "GB", 1000000000 },
	{ "GiB", 1LL << 30 }, { "TB", 1000000000000 }, { "TiB", 1LL << 40 },
};

static const struct quantity duration = {
	.noun = "duration",
	.fix = "write a whole number with a unit ms, s, min, h or d, "
	       "such as 500ms or 5min",
	.units = duration_units,
	.n_units = ARRAY_LEN(duration_units),
};

static const struct quantity size = {
	.noun = "size",
	.fix = "write a whole number of bytes, or one with a unit kB, MB, GB, TB, "
	       "KiB, MiB, GiB or TiB, such as 64MiB",
	.units = size_units,
	.n_units = ARRAY_LEN(size_units),
	.unit_optional = true,
};

static const struct quantity integer = {
	.noun = "whole number",
	.fix = "write digits only, without leading zeros",
	.unit_optional = true,
};

/* The factor of the unit name; 0 when there is none of that name. */
static int64_t unit_factor(const struct quantity *quantity, const char *name)
{
	if (*name == '\0')
		return quantity->unit_optional ? 1 : 0;
	for (size_t i = 0; i < quantity->n_units; i++) {
		if (strcmp(quantity->units[i].name, name) == 0)
			return quantity->units[i].factor;
	}
	return 0;
}

/* Reads text; returns why it is none of that quantity, or NULL. */
static const char *read_quantity(const struct quantity *quantity,
				 const char *text, int64_t *ret_value)
{
	const char *at = text;
	int64_t value = 0;
	int64_t factor;

	if (*text == '\0')
		return "it is empty";
	if (!isdigit((unsigned char)*at))
		return "it does not begin with a digit";
	if (at[0] == '0' && isdigit((unsigned char)at[1]))
		return "it begins with a 0";
	for (; isdigit((unsigned char)*at); at++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, *at - '0', &value))
			return "it is too large";
	}
	factor = unit_factor(quantity, at);
	if (factor == 0)
		return *at == '\0' ? "it has no unit" : "it ends in something else";
	if (__builtin_mul_overflow(value, factor, ret_value))
		return "it is too large";
	return NULL;
}

static int parse_quantity(const struct quantity *quantity, const char *text,
			  int64_t *ret_value, struct error *err)
{
	const char *problem = read_quantity(quantity, text, ret_value);

	if (problem == NULL)
		return 0;
	error_set(err, EINVAL, "'%.64s' is not a %s: %s", text, quantity->noun, problem);
	return error_fix(err, "%s", quantity->fix);
}

int config_value_duration(const char *text, int64_t *ret_ms, struct error *err)
{
	return parse_quantity(&duration, text, ret_ms, err);
}

int config_value_size(const char *text, int64_t *ret_bytes, struct error *err)
{
	return parse_quantity(&size, text, ret_bytes, err);
}

int config_value_integer(const char *text, int64_t *ret_value, struct error *err)
{
	return parse_quantity(&integer, text, ret_value, err);
}

static int format_quantity(const struct quantity *quantity, int64_t value, struct buf *out)
{
	size_t i = quantity->n_units - 1;

	while (i > 0 && (value == 0 || value % quantity->units[i].factor != 0))
		i--;
	return buf_printf(out, "%lld%s", (long long)(value / quantity->units[i].factor),
			  quantity->units[i].name);
}

int config_value_format_duration(int64_t ms, struct buf *out)
{
	return format_quantity(&duration, ms, out);
}

int config_value_format_size(int64_t bytes, struct buf *out)
{
	return format_quantity(&size, bytes, out);
}

int config_value_choice(const char *text, const char *const *choices, size_t n,
			int *ret_index, struct error *err)
{
	struct buf list CLEANUP_BUF = { 0 };
	const char *near;

	for (size_t i = 0; i < n; i++) {
		if (strcmp(text, choices[i]) == 0) {
			*ret_index = (int)i;
			return 0;
		}
		if (buf_printf(&list, "%s%s",
			       i == 0	 ? "" :
			       i + 1 < n ? ", " :
					   " or ",
			       choices[i]) < 0)
			return error_set(err, ENOMEM, "out of memory");
	}
	near = suggest_word(text, choices, n);
	return error_set(err, EINVAL, "'%.64s' is not one of %.*s%s%s%s", text,
			 (int)list.len, list.data, near ? "; did you mean '" : "",
			 near ? near : "", near ? "'?" : "");
}

int config_value_url(const char *text, struct error *err)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789+.-");

	if (text[0] == '/' && text[1] != '\0')
		return 0;
	if (islower((unsigned char)text[0]) && len < 32 &&
	    strncmp(text + len, "://", 3) == 0 && text[len + 3] != '\0')
		return 0;
	if (*text == '\0')
		error_set(err, EINVAL, "the URL is empty");
	else
		error_set(err, EINVAL, "the URL has no scheme");
	return error_fix(err, "write SCHEME://…, such as file:///backups, or the "
			      "absolute path of a folder");
}

int config_value_path(const char *text, struct error *err)
{
	if (*text == '\0' || *text == '/')
		return 0;
	error_set(err, EINVAL, "'%.256s' is not an absolute path", text);
	return error_fix(err, "write the path from / on");
}

int config_value_text(const char *text, struct error *err)
{
	size_t len = strnlen(text, CONFIG_VALUE_MAX + 1);

	if (len > CONFIG_VALUE_MAX)
		return error_set(err, EINVAL, "the value is longer than %d bytes",
				 CONFIG_VALUE_MAX);
	for (size_t i = 0; i < len; i++) {
		if (iscntrl((unsigned char)text[i]))
			return error_set(err, EINVAL, "the value holds the control character 0x%02x",
					 (unsigned char)text[i]);
	}
	return 0;
}

static bool is_name(const char *name, size_t len)
{
	if (len == 0 || isdigit((unsigned char)name[0]))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)name[i]) && name[i] != '_')
			return false;
	}
	return true;
}

static const char *env_value(const char *const *env, const char *name, size_t len)
{
	for (; env != NULL && *env != NULL; env++) {
		if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
			return *env + len + 1;
	}
	return NULL;
}

/* Appends the variable that text, which begins with "${", names. */
static int expand_one(const char *text, const char *const *env, struct buf *out,
		      const char **ret_end, struct error *err)
{
	const char *name = text + 2;
	size_t len = strcspn(name, "}");
	const char *value;

	if (name[len] != '}')
		return error_set(err, EINVAL, "'${' without a '}'");
	if (!is_name(name, len)) {
		error_set(err, EINVAL, "'${%.*s}' is not a variable",
			  (int)MIN(len, (size_t)64), name);
		return error_fix(err, "write ${NAME}, or $${ for the characters "
				      "${ themselves");
	}
	value = env_value(env, name, len);
	if (value == NULL) {
		error_set(err, EINVAL, "${%.*s} is not set", (int)len, name);
		return error_fix(err,
				 "export %.*s=… to the program, or write the "
				 "value itself",
				 (int)len, name);
	}
	*ret_end = name + len + 1;
	if (buf_append(out, value, strnlen(value, CONFIG_VALUE_MAX + 1)) < 0)
		return error_set(err, ENOMEM, "out of memory");
	return 0;
}

int config_value_expand(const char *text, const char *const *env,
			struct buf *out, struct error *err)
{
	int r = 0;

	while (*text != '\0' && r == 0) {
		if (strncmp(text, "${", 2) == 0) {
			r = expand_one(text, env, out, &text, err);
		} else {
			/* "$${" loses its first '$' and is not looked into. */
			size_t skip = strncmp(text, "$${", 3) == 0 ? 1 : 0;
			size_t len = skip ? 2 : 1;

			if (buf_append(out, text + skip, len) < 0)
				return error_set(err, ENOMEM, "out of memory");
			text += skip + len;
		}
		if (r == 0 && out->len > CONFIG_VALUE_MAX)
			return error_set(err, EINVAL, "the value is longer than %d bytes",
					 CONFIG_VALUE_MAX);
	}
	return r;
}
