# SPDX-License-Identifier: MIT
"""Programs killed in a rollback-mode commit: what they leave is played back, or is captured."""

import contextlib
import os
import random

import pytest

from doomed import Doomed
from follow import followed
from mount import assert_captured, journal_begins

SECONDS = float(os.environ.get("REPLITEDFS_STRESS_SECONDS", "8"))
FULL_LENGTH = SECONDS >= 60
MODES = ["DELETE", "TRUNCATE", "PERSIST"]
TABLE = "CREATE TABLE t(id INTEGER PRIMARY KEY, v)"


def created(clients, mount, name, *pragmas, n=200):
    """A client with a new database of n rows, some of whose pages are free."""
    client = clients(mount.dir / name)
    for pragma in pragmas:
        client.sql(f"PRAGMA {pragma}")
    client.sql(TABLE)
    client.sql("BEGIN")
    client.many(2 * n, "INSERT INTO t VALUES(?1, randomblob(900))")
    client.sql("COMMIT")
    client.sql(f"DELETE FROM t WHERE id >= {n}")
    return client


@contextlib.contextmanager
def on_the_road(mount, road, *names):
    """On passthrough new databases stay for as long as somebody has them open; else they do not."""
    keepers = [os.open(mount.dir / name, os.O_RDONLY) for name in names if road == "passthrough"]
    try:
        yield
        told = mount.status()["upcalls"]["write"]
        assert (told == 0) == (road == "passthrough"), f"told of {told} writes: not the road meant"
    finally:
        for keeper in keepers:
            os.close(keeper)


def sound(client):
    """Reads, which plays back what is left; and SQLite's own check."""
    assert client.sql("PRAGMA integrity_check") == [["ok"]]


def assert_replica(follow, name, other, mode, place):
    """After a kill at place (None: it came through) and somebody's read: the log is the database,
    and was not compared with it."""
    if mode != "PERSIST" or place is None:
        follow.assert_equal(name)
        return
    # Where it died behind the zeroing of the header, it takes this commit to tell of that one.
    other.sql("UPDATE t SET v = randomblob(900) WHERE id = 5")
    answer = follow.look(name)
    assert answer["differ"] == 0, f"killed at {place}: {answer}"
    assert answer["records"] in (1, 2), f"killed at {place}: {answer}"


# Spills, so that the database is written long before the commit, and takes free pages.
SPILLED = """
db = Database({path!r})
db.sql("PRAGMA journal_mode={mode}")
db.sql("PRAGMA synchronous={level}")
db.sql("PRAGMA cache_size=5")
arm()
db.sql("BEGIN")
db.sql("UPDATE t SET v = randomblob(900)")
db.many(30, "INSERT INTO t(v) VALUES(randomblob(3000))")
db.sql("DELETE FROM t WHERE id > 199")
db.sql("COMMIT")
"""


@pytest.mark.usefixtures("fine_times")
@pytest.mark.parametrize("connected", [True, False], ids=["with another", "alone"])
def test_hot_journals(ram_mounts, follows, clients, folder, road, connected):
    """Row 17: killed anywhere in a transaction; whoever reads next rolls back, and no transaction
    is captured for it. A commit that got through is one."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    mount, follow = followed(ram_mounts, follows, capture=road)
    path = str(mount.dir / "a.db")
    other = created(clients, mount, "a.db")
    doomed = Doomed(clients, folder, mount.dir)
    follow.look("a.db")
    n_left = 0
    places = []
    for _ in range(200 if FULL_LENGTH else 30):
        if not connected:
            other.run("db.close()")
        mode = chance.choice(MODES)
        text = SPILLED.format(path=path, mode=mode, level=chance.choice(["NORMAL", "FULL"]))
        place = doomed.run(text, chance.randrange(1, 600))
        places.append(place)
        n_left += os.path.exists(f"{path}-journal") and os.path.getsize(f"{path}-journal") > 512
        if not connected:
            other.run(f"db = Database({path!r})")
        sound(other)
        assert_replica(follow, "a.db", other, mode, place)
    assert len(set(places)) > 2, f"killed in few places: {places}"
    assert n_left > 5, "hardly any journal was left"
    other.run("db.close()")
    mount.unmount()
    assert_captured(mount, "a.db")


# Page 1 and some others in both.
ATTACHED = """
db = Database({a!r})
db.sql("ATTACH ?1 AS b", {b!r})
for schema in ("main", "b"):
    db.sql(f"PRAGMA {{schema}}.journal_mode={mode}")
    db.sql(f"PRAGMA {{schema}}.synchronous={level}")
