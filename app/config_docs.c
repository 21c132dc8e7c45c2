/* SPDX-License-Identifier: MIT */
#include "app/config.h"

#include "app/config_table.h"

static const char head[] =
	"<!-- Written by `replitedfs config --docs`; edit app/config_table.c and "
	"app/config_docs.c instead. -->\n"
	"# Configuration\n"
	"\n"
	"`replitedfs` reads the file given by `--config`, else `/etc/replitedfs.ini` "
	"where that exists, else it goes by the defaults. No key has to be set.\n"
	"\n"
	"```ini\n"
	"[mount]\n"
	"log_retention = 7d\n"
	"\n"
	"# not worth a backup\n"
	"[database.caches]\n"
	"path = cache/**\n"
	"replicate = no\n"
	"\n"
	"[backend.nas]\n"
	"url = file:///mnt/nas/backups\n"
	"sync_interval = 10s\n"
	"\n"
	"[backend.elsewhere]\n"
	"url = file://${ELSEWHERE}/production\n"
	"databases = app.db, tenants/**\n"
	"```\n"
	"\n"
	"## The file\n"
	"\n"
	"- Sections and keys may be written in upper or lower case. Names of sections are "
	"letters, digits, `_` and `-`, at most 64 of them; two names that differ only in "
	"case, or in `-` and `_`, are the same.\n"
	"- Comments begin with `#` or `;` and have a line of their own. A value that holds "
	"one of these goes between quotes: `\"…\"`, or `'…'` if it holds a `\"`. Between "
	"quotes there is no backslash.\n"
	"- `${NAME}` in a value is replaced by that variable of the environment, which has "
	"to be set; `$${` stands for `${` itself.\n"
	"- Durations are whole numbers with a unit: `500ms`, `10s`, `5min`, `1h`, `7d`. "
	"Sizes are whole numbers of bytes, or have a unit: `10MB`, `64MiB`, `1GiB`.\n"
	"- Paths are absolute.\n"
	"- Patterns speak of databases by their path below the mount: `?` is one byte, `*` "
	"any number of them, `[a-z]` one of a set (`[!a-z]`: one not in it), none of them a "
	"slash; `**` is anything, slashes too, and `a/**/b` also matches `a/b`; `\\` takes "
	"the meaning from the character behind it. A list of patterns is separated by "
	"commas; for a comma in a name write `?`.\n"
	"- Unknown sections and keys, keys and sections that are there twice, and values "
	"that are not allowed are errors, with file and line.\n"
	"- The file is at most 1 MiB, a line 1000 bytes, and there are at most 1000 "
	"sections.\n"
	"\n"
	"## The environment\n"
	"\n"
	"Each key can be set by the variable in its row, which wins over the file and is "
	"taken as it is, without `${…}`. In sections with a name, `NAME` is that name in "
	"upper case, with `_` for `-`. A variable that is set but empty counts as not set. "
	"`REPLITEDFS_BACKEND_NAME_URL` and `REPLITEDFS_DATABASE_NAME_PATH` also define their "
	"section where the file has none. Variables of that form that name no key are "
	"errors, except those that Kubernetes sets for a service (`…_SERVICE_HOST`, "
	"`…_PORT`).\n";

/* Writes text with what a table row needs escaped. */
static void print_cell(FILE *out, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '|')
			fputc('\\', out);
		fputc(*text, out);
	}
}

static void print_key(FILE *out, const struct config_key *key)
{
	struct buf allowed CLEANUP_BUF = { 0 };
	struct buf variable CLEANUP_BUF = { 0 };
	const char *name = config_kinds[key->kind].named ? "NAME" : NULL;

	if (config_key_allowed(key, &allowed) < 0 || buf_str(&allowed) == NULL ||
	    config_key_env_name(key, name, &variable) < 0)
		return;
	fprintf(out, "| `%s` | ", key->name);
	if (key->fallback == NULL)
		fputs("required", out);
	else if (*key->fallback == '\0')
		fputs("empty", out);
	else
		fprintf(out, "`%s`", key->fallback);
	fputs(" | ", out);
	print_cell(out, buf_str(&allowed));
	fputs(" | ", out);
	print_cell(out, key->description);
	fprintf(out, " | `%.*s` |\n", (int)variable.len, variable.data);
}

static void print_kind(FILE *out, enum config_kind kind)
{
	bool any = false;

	fprintf(out, "\n## [%s%s]\n\n%s\n", config_kinds[kind].word,
		config_kinds[kind].named ? ".NAME" : "", config_kinds[kind].description);
	for (size_t i = 0; i < config_n_keys; i++) {
		if (config_keys[i].kind != kind)
			continue;
		if (!any)
			fputs("\n| key | default | allowed | what it does | variable |\n"
			      "|---|---|---|---|---|\n",
			      out);
		any = true;
		print_key(out, &config_keys[i]);
	}
}

void config_print_docs(FILE *out)
{
	fputs(head, out);
	for (int i = 0; i < CONFIG_N_KINDS; i++)
		print_kind(out, (enum config_kind)i);
}
