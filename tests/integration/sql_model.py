# SPDX-License-Identifier: MIT
"""Random SQL on a few databases: the same seed gives the same steps, whatever comes of them.

A step that cannot be done where it comes (a lock is held, a table is not there) is no fault:
what matters is what SQLite makes of it.
"""

import random
from typing import NamedTuple

NAMES = ("a.db", "b.db", "c.db")
PAGE_SIZES = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
ROLLBACK_MODES = ("delete", "truncate", "persist", "memory", "off")
LEVELS = ("OFF", "NORMAL", "FULL", "EXTRA")
CHECKPOINTS = ("PASSIVE", "FULL", "RESTART", "TRUNCATE")
N_KEYS = 60
SCHEMAS = ("main", "x", "y")  # of the databases that a connection has


class Open(NamedTuple):
    """Connection who opens the databases names, the first as main, and then runs sql."""

    who: int
    names: tuple
    exclusive: bool  # before it reads any of them
    sql: tuple


class Close(NamedTuple):
    """Connection who is closed, whatever it is at."""

    who: int


class Run(NamedTuple):
    """Connection who runs one statement."""

    who: int
    sql: str


class Burst(NamedTuple):
    """Connection who commits n times: sql with ?1 = 0 … n-1, each changes schema's database."""

    who: int
    schema: str
    sql: str
    n: int


class Together(NamedTuple):
    """Connections run scripts at the same time; after a delay one of them is killed (or none)."""

    scripts: dict
    victim: int
    delay_s: float


