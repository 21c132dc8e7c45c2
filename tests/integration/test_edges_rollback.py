# SPDX-License-Identifier: MIT
"""The edges of rollback-journal capture, each provoked in a real SQLite at its exact point."""

import contextlib
import ctypes.util
import os
import shutil
import subprocess
import sys

import pytest

import faults
from clients import ClientError, close
from faults import Fault
from mount import assert_captured, differing_pages, fill_disk, run_cli, wait_for

TABLE = "CREATE TABLE t(id INTEGER PRIMARY KEY, n, v)"
INSERT = "INSERT INTO t(n, v) VALUES(0, randomblob(3000))"
CHANGE_ALL = "UPDATE t SET n = n + 1, v = randomblob(3000)"
CHANGE_SOME = f"{CHANGE_ALL} WHERE id <= 100"


class Stage:
    """A mount whose rollback-mode databases take one road.

    One that is made on the mount stays on passthrough for as long as the program that made
    it has it open: so that keeps it. On the road intercept nobody does.
    """

    def __init__(self, mount, clients, road):
        self.mount = mount
        self.clients = clients
        self.road = road
        self.keepers = {}

    def path(self, name="a.db"):
        """Where it is."""
        return self.mount.dir / name

    def create(self, name="a.db", rows=200, pragmas=(), **options):
        """Makes a database in two transactions."""
        keeper = self.clients(self.path(name), **options)
        for pragma in pragmas:
            keeper.sql(f"PRAGMA {pragma}")
        keeper.sql("PRAGMA synchronous=NORMAL")
        keeper.sql(TABLE)
        keeper.sql("BEGIN")
        keeper.many(rows, INSERT)
        keeper.sql("COMMIT")
        if self.road == "passthrough":
            self.keepers[name] = keeper
        else:
            close(keeper)

    def open(self, name="a.db", mode="DELETE", cache=2000, pragmas=(), **options):
        """A program that uses it."""
        client = self.clients(self.path(name), **options)
        for pragma in pragmas:
            client.sql(f"PRAGMA {pragma}")
        assert client.sql(f"PRAGMA journal_mode={mode}") == [[mode.lower()]]
        client.sql(f"PRAGMA cache_size={cache}")
        return client

    def txid(self, name="a.db"):
        """The number of the last transaction in the log."""
        return self.mount.database(name)["txid"]

    def settled(self, name="a.db"):
        """The same when all that is committed is in it."""
        self.mount.settle(name)
        return self.txid(name)

    def rest(self, *open_clients):
        """Those that kept the databases open end well, then these."""
        writes = self.mount.status()["upcalls"]["write"]
        if self.road == "intercept" or self.keepers:
            assert (writes == 0) == (self.road == "passthrough"), f"told of {writes} writes"
        close(*self.keepers.values(), *open_clients)
        self.keepers.clear()

    def end(self, *open_clients):
        """The same, and the mount."""
        self.rest(*open_clients)
        self.mount.unmount()


@pytest.fixture
def stage(ram_mounts, clients, road):
    """Makes a mount on one of both roads."""

    def make(**options):
        return Stage(ram_mounts(capture=road, **options), clients, road)

    return make


def dies(client, text):
    """The program ends within this statement."""
    with pytest.raises(ClientError, match="ended"):
        client.sql(text)


def is_sound(client):
    """Whether SQLite thinks so."""
    return client.sql("PRAGMA integrity_check") == [["ok"]]


# -- B2


def test_a_kept_journal_cut_before_a_commit_of_two_databases(stage, folder):
    """A kept journal is longer than this transaction: it is cut first, which ends nothing."""
    scene = stage()
    names = ["a.db", "b.db"]
    for name in names:
        scene.create(name)
    fault = Fault(folder, faults.KILL_AFTER_TRUNCATION, at="-journal")
    client = scene.open(cache=10, env=fault.env)
    client.sql("ATTACH ?1 AS other", str(scene.path("b.db")))
    client.sql("PRAGMA journal_mode=PERSIST")
    client.sql("PRAGMA other.cache_size=10")
    client.sql(CHANGE_ALL)
    client.sql(CHANGE_ALL.replace("t SET", "other.t SET"))
    kept = os.path.getsize(f"{scene.path()}-journal")
    client.sql("BEGIN")
    client.sql(CHANGE_SOME)
    client.sql(CHANGE_SOME.replace("t SET", "other.t SET"))
    fault.arm()
    dies(client, "COMMIT")
    fault.disarm()
    left = [os.path.getsize(f"{scene.path(name)}-journal") for name in names]
    assert 100_000 < min(left) < kept, f"no journal of {kept} was cut: {left}"
    assert list(scene.mount.dir.glob("*-mj*"))
    heirs = [scene.open(name) for name in names]
    for name, heir in zip(names, heirs):
        assert heir.sql("SELECT DISTINCT n FROM t") == [[1]]
        assert scene.txid(name) == 3
        heir.sql(INSERT)
    scene.end(*heirs)
    for name in names:
        assert_captured(scene.mount, name, records=4, merged=0)


