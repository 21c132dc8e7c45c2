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

/*
 * Reads text of the form layout, where 9 stands for a digit, T for what may
 * stand between a date and a time, and every other character for itself and the
 * end of a number. Returns what follows, or NULL.
 */
static const char *parse_layout(const char *at, const char *layout, int *ret_fields)
{
	*ret_fields = 0;
	for (; *layout != '\0'; layout++, at++) {
		if (*layout == '9') {
			if (!isdigit((unsigned char)*at))
				return NULL;
			*ret_fields = *ret_fields * 10 + (*at - '0');
			continue;
		}
		if (*layout == 'T' ? *at == '\0' || strchr("Tt ", *at) == NULL : *at != *layout)
			return NULL;
		*++ret_fields = 0;
	}
	return at;
}

/* The digits after a decimal point, if there is one, as microseconds. */
static const char *parse_fraction(const char *at, int64_t *ret_us)
{
	int64_t scale = CLOCK_US_PER_S / 10;

	*ret_us = 0;
	if (*at != '.')
		return at;
	at++;
	if (!isdigit((unsigned char)*at))
		return NULL;
	for (; isdigit((unsigned char)*at); at++) {
		*ret_us += (*at - '0') * scale;
		scale /= 10;
	}
	return at;
}

/* The zone as seconds east of UTC; NULL when there is no valid one. */
static const char *parse_zone(const char *at, long *ret_east_s)
{
	int sign = *at == '-' ? -1 : 1;
	int fields[2];

	*ret_east_s = 0;
	if (*at == 'Z' || *at == 'z')
		return at + 1;
	if (*at != '+' && *at != '-')
		return NULL;
	at = parse_layout(at + 1, "99:99", fields);
	if (at == NULL || fields[0] > 23 || fields[1] > 59)
		return NULL;
	*ret_east_s = sign * (fields[0] * 60L + fields[1]) * 60;
	return at;
}

static int days_in_month(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month - 1] + (month == 2 && leap);
}

static bool parse_rfc3339(const char *text, int64_t *ret_us)
{
	int f[6]; /* year, month, day, hour, minute, second */
	int64_t fraction_us;
	long east_s;

	text = parse_layout(text, "9999-99-99T99:99:99", f);
	if (text != NULL)
		text = parse_fraction(text, &fraction_us);
	if (text != NULL)
		text = parse_zone(text, &east_s);
	if (text == NULL || *text != '\0')
		return false;
	if (f[1] < 1 || f[1] > 12 || f[2] < 1 || f[2] > days_in_month(f[0], f[1]) || f[3] > 23 ||
	    f[4] > 59 || f[5] > 60)
		return false;
	struct tm tm = {
		.tm_year = f[0] - 1900,
		.tm_mon = f[1] - 1,
		.tm_mday = f[2],
		.tm_hour = f[3],
		.tm_min = f[4],
		.tm_sec = f[5],
	};

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

	if (!isdigit((unsigned char)*text))
		return false;
	if (sscanf(text, "%9u %15[a-z] ago%n", &count, unit, &n) != 2 || n == 0 || text[n] != '\0')
		return false;
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (strcmp(unit, units[i].unit) == 0)
			return !__builtin_mul_overflow(count, units[i].seconds * CLOCK_US_PER_S,
						       ret_us);
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
