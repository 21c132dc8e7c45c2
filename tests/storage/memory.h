/* SPDX-License-Identifier: MIT */
#ifndef TESTS_STORAGE_MEMORY_H
#define TESTS_STORAGE_MEMORY_H

#include "storage/storage_backend.h"

/*
 * A backend in memory, with only those operations that a backend must have.
 * strays: NULL, or what a list passes on besides the objects, unasked and
 * before them, in this order up to a NULL.
 */
struct storage *memory_new(const char *const *strays);

#endif
