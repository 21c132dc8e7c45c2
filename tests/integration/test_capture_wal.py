# SPDX-License-Identifier: MIT
"""Every transaction of a database in WAL mode is captured: one each, and every page right."""

import os
import random
import time

import pytest

from clients import TABLE
from follow import followed
from mount import assert_captured

SECONDS = float(os.environ.get("REPLITEDFS_STRESS_SECONDS", "8"))
FULL_LENGTH = SECONDS >= 60
LEVELS = ["OFF", "NORMAL", "FULL", "EXTRA"]
PAGE_SIZES = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536]


def open_wal(clients, mount, name="a.db", first=(), **options):
    """A client with a new WAL-mode database that has one table; returns it and the txid."""
    client = clients(mount.dir / name, **options)
    for pragma in first:
        client.sql(f"PRAGMA {pragma}")
    assert client.sql("PRAGMA journal_mode=WAL") == [["wal"]]
    client.sql(TABLE)
    return client, txid(mount, name)


def txid(mount, name="a.db"):
    """The last transaction's number once the log has come to rest."""
    mount.settle(name)
    return mount.database(name)["txid"]


def assert_transactions(mount, name, before, n):
    """After unmounting: the log equals the database, and holds exactly n more transactions."""
    report = assert_captured(mount, name, merged=0)
    assert report["txid"] == before + n, f"{report['txid'] - before} transactions, not {n}"
    assert report["records"] == report["txid"], report


def test_ten_thousand_inserts_are_ten_thousand_transactions(ram_mounts, clients, any_road):
    """Four programs at once, one at each synchronous level."""
    mount = ram_mounts(**any_road)
    writers = {}
    for level in LEVELS:
        client, before = open_wal(clients, mount, f"{level}.db", first=[f"synchronous={level}"])
        writers[level] = client, before
    for client, _ in writers.values():
        client.send("db.many(10000, 'INSERT INTO t(v) VALUES(?1)')")
    for client, _ in writers.values():
        assert client.answer() == 10000
        client.run("db.close()")
    mount.unmount()
    for level, (_, before) in writers.items():
        assert_transactions(mount, f"{level}.db", before, 10000)


def test_frames_rewritten_in_place_are_one_transaction(mounts, clients, any_road):
    """A spilled transaction that dirties its pages again commits once, and not early."""
    mount = mounts(**any_road)
    client, _ = open_wal(clients, mount)
    client.sql("PRAGMA cache_size=5")
    client.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
        "INSERT INTO t SELECT i, randomblob(300) FROM n"
    )
    before = txid(mount)
    client.sql("BEGIN")
    for _ in range(2):
        client.many(2000, "UPDATE t SET v = randomblob(300) WHERE id = ?1 + 1")
        assert mount.database("a.db")["txid"] == before, "captured before it was committed"
    client.sql("COMMIT")
    client.run("db.close()")
    mount.unmount()
    assert_transactions(mount, "a.db", before, 1)


def test_a_rolled_back_spill_is_no_transaction(mounts, clients, road):
    """Row 3: 50 MB reach the WAL and are rolled back, again and again; the next commit is right."""
    n = 100 if FULL_LENGTH else 3
    mount = mounts(capture=road)
    client, before = open_wal(clients, mount)
    client.sql("PRAGMA cache_size=20")
    for i in range(n):
        client.sql("BEGIN")
        client.many(500, "INSERT INTO t(v) VALUES(randomblob(100000))")
        assert os.path.getsize(mount.dir / "a.db-wal") > 40_000_000
        client.sql("ROLLBACK")
        assert txid(mount) == before + i, "a rollback was captured"
        client.sql("INSERT INTO t(v) VALUES(randomblob(500))")
    client.run("db.close()")
    mount.unmount()
    assert_transactions(mount, "a.db", before, n)


