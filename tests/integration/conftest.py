# SPDX-License-Identifier: MIT
"""Fixtures of the whole-program tests."""

import os
import pathlib
import shutil
import tempfile

import pytest

from mount import BIN, Mount


def pytest_collection_modifyitems(items):
    """Nothing here works without the device and the right to mount."""
    reason = None
    if not os.path.exists("/dev/fuse"):
        reason = "no /dev/fuse on this machine"
    elif os.geteuid() != 0:
        reason = "mounting as an ordinary user is not supported yet"
    if reason:
        for item in items:
            if "mounts" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def folder():
    """A folder of the test's own, on a disk rather than in memory, gone afterwards."""
    path = tempfile.mkdtemp(prefix="replitedfs-test-")
    yield pathlib.Path(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def mounts(folder):
    """Makes mounts that are cleaned up: mounts(capture=…, hooks=…, backup=True)."""
    assert os.path.exists(BIN), f"{BIN} is not built"
    made = []

    def make(name="m", start=True, **options):
        mount = Mount(folder / name, **options)
        made.append(mount)
        if start:
            mount.start()
        return mount

    yield make
    for mount in made:
        mount.clean_up()


@pytest.fixture(params=["passthrough", "intercept"])
def road(request):
    """Both roads; passthrough falls away where the machine has none."""
    return request.param
