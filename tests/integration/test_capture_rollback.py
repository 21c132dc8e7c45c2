# SPDX-License-Identifier: MIT
"""Every transaction of a database in rollback-journal mode is captured: one each, every page."""

import os
import random

import pytest

from follow import followed
from mount import assert_captured, run_cli, wait_for

SECONDS = float(os.environ.get("REPLITEDFS_STRESS_SECONDS", "8"))
FULL_LENGTH = SECONDS >= 60
MODES = ["DELETE", "TRUNCATE", "PERSIST"]
LEVELS = ["OFF", "NORMAL", "FULL", "EXTRA"]
TABLE = "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, v)"
INSERT = "INSERT INTO t(v) VALUES(randomblob(300))"
WARNING = "several transactions may be captured as one"

# A database that is made on the mount travels by passthrough, so that the candidates come from
# its journal; one that is there already through the page cache, which tells of each write.
ORIGINS = ["created", "reopened"]


def opened(client, path, *pragmas):
    """The client with the database and those settings."""
    client.run(f"db = Database({str(path)!r})")
    for pragma in pragmas:
        client.sql(f"PRAGMA {pragma}")
    client.sql(TABLE)


def closed(client, mount, name):
    """The client without it; the kernel tells of a last close in its own time."""
    client.run("db.close()")
    wait_for(lambda: not mount.database(name)["open"], f"{name} to be closed")


def made(client, mount, name, origin, *pragmas):
    """Opens a new database, or one that another session has left."""
    opened(client, mount.dir / name, *pragmas)
    if origin == "reopened":
        closed(client, mount, name)
        opened(client, mount.dir / name, *pragmas)


def n_writes(mount):
    """Writes that the daemon was told of."""
    return mount.status()["upcalls"]["write"]


@pytest.mark.parametrize("origin", ORIGINS)
def test_every_commit_is_one_transaction(ram_mounts, clients, road, origin):
    """Row 13: each journal mode at each level; all but a kept journal that is never synced."""
    n = 1000 if FULL_LENGTH else 200
    mount = ram_mounts(capture=road)
    client = clients()
    for mode in MODES:
        for level in LEVELS:
            name = f"{mode}-{level}.db"
            made(client, mount, name, origin, f"journal_mode={mode}", f"synchronous={level}")
            before = mount.database(name)
            writes = n_writes(mount)
            client.many(n, "INSERT INTO t(v) VALUES(randomblob(?1))")
            after = mount.database(name)
            told = n_writes(mount) > writes
            assert told == (origin == "reopened" or road == "intercept"), "not the road meant"
            announced = (mode, level) != ("PERSIST", "OFF")
            assert after["txid"] - before["txid"] == (n if announced else 0), name
            closed(client, mount, name)
            at_close = mount.database(name)["since_mount"]["merged"] - (
                before["since_mount"]["merged"]
            )
            assert at_close == (0 if announced else 1), name
    client.close()
    mount.unmount()
    for mode in MODES:
        for level in LEVELS:
            assert_captured(mount, f"{mode}-{level}.db")


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("mode", MODES)
def test_pages_from_the_freelist(ram_mounts, follows, clients, road, origin, mode):
    """Row 14: a hundred pages are written anew, with no record in the journal."""
    mount, follow = followed(ram_mounts, follows, capture=road)
    path = mount.dir / "a.db"
    client = clients()
    pragmas = [f"journal_mode={mode}", "cache_size=10", "journal_size_limit=0"]
    made(client, mount, "a.db", origin, *pragmas)
    client.many(400, "INSERT INTO t VALUES(?1, randomblob(3500))")
    follow.look("a.db")
    for i in range(4):
        client.sql("DELETE FROM t WHERE id >= 200")
        follow.assert_equal("a.db", records=1)
        n_free = client.sql("PRAGMA freelist_count")[0][0]
        client.sql("BEGIN")
        client.many(100, f"INSERT INTO t VALUES(200 + ?1, randomblob({3500 + i}))")
        assert n_free - client.sql("PRAGMA freelist_count")[0][0] >= 100
        assert os.path.getsize(f"{path}-journal") < 20 * 4096, "the pages are in the journal"
        assert follow.look("a.db")["records"] == 0, "captured before it was committed"
        client.sql("COMMIT")
        follow.assert_equal("a.db", records=1)
    assert client.sql("PRAGMA integrity_check") == [["ok"]]
    client.run("db.close()")
    mount.unmount()
    assert_captured(mount, "a.db", merged=0)


def test_a_segment_without_records(ram_mounts, follows, clients, road):
    """A journal whose cache spills has a segment in between that holds nothing; others follow."""
    mount, follow = followed(ram_mounts, follows, capture=road)
    client = clients()
    opened(client, mount.dir / "a.db", "auto_vacuum=FULL", "cache_size=3")
    client.sql("CREATE TABLE u(id INTEGER PRIMARY KEY, v)")
    for table in "tu":
        client.many(60, f"INSERT INTO {table} VALUES(?1, randomblob(500))")
    follow.look("a.db")
    client.sql("BEGIN")
    client.sql("REPLACE INTO t VALUES(11, randomblob(9000))")
    client.sql("CREATE INDEX i ON t(v)")
    client.sql("REPLACE INTO u VALUES(32, randomblob(600))")
    client.sql("COMMIT")
    follow.assert_equal("a.db", records=1)
    client.run("db.close()")
    mount.unmount()
    assert_captured(mount, "a.db", merged=0)