SAVEPOINTS = """
import random
def savepoints(seed):
    chance = random.Random(seed)
    depth = 0
    db.sql("BEGIN IMMEDIATE")
    for _ in range(chance.randrange(5, 25)):
        kind = chance.random()
        if kind < 0.3:
            depth += 1
            db.sql(f"SAVEPOINT s{depth}")
        elif kind < 0.45 and depth:
            depth = chance.randrange(depth) + 1
            db.sql(f"ROLLBACK TO s{depth}")
        elif kind < 0.55 and depth:
            db.sql(f"RELEASE s{depth}")
            depth -= 1
        elif kind < 0.8:
            low = chance.randrange(300)
            db.sql(f"UPDATE t SET v = randomblob(900) WHERE id BETWEEN {low} AND {low + 60}")
        elif kind < 0.9:
            db.sql(f"DELETE FROM t WHERE id % 11 = {chance.randrange(11)}")
        else:
            for _ in range(30):
                db.sql(f"REPLACE INTO t VALUES({chance.randrange(300)}, randomblob(1500))")
    db.sql("ROLLBACK" if chance.random() < 0.15 else "COMMIT")
"""


def test_savepoints_partly_rolled_back_after_a_spill(mounts, follows, clients, any_road):
    """Row 4: random nesting with a tiny cache; this SQLite's frames then have wrong checksums (B1).
    Where the WAL-index is seen, which tells nevertheless, the log has each commit at once."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    mount, follow = followed(mounts, follows, **any_road)
    indexed = "hooks" not in any_road
    client, _ = open_wal(clients, mount)
    client.sql("PRAGMA synchronous=NORMAL")
    client.sql("PRAGMA cache_size=5")
    client.run(SAVEPOINTS)
    mount.settle("a.db")
    follow.look("a.db", "index")
    end = time.monotonic() + SECONDS / 2
    n_left = 500 if FULL_LENGTH else 20
    while n_left > 0 or time.monotonic() < end:
        client.run(f"savepoints({seed})")
        mount.settle("a.db")
        if indexed:
            answer = follow.look("a.db", "index")
            assert answer["differ"] == 0 and answer["merged"] == 0, f"seed {seed}: {answer}"
            assert answer["records"] == answer["commits"], f"seed {seed}: {answer}"
        seed += 1
        n_left -= 1
    assert client.sql("PRAGMA integrity_check") == [["ok"]]
    client.run("db.close()")
    mount.unmount()
    assert_captured(mount, "a.db")


def test_padding_frames_make_no_transactions(mounts, clients, road):
    """psow=0 repeats the commit frame up to a sector's end; eight page sizes, 200 commits each."""
    mount = mounts(capture=road)
    before = {}
    for size in PAGE_SIZES:
        name = f"{size}.db"
        uri = f"file:{mount.dir / name}?psow=0"
        client = clients(uri, uri=True)
        client.sql(f"PRAGMA page_size={size}")
        client.sql("PRAGMA journal_mode=WAL")
        client.sql("PRAGMA synchronous=FULL")
        client.sql(TABLE)
        before[name] = txid(mount, name)
        client.many(200, "INSERT INTO t(v) VALUES(randomblob(200 + ?1))")
        client.run("db.close()")
        client.close()
    mount.unmount()
    for name, number in before.items():
        assert_transactions(mount, name, number, 200)


@pytest.mark.parametrize("size", PAGE_SIZES)
def test_every_page_size(mounts, clients, size):
    """With checkpoints and a shrink in between."""
    mount = mounts()
    client, before = open_wal(clients, mount, first=[f"page_size={size}"])
    client.sql("PRAGMA wal_autocheckpoint=20")
    client.many(100, "INSERT INTO t(v) VALUES(randomblob(5000))")
    client.sql("DELETE FROM t WHERE id > 10")
    client.sql("VACUUM")
    client.many(100, "INSERT INTO t(v) VALUES(randomblob(100))")
    client.run("db.close()")
    mount.unmount()
    assert_transactions(mount, "a.db", before, 202)


def test_exclusive_locking_without_any_shm(mounts, clients, any_road):
    """A heap WAL-index: the commit frame is the commit, 1 000 times."""
    mount = mounts(**any_road)
    client = clients(mount.dir / "a.db")
    client.sql("PRAGMA locking_mode=EXCLUSIVE")
    client.sql("PRAGMA journal_mode=WAL")
    client.sql(TABLE)
    assert not (mount.dir / "a.db-shm").exists()
    before = txid(mount)
    client.many(1000, "INSERT INTO t(v) VALUES(randomblob(300))")
    client.run("db.close()")
    mount.unmount()
    assert_transactions(mount, "a.db", before, 1000)


