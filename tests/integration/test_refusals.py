# SPDX-License-Identifier: MIT
"""What cannot work is refused in one clear error: what, why, fix, exit code; nothing is lost."""

import contextlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess

import pytest

from clients import INSERT, close, make_database
from mount import BIN, list_state_logs, make_ext4, mounted_at, run_cli, wait_for

USAGE, DATA, NO_INPUT, UNAVAILABLE, OS_ERROR = 64, 65, 66, 69, 71
CANNOT_CREATE, BUSY, NO_PERMISSION, CONFIG = 73, 75, 77, 78


def assert_refused(done, code, *words):
    """One error in the program's form, with these words in it; nothing was mounted."""
    assert done.returncode == code, f"exit {done.returncode}: {done.stderr}"
    assert done.stdout == "", done.stdout
    lines = done.stderr.splitlines()
    assert lines and lines[0].startswith("replitedfs: "), done.stderr
    assert sum(line.startswith("replitedfs: ") for line in lines) == 1, done.stderr
    for word in words:
        assert str(word) in done.stderr, f"{word!r} is missing in: {done.stderr}"


def filled(mounts, clients, n=20):
    """A mount with one database of n rows, unmounted again."""
    mount = mounts()
    close(make_database(clients, mount.dir / "a.db", rows=n))
    mount.unmount()
    return mount


def assert_nothing_lost(mount, n=20):
    """The bare database is whole, and the folder is not mounted."""
    assert not mounted_at(mount.dir)
    connection = sqlite3.connect(mount.dir / "a.db")
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (n,)
    connection.close()


