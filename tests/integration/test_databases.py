# SPDX-License-Identifier: MIT
"""The life of databases on a mount: made, renamed, replaced, deleted, switched, many at once."""

import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys

import pytest

from clients import INSERT, TABLE, close, make_database
from mount import assert_captured, checkpointed_copy, page_size_of, wait_for

def create(clients, path, mode="WAL", n=10):
    """A client with a new database of n rows."""
    return make_database(clients, path, mode, n)


def made_elsewhere(folder, name="made.db", rows=50, mode="WAL"):
    """A database outside the mount."""
    path = folder / name
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={mode}").fetchall()
    connection.execute(TABLE)
    for _ in range(rows):
        connection.execute(INSERT)
    connection.close()
    return path


def names(mount):
    """The databases that status lists."""
    return {database["name"] for database in mount.status()["databases"]}


# -- their names


def test_made_in_a_subfolder(mounts, clients, road):
    """Named by its path below the mount."""
    mount = mounts(capture=road)
    (mount.dir / "tenants" / "42").mkdir(parents=True)
    close(create(clients, mount.dir / "tenants" / "42" / "main.db"))
    mount.unmount()
    report = assert_captured(mount, "tenants/42/main.db", merged=0)
    assert report["txid"] == 12


def test_renamed_goes_on_under_its_id(mounts, clients):
    """The file, then a folder above it; the history has no gap."""
    mount = mounts()
    (mount.dir / "a").mkdir()
    close(create(clients, mount.dir / "a" / "x.db"))
    identity = mount.database("a/x.db")["id"]
    os.rename(mount.dir / "a" / "x.db", mount.dir / "a" / "y.db")
    client = clients(mount.dir / "a" / "y.db")
    client.many(10, INSERT)
    close(client)
    os.rename(mount.dir / "a", mount.dir / "b")
    client = clients(mount.dir / "b" / "y.db")
    client.many(10, INSERT)
    close(client)
    assert names(mount) == {"b/y.db"}
    assert mount.database("b/y.db")["id"] == identity
    mount.unmount()
    report = assert_captured(mount, "b/y.db", merged=0)
    assert report["txid"] == 32


def test_a_folder_renamed_while_its_database_is_open(mounts, clients, any_road):
    """The program goes on with its descriptors, and so does the capture."""
    mount = mounts(**any_road)
    (mount.dir / "a").mkdir()
    client = create(clients, mount.dir / "a" / "x.db")
    os.rename(mount.dir / "a", mount.dir / "b")
    client.many(30, INSERT)
    client.sql("PRAGMA wal_checkpoint(PASSIVE)")
    client.many(30, INSERT)
    client.kill()
    mount.unmount()
    report = assert_captured(mount, "b/x.db", merged=0)
    assert report["txid"] == 72


def test_deleted_and_made_again_is_a_new_database(mounts, clients):
    """Another id under the same name; the old history is kept and has ended."""
    mount = mounts()
    path = mount.dir / "a.db"
    close(create(clients, path))
    before = mount.database("a.db")["id"]
    os.unlink(path)
    assert names(mount) == set()
    close(create(clients, path, n=3))
    after = mount.database("a.db")["id"]
    assert after != before
    mount.unmount()
    report = assert_captured(mount, "a.db", merged=0)
    assert report["txid"] == 5
    assert (mount.state / "db" / before / "info").exists()


def test_made_and_unlinked_at_once(ram_mounts, road):
    """A name is free again whatever the engine was about to find out of its last file, and who
    has that name next is captured from his first transaction on."""
    mount = ram_mounts(capture=road)
    path = mount.dir / "a.db"
    head = b"SQLite format 3\0" + bytes([4, 0, 2, 2, 0, 64, 32, 32]) + bytes(4) + b"\0\0\0\1"
    for i in range(1000):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.pwrite(fd, head.ljust(1024, b"\0"), 0)
        os.close(fd)
        os.unlink(path)
        if i % 50 != 49:
            continue
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(TABLE)
        connection.execute(INSERT)
        assert mount.settle("a.db").endswith(":2"), mount.database("a.db")
        connection.close()
        if i != 999:
            path.unlink()
    assert "not captured" not in mount.log() and "refused" not in mount.log()
    mount.unmount()
    assert_captured(mount, "a.db", records=2)


