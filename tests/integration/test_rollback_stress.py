# SPDX-License-Identifier: MIT
"""Rollback journals under stress: after each transaction the log, replayed, is the database.

REPLITEDFS_SEED repeats a seed that is printed.
"""

import collections
import os
import random
import shutil
import sqlite3
import time

import pytest

from mount import assert_captured
from rollback_round import NAME, Round, assert_compared

SECONDS = float(os.environ.get("REPLITEDFS_STRESS_SECONDS", "20"))
N_STEPS = 250  # of one seed


def assert_sound(path):
    """SQLite's own check, of an unmounted database: no lock keeps that out."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


@pytest.fixture
def rounds(ram_mounts, follows, clients, folder):
    """Seed after seed, each on a mount of its own: rounds(seconds, capture)."""

    def run(seconds, capture, first=None, timed_kills=True, hooks=""):
        end = time.monotonic() + seconds
        seed = first if first is not None else random.randrange(1 << 30)
        counts = collections.Counter()
        while time.monotonic() < end:
            print(f"seed {seed}", flush=True)
            mount = ram_mounts(
                f"m{seed}",
                start=False,
                capture=capture,
                hooks=hooks,
                env={"REPLITEDFS_MOUNT_LOG_MAX_SIZE": "4GiB"},
            )
            follow = follows(mount)
            mount.start()
            one = Round(mount, follow, seed, clients, folder, timed_kills)
            try:
                one.run(N_STEPS, end)
            except BaseException:
                print(f"REPLITEDFS_SEED={seed} repeats it; the last:", *one.history, sep="\n")
                raise
            finally:
                one.clean_up()
            if one.kept_open:
                # Without hearing of any write the candidates come from the journals.
                told = mount.status()["upcalls"]["write"] > 0
                assert told == (capture == "intercept"), "not the road meant"
            mount.unmount()
            assert_captured(mount, NAME)
            assert_sound(mount.dir / NAME)
            print(f"    {'kept open, ' * one.kept_open}{dict(one.counts)}")
            shutil.rmtree(mount.root)
            counts += one.counts
            seed += 1
        assert_compared(counts)

    return run


def given_seed():
    """The one to repeat."""
    text = os.environ.get("REPLITEDFS_SEED")
    return int(text) if text else None


@pytest.mark.usefixtures("fine_times")
def test_after_each_transaction_the_log_is_the_database(rounds, road):
    """A database made on the mount stays on the passthrough road for as long as it is open."""
    rounds(SECONDS / 2, road, first=given_seed())


@pytest.mark.usefixtures("fine_times")
@pytest.mark.parametrize(
    "hook",
    [
        "no-journal-pages",
        "no-new-pages",
        "no-freelist-leaves",
        "no-first-page-check,no-quiet-check",  # each of the two finds what the other does
    ],
)
def test_without_one_of_the_terms_it_fails(rounds, hook):
    """Each of the rules by which candidates come from a journal is needed."""
    with pytest.raises(AssertionError, match="pages differ"):
        rounds(60, "passthrough", first=1, timed_kills=False, hooks=hook)