def in_a_namespace(mount, script, *arguments):
    """Runs the mount command in a mount namespace of its own, after a shell script there."""
    return subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c"]
        + [f'{script} && exec "$0" "$@"', BIN, "mount", *arguments, str(mount.dir)],
        env={**os.environ, **mount.env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


# -- what to mount


def test_missing_folder(folder):
    """And how to make it."""
    done = run_cli("mount", folder / "nothing", check=False)
    assert_refused(done, NO_INPUT, "does not exist", "fix: mkdir", "nothing")


def test_a_file_as_mountpoint(folder):
    """A folder is served, not a database."""
    (folder / "file.db").write_text("x")
    done = run_cli("mount", folder / "file.db", check=False)
    assert_refused(done, USAGE, "not a folder", "why:", "fix:")


def test_no_folder_at_all():
    """The usage is named."""
    assert_refused(run_cli("mount", check=False), USAGE, "which folder", "fix:")


def test_an_unknown_option(folder):
    """With the nearest known one."""
    done = run_cli("mount", "--bakup", "/x", folder, check=False)
    assert_refused(done, USAGE, "--bakup", "--backup")


def test_an_unknown_mount_option(folder):
    """Those that are known are listed."""
    done = run_cli("mount", "-o", "allow_others", folder, check=False)
    assert_refused(done, USAGE, "allow_others", "fix:")


def test_an_unknown_command():
    """Not taken for something else."""
    assert_refused(run_cli("mont", "/x", check=False), USAGE, "mont")


def test_already_served(mounts):
    """By which process, and how to look at it."""
    mount = mounts()
    done = mount.start(check=False)
    assert_refused(done, BUSY, "already served", "fix: replitedfs status")
    assert any(f"pid {pid} " in done.stderr for pid in mount.pids)


def test_a_folder_inside_a_mount(mounts):
    """It is served already, as part of the whole."""
    mount = mounts()
    (mount.dir / "sub").mkdir()
    done = run_cli("mount", mount.dir / "sub", env=mount.env, check=False)
    assert_refused(done, BUSY, "served already", "fix:")


def test_the_same_folder_at_another_place(mounts, folder):
    """One folder has one mount."""
    mount = mounts()
    (folder / "elsewhere").mkdir()
    elsewhere = folder / "elsewhere"
    done = run_cli("mount", "--backing", mount.dir, elsewhere, env=mount.env, check=False)
    assert_refused(done, CONFIG, "state folder")
    assert not mounted_at(folder / "elsewhere")


def test_the_mount_seen_at_another_place(mounts):
    """A bind mount of it is no folder to serve."""
    mount = mounts()
    inner = mounts("second", start=False)
    subprocess.run(["mount", "--bind", str(mount.dir), str(inner.dir)], check=True)
    try:
        done = inner.start(check=False)
        assert done.returncode == BUSY, done.stderr
    finally:
        subprocess.run(["umount", str(inner.dir)], check=True)


def test_a_database_that_is_open_elsewhere(mounts, clients):
    """Which process has which file."""
    mount = filled(mounts, clients)
    holder = clients(mount.dir / "a.db")
    holder.sql("SELECT count(*) FROM t")
    done = mount.start(check=False)
    assert_refused(done, BUSY, f"pid {holder.pid}", "a.db", "why:", "fix:")
    assert holder.sql("SELECT count(*) FROM t") == [[20]]
    holder.close()
    mount.start()


# -- the configuration


def refused_config(folder, text, *words):
    """The configuration is refused with file and line, by mount and by config alike."""
    path = folder / "replitedfs.ini"
    path.write_text(text)
    path.chmod(0o600)
    (folder / "data").mkdir(exist_ok=True)
    done = run_cli("mount", "--config", path, folder / "data", check=False)
    assert_refused(done, CONFIG, "replitedfs.ini:", *words)
    assert_refused(run_cli("config", path, check=False), CONFIG, "replitedfs.ini:", *words)


def test_an_unknown_key(folder):
    """With the line and the nearest known key."""
    refused_config(folder, "[mount]\ncaptur = auto\n", ":2:", "captur", "capture")


def test_an_unknown_section(folder):
    """Likewise."""
    refused_config(folder, "[mount]\n[backnd.x]\nurl = /x\n", ":2:", "backnd", "backend")


@pytest.mark.parametrize(
    "line",
    [
        "capture = passthru",
        "log_retention = 10 apples",
        "log_max_size = -1",
        "log_level = loud",
        "state_dir = relative/path",
        "shutdown_timeout =",
    ],
)
def test_a_bad_value(folder, line):
    """With the line."""
    refused_config(folder, f"[mount]\n{line}\n", ":2:", line.split()[0])


def test_a_bad_value_in_the_environment(mounts):
    """The variable is named."""
    mount = mounts(start=False, env={"REPLITEDFS_MOUNT_LOG_RETENTION": "often"})
    assert_refused(mount.start(check=False), CONFIG, "REPLITEDFS_MOUNT_LOG_RETENTION")


def test_a_missing_configuration(folder):
    """A file that was named must be there."""
    (folder / "data").mkdir()
    done = run_cli("mount", "--config", folder / "none.ini", folder / "data", check=False)
    assert_refused(done, CONFIG, "none.ini")


def test_a_missing_backend_folder(mounts):
    """It is not made: it may be a disk that is not mounted."""
    mount = mounts(start=False, options=["--backup", "/nonexistent/backups"])
    done = mount.start(check=False)
    assert_refused(done, NO_INPUT, "/nonexistent/backups")
    assert not os.path.exists("/nonexistent")


def test_an_unknown_scheme_of_a_backend(mounts):
    """The known ones are a fix."""
    mount = mounts(start=False, options=["--backup", "gopher://host/x"])
    assert_refused(mount.start(check=False), USAGE, "gopher")


# -- the machine


def test_a_read_only_backing_folder(mounts, clients):
    """Without a state folder elsewhere there is no place for the log."""
    mount = filled(mounts, clients)
    mount.env.pop("REPLITEDFS_MOUNT_STATE_DIR")
    there = str(mount.dir)
    script = f"mount --bind {there} {there} && mount -o remount,ro,bind {there}"
    done = in_a_namespace(mount, script)
    assert_refused(done, CANNOT_CREATE, "state folder", "fix:")
    assert_nothing_lost(mount)


def test_a_full_disk_under_the_state_folder(mounts, clients, folder):
    """Nothing can be noted there: said at the mount, with the way out."""
    mount = filled(mounts, clients)
    full = folder / "full"
    full.mkdir()
    mount.env["REPLITEDFS_MOUNT_STATE_DIR"] = str(full)
    fill = f"{{ head -c 80000 /dev/zero >{full}/fill 2>/dev/null; true; }}"
    done = in_a_namespace(mount, f"mount -t tmpfs -o size=64k full {full} && {fill}")
    assert_refused(done, CANNOT_CREATE, "No space left", "fix:")
    mount.env["REPLITEDFS_MOUNT_STATE_DIR"] = str(mount.state)
    assert_nothing_lost(mount)


def test_no_device(mounts, clients):
    """A container without /dev/fuse."""
    mount = filled(mounts, clients)
    done = in_a_namespace(mount, "mount -t tmpfs none /dev")
    assert_refused(done, UNAVAILABLE, "/dev/fuse", "why:", "fix:", "--device /dev/fuse")
    assert_nothing_lost(mount)


def test_no_right_to_mount(mounts, clients):
    """A container without CAP_SYS_ADMIN."""
    mount = filled(mounts, clients)
    done = subprocess.run(
        ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", BIN, "mount", mount.dir],
        env={**os.environ, **mount.env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert_refused(done, NO_PERMISSION, "CAP_SYS_ADMIN", "why:", "fix:")
    assert_nothing_lost(mount)


# -- the state folder


def change_version(path):
    """The envelope's first line says another format version."""
    head, rest = path.read_bytes().split(b"\n", 1)
    words = head.split(b" ")
    words[2] = b"9"
    path.write_bytes(b" ".join(words) + b"\n" + rest)


def damage(path):
    """One byte of the content."""
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)


def cut_off(path):
    """The first half."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def empty(path):
    """As after a power loss on some file systems."""
    path.write_bytes(b"")


def identity_file(mount):
    """Who this folder is."""
    return mount.state / "identity"


def info_file(mount):
    """Which database the folder of a log belongs to."""
    return next(mount.state.glob("db/*/info"))


@pytest.mark.parametrize("where", [identity_file, info_file])
def test_state_of_a_newer_version(mounts, clients, where):
    """Refused with the versions; after the newer program has been brought back it works."""
    mount = filled(mounts, clients)
    path = where(mount)
    before = path.read_bytes()
    change_version(path)
    changed = path.read_bytes()
    assert_refused(mount.start(check=False), OS_ERROR, "version 9", "fix:")
    assert path.read_bytes() == changed
    assert_nothing_lost(mount)
    path.write_bytes(before)
    mount.start()


@pytest.mark.parametrize("how", [damage, cut_off, empty])
@pytest.mark.parametrize("where", [identity_file, info_file])
def test_damaged_state(mounts, clients, where, how):
    """Never guessed at, never overwritten."""
    mount = filled(mounts, clients)
    path = where(mount)
    before = path.read_bytes()
    how(path)
    damaged = path.read_bytes()
    assert_refused(mount.start(check=False), DATA, path.name, "state folder", "fix:")
    assert path.read_bytes() == damaged
    assert_nothing_lost(mount)
    path.write_bytes(before)
    mount.start()
    assert mount.database("a.db")["txid"] == 22


@pytest.mark.parametrize("where", [identity_file, info_file])
def test_the_fix_for_damaged_state_works(mounts, clients, where):
    """Moved away, the database is whole and its history begins anew."""
    mount = filled(mounts, clients)
    path = where(mount)
    damage(path)
    assert "move" in mount.start(check=False).stderr
    moved = mount.state if where is identity_file else path.parent
    os.rename(moved, mount.root / "moved-away")
    mount.state.mkdir(exist_ok=True)
    mount.start()
    client = clients(mount.dir / "a.db")
    assert client.sql("SELECT count(*) FROM t") == [[20]]
    client.many(5, INSERT)
    client.run("db.close()")
    mount.unmount()
    assert_nothing_lost(mount, 25)


@pytest.mark.parametrize("at, code", [(0, 0), (10, OS_ERROR), (40, 0), (80, 0)])
def test_a_damaged_header_of_a_log(mounts, clients, at, code):
    """Refused where it looks like that of another version, and left alone; else the file is set
    aside, as it is, and there is a new generation."""
    mount = filled(mounts, clients)
    log = pathlib.Path(list_state_logs(mount, "a.db")[0])
    data = bytearray(log.read_bytes())
    data[at] ^= 0x10
    log.write_bytes(data)
    done = mount.start(check=False)
    if code != 0:
        assert_refused(done, code, "a.db", "version")
    else:
        assert done.returncode == 0, done.stderr
        assert "damaged" in mount.log(), mount.log()
        client = clients(mount.dir / "a.db")
        assert client.sql("SELECT count(*) FROM t") == [[20]]
        client.close()
        mount.unmount()
        log = log.with_name(f"{log.name}.damaged")
    assert log.read_bytes() == bytes(data)
    assert_nothing_lost(mount)


def test_a_state_folder_of_another_folder(mounts, clients):
    """Two folders that share one state would mix their histories."""
    mount = filled(mounts, clients)
    other = mounts("other", start=False, env={"REPLITEDFS_MOUNT_STATE_DIR": str(mount.state)})
    assert_refused(other.start(check=False), CONFIG, "another folder", "fix:")
    assert_nothing_lost(mount)


class Disk:
    """A file with an ext4, as loop devices; mounted at one place at a time."""

    def __init__(self, image):
        self.image = make_ext4(image)
        self.device = self.place = None

    def mount(self, place):
        """Under another device number than before."""
        before = self.device
        done = subprocess.run(
            ["losetup", "-f", "--show", self.image], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"no loop devices here: {done.stderr.strip()}")
        self.device = done.stdout.strip()
        if before:
            subprocess.run(["losetup", "-d", before], check=True)
        subprocess.run(["mount", self.device, place], check=True)
        self.place = place

    def unmount(self):
        """Keeps the device for as long as it has no other."""
        if self.place:
            subprocess.run(["umount", self.place], check=True)
        self.place = None

    def end(self):
        """Leaves nothing but the file, even where a test that failed has a daemon there."""
        if self.place:
            subprocess.run(["umount", "-l", self.place], check=False)
        if self.device:
            subprocess.run(["losetup", "-d", self.device], check=False)


@pytest.fixture
def disks(folder):
    """Makes disks, and ends them."""
    with contextlib.ExitStack() as made:

        def make(name):
            disk = Disk(folder / name)
            made.callback(disk.end)
            return disk

        yield make


@pytest.mark.parametrize("own_state", [True, False], ids=["its own state", "state elsewhere"])
def test_a_disk_with_another_device_number_is_the_same_folder(disks, mounts, clients, own_state):
    """As after a restart of the machine: the history and the backup go on."""
    mount = mounts(start=False, backup=True)
    disk = disks("disk")
    disk.mount(mount.dir)
    if own_state:
        del mount.env["REPLITEDFS_MOUNT_STATE_DIR"]
    for txid in (12, 15):
        mount.start()
        if txid == 12:
            close(make_database(clients, mount.dir / "a.db", rows=10))
        else:
            client = clients(mount.dir / "a.db")
            client.many(3, INSERT)
            close(client)
        assert mount.database("a.db")["txid"] == txid
        mount.unmount()
        disk.unmount()
        disk.mount(mount.dir)
    assert len(list(mount.backup.glob("a.db-*"))) == 1
    run_cli("restore", "--from", mount.backup, "--db", "a.db", "--txid", "15", "-o",
            mount.root / "restored.db")
    disk.unmount()


def test_a_disk_copied_block_by_block_is_a_node_of_its_own(disks, folder, mounts, clients):
    """Its folder has the same inode, its file system the same id; but the other is still there."""
    disk, copy = disks("disk"), disks("copy")
    first, second = (mounts(name, start=False) for name in ("first", "second"))
    for mount in (first, second):
        del mount.env["REPLITEDFS_MOUNT_STATE_DIR"]
    disk.mount(first.dir)
    first.start()
    close(make_database(clients, first.dir / "a.db", rows=3))
    first.unmount()
    disk.unmount()
    shutil.copy(disk.image, copy.image)
    disk.mount(first.dir)
    copy.mount(second.dir)
    first.start()
    second.start()
    assert first.status()["node"] != second.status()["node"]
    for mount, disk_of in ((first, disk), (second, copy)):
        mount.unmount()
        disk_of.unmount()


def test_a_copied_folder_is_a_node_of_its_own(mounts, clients):
    """Copied with its state: it is another node, and the history goes on in both."""
    mount = mounts(start=False)
    mount.env.pop("REPLITEDFS_MOUNT_STATE_DIR")
    mount.start()
    close(make_database(clients, mount.dir / "a.db"))
    node = mount.status()["node"]
    mount.unmount()
    copy = mounts("copy", start=False)
    copy.env.pop("REPLITEDFS_MOUNT_STATE_DIR")
    copy.dir.rmdir()
    subprocess.run(["cp", "-a", str(mount.dir), str(copy.dir)], check=True)
    copy.start()
    mount.start()
    assert copy.status()["node"] != node
    assert mount.status()["node"] == node


def test_status_of_what_nobody_serves(folder):
    """In words and in JSON."""
    done = run_cli("status", folder, check=False)
    assert_refused(done, UNAVAILABLE, "fix: replitedfs mount")
    done = run_cli("status", "--json", folder, check=False)
    assert done.returncode == UNAVAILABLE
    assert json.loads(done.stdout)["error"]["exit_code"] == UNAVAILABLE


def processes(folder):
    """Of the program, for that folder."""
    found = set()
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (path / "cmdline").read_bytes().split(b"\0")
            if os.path.samefile(path / "exe", BIN) and os.fsencode(folder) in words:
                found.add(int(path.name))
    return found


def test_a_refused_mount_leaves_no_process(mounts, clients):
    """Nor a mount, nor a lock."""
    mount = filled(mounts, clients)
    path = identity_file(mount)
    before = path.read_bytes()
    damage(path)
    assert_refused(mount.start(check=False), DATA, "state folder")
    wait_for(lambda: not processes(mount.dir), "the processes' end")
    path.write_bytes(before)
    mount.start()
    # Those that would be found.
    assert processes(mount.dir) == set(mount.pids)
