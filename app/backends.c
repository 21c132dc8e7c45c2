/* SPDX-License-Identifier: MIT */
#include "app/backends.h"

#include <jansson.h>

int backends_open(const struct config *config, struct backends **ret_backends, struct error *err)
{
	*ret_backends = NULL;
	return 0;
}

int backends_start(struct backends *backends, struct catalog *catalog, int state_fd,
		   const struct id *node_id, struct error *err)
{
	return 0;
}

void backends_ring(struct backends *backends)
{
}

uint64_t backends_needed(struct backends *backends, struct database *db)
{
	return UINT64_MAX;
}

void backends_drain(struct backends *backends, int64_t timeout_ms)
{
}

void backends_close(struct backends *backends)
{
}

json_t *backends_json(struct backends *backends)
{
	return json_array();
}

json_t *backends_database_json(struct backends *backends, struct database *db)
{
	return json_array();
}
