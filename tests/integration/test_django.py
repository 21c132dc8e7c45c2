# SPDX-License-Identifier: MIT
"""A Django site on a mount: migrations, sessions, and the admin used through its forms."""

import os
import pathlib
import random
import re
import signal
import sqlite3
import subprocess
import time
import urllib.parse
import urllib.request

import pytest

from mount import assert_captured, assert_restores
from servers import FAILURES, Ledger, Load, Refused

SITE = pathlib.Path(__file__).parent.parent / "apps" / "django_site"
PYTHON = "/usr/bin/python3"
SECONDS = float(os.environ.get("REPLITEDFS_STRESS_SECONDS", "0"))
N_BROWSERS = 4
USER, PASSWORD = "root", "a long password"
LIST = "/admin/notes/note/"
# the long form's whole history is replayed at its end
LONG_LOG = {"REPLITEDFS_MOUNT_LOG_MAX_SIZE": "8GiB"}


@pytest.fixture(scope="module", autouse=True)
def django():
    """Skips where there is none for the system's Python."""
    done = subprocess.run([PYTHON, "-c", "import django"], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no Django for {PYTHON}")


class Site:
    """The site, on a database."""

    def __init__(self, database, mode, servers, log):
        self.database = database
        self.mode = mode
        self.env = {"SITE_DATABASE": str(database), "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
        self.server = servers(
            lambda port: self.command("runserver", "--noreload", f"127.0.0.1:{port}"),
            log,
            env=self.env,
        )

    @staticmethod
    def command(*arguments):
        """A command of the site."""
        return [PYTHON, str(SITE / "manage.py"), *arguments]

    def manage(self, *arguments):
        """Runs one that must succeed."""
        done = subprocess.run(
            self.command(*arguments),
            env={**self.server.env, **self.env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"

    def sql(self, statement):
        """Runs a statement on its database, in a connection for that."""
        connection = sqlite3.connect(self.database, isolation_level=None, timeout=60)
        rows = connection.execute(statement).fetchall()
        connection.close()
        return rows

    def set_up(self):
        """The database in its mode, its tables, a superuser; then the server."""
        assert self.sql(f"PRAGMA journal_mode={self.mode}") == [(self.mode,)]
        self.manage("migrate", "--verbosity", "0")
        self.manage("createsuperuser", "--noinput", "--username", USER, "--email", "r@localhost")
        self.server.start()

    def notes(self):
        """{title: body} of all."""
        return dict(self.sql("SELECT title, body FROM notes_note"))


class RequestCounter(urllib.request.BaseHandler):
    """Counts the requests that are sent, those that follow a redirection too."""

    def __init__(self):
        self.count = 0

    def http_request(self, request):
        """Called by urllib."""
        self.count += 1
        return request


class Browser:
    """Somebody who uses the site: a page or a form at each call, with cookies."""

    def __init__(self, server, ledger, number, seed):
        self.server = server
        self.ledger = ledger
        self.number = number
        self.chance = random.Random(seed)
        self.counter = RequestCounter()
        self.opener = None
        self.known = False
        self.notes = {}  # the address of each of its notes in the admin, by its title
        self.created = 0

    def __call__(self):
        kind = self.chance.random()
        if not self.known or kind < 0.03:
            self.log_in()
        elif kind < 0.2 or not self.notes:
            self.add()
        elif kind < 0.35:
            self.change(self.chance.choice(list(self.notes)))
        elif kind < 0.45:
            self.delete(self.chance.choice(list(self.notes)))
        elif kind < 0.6:
            self.read(self.chance.choice(list(self.notes)))
        elif kind < 0.85:
            self.fetch("/")
        else:
            self.fetch(f"{LIST}?q={self.chance.randrange(100)}")

    def fetch(self, path, at=None, form=None):
        """The address and text of the page that a GET, or the form, leads to: it must match at,
        and be the path's own without that."""
        url = f"http://127.0.0.1:{self.server.port}{path}"
        data = urllib.parse.urlencode(form).encode() if form else None
        with self.opener.open(url, data, timeout=60) as answer:
            page = answer.read().decode()
            address = urllib.parse.urlsplit(answer.geturl()).path
        if not re.fullmatch(at or re.escape(path.partition("?")[0]), address):
            raise Refused(f"{path} led to {address}: {page}")
        return address, page

    def submit(self, path, at, form):
        """Fetches a form and sends it back filled in; returns the address that it leads to."""
        _, page = self.fetch(path)
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        if not token:
            raise Refused(f"no form at {path}: {page}")
        return self.fetch(path, at, {**form, "csrfmiddlewaretoken": token[1]})[0]

    def log_in(self):
        """As the superuser, as if never seen before."""
        self.known = False
        cookies = urllib.request.HTTPCookieProcessor()
        self.opener = urllib.request.build_opener(cookies, self.counter)
        form = {"username": USER, "password": PASSWORD}
        self.submit("/admin/login/?next=/admin/", "/admin/", form)
        self.known = True

    def text(self):
        """The body of a note, no two alike."""
        return f"{self.chance.random()} " * self.chance.randrange(1, 100) + "."

    def save(self, path, title):
        """Sends the form of a note; returns the address it has then."""
        form = {"title": title, "body": self.text(), "_continue": "1"}
        with self.ledger.request(title, form["body"]):
            return self.submit(path, rf"{LIST}\d+/change/", form)

    def add(self):
        """One more note."""
        self.created += 1
        title = f"note {self.created} of {self.number}"
        self.notes[title] = self.save(f"{LIST}add/", title)

    def change(self, title):
        """Another body."""
        assert self.save(self.notes[title], title) == self.notes[title]

    def delete(self, title):
        """One note less, by way of the page that asks whether it may be."""
        path = self.notes.pop(title).replace("change", "delete")
        with self.ledger.request(title, None):
            self.submit(path, LIST, {"post": "yes"})

    def read(self, title):
        """The public page has what was acknowledged."""
        pk = self.notes[title].split("/")[-3]
        _, page = self.fetch(f"/{pk}/")
        if f"<h1>{title}</h1>\n<p>{self.ledger.state[title]}</p>" not in page:
            raise Refused(f"not {self.ledger.state[title]}: {page}")


def browse(browsers, n):
    """All of them at once, until they have sent n requests more, and still then."""

    def sent():
        return sum(browser.counter.count for browser in browsers)

    goal = sent() + n
    load = Load(browsers)
    load.wait_for(lambda: sent() >= goal, f"{n} requests")
    return load


def kill_the_site(site, ledger, browsers, n):
    """kill -9 in the middle of requests; the next one has all that this one acknowledged."""
    load = browse(browsers, n)
    site.server.kill()
    errors = load.stop()
    assert all(isinstance(error, FAILURES) for error in errors), errors
    site.server.start()
    ledger.check(site.notes())


def assert_no_fault(log):
    """Nothing went wrong in the server, whoever noticed."""
    assert "Traceback" not in log, log
    assert not re.search(r'" 5\d\d ', log), log
    for text in ("database is locked", "disk I/O error", "malformed", "readonly"):
        assert text not in log, log


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_django_site_with_a_kill(mounts, servers, folder, road, mode):
    """Requests by one browser and by four, a kill -9, and more; all that was saved restores."""
    n_requests = 1000 if road == "passthrough" else 300
    seed = random.randrange(1 << 20)
    print("seed", seed)
    mount = mounts(capture=road, backup=True, env=LONG_LOG)
    site = Site(mount.dir / "site.db", mode, servers, folder / "server.log")
    site.set_up()
    ledger = Ledger()
    browsers = [Browser(site.server, ledger, i, seed + i) for i in range(N_BROWSERS)]
    end = time.monotonic() + SECONDS
    while True:
        assert browse(browsers[:1], n_requests // 4).stop() == []
        assert browse(browsers, n_requests // 2).stop() == []
        ledger.check(site.notes())
        kill_the_site(site, ledger, browsers, n_requests // 4)
        if time.monotonic() >= end:
            break
    assert browse(browsers, 50).stop() == []
    ledger.check(site.notes())
    assert site.server.terminate() in (0, -signal.SIGTERM)
    assert_no_fault(site.server.log())
    assert site.sql("PRAGMA journal_mode") == [(mode,)]
    assert site.sql("PRAGMA integrity_check") == [("ok",)]
    mount.unmount()
    assert_captured(mount, "site.db")
    assert_restores(mount, "site.db", folder / "restored.db")
    site.database = folder / "restored.db"
    ledger.check(site.notes())
