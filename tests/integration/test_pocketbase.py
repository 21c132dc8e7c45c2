# SPDX-License-Identifier: MIT
"""PocketBase on a mount: SQLite in pure Go, a pool of connections, and clients that listen."""

import contextlib
import http.client
import itertools
import json
import os
import pathlib
import random
import socket
import sqlite3
import subprocess
import threading
import time

import pytest

from mount import alive, assert_captured, assert_restores, wait_for
from servers import FAILURES, Ledger, Load, Refused

TOOLS = pathlib.Path(__file__).parent.parent / "tools"
SECONDS = float(os.environ.get("REPLITEDFS_STRESS_SECONDS", "0"))
N_WRITES = 1000
N_WRITERS = 4
N_ROUNDS = 6
EMAIL, PASSWORD = "root@localhost.test", "a long password"
COLLECTIONS = ("notes", "tasks")
# the long form's whole history is replayed at its end
LONG_LOG = {"REPLITEDFS_MOUNT_LOG_MAX_SIZE": "8GiB"}
DATABASES = ("pb_data/data.db", "pb_data/auxiliary.db")


@pytest.fixture(scope="module")
def program():
    """PocketBase, built."""
    built = subprocess.run(
        [str(TOOLS / "build-pocketbase")], capture_output=True, text=True, check=False
    )
    if built.returncode != 0:
        pytest.skip(" ".join(built.stderr.split()))
    return built.stdout.strip()


class Api:
    """One program's connection to PocketBase."""

    def __init__(self, server, token=None):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self.token = token

    def call(self, method, path, body=None):
        """What it answers, parsed; anything but success raises Refused."""
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = self.token
        self.connection.request(
            method, path, None if body is None else json.dumps(body), headers
        )
        response = self.connection.getresponse()
        text = response.read().decode()
        if response.status not in (200, 204):
            raise Refused(f"{method} {path}: {response.status} {text}")
        return json.loads(text) if text else None

    def log_in(self):
        """As the superuser; returns the token."""
        answer = self.call(
            "POST",
            "/api/collections/_superusers/auth-with-password",
            {"identity": EMAIL, "password": PASSWORD},
        )
        self.token = answer["token"]
        return self.token

    def create_collections(self):
        """Both, with one text of any length."""
        for name in COLLECTIONS:
            field = {"name": "body", "type": "text", "max": 100000}
            self.call(
                "POST", "/api/collections", {"name": name, "type": "base", "fields": [field]}
            )

    def records(self):
        """{(collection, id): body} of all records."""
        found = {}
        for name in COLLECTIONS:
            page = 0
            while page == 0 or len(items) == 1000:
                page += 1
                items = self.call(
                    "GET",
                    f"/api/collections/{name}/records"
                    f"?page={page}&perPage=1000&skipTotal=1&sort=id&fields=id,body",
                )["items"]
                found.update({(name, item["id"]): item["body"] for item in items})
        return found


class Writer:
    """Creates, changes and deletes records of its own, a random one of these at each call."""

    def __init__(self, ledger, number, seed):
        self.api = None
        self.ledger = ledger
        self.number = number
        self.chance = random.Random(seed)
        self.keys = []
        self.created = 0

    def __call__(self):
        kind = self.chance.random()
        if kind < 0.4 or not self.keys:
            self.create()
        elif kind < 0.65:
            self.send("PATCH", self.chance.choice(self.keys), self.text())
        else:
            key = self.keys.pop(self.chance.randrange(len(self.keys)))
            self.send("DELETE", key, None)

    def create(self):
        """One more record."""
        self.created += 1
        key = (self.chance.choice(COLLECTIONS), f"{self.number:05}{self.created:010}")
        self.send("POST", key, self.text())
        self.keys.append(key)

    def text(self):
        """The body of a record, no two alike."""
        return f"{self.chance.random()} " * self.chance.randrange(1, 60) + "."

    def send(self, method, key, body):
        """One write, booked."""
        collection, record = key
        path = f"/api/collections/{collection}/records"
        if method != "POST":
            path += f"/{record}"
        with self.ledger.request(key, body):
            self.api.call(method, path, None if body is None else {"id": record, "body": body})


