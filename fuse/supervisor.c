/* SPDX-License-Identifier: MIT */
#include "fuse/supervisor.h"

#include "base/log.h"
#include "base/mountinfo.h"
#include "fuse/check.h"
#include "fuse/session.h"
#include "fuse/statelock.h"
#include "fuse/supervisor_internal.h"

#include <errno.h>
#include <linux/stat.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sysexits.h>

/* ------------------------------------------------------------------- options */

struct known_option {
	const char *name;
	unsigned long flag;
};

/* default_permissions, nosuid and nodev are always on. */
static const struct known_option known_options[] = {
	{ "default_permissions", 0 }, { "nosuid", 0 },
	{ "nodev", 0 },		      { "rw", 0 },
	{ "noexec", MS_NOEXEC },      { "noatime", MS_NOATIME },
	{ "nodiratime", MS_NODIRATIME }, { "relatime", MS_RELATIME },
	{ "sync", MS_SYNCHRONOUS },   { "dirsync", MS_DIRSYNC },
};

static int parse_one(const char *name, struct mount_options *options, struct error *err)
{
	if (name[0] == '\0')
		return 0;
	if (strcmp(name, "allow_other") == 0) {
		options->allow_other = true;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(known_options); i++) {
		if (strcmp(name, known_options[i].name) == 0) {
			options->flags |= known_options[i].flag;
			return 0;
		}
	}
	error_set(err, EINVAL, "unknown mount option '%s'", name);
	error_fix(err, "known are allow_other, noexec, noatime, nodiratime, relatime, sync, "
		       "dirsync");
	return error_exit(err, EX_USAGE);
}

int mount_options_parse(const char *text, struct mount_options *options, struct error *err)
{
	char *copy CLEANUP_FREE = strdup(text);
	char *rest = copy;
	char *name;
	int r = 0;

	if (copy == NULL)
		return error_set(err, ENOMEM, "out of memory");
	while (r == 0 && (name = strsep(&rest, ",")) != NULL)
		r = parse_one(name, options, err);
	return r;
}

/* ---------------------------------------------------------- the daemon's side */