def test_replaced_by_a_rename_over_it(mounts, clients, folder):
    """As tools do that write a temporary file first: what is there now is captured."""
    mount = mounts()
    path = mount.dir / "a.db"
    close(create(clients, path))
    before = mount.database("a.db")["id"]
    new = mount.dir / "a.db.new"
    source = made_elsewhere(folder)
    shutil.copyfile(source, new)
    os.rename(new, path)
    client = clients(path)
    assert client.sql("SELECT count(*) FROM t") == [[50]]
    client.many(5, INSERT)
    close(client)
    assert mount.database("a.db")["id"] != before
    mount.unmount()
    assert_captured(mount, "a.db", base=source)


@pytest.mark.parametrize("tool", ["cp", "rsync", "rsync-in-place", "cat"])
@pytest.mark.parametrize("there", [True, False], ids=["over-one", "new"])
def test_copied_in_while_closed(mounts, clients, folder, tool, there):
    """Whatever way the bytes come, the next transactions build on them."""
    mount = mounts()
    path = mount.dir / "a.db"
    if there:
        close(create(clients, path, n=200))
    source = made_elsewhere(folder)
    commands = {
        "cp": ["cp", source, path],
        "rsync": ["rsync", "-a", source, path],
        "rsync-in-place": ["rsync", "-a", "--inplace", "--no-whole-file", source, path],
        "cat": ["sh", "-c", f"cat {source} > {path}"],
    }
    subprocess.run(commands[tool], check=True)
    client = clients(path)
    assert client.sql("SELECT count(*) FROM t") == [[50]]
    client.many(5, INSERT)
    close(client)
    mount.unmount()
    # rsync makes a new file, and so a new database.
    new = not there or tool == "rsync"
    assert_captured(mount, "a.db", base=source if new else None)


def test_unlinked_while_open(mounts, clients):
    """The program ends as it would elsewhere; a new file of the name is a new database."""
    mount = mounts()
    path = mount.dir / "a.db"
    client = create(clients, path)
    before = mount.database("a.db")["id"]
    for suffix in ("", "-wal", "-shm"):
        os.unlink(f"{path}{suffix}")
    client.many(5, INSERT)
    other = create(clients, path, n=20)
    client.many(5, INSERT)
    client.run("db.close()")
    other.many(20, INSERT)
    assert other.sql("PRAGMA integrity_check") == [["ok"]]
    close(other)
    assert mount.database("a.db")["id"] != before
    mount.unmount()
    report = assert_captured(mount, "a.db")
    assert report["txid"] == 42


def test_excluded_by_the_configuration(mounts, clients, folder):
    """Served as a file like others, not captured."""
    config = folder / "replitedfs.ini"
    config.write_text("[database.cache]\npath = cache/**\nreplicate = no\n")
    mount = mounts(options=["--config", str(config)])
    (mount.dir / "cache").mkdir()
    close(create(clients, mount.dir / "cache" / "a.db"), create(clients, mount.dir / "b.db"))
    assert names(mount) == {"b.db"}
    client = clients(mount.dir / "cache" / "a.db")
    assert client.sql("PRAGMA integrity_check") == [["ok"]]
    close(client)
    mount.unmount()
    assert_captured(mount, "b.db")
    assert len(list(mount.state.glob("db/*"))) == 1


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_a_file_that_is_its_own_companion(mounts, road, suffix):
    """By a hard link: it makes no database of itself, and nobody waits for himself."""
    mount = mounts(capture=road)
    companion = mount.dir / f"a{suffix}"
    (mount.dir / "a").write_bytes(b"text")
    os.link(mount.dir / "a", companion)
    program = "import sys; open(sys.argv[1], 'r+b').write(b'T')"
    with subprocess.Popen([sys.executable, "-c", program, companion]) as writer:
        try:
            assert writer.wait(30) == 0
        except subprocess.TimeoutExpired:
            mount.kill()
            raise
    assert (mount.dir / "a").read_bytes() == b"Text"
    assert not names(mount)


def read_all(folder):
    """As a tool for backups does."""
    for path in folder.rglob("*"):
        path.stat()
        if path.is_file():
            path.read_bytes()


def with_linked_copies(mounts, options, mode, n=10):
    """A mount whose folder has a database and, in `old`, hard links to all its files."""
    mount = mounts(start=False, **options)
    made = made_elsewhere(mount.dir, "a.db", rows=n, mode=mode)
    if mode == "WAL":
        connection = sqlite3.connect(made, isolation_level=None)
        connection.execute(INSERT)
        for suffix in ("", "-wal"):
            shutil.copy(f"{made}{suffix}", mount.root / f"copy{suffix}")
        connection.close()
        for suffix in ("", "-wal"):
            os.rename(mount.root / f"copy{suffix}", f"{made}{suffix}")
    checkpointed_copy(made, mount.root / "base")
    subprocess.run(["cp", "-al", mount.dir, mount.root / "old"], check=True)
    os.rename(mount.root / "old", mount.dir / "old")
    mount.start()
    return mount