@pytest.mark.parametrize("way", ["VACUUM", "FULL", "INCREMENTAL"])
@pytest.mark.parametrize("origin", ORIGINS)
def test_a_shrink_to_a_hundredth(mounts, clients, road, origin, way):
    """Row 15: the replayed file has the shrunk size and nothing behind it."""
    n = 1000 if FULL_LENGTH else 100
    mount = mounts(capture=road, env={"REPLITEDFS_MOUNT_LOG_MAX_SIZE": "1GiB"})
    path = mount.dir / "a.db"
    client = clients()
    pragmas = [f"auto_vacuum={way}"] if way != "VACUUM" else []
    made(client, mount, "a.db", origin, *pragmas)
    before = mount.database("a.db")["txid"]
    client.sql("BEGIN")
    client.many(n, "INSERT INTO t(v) VALUES(zeroblob(100000))")
    client.sql("COMMIT")
    assert os.path.getsize(path) > n * 100_000
    client.sql("DELETE FROM t WHERE id > 1")
    if way == "INCREMENTAL":
        client.run("db.connection.executescript('PRAGMA incremental_vacuum') and None")
    elif way == "VACUUM":
        client.sql("VACUUM")
    assert os.path.getsize(path) < 120_000
    client.many(3, "INSERT INTO t(v) VALUES(randomblob(30000))")
    assert client.sql("PRAGMA integrity_check") == [["ok"]]
    client.run("db.close()")
    mount.unmount()
    report = assert_captured(mount, "a.db", merged=0)
    assert report["pages"] * report["page_size"] == os.path.getsize(path)
    assert report["records"] == report["txid"] == before + (5 if way == "FULL" else 6)


# How a connection is set up, and whether a commit makes a call that it can be captured at.
COARSE = {
    "memory": (["journal_mode=MEMORY", "synchronous=NORMAL"], True),
    "memory at OFF": (["journal_mode=MEMORY", "synchronous=OFF"], False),
    "off": (["journal_mode=OFF", "synchronous=FULL"], True),
    "off at OFF": (["journal_mode=OFF", "synchronous=OFF"], False),
    "persist at OFF": (["journal_mode=PERSIST", "synchronous=OFF"], False),
    "exclusive at OFF": (["locking_mode=EXCLUSIVE", "synchronous=OFF"], False),
}


@pytest.mark.parametrize("end", ["closed", "killed"])
@pytest.mark.parametrize("origin", ORIGINS)
def test_commits_that_no_journal_tells_of(ram_mounts, follows, clients, any_road, origin, end):
    """Row 18: captured at the database's fsync where there is one, else at the close."""
    mount, follow = followed(ram_mounts, follows, **any_road)
    for number, (pragmas, synced) in enumerate(COARSE.values()):
        name = f"{number}.db"
        client = clients()
        made(client, mount, name, origin)
        follow.look(name)
        for pragma in pragmas:
            client.sql(f"PRAGMA {pragma}")
        for _ in range(5):
            client.sql(INSERT)
            if synced:
                follow.assert_equal(name, records=1, merged=None)
        client.sql("UPDATE t SET v = randomblob(2000)")
        answer = follow.look(name)
        assert answer["records"] == int(synced), answer
        if end == "killed":
            client.kill()
        else:
            client.run("db.close()")
        wait_for(lambda: not mount.database(name)["open"], "the close")
        follow.assert_equal(name, records=int(not synced), merged=None)
        client = clients()
        opened(client, mount.dir / name, *pragmas)
        client.many(3, INSERT)
        closed(client, mount, name)
        follow.assert_equal(name, records=3 if synced else 1, merged=None)
    mount.unmount()
    for number in range(len(COARSE)):
        assert_captured(mount, f"{number}.db")


def test_what_is_captured_late_is_said_once(ram_mounts, clients, road):
    """Row 18: one line for each such database, however often it is opened and written."""
    mount = ram_mounts(capture=road)
    client = clients()
    for number, (pragmas, _) in enumerate(COARSE.values()):
        for _ in range(2):
            opened(client, mount.dir / f"{number}.db")
            for pragma in pragmas:
                client.sql(f"PRAGMA {pragma}")
            client.many(3, INSERT)
            closed(client, mount, f"{number}.db")
    client.close()
    log = mount.log().splitlines()
    said = [
        sum(WARNING in line and f"database={number}.db " in line for line in log)
        for number in range(len(COARSE))
    ]
    assert dict(zip(COARSE, said)) == dict.fromkeys(COARSE, 1)


