# SPDX-License-Identifier: MIT
"""Programs that use SQLite in processes of their own, so that they can be held, cut off, killed."""

import contextlib
import ctypes
import json
import os
import pathlib
import select
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
ANSWER_S = 120
TABLE = "CREATE TABLE t(id INTEGER PRIMARY KEY, v)"
INSERT = "INSERT INTO t(v) VALUES(randomblob(300))"


def private_mounts():
    """For `before`: a mount namespace of its own, which sees no mount made later elsewhere."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_namespace, recursive, private = 0x00020000, 0x4000, 1 << 18
    if libc.unshare(new_namespace) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    if libc.mount(b"none", b"/", None, recursive | private, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")


def make_database(clients, path, mode="WAL", rows=0, **options):
    """A new database with the table t and some rows; returns the program that has it open."""
    client = clients(path, **options)
    assert client.sql(f"PRAGMA journal_mode={mode}") == [[mode.lower()]]
    client.sql(TABLE)
    client.many(rows, INSERT)
    return client


def close(*programs):
    """They close their database and end well."""
    for program in programs:
        program.run("db.close()")
        program.close()


class ClientError(Exception):
    """What the program's SQLite said."""


class Client:
    """One program; with a path it begins by opening that as `db`."""

    def __init__(self, path=None, module="sqlite3", env=None, cwd=None, before=None, **options):
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "client.py"), module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(env or {})},
            cwd=cwd,
            preexec_fn=before,
            bufsize=0,
        )
        if path is not None:
            self.run(f"db = Database({str(path)!r}, **{options!r})")

    @property
    def pid(self):
        """Its process id."""
        return self.process.pid

    def send(self, code):
        """Tells it what to do next, without waiting."""
        self.process.stdin.write(json.dumps(code).encode() + b"\n")

    def answer(self, timeout=ANSWER_S):
        """Waits for the answer to the oldest send()."""
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        assert ready, f"the client hangs: {self.state()}"
        line = self.process.stdout.readline()
        if not line:
            raise ClientError(f"the client ended with {self.process.wait(timeout)}")
        said = json.loads(line)
        if "error" in said:
            raise ClientError(said["error"])
        return said["ok"]

    def run(self, code, timeout=ANSWER_S):
        """Runs code in it, returns the value of an expression."""
        self.send(code)
        return self.answer(timeout)

    def sql(self, text, *values):
        """Runs a statement on `db`."""
        arguments = "".join(f", {value!r}" for value in values)
        return self.run(f"db.sql({text!r}{arguments})")

    def many(self, n, text):
        """Runs a statement n times on `db`, with ?1 counting from 0."""
        return self.run(f"db.many({n}, {text!r})")

    def state(self):
        """Its scheduling state and where it waits, for messages."""
        with contextlib.suppress(OSError):
            status = pathlib.Path(f"/proc/{self.pid}/stat").read_text()
            return status.rsplit(")", 1)[1].split()[0]
        return "gone"

    def kill(self):
        """kill -9, and waits for its end."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        self._close_pipes()

    def close(self, timeout=60):
        """Lets it end by itself (open connections end with the process, uncleanly)."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait(timeout)
        self._close_pipes()

    def _close_pipes(self):
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def clean_up(self):
        """Whatever a test left."""
        if self.process.poll() is None:
            self.process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        self._close_pipes()
