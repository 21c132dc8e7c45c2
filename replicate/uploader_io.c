/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "replicate/uploader_internal.h"

int uploader_io(struct uploader *uploader, int r)
{
	if (r < 0)
		uploader->backend_failed = true;
	return r;
}

void uploader_count(struct uploader *uploader, struct upload *upload, uint64_t len)
{
	if (len == 0)
		return;
	LOCK_SCOPE(&uploader->mutex);
	upload->shown.bytes_put += len;
	upload->shown.n_puts++;
	uploader->total.bytes_put += len;
	uploader->total.n_puts++;
	uploader->total.stored_us = clock_wall_us();
}

int uploader_put(struct uploader *uploader, struct upload *upload, const char *key,
		 const struct buf *data, struct error *err)
{
	int r = storage_put(uploader->storage, key, data->data, data->len, err);

	if (r == 0)
		uploader_count(uploader, upload, data->len);
	return uploader_io(uploader, r);
}

int uploader_put_new(struct uploader *uploader, struct upload *upload, const char *key,
		     const struct buf *data, struct error *err)
{
	int r = storage_put_new(uploader->storage, key, data->data, data->len, err);

	if (r == 0)
		uploader_count(uploader, upload, data->len);
	return uploader_io(uploader, r);
}
