# SPDX-License-Identifier: MIT
"""POSIX, OFD and flock locks: on the mount everything is as in a bare folder."""

import collections
import errno
import json
import pathlib
import random
import subprocess
import sys

import pytest

from mount import assert_captured

HERE = pathlib.Path(__file__).parent
N_PROCESSES = 50
N_OPENS = 200
KINDS = ("posix", "ofd", "flock")
# SQLite's own: PENDING, RESERVED and SHARED of a database, those of a WAL-index.
SQLITE_RANGES = ((0x40000000, 1), (0x40000001, 1), (0x40000002, 510), (120, 1), (123, 5), (128, 1))
FILES = ("plain", "empty", "w.db", "w.db-wal", "w.db-shm", "d.db")


def run_plan(folder, processes, turns, timeout=120):
    """What locker.py answers to a plan in a folder."""
    done = subprocess.run(
        [sys.executable, str(HERE / "locker.py"), str(folder)],
        input=json.dumps({"processes": processes, "turns": turns}),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def bare_results():
    """What is the same for both roads is done once."""
    return {}


# -- a seeded plan


def random_range(chance):
    """Start and length: SQLite's, small ones that meet each other, to the end of the file."""
    if chance.random() < 0.4:
        return chance.choice(SQLITE_RANGES)
    return chance.randrange(12), chance.choice((0, 1, 1, 1, 2, 5, -1))


def random_lock(chance, slot):
    """A step that takes, gives up, or asks about a lock."""
    kind = chance.choice(KINDS)
    how = chance.choice("RRWWU")
    if kind == "flock":
        return ["lock", kind, slot, how]
    verb = "ask" if chance.random() < 0.3 and how != "U" else "lock"
    return [verb, kind, slot, how, *random_range(chance)]


def random_steps(chance, used, held):
    """Opens a descriptor, sometimes twice, or closes one, then locks, gives up, or asks. used
    counts what a process has opened, held are the slots that are open."""
    steps = []
    if len(held) >= 3 or used[0] == N_OPENS:
        steps.append(["close", held.pop(chance.randrange(len(held)))])
    else:
        used[0] += 1
        mode = chance.choice(("rw", "rw", "rw", "r", "w"))
        steps.append(["open", used[0], chance.choice(FILES), mode])
        held.append(used[0])
        if chance.random() < 0.1:
            steps.append(["dup", used[0], f"{used[0]}, too"])
            held.append(f"{used[0]}, too")
    if held:
        steps += [random_lock(chance, chance.choice(held)) for _ in range(chance.randrange(4))]
    return steps


def make_plan(seed):
    """Turns of N_PROCESSES in random order, in which each opens N_OPENS files, and closes them."""
    chance = random.Random(seed)
    slots = [([0], []) for _ in range(N_PROCESSES)]
    busy = list(range(N_PROCESSES))
    turns = []
    while busy:
        who = chance.choice(busy)
        used, held = slots[who]
        steps = []
        while len(steps) < 10 and (used[0] < N_OPENS or held):
            steps += random_steps(chance, used, held)
        turns.append([who, "do", *steps])
        if used[0] == N_OPENS and not held:
            busy.remove(who)
    return turns


def make_files(folder, clients):
    """FILES, with the WAL-mode database open in a program of its own, which is returned."""
    (folder / "plain").write_bytes(b"x" * 1000)
    (folder / "empty").touch()
    client = clients(folder / "d.db")
    client.sql("CREATE TABLE t(v)")
    client.close()
    client = clients(folder / "w.db")
    client.sql("PRAGMA journal_mode=WAL")
    client.sql("CREATE TABLE t(v)")
    return client


def run_seeded_plan(folder, clients, turns):
    """The results, with the check that the program can go on after all."""
    client = make_files(folder, clients)
    results = run_plan(folder, N_PROCESSES, turns)
    client.sql("INSERT INTO t VALUES(1)")
    client.close()
    return results


def assert_says_something(turns, results):
    """A plan in which locks of every kind were got and refused, and asked about."""
    seen = collections.Counter()
    for (_, _, *steps), answers in zip(turns, results):
        for step, answer in zip(steps, answers):
            if step[0] == "lock":
                seen[step[1], answer] += 1
            if step[0] == "ask":
                owner = answer[3] if isinstance(answer, list) else answer
                seen["ask", owner if isinstance(owner, str) else "process"] += 1
            assert step[0] in ("lock", "ask") or answer is None, (step, answer)
    wanted = [(kind, answer) for kind in KINDS for answer in (None, "EAGAIN")]
    wanted += [("ask", answer) for answer in ("free", "process", "description", "other")]
    wanted += [("posix", "EBADF"), ("ofd", "EBADF")]
    for what in wanted:
        assert seen[what] >= 20, (what, seen)


def test_fifty_processes_get_what_they_get_in_a_bare_folder(
    mounts, folder, clients, road, bare_results
):
    """50 x 200 opens and closes, 30 000 locks: each is granted or refused as there."""
    if not bare_results:
        seed = random.randrange(1 << 20)
        turns = make_plan(seed)
        (folder / "bare").mkdir()
        results = run_seeded_plan(folder / "bare", clients, turns)
        assert_says_something(turns, results)
        bare_results.update(seed=seed, turns=turns, results=results)
    print("seed", bare_results["seed"])
    mount = mounts(capture=road)
    results = run_seeded_plan(mount.dir, clients, bare_results["turns"])
    for turn, here, there in zip(bare_results["turns"], results, bare_results["results"]):
        assert here == there, f"seed {bare_results['seed']}, {turn}"
    mount.unmount()
    for name in ("w.db", "d.db"):
        assert_captured(mount, name)


# -- all at the same time


def run_counters(folder):
    """50 processes add one 200 times each, all at once; what the counters say then."""
    for name in ("records", "flock"):
        (folder / name).write_bytes(bytes(8))
    # POSIX and OFD locks exclude each other, neither excludes flock.
    files = {"posix": "records", "flock": "flock", "ofd": "records"}
    step = ["count", N_OPENS, files]
    turns = [[who, "begin", step] for who in range(N_PROCESSES)]
    turns += [[who, "result"] for who in range(N_PROCESSES)]
    results = run_plan(folder, N_PROCESSES, turns)
    errors = [result for result in results[N_PROCESSES:] if result != [None]]
    counted = {name: int.from_bytes((folder / name).read_bytes(), "big") for name in files.values()}
    return errors, counted


def test_fifty_processes_count_together(ram_mounts, road):
    """Locks that are waited for exclude: nothing is lost, and every process gets its turn."""
    mount = ram_mounts(capture=road)
    n_flock = len(range(1, N_OPENS, 3)) * N_PROCESSES
    wanted = {"records": N_OPENS * N_PROCESSES - n_flock, "flock": n_flock}
    assert run_counters(mount.dir) == ([], wanted)


# -- rules


def opened(*names):
    """Steps that open the file "f" into slots."""
    return [["open", name, "f"] for name in names]


def taken(kind, slot, how="W", start=0, length=1):
    """The step that takes a lock or fails."""
    return ["lock", kind, slot, how, start, length]


def waited(*lock):
    """The step that takes a lock, however long that lasts."""
    return [*taken(*lock), True]


def refused(n):
    """The results of n locks that somebody else has."""
    return ["EAGAIN"] * n


RULES = {
    "closing any descriptor drops POSIX locks, and no others": [
        ([0, "do", *opened("a", "b"), taken("posix", "a"), ["close", "b"]], [None] * 4),
        ([1, "do", *opened("a"), taken("posix", "a")], [None, None]),
        ([0, "do", *opened("c", "d"), taken("ofd", "c", "W", 5), ["close", "d"]], [None] * 4),
        ([0, "do", taken("flock", "c"), *opened("e"), ["close", "e"]], [None] * 3),
        ([1, "do", taken("posix", "a", "W", 5), taken("flock", "a")], refused(2)),
        ([0, "do", ["dup", "c", "f"], ["close", "c"]], [None, None]),
        ([1, "do", taken("ofd", "a", "W", 5), taken("flock", "a")], refused(2)),
        ([0, "do", ["close", "f"]], [None]),
        ([1, "do", taken("ofd", "a", "W", 5), taken("flock", "a")], [None, None]),
    ],
    "a child has the description's locks, not the process's": [
        ([0, "do", *opened("a"), taken("posix", "a")], [None, None]),
        ([0, "do", ["child", taken("posix", "a"), ["close", "a"]]], [["EAGAIN", None]]),
        ([1, "do", *opened("a"), taken("posix", "a")], [None, "EAGAIN"]),
        ([0, "do", taken("ofd", "a", "W", 5), taken("flock", "a")], [None, None]),
        ([0, "do", ["child", taken("ofd", "a", "W", 5), taken("flock", "a")]], [[None, None]]),
        ([1, "do", taken("ofd", "a", "W", 5), taken("flock", "a")], refused(2)),
        ([0, "do", ["child", taken("ofd", "a", "U", 5), taken("flock", "a", "U")]], [[None, None]]),
        ([1, "do", taken("ofd", "a", "W", 5), taken("flock", "a")], [None, None]),
    ],
    "POSIX and OFD locks of one process exclude each other, flock neither": [
        ([0, "do", *opened("a", "b"), taken("posix", "a")], [None] * 3),
        ([0, "do", taken("posix", "b"), taken("ofd", "a"), taken("ofd", "b")], [None, *refused(2)]),
        ([0, "do", taken("flock", "a"), taken("flock", "b")], [None, "EAGAIN"]),
        ([0, "do", taken("ofd", "a", "R", 3), taken("ofd", "b", "R", 3)], [None, None]),
        ([0, "do", taken("ofd", "a", "W", 3), taken("ofd", "b", "U", 3)], ["EAGAIN", None]),
        ([0, "do", taken("ofd", "a", "W", 3)], [None]),
    ],
    "ranges split, join, and say who has them": [
        ([0, "do", *opened("a"), taken("posix", "a", "W", 0, 100)], [None, None]),
        ([0, "do", taken("posix", "a", "U", 40, 20), taken("posix", "a", "R", 0, 10)], [None] * 2),
        ([1, "do", *opened("a"), ["ask", "posix", "a", "W", 0, 0]], [None, ["R", 0, 10, 0]]),
        ([1, "do", ["ask", "posix", "a", "R", 0, 0]], [["W", 10, 30, 0]]),
        ([1, "do", ["ask", "ofd", "a", "R", 60, 0]], [["W", 60, 40, 0]]),
        ([1, "do", ["ask", "posix", "a", "W", 40, 20]], ["free"]),
        ([1, "do", taken("ofd", "a", "W", 40, 20)], [None]),
        ([0, "do", ["ask", "posix", "a", "W", 0, 0]], [["W", 40, 20, "description"]]),
        ([0, "do", taken("posix", "a", "W", 100, 0), taken("posix", "a", "U", 0, 0)], [None] * 2),
        ([1, "do", ["ask", "posix", "a", "W", 0, 40]], ["free"]),
        ([1, "do", taken("ofd", "a", "W", -1)], ["EINVAL"]),
    ],
    "the mode of a descriptor decides what it may lock": [
        ([0, "do", ["open", "r", "f", "r"], ["open", "w", "f", "w"]], [None, None]),
        ([0, "do", taken("posix", "r"), taken("ofd", "r")], ["EBADF"] * 2),
        ([0, "do", taken("flock", "r")], [None]),
        ([0, "do", taken("posix", "w", "R"), taken("ofd", "w", "R")], ["EBADF"] * 2),
        ([0, "do", taken("flock", "w", "R")], ["EAGAIN"]),
    ],
    "who waits gets the lock when it is given up": [
        ([0, "do", *opened("a"), taken("posix", "a"), taken("flock", "a")], [None] * 3),
        ([1, "begin", *opened("a"), waited("posix", "a")], None),
        ([2, "begin", *opened("a"), waited("flock", "a")], None),
        *(([who, "blocked"], None) for who in (1, 2)),
        ([0, "do", taken("flock", "a", "U")], [None]),
        ([2, "result"], [None, None]),
        ([0, "do", ["close", "a"]], [None]),
        ([1, "result"], [None, None]),
        ([3, "begin", *opened("a"), waited("ofd", "a", "R", 0, 0)], None),
        ([3, "blocked"], None),
        ([1, "kill"], None),
        ([3, "result"], [None, None]),
    ],
    "a signal ends the waiting, a kill the holding": [
        ([0, "do", *opened("a"), taken("posix", "a"), taken("flock", "a")], [None] * 3),
        ([1, "begin", *opened("a"), waited("posix", "a")], None),
        ([2, "begin", *opened("a"), waited("flock", "a")], None),
        *(([who, verb], None) for who in (1, 2) for verb in ("blocked", "interrupt")),
        *(([who, "result"], [None, "EINTR"]) for who in (1, 2)),
        ([2, "begin", waited("ofd", "a")], None),
        ([2, "blocked"], None),
        ([0, "kill"], None),
        ([2, "result"], [None]),
        ([1, "do", taken("posix", "a"), taken("flock", "a")], ["EAGAIN", None]),
    ],
    "a circle of POSIX locks is found": [
        ([0, "do", *opened("a"), taken("posix", "a", "W", 0)], [None] * 2),
        ([1, "do", *opened("a"), taken("posix", "a", "W", 1)], [None] * 2),
        ([0, "begin", waited("posix", "a", "W", 1)], None),
        ([0, "blocked"], None),
        ([1, "do", waited("posix", "a")], [errno.errorcode[errno.EDEADLK]]),
        ([1, "do", ["close", "a"]], [None]),
        ([0, "result"], [None]),
    ],
}


@pytest.mark.parametrize("place", ["bare", "passthrough", "intercept"])
def test_the_rules_of_locks(mounts, folder, place):
    """What POSIX, fcntl(2) and flock(2) promise, there as here."""
    where = folder if place == "bare" else mounts(capture=place).dir
    for rule, turns in RULES.items():
        (where / "f").write_bytes(b"x")
        results = run_plan(where, 4, [turn for turn, _ in turns])
        for (turn, wanted), result in zip(turns, results):
            assert result == wanted, f"{rule}: {turn}"
        (where / "f").unlink()
