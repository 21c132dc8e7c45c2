/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

static atomic_int log_fd = STDERR_FILENO;
static atomic_int log_max_level = LOG_LEVEL_INFO;

void log_open(int fd, enum log_level level)
{
	log_fd = fd;
	log_max_level = (int)level;
}

static void format_time(char *text, size_t size)
{
	struct timespec now;
	struct tm tm;
	char seconds[32];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, size, "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
}

void log_line(enum log_level level, const char *fmt, ...)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	char time_text[64];
	char *message = NULL;
	char *line = NULL;
	va_list ap;
	int len;

	if ((int)level > log_max_level)
		return;
	va_start(ap, fmt);
	if (vasprintf(&message, fmt, ap) < 0)
		message = NULL;
	va_end(ap);
	if (message == NULL)
		return;
	/* A message is one line of text, whatever a file name in it holds. */
	for (char *c = message; *c != '\0'; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = ' ';
	}
	format_time(time_text, sizeof(time_text));
	len = asprintf(&line, "%s %s %s\n", time_text, names[level], message);
	if (len >= 0) {
		ssize_t n = write(log_fd, line, (size_t)len);

		(void)n;
		free(line);
	}
	free(message);
}

void log_repeat_failed(struct log_repeat *repeat, const char *subject, const struct error *err)
{
	repeat->n++;
	if (repeat->last != NULL && strcmp(repeat->last, error_what(err)) == 0)
		return;
	free(repeat->last);
	repeat->last = strdup(error_what(err));
	repeat->n = 1;
	log_warn("%s: %s%s%s", subject, error_what(err), err->why ? "; why: " : "",
		 err->why ? err->why : "");
}

void log_repeat_ok(struct log_repeat *repeat, const char *subject)
{
	if (repeat->n == 0)
		return;
	log_info("%s: works again after %u failures", subject, repeat->n);
	log_repeat_done(repeat);
}

void log_repeat_done(struct log_repeat *repeat)
{
	free(repeat->last);
	memset(repeat, 0, sizeof(*repeat));
}
