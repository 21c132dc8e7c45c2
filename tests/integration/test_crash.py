# SPDX-License-Identifier: MIT
"""Deaths and halts: of programs, the daemon, both its processes: nothing acked is lost."""

import contextlib
import os
import pathlib
import random
import re
import signal
import sqlite3
import subprocess
import time

import pytest

import faults
from clients import INSERT, TABLE, ClientError, close, make_database, private_mounts
from faults import Fault
from mount import (
    alive,
    assert_captured,
    fill_disk,
    list_state_logs,
    mounted_at,
    process_children,
    stop_process,
    wait_for,
)

SECONDS = float(os.environ.get("REPLITEDFS_STRESS_SECONDS", "8"))
FULL_LENGTH = SECONDS >= 60
N_KILLS = max(20, int(SECONDS * 7))
N_DEATHS = 30 if FULL_LENGTH else 3
HALT_S = 10 if FULL_LENGTH else 0
COUNT = "SELECT count(*) FROM t"

# Inserts first, first + 1 … until the stop file is there or SQLite says no.
WORK = """
import os
acked = []
def connect(path, pragmas):
    global db
    db = Database(path, busy_ms=60000)
    for pragma in pragmas:
        db.sql(f"PRAGMA {pragma}")
def work(path, pragmas, stop, progress, first, reopen):
    connect(path, pragmas)
    i = first
    while not os.path.exists(stop):
        try:
            if reopen and i % 20 == 0:
                db.close()
                connect(path, pragmas)
            db.sql("INSERT INTO t VALUES(?1, randomblob(200))", i)
        except Exception as error:
            return [acked, str(error)]
        acked.append(i)
        i += 1
        with open(progress, "w") as file:
            file.write(str(i))
    return [acked, None]
"""


def create(clients, path):
    """A WAL-mode database with its table, closed again."""
    close(make_database(clients, path))


class Worker:
    """A program that inserts numbered rows until it is stopped or fails."""

    def __init__(self, clients, path, folder, first, reopen=False, pragmas=()):
        self.progress = pathlib.Path(folder) / f"progress-{first}"
        self.stop_file = pathlib.Path(folder) / f"stop-{first}"
        self.client = clients()
        self.client.run(WORK)
        files = f"{str(self.stop_file)!r}, {str(self.progress)!r}"
        self.client.send(f"work({str(path)!r}, {pragmas!r}, {files}, {first}, {reopen})")

    def reached(self):
        """The number it inserts next."""
        with contextlib.suppress(OSError, ValueError):
            return int(self.progress.read_text())
        return 0

    def wait_for_more(self, n=20):
        """Until it has acked n rows more."""
        goal = self.reached() + n
        wait_for(lambda: self.reached() >= goal, "more rows")

    def stop(self):
        """What it has acked, and the error that ended it or None. Its files stay open."""
        self.stop_file.touch()
        return self.client.answer(30)

    def fails(self):
        """What it has acked when it meets the error that must end it: that the daemon is dead."""
        done, error = self.client.answer(60)
        assert "disk I/O" in error or "unable to open" in error, error
        return done


def rows(mount, name="a.db"):
    """The ids in an unmounted database, which must be sound."""
    connection = sqlite3.connect(f"file:{mount.dir / name}?mode=ro", uri=True)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    found = {row[0] for row in connection.execute("SELECT id FROM t")}
    connection.close()
    return found


