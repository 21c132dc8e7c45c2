# SPDX-License-Identifier: MIT
"""One writer of the stress tests: random small transactions until it is stopped or killed.

writer.py DATABASE SEED SECONDS [OPTION=VALUE …]

Prints one JSON line at the end: commits and the errors that the application saw.
Options: sync (a list of levels), checkpoints (no = none of its own), busy_ms, module
(sqlite3 or apsw), max_rows.
"""

import json
import random
import sys
import time


def connect(path, options):
    """A connection with execute(); both modules look alike here."""
    if options.get("module", "apsw") == "apsw":
        import apsw

        connection = apsw.Connection(path)
        connection.set_busy_timeout(int(options.get("busy_ms", 10000)))
        return connection
    import sqlite3

    return sqlite3.connect(
        path, isolation_level=None, timeout=int(options.get("busy_ms", 10000)) / 1000
    )


def set_up(connection, chance, options):
    """This connection's own mix of settings."""
    levels = options.get("sync", "OFF,NORMAL,FULL").split(",")
    connection.execute(f"PRAGMA synchronous={chance.choice(levels)}")
    connection.execute(f"PRAGMA wal_autocheckpoint={chance.choice([1, 2, 10, 100, 1000])}")
    connection.execute(f"PRAGMA cache_size={chance.choice([5, 50, 2000])}")
    if chance.random() < 0.2:
        connection.execute(f"PRAGMA journal_size_limit={chance.choice([0, 10000])}")


def transaction(connection, chance, max_rows):
    """One random transaction; returns whether it committed."""
    kind = chance.random()
    key = chance.randrange(max_rows)
    if kind < 0.5:
        blob = chance.randrange(1, 400)
        connection.execute(
            f"INSERT OR REPLACE INTO t(id, v) VALUES({key}, randomblob({blob}))"
        ).fetchall()
    elif kind < 0.65:
        connection.execute(f"DELETE FROM t WHERE id = {key}").fetchall()
    elif kind < 0.8:
        low = key - 20
        connection.execute(
            f"UPDATE t SET v = randomblob(200) WHERE id BETWEEN {low} AND {key}"
        ).fetchall()
    elif kind < 0.9:
        connection.execute("BEGIN IMMEDIATE")
        for _ in range(chance.randrange(1, 60)):
            connection.execute(
                "INSERT OR REPLACE INTO t(id, v) VALUES"
                f"({chance.randrange(max_rows)}, randomblob({chance.randrange(3000)}))"
            ).fetchall()
        end = "COMMIT" if chance.random() < 0.7 else "ROLLBACK"
        connection.execute(end)
        return end == "COMMIT"
    else:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"INSERT OR REPLACE INTO t(id, v) VALUES({key}, 'a')").fetchall()
        connection.execute("SAVEPOINT s")
        connection.execute("UPDATE t SET v = randomblob(500) WHERE id % 7 = 0").fetchall()
        if chance.random() < 0.5:
            connection.execute("ROLLBACK TO s")
        connection.execute("RELEASE s")
        connection.execute("COMMIT")
    return True


def main():
    """Runs until the time is over."""
    path, seed, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    options = dict(word.split("=", 1) for word in sys.argv[4:])
    chance = random.Random(seed)
    end = time.monotonic() + seconds
    commits = 0
    errors = []
    while time.monotonic() < end:
        connection = None
        try:
            connection = connect(path, options)
            set_up(connection, chance, options)
            for _ in range(chance.randrange(1, 400)):
                if time.monotonic() >= end:
                    break
                commits += transaction(connection, chance, int(options.get("max_rows", 2000)))
                if options.get("checkpoints") != "no" and chance.random() < 0.02:
                    mode = chance.choice(["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
                    connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
        except Exception as error:  # pylint: disable=broad-except
            errors.append(f"{type(error).__name__}: {error}")
            try:
                connection.execute("ROLLBACK")
            except Exception:  # pylint: disable=broad-except
                pass
        if connection is not None:
            connection.close()
    print(json.dumps({"commits": commits, "errors": errors}))


main()
