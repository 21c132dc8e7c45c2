/* SPDX-License-Identifier: MIT */
#ifndef APP_CONFIG_DRAFT_H
#define APP_CONFIG_DRAFT_H

#include "app/config_table.h"

/*
 * What was written, before it is understood: sections with the text of their
 * keys and where each comes from.
 */
struct config_draft_value {
	char *text;    /* NULL: not given, or not read yet (line says which) */
	unsigned line; /* of the file; 0: not in the file */
	bool from_env;
};

/* Invariant: values[i] belongs to config_keys[i], and is empty for other kinds. */
struct config_draft_section {
	enum config_kind kind;
	char *name;    /* as written; NULL where the kind has none */
	unsigned line; /* 0: not in the file */
	struct config_draft_value values[CONFIG_KEYS_MAX];
};

/* Zeroed is a valid empty draft. file is not owned. */
struct config_draft {
	const char *file;
	struct config_draft_section *sections;
	size_t n_sections;
	size_t size;
};

#define CLEANUP_CONFIG_DRAFT CLEANUP(config_draft_done)

/*
 * The section of kind and name[len] (ignored unless the kind is named), without
 * regard to case and '-' for '_', because the environment cannot tell these
 * apart; or NULL.
 */
struct config_draft_section *config_draft_find(const struct config_draft *draft,
					       enum config_kind kind,
					       const char *name, size_t len);

/*
 * Adds a section that is not there yet; name must be valid. Pointers to other
 * sections end here. NULL with err set when out of memory or beyond
 * CONFIG_SECTIONS_MAX.
 */
struct config_draft_section *config_draft_add(struct config_draft *draft,
					      enum config_kind kind, const char *name,
					      size_t len, unsigned line,
					      struct error *err) MUST_CHECK;

/* The place of the value of key in section. */
struct config_draft_value *config_draft_value(struct config_draft_section *section,
					      const struct config_key *key);

/* Appends "[kind.NAME]" or "[kind]". 0 or -ENOMEM. */
int config_draft_title(const struct config_draft_section *section, struct buf *out) MUST_CHECK;

/*
 * Puts in front of err where the value of key comes from: "FILE:LINE: KEY in
 * [SECTION]" or the variable of the environment. Returns -err->code.
 */
int config_draft_wrap(const struct config_draft *draft, struct config_draft_section *section,
		      const struct config_key *key, struct error *err);

void config_draft_done(struct config_draft *draft);

#endif
