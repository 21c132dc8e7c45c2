# SPDX-License-Identifier: MIT
"""Measures a mount against the bare folder; scripts/bench starts it and cleans up after it.

Every ratio comes from interleaved samples: a round is bare, mount, bare (the two bare ones
take turns in going first), each on a new database. The round's ratio is the mount's speed over
the geometric mean of its two neighbours, so that a drift of the machine cancels; the two bare
samples over each other are the noise floor. Reported are the median over the rounds and its
95 % interval by bootstrap (percentiles of 4000 resamples).
"""

import argparse
import contextlib
import json
import math
import os
import pathlib
import platform
import random
import sqlite3
import statistics
import subprocess
import sys
import time
import typing

RESAMPLES = 4000
TICKS = os.sysconf("SC_CLK_TCK")



class Row(typing.NamedTuple):
    """What is measured, and the bars: on the default road, and on the road intercept."""

    name: str
    kind: str
    journal_mode: str
    synchronous: str
    warm_up: int
    bar: typing.Optional[float] = None
    intercept_bar: typing.Optional[float] = None


ROWS = [
    Row("commits, OFF", "commit", "WAL", "OFF", 10000, 0.80),
    Row("commits, NORMAL", "commit", "WAL", "NORMAL", 4000, 0.80),
    Row("commits, FULL", "commit", "WAL", "FULL", 200, 0.75, 0.30),
    Row("commits, NORMAL, one index", "indexed", "WAL", "NORMAL", 1500),
    Row("read transactions", "read", "WAL", "NORMAL", 60000, 0.95, 0.95),
    Row("bulk insert", "bulk", "WAL", "NORMAL", 50000),
    Row("open + query + close", "open", "WAL", "NORMAL", 5),
    Row("commits, FULL, DELETE", "commit", "DELETE", "FULL", 100, 0.50, 0.50),
    Row("commits, FULL, TRUNCATE", "commit", "TRUNCATE", "FULL", 100),
    Row("commits, FULL, PERSIST", "commit", "PERSIST", "FULL", 100),
    Row("read transactions, DELETE", "read", "DELETE", "NORMAL", 60000, 0.90, 0.90),
]
RESTORE = ("restore / (cp + fsync), time", 2.0)


def say(text):
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


# -- the folders


class Bare:
    """A folder as it is."""

    def __init__(self, path):
        self.dir = path
        self.dir.mkdir()

    def wait_closed(self):
        """Nobody has to hear of a close."""


class Mount:
    """A folder served by the program."""

    def __init__(self, args):
        self.program = args.program
        self.dir = args.work / "data"
        self.backup = args.backup
        self.dir.mkdir()
        (args.work / "sockets").mkdir()
        self.env = {
            **os.environ,
            "REPLITEDFS_MOUNT_CAPTURE": args.road,
            "REPLITEDFS_MOUNT_CONTROL_SOCKET_DIR": str(args.work / "sockets"),
        }

    def run(self, *words, check=True):
        """Runs a command of the program."""
        done = subprocess.run(
            [self.program, *map(str, words)],
            env=self.env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
        )
        if check and done.returncode != 0:
            sys.exit(f"replitedfs {words[0]}: exit {done.returncode}\n{done.stderr}")
        return done

    def start(self):
        """Mounts."""
        options = ["--backup", self.backup] if self.backup else []
        self.run("mount", *options, self.dir)

    def stop(self):
        """Unmounts, and waits for the daemon's end."""
        for _ in range(100):
            done = subprocess.run(["fusermount3", "-u", self.dir], capture_output=True, check=False)
            if done.returncode == 0:
                break
            time.sleep(0.1)
        subprocess.run(["flock", "-w", "60", self.dir / ".replitedfs" / "lock", "true"], check=False)

    def status(self):
        """What the daemon says of itself."""
        return json.loads(self.run("status", "--json", self.dir).stdout)

    def wait_closed(self):
        """Until the daemon has heard of the last close: the next open chooses the road anew."""
        end = time.monotonic() + 60
        while self.status()["open_files"] > 0:
            if time.monotonic() > end:
                sys.exit("a database is still open that its program has closed")
            time.sleep(0.001)


# -- samples


