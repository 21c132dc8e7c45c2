# SPDX-License-Identifier: MIT
"""Time travel: a backend's snapshot forward and the live state backward meet copies kept then."""

import json
import random
import shutil
import sqlite3
import time

from mount import checkpointed_copy, differing_pages, run_cli, wait_for

N_STEPS = 24
N_MOMENTS = 20


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


def make_history(mount, name, seed):
    """Runs a history; returns {txid: (time just behind it, copy of the database then)}."""
    chance = random.Random(seed)
    connection = sqlite3.connect(mount.dir / name, isolation_level=None)
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    kept = {}
    for step in range(N_STEPS):
        random_history(connection, chance, step)
        position = mount.settle(name)
        copy = mount.root / f"kept-{step}.db"
        checkpointed_copy(mount.dir / name, copy)
        # Nothing commits between this moment and the next transaction's commit time.
        moment = time.time_ns() // 1000
        time.sleep(0.002)
        kept[int(position.split(":")[1])] = (moment, copy)
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


def stored(mount, name):
    """Whether the backend has all there is."""
    database = mount.database(name)
    return database["backends"][0]["position"] == database["position"]


def test_forward_from_a_backend_and_backward_from_the_live_state(mounts, road):
    """Both ways, 20 random TXIDs and 20 random times each."""
    seed = random.randrange(1 << 20)
    print("seed", seed)
    chance = random.Random(seed)
    mount = mounts(capture=road, backup=True)
    kept = make_history(mount, "h.db", seed)
    wait_for(lambda: stored(mount, "h.db"), "the backend to have it all")
    check_moments(mount, mount.dir, "h.db", kept, chance)
    check_moments(mount, mount.backup, "h.db", kept, chance)
    mount.unmount()
    check_moments(mount, mount.dir, "h.db", kept, chance)


def test_backward_from_a_database_that_was_there_before(mounts, folder):
    """A folder that was served from some day on: its log begins with a content, not with nothing."""
    data = folder / "m" / "data"
    data.mkdir(parents=True)
    connection = sqlite3.connect(data / "old.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    connection.executemany(
        "INSERT INTO t(v) VALUES(randomblob(?))", [(i % 900,) for i in range(3000)]
    )
    connection.close()
    first = folder / "first.db"
    shutil.copyfile(data / "old.db", first)
    mount = mounts(backup=True)
    connection = sqlite3.connect(mount.dir / "old.db", isolation_level=None)
    kept = {}
    for step in range(10):
        random_history(connection, random.Random(step), step)
        txid = int(mount.settle("old.db").split(":")[1])
        kept[txid] = checkpointed_copy(mount.dir / "old.db", mount.root / f"kept-{step}.db")
    wait_for(lambda: stored(mount, "old.db"), "the backend to have it all")
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
