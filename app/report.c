/* SPDX-License-Identifier: MIT */
#include "app/report.h"

#include "app/shown_name.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>

/* Prints text behind label; lines after the first begin below its first. */
static void print_text(FILE *out, const char *label, const char *text)
{
	fputs(label, out);
	for (; *text != '\0'; text++) {
		if (*text == '\n')
			fprintf(out, "\n%*s", (int)strlen(label), "");
		else
			fputc(iscntrl((unsigned char)*text) ? '?' : *text, out);
	}
	fputc('\n', out);
}

static void print_help(FILE *out, const struct error *err)
{
	if (err->why != NULL)
		print_text(out, "why: ", err->why);
	if (err->fix != NULL)
		print_text(out, "fix: ", err->fix);
}

void report_error(FILE *out, const struct error *err)
{
	print_text(out, "replitedfs: ", error_what(err));
	print_help(out, err);
}

static void print_database(FILE *out, const char *name, const struct error *err)
{
	char *label CLEANUP_FREE = NULL;

	if (asprintf(&label, "%s: FAILED: ", name) < 0)
		label = NULL;
	for (char *c = label; c != NULL && *c != '\0'; c++) {
		if (iscntrl((unsigned char)*c))
			*c = '?';
	}
	print_text(out, label != NULL ? label : "FAILED: ", error_what(err));
	print_help(out, err);
}

int report_exit(const struct error *err)
{
	report_error(stderr, err);
	return error_exit_code(err);
}

/* text as JSON, NULL when out of memory. */
static json_t *json_of(const char *text)
{
	char *ascii CLEANUP_FREE = NULL;
	json_t *json;

	if (text == NULL)
		return json_null();
	json = json_string(text);
	if (json != NULL)
		return json;
	ascii = strdup(text);
	for (char *c = ascii; c != NULL && *c != '\0'; c++) {
		if (!isascii((unsigned char)*c))
			*c = '?';
	}
	return ascii != NULL ? json_string(ascii) : NULL;
}

int report_json_error(FILE *out, const struct error *err)
{
	/* "o" takes the reference, and a NULL makes the whole fail. */
	json_t *json = json_pack("{s:{s:o, s:o, s:o, s:i}}", "error", "what",
				 json_of(error_what(err)), "why",
				 json_of(err->why), "fix", json_of(err->fix),
				 "exit_code", error_exit_code(err));
	char *text CLEANUP_FREE = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	if (text == NULL)
		return -ENOMEM;
	fprintf(out, "%s\n", text);
	return 0;
}

int report_database(FILE *out, json_t *results, const char *name, const struct error *err)
{
	if (results == NULL)
		print_database(out, name, err);
	else
		json_array_append_new(results, json_pack("{s:o, s:b, s:o, s:o, s:o}", "database",
							 shown_name_json(name), "ok", 0, "error",
							 json_of(error_what(err)), "why",
							 json_of(err->why), "fix",
							 json_of(err->fix)));
	return error_exit_code(err);
}
