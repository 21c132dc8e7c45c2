# SPDX-License-Identifier: MIT
"""Programs that people use, in a mounted folder: SQLite's benchmark, git, rsync, sqlite3."""

import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys

import pytest

from mount import assert_captured

HERE = pathlib.Path(__file__).parent
TOOLS = HERE.parent / "tools"


def run(*command, cwd=None):
    """Runs a command that must succeed; returns what it printed."""
    environment = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "t",
        "GIT_AUTHOR_EMAIL": "t@localhost",
        "GIT_COMMITTER_NAME": "t",
        "GIT_COMMITTER_EMAIL": "t@localhost",
        "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
        "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
    }
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def needs(*programs):
    """Skips where a program is missing."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"no {program} on this machine")


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_speedtest1_is_captured(ram_mounts, road, mode):
    """Everything that SQLite's own benchmark does: indexes, joins, ALTER, VACUUM, big updates."""
    built = subprocess.run([str(TOOLS / "build-speedtest1")], capture_output=True, text=True)
    if built.returncode != 0:
        pytest.skip(built.stderr.strip().splitlines()[-1])
    mount = ram_mounts(capture=road, env={"REPLITEDFS_MOUNT_LOG_MAX_SIZE": "4GiB"})
    path = mount.dir / "speed.db"
    run(built.stdout.strip(), "--journal", mode, "--size", "25", "--verify", path)
    mount.unmount()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert_captured(mount, "speed.db")


class Load:
    """A writer on a database beside the other programs, until the block ends."""

    def __init__(self, mount):
        self.mount = mount
        self.path = mount.dir / "load.db"
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL").fetchall()
        connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
        connection.close()
        self.process = None
        self.before = None

    def n_transactions(self):
        """In the log."""
        return self.mount.database("load.db")["txid"]

    def __enter__(self):
        self.before = self.n_transactions()
        self.process = subprocess.Popen(
            ["nice", sys.executable, str(HERE / "writer.py"), str(self.path), "1", "600"]
            + ["module=sqlite3", "checkpoints=no", "sync=OFF,NORMAL"],
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(self, kind, *_):
        ended = self.process.poll() is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
        if kind is None:
            assert not ended, "the load ended early"
            written = self.n_transactions() - self.before
            assert written > 20, f"only {written} transactions were written meanwhile"


def write_files(folder, n):
    """n small files in a few folders."""
    for i in range(n):
        path = folder / f"d{i % 20}" / f"file{i}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{i} ".encode() * (i % 300))


def git_session(folder):
    """init, commit, change, branch, gc, fsck, clone; returns what must be the same everywhere."""
    run("git", "init", "-q", "-b", "main", ".", cwd=folder)
    write_files(folder, 2000)
    run("git", "add", ".", cwd=folder)
    run("git", "commit", "-q", "-m", "one", cwd=folder)
    (folder / "d1" / "file1").write_text("changed")
    (folder / "d2" / "file2").unlink()
    run("git", "commit", "-q", "-a", "-m", "two", cwd=folder)
    run("git", "checkout", "-q", "-b", "side", "HEAD~1", cwd=folder)
    run("git", "checkout", "-q", "main", cwd=folder)
    run("git", "gc", "-q", "--prune=now", cwd=folder)
    run("git", "fsck", "--full", "--strict", cwd=folder)
    assert run("git", "status", "--porcelain", cwd=folder) == ""
    run("git", "clone", "-q", "--no-local", folder, folder.parent / "clone")
    assert run("git", "status", "--porcelain", cwd=folder.parent / "clone") == ""
    return run("git", "rev-parse", "HEAD", "HEAD^{tree}", "side", cwd=folder)


def test_git_beside_a_database_under_load(ram_mounts, ram_folder, road):
    """The same commits as in a bare folder, with no fault in the repository."""
    needs("git")
    bare = ram_folder / "bare" / "repository"
    bare.mkdir(parents=True)
    wanted = git_session(bare)
    mount = ram_mounts(capture=road)
    with Load(mount):
        (mount.dir / "git" / "repository").mkdir(parents=True)
        assert git_session(mount.dir / "git" / "repository") == wanted
    assert {database["name"] for database in mount.status()["databases"]} == {"load.db"}
    mount.unmount()
    run("git", "fsck", "--full", cwd=mount.dir / "git" / "repository")
    assert_captured(mount, "load.db")


def listing(folder):
    """Names, types, modes, owners, links, times and contents below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        st = path.lstat()
        content = None
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = path.read_bytes()
        # rsync leaves those of symlinks alone, on a bare folder too.
        times = 0 if path.is_dir() or path.is_symlink() else st.st_mtime_ns
        found[str(path.relative_to(folder))] = (st.st_mode, st.st_uid, st.st_gid, times, content)
    return found


def test_rsync_beside_a_database_under_load(mounts, folder, road):
    """In, changed, in again with --delete, and out: the same as the bare folder."""
    needs("rsync")
    source = folder / "source"
    write_files(source, 500)
    os.symlink("d1/file1", source / "link")
    os.link(source / "d1" / "file1", source / "hard")
    os.chmod(source / "d1" / "file21", 0o4750)
    os.chown(source / "d1" / "file41", 1234, 4321)
    (source / "big").write_bytes(os.urandom(3_000_000))
    mount = mounts(capture=road)
    with Load(mount):
        target = mount.dir / "copy"
        run("rsync", "-aH", f"{source}/", target)
        assert listing(target) == listing(source)
        shutil.rmtree(source / "d3")
        (source / "big").write_bytes(os.urandom(1_000_000))
        (source / "d4" / "file4").write_text("changed")
        run("rsync", "-aH", "--delete", "--inplace", f"{source}/", target)
        assert listing(target) == listing(source)
        run("rsync", "-aH", f"{target}/", folder / "back")
        assert listing(folder / "back") == listing(source)
        assert (target / "hard").stat().st_ino == (target / "d1" / "file1").stat().st_ino
    mount.unmount()
    assert listing(mount.dir / "copy") == listing(source)
    assert_captured(mount, "load.db")


def test_the_sqlite3_shell(mounts, road):
    """.dump into it, .backup, VACUUM INTO and .restore on the mount."""
    needs("sqlite3")
    mount = mounts(capture=road)
    path = mount.dir / "a.db"
    run("sqlite3", path, "PRAGMA journal_mode=WAL; CREATE TABLE t(a, b); CREATE INDEX i ON t(b);")
    run(
        "sqlite3",
        path,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) "
        "INSERT INTO t SELECT i, randomblob(100) FROM n;",
    )
    run("sqlite3", path, f".backup {mount.dir}/backup.db")
    run("sqlite3", path, f"VACUUM INTO '{mount.dir}/vacuumed.db'")
    run("sqlite3", mount.dir / "other.db", "PRAGMA journal_mode=WAL; CREATE TABLE x(y);")
    run("sqlite3", mount.dir / "other.db", f".restore {path}")
    run("sqlite3", mount.dir / "other.db", "DELETE FROM t WHERE a % 2; VACUUM; REINDEX; ANALYZE;")
    for name in ("a.db", "backup.db", "vacuumed.db", "other.db"):
        assert run("sqlite3", mount.dir / name, "PRAGMA integrity_check").strip() == "ok"
    mount.unmount()
    for name in ("a.db", "other.db"):
        assert_captured(mount, name)