def test_both_processes_killed_under_load(mounts, clients, folder, road):
    """Row 24: apps end, mount again; what passthrough writers wrote meanwhile is captured."""
    mount = mounts(capture=road)
    path = mount.dir / "a.db"
    create(clients, path)
    acked = set()
    for round_number in range(N_DEATHS):
        # At NORMAL a commit makes no call that waits for the daemon; the others sync, and open.
        first = 1_000_000 + 3_000_000 * round_number
        quiet = Worker(clients, path, folder, first, pragmas=["synchronous=NORMAL"])
        others = [
            Worker(clients, path, folder, first + 1_000_000 * (i + 1), reopen=i == 1)
            for i in range(2)
        ]
        for worker in (quiet, *others):
            worker.wait_for_more()
        mount.kill()
        if road == "passthrough":
            quiet.wait_for_more(100)
        refused = mount.start(check=False)
        assert refused.returncode == 75, refused.stderr
        pids = [worker.client.pid for worker in (quiet, *others)]
        assert any(f"pid {pid}" in refused.stderr for pid in pids), refused.stderr
        if road == "passthrough":
            done, error = quiet.stop()
            assert error is None, error
        else:
            done = quiet.fails()
        acked.update(done)
        for worker in others:
            acked.update(worker.fails())
        for worker in (quiet, *others):
            worker.client.kill()
        mount.start()
    client = clients(path)
    client.many(10, "INSERT INTO t VALUES(?1, 'after')")
    client.run("db.close()")
    mount.unmount()
    missing = acked - rows(mount)
    assert not missing, f"{len(missing)} of {len(acked)} acked rows lost"
    assert_captured(mount, "a.db")


def test_daemon_killed_under_load(mounts, clients, folder, road):
    """Its programs get errors and none hangs; the next mount replaces the dead one."""
    mount = mounts(capture=road)
    path = mount.dir / "a.db"
    create(clients, path)
    acked = set()
    for round_number in range(2):
        worker = Worker(clients, path, folder, 1_000_000 * (round_number + 1), reopen=True)
        worker.wait_for_more(50)
        mount.kill(mount.daemon)
        # It reopens every 20 rows and cannot miss it.
        acked.update(worker.fails())
        with pytest.raises(OSError) as refused:
            os.listdir(mount.dir)
        assert refused.value.errno == 107
        worker.client.close()
        wait_for(lambda: not alive(mount.supervisor), "the supervisor's end")
        mount.start()
    mount.unmount()
    assert not acked - rows(mount)
    assert_captured(mount, "a.db")


BARE = """
import os
def bare_write(name):
    other = None
    try:
        other = Database(name, busy_ms=0)
        return other.sql("INSERT INTO t(v) VALUES('bare')")
    except Exception as error:
        return str(error)
    finally:
        if other:
            other.close()
"""


