# SPDX-License-Identifier: MIT
"""Every database of a source: restored at once or verified, whatever is in the way."""

import datetime
import json
import os
import subprocess

import pytest

import document
from mount import differing_pages, preload, run_cli, wait_for
from test_backend import connect, insert, wait_stored


def fill(mount, *names):
    """Five more rows in each of these databases, which are stored then."""
    for name in names:
        connection = connect(mount, name)
        insert(connection, 5)
        connection.close()
        wait_stored(mount, name)


@pytest.fixture(name="backed_up")
def fixture_backed_up(mounts):
    """A folder that was mounted, whose databases a.db and b.db are in its backend."""
    mount = mounts(backup=True)
    fill(mount, "a.db", "b.db")
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


def test_all_databases_of_a_moment(mounts, folder):
    """What ended since then is there, what began since then is not, nor what had ended."""
    mount = mounts(backup=True)
    fill(mount, "gone.db", "kept.db", "ends.db")
    (mount.dir / "gone.db").unlink()
    wait_for(lambda: document.read(manifest_of(mount, "gone.db"))["ended"], "the end to be stored")
    for name in ("kept.db", "ends.db"):
        (folder / name).write_bytes((mount.dir / name).read_bytes())
    moment = datetime.datetime.now(datetime.timezone.utc).isoformat()
    fill(mount, "kept.db", "ends.db", "later.db")
    (mount.dir / "ends.db").unlink()
    # Another one takes its name.
    (mount.dir / "later.db").rename(mount.dir / "ends.db")
    mount.unmount()
    for source, where in ((mount.backup, "from-backup"), (mount.dir, "from-log")):
        output = folder / where
        done = run_cli("restore", "--all", "--at", moment, source, "-o", output, env=mount.env)
        assert files_below(output) == ["ends.db", "kept.db"], done.stderr
        assert "ends.db: passed over" in done.stderr
        for name in ("kept.db", "ends.db"):
            assert differing_pages(folder / name, output / name) == []


@pytest.mark.parametrize("as_json", [False, True], ids=["", "json"])
def test_one_that_fails_hides_no_other(backed_up, folder, as_json):
    """They may be all that is left."""
    for path in manifest_of(backed_up, "a.db").parent.glob("segment/**/*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-1])
    output = folder / "out"
    json_option = ["--json"] if as_json else []
    done = run_cli("restore", "--all", backed_up.backup, "-o", output, *json_option, check=False)
    assert done.returncode == 65, done.stderr
    assert files_below(output) == ["b.db"]
    assert differing_pages(backed_up.dir / "b.db", output / "b.db") == []
    if as_json:
        failed, restored = sorted(json.loads(done.stdout), key=lambda found: found["database"])
        assert (failed["database"], failed["ok"]) == ("a.db", False) and failed["error"]
        assert restored["database"] == "b.db"
    else:
        assert "a.db: FAILED: " in done.stderr and "b.db" in done.stdout


def test_two_of_a_name_do_not_replace_one_another(backed_up, folder):
    """Whatever made that: one is restored, and how to get the other is said."""
    path = manifest_of(backed_up, "b.db")
    document.write(path, "manifest", {**document.read(path), "name": "a.db"})
    output = folder / "out"
    done = run_cli("restore", "--all", "--force", backed_up.backup, "-o", output, check=False)
    assert done.returncode != 0 and files_below(output) == ["a.db"]
    key = done.stderr.split("--db '")[1].split("'")[0]
    other = folder / "other.db"
    run_cli("restore", "--from", backed_up.backup, "--db", key, "-o", other)
    for name in ("a.db", "b.db"):
        made = [differing_pages(backed_up.dir / name, path) for path in (output / "a.db", other)]
        assert [] in made, f"{name} is in neither"


FAST_CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *now)
{
	static int (*real)(clockid_t, struct timespec *);
	if (real == NULL)
		real = dlsym(RTLD_NEXT, "clock_gettime");
	int r = real(clock, now);
	if (clock == CLOCK_REALTIME)
		now->tv_sec += 3600;
	return r;
}
"""


def test_all_is_the_newest_whatever_the_clock_says(mounts, folder):
    """Restored where the clock is an hour behind the one that the commits were made by."""
    library = preload(FAST_CLOCK, folder / "fast.so")
    mount = mounts(backup=True, env={"LD_PRELOAD": library})
    fill(mount, "a.db", "b.db")
    mount.unmount()
    env = {key: value for key, value in mount.env.items() if key != "LD_PRELOAD"}
    for source, where in ((mount.backup, "from-backup"), (mount.dir, "from-log")):
        output = folder / where
        run_cli("restore", "--all", source, "-o", output, env=env)
        for name in ("a.db", "b.db"):
            assert differing_pages(mount.dir / name, output / name) == []


def test_nothing_to_restore_or_to_verify_is_an_error(backed_up, folder):
    """A wrong folder does not look like a success."""
    empty = folder / "empty"
    empty.mkdir()
    for args in (("verify",), ("restore", "--all", "--output", folder / "out")):
        done = run_cli(*args, empty, check=False)
        assert done.returncode == os.EX_NOINPUT, done.stderr
        assert "holds no database" in done.stderr
    args = ("restore", "--all", "--at", "2001-01-01T00:00:00Z", "-o", folder / "out")
    done = run_cli(*args, backed_up.backup, check=False)
    assert done.returncode == os.EX_NOINPUT, done.stderr
    assert "a.db: passed over" in done.stderr


def test_one_manifest_that_cannot_be_read_hides_no_other(backed_up):
    """Its database fails, the next one is verified."""
    path = manifest_of(backed_up, "a.db")
    path.write_bytes(path.read_bytes().replace(b"manifest 1 ", b"manifest 9 ", 1))
    done = run_cli("verify", "--json", backed_up.backup, check=False)
    assert done.returncode not in (0, os.EX_SOFTWARE)
    results = json.loads(done.stdout)["databases"]
    assert [result["ok"] for result in results] == [False, True]
    assert "version 9" in results[0]["error"]
    assert results[1]["database"] == "b.db"


def test_results_bear_the_name_of_the_database(backed_up, folder):
    """Whatever it was found by."""
    key = manifest_of(backed_up, "b.db").parent.name
    args = ("--db", key, "--json", backed_up.backup)
    done = run_cli("restore", *args, "-o", folder / "b.db")
    assert json.loads(done.stdout)["database"] == "b.db"
    done = run_cli("verify", *args)
    (result,) = json.loads(done.stdout)["databases"]
    assert result["database"] == "b.db"


def test_a_folder_on_a_medium_that_cannot_be_written_is_listed(small_disk, mounts):
    """A listing only reads; a restore from there, which does not, says why."""
    mount = mounts("m")
    connection = connect(mount, "a.db")
    insert(connection, 5)
    mount.settle("a.db")
    connection.close()
    mount.unmount()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    listed = json.loads(run_cli("list", "--json", mount.dir, env=mount.env).stdout)
    assert [database["name"] for database in listed["databases"]] == ["a.db"]
    done = run_cli("verify", mount.dir, env=mount.env, check=False)
    assert done.returncode != 0
    assert "state folder cannot be written" in done.stderr
