/* SPDX-License-Identifier: MIT */
#include "app/progress.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#define DRAW_EVERY_MS 100
#define SMOOTH_MS 3000 /* the rate forgets what is older than a few of these */
#define WIDTH_UNKNOWN 80

static bool can_draw(int fd)
{
	const char *term = getenv("TERM");

	return isatty(fd) && term != NULL && strcmp(term, "dumb") != 0;
}

void progress_start(struct progress *progress, int fd, const char *label,
		    uint64_t total, int64_t log_every_ms)
{
	int64_t now_ms = clock_mono_ms();

	*progress = (struct progress){
		.label = label != NULL ? strdup(label) : NULL,
		.fd = fd,
		.terminal = can_draw(fd),
		.log_every_ms = log_every_ms,
		.total = total,
		.start_ms = now_ms,
		.shown_ms = now_ms,
		.sample_ms = now_ms,
	};
}

void progress_set_total(struct progress *progress, uint64_t total)
{
	progress->total = total;
}

/* The columns of the terminal, less one: a full line would wrap on some. */
static size_t columns(int fd)
{
	struct winsize size = { 0 };

	if (ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_col < 2)
		return WIDTH_UNKNOWN - 1;
	return size.ws_col - 1U;
}

/* Columns that text takes, at one for each character of UTF-8. */
static size_t text_columns(const char *text)
{
	size_t n = 0;

	for (; *text != '\0'; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void write_all(int fd, const struct buf *text)
{
	size_t done = 0;

	while (done < text->len) {
		ssize_t n = write(fd, text->data + done, text->len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		done += (size_t)n;
	}
}

static int format_now(const struct progress *progress, int64_t now_ms,
		      size_t width, struct buf *out)
{
	return progress_format(progress->done, progress->total,
			       now_ms - progress->start_ms, progress->rate, width, out);
}

static void draw(struct progress *progress, int64_t now_ms)
{
	struct buf line CLEANUP_BUF = { 0 };
	size_t width = columns(progress->fd);
	size_t label = text_columns(progress->label) + 2;

	/* Rather no label than no numbers. */
	if (buf_printf(&line, "\r") < 0 ||
	    (label < width / 2 && buf_printf(&line, "%s  ", progress->label) < 0))
		return;
	if (format_now(progress, now_ms, label < width / 2 ? width - label : width, &line) < 0 ||
	    buf_printf(&line, "\033[K") < 0)
		return;
	write_all(progress->fd, &line);
	progress->drawn = true;
}

static void log_now(const struct progress *progress, int64_t now_ms)
{
	struct buf line CLEANUP_BUF = { 0 };

	if (format_now(progress, now_ms, SIZE_MAX, &line) == 0)
		log_info("%s: %.*s", progress->label, (int)line.len, line.data);
}

/* Moves the rate towards that since the last sample, by the share of its time. */
static void sample(struct progress *progress, int64_t now_ms)
{
	int64_t passed_ms = now_ms - progress->sample_ms;
	uint64_t n = progress->done > progress->sample_done ?
			     progress->done - progress->sample_done :
			     0;
	double now;

	if (passed_ms < DRAW_EVERY_MS)
		return;
	now = (double)n * 1000 / (double)passed_ms;
	if (progress->rate == 0)
		progress->rate = (uint64_t)now;
	else
		progress->rate =
			(uint64_t)((double)progress->rate +
				   (now - (double)progress->rate) * (double)passed_ms /
					   (double)(passed_ms + SMOOTH_MS));
	progress->sample_ms = now_ms;
	progress->sample_done = progress->done;
}

void progress_update_at(struct progress *progress, uint64_t done, int64_t now_ms)
{
	int64_t every_ms = progress->terminal ? DRAW_EVERY_MS : progress->log_every_ms;

	progress->done = done;
	if (progress->label == NULL || every_ms == 0)
		return;
	sample(progress, now_ms);
	if (now_ms - progress->shown_ms < every_ms)
		return;
	progress->shown_ms = now_ms;
	if (progress->terminal)
		draw(progress, now_ms);
	else
		log_now(progress, now_ms);
}

void progress_update(struct progress *progress, uint64_t done)
{
	progress_update_at(progress, done, clock_mono_ms());
}

void progress_done(struct progress *progress)
{
	struct buf wipe = { .data = (uint8_t *)"\r\033[K", .len = 4 };

	if (progress->drawn)
		write_all(progress->fd, &wipe);
	free(progress->label);
	memset(progress, 0, sizeof(*progress));
}

int progress_format_size(uint64_t bytes, struct buf *out)
{
	static const char *const units[] = { "KiB", "MiB", "GiB",
					     "TiB", "PiB", "EiB" };
	double value = (double)bytes / 1024;
	size_t i = 0;

	if (bytes < 1024)
		return buf_printf(out, "%u B", (unsigned)bytes);
	/* From here on one decimal would print 1024.0. */
	while (value >= 1023.95 && i + 1 < ARRAY_LEN(units)) {
		value /= 1024;
		i++;
	}
	return buf_printf(out, "%.1f %s", value, units[i]);
}

int progress_format_time(uint64_t seconds, struct buf *out)
{
	unsigned long long minutes = seconds / 60;

	if (minutes == 0)
		return buf_printf(out, "%u s", (unsigned)seconds);
	if (minutes < 60)
		return buf_printf(out, "%llu min %02u s", minutes,
				  (unsigned)(seconds % 60));
	return buf_printf(out, "%llu h %02u min", minutes / 60, (unsigned)(minutes % 60));
}

/* The parts of a line, in their order. Each returns 0 or -ENOMEM. */
struct numbers {
	uint64_t done;
	uint64_t total;
	int64_t elapsed_ms;
	uint64_t rate;
};

static int format_bytes(const struct numbers *n, struct buf *out)
{
	if (progress_format_size(n->done, out) < 0)
		return -ENOMEM;
	if (n->total == 0)
		return 0;
	if (buf_printf(out, " of ") < 0)
		return -ENOMEM;
	return progress_format_size(n->total, out);
}

static int format_share(const struct numbers *n, struct buf *out)
{
	unsigned share;

	if (n->total == 0)
		return 0;
	/* 100 % only when it is true, whatever rounding makes of it. */
	if (n->done >= n->total)
		return buf_printf(out, "100%%");
	share = (unsigned)((double)n->done * 100 / (double)n->total);
	return buf_printf(out, "%3u%%", MIN(share, 99U));
}

static int format_rate(const struct numbers *n, struct buf *out)
{
	if (n->rate == 0)
		return 0;
	if (progress_format_size(n->rate, out) < 0)
		return -ENOMEM;
	return buf_printf(out, "/s");
}

static int format_left(const struct numbers *n, struct buf *out)
{
	if (n->total == 0)
		return progress_format_time(
			(uint64_t)MAX(n->elapsed_ms, (int64_t)0) / 1000, out);
	if (n->rate == 0 || n->done >= n->total)
		return 0;
	if (progress_format_time((n->total - n->done + n->rate - 1) / n->rate, out) < 0)
		return -ENOMEM;
	return buf_printf(out, " left");
}

int progress_format(uint64_t done, uint64_t total, int64_t elapsed_ms,
		    uint64_t rate, size_t width, struct buf *out)
{
	static int (*const parts[])(const struct numbers *, struct buf *) = {
		format_bytes,
		format_share,
		format_rate,
		format_left,
	};
	const struct numbers numbers = { done, total, elapsed_ms, rate };
	size_t used = 0;

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		struct buf part CLEANUP_BUF = { 0 };
		size_t gap = used != 0 ? 2 : 0;

		if (parts[i](&numbers, &part) < 0)
			return -ENOMEM;
		if (part.len == 0)
			continue;
		if (part.len > width || used + gap > width - part.len)
			break;
		if (buf_printf(out, "%*s%.*s", (int)gap, "", (int)part.len, part.data) < 0)
			return -ENOMEM;
		used += gap + part.len;
	}
	return 0;
}
