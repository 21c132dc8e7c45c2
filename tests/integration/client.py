# SPDX-License-Identifier: MIT
"""A program that uses SQLite, driven line by line by a test; see clients.Client.

client.py MODULE   (sqlite3 or apsw)

Each line on stdin is a piece of Python as a JSON string. It is evaluated (an expression) or
executed, and answered by one line of JSON: {"ok": value} or {"error": text}. Everything a
piece defines stays for the next one.
"""

import importlib
import json
import os
import sys

sqlite = importlib.import_module(sys.argv[1])


class Database:
    """A connection in autocommit mode, with the same methods for both modules."""

    def __init__(self, path, busy_ms=10000, uri=False, vfs=None):
        if sqlite.__name__ == "apsw":
            flags = sqlite.SQLITE_OPEN_READWRITE | sqlite.SQLITE_OPEN_CREATE
            flags |= sqlite.SQLITE_OPEN_URI
            self.connection = sqlite.Connection(path, flags=flags, vfs=vfs)
            self.connection.set_busy_timeout(busy_ms)
        else:
            self.connection = sqlite.connect(
                path, isolation_level=None, timeout=busy_ms / 1000, uri=uri
            )

    def sql(self, text, *values):
        """Runs one statement, returns its rows."""
        return [list(row) for row in self.connection.execute(text, values).fetchall()]

    def many(self, n, text):
        """Runs one statement n times with ?1 = 0 … n-1; returns n."""
        numbered = "?1" in text
        for i in range(n):
            self.connection.execute(text, (i,) if numbered else ())
        return n

    def close(self):
        """Closes the connection."""
        self.connection.close()


def answer(text):
    """What to say to one piece."""
    try:
        try:
            code = compile(text, "test", "eval")
        except SyntaxError:
            exec(compile(text, "test", "exec"), globals())  # pylint: disable=exec-used
            return {"ok": None}
        return {"ok": eval(code, globals())}  # pylint: disable=eval-used
    except Exception as error:  # pylint: disable=broad-except
        return {"error": f"{type(error).__name__}: {error}"}


def main():
    """Serves until stdin ends."""
    for line in sys.stdin:
        said = answer(json.loads(line))
        try:
            text = json.dumps(said)
        except TypeError:
            text = json.dumps({"ok": None})
        os.write(1, text.encode() + b"\n")


main()
