# SPDX-License-Identifier: MIT
"""A folder backend: what is shipped restores, what is damaged is named, what is another's is kept."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys

import pytest

from mount import differing_pages, checkpointed_copy, run_cli, wait_for

EX_DATAERR = 65


ENDLESS_WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=WAL").fetchall()
connection.execute("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, v)")
while True:
    connection.execute("INSERT INTO t(v) VALUES(randomblob(400))")
    print(end=".", flush=True)
"""


def connect(mount, name):
    """A WAL-mode connection to a database on the mount."""
    connection = sqlite3.connect(mount.dir / name, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, v)")
    return connection


def insert(connection, n=50):
    """n transactions of one row each."""
    for _ in range(n):
        connection.execute("INSERT INTO t(v) VALUES(randomblob(400))")


def wait_stored(mount, name):
    """Waits until the backend has all of the database, and returns its position."""
    mount.settle(name)
    wait_for(lambda: mount.stored(name), f"the backend to have all of {name}\n{mount.log()}")
    return mount.database(name)["position"]


def restore(source, output, *args, check=True, **options):
    """`restore --json`, parsed (the error if it failed)."""
    done = run_cli(
        "restore", "--from", source, "--output", output, "--json", *args, check=check, **options
    )
    return json.loads(done.stdout)


def objects(mount, kind):
    """The stored objects of a kind, oldest first."""
    found = [path for path in mount.backup.glob(f"*/{kind}/**/*") if path.is_file()]
    return sorted(found)


def flip(path, at=-40):
    """Damages one byte."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.write_bytes(data)


def test_shipped_while_in_use_restores_equal(mounts, road, folder):
    """What the backend has restores to the database page by page, while it is in use."""
    mount = mounts(capture=road, backup=True)
    connection = connect(mount, "a.db")
    insert(connection, 300)
    position = wait_stored(mount, "a.db")
    result = restore(mount.backup, folder / "out.db", "--db", "a.db")
    assert result["position"] == position
    checkpointed_copy(mount.dir / "a.db", folder / "now.db")
    assert differing_pages(folder / "now.db", folder / "out.db") == []
    connection.close()


def test_an_unmount_ships_the_rest(mounts, folder):
    """What was committed last is in the backend when the daemon has gone."""
    mount = mounts(backup=True, env={"REPLITEDFS_BACKEND_BACKUP_SYNC_INTERVAL": "1h"})
    connection = connect(mount, "a.db")
    insert(connection, 100)
    connection.close()
    mount.unmount()
    restore(mount.backup, folder / "out.db")
    assert differing_pages(mount.dir / "a.db", folder / "out.db") == []


def test_status_tells_everything_while_the_rest_is_shipped(mounts, folder):
    """Between the unmount and the daemon's end, what it says of the mount is still there."""
    mount = mounts(backup=True)
    connection = connect(mount, "a.db")
    wait_stored(mount, "a.db")
    before = mount.status()
    mount.backup.rename(folder / "away")
    insert(connection)
    connection.close()
    subprocess.run(["fusermount3", "-u", mount.dir], check=True)
    wait_for(lambda: '"draining"' in (mount.state / "lock").read_text(), "the drain")
    during = mount.status()
    assert during["capture"] == before["capture"]
    assert all(during["upcalls"][kind] >= n for kind, n in before["upcalls"].items()), during
    (folder / "away").rename(mount.backup)
    mount.unmount()
    restore(mount.backup, folder / "out.db")
    assert differing_pages(mount.dir / "a.db", folder / "out.db") == []


def test_a_killed_daemon_goes_on_where_it_was(mounts, folder):
    """kill -9 of everything in the middle of shipping; the next mount ships the rest."""
    mount = mounts(backup=True)
    for _ in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", ENDLESS_WRITER, mount.dir / "a.db"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        writer.stdout.read(60)
        mount.kill()
        writer.kill()
        writer.communicate()
        mount.start()
    connection = connect(mount, "a.db")
    insert(connection, 10)
    wait_stored(mount, "a.db")
    connection.close()
    mount.unmount()
    restore(mount.backup, folder / "out.db")
    assert differing_pages(mount.dir / "a.db", folder / "out.db") == []


def test_databases_in_folders_restore_all_at_once(mounts, folder):
    """--all restores every database under its own name."""
    mount = mounts(backup=True)
    names = ["a.db", "tenants/1/main.db", "tenants/2/main.db", "odd name +ü.db"]
    for name in names:
        (mount.dir / name).parent.mkdir(parents=True, exist_ok=True)
        connection = connect(mount, name)
        insert(connection, 20)
        connection.close()
        wait_stored(mount, name)
    mount.unmount()
    for source, where in ((mount.backup, "from-backup"), (mount.dir, "from-log")):
        restore(source, folder / where, "--all", env=mount.env)
        for name in names:
            assert differing_pages(mount.dir / name, folder / where / name) == []


