/* SPDX-License-Identifier: MIT */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include "base/cleanup.h"

/*
 * An error a person can act on: what happened and on what, why, and what to do
 * next. The function that meets the error sets it; callers add a noun with
 * error_wrap() only where that says more (which database, which backend).
 *
 * Functions that take a struct error return 0 for success, a documented
 * positive number for an expected outcome, and -errno with the error set.
 *
 * Owned by the caller that declared it: start with ERROR_INIT (or CLEANUP_ERROR
 * for a local), end with error_done(). Used by one thread at a time.
 */
struct error {
	int code;	/* errno; 0 when nothing was set */
	int exit_code;	/* a sysexits(3) number, 0 = derive it from code */
	char *what;	/* NULL when memory ran out: error_what() copes */
	char *why;	/* may be NULL */
	char *fix;	/* may be NULL */
};

#define ERROR_INIT                                                             \
	{                                                                      \
		.code = 0                                                      \
	}
#define CLEANUP_ERROR CLEANUP(error_done)

/*
 * Sets err (which may be NULL) to errno code and the formatted sentence,
 * dropping what it held (which the arguments may still point into). Returns
 * -code, so that `return error_set(…)` works. A code of 0 is taken as EIO.
 */
int error_set(struct error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* As error_set, with ": <strerror(code)>" behind the sentence. */
int error_set_errno(struct error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * For errors of writing: a used-up quota is a disk without room, so that EDQUOT
 * becomes ENOSPC; the sentence stays. Returns -err->code.
 */
int error_room(struct error *err);

/* Puts "<formatted>: " in front of the sentence. Returns -err->code. */
int error_wrap(struct error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Adds the reason; returns -err->code. */
int error_why(struct error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Adds what the person should do next; returns -err->code. */
int error_fix(struct error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Fixes the exit code of the command that ends on err; returns -err->code. */
int error_exit(struct error *err, int exit_code);

/* The sentence; never NULL. Belongs to err. */
const char *error_what(const struct error *err);

/*
 * The sysexits(3) number for err: what error_exit() set, else 77 for
 * permission, 73 for what cannot be created, 65 for bad data, 75 for busy, 66
 * for what is not there, 71 otherwise.
 */
int error_exit_code(const struct error *err);

/* Moves src into dst (dropping what dst held) and leaves src empty. */
void error_move(struct error *dst, struct error *src);

/* Releases what err holds and leaves it empty; NULL is fine. */
void error_done(struct error *err);

#endif
