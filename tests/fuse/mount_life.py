#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""mount_life.py DEVMOUNT

The life of a mount: how it begins, what ends it, who is kept out. Speaks TAP.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

DEVMOUNT = None
CASES = []


def case(function):
    CASES.append(function)
    return function


def wait_until(condition, what, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain for " + what)
        time.sleep(0.02)


def is_mounted(path):
    with open("/proc/self/mountinfo") as f:
        return any(line.split()[4] == path for line in f)


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Mount:
    """A folder, mounted; its processes are known by the arguments they were given."""

    def __init__(self, path):
        self.path = path
        self.bare = os.open(path, os.O_RDONLY)

    def start(self):
        r = self.mount()
        assert r.returncode == 0, r.stderr

    def mount(self, *args, env=None):
        return subprocess.run([DEVMOUNT, *args, self.path], capture_output=True, text=True,
                              env={**os.environ, **(env or {})}, timeout=60)

    def pids(self):
        """Supervisor and daemon."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/cmdline" % pid) as f:
                    argv = f.read().split("\0")
            except OSError:
                continue
            if len(argv) > 1 and argv[-2] == self.path and DEVMOUNT in argv:
                found.append(int(pid))
        return sorted(pid for pid in found if alive(pid))

    def daemon(self):
        with open(self.path + "/.replitedfs/status") as f:
            return int(f.readline().split()[1])

    def supervisor(self):
        daemon = self.daemon()
        return next(pid for pid in self.pids() if pid != daemon)

    def bare_file(self, name):
        with open(os.open(name, os.O_RDONLY, dir_fd=self.bare)) as f:
            return f.read()

    def log(self):
        return self.bare_file(".replitedfs/devlog")

    def umount(self):
        return subprocess.run(["umount", self.path], capture_output=True).returncode

    def wait_gone(self):
        wait_until(lambda: not self.pids(), "the end of the processes")

    def end(self):
        for _ in range(50):
            if not is_mounted(self.path) or self.umount() == 0:
                break
            time.sleep(0.1)
        else:
            subprocess.run(["umount", "-f", "-l", self.path])
        try:
            self.wait_gone()
        finally:
            for pid in self.pids():
                os.kill(pid, signal.SIGKILL)
            os.close(self.bare)


class Client:
    """A Python program that prints a line when it has come to a point, then waits."""

    all = []

    def __init__(self, text, *args, prefix=()):
        self.process = subprocess.Popen([*prefix, sys.executable, "-c", text, *args],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.all.append(self.process)
        self.line = self.process.stdout.readline().strip()

    def go_on(self):
        out, _ = self.process.communicate("\n", timeout=60)
        return out.strip()


WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=1)
db.execute("insert into t values (1)")
print("ready", flush=True)
sys.stdin.readline()
try:
    db.execute("insert into t values (2)")
    print("written")
except sqlite3.Error as e:
    print(e)
"""

LOCKER = """
import sqlite3, sys
try:
    db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0.1)
    db.execute("begin immediate")
    print("locked", flush=True)
    sys.stdin.readline()
except sqlite3.Error as e:
    print(e, flush=True)
"""


def make_database(path, mode="wal"):
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("pragma journal_mode=" + mode)
    db.execute("create table t (a)")
    db.close()


@case
def an_unmount_ends_both_processes(m, path):
    m.start()
    make_database(path + "/a.db")
    assert len(m.pids()) == 2
    assert m.umount() == 0
    m.wait_gone()
    assert sorted(os.listdir(path)) == [".replitedfs", "a.db"]


@case
def sigterm_waits_for_those_who_use_the_mount(m, path):
    m.start()
    make_database(path + "/a.db")
    client = Client(WRITER, path + "/a.db")
    supervisor = m.supervisor()
    os.kill(supervisor, signal.SIGTERM)
    wait_until(lambda: "is in use: python" in m.log(), "the log to say who")
    assert "(pid %d)" % client.process.pid in m.log()
    os.kill(supervisor, signal.SIGTERM)
    assert client.go_on() == "written"
    wait_until(lambda: not is_mounted(path), "the unmount")
    m.wait_gone()


@case
def a_daemon_that_dies_leaves_a_guarded_dead_mount(m, path):
    m.start()
    make_database(path + "/a.db")
    client = Client(WRITER, path + "/a.db")
    supervisor, daemon = m.supervisor(), m.daemon()
    os.kill(daemon, signal.SIGKILL)
    wait_until(lambda: '"state":"dead"' in m.bare_file(".replitedfs/lock"), "the dead mark")
    try:
        os.listdir(path)
        raise AssertionError("the dead mount is served")
    except OSError as e:
        assert e.errno == 107, e
    r = m.mount()
    assert r.returncode == 75 and "dead replitedfs mount that is still in use" in r.stderr, r.stderr
    assert "(pid %d)" % client.process.pid in r.stderr
    assert m.pids() == [supervisor]
    client.go_on()
    m.wait_gone()
    assert is_mounted(path)
    r = m.mount()
    assert r.returncode == 0, r.stderr
    assert "was a dead replitedfs mount; replacing it" in r.stderr


@case
def a_bypasser_is_locked_out_also_after_a_crash(m, path):
    other = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sleep", "1000"])
    wait_until(lambda: os.readlink("/proc/%d/ns/mnt" % other.pid) !=
               os.readlink("/proc/self/ns/mnt"), "the other namespace")
    prefix = ["nsenter", "-t", str(other.pid), "-m"]
    m.start()
    try:
        make_database(path + "/a.db")
        client = Client(WRITER, path + "/a.db")
        assert Client(LOCKER, path + "/a.db", prefix=prefix).line == "database is locked"
        os.kill(m.daemon(), signal.SIGKILL)
        wait_until(lambda: len(m.pids()) == 1, "the death of the daemon")
        assert Client(LOCKER, path + "/a.db", prefix=prefix).line == "database is locked"
        client.go_on()
        m.wait_gone()
        bypasser = Client(LOCKER, path + "/a.db", prefix=prefix)
        assert bypasser.line == "locked"
        bypasser.go_on()
    finally:
        other.kill()
        other.wait()


@case
def an_open_is_refused_when_a_bypasser_was_first(m, path):
    other = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sleep", "1000"])
    wait_until(lambda: os.readlink("/proc/%d/ns/mnt" % other.pid) !=
               os.readlink("/proc/self/ns/mnt"), "the other namespace")
    m.start()
    try:
        make_database(path + "/a.db", "delete")
        bypasser = Client(LOCKER, path + "/a.db", prefix=["nsenter", "-t", str(other.pid), "-m"])
        assert bypasser.line == "locked"
        assert Client(LOCKER, path + "/a.db").line == "unable to open database file"
        assert "locked on the bare folder by python" in m.log(), m.log()
        assert "(pid %d)" % bypasser.process.pid in m.log()
        bypasser.go_on()
        client = Client(LOCKER, path + "/a.db")
        assert client.line == "locked"
        client.go_on()
    finally:
        other.kill()
        other.wait()


@case
def what_cannot_be_mounted_is_refused(m, path):
    m.start()
    os.mkdir(path + "/sub")
    open(path + "/file", "w").close()
    for target, code, text in ((path, 75, "already served by pid"),
                               (path + "/sub", 75, "lies in %s, which is served" % path),
                               (path + "/file", 64, "is not a folder"),
                               (path + "/none", 66, "does not exist")):
        r = subprocess.run([DEVMOUNT, target], capture_output=True, text=True)
        assert r.returncode == code and text in r.stderr, (target, r)


@case
def a_failure_before_readiness_leaves_nothing(m, path):
    r = m.mount("-c", "passthrough", env={"REPLITEDFS_TEST_HOOKS": "no-passthrough"})
    assert r.returncode == 69 and "cannot serve files by passthrough" in r.stderr, r
    assert not is_mounted(path) and not m.pids()


@case
def the_state_folder_is_out_of_reach(m, path):
    m.start()
    make_database(path + "/a.db")
    state = path + "/.replitedfs"
    assert ".replitedfs" not in os.listdir(path)
    assert sorted(os.listdir(state)) == ["pos", "status"]
    assert os.listdir(state + "/pos") == ["a.db"]
    with open(state + "/pos/a.db") as f:
        assert f.read().count(":") == 1
    for attempt in (lambda: os.mkdir(state), lambda: os.mkdir(state + "/x"),
                    lambda: os.rename(state, path + "/y"), lambda: os.rename(path + "/a.db", state),
                    lambda: os.rename(path + "/a.db", state + "/b"), lambda: os.rmdir(state),
                    lambda: os.unlink(state + "/status"), lambda: open(state + "/status", "w"),
                    lambda: os.chmod(state + "/status", 0o777), lambda: open(state + "/lock"),
                    lambda: os.link(state + "/status", path + "/z"),
                    lambda: os.symlink("x", state + "/l"), lambda: os.truncate(state + "/status", 0)):
        try:
            attempt()
        except OSError:
            continue
        raise AssertionError("something went through")


@case
def a_virtual_file_has_one_number(m, path):
    m.start()
    os.makedirs(path + "/a/b")
    for name in ("/x.db", "/a/x.db", "/a/b/x.db", "/a/b/y.db"):
        make_database(path + name)
    found = {}
    for folder, _, _ in os.walk(path + "/.replitedfs"):
        for entry in os.scandir(folder):
            assert entry.inode() == os.stat(entry.path).st_ino, entry.path
            found[entry.inode()] = entry.path
    assert len(found) == len("status pos a b x.db x.db x.db y.db".split()), found


@case
def databases_follow_renames_and_end_with_their_file(m, path):
    m.start()
    os.makedirs(path + "/a/b")
    make_database(path + "/a/b/x.db")

    def positions():
        base = path + "/.replitedfs/pos"
        return sorted(os.path.relpath(os.path.join(d, f), base)
                      for d, _, files in os.walk(base) for f in files)

    assert positions() == ["a/b/x.db"]
    os.rename(path + "/a", path + "/z")
    assert positions() == ["z/b/x.db"]
    os.rename(path + "/z/b/x.db", path + "/y.db")
    assert positions() == ["y.db"]
    shutil.copy(path + "/y.db", path + "/copy.db")
    wait_until(lambda: positions() == ["copy.db", "y.db"], "the copy to be seen")
    try:
        os.link(path + "/y.db", path + "/l.db")
        raise AssertionError("a database has two names")
    except PermissionError:
        pass
    os.rename(path + "/copy.db", path + "/y.db")
    assert positions() == ["y.db"]
    os.unlink(path + "/y.db")
    assert positions() == []


@case
def what_is_not_removed_is_not_held(m, path):
    m.start()
    os.makedirs(path + "/full/inner")
    for name in ("/other", "/gone"):
        os.mkdir(path + name)

    def held():
        folder = "/proc/%d/fd/" % m.daemon()
        return [os.readlink(folder + fd) for fd in os.listdir(folder)]

    for attempt in (lambda: os.rmdir(path + "/full"),
                    lambda: os.rename(path + "/other", path + "/full")):
        try:
            attempt()
            raise AssertionError("a folder that is not empty was removed")
        except OSError as e:
            assert e.errno == 39, e
    assert not [name for name in held() if name.endswith("/full")]
    fd = os.open(path + "/gone", os.O_PATH)
    os.rmdir(path + "/gone")
    assert [name for name in held() if "/gone" in name]
    assert os.fstat(fd).st_nlink == 0
    os.close(fd)


@case
def a_file_is_there_for_who_has_it_open_while_it_is_removed(m, path):
    m.start()
    for i in range(3000):
        name = path + "/f%d" % (i % 7)
        fd = os.open(name, os.O_CREAT | os.O_RDWR)
        remover = threading.Thread(target=os.unlink, args=[name])
        remover.start()
        while os.fstat(fd).st_nlink > 0:
            pass
        remover.join()
        os.close(fd)


@case
def a_lazy_unmount_keeps_the_folder_taken(m, path):
    m.start()
    with open(path + "/f", "w") as f:
        assert subprocess.run(["umount", "-l", path]).returncode == 0
        r = m.mount()
        assert r.returncode == 75 and "already served by pid" in r.stderr, r
        f.write("still served")
    m.wait_gone()
    with open(path + "/f") as f:
        assert f.read() == "still served"


@case
def an_aborted_connection_is_a_dead_mount(m, path):
    m.start()
    make_database(path + "/a.db")
    number = os.minor(os.stat(path).st_dev)
    subprocess.run(["unshare", "-m", "--propagation", "private", "sh", "-c",
                    "mount -t fusectl none /sys/fs/fuse/connections;"
                    "echo 1 > /sys/fs/fuse/connections/%d/abort" % number], check=True)
    m.wait_gone()
    assert is_mounted(path)
    assert "the connection with the kernel was aborted" in m.log()
    assert m.mount().returncode == 0


@case
def the_daemon_serves_on_without_its_supervisor(m, path):
    m.start()
    make_database(path + "/a.db")
    os.kill(m.supervisor(), signal.SIGKILL)
    client = Client(WRITER, path + "/a.db")
    assert client.go_on() == "written"
    assert "the supervisor is gone" in m.log()
    assert m.umount() == 0
    m.wait_gone()


@case
def in_the_foreground_it_ends_with_its_mount(m, path):
    p = subprocess.Popen([DEVMOUNT, "-f", path])
    wait_until(lambda: os.path.exists(path + "/.replitedfs/status"), "the mount")
    p.send_signal(signal.SIGINT)
    assert p.wait(20) == 0
    assert not is_mounted(path)


def run(function, path):
    """None, or what went wrong."""
    import traceback
    trouble = None
    os.mkdir(path)
    m = Mount(path)
    try:
        function(m, path)
    except Exception:  # pylint: disable=broad-except
        trouble = traceback.format_exc()
        trouble += subprocess.run(["sh", "-c", "cat '%s'/.replitedfs/lock" % path],
                                  capture_output=True, text=True).stdout
    while Client.all:
        process = Client.all.pop()
        process.kill()
        process.wait()
    try:
        m.end()
    except Exception:  # pylint: disable=broad-except
        trouble = (trouble or "") + traceback.format_exc()
    return trouble


def main():
    global DEVMOUNT
    DEVMOUNT = sys.argv[1]
    wanted = sys.argv[2:]
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("1..0 # SKIP needs root and /dev/fuse")
        return 0
    signal.alarm(1200)
    work = tempfile.mkdtemp(prefix="replitedfs-test-")
    cases = [c for c in CASES if not wanted or c.__name__ in wanted]
    failed = 0
    print("1..%d" % len(cases))
    for i, function in enumerate(cases):
        trouble = run(function, work + "/" + function.__name__)
        failed += trouble is not None
        print("%sok %d - %s" % ("not " if trouble else "", i + 1, function.__name__))
        if trouble:
            print("# " + trouble.replace("\n", "\n# "))
        sys.stdout.flush()
    shutil.rmtree(work, ignore_errors=True)
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
