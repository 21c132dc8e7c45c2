/* SPDX-License-Identifier: MIT */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/error.h"

#include <stdint.h>

#define CLOCK_US_PER_S 1000000LL

/* Wall clock, microseconds since 1970 UTC. */
int64_t clock_wall_us(void);

/* Monotonic, milliseconds; for deadlines and intervals. */
int64_t clock_mono_ms(void);

/* Room for clock_format(). */
#define CLOCK_TEXT_SIZE 40

/* Writes us as RFC 3339 in UTC with microseconds, to text[CLOCK_TEXT_SIZE]. */
void clock_format(int64_t us, char *text);

/*
 * Reads a point in time: RFC 3339 with a zone ("2026-01-31T10:00:00.5Z",
 * "2026-01-31 10:00:00+01:00"), or a distance into the past ("10 min ago",
 * units s, min, h, d) counted from now_us. 0, or -EINVAL.
 */
int clock_parse(const char *text, int64_t now_us, int64_t *ret_us, struct error *err) MUST_CHECK;

#endif