def test_supervisor_keeps_the_bare_files_locked(mounts, clients):
    """After the daemon's death, for as long as its programs have their files; then it ends."""
    mount = mounts(start=False)
    bypasser = clients(before=private_mounts)
    bypasser.run(BARE)
    mount.start()
    path = mount.dir / "a.db"
    create(clients, path)
    user = clients(path)
    user.many(10, INSERT)
    mount.kill(mount.daemon)
    assert "locked" in bypasser.run(f"bare_write({str(path)!r})")
    assert alive(mount.supervisor)
    wait_for(lambda: f"{user.pid}" in mount.log(), "the log to name the program")
    refused = mount.start(check=False)
    assert refused.returncode == 75 and f"pid {user.pid}" in refused.stderr, refused.stderr
    user.kill()
    wait_for(lambda: not alive(mount.supervisor), "the supervisor's end")
    bypasser.close()
    mount.start()
    assert clients(path).sql("SELECT count(*) FROM t") == [[10]]


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_clients_killed_at_random(mounts, clients, folder, road, mode):
    """Row 27: many times; the others go on, and nothing they acked is lost."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    mount = mounts(capture=road)
    path = mount.dir / "a.db"
    # Open from its creation on, it stays on the road it is on.
    keeper = clients(path)
    keeper.sql(f"PRAGMA journal_mode={mode}")
    keeper.sql(TABLE)
    survivor = Worker(clients, path, folder, 900_000_000)
    victims = []
    for i in range(N_KILLS if mode == "WAL" or FULL_LENGTH else 20):
        victims.append(Worker(clients, path, folder, 1_000_000 * (i + 1), reopen=i % 2 == 0))
        if len(victims) < 3:
            continue
        victim = victims.pop(chance.randrange(len(victims)))
        wait_for(lambda: victim.reached() > 0, "its first row")
        time.sleep(chance.uniform(0, 0.02))
        victim.client.kill()
        survivor.wait_for_more(1)
    acked = set()
    for worker in [survivor, *victims]:
        done, error = worker.stop()
        assert error is None, error
        acked.update(done)
        worker.client.run("db.close()")
    told = mount.status()["upcalls"]["write"] > 0
    assert told == (road == "intercept"), "not the road meant"
    keeper.run("db.close()")
    mount.unmount()
    assert not acked - rows(mount)
    assert_captured(mount, "a.db")


def wait_until_waiting(*programs):
    """Until one of them is in a call that the daemon has to answer."""

    def waits():
        where = [pathlib.Path(f"/proc/{each.pid}/wchan").read_text() for each in programs]
        return any("request_wait" in place for place in where)

    wait_for(waits, "a program to wait for the daemon")


def test_stopped_daemon_goes_on_where_it_was(mounts, clients, folder, road):
    """Row 28: meanwhile passthrough goes on until a barrier, and intercept blocks; no error and no
    loss."""
    mount = mounts(capture=road)
    path = mount.dir / "a.db"
    create(clients, path)
    # No commit syncs, or has a checkpoint behind it.
    pragmas = ["synchronous=NORMAL", "wal_autocheckpoint=0"]
    workers = [
        Worker(clients, path, folder, 1_000_000 * (i + 1), reopen=i == 1, pragmas=pragmas)
        for i in range(2)
    ]
    checkpointer = clients(path)
    checkpointer.sql("PRAGMA synchronous=OFF")  # else it waits in a sync of the WAL, and all with it
    checkpointer.sql(COUNT)
    for _ in range(2):
        for worker in workers:
            worker.wait_for_more()
        stop_process(mount.daemon)
        try:
            if road == "passthrough":
                checkpointer.send("db.sql('PRAGMA wal_checkpoint(PASSIVE)')")
                wait_until_waiting(checkpointer)
                wait_until_waiting(workers[1].client)
                workers[0].wait_for_more()
            else:
                wait_until_waiting(*(worker.client for worker in workers))
            time.sleep(HALT_S)
        finally:
            os.kill(mount.daemon, signal.SIGCONT)
        if road == "passthrough":
            assert checkpointer.answer()[0][0] == 0
    acked = set()
    for worker in workers:
        worker.wait_for_more()
        done, error = worker.stop()
        assert error is None, error
        acked.update(done)
    for client in (checkpointer, *(worker.client for worker in workers)):
        client.run("db.close()")
    mount.unmount()
    assert not acked - rows(mount)
    assert_captured(mount, "a.db", merged=0)


def test_hung_clients_of_a_killed_stopped_daemon_are_released(mounts, clients):
    """A call that waits for the daemon ends with an error when that is killed."""
    mount = mounts(capture="intercept")
    create(clients, mount.dir / "a.db")
    client = clients(mount.dir / "a.db")
    client.many(5, INSERT)
    stop_process(mount.daemon)
    client.send(f"db.sql({INSERT!r})")
    wait_until_waiting(client)
    mount.kill(mount.daemon)
    with pytest.raises(ClientError, match="disk I/O"):
        client.answer(20)
    client.close()
    assert client.process.returncode == 0


# -- unmounting


def try_to_unmount(mount):
    """fusermount3 -u once."""
    return subprocess.run(
        ["fusermount3", "-u", str(mount.dir)], capture_output=True, text=True, check=False
    )


def test_unmount_while_busy_changes_nothing(mounts, clients, road):
    """EBUSY, and the programs go on."""
    mount = mounts(capture=road)
    create(clients, mount.dir / "a.db")
    client = clients(mount.dir / "a.db")
    client.sql("BEGIN IMMEDIATE")
    client.many(5, INSERT)
    done = try_to_unmount(mount)
    assert done.returncode != 0 and "busy" in done.stderr
    client.sql("COMMIT")
    client.run("db.close()")
    mount.unmount()
    report = assert_captured(mount, "a.db", merged=0)
    assert report["txid"] == 3


def test_a_lazy_unmount_serves_those_who_are_there(mounts, clients, road):
    """Until they leave; the folder is taken as long as that."""
    mount = mounts(capture=road)
    create(clients, mount.dir / "a.db")
    client = clients(mount.dir / "a.db")
    client.sql("BEGIN IMMEDIATE")
    client.many(5, INSERT)
    subprocess.run(["umount", "-l", str(mount.dir)], check=True)
    refused = mount.start(check=False)
    assert refused.returncode == 75 and "already served by pid" in refused.stderr, refused.stderr
    client.sql("COMMIT")
    client.many(5, INSERT)
    client.run("db.close()")
    client.close()
    wait_for(lambda: not any(map(alive, mount.pids)), "the end of both processes")
    report = assert_captured(mount, "a.db", merged=0)
    assert report["txid"] == 8
    mount.start()
    assert clients(mount.dir / "a.db").sql(COUNT) == [[10]]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_stop_with_an_open_transaction_waits_and_says_for_whom(mounts, clients, road, name):
    """It keeps serving until they leave, and ends by itself then."""
    mount = mounts(capture=road)
    create(clients, mount.dir / "a.db")
    client = clients(mount.dir / "a.db")
    client.sql("BEGIN IMMEDIATE")
    client.many(5, INSERT)
    os.kill(mount.supervisor, getattr(signal, name))
    wait_for(lambda: f"{client.pid}" in mount.log(), "the log to name the program")
    client.many(5, INSERT)
    client.sql("COMMIT")
    late = clients(mount.dir / "a.db")
    late.many(5, INSERT)
    for each in (client, late):
        each.run("db.close()")
        each.close()
    wait_for(lambda: not any(map(alive, mount.pids)), "the end of both processes")
    assert not mounted_at(mount.dir)
    report = assert_captured(mount, "a.db", merged=0)
    assert report["txid"] == 8


def test_double_mount_is_refused_with_the_pid(mounts, clients, road):
    """Nothing changes for those who use the first."""
    mount = mounts(capture=road)
    create(clients, mount.dir / "a.db")
    client = clients(mount.dir / "a.db")
    done = mount.start(check=False)
    assert done.returncode == 75, done.stderr
    assert "already served" in done.stderr
    assert any(f"pid {pid} " in done.stderr for pid in mount.pids), done.stderr
    client.many(5, INSERT)
    assert len(mounted_at(mount.dir)) == 1


def test_no_process_is_left_after_an_unmount(mounts, clients, road):
    """The daemon, its supervisor, their children: all gone, and no mount."""
    mount = mounts(capture=road)
    create(clients, mount.dir / "a.db")
    family = set(mount.pids)
    for pid in mount.pids:
        family.update(process_children(pid))
    mount.unmount()
    assert not any(map(alive, family))
    assert not mounted_at(mount.dir)
    assert not os.listdir(mount.sockets), "a socket is left"


def test_an_unmount_is_not_taken_for_a_death_by_who_mounts_next(mounts, clients, folder):
    """The kernel gives the device number away at once, while the rest is still being shipped."""
    mount = mounts(backup=True, env={"REPLITEDFS_MOUNT_SHUTDOWN_TIMEOUT": "2s"})
    device = mounted_at(mount.dir)[0].split()[2]
    close(make_database(clients, mount.dir / "a.db", rows=1))
    mount.backup.rename(folder / "away")
    close(make_database(clients, mount.dir / "b.db", rows=1))
    other = folder / "other"
    other.mkdir()
    subprocess.run(["fusermount3", "-u", mount.dir], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", other], check=True)
    try:
        if mounted_at(other)[0].split()[2] != device:
            pytest.skip("the kernel gave another device number")
        with subprocess.Popen(["sleep", "60"], cwd=other) as user:
            try:
                wait_for(lambda: not any(map(alive, mount.pids)), "the supervisor's end", 20)
            finally:
                user.kill()
    finally:
        subprocess.run(["umount", other], check=True)
    assert "dead" not in mount.log()
    (folder / "away").rename(mount.backup)
    mount.start()


def test_killed_daemon_leaves_nothing_in_the_kernel(mounts, clients, road):
    """kill -9 while it has work and holds files of its own mount: nobody stays in D state, and
    the next mount replaces the dead one."""
    mount = mounts(capture=road)
    create(clients, mount.dir / "a.db")
    client = clients(mount.dir / "a.db")
    client.send(f"db.many(100000, {INSERT!r})")
    wait_for(lambda: mount.database("a.db")["txid"] > 10, "some transactions")
    mount.kill()  # waits until they are gone
    client.kill()
    assert client.process.returncode == -9
    mount.start()
    assert clients(mount.dir / "a.db").sql(COUNT)[0][0] >= 10


# -- damage and full disks


def assert_found_at(error, n_before, at):
    """The error names the transaction behind so many, or where its header is, before that byte."""
    if f"transaction {n_before + 1}: " in error:
        return
    assert "a transaction record's header is damaged" in error, error
    place = re.search(r"at byte (\d+): ", error)
    if place:
        assert 0 <= at - int(place[1]) < 112, f"byte {at}: {error}"
    else:
        assert f'"records": {n_before}}}' in error, f"byte {at}: {error}"


def test_a_flipped_byte_in_the_log_is_found(mounts, clients):
    """Row 29: a replay stops with the transaction's number; the database goes on whole."""
    chance = random.Random(5)
    mount = mounts()
    path = mount.dir / "a.db"
    create(clients, path)
    client = clients(path)
    client.many(500, INSERT)
    client.run("db.close()")
    mount.unmount()
    log = pathlib.Path(list_state_logs(mount, "a.db")[0])
    whole = log.read_bytes()
    n_found = 0
    for _ in range(60):
        at = chance.randrange(1024, len(whole))
        log.write_bytes(whole[:at])
        n_before = mount.replay("a.db")["records"]
        if n_before == 501:
            continue  # the last one may have been cut off by a crash, for all that can be known
        damaged = bytearray(whole)
        damaged[at] ^= 1 << chance.randrange(8)
        log.write_bytes(damaged)
        with pytest.raises(AssertionError, match="replay: ") as found:
            mount.replay("a.db")
        assert_found_at(str(found.value), n_before, at)
        n_found += 1
    assert n_found > 50
    # A mount looks at the log's end only.
    mount.start()
    assert clients(path).sql("SELECT count(*) FROM t") == [[500]]