arm()
db.sql("BEGIN")
for schema in ("main", "b"):
    db.sql(f"INSERT INTO {{schema}}.t(v) VALUES(zeroblob(5000))")
db.sql("COMMIT")
"""


def super_journals(mount):
    """Those that lie around."""
    return [name for name in os.listdir(mount.dir) if "-mj" in name]


@pytest.mark.parametrize("mode", MODES)
def test_a_super_journal(ram_mounts, follows, clients, folder, road, mode):
    """Row 19: killed at each call of a commit in two databases; then each is its own replica, and
    both have the row or neither."""
    mount, follow = followed(ram_mounts, follows, capture=road)
    names = ["a.db", "b.db"]
    a, b = (str(mount.dir / name) for name in names)
    others = [created(clients, mount, name, n=20) for name in names]
    doomed = Doomed(clients, folder, mount.dir)
    for name in names:
        follow.look(name)
    places = []
    n_left = 0
    for place in doomed.at_every_call(ATTACHED.format(a=a, b=b, mode=mode, level="FULL")):
        places.append(place)
        if super_journals(mount):
            n_left += 1
            assert {database["name"] for database in mount.status()["databases"]} == set(names)
        counts = []
        for name, other in zip(names, others):
            sound(other)
            counts += other.sql("SELECT count(*) FROM t WHERE v = zeroblob(5000)")
            assert_replica(follow, name, other, mode, place)
        assert counts[0] == counts[1], f"killed at {place}: {counts}"
        for name in super_journals(mount):
            os.unlink(mount.dir / name)
    assert len(places) >= 40, places
    assert n_left > 3, f"no super-journal was left: {places}"
    assert "-mj" not in mount.log()
    assert len(list(mount.state.glob("db/*"))) == 2, "one was taken for a database"
    for other in others:
        other.run("db.close()")
    mount.unmount()
    for name in names:
        assert_captured(mount, name)


@pytest.mark.usefixtures("fine_times")
def test_a_journal_whose_super_journal_is_gone(ram_mounts, follows, clients, folder, road):
    """Row 19: killed behind the commit of several databases, with a journal left. Whoever reads
    then drops it, for which SQLite makes no call with exclusive locking: it syncs the database,
    though."""
    mount, follow = followed(ram_mounts, follows, capture=road)
    names = ("a.db", "b.db")
    a, b = (str(mount.dir / name) for name in names)
    makers = [created(clients, mount, name, n=20) for name in names]
    with on_the_road(mount, road, *names):
        for maker in makers:
            maker.run("db.close()")
        doomed = Doomed(clients, folder, mount.dir)
        text = ATTACHED.format(a=a, b=b, mode="DELETE", level="FULL")
        follow.look("b.db")
        for _ in range(3):
            assert doomed.run(text, 1, "unlink:/b.db-journal") is not None
            assert not super_journals(mount) and os.path.exists(f"{b}-journal")
            reader = clients()
            reader.run(f"db = Database({b!r})")
            reader.sql("PRAGMA locking_mode=EXCLUSIVE")
            sound(reader)
            assert os.path.getsize(f"{b}-journal") > 512
            follow.assert_equal("b.db", records=1)
            for _ in range(2):
                reader.sql("UPDATE t SET v = randomblob(900)")
                follow.assert_equal("b.db", records=1)
            reader.run("db.close()")
            follow.assert_equal("b.db", records=0)
    mount.unmount()
    assert_captured(mount, "b.db", merged=0)


UNSYNCED = """
db = Database({path!r})
db.sql("PRAGMA journal_mode=DELETE")
arm()
db.sql("INSERT INTO t(v) VALUES('lost')")
"""


@pytest.mark.parametrize("mode", ["MEMORY", "OFF"])
def test_a_journal_that_was_never_synced(ram_mounts, follows, clients, folder, road, mode):
    """It is not hot: SQLite leaves it where it is, and commits beside it without a journal file.
    What it tells is not what such a commit has changed."""
    mount, follow = followed(ram_mounts, follows, capture=road)
    path = mount.dir / "a.db"
    other = created(clients, mount, "a.db")
    doomed = Doomed(clients, folder, mount.dir)
    text = UNSYNCED.format(path=str(path))
    assert doomed.run(text, 1, "fdatasync:/a.db-journal") is not None
    assert open(f"{path}-journal", "rb").read(12) == bytes(12)
    other.sql(f"PRAGMA journal_mode={mode}")
    follow.look("a.db")
    for _ in range(3):
        other.sql("UPDATE t SET v = randomblob(900)")
        follow.assert_equal("a.db", records=1, merged=None)
    other.run("db.close()")
    mount.unmount()
    assert_captured(mount, "a.db")


# The change counter in page 1 moves once only with exclusive locking; nothing is synced.
UNSEEN = """
db = Database({path!r})
for name, value in (("locking_mode", "EXCLUSIVE"), ("journal_mode", "PERSIST"),
                    ("synchronous", "OFF"), ("cache_size", 5)):
    db.sql(f"PRAGMA {{name}}={{value}}")