def test_a_database_extended_in_mid_transaction(stage, folder):
    """With mmap SQLite gives the file its new size before it writes: that is no checkpoint."""
    scene = stage()
    scene.create()
    fault = Fault(folder, faults.KILL_AFTER_TRUNCATION, at=".db")
    client = scene.open(cache=10, env=fault.env)
    client.sql("PRAGMA mmap_size=100000000")
    client.sql("BEGIN")
    client.sql(CHANGE_ALL)
    size = os.path.getsize(scene.path())
    fault.arm()
    with pytest.raises(ClientError, match="ended"):
        client.many(100, INSERT)
    fault.disarm()
    assert os.path.getsize(scene.path()) > size, "the file was not extended"
    heir = scene.open()
    assert heir.sql("SELECT count(*), max(n) FROM t") == [[200, 0]]
    assert os.path.getsize(scene.path()) == size
    assert scene.txid() == 2
    heir.sql(INSERT)
    scene.end(heir)
    assert_captured(scene.mount, "a.db", records=3, merged=0)


def test_a_file_longer_than_its_header_says(stage):
    """A writer left that who died before the cut: the WAL's transactions take it in, and a
    restore of one of them is sound."""
    scene = stage()
    scene.create(rows=100)
    client = scene.open()
    with open(scene.path(), "ab") as file:
        file.write(os.urandom(4 * 4096))
    client.sql("UPDATE t SET n = 1 WHERE id = 1")
    assert_captured(scene.mount, "a.db", records=3)
    client.sql("PRAGMA journal_mode=WAL")
    client.sql("UPDATE t SET n = 2 WHERE id = 1")
    in_wal = scene.settled()
    client.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    client.sql("UPDATE t SET n = 3 WHERE id = 2")
    scene.settled()
    assert_captured(scene.mount, "a.db", records=in_wal + 1)
    client.sql("PRAGMA journal_mode=DELETE")
    client.sql(CHANGE_SOME)
    assert_captured(scene.mount, "a.db")
    scene.end(client)
    output = scene.mount.root / "restored.db"
    source = ("--from", scene.mount.dir, "--db", "a.db", "--txid", in_wal)
    run_cli("restore", *source, "--output", output, env=scene.mount.env)
    restored = scene.clients(output)
    assert restored.sql("PRAGMA integrity_check") == [["ok"]]
    assert restored.sql("SELECT n FROM t WHERE id <= 2") == [[2], [0]]
    restored.sql(CHANGE_ALL)
    assert restored.sql("PRAGMA integrity_check") == [["ok"]]


# -- B3


@pytest.mark.usefixtures("fine_times")
@pytest.mark.parametrize("mode", ["DELETE", "PERSIST"])
def test_free_pages_written_before_their_journal_segment_is_synced(stage, mode):
    """A rollback and a playback leave them changed; the log has them nevertheless."""
    scene = stage()
    scene.create(rows=600)
    client = scene.open(mode=mode)
    client.sql("DELETE FROM t WHERE id > 100")
    for end in ("ROLLBACK", "kill"):
        client.sql("PRAGMA cache_size=10")
        before = shutil.copyfile(scene.path(), scene.mount.root / "before.db")
        client.sql("BEGIN")
        client.sql(CHANGE_ALL)
        client.sql("INSERT INTO t(v) VALUES(randomblob(400000))")
        if end == "kill":
            client.kill()
            client = scene.open(mode=mode)
        else:
            client.sql("ROLLBACK")
        assert client.sql("SELECT count(*), max(n) FROM t") == [[100, 0]]
        n_changed = len(differing_pages(before, scene.path()))
        assert n_changed > 10, f"this SQLite has left {n_changed} free pages changed"
        assert_captured(scene.mount, "a.db", merged=0)
    scene.end(client)
    assert_captured(scene.mount, "a.db", merged=0)


# -- B7


