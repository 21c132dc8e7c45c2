# SPDX-License-Identifier: MIT
"""Every database of a source: restored at once or verified, whatever is in the way."""

import pytest

import document
from mount import differing_pages, run_cli
from test_backend import connect, insert, wait_stored


@pytest.fixture(name="backed_up")
def fixture_backed_up(mounts):
    """A folder that was mounted, whose databases a.db and b.db are in its backend."""
    mount = mounts(backup=True)
    for name in ("a.db", "b.db"):
        connection = connect(mount, name)
        insert(connection, 5)
        connection.close()
        wait_stored(mount, name)
    mount.unmount()
    return mount


def manifest_of(mount, name):
    """The path of the manifest in the folder that was made for the database."""
    (path,) = mount.backup.glob(f"{name}-*/manifest")
    return path


def files_below(folder):
    """Every file in folder, by its path there."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "name",
    ["=2e.~escaped.db", "=2e.~..~escaped.db", "x~..~..~escaped.db", "~tmp~escaped.db"],
)
def test_a_name_in_a_manifest_leads_to_no_place_outside(backed_up, folder, name):
    """Whoever can write to the backend cannot choose where files are made."""
    path = manifest_of(backed_up, "a.db")
    document.write(path, "manifest", {**document.read(path), "name": name})
    (folder / "deep").mkdir()
    before = set(files_below(folder))
    run_cli("restore", "--from", backed_up.backup, "--all", "--output", folder / "deep" / "out")
    made = set(files_below(folder)) - before
    assert made == {"deep/out/a.db", "deep/out/b.db"}
    assert differing_pages(backed_up.dir / "a.db", folder / "deep" / "out" / "a.db") == []
