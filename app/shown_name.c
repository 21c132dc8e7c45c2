/* SPDX-License-Identifier: MIT */
#include "app/shown_name.h"

#include "replicate/envelope.h"

#include <jansson.h>

json_t *shown_name_json(const char *name)
{
	json_t *json = json_string(name);

	return json != NULL ? json : json_name(name);
}