class Subscriber:
    """Listens to what happens to the records of some collections."""

    def __init__(self, server, token, collections):
        self.heard = set()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
        connection.request("GET", "/api/realtime")
        self.socket = connection.sock
        self.stream = connection.getresponse()
        assert self.stream.status == 200
        name, data = self.event()
        assert name == "PB_CONNECT"
        Api(server, token).call(
            "POST",
            "/api/realtime",
            {
                "clientId": data["clientId"],
                "subscriptions": [f"{collection}/*" for collection in collections],
            },
        )
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def event(self):
        """Waits for the next event; returns its name and data, or None at the end of all."""
        name, data = None, None
        while True:
            line = self.stream.readline().decode()
            if not line:
                return None
            key, _, value = line.rstrip("\n").partition(":")
            if key == "event":
                name = value.strip()
            elif key == "data":
                data = json.loads(value)
            elif not line.strip() and name:
                return name, data

    def listen(self):
        """Notes what becomes of the records, as the ledger does."""
        with contextlib.suppress(*FAILURES):
            while event := self.event():
                record = event[1]["record"]
                body = None if event[1]["action"] == "delete" else record["body"]
                self.heard.add(((record["collectionName"], record["id"]), body))

    def close(self):
        """Hangs up."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join(60)
        assert not self.thread.is_alive()
        self.stream.close()


class Site:
    """A PocketBase whose data is in a folder."""

    def __init__(self, program, folder, servers, log):
        self.program = program
        self.folder = folder
        self.server = servers(
            lambda port: [program, "serve", "--http", f"127.0.0.1:{port}", "--dir", folder], log
        )
        self.token = None

    def set_up(self):
        """A superuser by its command line, the rest by its API."""
        done = subprocess.run(
            [self.program, "superuser", "create", EMAIL, PASSWORD, "--dir", str(self.folder)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        self.server.start()
        api = self.api()
        self.token = api.log_in()
        api.create_collections()

    def api(self):
        """A new connection, logged in if set_up() has been."""
        return Api(self.server, self.token)

    def load(self, writers):
        """Sets writers to work, over new connections."""
        for writer in writers:
            writer.api = self.api()
        return Load(writers)


def make_writers(ledger):
    """Some, with a seed that is printed."""
    seed = random.randrange(1 << 20)
    print("seed", seed)
    return [Writer(ledger, number, seed + number) for number in range(N_WRITERS)]


def write_until(load, ledger, n):
    """Until n writes more are acknowledged, or a writer has failed."""
    goal = len(ledger.acked) + n
    load.wait_for(lambda: len(ledger.acked) >= goal, f"{n} writes")


def assert_only_failures(errors):
    """Nothing but what clients of a killed server may meet."""
    assert all(isinstance(error, FAILURES) for error in errors), errors


def logged(mount, condition):
    """The messages that PocketBase has kept, in a database of its own, of an unmounted folder."""
    connection = sqlite3.connect(mount.dir / DATABASES[1])
    rows = connection.execute(f"SELECT message, data FROM _logs WHERE {condition}").fetchall()
    connection.close()
    return rows


def assert_kept(mount, site, servers, folder):
    """Captured, in the backend, and good for a site that goes on where this one ended."""
    wanted = site.api().records()
    assert site.server.terminate() == 0, site.server.log()
    mount.unmount()
    restored = folder / "restored"
    restored.mkdir()
    for name in DATABASES:
        assert_captured(mount, name)
        assert_restores(mount, name, restored / pathlib.Path(name).name)
    again = Site(site.program, restored, servers, folder / "restored.log")
    again.server.start()
    api = again.api()
    api.log_in()
    assert api.records() == wanted
    assert again.server.terminate() == 0, again.server.log()


def write_and_listen(site, ledger, writers):
    """All that is acknowledged is there, and has been heard by those who asked for it."""
    subscribers = {
        collections: Subscriber(site.server, site.token, collections)
        for collections in (COLLECTIONS, COLLECTIONS[:1], COLLECTIONS[1:])
    }
    load = site.load(writers)
    write_until(load, ledger, N_WRITES)
    assert load.stop() == []
    for collections, subscriber in subscribers.items():
        wanted = {(key, body) for key, body in ledger.acked if key[0] in collections}
        wait_for(lambda: subscriber.heard >= wanted, "every write to be heard")
        subscriber.close()
        assert subscriber.heard == wanted
    ledger.check(site.api().records())


@pytest.fixture
def new_site(mounts, servers, program, folder, road):
    """A mount, a site on it, and the ledger of its writers."""
    mount = mounts(capture=road, backup=True, env=LONG_LOG)
    site = Site(program, mount.dir / "pb_data", servers, folder / "server.log")
    site.set_up()
    ledger = Ledger()
    return mount, site, ledger, make_writers(ledger)


def test_pocketbase_serves_writers_and_subscribers(new_site, servers, folder):
    """1,000 writes and realtime clients meet no error, all is heard, and all of it restores."""
    mount, site, ledger, writers = new_site
    end = time.monotonic() + SECONDS
    write_and_listen(site, ledger, writers)
    while time.monotonic() < end:
        write_and_listen(site, ledger, writers)
    assert_kept(mount, site, servers, folder)
    assert len(logged(mount, "level < 8")) >= N_WRITES
    assert logged(mount, "level >= 8") == []


def kill_the_site(site, ledger, writers, n):
    """kill -9 of PocketBase in the middle of writes; the next one has all that this one acked."""
    load = site.load(writers)
    write_until(load, ledger, n)
    site.server.kill()
    assert_only_failures(load.stop())
    site.server.start()
    ledger.check(site.api().records())


def kill_the_mount(mount, site, ledger, writers, n, both):
    """The same with the mount's daemon, or both its processes, and an orderly end of PocketBase
    after that."""
    load = site.load(writers)
    write_until(load, ledger, n)
    mount.kill(*(mount.pids if both else [mount.daemon]))
    # Over the passthrough road it may write on, past the dead daemon.
    write_until(load, ledger, n)
    refused = mount.start(check=False)
    assert refused.returncode == 75, refused.stderr
    assert f"pid {site.server.pid}" in refused.stderr, refused.stderr
    assert_only_failures(load.stop())
    site.server.terminate()
    wait_for(lambda: not alive(mount.supervisor), "the supervisor's end")
    mount.start()
    site.server.start()
    ledger.check(site.api().records())


def test_kills_lose_nothing_that_pocketbase_acknowledged(new_site, servers, folder):
    """kill -9 of the site, and of the mount's daemon alone or with its supervisor in turns, again
    and again in the middle of writes."""
    mount, site, ledger, writers = new_site
    chance = writers[0].chance
    end = time.monotonic() + SECONDS
    for round_number in itertools.count(1):
        kill_the_site(site, ledger, writers, chance.randrange(20, 400))
        both = round_number % 2 == 0
        kill_the_mount(mount, site, ledger, writers, chance.randrange(20, 400), both)
        if round_number >= N_ROUNDS and time.monotonic() >= end:
            break
    assert_kept(mount, site, servers, folder)
