# SPDX-License-Identifier: MIT
"""What POSIX promises of files that are no databases, asked by programs made for that."""

import os
import pathlib
import pwd
import random
import re
import subprocess
import time

import pytest

TOOLS = pathlib.Path(__file__).parent.parent / "tools"
LONG_S = float(os.environ.get("REPLITEDFS_STRESS_SECONDS", "0"))
# The first time it builds the programs.
pytestmark = pytest.mark.timeout(900 + 3 * LONG_S)


@pytest.fixture(scope="module")
def programs():
    """The folder of fsx and pjdfstest."""
    built = subprocess.run([str(TOOLS / "build-posix-suites")], capture_output=True, text=True)
    if built.returncode != 0:
        pytest.skip(built.stderr.strip().splitlines()[-1])
    return pathlib.Path(built.stdout.strip()) / "bin"


# -- fsx: reads, writes, maps, cuts, copies at random; what it reads must be what it wrote

FSX_OPERATIONS = """
nomsyncafterwrite = {nomsync}
[weights]
close_open = 1
copy_file_range = 3
fdatasync = 1
fsync = 1
invalidate = 1
mapread = 10
mapwrite = 10
posix_fadvise = 1
posix_fallocate = 2
punch_hole = 2
read = 10
sendfile = 3
truncate = 5
write = 10
"""


def run_fsx(programs, mount, seed, n=5000):
    """Exercises a file; with an even seed what is written by a mapping is synced at once."""
    config = mount.root / "fsx.toml"
    config.write_text(FSX_OPERATIONS.format(nomsync="true" if seed % 2 else "false"))
    command = [programs / "fsx", "-f", config, "-N", n, "-S", seed, "-P", mount.root]
    done = subprocess.run(
        [*map(str, command), str(mount.dir / f"file{seed}")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"seed {seed}: {done.stdout[-3000:]}"


def test_fsx_finds_nothing(programs, ram_mounts, road):
    """Three seeds, in memory, where syncing costs little."""
    mount = ram_mounts(capture=road)
    for seed in (1, 2, 3):
        run_fsx(programs, mount, seed)


@pytest.mark.skipif(not LONG_S, reason="scripts/soak stress runs it")
def test_fsx_finds_nothing_for_long(programs, mounts, road):
    """Random seeds, on a disk."""
    mount = mounts(capture=road)
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        seed = random.randrange(1 << 30)
        print("seed", seed)
        run_fsx(programs, mount, seed, n=20000)
        (mount.dir / f"file{seed}").unlink()


# -- pjdfstest: 400 questions about names, modes, owners, times

PJDFSTEST = """
[features]
posix_fallocate = {}
rename_ctime = {}
utime_now = {}
utimensat = {}
[settings]
naptime = 0.02
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
"""
# Those that need a block or character device: the mount makes none, by design.
DEVICES = re.compile(r"::(block|char)$")
N_DEVICES = 86
# What has another result on the mount, by name, with that.
EXPECTED = {
    # pathconf(3) knows LINK_MAX of some file systems only, and of no FUSE.
    "link::link_count_max": "skipped",
}


def run_pjdfstest(programs, folder, second):
    """The result of each test: ok, FAILED, skipped. In a mount namespace, so that the path of the
    folder is short enough for a socket and every user may walk it."""
    config = second / "pjdfstest.toml"
    config.write_text(PJDFSTEST)
    command = [programs / "pjdfstest", "-c", config, "-p", "/mnt", "-s", second]
    script = 'mount --bind "$0" /mnt && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, str(folder), *map(str, command)],
        env={**os.environ, "NO_COLOR": "1", "RUST_BACKTRACE": "0"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = re.findall(r"^(\S+::\S+) +(ok|FAILED|skipped)$", done.stdout, re.M)
    total = re.search(r"^Summary: .* (\d+) total$", done.stdout, re.M)
    assert total and len(said) == int(total[1]), done.stdout[-2000:] + done.stderr
    return dict(said), done.stdout


@pytest.fixture(scope="module")
def bare_results():
    """What is the same for both roads is done once."""
    return {}


def test_pjdfstest_differs_as_expected(programs, mounts, folder, ram_folder, road, bare_results):
    """Each test has its result of the bare folder, but for those that are known not to."""
    for name in ("nobody", "daemon"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            pytest.skip(f"no user {name} on this machine")
    os.chmod(ram_folder, 0o755)
    if not bare_results:
        (folder / "bare").mkdir()
        bare_results.update(run_pjdfstest(programs, folder / "bare", ram_folder)[0])
    there = bare_results
    mount = mounts(capture=road, options=["-o", "allow_other"])
    here, said = run_pjdfstest(programs, mount.dir, ram_folder)
    devices = {name: "FAILED" for name in there if DEVICES.search(name)}
    wanted = {**there, **devices, **EXPECTED}
    surprises = {name: here[name] for name in here if here[name] != wanted[name]}
    assert not surprises, f"{surprises}\n{said}"
    assert here.keys() == there.keys() and len(devices) == N_DEVICES
