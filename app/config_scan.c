/* SPDX-License-Identifier: MIT */
#include "app/config_scan.h"

#include <errno.h>
#include <string.h>

/*
 * iniparser 4.1 takes much without a word, and this is what it makes of it:
 *
 *     key = a#b           "a": an unquoted value ends at '#' and ';'
 *     key = "a" b         "a": what follows the quote is lost
 *     key = "a            "a": the quote need not be closed
 *     key = "a\b"         "a\b" in release 4.1, "ab" in 4.2
 *     key = a \           joined with the next line, also in a comment
 *     [a] # b             no section: an error, or a key where there is a '='
 *     key = a\0b          "a": the line ends at the NUL
 *     a line of 1024      an error without its text; \v and \f are blanks
 *     key before [a]      a key of the section ""
 *
 * Each of these is refused here, with its line, so that iniparser is only given
 * text that it reads as it is meant.
 */

struct line {
	const char *text;
	size_t len;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct line trim(struct line line)
{
	while (line.len > 0 && is_blank(line.text[0])) {
		line.text++;
		line.len--;
	}
	while (line.len > 0 && is_blank(line.text[line.len - 1]))
		line.len--;
	return line;
}

static bool is_comment(struct line line)
{
	return line.len > 0 && (line.text[0] == '#' || line.text[0] == ';');
}

void config_scan_init(struct config_scan *scan, const char *text, size_t len, const char *file)
{
	*scan = (struct config_scan){
		.at = text,
		.end = text + len,
		.file = file,
	};
}

/* Takes the next line, without its end. */
static struct line next_line(struct config_scan *scan)
{
	size_t left = (size_t)(scan->end - scan->at);
	const char *newline = memchr(scan->at, '\n', left);
	struct line line = {
		.text = scan->at,
		.len = newline != NULL ? (size_t)(newline - scan->at) : left,
	};

	scan->at = newline != NULL ? newline + 1 : scan->end;
	scan->line++;
	if (line.len > 0 && line.text[line.len - 1] == '\r')
		line.len--;
	return line;
}

static int refuse_line(const struct config_scan *scan, struct error *err,
		       const char *problem, const char *fix)
{
	error_set(err, EINVAL, "%s:%u: %s", scan->file, scan->line, problem);
	return error_fix(err, "%s", fix);
}

static int check_bytes(const struct config_scan *scan, struct line line, struct error *err)
{
	if (line.len > CONFIG_SCAN_LINE_MAX)
		return error_set(err, EINVAL, "%s:%u: the line is longer than %d bytes",
				 scan->file, scan->line, CONFIG_SCAN_LINE_MAX);
	for (size_t i = 0; i < line.len; i++) {
		unsigned char c = (unsigned char)line.text[i];

		if ((c < ' ' && c != '\t') || c == 0x7f)
			return error_set(err, EINVAL,
					 "%s:%u: the line holds the control character "
					 "0x%02x",
					 scan->file, scan->line, c);
	}
	line = trim(line);
	if (line.len > 0 && line.text[line.len - 1] == '\\')
		return refuse_line(scan, err,
				   "a backslash at its end would join the line with "
				   "the next one",
				   "leave the backslash out");
	return 0;
}

/* Fills ret_item; 1, or -EINVAL for a name with a tab inside. */
static int found(const struct config_scan *scan, bool is_section, struct line name,
		 struct config_scan_item *ret_item, struct error *err)
{
	if (memchr(name.text, '\t', name.len) != NULL)
		return refuse_line(scan, err, "there is a tab inside the name",
				   "write names without blanks");
	*ret_item = (struct config_scan_item){
		.is_section = is_section,
		.name = name.text,
		.name_len = name.len,
		.line = scan->line,
	};
	return 1;
}

static int scan_section(struct config_scan *scan, struct line line,
			struct config_scan_item *ret_item, struct error *err)
{
	const char *close = memchr(line.text, ']', line.len);
	struct line name;

	if (close == NULL)
		return refuse_line(scan, err, "the section's name has no ']'",
				   "close it: [mount]");
	if (close + 1 != line.text + line.len)
		return refuse_line(scan, err, "there is something behind the section's ']'",
				   "put it on a line of its own");
	name = trim((struct line){ line.text + 1, line.len - 2 });
	scan->in_section = true;
	return found(scan, true, name, ret_item, err);
}

/* Checks a value that begins with a quote. */
static int check_quoted(const struct config_scan *scan, struct line value, struct error *err)
{
	const char *close = memchr(value.text + 1, value.text[0], value.len - 1);
	struct line rest;

	if (close == NULL)
		return refuse_line(scan, err, "the value's quote is not closed",
				   "end the value with the quote it begins with");
	if (memchr(value.text, '\\', (size_t)(close - value.text)) != NULL)
		return refuse_line(scan, err, "the value has a backslash between quotes",
				   "write the value without quotes");
	rest.text = close + 1;
	rest.len = value.len - (size_t)(rest.text - value.text);
	rest = trim(rest);
	if (rest.len != 0 && !is_comment(rest))
		return refuse_line(scan, err, "there is something behind the value's quotes",
				   "put all of the value between \"…\", or between '…' if "
				   "it holds a \"");
	return 0;
}

static int check_unquoted(const struct config_scan *scan, struct line key,
			  struct line value, struct error *err)
{
	for (size_t i = 0; i < value.len; i++) {
		if (value.text[i] != '#' && value.text[i] != ';')
			continue;
		error_set(err, EINVAL,
			  "%s:%u: the value has an unquoted '%c', everything after it "
			  "would be lost",
			  scan->file, scan->line, value.text[i]);
		return error_fix(err,
				 "write %.*s = \"…%c…\", or put a comment on a line of "
				 "its own",
				 (int)MIN(key.len, (size_t)64), key.text, value.text[i]);
	}
	return 0;
}

static int scan_key(struct config_scan *scan, struct line line,
		    struct config_scan_item *ret_item, struct error *err)
{
	const char *equals = memchr(line.text, '=', line.len);
	struct line key;
	struct line value;
	int r;

	if (equals == NULL)
		return refuse_line(scan, err,
				   "the line is neither a [section], nor "
				   "key = value, nor a comment",
				   "begin a comment with '#'");
	key = trim((struct line){ line.text, (size_t)(equals - line.text) });
	value = trim((struct line){ equals + 1, line.len - (size_t)(equals + 1 - line.text) });
	if (key.len == 0)
		return refuse_line(scan, err, "there is no key in front of the '='",
				   "write key = value");
	if (!scan->in_section)
		return refuse_line(scan, err, "the key stands before any section",
				   "put a line such as [mount] above it");
	if (value.len > 0 && (value.text[0] == '"' || value.text[0] == '\''))
		r = check_quoted(scan, value, err);
	else
		r = check_unquoted(scan, key, value, err);
	return r < 0 ? r : found(scan, false, key, ret_item, err);
}

int config_scan_next(struct config_scan *scan,
		     struct config_scan_item *ret_item, struct error *err)
{
	while (scan->at < scan->end) {
		struct line line = next_line(scan);
		int r = check_bytes(scan, line, err);

		if (r < 0)
			return r;
		line = trim(line);
		if (line.len == 0 || is_comment(line))
			continue;
		if (line.text[0] == '[')
			return scan_section(scan, line, ret_item, err);
		return scan_key(scan, line, ret_item, err);
	}
	return 0;
}