class Workload:
    """One run of bench_workload, at the point where it is ready to be measured."""

    def __init__(self, args, row, folder):
        self.process = subprocess.Popen(
            [args.workload, row.kind, row.journal_mode, row.synchronous,
             str(folder.dir / "bench.db"), str(row.warm_up)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        if row.journal_mode != "WAL":
            self.expect("made")
            folder.wait_closed()
            self.say("go on")
        self.expect("ready")

    def say(self, line):
        """Sends it a line."""
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def expect(self, word):
        """Waits until it has come so far."""
        if self.process.stdout.readline() != f"{word}\n":
            sys.exit("the workload failed")

    def measure(self, n):
        """Does n operations: seconds passed, seconds of CPU in user and in system mode."""
        self.say(n)
        line = self.process.stdout.readline()
        if not line:
            sys.exit("the workload failed")
        wall, user, system = map(int, line.split())
        return wall / 1e9, user / 1e6, system / 1e6

    def end(self):
        """Lets it close and remove its database."""
        self.process.stdin.close()
        self.process.wait()


@contextlib.contextmanager
def workload(*args):
    """A workload that ends with the block."""
    running = Workload(*args)
    try:
        yield running
    finally:
        running.end()


def sample(args, row, folder, n):
    """Seconds for n operations on a new database."""
    with workload(args, row, folder) as running:
        return running.measure(n)[0]


def choose_n(args, row, folder):
    """How many operations take about as long as a sample should."""
    n = 20
    while True:
        seconds = sample(args, row, folder, n)
        if seconds > args.seconds / 4 or n > 10_000_000:
            return max(10, int(n * args.seconds / seconds))
        n = int(n * min(10, 1 + args.seconds / 2 / max(seconds, 1e-6)))


# -- statistics


def bootstrap(logs):
    """The median of ratios given as logarithms, and its 95 % interval."""
    chance = random.Random(1)
    medians = sorted(
        statistics.median(chance.choices(logs, k=len(logs))) for _ in range(RESAMPLES)
    )
    low, high = medians[int(0.025 * RESAMPLES)], medians[int(0.975 * RESAMPLES) - 1]
    return {
        "ratio": math.exp(statistics.median(logs)), "low": math.exp(low), "high": math.exp(high),
    }


def judge(result, bar):
    """PASS when the whole interval reaches the bar, or its middle does and it is narrow."""
    if bar is None:
        return ""
    if result["low"] >= bar:
        return "PASS"
    narrow = result["high"] - result["low"] < 0.10
    if result["ratio"] >= bar and narrow:
        return "PASS"
    return "FAIL" if result["high"] < bar or narrow else "unclear"


def judge_time(result, bar):
    """As judge(), where less is better."""
    if result["high"] <= bar:
        return "PASS"
    return "FAIL" if result["low"] > bar else "unclear"


# -- the parts of the bench


def compare(args, mount, row):
    """One row of the table."""
    bar = row.intercept_bar if args.road == "intercept" else row.bar
    n = choose_n(args, row, args.bare)
    ratios, floors, bare_times, mount_times = [], [], [], []
    for i in range(args.pairs):
        first, second = (args.bare, args.bare2) if i % 2 else (args.bare2, args.bare)
        before = sample(args, row, first, n)
        middle = sample(args, row, mount, n)
        after = sample(args, row, second, n)
        ratios.append((math.log(before) + math.log(after)) / 2 - math.log(middle))
        floors.append(math.log(before / after) if i % 2 else math.log(after / before))
        bare_times += [before, after]
        mount_times.append(middle)
    result = {
        "row": row.name, "bar": bar, "pairs": args.pairs, "operations": n,
        "bare_per_s": n / statistics.median(bare_times),
        "mount_per_s": n / statistics.median(mount_times),
        **bootstrap(ratios), "bare": bootstrap(floors),
    }
    result["verdict"] = judge(result, bar)
    return result


def cpu_s(pid):
    """User and system time of a process so far, in seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) / TICKS, int(fields[12]) / TICKS


class Snapshot:
    """The counters at one moment."""

    def __init__(self, mount):
        status = mount.status()
        self.upcalls = status["upcalls"]
        self.log = status["log"]["bytes"]
        self.txid = sum(database["txid"] for database in status["databases"])
        self.daemon = cpu_s(status["pid"])
        self.supervisor = cpu_s(status["supervisor_pid"])


def costs(args, mount, row):
    """What one transaction in a steady state costs in upcalls, CPU time and log."""
    with workload(args, row, mount) as running:
        seconds = running.measure(500)[0]
        n = max(500, int(500 * args.seconds * 6 / seconds))
        Snapshot(mount)
        before = Snapshot(mount)
        wall, user, system = running.measure(n)
        time.sleep(0.1)
        after = Snapshot(mount)
    with workload(args, row, args.bare) as running:
        _, bare_user, bare_system = running.measure(n)
    upcalls = {
        kind: after.upcalls[kind] - before.upcalls[kind]
        for kind in after.upcalls if after.upcalls[kind] != before.upcalls[kind]
    }

    def per_us(later, earlier):
        return [1e6 * (b - a) / n for a, b in zip(earlier, later)]

    return {
        "row": row.name, "kind": row.kind, "road": args.road, "synchronous": row.synchronous,
        "operations": n, "seconds": wall, "transactions": after.txid - before.txid, "upcalls": upcalls,
        "log_bytes": (after.log - before.log) / n,
        "daemon_us": per_us(after.daemon, before.daemon),
        "supervisor_us": per_us(after.supervisor, before.supervisor),
        "program_us": [1e6 * user / n, 1e6 * system / n],
        "program_bare_us": [1e6 * bare_user / n, 1e6 * bare_system / n],
    }


def judge_upcalls(cost):
    """Reads: none, but for a page that the kernel has dropped.

    Commits, steady NORMAL: fsync, truncate, the attribute reads that follow; none per commit.
    After each SETATTR or GETATTR Linux asks once, at the next write, for security.capability:
    at most that many xattr upcalls are attribute reads that follow.
    """
    upcalls = cost["upcalls"]
    if cost["kind"] == "read":
        return "PASS" if sum(upcalls.values()) <= cost["operations"] / 1000 else "FAIL"
    if cost["synchronous"] != "NORMAL" or cost["road"] == "intercept":
        return ""
    strangers = set(upcalls) - {"fsync", "setattr", "getattr", "xattr"}
    refreshed = upcalls.get("setattr", 0) + upcalls.get("getattr", 0)
    few = sum(upcalls.values()) <= cost["operations"] / 20
    fine = not strangers and few and upcalls.get("xattr", 0) <= refreshed + 1
    return "PASS" if fine else "FAIL"


def timed_copy(source, to):
    """Seconds of cp and fsync."""
    to.unlink(missing_ok=True)
    start = time.monotonic()
    subprocess.run(["cp", source, to], check=True)
    descriptor = os.open(to, os.O_RDWR)
    os.fsync(descriptor)
    os.close(descriptor)
    return time.monotonic() - start


def timed_restore(args, mount, source, to):
    """Seconds of a restore."""
    to.unlink(missing_ok=True)
    start = time.monotonic()
    done = mount.run(
        "restore", "--from", source, "--db", "restore.db", "--output", to, check=False
    )
    seconds = time.monotonic() - start
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().replace("\n", "; "))
    return seconds


def make_database(path, size):
    """A database of about size bytes, with rows as programs have them."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, at TEXT, v BLOB)")
    chance = random.Random(1)
    for _ in range(size // 1_000_000):
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO t(at, v) VALUES(datetime(), ?)",
            ((chance.randbytes(150) + bytes(50),) for _ in range(4200)),
        )
        connection.execute("COMMIT")
    connection.close()


def is_shipped(mount):
    """Whether every backend has all of the database."""
    for database in mount.status()["databases"]:
        if database["name"] == "restore.db":
            shipped = database["backends"]
            return bool(shipped) and all(
                database["position"] in (one.get("position"), one.get("stored")) for one in shipped
            )
    return False


def compare_restore(args, mount):
    """Restore against cp + fsync, alternating."""
    if "restore" not in mount.run("--help", check=False).stdout:
        say("restore: left out, the program has no such command")
        return None
    make_database(mount.dir / "restore.db", args.restore_mb * 1_000_000)
    source = mount.dir
    if mount.backup:
        end = time.monotonic() + 60
        while not is_shipped(mount) and time.monotonic() < end:
            time.sleep(0.2)
        source = mount.backup
    logs, floors = [], []
    copy, restored = args.bare.dir / "copy.db", args.bare.dir / "restored.db"
    try:
        timed_restore(args, mount, source, restored)
        for _ in range(max(5, args.pairs // 2)):
            before = timed_copy(mount.dir / "restore.db", copy)
            middle = timed_restore(args, mount, source, restored)
            after = timed_copy(mount.dir / "restore.db", copy)
            logs.append(math.log(middle) - (math.log(before) + math.log(after)) / 2)
            floors.append(math.log(after / before))
    except RuntimeError as error:
        say(f"restore: left out: {error}")
        return None
    finally:
        for path in (copy, restored, mount.dir / "restore.db"):
            path.unlink(missing_ok=True)
    result = {
        "row": RESTORE[0], "bar": RESTORE[1], "pairs": len(logs), "megabytes": args.restore_mb,
        "source": "backend" if mount.backup else "local log",
        **bootstrap(logs), "bare": bootstrap(floors),
    }
    result["verdict"] = judge_time(result, RESTORE[1])
    return result


# -- output


def file_system_of(path):
    """The kind of file system that path is on."""
    done = subprocess.run(
        ["findmnt", "-n", "-o", "FSTYPE", "-T", path], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def about(args, mount):
    """What was measured, and on what."""
    status = mount.status()
    return {
        "version": status["version"], "road": args.road,
        "passthrough": status["capture"]["passthrough"], "backup": bool(args.backup),
        "kernel": platform.release(), "cores": os.cpu_count(),
        "file_system": file_system_of(args.work), "sqlite": sqlite3.sqlite_version,
        "libfuse": args.libfuse, "load": os.getloadavg()[0],
        "pairs": args.pairs, "sample_s": args.seconds,
    }


def spread(result):
    """A ratio and its interval as text."""
    return f"{result['ratio']:5.2f}  {result['low']:.2f}–{result['high']:.2f}"


def print_head(facts):
    """What is measured, in one line."""
    print(
        f"replitedfs {facts['version']}, road {facts['road']}"
        f"{', folder backend' if facts['backup'] else ''}; Linux {facts['kernel']}, "
        f"{facts['cores']} cores, {facts['file_system']}, SQLite {facts['sqlite']}, "
        f"libfuse {facts['libfuse']}; load {facts['load']:.1f}\n"
        f"speed of the mount over the bare folder: median and 95 % interval (bootstrap) of "
        f"{facts['pairs']} pairs of {facts['sample_s']} s\n"
    )
    print(
        f"{'':30} {'ratio':>5}  {'interval':9}  {'bare/bare':16}  {'bare/s':>8} "
        f"{'mount/s':>8}  {'bar':>5}", flush=True,
    )


def print_row(result):
    """One line of the table."""
    bar = f"{result['bar']:.2f}" if result["bar"] else ""
    bare = f"{result['bare_per_s']:8.0f}" if "bare_per_s" in result else " " * 8
    mount = f"{result['mount_per_s']:8.0f}" if "mount_per_s" in result else " " * 8
    print(
        f"{result['row']:30} {spread(result)}  {spread(result['bare']):16}  {bare} {mount}  "
        f"{bar:>5}  {result['verdict']}", flush=True,
    )


def print_costs(cost):
    """One workload's cost per transaction."""
    daemon, supervisor = cost["daemon_us"], cost["supervisor_us"]
    with_mount, bare = cost["program_us"], cost["program_bare_us"]
    upcalls = ", ".join(
        f"{kind} {count / cost['operations']:.4f}" for kind, count in cost["upcalls"].items()
    )
    print(
        f"{cost['row']:30} upcalls {upcalls or 'none'}  {judge_upcalls(cost)}\n"
        f"{'':30} daemon {daemon[0]:.1f} + {daemon[1]:.1f} µs (user + system), "
        f"supervisor {sum(supervisor):.1f} µs, program {sum(with_mount):.1f} µs "
        f"(bare {sum(bare):.1f}), log {cost['log_bytes']:.0f} bytes", flush=True,
    )


def parse():
    """The arguments, as scripts/bench describes them."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--program", required=True)
    parser.add_argument("--workload", required=True)
    parser.add_argument("--libfuse", default="?")
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--road", choices=["auto", "passthrough", "intercept"], default="auto")
    parser.add_argument("--pairs", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", default="")
    parser.add_argument("--no-costs", action="store_true")
    parser.add_argument("--backup")
    parser.add_argument("--restore-mb", type=int, default=100)
    parser.add_argument("--json")
    args = parser.parse_args()
    if args.quick:
        args.pairs, args.seconds, args.restore_mb = min(args.pairs, 7), 0.2, 20
    return args


def chosen(args):
    """The rows whose name contains one of the words of --rows."""
    words = [word for word in args.rows.split(",") if word]
    return [row for row in ROWS if not words or any(word in row.name for word in words)]


def main():
    """Runs the bench; 1 when a bar is missed."""
    args = parse()
    args.bare, args.bare2 = Bare(args.work / "bare"), Bare(args.work / "bare2")
    mount = Mount(args)
    mount.start()
    facts = about(args, mount)
    results, cost_results = [], []
    try:
        print_head(facts)
        for row in chosen(args):
            results.append(compare(args, mount, row))
            print_row(results[-1])
        restore = None
        if not args.rows or "restore" in args.rows:
            restore = compare_restore(args, mount)
        if restore:
            results.append(restore)
            print_row(restore)
        if not args.no_costs:
            print("\nper transaction, in a steady state")
            for row in chosen(args):
                if row.kind in ("commit", "indexed", "read"):
                    cost_results.append(costs(args, mount, row))
                    print_costs(cost_results[-1])
    finally:
        mount.stop()
    if args.json:
        document = {"about": facts, "rows": results, "costs": cost_results}
        pathlib.Path(args.json).write_text(json.dumps(document, indent=2) + "\n")
    verdicts = [result["verdict"] for result in results] + list(map(judge_upcalls, cost_results))
    return 1 if "FAIL" in verdicts else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
