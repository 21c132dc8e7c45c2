# SPDX-License-Identifier: MIT
"""Servers that keep their data in SQLite: start them, load them, hold them to what they said."""

import contextlib
import http.client
import os
import pathlib
import signal
import socket
import subprocess
import threading
import traceback

from mount import wait_for

ANSWER_S = 60


class Refused(Exception):
    """An answer, but not the one that was asked for."""


# What a client may meet when its server is killed, or has lost its disk.
FAILURES = (OSError, http.client.HTTPException, Refused)


def free_port():
    """A loopback port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server in the foreground, on a port that every start chooses anew."""

    def __init__(self, command, log, env=None):
        """command(port) is what to run; what it prints goes to the file log."""
        self.command = command
        self.log_file = pathlib.Path(log)
        self.env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
        self.port = None
        self.process = None

    @property
    def pid(self):
        """Its process id."""
        return self.process.pid

    def start(self):
        """Starts it and waits until it listens; should the port be lost meanwhile, on another."""
        for _ in range(3):
            self.port = free_port()
            with open(self.log_file, "ab") as log:
                self.process = subprocess.Popen(
                    [str(word) for word in self.command(self.port)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self.env,
                )
            wait_for(
                lambda: self.process.poll() is not None or self._listens(),
                "the server to listen",
            )
            if self.process.poll() is None:
                return
            assert "in use" in self.log(), f"the server does not start:\n{self.log()}"
        raise AssertionError("no port for the server")

    def _listens(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5):
            return True
        return False

    def log(self):
        """What it has printed."""
        return self.log_file.read_text(errors="replace")

    def terminate(self):
        """SIGTERM, and waits for its end; returns its exit status."""
        assert self.process.poll() is None, f"the server has ended by itself:\n{self.log()}"
        self.process.terminate()
        return self.process.wait(ANSWER_S)

    def kill(self):
        """kill -9, and waits for its end."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(ANSWER_S)

    def clean_up(self):
        """Whatever a test left."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)


class Ledger:
    """What a server has acknowledged: a value, or None for a deletion, for each key.

    A key belongs to one thread. A request that was not answered leaves its key in doubt: it may
    have the old value or the new one.
    """

    def __init__(self):
        self.state = {}
        self.doubt = {}
        self.acked = []  # (key, value) in turn, since the last check()
        self.lock = threading.Lock()

    @contextlib.contextmanager
    def request(self, key, value):
        """Around a request that gives key its value; it is acknowledged if nothing is raised."""
        with self.lock:
            self.doubt[key] = value
        yield
        with self.lock:
            del self.doubt[key]
            self.state[key] = value
            self.acked.append((key, value))

    def check(self, found):
        """Compares with what there is, while no thread is at work, and starts anew from there."""
        wrong = []
        for key in {*self.state, *self.doubt, *found}:
            allowed = [self.state.get(key)]
            if key in self.doubt:
                allowed.append(self.doubt[key])
            if found.get(key) not in allowed:
                wrong.append((key, found.get(key), allowed))
        assert not wrong, f"after {len(self.acked)} writes {len(wrong)} are wrong: {wrong[:5]}"
        self.state = dict(found)
        self.doubt = {}
        self.acked = []


class Load:
    """Threads that each call their step again and again, until they are stopped or it raises."""

    def __init__(self, steps):
        self.errors = []
        self.stopping = threading.Event()
        self.threads = [
            threading.Thread(target=self._run, args=(step,), daemon=True) for step in steps
        ]
        for thread in self.threads:
            thread.start()

    def _run(self, step):
        try:
            while not self.stopping.is_set():
                step()
        except Exception as error:  # pylint: disable=broad-except
            if not isinstance(error, FAILURES):
                traceback.print_exc()
            self.errors.append(error)

    def wait_for(self, condition, what, seconds=3 * ANSWER_S):
        """Waits until condition() is true, or a thread has met an error."""
        wait_for(lambda: self.errors or condition(), what, seconds)

    def stop(self):
        """Waits until the steps under way are done; returns the errors the threads met."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(2 * ANSWER_S)
            assert not thread.is_alive(), "a client hangs"
        return self.errors