def test_a_restore_never_overwrites(mounts, folder):
    """An existing output stays as it is without --force."""
    mount = mounts(backup=True)
    connection = connect(mount, "a.db")
    insert(connection)
    wait_stored(mount, "a.db")
    connection.close()
    (folder / "out.db").write_text("precious")
    done = run_cli("restore", "--from", mount.backup, "--output", folder / "out.db", check=False)
    assert done.returncode == 73 and "--force" in done.stderr, done.stderr
    assert (folder / "out.db").read_text() == "precious"
    restore(mount.backup, folder / "out.db", "--force")
    assert sqlite3.connect(folder / "out.db").execute("SELECT count(*) FROM t").fetchone() == (50,)


def test_a_restore_never_touches_a_live_database(mounts):
    """Restoring over a database that is open on the mount is refused, --force or not."""
    mount = mounts(backup=True)
    connection = connect(mount, "a.db")
    insert(connection)
    wait_stored(mount, "a.db")
    before = (mount.dir / "a.db").stat().st_ino
    done = run_cli(
        "restore", "--from", mount.backup, "--output", mount.dir / "a.db", "--force", check=False
    )
    assert done.returncode != 0, done.stdout
    assert (mount.dir / "a.db").stat().st_ino == before
    insert(connection)
    connection.close()


def test_a_corrupt_segment_is_named_with_what_still_restores(mounts, folder):
    """A flipped byte: exit 65, the object, and up to where a restore goes; and it does."""
    mount = mounts(backup=True, env={"REPLITEDFS_BACKEND_BACKUP_SYNC_INTERVAL": "10ms"})
    connection = connect(mount, "a.db")
    for _ in range(4):
        insert(connection, 20)
        wait_stored(mount, "a.db")
    connection.close()
    mount.unmount()
    segments = objects(mount, "segment")
    assert len(segments) >= 3
    flip(segments[-1])
    done = run_cli(
        "restore", "--from", mount.backup, "--output", folder / "out.db", check=False
    )
    assert done.returncode == EX_DATAERR, done.stderr
    assert segments[-1].name in done.stderr, done.stderr
    assert "--txid" in done.stderr, done.stderr
    assert not (folder / "out.db").exists()
    txid = done.stderr.split("--txid", 1)[1].split()[0].strip("'`,.")
    restore(mount.backup, folder / "out.db", "--txid", txid)
    done = run_cli("verify", mount.backup, check=False)
    assert done.returncode == EX_DATAERR, done.stdout + done.stderr


def test_a_truncated_manifest_loses_nothing(mounts, folder):
    """The manifest can be made anew from what is there; the damage is reported."""
    mount = mounts(backup=True)
    connection = connect(mount, "a.db")
    insert(connection, 100)
    wait_stored(mount, "a.db")
    connection.close()
    mount.unmount()
    (manifest,) = mount.backup.glob("*/manifest")
    manifest.write_bytes(manifest.read_bytes()[:-10])
    result = restore(mount.backup, folder / "out.db")
    assert result["warning"], result
    assert differing_pages(mount.dir / "a.db", folder / "out.db") == []
    # A mount goes on with it.
    mount.start()
    connection = connect(mount, "a.db")
    insert(connection, 10)
    wait_stored(mount, "a.db")
    connection.close()
    mount.unmount()
    restore(mount.backup, folder / "out.db", "--force")
    assert differing_pages(mount.dir / "a.db", folder / "out.db") == []


