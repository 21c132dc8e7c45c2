# SPDX-License-Identifier: MIT
"""The edges of the barriers, each provoked in a real SQLite at its exact point."""

import os
import pathlib
import platform
import signal
import sqlite3

import pytest

import faults
import walfile
from clients import INSERT, TABLE, close, make_database
from faults import Fault
from mount import assert_captured, checkpointed_copy, stop_process, wait_for

SECONDS = float(os.environ.get("REPLITEDFS_STRESS_SECONDS", "8"))
N_KILLS = max(20, int(SECONDS / 3))
def close_all(mount, *open_clients):
    """The programs end well, then the mount."""
    close(*open_clients)
    mount.unmount()


def break_the_chain(client):
    """Leaves published frames whose checksums are wrong."""
    client.sql("PRAGMA cache_size=10")
    client.many(100, INSERT)
    client.sql("BEGIN")
    client.sql("SAVEPOINT s")
    for _ in range(3):
        client.sql("UPDATE t SET v = randomblob(3000)")
    client.sql("ROLLBACK TO s")
    client.sql("RELEASE s")
    client.sql(INSERT)
    client.sql("COMMIT")


def chain_is_broken(path):
    """Whether a published frame has salts that are not the header's."""
    wal = pathlib.Path(f"{path}-wal").read_bytes()
    return any(salts == (0, 0) for _, _, salts in walfile.frames(wal))


@pytest.mark.parametrize("end", ["goes-on", "killed"])
def test_published_frames_with_broken_checksums(ram_mounts, clients, any_road, end):
    """B1: live connections read them, recovery drops them; the log follows either way."""
    mount = ram_mounts(**any_road)
    path = mount.dir / "a.db"
    client = make_database(clients, path)
    break_the_chain(client)
    if not chain_is_broken(path):
        pytest.skip(f"SQLite {sqlite3.sqlite_version} does not break its checksums")
    mount.settle("a.db")
    if end == "killed":
        client.kill()
        client = clients(path)
    client.many(3000, INSERT)
    assert client.sql("PRAGMA integrity_check") == [["ok"]]
    close_all(mount, client)
    # Where the index is seen nothing has to be healed.
    seen = "hooks" not in any_road and end == "goes-on"
    assert_captured(mount, "a.db", merged=0 if seen else None)


def test_a_stale_index_beside_an_exclusive_writer(ram_mounts, clients, any_road):
    """B4: a -shm that a crash left agrees with itself and stands still."""
    mount = ram_mounts(**any_road)
    path = mount.dir / "a.db"
    first = make_database(clients, path)
    first.many(50, INSERT)
    mount.settle("a.db")
    first.kill()
    assert os.path.exists(f"{path}-shm")
    before = mount.database("a.db")["txid"]
    client = clients(path)
    client.sql("PRAGMA locking_mode=EXCLUSIVE")
    client.many(3000, INSERT)
    close_all(mount, client)
    report = assert_captured(mount, "a.db", merged=0)
    assert report["txid"] == before + 3000


def test_killed_between_the_unlinks_of_shm_and_wal(mounts, clients, folder, any_road):
    """B5: the next index is another inode."""
    mount = mounts(**any_road)
    path = mount.dir / "a.db"
    fault = Fault(folder, faults.KILL_AT_UNLINK_OF_WAL)
    make_database(clients, path, env=fault.env).run("db.close()")
    for _ in range(5):
        client = clients(path, env=fault.env)
        client.many(20, INSERT)
        fault.arm()
        with pytest.raises(Exception, match="ended"):
            client.run("db.close()")
        fault.disarm()
        assert os.path.exists(f"{path}-wal") and not os.path.exists(f"{path}-shm")
    client = clients(path)
    client.many(20, INSERT)
    close_all(mount, client)
    report = assert_captured(mount, "a.db", merged=0)
    assert report["txid"] == 2 + 120