def test_a_damaged_end_of_the_log_begins_a_new_generation(mounts, clients):
    """Found at the mount: said so, nothing deleted, and capture goes on."""
    mount = mounts()
    path = mount.dir / "a.db"
    create(clients, path)
    client = clients(path)
    client.many(50, INSERT)
    client.run("db.close()")
    mount.unmount()
    log = pathlib.Path(list_state_logs(mount, "a.db")[-1])
    damaged = bytearray(log.read_bytes())
    damaged[-2000] ^= 1
    log.write_bytes(damaged)
    mount.start()
    position = mount.database("a.db")["position"]
    client = clients(path)
    assert client.sql("SELECT count(*) FROM t") == [[50]]
    client.many(10, INSERT)
    client.run("db.close()")
    mount.unmount()
    assert "damaged" in mount.log(), mount.log()
    assert position.split(":")[0] not in log.name
    assert log.read_bytes() == damaged
    assert int(position.split(":")[1]) >= 48


def is_clean(mount, name):
    """Whether the page hashes bear the mark of a clean stop."""
    hashes = mount.state / "db" / mount.database_id(name) / "hashes"
    return hashes.read_bytes()[12:16] != bytes(4)


def test_a_mount_that_never_was_live_ends_clean(mounts, clients):
    """What it has recovered nobody could touch: the next one need not read it all again."""
    mount = mounts(capture="passthrough")
    path = mount.dir / "a.db"
    create(clients, path)
    client = clients(path)
    client.many(10, INSERT)
    client.kill()
    mount.kill()
    assert not is_clean(mount, "a.db")
    mount.env["REPLITEDFS_TEST_HOOKS"] = "no-passthrough"
    refused = mount.start(check=False)
    assert refused.returncode == 69, refused.stderr
    assert is_clean(mount, "a.db")
    del mount.env["REPLITEDFS_TEST_HOOKS"]
    mount.start()
    assert clients(path).sql(COUNT) == [[10]]


