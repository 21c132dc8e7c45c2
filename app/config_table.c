/* SPDX-License-Identifier: MIT */
#include "app/config_table.h"

#include "app/config.h"
#include "app/config_value.h"
#include "app/suggest.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define MS 1LL
#define S (1000 * MS)
#define MIN_ (60 * S)
#define HOUR (60 * MIN_)
#define DAY (24 * HOUR)
#define MIB (1LL << 20)
#define GIB (1LL << 30)
#define TIB (1LL << 40)

const struct config_section_kind config_kinds[CONFIG_N_KINDS] = {
	[CONFIG_KIND_MOUNT] = {
		.word = "mount",
		.description = "The mount itself.",
	},
	[CONFIG_KIND_STREAM] = {
		.word = "stream",
		.description = "Live replicas. Reserved: this version knows no "
			       "key in it.",
	},
	[CONFIG_KIND_DATABASE] = {
		.word = "database",
		.named = true,
		.description = "Databases that are to be treated in another way. "
			       "The first section of the file whose `path` "
			       "matches decides; a database that no section "
			       "matches is replicated.",
	},
	[CONFIG_KIND_BACKEND] = {
		.word = "backend",
		.named = true,
		.description = "A place that backups go to. Each section is one; "
			       "`--backup URL` on the command line adds another "
			       "with the defaults of the other keys.",
	},
};

#define MOUNT(field)                                                           \
	CONFIG_KIND_MOUNT, .offset = offsetof(struct config_mount, field)
#define DATABASE(field)                                                        \
	CONFIG_KIND_DATABASE, .offset = offsetof(struct config_database, field)
#define BACKEND(field)                                                         \
	CONFIG_KIND_BACKEND, .offset = offsetof(struct config_backend, field)

