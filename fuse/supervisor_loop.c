/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "fuse/procscan.h"
#include "fuse/statelock.h"
#include "fuse/supervisor_internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <sysexits.h>

#define RETRY_MS 250   /* between attempts to unmount */
#define GUARD_MS 1000  /* between looks at who uses a dead mount */

/* -------------------------------------------------------- what the daemon says */

static void hold(struct supervisor *supervisor, uint64_t id, int fd)
{
	struct channel_message answer = { .kind = CHANNEL_HELD, .id = id };
	struct supervisor_held *grown;

	grown = realloc(supervisor->held, (supervisor->n_held + 1) * sizeof(*grown));
	if (grown == NULL || fd < 0) {
		log_error("cannot keep a lock for the daemon");
		if (fd >= 0)
			close(fd);
		answer.id = 0;
	} else {
		supervisor->held = grown;
		supervisor->held[supervisor->n_held++] =
			(struct supervisor_held){ .id = id, .fd = fd };
	}
	(void)!channel_send(supervisor->sock, &answer, -1);
}

static void drop(struct supervisor *supervisor, uint64_t id)
{
	for (size_t i = 0; i < supervisor->n_held; i++) {
		if (supervisor->held[i].id != id)
			continue;
		close(supervisor->held[i].fd);
		supervisor->held[i] = supervisor->held[--supervisor->n_held];
		return;
	}
}

/* The mount is live: whoever waits for that hears it, and we leave the terminal. */
static void become_ready(struct supervisor *supervisor)
{
	struct channel_message message = { .kind = CHANNEL_READY };

	supervisor->ready = true;
	if (supervisor->report_fd >= 0) {
		(void)!channel_send(supervisor->report_fd, &message, -1);
		close(supervisor->report_fd);
		supervisor->report_fd = -1;
	}
	if (supervisor->options->foreground)
		return;
	supervisor_detach();
	if (chdir("/") < 0)
		log_warn("cannot leave the working directory: %s", strerror(errno));
}

/* False when the daemon has nothing more to say. */
static bool hear_daemon(struct supervisor *supervisor)
{
	struct channel_message message;
	int fd;

	if (channel_receive(supervisor->sock, &message, &fd) != 0)
		return false;
	switch (message.kind) {
	case CHANNEL_READY:
		become_ready(supervisor);
		break;
	case CHANNEL_FAILED:
		channel_unpack_error(&message, &supervisor->err);
		break;
	case CHANNEL_UNMOUNTED:
		supervisor->unmounted = true;
		statelock_note(supervisor->options->lock_fd, STATELOCK_DRAINING);
		break;
	case CHANNEL_HOLD:
		hold(supervisor, message.id, fd);
		return true;
	case CHANNEL_DROP:
		drop(supervisor, message.id);
		break;
	default:
		log_warn("the daemon said something unknown kind=%u", message.kind);
	}
	if (fd >= 0)
		close(fd);
	return true;
}

/* --------------------------------------------------------------------- signals */

static void tell_users(struct supervisor *supervisor)
{
	struct buf users CLEANUP_BUF = { 0 };
	const char *text;

	procscan_users(supervisor->mount_dev, &users);
	text = buf_str(&users);
	if (text == NULL || text[0] == '\0')
		text = "someone";
	if (supervisor->told != NULL && strcmp(supervisor->told, text) == 0)
		return;
	free(supervisor->told);
	supervisor->told = strdup(text);
	log_warn("%s is in use: %s; unmounting as soon as they have left",
		 supervisor->options->mountpoint, text);
}

/* Never lazily: programs would go on in a file system that nobody sees. */
static void try_unmount(struct supervisor *supervisor)
{
	if (supervisor->unmounted)
		return;
	if (umount2(supervisor->options->mountpoint, UMOUNT_NOFOLLOW) == 0) {
		supervisor->stopping = false;
		return;
	}
	if (errno == EBUSY) {
		tell_users(supervisor);
	} else if (errno != EINVAL) {
		log_warn("cannot unmount %s: %s", supervisor->options->mountpoint,
			 strerror(errno));
	}
}

static void hear_signal(struct supervisor *supervisor)
{
	struct signalfd_siginfo info;

	while (read(supervisor->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD || supervisor->stopping)
			continue;
		log_info("stopping signal=%s", strsignal((int)info.ssi_signo));
		supervisor->stopping = true;
	}
	if (!supervisor->stopping)
		return;
	if (supervisor->ready) {
		try_unmount(supervisor);
		return;
	}
	kill(supervisor->daemon, SIGKILL);
	error_set(&supervisor->err, EINTR, "stopped before the mount was live");
	error_exit(&supervisor->err, EX_TEMPFAIL);
}

/* ------------------------------------------------------------------- the daemon */

/* 0 or -errno, once the daemon has ended; 1 while it lives. */
static int reap(struct supervisor *supervisor, struct error *err)
{
	int status;

	if (waitpid(supervisor->daemon, &status, WNOHANG) != supervisor->daemon)
		return 1;
	while (hear_daemon(supervisor))
		;
	if (supervisor->err.code != 0) {
		error_move(err, &supervisor->err);
		return -err->code;
	}
	if (supervisor->unmounted && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFSIGNALED(status))
		error_set(err, EIO, "the daemon was killed by signal %d (%s)", WTERMSIG(status),
			  strsignal(WTERMSIG(status)));
	else
		error_set(err, EIO, "the daemon ended with status %d", WEXITSTATUS(status));
	if (!supervisor->unmounted)
		log_error("%s pid=%d", error_what(err), supervisor->daemon);
	return error_exit(err, EX_SOFTWARE);
}

int supervisor_loop(struct supervisor *supervisor, struct error *err)
{
	struct pollfd fds[2] = {
		{ .fd = supervisor->signal_fd, .events = POLLIN },
		{ .fd = supervisor->sock, .events = POLLIN },
	};
	int r;

	for (;;) {
		bool retry = supervisor->stopping && supervisor->ready && !supervisor->unmounted;

		if (poll(fds, ARRAY_LEN(fds), retry ? RETRY_MS : -1) < 0 && errno != EINTR)
			return error_set_errno(err, errno, "cannot wait for the daemon");
		if (fds[1].revents != 0 && !hear_daemon(supervisor))
			fds[1].fd = -1;
		hear_signal(supervisor);
		r = reap(supervisor, err);
		if (r <= 0)
			return r;
	}
}

/* -------------------------------------------------------------------- afterwards */

/*
 * Passthrough descriptors of running programs go on writing. Nobody else may
 * touch these databases meanwhile, so their locks and the lock of the state
 * folder stay.
 */
void supervisor_guard(struct supervisor *supervisor)
{
	struct pollfd fd = { .fd = supervisor->signal_fd, .events = POLLIN };
	struct signalfd_siginfo info;
	bool told = false;

	for (;;) {
		struct buf users CLEANUP_BUF = { 0 };

		if (procscan_users(supervisor->mount_dev, &users) == 0)
			break;
		if (!told) {
			statelock_note(supervisor->options->lock_fd, STATELOCK_DEAD);
			log_error("the mount on %s is dead, but still used by %s: keeping other "
				  "programs off its databases until they have left",
				  supervisor->options->mountpoint, buf_str(&users));
		}
		told = true;
		poll(&fd, 1, GUARD_MS);
		while (read(supervisor->signal_fd, &info, sizeof(info)) > 0)
			;
	}
}
