/* SPDX-License-Identifier: MIT */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/error.h"

/*
 * One line an event: time, level, then key=value context. Who can return an error
 * does that. Top loops, fuse/ and app/ log; in replicate/ what happens to one
 * database, or in one thread, while all else goes on. A failure that repeats is
 * logged when it starts, when it changes and when it ends (struct log_repeat).
 * Callable from every thread; a line is written by one write(2).
 */
enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/* Lines go to fd (not owned) from now on; below level nothing is written. */
void log_open(int fd, enum log_level level);

void log_line(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * Remembers a repeating failure of one thing. Zeroed is a valid start. Not
 * locked: belongs to the thread or object that reports.
 */
struct log_repeat {
	char *last;	/* the failure last logged; NULL while all is well */
	unsigned n;	/* how often it has been seen since */
};

/* Logs err about subject unless the same was logged last. */
void log_repeat_failed(struct log_repeat *repeat, const char *subject, const struct error *err);

/* Logs that subject works again, when it had failed before. */
void log_repeat_ok(struct log_repeat *repeat, const char *subject);
void log_repeat_done(struct log_repeat *repeat);

#endif