class Model:
    """The steps of one seed."""

    def __init__(self, seed, concurrent=True, savepoints=True):
        self.chance = random.Random(seed)
        self.concurrent = concurrent
        self.savepoints = savepoints
        self.wal_share = self.chance.choice((0.2, 0.5, 0.9))
        self.schemas = {}  # of each open connection: those it has attached

    def steps(self):
        """Steps without end."""
        while True:
            yield from self.open(0)
            for _ in range(self.chance.randrange(3, 40)):
                yield from self.turn()
                if 0 not in self.schemas:
                    break
            for who in self.shuffled(self.schemas):
                yield from self.close(who)

    def turn(self):
        """Something that a connection does, or the two at once."""
        if 1 not in self.schemas and self.one_in(8):
            yield from self.open(1)
        elif 1 in self.schemas and self.one_in(12):
            yield from self.close(1)
        elif self.one_in(12):
            yield self.together()
        elif len(self.schemas) == 2 and self.one_in(2):
            yield from self.interleaved(self.activity(0), self.activity(1))
        else:
            yield from self.activity(self.chance.choice(list(self.schemas)))

    # -- chance

    def one_in(self, n):
        """True once in n times."""
        return self.chance.randrange(n) == 0

    def shuffled(self, items):
        """The items in another order."""
        items = list(items)
        self.chance.shuffle(items)
        return items

    def weighted(self, choices):
        """One of the keys, by its weight."""
        return self.chance.choices(list(choices), list(choices.values()))[0]

    def interleaved(self, *sources):
        """The steps of several sources, each in its order."""
        sources = list(sources)
        while sources:
            source = self.chance.choice(sources)
            step = next(source, None)
            if step is None:
                sources.remove(source)
            else:
                yield step

    # -- connections

    def open(self, who):
        """A connection to one database, or to several."""
        names = tuple(self.shuffled(NAMES)[: self.weighted({1: 4, 2: 3, 3: 2})])
        self.schemas[who] = SCHEMAS[: len(names)]
        sql = []
        for schema in self.schemas[who]:
            # These two count for a new database only.
            sql.append(f"PRAGMA {schema}.page_size={self.chance.choice(PAGE_SIZES)}")
            sql.append(f"PRAGMA {schema}.auto_vacuum={self.chance.randrange(3)}")
            sql += self.settings(schema)
        yield Open(who, names, who == 0 and self.one_in(6), tuple(sql))
        for schema in self.schemas[who]:
            if self.one_in(2):
                yield from self.switch_journal(who, schema)
            yield Run(who, self.create(schema, 0))

    def close(self, who):
        """Closed, or killed at rest."""
        del self.schemas[who]
        if self.one_in(6):
            yield Together({}, who, 0)
        else:
            yield Close(who)

    def settings(self, schema):
        """Of a connection, for one database."""
        cache = self.chance.choice((3, 10, -2000))
        yield f"PRAGMA {schema}.cache_size={cache}"
        yield f"PRAGMA {schema}.synchronous={self.chance.choice(LEVELS)}"
        yield f"PRAGMA {schema}.secure_delete={self.chance.choice(('ON', 'OFF', 'FAST'))}"
        if self.one_in(3):
            yield f"PRAGMA {schema}.journal_size_limit={self.chance.choice((-1, 0, 3000, 20000))}"
        yield f"PRAGMA wal_autocheckpoint={self.chance.choice((1, 3, 10, 50, 200))}"

    def switch_journal(self, who, schema):
        """Another journal mode."""
        mode = "wal"
        if self.chance.random() >= self.wal_share:
            mode = self.chance.choice(ROLLBACK_MODES)
        yield Run(who, f"PRAGMA {schema}.journal_mode={mode}")

    # -- what a connection does

    def activity(self, who):
        """The steps of one."""
        schema = self.chance.choice(list(self.schemas[who]))
        kind = self.weighted(
            {
                self.autocommit: 12,
                self.transaction: 14,
                self.burst: 5,
                self.read: 3,
                self.set: 3,
                self.switch_journal: 4,
                self.set_locking: 1,
                self.checkpoint: 5,
                self.vacuum: 3,
                self.check_integrity: 1,
            }
        )
        yield from kind(who, schema)

    def autocommit(self, who, schema):
        """One statement, which commits."""
        yield Run(who, self.change(schema))

    def transaction(self, who, schema):
        """Several, in one or all databases, with savepoints, kept or not."""
        schemas = list(self.schemas[who]) if self.one_in(2) else [schema]
        depth = 0
        yield Run(who, self.chance.choice(("BEGIN", "BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE")))
        for _ in range(self.chance.randrange(1, 12)):
            kind = self.chance.random()
            if kind < 0.7 or not self.savepoints:
                yield Run(who, self.change(self.chance.choice(schemas)))
            elif kind < 0.82 or depth == 0:
                depth += 1
                yield Run(who, f"SAVEPOINT s{depth}")
            elif kind < 0.94:
                depth = self.chance.randrange(depth) + 1
                yield Run(who, f"ROLLBACK TO s{depth}")
            else:
                yield Run(who, f"RELEASE s{depth}")
                depth -= 1
        yield Run(who, "ROLLBACK" if self.one_in(5) else "COMMIT")

    def burst(self, who, schema):
        """Many small transactions, one after the other."""
        sql = self.insert(schema, 0, f"({self.chance.randrange(1, N_KEYS)} * ?1) % {N_KEYS}")
        yield Burst(who, schema, sql, self.chance.randrange(2, 40))

    def read(self, who, schema):
        """A read transaction that stays open for some statements of others."""
        yield Run(who, "BEGIN")
        for _ in range(self.chance.randrange(1, 6)):
            yield Run(who, f"SELECT count(*), sum(length(v)) FROM {schema}.t0")
        yield Run(who, "COMMIT")

    def set(self, who, schema):
        """One setting."""
        yield Run(who, self.chance.choice(list(self.settings(schema))))

    def set_locking(self, who, schema):
        """Exclusive or not."""
        mode = self.chance.choice(("NORMAL", "NORMAL", "EXCLUSIVE"))
        yield Run(who, f"PRAGMA {schema}.locking_mode={mode}")

    def checkpoint(self, who, schema):
        """Of any kind."""
        yield Run(who, f"PRAGMA {schema}.wal_checkpoint({self.chance.choice(CHECKPOINTS)})")

    def vacuum(self, who, schema):
        """Of any kind, perhaps to another page size."""
        kind = self.chance.randrange(4)
        if kind == 0:
            yield Run(who, f"PRAGMA {schema}.incremental_vacuum({self.chance.randrange(1, 50)})")
            return
        if kind == 1:
            yield Run(who, f"PRAGMA {schema}.page_size={self.chance.choice(PAGE_SIZES)}")
        if kind == 2:
            yield Run(who, f"PRAGMA {schema}.auto_vacuum={self.chance.randrange(3)}")
        yield Run(who, f"VACUUM {schema}")

    def check_integrity(self, who, schema):
        """SQLite's own check."""
        yield Run(who, f"PRAGMA {schema}.integrity_check")

    def together(self):
        """Scripts of some connections at once, mostly with a kill among them."""
        victim = self.chance.choice(list(self.schemas)) if self.one_in(2) else None
        running = list(self.schemas) if self.concurrent else [min(self.schemas)]
        if victim is not None and not self.concurrent:
            running = [victim]
        scripts = {who: self.script(who, len(running) == 1) for who in running}
        if victim is not None:
            del self.schemas[victim]
        return Together(scripts, victim, 10 ** self.chance.uniform(-4.5, -1.7))

    def script(self, who, alone):
        """Statements for one connection; in several databases at once only when it is alone, as
        two such could wait for each other."""
        lines = []
        for _ in range(self.chance.randrange(5, 40)):
            schema = self.chance.choice(list(self.schemas[who]))
            kind = self.chance.random()
            if kind < 0.6:
                lines.append(self.change(schema))
            elif kind < 0.92:
                schemas = self.schemas[who] if alone else (schema,)
                n = self.chance.randrange(1, 6)
                inner = [self.change(self.chance.choice(schemas)) for _ in range(n)]
                lines += ["BEGIN", *inner, "COMMIT"]
            elif kind < 0.97:
                lines.append(f"PRAGMA {schema}.wal_checkpoint({self.chance.choice(CHECKPOINTS)})")
            else:
                lines.append(f"VACUUM {schema}")
        return lines

    # -- statements

    def insert(self, schema, number, key=None):
        """One row, new or in the place of another."""
        if key is None:
            key = self.chance.randrange(N_KEYS)
        size = int(10 ** self.chance.uniform(0.5, 3.6))
        return (
            f"INSERT OR REPLACE INTO {schema}.t{number} "
            f"VALUES({key}, random(), randomblob({size}))"
        )

    def change(self, schema):
        """Any statement that changes something."""
        kind = self.weighted(
            {
                self.insert: 30,
                self.fill: 6,
                self.big: 4,
                self.update: 14,
                self.update_all: 3,
                self.delete: 8,
                self.delete_all: 2,
                self.create: 8,
                self.drop: 3,
                self.index: 4,
                self.drop_index: 2,
            }
        )
        return kind(schema, self.chance.choice((0, 0, 0, 1, 2, 3)))

    def fill(self, schema, number):
        """Many rows at once."""
        return (
            f"INSERT OR REPLACE INTO {schema}.t{number} "
            f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {N_KEYS}) "
            f"SELECT i, random(), randomblob({self.chance.randrange(1, 2000)}) FROM n"
        )

    def big(self, schema, number):
        """A blob of many pages."""
        size = self.chance.randrange(20_000, 200_000)
        return (
            f"INSERT OR REPLACE INTO {schema}.t{number} "
            f"VALUES({self.chance.randrange(3)}, random(), randomblob({size}))"
        )

    def update(self, schema, number):
        """Some rows."""
        low = self.chance.randrange(N_KEYS)
        return (
            f"UPDATE {schema}.t{number} SET v = randomblob({self.chance.randrange(1, 1500)}) "
            f"WHERE id BETWEEN {low} AND {low + self.chance.randrange(20)}"
        )

    def update_all(self, schema, number):
        """All rows, and their place in an index."""
        return f"UPDATE {schema}.t{number} SET k = random()"

    def delete(self, schema, number):
        """Some rows."""
        n = self.chance.randrange(2, 9)
        return f"DELETE FROM {schema}.t{number} WHERE id % {n} = {self.chance.randrange(n)}"

    def delete_all(self, schema, number):
        """All rows, without looking at them."""
        return f"DELETE FROM {schema}.t{number}"

    def create(self, schema, number):
        """A plain table, or (an odd number) one without rowid."""
        if number % 2:
            return (
                f"CREATE TABLE IF NOT EXISTS {schema}.t{number}"
                "(id INT, k INT, v, PRIMARY KEY(id)) WITHOUT ROWID"
            )
        return f"CREATE TABLE IF NOT EXISTS {schema}.t{number}(id INTEGER PRIMARY KEY, k INT, v)"

    def drop(self, schema, number):
        """A table; t0 is always there."""
        return f"DROP TABLE IF EXISTS {schema}.t{max(1, number)}"

    def index(self, schema, number):
        """An index."""
        return f"CREATE INDEX IF NOT EXISTS {schema}.i{number} ON t{number}(k, substr(v, 1, 40))"

    def drop_index(self, schema, number):
        """An index."""
        return f"DROP INDEX IF EXISTS {schema}.i{number}"
