# SPDX-License-Identifier: MIT
"""Time travel: a backend's snapshot forward and the live state backward meet copies kept then."""

import json
import random
import shutil
import sqlite3
import time

import pytest

from mount import checkpointed_copy, differing_pages, run_cli, wait_for

N_STEPS = 24
N_MOMENTS = 20
ROLLBACK_MODES = ["DELETE", "TRUNCATE", "PERSIST"]


def random_history(connection, chance, step):
    """A few random transactions, with growth, shrinking and large ones among them."""
    for _ in range(chance.randrange(1, 6)):
        kind = chance.random()
        if kind < 0.5:
            connection.execute(
                "INSERT INTO t(v) VALUES(randomblob(?))", (chance.randrange(1, 2000),)
            )
        elif kind < 0.7:
            connection.execute("UPDATE t SET v = randomblob(300) WHERE id % 5 = ?", (step % 5,))
        elif kind < 0.85:
            connection.execute("DELETE FROM t WHERE id % 7 = ?", (step % 7,))
        else:
            connection.execute("BEGIN")
            for _ in range(40):
                connection.execute("INSERT INTO t(v) VALUES(randomblob(3000))")
            connection.execute("COMMIT")
    if step % 9 == 8:
        connection.execute("PRAGMA incremental_vacuum")
    if step % 12 == 11:
        connection.execute("VACUUM")
    if step % 5 == 4:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def keep(mount, name):
    """The number of the last transaction, and a copy of the database."""
    txid = int(mount.settle(name).split(":")[1])
    return txid, checkpointed_copy(mount.dir / name, mount.root / f"kept-{txid}.db")


def make_history(mount, name, seed, modes=("WAL",)):
    """Runs a history in these journal modes; returns {txid: (time just behind it, copy of the
    database then)}."""
    chance = random.Random(seed)
    connection = sqlite3.connect(mount.dir / name, isolation_level=None)
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    kept = {}
    for step in range(N_STEPS):
        connection.execute(f"PRAGMA journal_mode={modes[step % len(modes)]}").fetchall()
        connection.execute("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, v)")
        random_history(connection, chance, step)
        txid, copy = keep(mount, name)
        # Nothing commits between this moment and the next transaction's commit time.
        moment = time.time_ns() // 1000
        time.sleep(0.002)
        kept[txid] = (moment, copy)
    connection.close()
    return kept


