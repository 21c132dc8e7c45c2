# SPDX-License-Identifier: MIT
"""A program that is killed at whatever call a test likes: cheaply, so that each can be tried."""

import pathlib
import signal

from faults import Fault

# At the n-th call that changes what is below UNDER, or makes it durable. ARM holds "id n call",
# where call is the end of those that count, or nothing; another id counts anew. ARM.at says
# where it was.
KILL_AT_CALL = r"""
static void at_call(const char *call, const char *path)
{
	static long id, left;
	const char *under = getenv("UNDER");
	char here[2 * PATH_MAX], only[PATH_MAX] = "";
	long new_id, n;
	FILE *file;
	if (under == NULL || strncmp(path, under, strlen(under)) != 0)
		return;
	file = fopen(getenv("ARM"), "r");
	if (file == NULL)
		return;
	if (fscanf(file, "%ld %ld %4095s", &new_id, &n, only) >= 2 && new_id != id) {
		id = new_id;
		left = n;
	}
	fclose(file);
	snprintf(here, sizeof(here), "%s:%s", call, path + strlen(under));
	if (!ends(here, only) || left <= 0 || --left != 0)
		return;
	snprintf(only, sizeof(only), "%s.at", getenv("ARM"));
	file = fopen(only, "w");
	fprintf(file, "%s", here);
	fclose(file);
	die();
}
static void at_fd_call(const char *call, int fd)
{
	char link[64], path[PATH_MAX];
	ssize_t n;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return;
	path[n] = '\0';
	at_call(call, path);
}
ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t off)
{
	at_fd_call("pwrite", fd);
	return REAL(pwrite64, ssize_t (*)(int, const void *, size_t, off_t))(fd, bytes, n, off);
}
ssize_t pwrite(int fd, const void *bytes, size_t n, off_t off)
{
	return pwrite64(fd, bytes, n, off);
}
int ftruncate64(int fd, off_t size)
{
	at_fd_call("ftruncate", fd);
	return REAL(ftruncate64, int (*)(int, off_t))(fd, size);
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
int fdatasync(int fd)
{
	at_fd_call("fdatasync", fd);
	return REAL(fdatasync, int (*)(int))(fd);
}
int fsync(int fd)
{
	at_fd_call("fsync", fd);
	return REAL(fsync, int (*)(int))(fd);
}
int unlink(const char *path)
{
	at_call("unlink", path);
	return REAL(unlink, int (*)(const char *))(path);
}
int open64(const char *path, int flags, ...)
{
	va_list more;
	int mode = 0;
	va_start(more, flags);
	if ((flags & O_CREAT) != 0) {
		mode = va_arg(more, int);
		at_call("create", path);
	}
	va_end(more);
	return REAL(open64, int (*)(const char *, int, ...))(path, flags, mode);
}
int open(const char *path, int flags, ...)
{
	va_list more;
	int mode;
	va_start(more, flags);
	mode = (flags & O_CREAT) != 0 ? va_arg(more, int) : 0;
	va_end(more);
	return open64(path, flags, mode);
}
"""

DOOMED = """
import contextlib, os, traceback
def doomed(text, n, call, arm_file):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(arm_file)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        def arm():
            with open(arm_file, "w") as file:
                file.write(f"{os.getpid()} {n} {call}")
        try:
            exec(text, {**globals(), "arm": arm})
        except BaseException:
            os.write(write_end, traceback.format_exc().encode()[-4000:])
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        error = pipe.read()
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status), error
"""


class Doomed:
    """A program whose children are killed at a call of their own; for itself it opens nothing."""

    def __init__(self, clients, folder, under, module="sqlite3"):
        self.fault = Fault(folder, KILL_AT_CALL)
        self.client = clients(module=module, env={**self.fault.env, "UNDER": str(under)})
        self.client.run(DOOMED)

    def run(self, text, n, call=""):
        """Runs code in a child, which is killed at the n-th call behind its arm(), or the n-th of
        the kind "ftruncate:/a.db". Returns where that was; None if it came to its end."""
        arm_file = str(self.fault.arm_file)
        end, error = self.client.run(f"doomed({text!r}, {n}, {call!r}, {arm_file!r})")
        assert not error, error
        assert end in (0, signal.SIGKILL), f"ended by signal {end}"
        return pathlib.Path(f"{arm_file}.at").read_text() if end else None

    def at_every_call(self, text):
        """Runs it again and again, killed at one call after the other, until it came through;
        gives where each was killed."""
        n = 1
        while place := self.run(text, n):
            yield place
            n += 1