def test_a_missing_segment_is_said(mounts, folder):
    """A hole in the history is an error that says up to where it goes."""
    mount = mounts(backup=True, env={"REPLITEDFS_BACKEND_BACKUP_SYNC_INTERVAL": "10ms"})
    connection = connect(mount, "a.db")
    for _ in range(4):
        insert(connection, 20)
        wait_stored(mount, "a.db")
    connection.close()
    mount.unmount()
    segments = objects(mount, "segment")
    os.unlink(segments[len(segments) // 2])
    done = run_cli("restore", "--from", mount.backup, "--output", folder / "out.db", check=False)
    assert done.returncode == EX_DATAERR, done.stderr
    assert not (folder / "out.db").exists()


def test_a_copied_folder_does_not_write_into_the_first_ones_backup(mounts, folder):
    """A folder copied with its state is another node: the backend's owner is kept."""
    first = mounts(name="first", env={"REPLITEDFS_MOUNT_STATE_DIR": ""}, backup=True)
    connection = connect(first, "a.db")
    insert(connection)
    wait_stored(first, "a.db")
    connection.close()
    first.unmount()
    second = mounts(name="second", start=False, env={"REPLITEDFS_MOUNT_STATE_DIR": ""})
    shutil.rmtree(second.dir)
    shutil.copytree(first.dir, second.dir)
    second.backup = first.backup
    second.start()
    connection = connect(second, "a.db")
    insert(connection)
    error = wait_for(
        lambda: second.database("a.db")["backends"][0]["error"], "the second writer's refusal"
    )
    assert "belongs to" in error, error
    connection.close()
    second.unmount()
    restore(first.backup, folder / "out.db")
    assert differing_pages(first.dir / "a.db", folder / "out.db") == []


def test_a_backend_that_goes_away_catches_up_when_it_is_back(mounts, folder):
    """While it is away the app notices nothing, status says so, then it heals by itself."""
    mount = mounts(backup=True, env={"REPLITEDFS_BACKEND_BACKUP_RETRY_MAX": "500ms"})
    connection = connect(mount, "a.db")
    insert(connection)
    wait_stored(mount, "a.db")
    away = folder / "away"
    mount.backup.rename(away)
    insert(connection, 100)
    wait_for(lambda: mount.database("a.db")["backends"][0]["error"] or
             mount.status()["backends"][0]["error"], "the error in status")
    insert(connection, 100)
    away.rename(mount.backup)
    wait_stored(mount, "a.db")
    connection.close()
    mount.unmount()
    restore(mount.backup, folder / "out.db")
    assert differing_pages(mount.dir / "a.db", folder / "out.db") == []


def test_a_lost_cursor_is_found_again(mounts, folder):
    """The cursor is a convenience: without it the backend is asked."""
    mount = mounts(backup=True)
    connection = connect(mount, "a.db")
    insert(connection)
    wait_stored(mount, "a.db")
    connection.close()
    mount.unmount()
    shutil.rmtree(mount.state / "backend")
    n_before = len(objects(mount, "segment"))
    mount.start()
    connection = connect(mount, "a.db")
    insert(connection, 10)
    wait_stored(mount, "a.db")
    connection.close()
    mount.unmount()
    assert len(objects(mount, "segment")) <= n_before + 3
    restore(mount.backup, folder / "out.db")
    assert differing_pages(mount.dir / "a.db", folder / "out.db") == []


def test_an_ended_database_still_restores(mounts, folder):
    """Deleting a database does not delete its backup; a new one of that name is another."""
    mount = mounts(backup=True)
    connection = connect(mount, "a.db")
    insert(connection, 30)
    wait_stored(mount, "a.db")
    connection.close()
    kept = folder / "kept.db"
    shutil.copyfile(mount.dir / "a.db", kept)
    first_id = mount.database("a.db")["id"]
    os.unlink(mount.dir / "a.db")
    connection = connect(mount, "a.db")
    insert(connection, 3)
    wait_stored(mount, "a.db")
    assert mount.database("a.db")["id"] != first_id
    connection.close()
    mount.unmount()
    restore(mount.backup, folder / "out.db", "--db", first_id)
    assert differing_pages(kept, folder / "out.db") == []


def test_list_and_verify_say_what_is_there(mounts):
    """JSON for programs; verify restores and runs integrity_check."""
    mount = mounts(backup=True)
    connection = connect(mount, "a.db")
    insert(connection, 30)
    position = wait_stored(mount, "a.db")
    for source in (mount.backup, mount.dir):
        listed = json.loads(run_cli("list", "--json", source, env=mount.env).stdout)
        (database,) = [d for d in listed["databases"] if d["name"] == "a.db"]
        latest = database["latest"]
        assert f"{latest['generation']}:{latest['txid']}" == position, database
        verified = json.loads(run_cli("verify", "--json", source, env=mount.env).stdout)
        (result,) = verified["databases"]
        assert result["ok"] and result["integrity_check"] == "ok", result
        assert result["position"] == position
    connection.close()


def test_verify_needs_no_files_without_a_name(mounts):
    """The mount has no O_TMPFILE, as a scratch folder's filesystem may have none."""
    mount = mounts(backup=True)
    connection = connect(mount, "a.db")
    insert(connection, 5)
    wait_stored(mount, "a.db")
    for source in (mount.backup, mount.dir):
        done = run_cli("verify", source, "--scratch", mount.dir, env=mount.env)
        assert "integrity_check ok" in done.stdout
    assert not [path for path in mount.dir.iterdir() if path.name.startswith(".")]
    connection.close()


def test_a_missing_backend_folder_is_refused_at_the_mount(mounts, folder):
    """No disk mounted there: say so, rather than fill the bare mountpoint."""
    mount = mounts(start=False)
    mount.options = ["--backup", str(folder / "nowhere")]
    done = mount.start(check=False)
    assert done.returncode != 0 and "nowhere" in done.stderr and "fix:" in done.stderr


@pytest.mark.parametrize("n", [3])
def test_many_databases_share_one_uploader(mounts, folder, n):
    """Dozens of databases written at once all arrive."""
    mount = mounts(backup=True)
    names = [f"{i}/d{k}.db" for i in range(n) for k in range(15)]
    connections = []
    for name in names:
        (mount.dir / name).parent.mkdir(exist_ok=True)
        connections.append(connect(mount, name))
    for connection in connections:
        insert(connection, 5)
    for name in names:
        wait_stored(mount, name)
    for connection in connections:
        connection.close()
    mount.unmount()
    restore(mount.backup, folder / "all", "--all")
    for name in names:
        assert differing_pages(mount.dir / name, folder / "all" / name) == []