void supervisor_detach(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	for (int i = 0; fd >= 0 && i <= 2; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
}

int session_ready(const struct session_env *env, struct error *err)
{
	struct channel_message message = { .kind = CHANNEL_READY };
	int r = channel_send(env->sock, &message, -1);

	if (r < 0)
		return error_set_errno(err, -r, "the supervisor is gone");
	if (!env->foreground)
		supervisor_detach();
	return 0;
}

void session_unmounted(const struct session_env *env)
{
	struct channel_message message = { .kind = CHANNEL_UNMOUNTED };

	if (channel_send(env->sock, &message, -1) < 0)
		log_warn("the supervisor is gone");
}

static _Noreturn void run_daemon(struct supervisor *supervisor, int sock)
{
	struct error err = ERROR_INIT;
	struct channel_message message = { .kind = 0 };
	struct session_env env = {
		.dev_fd = supervisor->dev_fd,
		.table_fd = supervisor->table_fd,
		.sock = sock,
		.mount_dev = supervisor->mount_dev,
		.supervisor = getppid(),
		.foreground = supervisor->options->foreground,
	};
	int r;

	close(supervisor->sock);
	close(supervisor->signal_fd);
	if (supervisor->report_fd >= 0)
		close(supervisor->report_fd);
	r = supervisor->options->serve(supervisor->options->arg, &env, &err);
	if (r < 0) {
		channel_pack_error(&message, &err);
		(void)!channel_send(sock, &message, -1);
		log_error("the daemon ends: %s", error_what(&err));
	}
	exit(r < 0 ? error_exit_code(&err) : 0);
}

/* ------------------------------------------------------------------- mounting */

/* st_dev of what is mounted, without asking the daemon, which is not there yet. */
static int find_device(struct supervisor *supervisor, struct error *err)
{
	struct statx stx;

	if (statx(AT_FDCWD, supervisor->options->mountpoint, AT_STATX_DONT_SYNC, STATX_INO, &stx) <
	    0)
		return error_set_errno(err, errno, "cannot look at the mount");
	supervisor->mount_dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
	return 0;
}

static int do_mount(struct supervisor *supervisor, struct error *err)
{
	const struct mount_options *options = supervisor->options;
	char *data CLEANUP_FREE = NULL;

	if (asprintf(&data, "fd=%d,rootmode=40000,user_id=%u,group_id=%u,default_permissions%s",
		     supervisor->dev_fd, geteuid(), getegid(),
		     options->allow_other ? ",allow_other" : "") < 0) {
		data = NULL;
		return error_set(err, ENOMEM, "out of memory");
	}
	if (mount(options->fsname, options->mountpoint, MOUNTINFO_TYPE,
		  MS_NOSUID | MS_NODEV | options->flags, data) < 0) {
		int code = errno;

		error_set_errno(err, code, "cannot mount on %s", options->mountpoint);
		return error_exit(err, code == EPERM ? EX_NOPERM : EX_OSERR);
	}
	supervisor->mounted = true;
	return find_device(supervisor, err);
}

/* Nothing of a mount that never was live is to stay. */
static void undo_mount(struct supervisor *supervisor)
{
	if (!supervisor->mounted)
		return;
	if (umount2(supervisor->options->mountpoint, UMOUNT_NOFOLLOW) < 0 && errno != EINVAL)
		log_warn("cannot unmount %s: %s", supervisor->options->mountpoint,
			 strerror(errno));
	supervisor->mounted = false;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void supervisor_done(struct supervisor *supervisor)
{
	close_fd(&supervisor->dev_fd);
	close_fd(&supervisor->table_fd);
	close_fd(&supervisor->sock);
	close_fd(&supervisor->signal_fd);
	close_fd(&supervisor->report_fd);
	for (size_t i = 0; i < supervisor->n_held; i++)
		close(supervisor->held[i].fd);
	free(supervisor->held);
	free(supervisor->told);
	error_done(&supervisor->err);
}

/* Signals come by descriptor, in this process; the daemon inherits them blocked. */
static int catch_signals(struct supervisor *supervisor, sigset_t *ret_before, struct error *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, ret_before);
	supervisor->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (supervisor->signal_fd < 0)
		return error_set_errno(err, errno, "cannot wait for signals");
	return 0;
}

static int start_daemon(struct supervisor *supervisor, struct error *err)
{
	int ends[2];
	int r = channel_open(ends, err);

	if (r < 0)
		return r;
	supervisor->sock = ends[0];
	fflush(NULL);
	supervisor->daemon = fork();
	if (supervisor->daemon == 0)
		run_daemon(supervisor, ends[1]);
	close(ends[1]);
	if (supervisor->daemon < 0)
		return error_set_errno(err, errno, "cannot start the daemon");
	return 0;
}

/* The whole life of the supervisor. */
static int supervise(struct supervisor *supervisor, struct error *err)
{
	sigset_t before;
	int r = catch_signals(supervisor, &before, err);

	statelock_note(supervisor->options->lock_fd, STATELOCK_SERVING);
	if (r == 0)
		r = do_mount(supervisor, err);
	if (r == 0)
		r = start_daemon(supervisor, err);
	if (r == 0)
		r = supervisor_loop(supervisor, err);
	close_fd(&supervisor->dev_fd);
	close_fd(&supervisor->sock);
	if (!supervisor->ready)
		undo_mount(supervisor);
	else if (!supervisor->unmounted)
		supervisor_guard(supervisor);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return r;
}

/* ------------------------------------------------------------ the caller's side */

static int prepare(const struct mount_options *options, struct supervisor *supervisor,
		   struct error *err)
{
	int r;

	*supervisor = (struct supervisor){
		.options = options,
		.dev_fd = -1,
		.table_fd = -1,
		.sock = -1,
		.signal_fd = -1,
		.report_fd = -1,
	};
	r = check_device(&supervisor->dev_fd, err);
	if (r == 0)
		r = session_create(&supervisor->table_fd, err);
	return r;
}

/* The error of a supervisor in the background travels as a message of its own. */
static void report(struct supervisor *supervisor, const struct error *err)
{
	struct channel_message message = { .kind = CHANNEL_FAILED };

	if (supervisor->report_fd < 0)
		return;
	channel_pack_error(&message, err);
	(void)!channel_send(supervisor->report_fd, &message, -1);
}

static _Noreturn void run_supervisor(struct supervisor *supervisor)
{
	struct error err CLEANUP_ERROR = ERROR_INIT;
	int r = supervise(supervisor, &err);

	if (r < 0)
		report(supervisor, &err);
	supervisor_done(supervisor);
	exit(r < 0 ? error_exit_code(&err) : 0);
}

static int await_report(int report_fd, pid_t pid, struct error *err)
{
	struct channel_message message;
	int status = 0;
	int fd = -1;
	int r = channel_receive(report_fd, &message, &fd);

	if (r == 0 && message.kind == CHANNEL_READY)
		return 0;
	waitpid(pid, &status, 0);
	if (r == 0 && message.kind == CHANNEL_FAILED) {
		channel_unpack_error(&message, err);
		return -err->code;
	}
	error_set(err, EIO, "the supervisor ended before the mount was live");
	error_why(err, "its exit status is %d", status);
	return error_exit(err, EX_SOFTWARE);
}

static int start_in_background(struct supervisor *supervisor, struct error *err)
{
	int ends[2];
	pid_t pid;
	int r = channel_open(ends, err);

	if (r < 0)
		return r;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		supervisor->report_fd = ends[1];
		run_supervisor(supervisor);
	}
	close(ends[1]);
	if (pid < 0)
		r = error_set_errno(err, errno, "cannot start the supervisor");
	else
		r = await_report(ends[0], pid, err);
	close(ends[0]);
	return r;
}

int mount_start(const struct mount_options *options, struct error *err)
{
	struct supervisor supervisor;
	int r = prepare(options, &supervisor, err);

	if (r == 0)
		r = options->foreground ? supervise(&supervisor, err) :
					  start_in_background(&supervisor, err);
	supervisor_done(&supervisor);
	return r;
}
