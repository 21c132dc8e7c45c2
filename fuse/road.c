/* SPDX-License-Identifier: MIT */
#include "fuse/road.h"

#include "base/hook.h"
#include "base/log.h"
#include "base/thread.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sysexits.h>

/*
 * include/uapi/linux/fuse.h since Linux 6.9. Called directly: libfuse's wrapper
 * exists since 3.17 only, needs a request at hand and drops the errno.
 */
struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define BACKING_OPEN _IOW(229, 1, struct backing_map)
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

void roads_init(struct roads *roads, enum road_capture capture, int dev_fd)
{
	memset(roads, 0, sizeof(*roads));
	roads->capture = capture;
	roads->dev_fd = dev_fd;
	pthread_mutex_init(&roads->mutex, NULL);
}

void roads_done(struct roads *roads)
{
	free(roads->why_not);
	pthread_mutex_destroy(&roads->mutex);
	memset(roads, 0, sizeof(*roads));
}

static int register_backing(int dev_fd, int fd)
{
	struct backing_map map = { .fd = fd };
	int id = ioctl(dev_fd, BACKING_OPEN, &map);

	return id > 0 ? id : id < 0 ? -errno : -EIO;
}

static const char *reason(int code)
{
	switch (code) {
	case EPERM:
		return "it takes CAP_SYS_ADMIN (in a container: --cap-add SYS_ADMIN)";
	case ELOOP:
		return "the backing file system is stacked too deep";
	case EOPNOTSUPP:
	case EINVAL:
		return "the backing file system does not support it";
	case ENOTTY:
		return "the kernel is older than 6.9";
	default:
		return strerror(code);
	}
}

static void set_unavailable(struct roads *roads, const char *why)
{
	LOCK_SCOPE(&roads->mutex);

	roads->available = false;
	free(roads->why_not);
	roads->why_not = strdup(why);
}

int roads_probe(struct roads *roads, bool negotiated, int probe_fd, struct error *err)
{
	const char *why = NULL;
	int id;

	if (hook_enabled("no-passthrough")) {
		why = "the test hook no-passthrough is set";
	} else if (!negotiated) {
		why = "it takes Linux 6.9 and libfuse 3.17";
	} else {
		id = register_backing(roads->dev_fd, probe_fd);
		if (id < 0)
			why = reason(-id);
		else
			roads_unregister(roads, id);
	}
	if (why == NULL) {
		LOCK_SCOPE(&roads->mutex);

		roads->available = true;
		return 0;
	}
	set_unavailable(roads, why);
	if (roads->capture != ROAD_CAPTURE_PASSTHROUGH)
		return 0;
	error_set(err, ENOTSUP, "cannot serve files by passthrough");
	error_why(err, "%s", why);
	error_fix(err, "set capture = auto");
	return error_exit(err, EX_UNAVAILABLE);
}

enum road roads_choose(struct roads *roads, struct database *db, enum database_file file)
{
	bool available;

	pthread_mutex_lock(&roads->mutex);
	available = roads->available;
	pthread_mutex_unlock(&roads->mutex);
	if (!available)
		return ROAD_INTERCEPT;
	/* No commit can be refused or seen in what is written to these. */
	if (db != NULL && (file == DATABASE_SHM || file == DATABASE_JOURNAL))
		return ROAD_PASSTHROUGH;
	if (roads->capture == ROAD_CAPTURE_INTERCEPT)
		return ROAD_INTERCEPT;
	if (db != NULL && file == DATABASE_MAIN && database_cached_is_faster(db))
		return ROAD_INTERCEPT;
	return ROAD_PASSTHROUGH;
}

int roads_register(struct roads *roads, int fd)
{
	int id = register_backing(roads->dev_fd, fd);

	if (id == -EPERM) {
		log_warn("passthrough has gone: %s", reason(EPERM));
		set_unavailable(roads, reason(EPERM));
	}
	return id;
}

void roads_unregister(struct roads *roads, int backing_id)
{
	if (backing_id > 0 && ioctl(roads->dev_fd, BACKING_CLOSE, &backing_id) < 0)
		log_warn("cannot unregister a backing file id=%d: %s", backing_id,
			 strerror(errno));
}

bool roads_available(struct roads *roads, char **ret_why)
{
	LOCK_SCOPE(&roads->mutex);

	*ret_why = NULL;
	if (!roads->available)
		*ret_why = strdup(roads->why_not != NULL ? roads->why_not : "not tried yet");
	return roads->available;
}