const struct config_key config_keys[] = {
	{
		.kind = MOUNT(capture),
		.name = "capture",
		.type = CONFIG_TYPE_CHOICE,
		.choices = { "auto", "passthrough", "intercept" },
		.fallback = "auto",
		.description = "The road of files that are opened: passthrough, where "
			       "the kernel does the I/O and the daemon reads what was "
			       "written behind it, or intercept, where the daemon does "
			       "the writes. `auto` is passthrough where kernel and "
			       "libfuse can do it, but for databases in rollback mode, "
			       "whose reads are faster on the other road. `passthrough` "
			       "is the same, and refuses the mount where they cannot. "
			       "`intercept` is intercept for all but `-shm` and "
			       "`-journal`, which pass through where that can be done.",
	},
	{
		.kind = MOUNT(state_dir),
		.name = "state_dir",
		.type = CONFIG_TYPE_PATH,
		.fallback = "",
		.description = "Where the transaction log and our other state live; "
			       "empty: `.replitedfs` in the backing folder.",
	},
	{
		.kind = MOUNT(log_dir),
		.name = "log_dir",
		.type = CONFIG_TYPE_PATH,
		.fallback = "",
		.description = "Where a daemon in the background writes its messages; "
			       "empty: `log` in the state folder.",
	},
	{
		.kind = MOUNT(log_level),
		.name = "log_level",
		.type = CONFIG_TYPE_CHOICE,
		.choices = { "error", "warn", "info", "debug" },
		.fallback = "info",
		.description = "The least important messages that are written.",
	},
	{
		.kind = MOUNT(log_retention_ms),
		.name = "log_retention",
		.type = CONFIG_TYPE_DURATION,
		.min = 0,
		.max = 3650 * DAY,
		.fallback = "24h",
		.description = "How long transactions stay in the transaction log, so "
			       "long as `log_max_size` allows.",
	},
	{
		.kind = MOUNT(log_max_size),
		.name = "log_max_size",
		.type = CONFIG_TYPE_SIZE_OR_AUTO,
		.min = MIB,
		.max = 1024 * TIB,
		.fallback = "auto",
		.description = "What the transaction log may take on disk; `auto` is "
			       "1GiB or a tenth of the filesystem, whichever is less.",
	},
	{
		.kind = MOUNT(log_file_size),
		.name = "log_file_size",
		.type = CONFIG_TYPE_SIZE,
		.min = MIB,
		.max = GIB,
		.fallback = "64MiB",
		.description = "The size at which the transaction log begins another "
			       "file. May not be set to more than `log_max_size`; a "
			       "quarter of that is the most that is used.",
	},
	{
		.kind = MOUNT(shutdown_timeout_ms),
		.name = "shutdown_timeout",
		.type = CONFIG_TYPE_DURATION,
		.min = 0,
		.max = HOUR,
		.fallback = "30s",
		.description = "How long the daemon goes on sending to the backends "
			       "after it is unmounted.",
	},
	{
		.kind = MOUNT(control_socket_dir),
		.name = "control_socket_dir",
		.type = CONFIG_TYPE_PATH,
		.fallback = "",
		.description = "Where the socket for `replitedfs status` and its like "
			       "is; empty: `/run/replitedfs`, for users "
			       "`$XDG_RUNTIME_DIR/replitedfs`.",
	},
	{
		.kind = DATABASE(path),
		.name = "path",
		.type = CONFIG_TYPE_GLOB,
		.description = "The databases the section is about.",
	},
	{
		.kind = DATABASE(replicate),
		.name = "replicate",
		.type = CONFIG_TYPE_BOOL,
		.fallback = "yes",
		.description = "Whether they are captured and backed up.",
	},
	{
		.kind = BACKEND(url),
		.name = "url",
		.type = CONFIG_TYPE_URL,
		.description = "The place, such as `file:///backups`; an absolute path is "
			       "a folder.",
	},
	{
		.kind = BACKEND(sync_interval_ms),
		.name = "sync_interval",
		.type = CONFIG_TYPE_DURATION,
		.min = 10 * MS,
		.max = HOUR,
		.fallback = "1s",
		.description = "How long transactions are gathered before they are "
			       "sent as one segment.",
	},
	{
		.kind = BACKEND(snapshot_interval_ms),
		.name = "snapshot_interval",
		.type = CONFIG_TYPE_DURATION,
		.min = S,
		.max = 365 * DAY,
		.fallback = "24h",
		.description = "How often a database that changes is stored as a "
			       "whole.",
	},
	{
		.kind = BACKEND(databases),
		.name = "databases",
		.type = CONFIG_TYPE_GLOBS,
		.fallback = "**",
		.description = "The databases that go there.",
	},
	{
		.kind = BACKEND(compression_level),
		.name = "compression_level",
		.type = CONFIG_TYPE_INTEGER,
		.min = 1,
		.max = 19,
		.fallback = "3",
		.description = "zstd's level: higher is smaller and slower.",
	},
	{
		.kind = BACKEND(retry_max_ms),
		.name = "retry_max",
		.type = CONFIG_TYPE_DURATION,
		.min = 100 * MS,
		.max = HOUR,
		.fallback = "30s",
		.description = "The longest pause between tries while the backend "
			       "fails; it begins short and doubles.",
	},
};

const size_t config_n_keys = ARRAY_LEN(config_keys);
_Static_assert(ARRAY_LEN(config_keys) <= CONFIG_KEYS_MAX, "CONFIG_KEYS_MAX is too small");
_Static_assert(sizeof(enum config_capture) == sizeof(int) &&
		       sizeof(enum log_level) == sizeof(int),
	       "choices are stored as int");

const struct config_key *config_key_find(enum config_kind kind, const char *name)
{
	for (size_t i = 0; i < config_n_keys; i++) {
		if (config_keys[i].kind == kind && strcmp(config_keys[i].name, name) == 0)
			return &config_keys[i];
	}
	return NULL;
}

