/* SPDX-License-Identifier: MIT */
#include "fuse/connection.h"

#include "base/log.h"
#include "fuse/filesystem_internal.h"
#include "fuse/ops.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/*
 * A worker may block for as long as a barrier, an adoption or a slow disk takes;
 * the others must go on. Idle workers cost next to nothing, starting them does.
 */
#define MAX_WORKERS 64
#define MAX_WRITE (1u << 20)

static const uint64_t wanted[] = {
	FUSE_CAP_ASYNC_READ,	    FUSE_CAP_ASYNC_DIO,
	FUSE_CAP_PARALLEL_DIROPS,   FUSE_CAP_READDIRPLUS,
	FUSE_CAP_READDIRPLUS_AUTO,  FUSE_CAP_SPLICE_WRITE,
	FUSE_CAP_SPLICE_MOVE,	    FUSE_CAP_CACHE_SYMLINKS,
#ifdef FUSE_CAP_HANDLE_KILLPRIV_V2
	FUSE_CAP_HANDLE_KILLPRIV_V2,
#endif
#ifdef FUSE_CAP_EXPLICIT_INVAL_DATA
	FUSE_CAP_EXPLICIT_INVAL_DATA,
#endif
};

/*
 * AUTO_INVAL_DATA would drop a file's cached pages each time the daemon wrote it.
 * SPLICE_READ costs every small request a system call. The writeback cache would
 * lose the order of writes. Locks are the kernel's own. O_TRUNC is to arrive as
 * a SETATTR, where the barrier is.
 */
static const uint64_t unwanted[] = {
	FUSE_CAP_AUTO_INVAL_DATA, FUSE_CAP_SPLICE_READ, FUSE_CAP_WRITEBACK_CACHE,
	FUSE_CAP_POSIX_LOCKS,	  FUSE_CAP_FLOCK_LOCKS, FUSE_CAP_ATOMIC_O_TRUNC,
	FUSE_CAP_IOCTL_DIR,	  FUSE_CAP_POSIX_ACL,	FUSE_CAP_NO_OPENDIR_SUPPORT,
	FUSE_CAP_NO_OPEN_SUPPORT, FUSE_CAP_EXPORT_SUPPORT,
};

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
static bool want(struct fuse_conn_info *conn, uint64_t cap)
{
	return fuse_set_feature_flag(conn, cap);
}

static void do_not_want(struct fuse_conn_info *conn, uint64_t cap)
{
	fuse_unset_feature_flag(conn, cap);
}

/* With 1 the backing folder may lie on overlayfs, as in containers. */
static bool want_passthrough(struct fuse_conn_info *conn)
{
	if (!want(conn, FUSE_CAP_PASSTHROUGH))
		return false;
	conn->max_backing_stack_depth = FUSE_BACKING_STACKED_OVER;
	return true;
}
#else
static bool want(struct fuse_conn_info *conn, uint64_t cap)
{
	conn->want |= (unsigned)(conn->capable & cap);
	return (conn->capable & cap) == cap;
}

static void do_not_want(struct fuse_conn_info *conn, uint64_t cap)
{
	conn->want &= ~(unsigned)cap;
}

static bool want_passthrough(struct fuse_conn_info *conn)
{
	return false;
}
#endif

bool connection_negotiate(struct fuse_conn_info *conn)
{
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		(void)!want(conn, wanted[i]);
	for (size_t i = 0; i < ARRAY_LEN(unwanted); i++)
		do_not_want(conn, unwanted[i]);
	conn->max_write = MAX_WRITE;
	conn->max_background = MAX_WORKERS;
	conn->congestion_threshold = MAX_WORKERS * 3 / 4;
	return want_passthrough(conn);
}

static void init(void *userdata, struct fuse_conn_info *conn)
{
	struct filesystem *fs = userdata;

	fs->negotiated = connection_negotiate(conn);
}

static void log_libfuse(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char *text CLEANUP_FREE = NULL;

	if (vasprintf(&text, fmt, ap) < 0) {
		text = NULL;
		return;
	}
	text[strcspn(text, "\n")] = '\0';
	if (text[0] != '\0')
		log_line(level <= FUSE_LOG_ERR ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "libfuse: %s",
			 text);
}

/*
 * Not here: access (default_permissions), getlk, setlk and flock (the kernel's),
 * poll, bmap, tmpfile (EOPNOTSUPP by the kernel), statx (libfuse 3.18).
 */
static const struct fuse_lowlevel_ops ops = {
	.init = init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.create = op_create,
	.open = op_open,
	.read = op_read,
	.write_buf = op_write_buf,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_releasedir,
	.fsyncdir = op_fsyncdir,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
	.copy_file_range = op_copy_file_range,
	.ioctl = op_ioctl,
};

#if defined(__SANITIZE_THREAD__) && FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
/*
 * The kernel orders requests: what forgets a node comes after the answers to all
 * that use it. ThreadSanitizer cannot know: here each answer happens before each
 * request that is read later.
 */
static atomic_uint order;

static ssize_t ordered_read(int fd, void *buf, size_t len, void *userdata)
{
	ssize_t n = read(fd, buf, len);

	atomic_fetch_add(&order, 1);
	return n;
}

static ssize_t ordered_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	atomic_fetch_add(&order, 1);
	return writev(fd, iov, count);
}

static int attach(struct fuse_session *se, int dev_fd)
{
	static const struct fuse_custom_io io = { .read = ordered_read, .writev = ordered_writev };

	return fuse_session_custom_io(se, &io, dev_fd);
}
#else
static int attach(struct fuse_session *se, int dev_fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/fd/%d", dev_fd);
	return fuse_session_mount(se, path);
}
#endif

struct fuse_session *connection_new(struct filesystem *fs, int dev_fd, struct error *err)
{
	char name[] = "replitedfs";
	char *argv[] = { name, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct fuse_session *se;

	fuse_set_log_func(log_libfuse);
	se = fuse_session_new(&args, &ops, sizeof(ops), fs);
	fuse_opt_free_args(&args);
	if (se == NULL) {
		error_set(err, ENOMEM, "libfuse makes no session");
		return NULL;
	}
	if (attach(se, dev_fd) != 0) {
		fuse_session_destroy(se);
		error_set(err, EIO, "libfuse does not take the mounted descriptor");
		return NULL;
	}
	return se;
}

int connection_start(struct fuse_session *se, struct error *err)
{
	struct fuse_buf buf = { .mem = NULL };
	int n;

	do {
		n = fuse_session_receive_buf(se, &buf);
	} while (n == -EINTR);
	if (n > 0)
		fuse_session_process_buf(se, &buf);
	free(buf.mem);
	if (n == 0 || fuse_session_exited(se))
		return error_set(err, ENODEV, "the mount is gone before it was served");
	return n < 0 ? error_set_errno(err, -n, "cannot read from /dev/fuse") : 0;
}

int connection_loop(struct fuse_session *se, struct error *err)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int r;

	if (config == NULL)
		return error_set(err, ENOMEM, "out of memory for the workers");
	fuse_loop_cfg_set_max_threads(config, MAX_WORKERS);
	fuse_loop_cfg_set_idle_threads(config, MAX_WORKERS);
	fuse_loop_cfg_set_clone_fd(config, 0);
	r = fuse_session_loop_mt(se, config);
	fuse_loop_cfg_destroy(config);
	return r != 0 ? error_set_errno(err, abs(r), "the session with the kernel broke") : 0;
}