def test_full_disk_of_the_log(small_disk, mounts, clients):
    """Row 21, passthrough: commits go on, checkpoints wait, the WAL keeps everything."""
    mount = mounts(capture="passthrough", env={"REPLITEDFS_MOUNT_LOG_MAX_SIZE": "1GiB"})
    path = mount.dir / "a.db"
    create(clients, path)
    client = clients(path)
    client.sql("PRAGMA wal_autocheckpoint=0")
    fill_disk(small_disk, 2 << 20)
    client.many(30, "INSERT INTO t(v) VALUES(randomblob(200000))")
    wait_for(lambda: mount.database("a.db")["trouble"], "the trouble in status")
    assert "space" in mount.database("a.db")["trouble"], mount.database("a.db")
    with pytest.raises(ClientError, match="disk"):
        client.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    assert "truncate refused name=a.db: " in mount.log()
    client.sql("PRAGMA wal_autocheckpoint=10")
    client.many(100, INSERT)
    assert os.path.getsize(f"{path}-wal") > 6_000_000
    os.unlink(small_disk / "ballast")
    assert client.sql("PRAGMA wal_checkpoint(TRUNCATE)") == [[0, 0, 0]]
    assert mount.database("a.db")["trouble"] is None
    client.many(10, INSERT)
    client.run("db.close()")
    mount.unmount()
    report = assert_captured(mount, "a.db", merged=0)
    assert report["txid"] == 2 + 140


