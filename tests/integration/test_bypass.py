# SPDX-License-Identifier: MIT
"""Programs that reach the bare files past the mount cannot corrupt anything."""

import os
import sqlite3
import subprocess

import pytest

from clients import ClientError, private_mounts
from mount import assert_captured, wait_for

TABLE = "CREATE TABLE t(id INTEGER PRIMARY KEY, v)"
INSERT = "INSERT INTO t(v) VALUES(randomblob(300))"
MODES = ["WAL", "DELETE"]


def bare(mount, mode, name="a.db"):
    """A database in the folder before the mount; returns a copy of it."""
    path = mount.dir / name
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={mode}").fetchall()
    connection.execute(TABLE)
    connection.execute(INSERT)
    connection.close()
    copy = mount.root / "base.db"
    copy.write_bytes(path.read_bytes())
    return path, copy


def check(mount, path, base):
    """After both have ended: the database is sound and the log equals it."""
    mount.unmount()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert_captured(mount, "a.db", base=base)


@pytest.mark.parametrize("mode", MODES)
def test_another_mount_namespace_gets_database_is_locked(mounts, clients, road, mode):
    """While a program on the mount has it open, which notices nothing."""
    mount = mounts(start=False, capture=road)
    path, base = bare(mount, mode)
    bypasser = clients(before=private_mounts)
    mount.start()
    user = clients(path)
    user.many(10, INSERT)
    bypasser.run(f"db = Database({str(path)!r}, busy_ms=0)")
    for statement in (INSERT, "SELECT count(*) FROM t", "PRAGMA journal_mode=DELETE"):
        with pytest.raises(ClientError, match="locked"):
            bypasser.sql(statement)
        user.many(10, INSERT)
    assert user.sql("SELECT count(*) FROM t") == [[41]]
    user.run("db.close()")
    user.close()
    bypasser.close()
    check(mount, path, base)


def open_bare_file(client, path):
    """The client opens the file by itself: a descriptor from before the mount."""
    client.run("import os, fcntl, struct")
    client.run(f"fd = os.open({str(path)!r}, os.O_RDWR)")


LOCK = "fcntl.fcntl(fd, fcntl.F_SETLK, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0x40000000, 1, 0))"


def test_a_descriptor_from_before_the_mount_refuses_the_mount(mounts, clients):
    """The process and the file are named; after it has gone the mount works."""
    mount = mounts(start=False)
    path, base = bare(mount, "WAL")
    holder = clients()
    open_bare_file(holder, path)
    refused = mount.start(check=False)
    assert refused.returncode == 75, refused.stderr
    assert f"pid {holder.pid}" in refused.stderr and "a.db" in refused.stderr, refused.stderr
    assert "fix:" in refused.stderr
    holder.close()
    mount.start()
    user = clients(path)
    user.many(3, INSERT)
    user.run("db.close()")
    user.close()
    check(mount, path, base)


@pytest.mark.parametrize("mode", MODES)
def test_an_old_working_directory_gets_no_lock(mounts, clients, mode):
    """A program that reaches the bare file by a relative name, as SQLite would lock it."""
    mount = mounts(start=False)
    path, base = bare(mount, mode)
    bypasser = clients(cwd=mount.dir)
    mount.start()
    user = clients(path)
    user.many(5, INSERT)
    open_bare_file(bypasser, "a.db")
    bare_inode = bypasser.run("os.fstat(fd).st_dev")
    assert bare_inode != os.stat(path).st_dev, "it did not get past the mount"
    with pytest.raises(ClientError, match="BlockingIOError|PermissionError"):
        bypasser.run(LOCK)
    user.many(5, INSERT)
    user.run("db.close()")
    user.close()
    bypasser.run("os.close(fd)")
    bypasser.close()
    check(mount, path, base)