def test_a_shm_that_somebody_removes(ram_mounts, clients, any_road):
    """The WAL does not end with it while a program has it open: it is followed without an index."""
    mount = ram_mounts(**any_road)
    path = mount.dir / "a.db"
    client = make_database(clients, path, rows=20)
    os.unlink(f"{path}-shm")
    client.many(20, "UPDATE t SET v = randomblob(300) WHERE id = ?1 + 1")
    client.sql("PRAGMA wal_checkpoint(RESTART)")
    client.many(20, INSERT)
    assert mount.settle("a.db").split(":")[1] == "62"
    client.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    client.many(5, INSERT)
    close_all(mount, client)
    report = assert_captured(mount, "a.db", merged=0)
    assert report["txid"] == 2 + 65


def test_killed_between_the_header_copies_under_a_checkpointer(mounts, clients, folder, road):
    """B6: the copies never agree while the checkpointer waits in the barrier."""
    mount = mounts(capture=road)
    path = mount.dir / "a.db"
    kill = Fault(folder, faults.KILL_BETWEEN_HEADER_COPIES)
    (folder / "h").mkdir()
    held = Fault(folder / "h", faults.HOLD_AT_TRUNCATION_OF_DATABASE)
    checkpointer = make_database(clients, path, env=held.env)
    writer = clients(path, env=kill.env)
    writer.many(20, INSERT)
    held.arm()
    checkpointer.send("db.sql('PRAGMA wal_checkpoint(PASSIVE)')")
    held.wait_until_held()
    kill.arm()
    with pytest.raises(Exception, match="ended"):
        writer.sql(INSERT)
    shm = pathlib.Path(f"{path}-shm").read_bytes()
    assert shm[:48] != shm[48:96]
    held.let_go()
    checkpointer.answer(30)
    checkpointer.many(50, INSERT)
    assert checkpointer.sql("PRAGMA integrity_check") == [["ok"]]
    close_all(mount, checkpointer)
    assert_captured(mount, "a.db")


def test_killed_before_publication_with_another_connection_open(
    ram_mounts, clients, folder, any_road
):
    """Row 7: SQLite forgets the commit at the next write; log and database agree, each time."""
    mount = ram_mounts(**any_road)
    path = mount.dir / "a.db"
    fault = Fault(folder, faults.KILL_AFTER_COMMIT_FRAME)
    other = make_database(clients, path)
    for i in range(N_KILLS):
        other.sql("SELECT count(*) FROM t")
        writer = clients(path, env=fault.env)
        writer.many(3, INSERT)
        fault.arm()
        with pytest.raises(Exception, match="ended"):
            writer.sql("INSERT INTO t(v) VALUES('never acknowledged')")
        fault.disarm()
        if i % 3 == 0:
            mount.settle("a.db")
        other.many(2, INSERT)
        if i % 5 == 0:
            mount.settle("a.db")
            assert_captured(mount, "a.db")
    assert other.sql("SELECT count(*) FROM t WHERE v = 'never acknowledged'") == [[0]]
    assert other.sql("SELECT count(*) FROM t") == [[5 * N_KILLS]]
    assert other.sql("PRAGMA integrity_check") == [["ok"]]
    close_all(mount, other)
    report = assert_captured(mount, "a.db")
    # Where the index is seen the commit that never was is not taken at all.
    if "hooks" not in any_road:
        assert report["merged"] == 0 and report["txid"] == 2 + 5 * N_KILLS, report


def test_killed_before_publication_and_recovered(mounts, clients, folder, any_road):
    """Alone, the same death leaves a commit that recovery brings back."""
    mount = mounts(**any_road)
    path = mount.dir / "a.db"
    fault = Fault(folder, faults.KILL_AFTER_COMMIT_FRAME)
    make_database(clients, path).run("db.close()")
    for _ in range(5):
        writer = clients(path, env=fault.env)
        writer.many(3, INSERT)
        fault.arm()
        with pytest.raises(Exception, match="ended"):
            writer.sql(INSERT)
        fault.disarm()
    client = clients(path)
    assert client.sql("SELECT count(*) FROM t") == [[20]]
    close_all(mount, client)
    report = assert_captured(mount, "a.db", merged=0)
    assert report["txid"] == 22