class Accepted:
    """What a program inserts that must not be told of a commit that is not there, or is."""

    def __init__(self, client):
        self.client = client
        self.n = 0

    def insert(self, size):
        """Whether it could be inserted."""
        try:
            self.client.sql(f"INSERT INTO t(v) VALUES(randomblob({size}))")
        except ClientError as error:
            assert "database or disk is full" in str(error), error
            assert self.client.run("db.connection.in_transaction") is False
            return False
        self.n += 1
        return True



@pytest.mark.parametrize("hooks", ["", "no-passthrough"], ids=["", "unprivileged"])
def test_full_disk_of_the_log_refuses_commits_that_it_sees(
    small_disk, mounts, clients, folder, hooks
):
    """Row 21, intercept: SQLite rolls them back, and nobody ever sees anything of them."""
    mount = mounts(
        capture="intercept", hooks=hooks, env={"REPLITEDFS_MOUNT_LOG_MAX_SIZE": "1GiB"}
    )
    path = mount.dir / "a.db"
    create(clients, path)
    accepted = Accepted(clients(path))
    client, other = accepted.client, clients(path)
    fill_disk(small_disk, 100 << 10)
    for size in (300_000, 100_000, 20_000):
        while accepted.insert(size):
            assert accepted.n < 100, "the disk does not get full"
        assert client.sql(COUNT) == other.sql(COUNT) == [[accepted.n]]
    client.sql("PRAGMA cache_size=10")
    client.sql("BEGIN")
    with pytest.raises(ClientError, match="database or disk is full"):
        client.many(100, "INSERT INTO t(v) VALUES(randomblob(3000))")
        client.sql("COMMIT")
    assert client.run("db.connection.in_transaction") is False
    assert client.sql(COUNT) == other.sql(COUNT) == [[accepted.n]]
    fault = Fault(folder, faults.KILL_AT_REFUSED_WRITE, at="-wal")
    for others in ("open", "gone"):
        victim = clients(path, env=fault.env)
        fault.arm()
        with pytest.raises(ClientError, match="ended"):
            victim.sql("INSERT INTO t(v) VALUES(randomblob(100000))")
        fault.disarm()
        if others == "gone":
            client.kill()
            other.kill()
            accepted.client = client = clients(path)
            other = clients(path)
        assert client.sql(COUNT) == other.sql(COUNT) == [[accepted.n]]
        assert other.sql("PRAGMA integrity_check") == [["ok"]]
    os.unlink(small_disk / "ballast")
    assert accepted.insert(300_000)
    assert client.sql(COUNT) == other.sql(COUNT) == [[accepted.n]]
    for each in (client, other):
        each.run("db.close()")
    mount.unmount()
    report = assert_captured(mount, "a.db", merged=0)
    assert report["txid"] == 2 + accepted.n