def test_free_pages_that_a_rollback_has_changed(ram_mounts, follows, clients, road, folder):
    """A rollback that nothing tells of, as of a kept journal at OFF, leaves pages of the freelist
    changed and nothing else, not page 1. They come with the next commit that is announced."""
    mount, follow = followed(ram_mounts, follows, capture=road)
    client = clients()
    opened(client, mount.dir / "a.db", "journal_mode=PERSIST", "cache_size=3")
    client.many(100, "INSERT INTO t VALUES(?1, randomblob(3000))")
    client.sql("DELETE FROM t WHERE id >= 20")
    follow.look("a.db")
    client.sql("PRAGMA synchronous=OFF")
    client.sql("BEGIN")
    client.sql("INSERT INTO t(v) VALUES(randomblob(50000))")
    client.sql("ROLLBACK")
    assert follow.look("a.db")["differ"] > 0, "no page was changed"
    client.sql("PRAGMA synchronous=FULL")
    client.many(3, INSERT)
    assert follow.look("a.db")["differ"] == 0
    txid = mount.database("a.db")["txid"]
    run_cli(
        *("restore", "--from", mount.dir, "--db", "a.db", "--txid", txid - 1),
        *("--output", folder / "restored.db"),
        env=mount.env,
    )
    client.run("db.close()")
    mount.unmount()
    assert_captured(mount, "a.db")


# Exclusive locking, where a commit does make such a call.
EXCLUSIVE = {
    "truncate": ["locking_mode=EXCLUSIVE", "journal_mode=TRUNCATE", "synchronous=OFF"],
    "delete": ["locking_mode=EXCLUSIVE", "journal_mode=DELETE", "synchronous=FULL"],
    "persist": ["locking_mode=EXCLUSIVE", "journal_mode=PERSIST", "synchronous=NORMAL"],
}


@pytest.mark.usefixtures("fine_times")
@pytest.mark.parametrize("origin", ORIGINS)
def test_exclusive_locking(ram_mounts, follows, clients, road, origin):
    """A journal that is kept open, its header zeroed, or which is emptied, tells each commit."""
    mount, follow = followed(ram_mounts, follows, capture=road)
    for number, pragmas in enumerate(EXCLUSIVE.values()):
        name = f"{number}.db"
        client = clients()
        made(client, mount, name, origin)
        for pragma in pragmas:
            client.sql(f"PRAGMA {pragma}")
        follow.look(name)
        for i in range(100):
            client.sql("REPLACE INTO t VALUES(?1, randomblob(?2))", i % 17, i * 31)
            # At OFF nothing shows where a journal that stays open begins: all is compared.
            compared = "synchronous=OFF" in pragmas
            follow.assert_equal(name, records=1, merged=None if compared else 0)
        client.sql("BEGIN")
        client.sql("UPDATE t SET v = randomblob(20000)")
        client.sql("ROLLBACK")
        follow.assert_equal(name, records=0)
        client.run("db.close()")
    mount.unmount()
    for number in range(len(EXCLUSIVE)):
        assert_captured(mount, f"{number}.db")


SWITCHING = """
import time
def patiently(text):
    while True:
        try:
            return db.sql(text)
        except sqlite.Error as error:
            if "locked" not in str(error):
                raise
        time.sleep(0.0005)
def switch(mode, n):
    said = patiently(f"PRAGMA journal_mode={mode}")
    for _ in range(n):
        patiently("INSERT INTO t(v) VALUES(randomblob(300))")
    return said
def load(path, n):
    global db
    for i in range(n):
        db = Database(path, busy_ms=0)
        patiently("REPLACE INTO t VALUES((SELECT count(*) FROM t) / 2, randomblob(900))")
        patiently("DELETE FROM t WHERE id % 13 = 5")
        db.close()
"""


def test_mode_switches_under_load(ram_mounts, follows, clients, any_road):
    """Row 20: two programs, each in the other's way; after each switch the log is compared."""
    module = pytest.importorskip("apsw", reason="two processes may checkpoint at once").__name__
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    mount, follow = followed(ram_mounts, follows, **any_road)
    path = str(mount.dir / "a.db")
    switcher, loader = clients(path, module=module, busy_ms=0), clients(module=module)
    switcher.sql(TABLE)
    for client in (switcher, loader):
        client.run(SWITCHING)
    for _ in range(1000 if FULL_LENGTH else 200):
        mode = chance.choice(["WAL", "WAL", *MODES])
        n = chance.randrange(4)
        loader.send(f"load({path!r}, {chance.randrange(1, 4)})")
        assert switcher.run(f"switch({mode!r}, {n})") == [[mode.lower()]]
        loader.answer()
        switcher.sql("SELECT count(*) FROM t")
        mount.settle("a.db")
        answer = follow.look("a.db")
        assert answer["differ"] == 0, f"{mode}: {answer}"
        assert answer["wal_mode"] == (mode == "WAL")
    assert switcher.sql("PRAGMA integrity_check") == [["ok"]]
    assert mount.database("a.db")["since_mount"]["unannounced_restarts"] == 0
    switcher.run("db.close()")
    mount.unmount()
    assert_captured(mount, "a.db")
