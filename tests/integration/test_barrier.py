# SPDX-License-Identifier: MIT
"""The truncate barrier: no WAL is ever restarted before all of it has been captured."""

import json
import os
import pathlib
import random
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from mount import assert_captured, checkpointed_copy

HERE = pathlib.Path(__file__).parent
SECONDS = float(os.environ.get("REPLITEDFS_STRESS_SECONDS", "8"))
N_COMMITS = 100  # at least


def start_writer(database, seed, *options, seconds=SECONDS):
    """A writer in a process of its own."""
    return subprocess.Popen(
        [sys.executable, str(HERE / "writer.py"), str(database), str(seed), str(seconds), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def create(database):
    """A WAL-mode database with the writers' table."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    connection.close()


class Writers:
    """Writers of one database, ended with the block that they are used in."""

    def __init__(self, database, seed, options):
        self.database = database
        self.next_seed = seed * 1000
        self.options = options
        self.running = []
        self.commits, self.errors, self.killed = 0, [], 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for writer in self.running:
            writer.kill()
            writer.communicate()

    def start(self, seconds):
        """One more."""
        self.next_seed += 1
        self.running.append(
            start_writer(self.database, self.next_seed, *self.options, seconds=seconds)
        )

    def kill(self, writer):
        """kill -9, unless it ends by itself before."""
        writer.send_signal(signal.SIGKILL)
        self.end(writer)

    def end(self, writer):
        """Waits for its end, and takes in its report when it was not killed."""
        out = writer.communicate(timeout=120)[0]
        self.running.remove(writer)
        if writer.returncode == -signal.SIGKILL:
            self.killed += 1
            return
        assert writer.returncode == 0, f"a writer ended with {writer.returncode}"
        report = json.loads(out)
        self.commits += report["commits"]
        self.errors += report["errors"]


def run_writers(database, seed, n=3, kills=True, options=(), seconds=SECONDS):
    """Runs n writers and kills some of them now and then; returns commits and errors seen by the
    others."""
    chance = random.Random(seed)
    end = time.monotonic() + seconds
    with Writers(database, seed, options) as writers:
        while time.monotonic() < end:
            while len(writers.running) < n:
                writers.start(max(0.1, end - time.monotonic()))
            time.sleep(chance.uniform(0.1, 0.5))
            if kills and chance.random() < 0.7:
                writers.kill(chance.choice(writers.running))
        while writers.running:
            writers.end(writers.running[0])
    assert (writers.killed > 0) == kills, f"{writers.killed} were killed"
    # Those that are killed report nothing, and the others may have come too late.
    assert kills or writers.commits > 0, f"nothing was committed: {writers.errors[:5]}"
    return writers.commits, writers.errors


def check(mount, name):
    """Unmounts, and compares the replayed log with the database page by page."""
    unannounced = mount.database(name)["since_mount"]["unannounced_restarts"]
    mount.unmount()
    report = assert_captured(mount, name)
    copy = checkpointed_copy(mount.dir / name, mount.root / "copy.db")
    connection = sqlite3.connect(copy)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert unannounced == 0, f"{unannounced} restarts without a barrier: {report}"
    # A merged record would be a comparison that healed something.
    assert report["merged"] == 0, f"comparisons: {report}"
    # By those that were killed too.
    assert report["txid"] > N_COMMITS, f"hardly anything was committed: {report}"
    return report


@pytest.mark.parametrize("hooks", ["", "hold-tailer"], ids=["", "tailer-held"])
def test_every_page_right_under_mixed_writers(mounts, road, hooks):
    """3 writers, mixed levels, all checkpoint modes, kill -9: every page right."""
    pytest.importorskip("apsw", reason="needs a current SQLite for concurrent checkpointers")
    seed = random.randrange(1 << 20)
    print("seed", seed)
    mount = mounts(capture=road, hooks=hooks)
    create(mount.dir / "s.db")
    commits, errors = run_writers(mount.dir / "s.db", seed)
    report = check(mount, "s.db")
    print(f"{commits} commits reported, {report}")
    assert not errors, f"errors that a bare folder does not give: {errors[:5]}"


def test_without_the_barrier_the_test_fails(mounts):
    """The barrier is what makes it right: with it taken out, restarts go unannounced, and what was
    overwritten is found by comparison, if at all."""
    pytest.importorskip("apsw", reason="needs a current SQLite for concurrent checkpointers")
    mount = mounts(capture="passthrough", hooks="hold-tailer,no-barrier")
    create(mount.dir / "s.db")
    run_writers(mount.dir / "s.db", 7, n=2, kills=False, options=["sync=OFF"], seconds=3)
    with pytest.raises(AssertionError, match="without a barrier|comparisons|pages differ"):
        check(mount, "s.db")


def test_pages_right_on_the_old_sqlite(mounts, road):
    """The system's SQLite, which may damage itself with concurrent checkpointers: pages only."""
    mount = mounts(capture=road)
    create(mount.dir / "s.db")
    run_writers(mount.dir / "s.db", 3, options=["module=sqlite3", "checkpoints=no"])
    mount.unmount()
    assert assert_captured(mount, "s.db")["txid"] > N_COMMITS