def test_truncate_checkpoint_killed_before_the_wal_is_cut(mounts, clients, folder, any_road):
    """B12: recovery brings the old salts back; nothing is logged twice."""
    mount = mounts(**any_road)
    path = mount.dir / "a.db"
    fault = Fault(folder, faults.KILL_AT_TRUNCATION_OF_WAL)
    client = make_database(clients, path, env=fault.env)
    for i in range(3):
        client.many(50, INSERT)
        fault.arm()
        with pytest.raises(Exception, match="ended"):
            client.sql("PRAGMA wal_checkpoint(TRUNCATE)")
        fault.disarm()
        if i == 1:
            mount.settle("a.db")
        client = clients(path, env=fault.env)
    client.many(50, INSERT)
    client.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    client.many(50, INSERT)
    close_all(mount, client)
    report = assert_captured(mount, "a.db", merged=0)
    assert report["txid"] == 2 + 250


FRAMES = 40
NEWER = "UPDATE t SET v = ?1 || hex(zeroblob(1500)) WHERE id = ?2"
COUNT_OLD = "SELECT count(*) FROM t WHERE v NOT LIKE '2%'"


def copy_all_but_reset_meanwhile(folder, clients, path):
    """Leaves one frame in the WAL, and the note that FRAMES of them are copied."""
    writer = make_database(clients, path)
    writer.sql("PRAGMA wal_autocheckpoint=0")
    writer.many(FRAMES, "INSERT INTO t VALUES(?1 + 1, '0' || hex(zeroblob(1500)))")
    held = Fault(folder, faults.HOLD_BEFORE_READ_OF_BACKFILL)
    checkpointer = clients(path, env=held.env)
    checkpointer.sql("SELECT * FROM t")
    assert writer.sql("PRAGMA wal_checkpoint(RESTART)")[0][0] == 0
    for i in range(1, FRAMES + 1):
        writer.sql(NEWER, "1", i)
    # All is copied: who has seen where the WAL ends is held before he sees that.
    assert writer.sql("PRAGMA wal_checkpoint(PASSIVE)") == [[0, FRAMES, FRAMES]]
    held.arm()
    checkpointer.send("db.sql('PRAGMA wal_checkpoint(PASSIVE)')")
    held.wait_until_held()
    writer.sql(NEWER, "2", 1)
    held.let_go()
    checkpointer.answer()
    checkpointer.kill()
    shm = pathlib.Path(f"{path}-shm").read_bytes()
    assert walfile.published_backfill(shm) == FRAMES and walfile.published_end(shm) == 1
    return writer


def test_backfill_beyond_the_end_and_a_restart_without_truncation(
    ram_mounts, clients, folder, any_road
):
    """B11: a WAL is restarted that was not copied; the log is what SQLite makes of it."""
    if sqlite3.sqlite_version_info >= (3, 51, 3):
        pytest.skip(f"SQLite {sqlite3.sqlite_version} does not have the WAL-reset bug")
    if platform.machine() != "x86_64":
        pytest.skip("holds a program between two instructions of an x86-64 only")
    mount = ram_mounts(**any_road)
    path = mount.dir / "a.db"
    writer = copy_all_but_reset_meanwhile(folder, clients, path)
    for i in range(2, FRAMES + 1):
        writer.sql(NEWER, "2", i)
    salts = pathlib.Path(f"{path}-wal").read_bytes()[16:24]
    writer.sql("DELETE FROM t WHERE id = 1")
    assert pathlib.Path(f"{path}-wal").read_bytes()[16:24] != salts, "no restart"
    other = clients(path)
    n_lost = other.sql(COUNT_OLD)[0][0]
    assert n_lost > FRAMES / 2, "the bug has not struck"
    mount.settle("a.db")
    assert "comparing all pages" in mount.log()
    assert mount.database("a.db")["since_mount"]["unannounced_restarts"] == 1
    writer.kill()
    assert other.sql(COUNT_OLD) == [[n_lost]]
    other.many(10, "INSERT INTO t(v) VALUES('2')")
    close_all(mount, other)
    assert assert_captured(mount, "a.db")["merged"] > 0


