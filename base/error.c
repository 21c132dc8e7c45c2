/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sysexits.h>

static char *format_va(const char *fmt, va_list ap)
{
	char *text;

	if (vasprintf(&text, fmt, ap) < 0)
		return NULL;
	return text;
}

/* Makes err hold code and the sentence what, which it owns from now on. */
static int replace(struct error *err, int code, char *what)
{
	error_done(err);
	err->code = code;
	err->what = what;
	return -code;
}

int error_set(struct error *err, int code, const char *fmt, ...)
{
	va_list ap;
	char *text;

	if (code == 0)
		code = EIO;
	if (err == NULL)
		return -code;
	va_start(ap, fmt);
	text = format_va(fmt, ap);
	va_end(ap);
	return replace(err, code, text);
}

int error_set_errno(struct error *err, int code, const char *fmt, ...)
{
	char *text CLEANUP_FREE = NULL;
	char *what = NULL;
	va_list ap;

	if (code == 0)
		code = EIO;
	if (err == NULL)
		return -code;
	va_start(ap, fmt);
	text = format_va(fmt, ap);
	va_end(ap);
	if (text != NULL && asprintf(&what, "%s: %s", text, strerror(code)) < 0)
		what = NULL;
	return replace(err, code, what);
}

int error_room(struct error *err)
{
	if (err == NULL)
		return -EIO;
	if (err->code == EDQUOT)
		err->code = ENOSPC;
	return -err->code;
}

int error_wrap(struct error *err, const char *fmt, ...)
{
	char *noun;
	char *text;
	va_list ap;

	if (err == NULL)
		return -EIO;
	va_start(ap, fmt);
	noun = format_va(fmt, ap);
	va_end(ap);
	if (noun != NULL && asprintf(&text, "%s: %s", noun, error_what(err)) >= 0) {
		free(err->what);
		err->what = text;
	}
	free(noun);
	return -err->code;
}

int error_why(struct error *err, const char *fmt, ...)
{
	va_list ap;
	char *text;

	if (err == NULL)
		return -EIO;
	va_start(ap, fmt);
	text = format_va(fmt, ap);
	va_end(ap);
	free(err->why);
	err->why = text;
	return -err->code;
}

int error_fix(struct error *err, const char *fmt, ...)
{
	va_list ap;
	char *text;

	if (err == NULL)
		return -EIO;
	va_start(ap, fmt);
	text = format_va(fmt, ap);
	va_end(ap);
	free(err->fix);
	err->fix = text;
	return -err->code;
}

int error_exit(struct error *err, int exit_code)
{
	if (err == NULL)
		return -EIO;
	err->exit_code = exit_code;
	return -err->code;
}

const char *error_what(const struct error *err)
{
	if (err->what != NULL)
		return err->what;
	return err->code != 0 ? strerror(err->code) : "no error";
}

int error_exit_code(const struct error *err)
{
	if (err->exit_code != 0)
		return err->exit_code;
	switch (err->code) {
	case EACCES:
	case EPERM:
		return EX_NOPERM;
	case ENOSPC:
	case EDQUOT:
	case EEXIST:
	case EROFS:
		return EX_CANTCREAT;
	case EBADMSG:
	case EUCLEAN:
		return EX_DATAERR;
	case EBUSY:
	case EAGAIN:
		return EX_TEMPFAIL;
	case ENOENT:
	case ENOTDIR:
		return EX_NOINPUT;
	default:
		return EX_OSERR;
	}
}

void error_move(struct error *dst, struct error *src)
{
	if (dst != NULL) {
		error_done(dst);
		*dst = *src;
	} else {
		error_done(src);
	}
	memset(src, 0, sizeof(*src));
}

void error_done(struct error *err)
{
	if (err == NULL)
		return;
	free(err->what);
	free(err->why);
	free(err->fix);
	memset(err, 0, sizeof(*err));
}
