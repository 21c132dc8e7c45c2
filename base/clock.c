/* SPDX-License-Identifier: MIT */
#include "base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

int64_t clock_wall_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * CLOCK_US_PER_S + now.tv_nsec / 1000;
}

int64_t clock_mono_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

void clock_format(int64_t us, char *text)
{
	int64_t fraction = us % CLOCK_US_PER_S;
	time_t seconds;
	struct tm tm;
	char date[32];

	if (fraction < 0)
		fraction += CLOCK_US_PER_S;
	seconds = (time_t)((us - fraction) / CLOCK_US_PER_S);
	gmtime_r(&seconds, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, CLOCK_TEXT_SIZE, "%s.%06dZ", date, (int)fraction);
}

/* The digits after the decimal point as microseconds; returns what follows. */
static const char *parse_fraction(const char *at, int64_t *ret_us)
{
	int64_t scale = CLOCK_US_PER_S / 10;

	*ret_us = 0;
	if (*at != '.')
		return at;
	for (at++; isdigit((unsigned char)*at); at++) {
		*ret_us += (*at - '0') * scale;
		scale /= 10;
	}
	return at;
}

/* The zone as seconds east of UTC; NULL when there is no valid one. */
static const char *parse_zone(const char *at, long *ret_east_s)
{
	int hours;
	int minutes;
	int n = 0;

	*ret_east_s = 0;
	if (*at == 'Z' || *at == 'z')
		return at + 1;
	if (*at != '+' && *at != '-')
		return NULL;
	if (sscanf(at + 1, "%2d:%2d%n", &hours, &minutes, &n) != 2 || n != 5)
		return NULL;
	if (hours > 23 || minutes > 59)
		return NULL;
	*ret_east_s = (hours * 60L + minutes) * 60 * (*at == '-' ? -1 : 1);
	return at + 1 + n;
}

static bool parse_rfc3339(const char *text, int64_t *ret_us)
{
	struct tm tm = { 0 };
	int64_t fraction_us;
	long east_s;
	char separator;
	int n = 0;

	if (sscanf(text, "%4d-%2d-%2d%c%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
		   &separator, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &n) != 7)
		return false;
	if (n != 19 || strchr("Tt ", separator) == NULL)
		return false;
	if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 ||
	    tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
		return false;
	text = parse_zone(parse_fraction(text + n, &fraction_us), &east_s);
	if (text == NULL || *text != '\0')
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	*ret_us = ((int64_t)timegm(&tm) - east_s) * CLOCK_US_PER_S + fraction_us;
	return true;
}

static bool parse_distance(const char *text, int64_t *ret_us)
{
	static const struct {
		const char *unit;
		int64_t seconds;
	} units[] = {
		{ "s", 1 },	{ "sec", 1 },	 { "second", 1 },  { "seconds", 1 },
		{ "min", 60 },	{ "minute", 60 }, { "minutes", 60 }, { "h", 3600 },
		{ "hour", 3600 }, { "hours", 3600 }, { "d", 86400 }, { "day", 86400 },
		{ "days", 86400 },
	};
	unsigned count;
	char unit[16];
	int n = 0;

	if (sscanf(text, "%9u %15[a-z] ago%n", &count, unit, &n) != 2 || n == 0 || text[n] != '\0')
		return false;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (strcmp(unit, units[i].unit) == 0) {
			*ret_us = count * units[i].seconds * CLOCK_US_PER_S;
			return true;
		}
	}
	return false;
}

int clock_parse(const char *text, int64_t now_us, int64_t *ret_us, struct error *err)
{
	int64_t distance_us;

	if (parse_rfc3339(text, ret_us))
		return 0;
	if (parse_distance(text, &distance_us)) {
		*ret_us = now_us - distance_us;
		return 0;
	}
	error_set(err, EINVAL, "'%s' is not a point in time", text);
	return error_fix(err, "write it as 2026-01-31T10:00:00Z, with a zone, or as '10 min ago'");
}