def rfc3339(us):
    """Microseconds since 1970 as the program takes them."""
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(us // 1000000))
    return f"{seconds}.{us % 1000000:06d}Z"


def restored_equals(mount, source, name, moment, copy, generation=None):
    """Restores by --txid or --at, and compares page by page with the copy kept then."""
    output = mount.root / "restored.db"
    done = run_cli(
        "restore", "--from", source, "--db", name, *moment, "--output", output, "--force",
        "--json", env=mount.env,
    )
    result = json.loads(done.stdout)
    differ = differing_pages(copy, output)
    assert not differ, f"{moment} from {source}: pages {differ[:5]} differ: {result}"
    return result


def check_moments(mount, source, name, kept, chance):
    """20 random TXIDs and 20 random times."""
    txids = sorted(kept)
    for txid in chance.sample(txids, min(N_MOMENTS, len(txids))):
        result = restored_equals(mount, source, name, ["--txid", txid], kept[txid][1])
        assert result["txid"] == txid
    for txid in chance.sample(txids, min(N_MOMENTS, len(txids))):
        moment, copy = kept[txid]
        result = restored_equals(mount, source, name, ["--at", rfc3339(moment)], copy)
        assert result["txid"] == txid


@pytest.mark.parametrize("modes", [["WAL"], ROLLBACK_MODES], ids=["wal", "rollback"])
def test_forward_from_a_backend_and_backward_from_the_live_state(mounts, road, modes):
    """Both ways, 20 random TXIDs and 20 random times each."""
    seed = random.randrange(1 << 20)
    print("seed", seed)
    chance = random.Random(seed)
    mount = mounts(capture=road, backup=True)
    kept = make_history(mount, "h.db", seed, modes)
    wait_for(lambda: mount.stored("h.db"), "the backend to have it all")
    check_moments(mount, mount.dir, "h.db", kept, chance)
    check_moments(mount, mount.backup, "h.db", kept, chance)
    mount.unmount()
    check_moments(mount, mount.dir, "h.db", kept, chance)


def there_before(folder, name, mode, n_deleted=0):
    """Makes a database of the folder that is to be mounted, with free pages; a copy of it."""
    data = folder / "m" / "data"
    data.mkdir(parents=True)
    connection = sqlite3.connect(data / name, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={mode}").fetchall()
    connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO t(v) VALUES(randomblob(?))", [(i % 900,) for i in range(3000)]
    )
    connection.execute("COMMIT")
    connection.execute("DELETE FROM t WHERE id > ?", (3000 - n_deleted,))
    connection.close()
    first = folder / "first.db"
    shutil.copyfile(data / name, first)
    return first


def test_backward_from_a_database_that_was_there_before(mounts, folder):
    """A folder that was served from some day on: its log begins with a content, not with nothing."""
    first = there_before(folder, "old.db", "WAL")
    mount = mounts(backup=True)
    connection = sqlite3.connect(mount.dir / "old.db", isolation_level=None)
    kept = {}
    for step in range(10):
        random_history(connection, random.Random(step), step)
        txid, copy = keep(mount, "old.db")
        kept[txid] = copy
    wait_for(lambda: mount.stored("old.db"), "the backend to have it all")
    for source in (mount.dir, mount.backup):
        restored_equals(mount, source, "old.db", ["--txid", 1], first)
        for txid, copy in kept.items():
            restored_equals(mount, source, "old.db", ["--txid", txid], copy)
    connection.close()


def test_a_change_while_unmounted_is_part_of_the_history(mounts, folder):
    """A restore from an unmounted folder takes in what happened there since, as a mount would."""
    mount = mounts()
    connection = sqlite3.connect(mount.dir / "a.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute("CREATE TABLE t(v)")
    connection.close()
    before = checkpointed_copy(mount.dir / "a.db", folder / "before.db")
    mount.unmount()
    connection = sqlite3.connect(mount.dir / "a.db", isolation_level=None)
    connection.execute("INSERT INTO t VALUES(randomblob(9000))")
    connection.close()
    restored_equals(mount, mount.dir, "a.db", [], mount.dir / "a.db")
    restored_equals(mount, mount.dir, "a.db", ["--txid", "2"], before)


def page_size_change(connection, size):
    """By way of DELETE mode, as in WAL mode it cannot be changed."""
    connection.execute("PRAGMA journal_mode=DELETE").fetchall()
    connection.execute(f"PRAGMA page_size={size}")
    connection.execute("VACUUM")


def test_to_both_sides_of_a_change_of_page_size(mounts, road):
    """Row 16: forth and back over VACUUMs to another page size, with WAL mode in between."""
    mount = mounts(capture=road, backup=True)
    connection = sqlite3.connect(mount.dir / "p.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    kept = {}
    for size in (8192, 512, 65536, 4096):
        connection.execute("INSERT INTO t(v) VALUES(randomblob(50000))")
        txid, copy = keep(mount, "p.db")
        kept[txid] = copy
        page_size_change(connection, size)
        txid, copy = keep(mount, "p.db")
        kept[txid] = copy
        assert connection.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
        connection.execute("UPDATE t SET v = randomblob(40000) WHERE id = 1")
        txid, copy = keep(mount, "p.db")
        kept[txid] = copy
        assert connection.execute("PRAGMA page_size").fetchone() == (size,)
    assert len({copy.read_bytes()[16:18] for copy in kept.values()}) == 4
    mount.settle("p.db")
    wait_for(lambda: mount.stored("p.db"), "the backend to have it all")
    for source in (mount.backup, mount.dir):
        for txid, copy in kept.items():
            restored_equals(mount, source, "p.db", ["--txid", txid], copy)
    connection.close()
    mount.unmount()
    for txid, copy in kept.items():
        restored_equals(mount, mount.dir, "p.db", ["--txid", txid], copy)


def test_back_over_a_page_whose_content_is_not_known(mounts, folder, road):
    """A page from the freelist is in no journal, and what was in it is gone: the log alone leads
    back to that transaction only; a backend's snapshot leads before it."""
    first = there_before(folder, "old.db", "DELETE", n_deleted=1000)
    mount = mounts(capture=road, backup=True)
    wait_for(lambda: mount.stored("old.db"), "the first snapshot")
    connection = sqlite3.connect(mount.dir / "old.db", isolation_level=None)
    begin = mount.database("old.db")["txid"]
    copies = [first]
    for i in range(4):
        # The second one takes pages that were free when the mount began.
        n_free = connection.execute("PRAGMA freelist_count").fetchone()[0]
        size = 60_000 if i == 1 else 10 + i
        connection.execute("UPDATE t SET v = zeroblob(?) WHERE id = 5", (size,))
        assert (connection.execute("PRAGMA freelist_count").fetchone()[0] < n_free) == (i == 1)
        copies.append(checkpointed_copy(mount.dir / "old.db", mount.root / f"kept-{i}.db"))
    assert mount.database("old.db")["txid"] == begin + 4
    obstacle = begin + 2
    wait_for(lambda: mount.stored("old.db"), "the backend to have it all")

    def check(source):
        for i in range(2, 5):
            restored_equals(mount, source, "old.db", ["--txid", begin + i], copies[i])
        for txid in (begin, begin + 1):
            done = run_cli(
                *("restore", "--from", source, "--db", "old.db", "--txid", txid),
                *("--output", folder / "none.db"),
                env=mount.env,
                check=False,
            )
            assert done.returncode == 65, done.stderr
            assert f"transaction {obstacle} cannot be undone" in done.stderr
            assert not (folder / "none.db").exists()

    check(mount.dir)
    for i, copy in enumerate(copies):
        restored_equals(mount, mount.backup, "old.db", ["--txid", begin + i], copy)
    connection.close()
    mount.unmount()
    check(mount.dir)
    for i, copy in enumerate(copies):
        restored_equals(mount, mount.backup, "old.db", ["--txid", begin + i], copy)


BUSY = """
import os
def work(stop):
    n = 0
    while not os.path.exists(stop):
        db.sql("UPDATE t SET v = randomblob(300) WHERE id BETWEEN ?1 AND ?1 + 20", n * 7919 % 1900)
        n += 1
    return n
"""


@pytest.mark.parametrize("mode", ["DELETE", "PERSIST"])
def test_a_snapshot_beside_a_writer_that_never_rests(mounts, clients, folder, road, mode):
    """It is made while transactions follow each other without a gap, and is the content then."""
    there_before(folder, "old.db", mode)
    mount = mounts(
        capture=road,
        backup=True,
        env={
            "REPLITEDFS_BACKEND_BACKUP_SNAPSHOT_INTERVAL": "1s",
            "REPLITEDFS_BACKEND_BACKUP_SYNC_INTERVAL": "100ms",
        },
    )
    client = clients(mount.dir / "old.db")
    client.run(BUSY)
    client.sql(f"PRAGMA journal_mode={mode}")
    begin = mount.database("old.db")["txid"]
    stop = folder / "stop"
    client.send(f"work({str(stop)!r})")

    def snapshots():
        listed = json.loads(run_cli("list", "--json", mount.backup).stdout)
        (database,) = listed["databases"]
        return [each["txid"] for each in database["snapshots"] if each["txid"] > begin]

    wait_for(lambda: len(snapshots()) > 1, f"two snapshots\n{mount.log()}")
    made = max(snapshots())
    wait_for(lambda: mount.database("old.db")["txid"] > made, "the writer to go on")
    stop.touch()
    client.answer()
    wait_for(lambda: mount.stored("old.db"), "the backend to have it all")
    copy = checkpointed_copy(mount.dir / "old.db", mount.root / "copy.db")
    restored_equals(mount, mount.backup, "old.db", [], copy)
    client.run("db.close()")
    mount.unmount()
    assert run_cli("verify", mount.backup).returncode == 0