def test_refused_checkpoints_lose_nothing(small_disk, mounts, clients):
    """Nor do they end WAL mode by half: that waits, and commits go on, until there is room."""
    mount = mounts(capture="passthrough", env={"REPLITEDFS_MOUNT_LOG_MAX_SIZE": "1GiB"})
    path = mount.dir / "a.db"
    create(clients, path)
    fill_disk(small_disk, 2 << 20)
    client = clients(path)
    client.sql("PRAGMA wal_autocheckpoint=5")
    client.many(30, "INSERT INTO t(v) VALUES(randomblob(200000))")
    with pytest.raises(ClientError, match="disk"):
        client.sql("PRAGMA journal_mode=DELETE")
    assert client.sql("PRAGMA journal_mode") == [["wal"]]
    client.many(10, INSERT)
    assert client.sql(COUNT) == [[40]]
    os.unlink(small_disk / "ballast")
    assert client.sql("PRAGMA journal_mode=DELETE") == [["delete"]]
    client.many(10, INSERT)
    client.run("db.close()")
    mount.unmount()
    report = assert_captured(mount, "a.db", merged=0)
    assert report["txid"] == 2 + 40 + 1 + 10


@pytest.mark.parametrize("mode", ["WAL", "PERSIST"])
def test_full_disk_of_the_log_keeps_nobody_out(small_disk, mounts, clients, mode):
    """Programs that open the database while the log is behind can read it, and lose nothing."""
    mount = mounts(capture="passthrough", env={"REPLITEDFS_MOUNT_LOG_MAX_SIZE": "1GiB"})
    path = mount.dir / "a.db"
    client = clients(path)
    client.sql(f"PRAGMA journal_mode={mode}")
    client.sql(TABLE)
    fill_disk(small_disk, 100 << 10)
    client.many(10, "INSERT INTO t(v) VALUES(randomblob(300000))")
    assert mount.database("a.db")["trouble"]
    client.run("db.close()")
    reader = clients(path)
    assert reader.sql(COUNT) == [[10]]
    os.unlink(small_disk / "ballast")
    reader.sql(INSERT)
    reader.run("db.close()")
    mount.unmount()
    assert_captured(mount, "a.db")


def test_old_log_files_make_room_for_a_commit(small_disk, mounts, clients, road):
    """Row 21: what nobody wants any more goes first; only then would a commit be refused, or the
    log stay behind."""
    env = {"REPLITEDFS_MOUNT_LOG_FILE_SIZE": "1MiB", "REPLITEDFS_MOUNT_LOG_RETENTION": "1s"}
    mount = mounts(capture=road, env=env)
    path = mount.dir / "a.db"
    create(clients, path)
    client = clients(path)
    client.many(40, "INSERT INTO t(v) VALUES(randomblob(200000))")
    mount.settle("a.db")
    n_files = len(list_state_logs(mount, "a.db"))
    assert n_files > 4
    time.sleep(1)  # the retention
    fill_disk(small_disk, 100 << 10)
    client.sql("INSERT INTO t(v) VALUES(randomblob(3000000))")
    client.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    assert client.sql(COUNT) == [[41]]
    assert len(list_state_logs(mount, "a.db")) < n_files
    status = mount.database("a.db")
    assert status["trouble"] is None and status["txid"] == 2 + 41, status
    client.run("db.close()")
    mount.unmount()
