# SPDX-License-Identifier: MIT
"""Fixtures of the whole-program tests."""

import contextlib
import functools
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from clients import Client
from follow import Follow
from mount import BIN, Mount, make_ext4
from servers import Server

LOG_LINES = 60  # of what a daemon has logged last


def mounting_missing():
    """Why nothing can be mounted here; None where it can."""
    if not os.path.exists("/dev/fuse"):
        return "no /dev/fuse on this machine"
    if os.geteuid() != 0:
        return "mounting as an ordinary user is not supported yet"
    return None


def pytest_collection_modifyitems(items):
    """Nothing here works without the device and the right to mount."""
    reason = mounting_missing()
    if reason:
        for item in items:
            if {"mounts", "ram_mounts"} & set(getattr(item, "fixturenames", ())):
                item.add_marker(pytest.mark.skip(reason=reason))


@functools.cache
def passthrough_missing():
    """Why a mount has no passthrough here; None where it has. Asks one, once."""
    path = tempfile.mkdtemp(prefix="replitedfs-test-")
    mount = Mount(path)
    try:
        mount.start()
        capture = mount.status()["capture"]
    finally:
        mount.clean_up()
        shutil.rmtree(path, ignore_errors=True)
    return None if capture["passthrough"] else capture["why_not"]


def need_passthrough():
    """Skips where there is none."""
    reason = mounting_missing() or passthrough_missing()
    if reason:
        pytest.skip(f"no passthrough: {reason}")


@pytest.fixture
def folder():
    """A folder of the test's own, on a disk rather than in memory, gone afterwards."""
    path = tempfile.mkdtemp(prefix="replitedfs-test-")
    yield pathlib.Path(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def ram_folder(folder):
    """A folder in memory, where an fsync costs nothing but its call; else one on disk."""
    place = os.environ.get("REPLITEDFS_TEST_RAM", "/dev/shm")
    if not os.access(place, os.W_OK):
        yield folder
        return
    path = tempfile.mkdtemp(prefix="replitedfs-test-", dir=place)
    yield pathlib.Path(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def fine_times(request):
    """For tests in which it takes file times to tell what was written: skips where two writes may
    have the same. See file_times_fine()."""
    in_memory = "ram_folder" in request.fixturenames
    place = request.getfixturevalue("ram_folder" if in_memory else "folder")
    times = set()
    with tempfile.TemporaryFile(dir=place) as file:
        for _ in range(5):
            os.pwrite(file.fileno(), b"?", 0)
            times.add(os.fstat(file.fileno()).st_mtime_ns)
    if len(times) < 5:
        pytest.skip(f"file times move in ticks in {place.parent}")


@pytest.fixture
def mounts(folder):
    """Makes mounts that are cleaned up: mounts(capture=…, hooks=…, backup=True)."""
    yield from make_mounts(folder)


@pytest.fixture
def ram_mounts(ram_folder):
    """Like mounts, in memory."""
    yield from make_mounts(ram_folder)


def end_mount(mount):
    """Shows, when the test has failed, what a mount has logged, and ends it."""
    try:
        print(mount.root, *mount.log().splitlines()[-LOG_LINES:], sep="\n")
    finally:
        mount.clean_up()


def make_mounts(folder):
    """The body of both."""
    assert os.path.exists(BIN), f"{BIN} is not built"
    with contextlib.ExitStack() as made:

        def make(name="m", start=True, **options):
            if options.get("capture") == "passthrough":
                need_passthrough()
            mount = Mount(folder / name, **options)
            made.callback(end_mount, mount)
            if start:
                mount.start()
            return mount

        yield make


@pytest.fixture
def small_disk(folder):
    """A disk of 64 MB for the state of the mount `m`, which must be a mount of mounts()."""
    image = make_ext4(folder / "disk")
    state = folder / "m" / "state"
    state.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-o", "loop", str(image), str(state)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"no loop mounts here: {done.stderr.strip()}")
    yield state
    subprocess.run(["umount", str(state)], check=True)


@pytest.fixture
def follows():
    """Mounts, with their logs compared as they grow: follows(mount) before that is started."""
    with contextlib.ExitStack() as made:

        def make(mount):
            follow = Follow(mount)
            made.callback(follow.close)
            return follow

        yield make


@pytest.fixture(params=["passthrough", "intercept"])
def road(request):
    """Both roads; passthrough is skipped where the machine has none."""
    if request.param == "passthrough":
        need_passthrough()
    return request.param


@pytest.fixture(params=["passthrough", "intercept", "unprivileged"])
def any_road(request):
    """Options of a mount: both roads, and all through the page cache, so that no -shm is seen."""
    if request.param == "unprivileged":
        return {"capture": "auto", "hooks": "no-passthrough"}
    return {"capture": request.param}


@pytest.fixture
def clients(request):
    """Makes programs that use SQLite: clients(path, module=…); they end with the test."""
    yield from make_programs(request, Client)


@pytest.fixture
def servers(request):
    """Makes servers, not yet started: servers(command, log, env=…); they end with the test."""
    yield from make_programs(request, Server)


def make_programs(request, kind):
    """The body of both."""
    # Made after the mounts, these end before them.
    for name in ("mounts", "ram_mounts"):
        if name in request.fixturenames:
            request.getfixturevalue(name)
    with contextlib.ExitStack() as made:

        def make(*args, **options):
            program = kind(*args, **options)
            made.callback(program.clean_up)
            return program

        yield make