def waits_for_daemon(pid):
    """Whether the process is in a call that the daemon has to answer."""
    return "request_wait_answer" in pathlib.Path(f"/proc/{pid}/wchan").read_text()


def test_commits_behind_a_passive_checkpoint_in_the_barrier(mounts, clients):
    """B14: the barrier is held (by a stopped daemon) while others go on committing."""
    mount = mounts(capture="passthrough")
    path = mount.dir / "a.db"
    checkpointer = make_database(clients, path)
    checkpointer.sql("PRAGMA synchronous=OFF")
    writer = clients(path)
    writer.sql("PRAGMA wal_autocheckpoint=0")
    writer.sql("PRAGMA synchronous=OFF")
    for _ in range(3):
        writer.many(50, INSERT)
        stop_process(mount.daemon)
        try:
            checkpointer.send("db.sql('PRAGMA wal_checkpoint(PASSIVE)')")
            wait_for(lambda: waits_for_daemon(checkpointer.pid), "the checkpointer to wait")
            writer.many(200, INSERT)
        finally:
            os.kill(mount.daemon, signal.SIGCONT)
        checkpointer.answer()
        writer.many(50, INSERT)
        checkpointer.sql("PRAGMA wal_checkpoint(RESTART)")
    close_all(mount, writer, checkpointer)
    report = assert_captured(mount, "a.db", merged=0)
    assert report["txid"] == 2 + 900


def test_signals_do_not_break_calls_that_wait(mounts, clients, road):
    """B14: no EINTR comes out of fsync, unlink or ftruncate."""
    mount = mounts(capture=road)
    client = clients(mount.dir / "a.db")
    client.run("import signal\nsignal.signal(signal.SIGALRM, lambda *_: None)")
    client.run("signal.siginterrupt(signal.SIGALRM, True)")
    client.run("signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)")
    client.sql("PRAGMA journal_mode=WAL")
    client.sql("PRAGMA synchronous=FULL")
    client.sql(TABLE)
    client.run("path = " + repr(str(mount.dir / "a.db")))
    for _ in range(20):
        client.many(20, INSERT)
        client.sql("PRAGMA wal_checkpoint(TRUNCATE)")
        client.run("db.close()")
        client.run("db = Database(path)")
    client.run("signal.setitimer(signal.ITIMER_REAL, 0)")
    close_all(mount, client)
    assert_captured(mount, "a.db", merged=0)


@pytest.mark.parametrize("victim", ["-wal", ""], ids=["wal", "database"])
def test_emptied_by_an_open_for_writing(mounts, clients, any_road, victim):
    """B14: an open with O_TRUNC is a truncation; the log ends where the file does."""
    mount = mounts(**any_road)
    path = mount.dir / "a.db"
    client = make_database(clients, path)
    client.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    client.many(200, INSERT)
    client.kill()
    with open(f"{path}{victim}", "wb"):
        pass
    if victim == "":
        for suffix in ("-wal", "-shm"):
            os.unlink(f"{path}{suffix}")
        client = make_database(clients, path)
    else:
        client = clients(path)
        assert client.sql("SELECT count(*) FROM t") == [[0]]
    client.many(20, INSERT)
    close_all(mount, client)
    assert_captured(mount, "a.db")