def test_killed_between_the_zeroing_of_the_header_and_its_sync(stage, folder):
    """The commit stands without a barrier: it comes with the next one, or the last close."""
    scene = stage()
    scene.create()
    fault = Fault(folder, faults.KILL_AFTER_ZEROING_OF_JOURNAL)
    other = scene.open(mode="PERSIST")
    other.sql(CHANGE_ALL)
    for healed in ("by the next commit", "by the last close"):
        before = scene.txid()
        client = scene.open(mode="PERSIST", env=fault.env)
        fault.arm()
        dies(client, f"{CHANGE_ALL} WHERE id % 2 = 0")
        fault.disarm()
        assert scene.txid() == before, "a barrier was there"
        if healed == "by the next commit":
            other.sql(f"{CHANGE_ALL} WHERE id = 7")
        else:
            scene.rest(other)
        wait_for(lambda: scene.txid() == before + 1, "the commit to be captured")
        assert_captured(scene.mount, "a.db")
    heir = scene.open()
    assert heir.sql("SELECT sum(n) FROM t") == [[200 + 100 + 1 + 100]]
    close(heir)
    scene.mount.unmount()
    # Who is told of all writes can tell what the unseen commit changed.
    merged = 1 if scene.road == "intercept" else 2
    assert_captured(scene.mount, "a.db", records=5, merged=merged)


def test_the_kept_header_is_lost_with_the_daemon(stage, folder):
    """It dies when only the daemon still knows what the zeroed journal is about."""
    scene = stage()
    scene.create()
    fault = Fault(folder, faults.HOLD_AFTER_ZEROING_OF_JOURNAL)
    client = scene.open(mode="PERSIST", cache=10, env=fault.env)
    client.sql(CHANGE_ALL)
    fault.arm()
    client.send(f"db.sql({CHANGE_SOME!r})")
    fault.wait_until_held()
    scene.mount.kill()
    fault.let_go()
    with pytest.raises(ClientError, match="disk I/O"):
        client.answer()
    for each in (client, *scene.keepers.values()):
        each.kill()
    scene.mount.start()
    heir = scene.open(mode="PERSIST")
    assert heir.sql("SELECT sum(n) FROM t") == [[300]]
    assert_captured(scene.mount, "a.db", records=4, merged=1)
    heir.sql(CHANGE_ALL)
    assert is_sound(heir)
    close(heir)
    scene.mount.unmount()
    assert_captured(scene.mount, "a.db", records=5, merged=1)


# -- B8

QUIET_WAYS = {
    "memory": ("MEMORY", []),
    "exclusive": ("DELETE", ["locking_mode=EXCLUSIVE"]),
    "persist": ("PERSIST", []),
}


def commit_quietly_and_aloud(scene, name, way):
    """10 times three commits without any barrier, then one with; returns the programs."""
    mode, pragmas = QUIET_WAYS[way]
    scene.create(name, pragmas=pragmas)
    # Exclusive locking leaves no room for others.
    keeper = scene.keepers.get(name) if pragmas else None
    quiet = keeper or scene.open(name, mode, pragmas=pragmas)
    loud = quiet if pragmas else scene.open(name)
    for i in range(10):
        before = scene.txid(name)
        quiet.sql("PRAGMA synchronous=OFF")
        quiet.many(3, f"{CHANGE_ALL} WHERE id % 10 = {i} AND id > 20 + ?1")
        assert scene.txid(name) == before, "a barrier was there"
        loud.sql("PRAGMA synchronous=FULL")
        loud.sql(f"{CHANGE_ALL} WHERE id = {i + 1}")
        assert scene.txid(name) == before + 1
        if i % 4 == 0:
            assert_captured(scene.mount, name)
    assert is_sound(loud)
    quiet.sql("PRAGMA synchronous=OFF")
    quiet.sql(CHANGE_ALL)
    return {quiet, loud} - {keeper}


def test_commits_without_any_barrier_among_others(stage):
    """Several at OFF, then one at FULL: by then all of them are in the log."""
    scene = stage()
    users = set()
    for way in QUIET_WAYS:
        users |= commit_quietly_and_aloud(scene, f"{way}.db", way)
    scene.end(*users)
    for way in QUIET_WAYS:
        merged = 11
        if scene.road == "intercept":
            # The last commits are found at the close; exclusive locking unlinks its journal.
            merged = 0 if way == "exclusive" else 1
        assert_captured(scene.mount, f"{way}.db", records=2 + 10 + 1, merged=merged)


