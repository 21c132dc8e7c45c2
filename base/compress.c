/* SPDX-License-Identifier: MIT */
#include "base/compress.h"

#include <errno.h>
#include <zstd.h>

static void free_cctx(ZSTD_CCtx **ctx)
{
	ZSTD_freeCCtx(*ctx);
}

static void free_dctx(ZSTD_DCtx **ctx)
{
	ZSTD_freeDCtx(*ctx);
}

int compress_append(struct buf *out, const void *data, size_t len, int level, struct error *err)
{
	ZSTD_CCtx *ctx CLEANUP(free_cctx) = ZSTD_createCCtx();
	size_t bound = ZSTD_compressBound(len);
	size_t n;

	if (ctx == NULL || buf_reserve(out, bound) < 0)
		return error_set(err, ENOMEM, "out of memory compressing %zu bytes", len);
	n = ZSTD_compressCCtx(ctx, out->data + out->len, bound, data, len, level);
	if (ZSTD_isError(n))
		return error_set(err, ENOMEM, "cannot compress: %s", ZSTD_getErrorName(n));
	out->len += n;
	return 0;
}

int compress_expand(void *raw, size_t raw_len, const void *data, size_t len, struct error *err)
{
	ZSTD_DCtx *ctx CLEANUP(free_dctx) = ZSTD_createDCtx();
	size_t n;

	if (ctx == NULL)
		return error_set(err, ENOMEM, "out of memory decompressing");
	if (ZSTD_findFrameCompressedSize(data, len) != len)
		return error_set(err, EBADMSG, "compressed data is damaged or cut off");
	ZSTD_DCtx_setParameter(ctx, ZSTD_d_windowLogMax, 27);
	n = ZSTD_decompressDCtx(ctx, raw, raw_len, data, len);
	if (ZSTD_isError(n))
		return error_set(err, EBADMSG, "cannot decompress: %s", ZSTD_getErrorName(n));
	if (n != raw_len)
		return error_set(err, EBADMSG, "compressed data holds %zu bytes, not %zu", n,
				 raw_len);
	return 0;
}
