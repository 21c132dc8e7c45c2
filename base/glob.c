/* SPDX-License-Identifier: MIT */
#include "base/glob.h"

#include <errno.h>
#include <string.h>

/*
 * fnmatch(3) knows no "**" and goes back to every earlier '*' when it fails,
 * which a hostile pattern makes exponential. Here the pattern is a
 * nondeterministic automaton whose states are the offsets into it: active[i]
 * says that the path so far is matched by what stands before offset i. Every
 * byte of the path moves all active states at once.
 */
struct states {
	bool active[GLOB_LEN_MAX + 1];
};

/* Where the members of the set at "[…" begin. */
static size_t set_begin(const char *at)
{
	return at[1] == '!' || at[1] == '^' ? 2 : 1;
}

/* The length of the set with its closing bracket; 0 when it is never closed. */
static size_t set_length(const char *at)
{
	size_t i = set_begin(at);

	if (at[i] == ']')
		i++;
	while (at[i] != '\0' && at[i] != ']')
		i++;
	return at[i] == ']' ? i + 1 : 0;
}

static bool set_matches(const char *at, size_t len, unsigned char c)
{
	const unsigned char *set = (const unsigned char *)at;
	bool negated = set_begin(at) == 2;
	bool found = false;

	for (size_t i = set_begin(at); i < len - 1; i++) {
		if (set[i + 1] == '-' && i + 2 < len - 1) {
			found = found || (set[i] <= c && c <= set[i + 2]);
			i += 2;
		} else {
			found = found || set[i] == c;
		}
	}
	return found != negated && c != '/';
}

/* The length of the element of the pattern that begins at at. */
static size_t element_length(const char *at)
{
	if (at[0] == '*')
		return at[1] == '*' ? 2 : 1;
	if (at[0] == '\\' && at[1] != '\0')
		return 2;
	if (at[0] == '[' && set_length(at) != 0)
		return set_length(at);
	return 1;
}

static bool element_matches(const char *at, size_t len, char c)
{
	switch (at[0]) {
	case '?':
		return c != '/';
	case '[':
		return len == 1 ? c == '[' : set_matches(at, len, (unsigned char)c);
	case '\\':
		return c == at[len - 1];
	default:
		return c == at[0];
	}
}

/* Whether a whole component "**" and its slash begin at offset i. */
static bool is_any_folders(const char *pattern, size_t i)
{
	return strncmp(pattern + i, "**/", 3) == 0 && (i == 0 || pattern[i - 1] == '/');
}

/*
 * Activates state i, and those that it reaches without a byte of the path.
 * new_component: whether the path so far is empty or ends in a slash.
 */
static void activate(struct states *states, const char *pattern, size_t i, bool new_component)
{
	if (states->active[i])
		return;
	states->active[i] = true;
	if (pattern[i] != '*')
		return;
	if (new_component && is_any_folders(pattern, i))
		activate(states, pattern, i + 3, new_component);
	activate(states, pattern, i + element_length(pattern + i), new_component);
}

/* Moves every active state over c; false when none is left. */
static bool step(struct states *to, const struct states *from,
		 const char *pattern, size_t pattern_len, char c)
{
	bool any = false;

	memset(to->active, 0, pattern_len + 1);
	for (size_t i = 0; i < pattern_len; i++) {
		size_t len;

		if (!from->active[i])
			continue;
		len = element_length(pattern + i);
		if (pattern[i] == '*') {
			if (c == '/' && len == 1)
				continue;
			activate(to, pattern, i, c == '/');
		} else if (element_matches(pattern + i, len, c)) {
			activate(to, pattern, i + len, c == '/');
		} else {
			continue;
		}
		any = true;
	}
	return any;
}

bool glob_match(const char *pattern, const char *path)
{
	size_t pattern_len = strnlen(pattern, GLOB_LEN_MAX + 1);
	struct states states[2];
	unsigned now = 0;

	if (pattern_len > GLOB_LEN_MAX)
		return false;
	memset(states[now].active, 0, pattern_len + 1);
	activate(&states[now], pattern, 0, true);
	for (; *path != '\0'; path++) {
		if (!step(&states[!now], &states[now], pattern, pattern_len, *path))
			return false;
		now = !now;
	}
	return states[now].active[pattern_len];
}

static int check_set(const char *pattern, const char *at, struct error *err)
{
	size_t len = set_length(at);

	if (len == 0) {
		error_set(err, EINVAL, "the pattern '%s' has a '[' without a ']'", pattern);
		return error_fix(err, "close the set, or write \\[ for the character itself");
	}
	if (memmem(at, len, "[:", 2) != NULL) {
		error_set(err, EINVAL, "the pattern '%s' has a character class", pattern);
		return error_fix(err, "write the range itself, such as [a-z]");
	}
	for (size_t i = set_begin(at); i + 2 < len - 1; i++) {
		if (at[i + 1] != '-')
			continue;
		if ((unsigned char)at[i] > (unsigned char)at[i + 2])
			return error_set(err, EINVAL, "the pattern '%s' has the empty range %.3s",
					 pattern, at + i);
		i += 2;
	}
	return 0;
}

/* Whether the component at at can be part of a name below the mount. */
static bool is_component(const char *at)
{
	size_t len = strcspn(at, "/");

	return len != 0 && !(len == 1 && at[0] == '.') &&
	       !(len == 2 && memcmp(at, "..", 2) == 0);
}

static int check_components(const char *pattern, struct error *err)
{
	const char *at = pattern;

	for (;;) {
		if (!is_component(at)) {
			error_set(err, EINVAL, "the pattern '%s' cannot match any database",
				  pattern);
			return error_why(err, "names are relative to the mount, without a leading "
					      "or trailing slash, '//', '.' or '..'");
		}
		at = strchr(at, '/');
		if (at == NULL)
			return 0;
		at++;
	}
}

int glob_check(const char *pattern, struct error *err)
{
	size_t len = strnlen(pattern, GLOB_LEN_MAX + 1);
	int r = 0;

	if (len == 0)
		return error_set(err, EINVAL, "the pattern is empty");
	if (len > GLOB_LEN_MAX)
		return error_set(err, EINVAL, "the pattern is longer than %d bytes", GLOB_LEN_MAX);
	for (size_t i = 0; i < len && r == 0; i += element_length(pattern + i)) {
		if (pattern[i] == '[')
			r = check_set(pattern, pattern + i, err);
		else if (pattern[i] == '\\' && pattern[i + 1] == '\0')
			r = error_set(err, EINVAL,
				      "the pattern '%s' ends in a backslash", pattern);
	}
	return r < 0 ? r : check_components(pattern, err);
}