for id in (20, 50, 80):
    db.sql("UPDATE t SET v = randomblob(900) WHERE id = ?1", id)
arm()
db.sql("BEGIN")
db.sql("UPDATE t SET v = randomblob(900) WHERE id > 100")
db.sql("COMMIT")
"""


def test_commits_that_nothing_tells_of(ram_mounts, follows, clients, folder, road):
    """Killed in a transaction behind them: they stay, and are in the log as soon as somebody has
    played that transaction back."""
    mount, follow = followed(ram_mounts, follows, capture=road)
    path = mount.dir / "a.db"
    maker = created(clients, mount, "a.db")
    with on_the_road(mount, road, "a.db"):
        maker.run("db.close()")
        doomed = Doomed(clients, folder, mount.dir)
        for _ in range(3):
            follow.look("a.db")
            text = UNSEEN.format(path=str(path))
            assert doomed.run(text, 20, "pwrite:/a.db") is not None
            assert journal_begins(path) not in (b"", b"\0"), "no journal was left"
            reader = clients(path)
            sound(reader)
            follow.assert_equal("a.db", records=1, merged=None)
            reader.sql("UPDATE t SET v = randomblob(900) WHERE id = 5")
            follow.assert_equal("a.db", records=1)
            reader.run("db.close()")
    mount.unmount()
    assert_captured(mount, "a.db")


SHRUNK = """
db = Database({path!r})
db.sql("PRAGMA journal_mode={mode}")
arm()
db.sql("DELETE FROM t WHERE id >= 20")
"""


@pytest.mark.parametrize("mode", MODES)
def test_a_shrink_that_is_cut_off(ram_mounts, follows, clients, folder, road, mode):
    """Rows 15 and 17: killed between commit and truncation; the file is longer than its header
    says, and the pages there are used again without being journaled."""
    mount, follow = followed(ram_mounts, follows, capture=road)
    path = mount.dir / "a.db"
    other = created(clients, mount, "a.db", "auto_vacuum=FULL", n=20)
    doomed = Doomed(clients, folder, mount.dir)
    text = SHRUNK.format(path=str(path), mode=mode)
    for i in range(5):
        other.many(60 + i, "INSERT INTO t(v) VALUES(randomblob(2000))")
        follow.look("a.db")
        assert doomed.run(text, 1, "ftruncate:/a.db") is not None
        sound(other)
        assert os.path.getsize(path) > 4096 * other.sql("PRAGMA page_count")[0][0]
        follow.assert_equal("a.db", records=1)
        for _ in range(3):
            other.sql("INSERT INTO t(v) VALUES(randomblob(30000))")
            follow.assert_equal("a.db", records=1)
    other.sql("VACUUM")  # to the size that the header says
    other.run("db.close()")
    mount.unmount()
    assert_captured(mount, "a.db", merged=0)