const struct config_key *config_key_required(enum config_kind kind)
{
	for (size_t i = 0; i < config_n_keys; i++) {
		if (config_keys[i].kind == kind && config_keys[i].fallback == NULL)
			return &config_keys[i];
	}
	return NULL;
}

const char *config_key_suggest(enum config_kind kind, const char *name)
{
	const char *names[CONFIG_KEYS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < config_n_keys; i++) {
		if (config_keys[i].kind == kind)
			names[n++] = config_keys[i].name;
	}
	return suggest_word(name, names, n);
}

enum config_kind config_kind_find(const char *word, size_t len)
{
	for (int i = 0; i < CONFIG_N_KINDS; i++) {
		if (strlen(config_kinds[i].word) == len &&
		    strncasecmp(config_kinds[i].word, word, len) == 0)
			return (enum config_kind)i;
	}
	return CONFIG_N_KINDS;
}

enum config_kind config_kind_suggest(const char *word)
{
	const char *words[CONFIG_N_KINDS];
	const char *found;

	for (int i = 0; i < CONFIG_N_KINDS; i++)
		words[i] = config_kinds[i].word;
	found = suggest_word(word, words, CONFIG_N_KINDS);
	return found != NULL ? config_kind_find(found, strlen(found)) : CONFIG_N_KINDS;
}

bool config_name_valid(const char *name, size_t len)
{
	if (len < 1 || len > CONFIG_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)name[i]) && name[i] != '_' && name[i] != '-')
			return false;
	}
	return true;
}

int config_key_env_name(const struct config_key *key, const char *name, struct buf *out)
{
	size_t begin = out->len;

	if (buf_printf(out, "REPLITEDFS_%s_%s%s%s", config_kinds[key->kind].word,
		       name ? name : "", name ? "_" : "", key->name) < 0)
		return -ENOMEM;
	for (size_t i = begin; i < out->len; i++) {
		int c = toupper(out->data[i]);

		out->data[i] = (uint8_t)(c == '-' ? '_' : c);
	}
	return 0;
}

static int allowed_range(const struct config_key *key,
			 int (*format)(int64_t value, struct buf *out), struct buf *out)
{
	if (format(key->min, out) < 0 || buf_printf(out, " to ") < 0)
		return -ENOMEM;
	return format(key->max, out);
}

static int allowed_choices(const struct config_key *key, struct buf *out)
{
	for (size_t i = 0; i < CONFIG_CHOICES_MAX && key->choices[i] != NULL; i++) {
		if (buf_printf(out, "%s%s", i != 0 ? ", " : "", key->choices[i]) < 0)
			return -ENOMEM;
	}
	return 0;
}

int config_key_allowed(const struct config_key *key, struct buf *out)
{
	switch (key->type) {
	case CONFIG_TYPE_CHOICE:
		return allowed_choices(key, out);
	case CONFIG_TYPE_BOOL:
		return buf_printf(out, "yes, no");
	case CONFIG_TYPE_INTEGER:
		return buf_printf(out, "%lld to %lld", (long long)key->min,
				  (long long)key->max);
	case CONFIG_TYPE_SIZE_OR_AUTO:
		if (buf_printf(out, "auto, or ") < 0)
			return -ENOMEM;
		return allowed_range(key, config_value_format_size, out);
	case CONFIG_TYPE_SIZE:
		return allowed_range(key, config_value_format_size, out);
	case CONFIG_TYPE_DURATION:
		return allowed_range(key, config_value_format_duration, out);
	case CONFIG_TYPE_PATH:
		return buf_printf(out, "an absolute path, or nothing");
	case CONFIG_TYPE_URL:
		return buf_printf(out, "a URL, or an absolute path");
	case CONFIG_TYPE_GLOB:
		return buf_printf(out, "a pattern");
	case CONFIG_TYPE_GLOBS:
		return buf_printf(out, "patterns, separated by commas");
	}
	return 0;
}
