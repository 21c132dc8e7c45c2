/* SPDX-License-Identifier: MIT */
#ifndef APP_CONFIG_FIELD_H
#define APP_CONFIG_FIELD_H

#include "app/config_table.h"

/*
 * Checks text as a value of key and stores it in the field that the key
 * describes; section is the struct of its kind, whose field must be zeroed. 0,
 * -EINVAL with a sentence about the text and what is allowed, or -ENOMEM; the
 * field is untouched or to be released then.
 */
int config_field_store(const struct config_key *key, const char *text,
		       void *section, struct error *err) MUST_CHECK;

/* Releases what the field of key in section holds. */
void config_field_clear(const struct config_key *key, void *section);

#endif
