/* SPDX-License-Identifier: MIT */
#ifndef TESTS_FUZZ_DOCUMENT_H
#define TESTS_FUZZ_DOCUMENT_H

#include "base/buf.h"
#include "tests/fuzz/fuzz.h"

/*
 * Appends to out the document of kind (replicate/envelope.h) that an input stands
 * for. The first byte says what the rest is: a document as it is, when even, else
 * the JSON of one, which gets a right first line: no mutation finds its hash.
 * False: there is none.
 */
bool fuzz_document(const char *kind, const uint8_t *data, size_t size, struct buf *out);

#endif
