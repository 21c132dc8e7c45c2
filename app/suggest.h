/* SPDX-License-Identifier: MIT */
#ifndef APP_SUGGEST_H
#define APP_SUGGEST_H

#include <stddef.h>

/*
 * "Did you mean": the one of words[n] that a slip of the fingers away from word
 * would be (letters wrong, missing, too many or swapped; case does not count),
 * or NULL when none is near. Words beyond 64 bytes are not looked at.
 */
const char *suggest_word(const char *word, const char *const *words, size_t n);

#endif