CHECKPOINTER = """
import time
def checkpoints(seconds):
    modes = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"]
    end = time.monotonic() + seconds
    n = 0
    while time.monotonic() < end:
        try:
            db.sql(f"PRAGMA wal_checkpoint({modes[n % 4]})")
        except sqlite.BusyError:
            pass
        n += 1
        time.sleep(0.05)
    return n
"""
WRITER = """
import time
def write(seconds):
    end = time.monotonic() + seconds
    n = 0
    # Never the same twice: a commit that repeats the one before it byte by byte is padding.
    while time.monotonic() < end:
        n += db.many(20, "REPLACE INTO t VALUES((?1 * 7919) % 500, randomblob(8 + ?1 * 60))")
    return n
"""


def test_three_checkpointers_during_writes(mounts, clients, any_road):
    """All modes every 50 ms by three processes beside two writers."""
    pytest.importorskip("apsw", reason="needs a current SQLite for concurrent checkpointers")
    mount = mounts(**any_road)
    # Who waits for a writer that never rests is lucky or not: SQLite has no queue.
    options = {"module": "apsw", "busy_ms": 60000}
    first, before = open_wal(clients, mount, **options)
    writers = [first, clients(mount.dir / "a.db", **options)]
    checkpointers = [clients(mount.dir / "a.db", module="apsw") for _ in range(3)]
    for client in writers:
        client.run(WRITER)
        client.send(f"write({SECONDS / 2})")
    for client in checkpointers:
        client.run(CHECKPOINTER)
        client.send(f"checkpoints({SECONDS / 2})")
    written = sum(client.answer(SECONDS + 120) for client in writers)
    for client in checkpointers:
        assert client.answer(SECONDS + 120) > 0
    assert first.sql("PRAGMA integrity_check") == [["ok"]]
    for client in writers + checkpointers:
        client.run("db.close()")
    mount.unmount()
    assert_transactions(mount, "a.db", before, written)


def test_five_hundred_cycles_of_open_and_close(ram_mounts, clients, any_road):
    """The last close takes the WAL away each time; the numbers go on without a gap."""
    mount = ram_mounts(**any_road)
    client, before = open_wal(clients, mount)
    path = str(mount.dir / "a.db")
    client.run("db.close()")
    assert not (mount.dir / "a.db-wal").exists()
    client.run(f"path = {path!r}")
    client.run(
        "for i in range(500):\n"
        "    db = Database(path)\n"
        "    db.sql('INSERT INTO t(v) VALUES(?1)', i)\n"
        "    db.close()"
    )
    mount.unmount()
    assert_transactions(mount, "a.db", before, 500)


def test_a_checkpoint_after_every_commit(ram_mounts, clients, road):
    """journal_size_limit=0 and wal_autocheckpoint=1: the WAL restarts at every commit."""
    mount = ram_mounts(capture=road)
    client, before = open_wal(clients, mount)
    client.sql("PRAGMA journal_size_limit=0")
    client.sql("PRAGMA wal_autocheckpoint=1")
    client.many(5000, "REPLACE INTO t VALUES(?1 % 97, randomblob(200))")
    client.run("db.close()")
    mount.unmount()
    assert_transactions(mount, "a.db", before, 5000)


@pytest.mark.parametrize("way", ["VACUUM", "FULL", "INCREMENTAL"])
def test_a_shrink_from_100_mb_to_1_mb(mounts, clients, road, way):
    """The replayed file has the shrunk size and nothing behind it."""
    mount = mounts(capture=road, env={"REPLITEDFS_MOUNT_LOG_MAX_SIZE": "1GiB"})
    client, _ = open_wal(
        clients, mount, first=[f"auto_vacuum={way}"] if way != "VACUUM" else []
    )
    client.sql("BEGIN")
    client.many(1000, "INSERT INTO t(v) VALUES(zeroblob(100000))")
    client.sql("COMMIT")
    client.sql("DELETE FROM t WHERE id > 10")
    if way == "INCREMENTAL":
        client.run("db.connection.executescript('PRAGMA incremental_vacuum') and None")
    elif way == "VACUUM":
        client.sql("VACUUM")
    assert client.sql("PRAGMA page_count")[0][0] < 300
    client.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    assert os.path.getsize(mount.dir / "a.db") < 1_200_000
    client.sql("INSERT INTO t(v) VALUES('after')")
    client.run("db.close()")
    mount.unmount()
    report = assert_captured(mount, "a.db", merged=0)
    assert report["pages"] * report["page_size"] < 1_200_000
