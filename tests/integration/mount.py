# SPDX-License-Identifier: MIT
"""A replitedfs mount under test: start it, look into it, end it without a trace."""

import contextlib
import glob
import json
import os
import pathlib
import select
import shutil
import signal
import sqlite3
import subprocess
import time

BIN = os.environ.get("REPLITEDFS_BIN", "build/release/replitedfs")
BUILD = pathlib.Path(os.environ.get("REPLITEDFS_BUILD", pathlib.Path(BIN).parent))
REPLAY = BUILD / "tests" / "tools" / "replay"
DEADLINE_S = 60
LONG = "REPLITEDFS_STRESS_SECONDS" in os.environ


def wait_for(condition, what="the condition", seconds=DEADLINE_S):
    """Waits until condition() is true and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"gave up waiting for {what}"
        time.sleep(0.01)


def run_cli(*args, env=None, check=True, timeout=300, cwd=None):
    """Runs the program; returns the completed process, output as text."""
    done = subprocess.run(
        [BIN, *map(str, args)],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        cwd=cwd,
    )
    if check:
        assert done.returncode == 0, f"{args}: exit {done.returncode}\n{done.stderr}"
    return done


def mounted_at(path):
    """The mountinfo lines of mounts at path."""
    found = []
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        if line.split()[4] == str(path):
            found.append(line)
    return found


def abort_connection(path):
    """Ends the FUSE connection of a hung mount, through fusectl in a namespace of its own."""
    for line in mounted_at(path):
        minor = line.split()[2].split(":")[1]
        script = (
            "mount -t fusectl none /sys/fs/fuse/connections && "
            f"echo 1 > /sys/fs/fuse/connections/{minor}/abort"
        )
        subprocess.run(["unshare", "-m", "sh", "-c", script], timeout=30, check=False)


def process_children(pid):
    """The direct children of a process."""
    with contextlib.suppress(OSError):
        text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(word) for word in text.split()]
    return []


def alive(pid):
    """Whether the process exists and is no zombie."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def make_ext4(image):
    """Makes a file with an ext4 of 64 MB, all of which may be used; returns its path."""
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    return image


def stop_process(pid):
    """SIGSTOP, and waits until every thread of the process stands still."""
    os.kill(pid, signal.SIGSTOP)

    def stopped():
        tasks = pathlib.Path(f"/proc/{pid}/task").glob("*/stat")
        return all(task.read_text().rsplit(")", 1)[1].split()[0] == "T" for task in tasks)

    wait_for(stopped, "the process to stop")


