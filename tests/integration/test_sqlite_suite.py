# SPDX-License-Identifier: MIT
"""SQLite's own tests of WAL, journals, locks and crashes: on the mount as in a bare folder."""

import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

from mount import (
    LONG,
    assert_captured,
    checkpointed_copy,
    differing_pages,
    page_size_of,
    run_cli,
)

TOOLS = pathlib.Path(__file__).parent.parent / "tools"
# Files of SQLite's source that take a second or less there.
QUICK = """
    wal wal2 wal7 wal8 walcksum walcrash4 walhook walmode walnoshm waloverwrite walpersist
    walprotocol2 walro walro2 walshared lock lock2 lock3 lock5 lock7 shmlock superlock exclusive
    exclusive2 journal1 journal2 journal3 jrnlmode jrnlmode2 jrnlmode3 rollback rollback2 crash8
    mmap1 mmap2 snapshot
""".split()
# Some of these only wait for a lock, for ten or twenty seconds.
SLOW = "wal3 wal4 wal5 wal6 wal9 walprotocol walvfs walcrash lock4".split()
FILE_LIMIT_S = 3600 if LONG else 120
# Some tests are about running out of descriptors; that must not be the daemon.
LIMITED = ("prlimit", "--nofile=1024:1024")
# Root ignores permissions, which some tests are about, unless it gives that right up.
OBEDIENT = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


class Suite:
    """SQLite's tests, and what they do in a bare folder."""

    def __init__(self, home, folder):
        self.program = home / "testfixture"
        self.tests = home / "test"
        self.folder = folder
        self.place = folder / "place"
        self.place.mkdir()
        cannot = subprocess.run([*OBEDIENT, "test", "-r", home], check=False).returncode
        self.before = LIMITED if cannot else (*LIMITED, *OBEDIENT)
        self.results = {}

    def run(self, name, folder):
        """Runs a file of tests in a new folder, which they see at the same place wherever it is:
        some measure its path."""
        folder.mkdir(parents=True)
        script = 'mount --bind "$0" "$1" && cd "$1" && shift && exec "$@"'
        command = [*self.before, self.program, self.tests / f"{name}.test"]
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", script, *map(str, (folder, self.place, *command))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=FILE_LIMIT_S,
            check=False,
        )
        return Result(done.stdout.decode(errors="replace"))

    def bare(self, name):
        """The result in a bare folder, once for all."""
        if name not in self.results:
            result = self.results[name] = self.run(name, self.folder / name)
            assert result.ran, f"{name} runs nothing in a bare folder: {result.output[-500:]}"
        return self.results[name]


class Result:
    """What a file of tests said."""

    def __init__(self, output):
        self.output = output
        self.ran = set(re.findall(r"^(\S+)\.\.\.", output, re.M))
        # "! NAME expected: …" and "! NAME got: …"
        self.failed = set(re.findall(r"^! (\S+) ", output, re.M))
        self.complete = re.search(r"^\d+ errors out of \d+ tests", output, re.M) is not None

    def beyond(self, bare):
        """What went wrong here and not there, as lines."""
        lines = re.findall(r"^! .*$", self.output, re.M)
        new = [line for line in lines if line.split()[1] not in bare.failed]
        if bare.complete and not self.complete:
            # A Tcl error: its message, then the stack.
            at = self.output.rfind("\n", 0, self.output.find("\n    while executing"))
            new += ["ended early:", *self.output[at:].strip().splitlines()[:3]]
        elif self.ran != bare.ran:
            new.append(f"other tests ran: {sorted(self.ran ^ bare.ran)[:5]}")
        return new


@pytest.fixture(scope="module")
def suite():
    """SQLite's tests; the folder is on a disk."""
    built = subprocess.run([str(TOOLS / "build-testfixture")], capture_output=True, text=True)
    if built.returncode != 0:
        pytest.skip(built.stderr.strip().splitlines()[-1])
    folder = tempfile.mkdtemp(prefix="replitedfs-test-")
    yield Suite(pathlib.Path(built.stdout.strip()), pathlib.Path(folder))
    shutil.rmtree(folder, ignore_errors=True)


def cut_to_header(path):
    """Drops what lies behind the database's end where its header knows that."""
    with open(path, "rb+") as file:
        head = file.read(100)
        if head[24:28] == head[92:96]:
            n_pages = int.from_bytes(head[28:32], "big")
            file.truncate(min(n_pages * page_size_of(path), path.stat().st_size))


def assert_restores(mount, name):
    """A database that the log does not have from its beginning: its last state at least."""
    restored, expected = mount.root / "restored.db", mount.root / "expected.db"
    source = ("--from", mount.dir, "--db", name)
    run_cli("restore", *source, "--force", "--output", restored, env=mount.env)
    checkpointed_copy(mount.dir / name, expected)
    cut_to_header(expected)
    assert not differing_pages(expected, restored), f"{name} differs"


def uncaptured(mount):
    """Unmounts; where the log is not what the tests have left of their databases, as lines."""
    databases = [database for database in mount.status()["databases"] if database["bytes"] > 0]
    assert databases, "the tests have left no database"
    mount.unmount()
    wrong = re.findall(r"^.* error .*not captured.*$", mount.log(), re.M)
    for database in databases:
        # Those that were copied into the folder, or damaged on purpose, begin with a content.
        whole = database["log"]["oldest"].endswith(":0")
        try:
            (assert_captured if whole else assert_restores)(mount, database["name"])
        except AssertionError as error:
            wrong.append(str(error))
    print(f"{len(databases)} databases left")
    return wrong


def run_files(mount, suite, names):
    """Runs files of tests; what went wrong, as lines."""
    wrong = []
    for name in names:
        result = suite.run(name, mount.dir / name)
        wrong += [f"{name}: {line}" for line in result.beyond(suite.bare(name))]
        print(f"{name}: {len(result.ran)} tests")
    return wrong


def test_each_has_the_result_that_it_has_in_a_bare_folder(mounts, suite, road):
    """The selection, and then the log has what is left of its databases."""
    mount = mounts(capture=road)
    wrong = run_files(mount, suite, QUICK + SLOW if LONG else QUICK) + uncaptured(mount)
    assert not wrong, "\n".join(wrong)


@pytest.mark.skipif(not LONG, reason="takes ten minutes; scripts/soak sqlite runs it")
def test_veryquick(mounts, suite, road):
    """Nearly all of SQLite's tests, 250 000."""
    mount = mounts(capture=road)
    wrong = run_files(mount, suite, ["veryquick"])
    assert not wrong, "\n".join(wrong)