@pytest.mark.parametrize("mode", MODES)
def test_who_is_there_first_keeps_the_database(mounts, clients, mode):
    """The open on the mount is refused; the log says by whom; later it works."""
    mount = mounts(start=False)
    path, base = bare(mount, mode)
    bypasser = clients(before=private_mounts)
    mount.start()
    bypasser.run(f"db = Database({str(path)!r}, busy_ms=0)")
    bypasser.sql("BEGIN IMMEDIATE")
    bypasser.many(5, INSERT)
    user = clients()
    with pytest.raises(ClientError, match="unable to open|locked|disk I/O|busy"):
        user.run(f"db = Database({str(path)!r}, busy_ms=0)\ndb.sql('SELECT * FROM t')")
    wait_for(lambda: f"pid {bypasser.pid}" in mount.log(), "the reason in the log")
    assert "bare folder" in mount.log()
    bypasser.sql("COMMIT")
    bypasser.run("db.close()")
    bypasser.close()
    user.run(f"db = Database({str(path)!r})")
    assert user.sql("SELECT count(*) FROM t") == [[6]]
    user.many(3, INSERT)
    user.run("db.close()")
    user.close()
    check(mount, path, base)


@pytest.mark.parametrize("mode", MODES)
def test_a_change_while_nobody_has_it_open_is_merged(mounts, clients, mode):
    """Seen at the next open on the mount, as one transaction."""
    mount = mounts(start=False)
    path, base = bare(mount, mode)
    bypasser = clients(before=private_mounts)
    mount.start()
    user = clients(path)
    user.many(3, INSERT)
    user.run("db.close()")
    merged = mount.database("a.db")["since_mount"]["merged"]
    bypasser.run(f"db = Database({str(path)!r})")
    bypasser.many(20, INSERT)
    bypasser.run("db.close()")
    bypasser.close()
    user.run(f"db = Database({str(path)!r})")
    assert user.sql("SELECT count(*) FROM t") == [[24]]
    assert mount.database("a.db")["since_mount"]["merged"] == merged + 1
    user.many(3, INSERT)
    user.run("db.close()")
    user.close()
    check(mount, path, base)


def test_bare_files_may_be_read_without_sqlite(mounts, clients):
    """A backup tool in another namespace copies what it sees, and disturbs nobody."""
    mount = mounts(start=False)
    path, base = bare(mount, "WAL")
    bypasser = clients(before=private_mounts)
    mount.start()
    user = clients(path)
    user.many(5, INSERT)
    assert bypasser.run(f"len(open({str(path)!r}, 'rb').read())") > 0
    user.many(5, INSERT)
    user.run("db.close()")
    user.close()
    bypasser.close()
    check(mount, path, base)


def test_a_state_folder_of_another_name_is_not_seen_on_the_mount(mounts):
    """In the folder, called otherwise: neither listed nor found."""
    mount = mounts(start=False)
    mount.state = mount.dir / "mine"
    mount.env["REPLITEDFS_MOUNT_STATE_DIR"] = str(mount.state)
    mount.start()
    assert os.listdir(mount.dir) == []
    assert not os.path.exists(mount.state)
    mount.unmount()
    assert os.listdir(mount.dir) == ["mine"]
    assert (mount.state / "identity").exists()


def test_the_state_folder_is_not_seen_on_the_mount(folder, mounts):
    """With state in the folder itself the mount shows its virtual files in that place."""
    mount = mounts(start=False)
    mount.env.pop("REPLITEDFS_MOUNT_STATE_DIR")
    mount.start()
    shown = set(os.listdir(mount.dir / ".replitedfs"))
    assert "identity" not in shown and "db" not in shown
    assert "status" in shown
    with pytest.raises(OSError):
        (mount.dir / ".replitedfs" / "x").write_text("x")
    with pytest.raises(OSError):
        os.rename(mount.dir / ".replitedfs", mount.dir / "other")
    mount.unmount()
    assert oct((mount.dir / ".replitedfs").stat().st_mode & 0o777) == "0o700"
    assert (mount.dir / ".replitedfs" / "identity").exists()
    assert subprocess.run(["ls", "-A", mount.dir], capture_output=True, check=True).stdout