class Mount:
    """One folder served by the program; state is kept outside so that tests can read it."""

    def __init__(self, root, capture="auto", hooks="", backup=False, env=None, options=()):
        self.root = pathlib.Path(root)
        self.dir = self.root / "data"
        self.state = self.root / "state"
        self.backup = self.root / "backup" if backup else None
        self.sockets = self.root / "sockets"
        for folder in (self.dir, self.state, self.sockets):
            folder.mkdir(parents=True, exist_ok=True)
        if self.backup:
            self.backup.mkdir(exist_ok=True)
        self.options = list(options)
        self.env = {
            "REPLITEDFS_MOUNT_CAPTURE": capture,
            "REPLITEDFS_MOUNT_STATE_DIR": str(self.state),
            "REPLITEDFS_MOUNT_CONTROL_SOCKET_DIR": str(self.sockets),
            # The long forms are compared from their first transaction on.
            **({"REPLITEDFS_MOUNT_LOG_MAX_SIZE": "64GiB"} if LONG else {}),
            **({"REPLITEDFS_TEST_HOOKS": hooks} if hooks else {}),
            **(env or {}),
        }
        self.pids = []
        # Those that may be alive, with a pidfd: a pid may be somebody else's later.
        self._processes = []

    # -- life

    def start(self, check=True):
        """Mounts; with check=False returns the failed process instead of raising."""
        args = ["mount", *self.options]
        # Keys of the backend are given by the environment, and then its URL is too.
        if self.backup and any(key.startswith("REPLITEDFS_BACKEND_BACKUP_") for key in self.env):
            self.env["REPLITEDFS_BACKEND_BACKUP_URL"] = str(self.backup)
        elif self.backup:
            args += ["--backup", str(self.backup)]
        done = run_cli(*args, self.dir, env=self.env, check=check, timeout=120)
        if done.returncode == 0:
            self.pids = self._find_pids()
            for pid in self.pids:
                with contextlib.suppress(ProcessLookupError):
                    self._processes.append((pid, os.pidfd_open(pid)))
        return done

    def _find_pids(self):
        pid = self.status()["pid"]
        parent = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        return [parent, pid] if parent > 1 else [pid]

    @property
    def daemon(self):
        """The pid of the daemon."""
        return self.pids[-1]

    @property
    def supervisor(self):
        """The pid of the supervisor."""
        return self.pids[0]

    def unmount(self, timeout=60):
        """Unmounts and waits until the processes have drained and gone."""
        end = time.monotonic() + timeout
        while True:
            done = subprocess.run(
                ["fusermount3", "-u", str(self.dir)], capture_output=True, text=True, check=False
            )
            if done.returncode == 0 or not mounted_at(self.dir):
                break
            assert time.monotonic() < end, f"cannot unmount: {done.stderr}\n{self.log()}"
            time.sleep(0.05)
        wait_for(lambda: not any(map(alive, self.pids)), f"the daemon's end\n{self.log()}", timeout)
        self._forget_ended()

    def kill(self, *pids):
        """kill -9 of processes of this mount (default: all), and waits for their end."""
        victims = pids or self.pids
        self._send_kill(victims)
        wait_for(lambda: not any(map(alive, victims)), "the killed processes' end")
        self._forget_ended()

    def clean_up(self):
        """Whatever a test left: ends it."""
        for _ in range(50):
            if not mounted_at(self.dir):
                break
            done = subprocess.run(
                ["fusermount3", "-u", str(self.dir)], capture_output=True, check=False
            )
            if done.returncode != 0:
                time.sleep(0.1)
        if mounted_at(self.dir):
            abort_connection(self.dir)
            self._send_kill()
            subprocess.run(["umount", "-l", str(self.dir)], capture_output=True, check=False)
        with contextlib.suppress(AssertionError):
            wait_for(self._forget_ended, "the daemon's end", 40)
        self._send_kill()
        for _, pidfd in self._processes:
            os.close(pidfd)
        self._processes.clear()

    def _forget_ended(self):
        """Whether all have ended."""
        for process in list(self._processes):
            poll = select.poll()
            poll.register(process[1], select.POLLIN)
            if poll.poll(0):
                os.close(process[1])
                self._processes.remove(process)
        return not self._processes

    def _send_kill(self, pids=None):
        """To those, or all, that have not ended."""
        for pid, pidfd in self._processes:
            if pids is None or pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)

    # -- looking at it

    def status(self):
        """`status --json`, parsed."""
        return json.loads(run_cli("status", "--json", self.dir, env=self.env).stdout)

    def database(self, name):
        """The status of one database."""
        for database in self.status()["databases"]:
            if database["name"] == name:
                return database
        raise KeyError(f"{name} is not in status")

    def log(self):
        """What the program has logged."""
        text = ""
        for path in sorted(self.state.glob("log/*")):
            text += path.read_text(errors="replace")
        return text

    def database_id(self, name):
        """The id of a database, from the state folder (works when unmounted)."""
        for info in self.state.glob("db/*/info"):
            document = json.loads(info.read_text().split("\n", 1)[1])
            # Names are escaped there; those in the tests need no more than this.
            if document["name"] == name.replace("/", "~") and not document["ended"]:
                return document["id"]
        raise KeyError(f"{name} is not in the state folder")

    def stored(self, name):
        """Whether the first backend has all of a database."""
        database = self.database(name)
        return database["backends"][0]["position"] == database["position"]

    def settle(self, name):
        """The position with all that is committed by now: reading it catches up."""
        return (self.dir / ".replitedfs" / "pos" / name).read_text().split()[0]

    def replay(self, name, keep=None, base=None):
        """Replays the database's log into an empty file, or upon the content it had at the
        first mount; returns what `replay` reports."""
        out = keep or self.root / f"replay-{time.monotonic_ns()}"
        base_argument = [str(base)] if base else []
        with contextlib.suppress(FileNotFoundError):
            os.unlink(out)
        done = subprocess.run(
            [str(REPLAY), str(self.state), self.database_id(name), str(out), *base_argument],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"replay: {done.stdout} {done.stderr}"
        report = json.loads(done.stdout)
        report["file"] = out
        return report


# -- comparing databases


def checkpointed_copy(database, to):
    """A copy of a database that nobody writes, with its WAL folded in, made by SQLite."""
    shutil.copyfile(database, to)
    wal = f"{database}-wal"
    if os.path.exists(wal) and os.path.getsize(wal):
        shutil.copyfile(wal, f"{to}-wal")
        connection = sqlite3.connect(to, isolation_level=None)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.close()
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{to}{suffix}")
    return to


def page_size_of(path):
    """The page size that a database's header says."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(18)[16:18], "big")
    return 65536 if size == 1 else size


def journal_begins(database):
    """The first byte of a database's journal, not zero while that is to be played back; b"" when
    there is none."""
    with contextlib.suppress(FileNotFoundError):
        with open(f"{database}-journal", "rb") as file:
            return file.read(1)
    return b""


def counted(content, page_size):
    """How many bytes of a database file count, as far as its header says: behind that is what a
    writer left that died before he cut the file off."""
    if content[24:28] == content[92:96]:
        return int.from_bytes(content[28:32], "big") * page_size or len(content)
    return len(content)


def differing_pages(a, b, page_size=None):
    """The numbers of the pages in which b differs from the database a; lengths count, and what
    b has behind its end, unless a has something there too."""
    page_size = page_size or page_size_of(a)
    one, two = (bytearray(pathlib.Path(path).read_bytes()) for path in (a, b))
    if counted(one, page_size) < len(one):
        for each in (one, two):
            del each[counted(each, page_size) :]
    n = max(len(one), len(two))
    return [
        at // page_size + 1
        for at in range(0, n, page_size)
        if one[at : at + page_size] != two[at : at + page_size]
    ]


def assert_captured(mount, name, records=None, merged=None, base=None):
    """The log of an unmounted (or resting) database, replayed, equals it page by page."""
    report = mount.replay(name, base=base)
    copy = mount.root / "expected.db"
    checkpointed_copy(mount.dir / name, copy)
    differ = differing_pages(copy, report["file"])
    os.unlink(copy)
    os.unlink(report["file"])
    assert not differ, f"{len(differ)} pages differ, first {differ[:5]}: {report}"
    assert report["checksum_ok"], report
    assert not report["time_went_back"], report
    if records is not None:
        assert report["records"] == records, report
    if merged is not None:
        assert report["merged"] == merged, report
    return report


def assert_restores(mount, name, output):
    """The backend of an unmounted folder has the database as it is, page by page, and sound."""
    run_cli("restore", "--from", mount.backup, "--db", name, "--output", output)
    copy = mount.root / "expected.db"
    checkpointed_copy(mount.dir / name, copy)
    differ = differing_pages(copy, output)
    os.unlink(copy)
    assert not differ, f"{len(differ)} pages differ, first {differ[:5]}"
    connection = sqlite3.connect(f"file:{output}?immutable=1", uri=True)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def preload(source, to):
    """Compiles a small library for LD_PRELOAD from C source text."""
    path = pathlib.Path(to)
    c_file = path.with_suffix(".c")
    c_file.write_text(source)
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O1", "-o", str(path), str(c_file), "-ldl"], check=True
    )
    return str(path)


def fill_disk(disk, leave):
    """Makes the file `ballast`, which takes all room of a disk but leave bytes."""
    free = os.statvfs(disk)
    with open(disk / "ballast", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - leave)


def list_state_logs(mount, name):
    """The files of a database's transaction log, oldest first."""
    return sorted(glob.glob(str(mount.state / "db" / mount.database_id(name) / "*.log")))
