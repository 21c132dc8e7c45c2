/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

int buf_reserve(struct buf *buf, size_t extra)
{
	size_t want;
	size_t size;
	uint8_t *data;

	if (__builtin_add_overflow(buf->len, extra, &want))
		return -ENOMEM;
	if (want <= buf->size && buf->data != NULL)
		return 0;
	size = buf->size != 0 ? buf->size : 256;
	while (size < want) {
		if (__builtin_mul_overflow(size, (size_t)2, &size))
			return -ENOMEM;
	}
	data = realloc(buf->data, size);
	if (data == NULL)
		return -ENOMEM;
	buf->data = data;
	buf->size = size;
	return 0;
}

void *buf_extend(struct buf *buf, size_t extra)
{
	void *begin;

	if (buf_reserve(buf, extra) < 0)
		return NULL;
	begin = buf->data + buf->len;
	buf->len += extra;
	return begin;
}

int buf_append(struct buf *buf, const void *data, size_t len)
{
	void *to = buf_extend(buf, len);

	if (to == NULL)
		return -ENOMEM;
	if (len != 0)
		memcpy(to, data, len);
	return 0;
}

int buf_printf(struct buf *buf, const char *fmt, ...)
{
	va_list ap;
	int need;

	va_start(ap, fmt);
	need = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (need < 0 || buf_reserve(buf, (size_t)need + 1) < 0)
		return -ENOMEM;
	va_start(ap, fmt);
	vsnprintf((char *)buf->data + buf->len, (size_t)need + 1, fmt, ap);
	va_end(ap);
	buf->len += (size_t)need;
	return 0;
}

const char *buf_str(struct buf *buf)
{
	if (buf_reserve(buf, 1) < 0)
		return NULL;
	buf->data[buf->len] = '\0';
	return (const char *)buf->data;
}

void buf_reset(struct buf *buf)
{
	buf->len = 0;
}

void buf_done(struct buf *buf)
{
	free(buf->data);
	memset(buf, 0, sizeof(*buf));
}