def test_a_file_longer_than_its_database(mounts, clients, any_road):
    """B14: chunk padding; the file's size says nothing."""
    pytest.importorskip("apsw", reason="file controls need apsw")
    mount = mounts(**any_road)
    client = clients(mount.dir / "a.db", module="apsw")
    client.run(
        "import ctypes\n"
        "chunk = ctypes.c_int(1 << 20)\n"
        "db.connection.file_control('main', 6, ctypes.addressof(chunk))"
    )
    client.sql("PRAGMA journal_mode=WAL")
    client.sql(TABLE)
    client.many(200, INSERT)
    client.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    client.many(20, INSERT)
    assert os.path.getsize(mount.dir / "a.db") == 1 << 20
    client.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    assert client.sql("PRAGMA integrity_check") == [["ok"]]
    close_all(mount, client)
    assert_captured(mount, "a.db", merged=0)


def wal_left_behind(folder):
    """A database whose WAL holds 20 rows that are nowhere else."""
    path = folder / "made.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute(TABLE)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    for _ in range(20):
        connection.execute(INSERT)
    wal = pathlib.Path(f"{path}-wal").read_bytes()
    database = path.read_bytes()
    connection.close()
    return database, wal


@pytest.mark.parametrize("order", ["little", "big"])
def test_a_wal_of_another_machine(ram_mounts, clients, folder, any_road, order):
    """Row 12: found beside a database at the mount; taken over whole, then gone on with."""
    database, wal = wal_left_behind(folder)
    if order == "big":
        wal = walfile.with_big_endian_checksums(wal)
    mount = ram_mounts(start=False, **any_road)
    (mount.dir / "a.db").write_bytes(database)
    (mount.dir / "a.db-wal").write_bytes(wal)
    base = checkpointed_copy(mount.dir / "a.db", folder / "base.db")
    mount.start()
    position = mount.database("a.db")
    assert position["trouble"] is None, position
    client = clients(mount.dir / "a.db")
    assert client.sql("SELECT count(*) FROM t") == [[20]]
    client.many(100, INSERT)
    gone_on = (mount.dir / "a.db-wal").read_bytes()
    # SQLite goes on in the same order until it restarts the WAL.
    assert len(gone_on) > len(wal) and gone_on[:32] == wal[:32]
    client.many(1900, INSERT)
    assert (mount.dir / "a.db-wal").read_bytes()[:32] != wal[:32], "no restart"
    close_all(mount, client)
    report = assert_captured(mount, "a.db", base=base, merged=0)
    assert report["txid"] == position["txid"] + 2000


def put_with_wal(mount, database, wal):
    """Places both under the mountpoint and tries to mount."""
    (mount.dir / "a.db").write_bytes(database)
    (mount.dir / "a.db-wal").write_bytes(wal)
    return mount.start(check=False)


def test_a_wal_of_an_unknown_version_is_refused_by_name(mounts, folder):
    """SQLite cannot open such a database; the mount says so and touches nothing."""
    database, wal = wal_left_behind(folder)
    head = wal[:4] + (3007001).to_bytes(4, "big") + wal[8:24]
    words = walfile.checksum(head, (0, 0), "<")
    wal = head + words[0].to_bytes(4, "big") + words[1].to_bytes(4, "big") + wal[32:]
    mount = mounts(start=False)
    done = put_with_wal(mount, database, wal)
    text = done.stderr + (mount.log() if done.returncode == 0 else "")
    assert "a.db" in text and "version" in text, text
    assert (mount.dir / "a.db-wal").read_bytes() == wal
    assert (mount.dir / "a.db").read_bytes() == database


GARBAGE = [
    pytest.param(b"x" * 100, id="letters"),
    pytest.param(b"\0" * 5000, id="zeros"),
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_as_a_wal_is_ignored_as_sqlite_does(mounts, clients, folder, garbage):
    """A header without the magic is an empty WAL to SQLite."""
    database, _ = wal_left_behind(folder)
    mount = mounts(start=False)
    done = put_with_wal(mount, database, garbage)
    assert done.returncode == 0, done.stderr
    client = clients(mount.dir / "a.db")
    client.many(20, INSERT)
    assert client.sql("SELECT count(*) FROM t") == [[20]]
    close_all(mount, client)
