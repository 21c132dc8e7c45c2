# SPDX-License-Identifier: MIT
"""Which road the bytes of a database take, told by the calls that reach the daemon."""

import pytest

from clients import INSERT, TABLE, close
from mount import assert_captured

SELECT = "SELECT v FROM t WHERE id = 7"


@pytest.fixture
def mount(mounts):
    """A mount with passthrough; else there is only one road."""
    made = mounts()
    if not made.status()["capture"]["passthrough"]:
        pytest.skip("no passthrough on this machine")
    return made


def calls(mount, work):
    """What reaches the daemon while work() runs, by kind."""
    before = mount.status()["upcalls"]
    work()
    after = mount.status()["upcalls"]
    return {kind: after[kind] - before[kind] for kind in after}


def busy_writer(client):
    """Commits that checkpoint all the time."""

    def work():
        client.sql("PRAGMA wal_autocheckpoint=10")
        client.many(300, INSERT)

    return work


def test_made_here_and_switched_to_wal_keeps_passthrough(mount, clients):
    """A connection that makes a database and stays open has the fast road for its WAL mode."""
    client = clients(mount.dir / "a.db")
    client.sql("PRAGMA journal_mode=WAL")
    client.sql(TABLE)
    seen = calls(mount, busy_writer(client))
    assert seen["write"] == 0 and seen["read"] == 0, seen
    close(client)
    client = clients(mount.dir / "a.db")
    client.sql(SELECT)
    seen = calls(mount, busy_writer(client))
    assert seen["write"] == 0 and seen["read"] == 0, seen
    close(client)
    mount.unmount()
    assert_captured(mount, "a.db", merged=0)


def test_rollback_mode_reads_from_the_page_cache(mount, clients):
    """Opened as a rollback-mode database: reads cost no call, commits write through the daemon."""
    path = mount.dir / "a.db"
    client = clients(path)
    client.sql(TABLE)
    client.many(100, INSERT)
    close(client)
    client = clients(path)
    client.sql(SELECT)
    seen = calls(mount, lambda: client.many(500, SELECT))
    assert sum(seen.values()) < 20, seen
    seen = calls(mount, lambda: client.many(50, INSERT))
    assert seen["write"] >= 50 and seen["read"] < 10, seen
    close(client)
    mount.unmount()
    assert_captured(mount, "a.db", merged=0)


def test_the_road_is_chosen_anew_when_nobody_has_it_open(mount, clients):
    """Switched to WAL under the page cache, a database goes there until its last close."""
    path = mount.dir / "a.db"
    client = clients(path)
    client.sql(TABLE)
    close(client)
    client = clients(path)
    client.sql("PRAGMA journal_mode=WAL")
    assert mount.database("a.db")["mode"] == "wal"
    seen = calls(mount, busy_writer(client))
    assert seen["write"] > 0, seen
    close(client)
    client = clients(path)
    client.sql(SELECT)
    seen = calls(mount, busy_writer(client))
    assert seen["write"] == 0, seen
    close(client)
    mount.unmount()
    assert_captured(mount, "a.db", merged=0)
