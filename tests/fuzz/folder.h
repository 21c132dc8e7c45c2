/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FUZZ_FOLDER_H
#define TESTS_FUZZ_FOLDER_H

#include "tests/fuzz/fuzz.h"

/*
 * A temporary folder, for what is read from files. Made by the first call in
 * TMPDIR, removed when the program ends. An open descriptor of it.
 */
int fuzz_folder(void);

/* Makes the folder path in it, unless there is one. */
void fuzz_folder_make(const char *path);

/* Makes data the content of the file path in it. */
void fuzz_folder_put(const char *path, const uint8_t *data, size_t size);

#endif
