/* SPDX-License-Identifier: MIT */
#ifndef APP_SHOWN_NAME_H
#define APP_SHOWN_NAME_H

struct json_t;

/*
 * A database's name as JSON for people and programs: the name itself, or, when
 * it is not UTF-8, what layout_escape() makes of it. To be released.
 */
struct json_t *shown_name_json(const char *name);

#endif