@pytest.mark.parametrize("mode", ["WAL", "DELETE", "PERSIST"])
@pytest.mark.parametrize("first", ["the program", "the backup"])
def test_copies_by_hard_links(mounts, any_road, first, mode):
    """Read, stat'ed and removed while the database is in use: that goes on being captured, a
    transaction a commit."""
    mount = with_linked_copies(mounts, any_road, mode)
    read_all(mount.dir)
    reader = (mount.dir / "old" / "a.db").open("rb") if first == "the backup" else None
    connection = sqlite3.connect(mount.dir / "a.db", isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={mode}").fetchall()
    connection.execute("PRAGMA synchronous=OFF" if mode == "WAL" else "PRAGMA synchronous=FULL")
    for i in range(60):
        connection.execute(INSERT)
        if i % 7 == 0 and mode == "WAL":
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if i % 9 == 0 and i < 45:
            read_all(mount.dir / "old")
        if i == 45:
            shutil.rmtree(mount.dir / "old")
        if i == 30 and reader:
            reader.close()
    since = mount.database("a.db")["since_mount"]
    connection.close()
    mount.unmount()
    assert_captured(mount, "a.db", records=60, merged=0, base=mount.root / "base")
    assert since["unannounced_restarts"] == 0
    assert " error " not in mount.log() and " warn " not in mount.log(), mount.log()


def test_other_files_and_folders_are_untouched(mounts):
    """What is no database looks on the bare folder as it was written."""
    mount = mounts()
    (mount.dir / "sub").mkdir(mode=0o750)
    (mount.dir / "sub" / "text").write_bytes(b"hello" * 1000)
    (mount.dir / "sub" / "almost").write_bytes(b"SQLite format")
    (mount.dir / "x-wal").write_bytes(b"no database beside me")
    os.symlink("sub/text", mount.dir / "link")
    os.link(mount.dir / "sub" / "text", mount.dir / "hard")
    os.chmod(mount.dir / "hard", 0o640)
    os.utime(mount.dir / "hard", ns=(10**18, 10**18 + 7))
    assert names(mount) == set()
    mount.unmount()
    text = mount.dir / "sub" / "text"
    assert text.read_bytes() == b"hello" * 1000
    assert text.stat().st_mode & 0o7777 == 0o640 and text.stat().st_nlink == 2
    assert text.stat().st_mtime_ns == 10**18 + 7
    assert os.readlink(mount.dir / "link") == "sub/text"
    assert (mount.dir / "sub").stat().st_mode & 0o7777 == 0o750
    assert sorted(os.listdir(mount.dir)) == ["hard", "link", "sub", "x-wal"]
    assert not list(mount.state.glob("db/*"))


def test_three_hundred_databases_at_once(ram_mounts, clients, road):
    """All open at the same time, by few programs; each captured."""
    mount = ram_mounts(capture=road)
    programs = [clients() for _ in range(3)]
    for number, client in enumerate(programs):
        client.run("databases = []")
        client.send(
            f"for i in range({number * 100}, {number * 100 + 100}):\n"
            f"    db = Database({str(mount.dir)!r} + '/' + str(i) + '.db')\n"
            "    db.sql('PRAGMA journal_mode=WAL')\n"
            "    db.sql('PRAGMA synchronous=NORMAL')\n"
            f"    db.sql({TABLE!r})\n"
            "    databases.append(db)\n"
            "for _ in range(5):\n"
            "    for db in databases:\n"
            f"        db.sql({INSERT!r})\n"
            "for db in databases:\n"
            "    db.close()\n"
        )
    for client in programs:
        client.answer()
    threads = len(os.listdir(f"/proc/{mount.daemon}/task"))
    # Up to 64 workers of the filesystem, when as many requests wait, and a few others.
    assert threads < 80, f"{threads} threads"
    assert len(names(mount)) == 300
    mount.unmount()
    for i in range(0, 300, 15):
        report = assert_captured(mount, f"{i}.db", merged=0)
        assert report["txid"] == 7


# -- several at a time


def test_attached_databases_each_get_their_part(mounts, clients, any_road):
    """One commit in two WAL-mode databases: one transaction in each."""
    mount = mounts(**any_road)
    client = create(clients, mount.dir / "a.db", n=0)
    close(create(clients, mount.dir / "b.db", n=0))
    client.sql("ATTACH ?1 AS other", str(mount.dir / "b.db"))
    for _ in range(20):
        client.sql("BEGIN")
        client.sql(INSERT)
        client.sql(INSERT.replace("INTO t", "INTO other.t"))
        client.sql("COMMIT")
    close(client)
    mount.unmount()
    for name in ("a.db", "b.db"):
        assert assert_captured(mount, name, merged=0)["txid"] == 22


def test_programs_with_different_settings(mounts, clients, any_road):
    """Levels, caches, mmap, checkpoint habits, foreign SQLite versions on one database."""
    mount = mounts(**any_road)
    path = mount.dir / "a.db"
    close(create(clients, path, n=0))
    settings = [
        ["synchronous=OFF", "cache_size=5", "wal_autocheckpoint=1"],
        ["synchronous=FULL", "mmap_size=100000000"],
        ["synchronous=NORMAL", "wal_autocheckpoint=0", "journal_size_limit=0"],
    ]
    programs = []
    for number, pragmas in enumerate(settings):
        client = clients(path)
        for pragma in pragmas:
            client.sql(f"PRAGMA {pragma}")
        client.send(f"db.many(150, 'REPLACE INTO t VALUES(?1 * 3 + {number}, randomblob(900))')")
        programs.append(client)
    for client in programs:
        assert client.answer() == 150
    assert programs[1].sql("SELECT count(*) FROM t") == [[450]]
    close(*programs)
    mount.unmount()
    assert assert_captured(mount, "a.db", merged=0)["txid"] == 452


def test_a_capability_set_after_writes_is_seen(mounts, road):
    """The kernel asks for it before writes; that there was none is not remembered too long."""
    mount = mounts(capture=road)
    path = mount.dir / "program"
    path.write_bytes(b"one")
    os.utime(path, (1, 1))
    with open(path, "ab") as file:
        file.write(b"two")
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    os.setxattr(path, "security.capability", capability)
    assert os.getxattr(path, "security.capability") == capability
    os.removexattr(path, "security.capability")
    with pytest.raises(OSError):
        os.getxattr(path, "security.capability")


# -- modes


@pytest.mark.parametrize("mode", ["DELETE", "TRUNCATE", "PERSIST", "MEMORY", "OFF"])
def test_every_journal_mode_is_captured(mounts, clients, road, mode):
    """The replayed log equals the file, over several opens, in every journal mode."""
    mount = mounts(capture=road)
    path = mount.dir / "a.db"
    client = create(clients, path, mode="DELETE")
    client.sql(f"PRAGMA journal_mode={mode}")
    for _ in range(3):
        client.many(20, INSERT)
        client.sql("DELETE FROM t WHERE id % 3 = 0")
        client.run("db.close()")
        client.run(f"db = Database({str(path)!r})")
        client.sql(f"PRAGMA journal_mode={mode}")
    client.sql("VACUUM")
    close(client)
    mount.unmount()
    assert_captured(mount, "a.db")


def test_mode_switches(mounts, clients, road):
    """Row 20, by one program: WAL to DELETE and back, with commits in both."""
    mount = mounts(capture=road)
    client = create(clients, mount.dir / "a.db", n=5)
    for i in range(20):
        mode = ["DELETE", "WAL", "TRUNCATE", "WAL", "PERSIST", "WAL"][i % 6]
        assert client.sql(f"PRAGMA journal_mode={mode}") == [[mode.lower()]]
        client.many(7, INSERT)
    close(client)
    mount.unmount()
    assert_captured(mount, "a.db")


def test_a_page_size_changed_by_vacuum(mounts, clients, road):
    """Row 16: through rollback mode, then WAL again."""
    mount = mounts(capture=road)
    path = mount.dir / "a.db"
    client = create(clients, path, n=50)
    for size in (8192, 512, 65536):
        client.sql("PRAGMA journal_mode=DELETE")
        client.sql(f"PRAGMA page_size={size}")
        client.sql("VACUUM")
        client.sql("PRAGMA journal_mode=WAL")
        client.many(20, INSERT)
    close(client)
    mount.unmount()
    report = assert_captured(mount, "a.db")
    assert report["page_size"] == 65536 == page_size_of(path)


def test_a_page_size_changed_beside_another_connection(mounts, clients, road):
    """Row 16: one that is open all the time reads and writes at each size, in WAL mode too."""
    mount = mounts(capture=road)
    path = mount.dir / "a.db"
    client = create(clients, path, mode="DELETE", n=50)
    other = clients(path)
    n_rows = 50
    for size in (8192, 512, 65536):
        assert other.sql("SELECT count(*) FROM t") == [[n_rows]]
        client.sql(f"PRAGMA page_size={size}")
        client.sql("VACUUM")
        assert other.sql("SELECT count(*) FROM t") == [[n_rows]]
        assert other.sql("PRAGMA page_size") == [[size]]
        for each in (other, client):
            each.many(10, INSERT)
        n_rows += 20
    assert client.sql("PRAGMA journal_mode=WAL") == [["wal"]]
    for each in (other, client):
        each.many(10, INSERT)
    assert other.sql("SELECT count(*) FROM t") == [[n_rows + 20]]
    close(client, other)
    mount.unmount()
    report = assert_captured(mount, "a.db")
    assert report["page_size"] == 65536 == page_size_of(path)
    assert report["txid"] == 2 + 50 + 3 * 21 + 20, report


@pytest.mark.parametrize("killed", [False, True], ids=["closed", "killed"])
def test_a_rollback_writer_that_dies(mounts, clients, killed):
    """A hot journal is played back by the next program; the log equals what is there then."""
    mount = mounts()
    path = mount.dir / "a.db"
    close(create(clients, path, mode="DELETE", n=200))
    client = clients(path)
    client.sql("PRAGMA cache_size=5")
    client.sql("BEGIN")
    client.sql("UPDATE t SET v = randomblob(400)")
    assert os.path.getsize(f"{path}-journal") > 512
    if killed:
        client.kill()
    else:
        client.sql("ROLLBACK")
        close(client)
    client = clients(path)
    assert client.sql("SELECT count(*), max(length(v)) FROM t") == [[200, 300]]
    client.many(5, INSERT)
    close(client)
    mount.unmount()
    assert_captured(mount, "a.db")


# -- encrypted ones

# A VFS that stores pages scrambled, in the database and in the frames of its WAL: no magic on
# the disk. The checksums of the frames are those of the plain pages, as SQLite made them.
SCRAMBLED = '''
import apsw
def scramble(data):
    return bytes(b ^ 0x5A for b in data)
class Main(apsw.VFSFile):
    def xRead(self, amount, offset):
        return scramble(super().xRead(amount, offset))
    def xWrite(self, data, offset):
        super().xWrite(scramble(data), offset)
class Wal(apsw.VFSFile):
    def xRead(self, amount, offset):
        data = super().xRead(amount, offset)
        return scramble(data) if amount == 4096 else data
    def xWrite(self, data, offset):
        super().xWrite(scramble(data) if len(data) == 4096 else data, offset)
class Scrambled(apsw.VFS):
    def __init__(self):
        super().__init__("scrambled", "")
    def xOpen(self, name, flags):
        kinds = {apsw.SQLITE_OPEN_MAIN_DB: Main, apsw.SQLITE_OPEN_WAL: Wal}
        for kind, File in kinds.items():
            if flags[0] & kind:
                return File("", name, flags)
        return super().xOpen(name, flags)
vfs = Scrambled()
'''


def test_a_database_without_the_magic(mounts, clients):
    """Taken for a database by its WAL, and captured by the frames as they are on the disk."""
    pytest.importorskip("apsw", reason="a VFS in Python needs apsw")
    mount = mounts(capture="passthrough")
    path = mount.dir / "secret.db"
    client = clients(module="apsw")
    client.run(SCRAMBLED)
    for _ in range(3):
        client.run(f"db = Database({str(path)!r}, vfs='scrambled')")
        assert client.sql("PRAGMA journal_mode=WAL") == [["wal"]]
        client.sql(TABLE.replace("TABLE", "TABLE IF NOT EXISTS"))
        client.many(20, INSERT)
        client.sql("PRAGMA wal_checkpoint(PASSIVE)")
        client.many(20, INSERT)
        client.run("db.close()")
    assert path.read_bytes()[:6] != b"SQLite"
    shown = mount.database("secret.db")
    assert shown["mode"] == "encrypted"
    client.close()
    mount.unmount()
    report = mount.replay("secret.db")
    assert report["checksum_ok"], report
    assert pathlib.Path(report["file"]).read_bytes() == path.read_bytes()
    assert report["txid"] >= 120


def test_seen_by_status_in_time(mounts, clients):
    """What a new database is called, where it stands, and that it is open."""
    mount = mounts()
    client = create(clients, mount.dir / "a.db", n=5)
    wait_for(lambda: mount.database("a.db")["txid"] == 7, "the last transaction")
    shown = mount.database("a.db")
    assert shown["open"] and shown["mode"] == "wal" and shown["trouble"] is None
    position = (mount.dir / ".replitedfs" / "pos" / "a.db").read_text().split()
    assert position == [shown["position"], shown["checksum"]]
    close(client)
    wait_for(lambda: not mount.database("a.db")["open"], "the close to be seen")