@pytest.fixture
def coarse_disk(folder):
    """A disk for the mount `m`, where two changes may come at the same time."""
    (folder / "m").mkdir()
    command = ["mount", "-t", "ramfs", "none", str(folder / "m")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no ramfs here: {done.stderr.strip()}")
    yield
    subprocess.run(["umount", str(folder / "m")], check=True)


def test_commits_without_any_barrier_at_the_time_of_others(coarse_disk, mounts, clients):
    """As on file systems, or with kernels, whose times move in ticks: one tells nothing."""
    scene = Stage(mounts(capture="passthrough"), clients, "passthrough")
    scene.create(rows=300, pragmas=["locking_mode=EXCLUSIVE"])
    client = scene.keepers["a.db"]
    client.run(
        "for i in range(100):\n"
        "    for level in ('NORMAL', 'OFF'):\n"
        "        db.sql(f'PRAGMA synchronous={level}')\n"
        "        db.sql('UPDATE t SET n = n + 1 WHERE id = ?1', 2 * i + 1)\n"
        "db.sql('PRAGMA synchronous=NORMAL')\n"
        "db.sql('UPDATE t SET n = n + 1 WHERE id = 300')\n"
    )
    assert_captured(scene.mount, "a.db")
    scene.end()
    assert_captured(scene.mount, "a.db")


@pytest.mark.parametrize("hooks", ["", "no-first-page-check"], ids=["", "unchecked"])
def test_commits_without_any_barrier_at_an_old_time(mounts, clients, hooks):
    """Who sets the file's time back hides them from all but the copy of page 1 in the next
    journal; without a look at that they are not found."""
    scene = Stage(mounts(capture="passthrough", hooks=hooks), clients, "passthrough")
    scene.create()
    client = scene.open(mode="PERSIST")
    client.sql(CHANGE_SOME)
    st = os.stat(scene.path())
    client.sql("PRAGMA synchronous=OFF")
    client.sql(f"{CHANGE_ALL} WHERE id > 150")
    os.utime(scene.path(), ns=(st.st_atime_ns, st.st_mtime_ns))
    client.sql("PRAGMA synchronous=FULL")
    client.sql(INSERT)
    refused = pytest.raises(AssertionError, match="pages differ")
    with refused if hooks else contextlib.nullcontext():
        assert_captured(scene.mount, "a.db")
    scene.end(client)


# -- B9


@pytest.fixture
def cipher():
    """What makes the programs' SQLite a SQLCipher."""
    library = ctypes.util.find_library("sqlcipher")
    if library is None:
        pytest.skip("SQLCipher is not installed")
    env = {"LD_PRELOAD": library}
    code = "import sqlite3; print(*sqlite3.connect('').execute('PRAGMA cipher_version'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0 or not done.stdout.strip():
        pytest.skip(f"this Python does not work with SQLCipher: {done.stdout}{done.stderr}")
    return env


def assert_same_file(mount, name, records):
    """Like assert_captured for a database that only its key opens: no WAL may be there."""
    assert not (mount.dir / f"{name}-wal").exists()
    report = mount.replay(name)
    differ = differing_pages(mount.dir / name, report["file"], report["page_size"])
    os.unlink(report["file"])
    assert not differ and report["checksum_ok"], f"{differ[:5]} differ: {report}"
    assert report["records"] == records, report


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_encrypted_databases(stage, clients, cipher, folder, mode):
    """No header, no size, no freelist to be seen: spills, VACUUM, another key, a kill."""
    scene = stage(backup=True)
    name = "secret.db"
    key, new_key = ["key='old'"], ["key='new'"]
    scene.create(name, rows=60, pragmas=key, env=cipher)
    client = scene.open(name, mode, cache=10, pragmas=key, env=cipher)
    assert scene.path(name).read_bytes()[:6] != b"SQLite"
    before = scene.settled(name)
    assert client.many(300, f"{CHANGE_ALL} WHERE id % 10 = ?1 % 10") == 300
    assert scene.settled(name) == before + 300
    client.sql("DELETE FROM t WHERE id > 30")
    client.sql("INSERT INTO t(id, n, v) VALUES(1000, 0, randomblob(80000))")
    if mode == "DELETE":
        assert_same_file(scene.mount, name, records=before + 302)
    client.sql("DELETE FROM t WHERE id > 30")
    client.sql("VACUUM")
    client.sql("PRAGMA rekey='new'")
    assert scene.settled(name) == before + 305
    client.sql("BEGIN")
    client.sql(CHANGE_ALL)
    client.kill()
    client = scene.open(name, mode, pragmas=new_key, env=cipher)
    assert client.sql("SELECT count(*), max(n) FROM t") == [[30, 30]]
    client.many(5, INSERT)
    assert is_sound(client)
    scene.end(client)
    # A journal holds pages as they were encrypted for it: playing them back changes them.
    n = 311 if mode == "DELETE" else 310
    assert_same_file(scene.mount, name, records=before + n)
    out = folder / "restored.db"
    run_cli("restore", "--from", scene.mount.backup, "--db", name, "--output", out)
    assert out.read_bytes() == scene.path(name).read_bytes()
    restored = clients(out, env=cipher)
    restored.sql("PRAGMA key='new'")
    assert restored.sql("SELECT count(*) FROM t") == [[35]]
    assert is_sound(restored)


# -- B10


def assert_page_sizes(scene, client, change):
    """change(n, size) gives the pages that size, for the n-th time, which is a merged record, and
    commits once more. Journal modes take turns."""
    for n, size in enumerate((16384, 512, 65536, 4096)):
        client.sql(f"PRAGMA journal_mode={['DELETE', 'PERSIST', 'TRUNCATE'][n % 3]}")
        change(n, size)
        report = assert_captured(scene.mount, "a.db", records=4 + 2 * n, merged=n + 1)
        assert report["page_size"] == size


def test_page_sizes_changed_by_vacuum(stage, folder):
    """The journal is in pages of the old size, the database in those of the new one."""
    scene = stage()
    scene.create()
    client = scene.open()

    def vacuum(n, size):
        client.sql(f"PRAGMA page_size={size}")
        client.sql("VACUUM")
        client.sql(f"{CHANGE_ALL} WHERE id % 7 = {n}")

    assert_page_sizes(scene, client, vacuum)
    fault = Fault(folder, faults.KILL_AT_UNLINK_OF_JOURNAL)
    victim = scene.open(env=fault.env)
    victim.sql("PRAGMA page_size=1024")
    fault.arm()
    dies(victim, "VACUUM")
    assert client.sql("PRAGMA page_size") == [[4096]]
    assert is_sound(client)
    scene.end(client)
    assert_captured(scene.mount, "a.db", records=10, merged=4)


def test_page_sizes_changed_by_the_backup_api(stage, folder):
    """Another database is copied over this one, page by page, in pages of another size."""
    scene = stage()
    scene.create()
    client = scene.open()

    def copy(n, size):
        client.run(f"other = Database({str(folder / str(size))!r})")
        client.run(f"other.sql('PRAGMA page_size={size}')")
        client.run("other.sql('PRAGMA synchronous=OFF')")
        client.run(f"other.sql({TABLE!r})")
        client.run(f"other.many(100 + {n}, {INSERT!r})")
        client.run("other.connection.backup(db.connection)")
        client.sql(CHANGE_SOME)

    assert_page_sizes(scene, client, copy)
    assert is_sound(client)
    scene.end(client)
    assert_captured(scene.mount, "a.db", records=10, merged=4)


# -- B13

APPEND = "INSERT INTO t(n, v) VALUES(0, randomblob(300000))"
CONTENT = "SELECT count(*), sum(n) FROM t"
# Refused, a DELETE or TRUNCATE commit may fail at its end, a PERSIST one only before.
REFUSED_AT = {
    "DELETE": "unlink refused",
    "TRUNCATE": "truncate refused",
    "PERSIST": "fsync refused",
}


@pytest.fixture
def full_stage(small_disk, mounts, clients, road):
    """Makes a mount, whose log has a small disk, on one of both roads."""
    env = {"REPLITEDFS_MOUNT_LOG_MAX_SIZE": "1GiB"}
    scene = Stage(mounts(capture=road, backup=True, env=env), clients, road)
    scene.disk = small_disk
    return scene


def until_refused(client, reader, statement, most=100):
    """Commits until that fails; nothing may be left of the refused one. Returns the successes."""
    for n in range(most):
        before = reader.sql(CONTENT)
        try:
            client.sql(statement)
        except ClientError as error:
            assert "disk" in str(error), error
            assert client.run("db.connection.in_transaction") is False
            assert client.sql(CONTENT) == before
            assert reader.sql(CONTENT) == before
            return n
        assert reader.sql(CONTENT) != before
    return most


def test_commits_refused_for_want_of_room(full_stage, folder):
    """Each is rolled back cleanly and reported, none that stands is; then all goes on."""
    scene = full_stage
    n = {}
    for mode, where in REFUSED_AT.items():
        name = f"{mode}.db"
        scene.create(name)
        client, reader = scene.open(name, mode), scene.open(name, mode)
        fill_disk(scene.disk, 100 << 10)
        # What is new has no place in a journal, and is seen to be too much at the end only.
        n[mode] = until_refused(client, reader, APPEND, most=20)
        n[mode] += until_refused(client, reader, CHANGE_ALL)
        client.sql("BEGIN")
        client.sql("UPDATE t SET n = n + 1 WHERE id < 3")
        with pytest.raises(ClientError, match="disk"):
            client.sql(CHANGE_ALL)
            client.sql("COMMIT")
        assert client.run("db.connection.in_transaction") is False
        assert is_sound(client) and is_sound(reader)
        assert where in scene.mount.log()
        os.unlink(scene.disk / "ballast")
        reader.sql(CHANGE_ALL)
        client.sql(CHANGE_SOME)
        assert scene.mount.database(name)["trouble"] is None
        close(client, reader)
    scene.end()
    for mode in ("DELETE", "TRUNCATE"):
        assert_captured(scene.mount, f"{mode}.db", records=2 + n[mode] + 2, merged=0)
    # Those that could not be refused are in the log with the next one.
    assert_captured(scene.mount, "PERSIST.db")
    for mode in REFUSED_AT:
        name, out = f"{mode}.db", folder / mode
        run_cli("restore", "--from", scene.mount.backup, "--db", name, "--output", out)
        assert out.read_bytes() == scene.path(name).read_bytes()


def test_a_refused_commit_takes_no_room(full_stage):
    """What was taken in vain is given back, so that others go on."""
    scene = full_stage
    scene.create(rows=3000)
    scene.create("b.db")
    client, other = scene.open(mode="PERSIST", cache=100000), scene.open("b.db")
    client.sql("UPDATE t SET n = 1 WHERE id = 1")
    fill_disk(scene.disk, 8 << 20)
    with pytest.raises(ClientError, match="disk"):
        client.sql(CHANGE_ALL)
    free = os.statvfs(scene.disk)
    assert free.f_bavail * free.f_frsize > 6 << 20
    for _ in range(3):
        client.sql("UPDATE t SET n = n + 1 WHERE id = 1")
        other.sql(f"{CHANGE_ALL} WHERE id < 20")
    os.unlink(scene.disk / "ballast")
    scene.end(client, other)
    assert_captured(scene.mount, "a.db", records=2 + 4, merged=0)
    assert_captured(scene.mount, "b.db", records=2 + 3, merged=0)


@pytest.mark.parametrize("end", ["ROLLBACK", "COMMIT"])
def test_a_rollback_needs_no_room(full_stage, end):
    """It leaves free pages changed, which the log has no room for: the database stays readable."""
    scene = full_stage
    for mode in ("DELETE", "TRUNCATE"):
        name = f"{mode}.db"
        scene.create(name, rows=600)
        client = scene.open(name, mode)
        client.sql("DELETE FROM t WHERE id > 100")
        fill_disk(scene.disk, 100 << 10)
        for n_rows in (100, 20, 4):
            until_refused(client, client, f"{CHANGE_ALL} WHERE id <= {n_rows}")
        client.sql("PRAGMA cache_size=10")
        client.sql("BEGIN")
        client.sql("INSERT INTO t(n, v) VALUES(0, randomblob(400000))")
        with contextlib.suppress(ClientError):
            client.sql(end)
        assert client.run("db.connection.in_transaction") is False
        assert client.sql("SELECT count(*) FROM t") == [[100]]
        os.unlink(scene.disk / "ballast")
        client.sql(CHANGE_ALL)
        close(client)
    scene.end()
    for mode in ("DELETE", "TRUNCATE"):
        assert_captured(scene.mount, f"{mode}.db")


def test_a_full_log_is_said(full_stage):
    """By status for as long as it lasts, by the log once."""
    scene = full_stage
    scene.create()
    client = scene.open()
    fill_disk(scene.disk, 100 << 10)
    until_refused(client, client, CHANGE_ALL)
    for _ in range(5):
        assert until_refused(client, client, CHANGE_ALL) == 0
        assert "No space" in str(scene.mount.database("a.db")["trouble"])
    assert "works again" not in scene.mount.log()
    os.unlink(scene.disk / "ballast")
    client.sql(CHANGE_ALL)
    assert scene.mount.database("a.db")["trouble"] is None
    scene.end(client)
