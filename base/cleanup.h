/* SPDX-License-Identifier: MIT */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * Locals that are released when they go out of scope. Hand an object over at
 * the end of a function by moving it out with TAKE().
 */
#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define CLEANUP_FREE CLEANUP(cleanup_free)
#define CLEANUP_FD CLEANUP(cleanup_fd)
#define MUST_CHECK __attribute__((warn_unused_result))

/* Moves a pointer out of a cleaned-up local: returns it and leaves NULL. */
#define TAKE(p)                                                                \
	({                                                                     \
		__typeof__(p) take_ = (p);                                     \
		(p) = NULL;                                                    \
		take_;                                                         \
	})

/* Moves a descriptor out of a cleaned-up local: returns it and leaves -1. */
static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)                                                              \
	({                                                                     \
		__typeof__(a) min_a = (a);                                     \
		__typeof__(b) min_b = (b);                                     \
		min_a < min_b ? min_a : min_b;                                 \
	})
#define MAX(a, b)                                                              \
	({                                                                     \
		__typeof__(a) max_a = (a);                                     \
		__typeof__(b) max_b = (b);                                     \
		max_a > max_b ? max_a : max_b;                                 \
	})

#endif
