# SPDX-License-Identifier: MIT
"""Two programs that write one database in random journal modes, and are killed; after each step
of theirs the log, replayed, is compared with the database. The same seed gives the same steps.
"""

import collections
import importlib.util
import os
import random
import re
import time

from doomed import Doomed
from mount import journal_begins, wait_for
from sql_model import Model

NAME = "s.db"
LEVELS = ["OFF", "NORMAL", "FULL", "EXTRA"]
MODULES = ["sqlite3", "apsw" if importlib.util.find_spec("apsw") else "sqlite3"]

# What a program may hear when it takes its chances; anything else is a fault.
EXPECTED = re.compile(r"locked|no such|already exists|cannot VACUUM")

PROGRAM = """
db = None
def attempt(text):
    try:
        return db.sql(text), None
    except sqlite.Error as error:
        return None, str(error)
def connect(path, lines):
    global db
    if db is not None:
        db.close()
    db = Database(path, busy_ms=0)
    errors = [attempt(line)[1] for line in lines]
    return errors, attempt("PRAGMA journal_mode")[0]
def disconnect():
    global db
    db.close()
    db = None
def script(lines, busy_ms=0):
    db.sql(f"PRAGMA busy_timeout={busy_ms}")
    errors = []
    for line in lines:
        errors.append(attempt(line)[1])
        if errors[-1] and line.startswith("BEGIN"):
            break
    if db.connection.in_transaction:
        db.sql("ROLLBACK")
    return errors
"""

DYING = """
connect({path!r}, {settings!r})
arm()
script({lines!r})
"""


def assert_compared(counts):
    """Of the steps of some rounds a good part was followed by a comparison."""
    assert counts["equal"] > counts["steps"] / 3, f"hardly anything was compared: {dict(counts)}"


class Settings:
    """Those of one connection."""

    def __init__(self, chance, journal_file=True, announced=False):
        self.locking = chance.choices(["NORMAL", "EXCLUSIVE"], [9, 1])[0]
        modes = {"delete": 4, "truncate": 3, "persist": 3}
        if not journal_file:
            modes |= {"memory": 3, "off": 3}
        self.mode = chance.choices(list(modes), list(modes.values()))[0]
        self.level = chance.randrange(4)
        if announced and not self.announces():
            self.level = 1
        self.lines = [
            f"PRAGMA locking_mode={self.locking}",
            f"PRAGMA journal_mode={self.mode}",
            f"PRAGMA synchronous={LEVELS[self.level]}",
            f"PRAGMA cache_size={chance.choice([3, 3, 10, -2000])}",
            f"PRAGMA secure_delete={chance.choice(['ON', 'OFF', 'FAST'])}",
            f"PRAGMA journal_size_limit={chance.choice([-1, -1, 0, 20000])}",
        ]

    def is_by_name(self):
        """Whether a commit is the unlink or truncation of the journal, at whatever level."""
        return self.mode == "truncate" or (self.mode == "delete" and self.locking == "NORMAL")

    def announces(self):
        """Whether SQLite makes a call at each commit that it can be captured at."""
        return self.is_by_name() or self.level > 0

    def tells(self):
        """Whether a journal tells then what was changed: one that is opened, or synced, before."""
        reopened = self.locking == "NORMAL" or self.level > 0
        return self.announces() and reopened and self.mode not in ("memory", "off")


class Writer:
    """A program, and the settings of its connection when it has one."""

    def __init__(self, clients, module):
        self.clients = clients
        self.module = module
        self.settings = None
        self.client = None
        self.start()

    def start(self):
        """Begins, or begins anew after a kill."""
        self.settings = None
        self.client = self.clients(module=self.module)
        self.client.run(PROGRAM)


class Round:
    """The steps of one seed, in one database on a mount of its own."""

    def __init__(self, mount, follow, seed, clients, folder, timed_kills):
        self.mount = mount
        self.follow = follow
        self.chance = random.Random(seed)
        self.timed_kills = timed_kills
        self.path = str(mount.dir / NAME)
        self.statements = Model(seed)
        self.writers = [Writer(clients, module) for module in MODULES]
        self.doomed = Doomed(clients, folder, mount.dir)
        self.doomed.client.run(PROGRAM)
        # Who has no journal file may overwrite what somebody else's would bring back: then nobody
        # is killed.
        self.journal_file = self.chance.random() < 0.7
        self.answer = None
        self.quiet = True  # nothing has gone unseen since a commit
        self.kept_open = False
        self.keeper = None
        self.history = collections.deque(maxlen=30)
        self.counts = collections.Counter()

    def run(self, n_steps, end):
        """Some steps, and the end of all."""
        doers = {
            self.transaction: 20,
            self.one_statement: 12,
            self.free_pages: 4,
            self.vacuum: 3,
            self.connect: 4,
            self.disconnect: 2,
            self.both_at_once: 3,
            self.kill_at_a_call: 10 if self.journal_file else 0,
            self.kill_at_a_time: 1 if self.journal_file and self.timed_kills else 0,
        }
        self.create()
        for _ in range(n_steps):
            if time.monotonic() >= end:
                break
            doer = self.chance.choices(list(doers), list(doers.values()))[0]
            self.history.append(doer.__name__)
            self.counts["steps"] += 1
            doer()
        self.finish()

    # -- programs

    def create(self):
        """The database, by one of the writers. Kept open, it stays on the road it is on."""
        writer = self.writers[0]
        size = self.chance.choice([512, 1024, 4096, 4096, 16384])
        first = [f"PRAGMA page_size={size}", f"PRAGMA auto_vacuum={self.chance.randrange(3)}"]
        writer.settings = Settings(self.chance, announced=True)
        errors, _ = writer.client.run(f"connect({self.path!r}, {first + writer.settings.lines!r})")
        assert not any(errors), errors
        self.script(writer, [self.statements.create("main", 0), self.statements.fill("main", 0)])
        self.kept_open = self.chance.random() < 0.6
        if self.kept_open:
            self.keeper = os.open(self.path, os.O_RDONLY)
        self.look(writer.settings, counted=False)

    def heard(self, errors):
        """What a program was told."""
        for error in filter(None, errors):
            self.history.append(f"    {error}")
            assert EXPECTED.search(error), f"a program was told: {error}"

    def script(self, writer, lines):
        """Has a writer run statements; the errors."""
        self.history.append(f"    {writer.settings.mode} {writer.settings.level}: {lines}")
        errors = writer.client.run(f"script({lines!r})")
        self.heard(errors)
        return errors

    def writer(self):
        """One of them, with a connection."""
        writer = self.chance.choice(self.writers)
        if writer.settings is None:
            self.connect(writer)
        return writer

    def open(self, writer):
        """Gives it a new connection."""
        writer.settings = Settings(self.chance, self.journal_file)
        errors, mode = writer.client.run(f"connect({self.path!r}, {writer.settings.lines!r})")
        self.heard(errors)
        # A lock may have kept it from taking the mode it was told.
        writer.settings.mode = mode[0][0] if mode else "delete"
        self.history.append(f"    {writer.module} {writer.settings.lines}")

    def other(self, writer):
        """The other one."""
        return self.writers[1 - self.writers.index(writer)]

    # -- steps

    def connect(self, writer=None):
        """A new connection, perhaps in the place of another."""
        writer = writer or self.chance.choice(self.writers)
        self.open(writer)
        self.look(writer.settings, counted=False)

    def disconnect(self):
        """One less, perhaps the last."""
        writer = self.chance.choice(self.writers)
        if writer.settings is not None:
            writer.client.run("disconnect()")
            self.look(writer.settings, counted=False)
            writer.settings = None

    def transaction(self):
        """Several statements, savepoints among them, kept or not; another may be reading."""
        writer = self.writer()
        reader = self.other(writer)
        reads = (
            self.chance.random() < 0.1
            and reader.settings is not None
            and writer.settings.mode not in ("memory", "off")
        )
        lines = self.lines(writer.settings)
        if reads:
            reader.client.run("attempt('BEGIN') and attempt('SELECT count(*) FROM t0')")
        self.script(writer, lines)
        if reads:
            reader.client.run("attempt('COMMIT')")
        self.look(writer.settings)

    def lines(self, settings):
        """Of a transaction."""
        undoes = settings.mode != "off"
        depth = 0
        lines = [self.chance.choice(["BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])]
        for _ in range(self.chance.randrange(1, 9)):
            kind = self.chance.random()
            if kind < 0.75 or not undoes:
                lines.append(self.statements.change("main"))
            elif kind < 0.85 or depth == 0:
                depth += 1
                lines.append(f"SAVEPOINT s{depth}")
            else:
                lines.append(f"ROLLBACK TO s{self.chance.randrange(depth) + 1}")
        lines.append("ROLLBACK" if undoes and self.chance.random() < 0.2 else "COMMIT")
        return lines

    def one_statement(self):
        """Commits by itself."""
        writer = self.writer()
        self.script(writer, [self.statements.change("main")])
        self.look(writer.settings)

    def free_pages(self):
        """Frees many pages, and uses them again."""
        writer = self.writer()
        for line in (
            f"DELETE FROM t0 WHERE id % 3 <> {self.chance.randrange(3)}",
            self.statements.insert("main", 0),
            self.statements.fill("main", 0),
        ):
            self.script(writer, [line])
            self.look(writer.settings)

    def vacuum(self):
        """Of any kind, perhaps to another page size."""
        writer = self.writer()
        kind = self.chance.randrange(4)
        lines = [f"PRAGMA incremental_vacuum({self.chance.randrange(1, 50)})"]
        if kind > 0:
            lines = ["VACUUM"]
        if kind == 1:
            lines.insert(0, f"PRAGMA page_size={self.chance.choice([512, 1024, 4096, 16384])}")
        if kind == 2:
            lines.insert(0, f"PRAGMA auto_vacuum={self.chance.randrange(3)}")
        self.script(writer, lines)
        # A change between the two kinds of auto_vacuum commits by itself.
        self.look(writer.settings, counted=kind not in (1, 2))

    def both_at_once(self):
        """They wait for each other's locks; looked at when both are done."""
        if any(each.settings is None for each in self.writers):
            return
        if any(each.settings.locking == "EXCLUSIVE" for each in self.writers):
            return
        for each in self.writers:
            lines = [self.statements.insert("main", 0) for _ in range(8)]
            each.client.send(f"script({lines!r}, 2000)")
        n_done = 0
        for each in self.writers:
            errors = each.client.answer()
            self.heard(errors)
            n_done += errors.count(None)
        settings = [each.settings for each in self.writers]
        coarsest = min(settings, key=lambda each: (each.announces(), each.tells()))
        self.look(coarsest, n_records=n_done)

    def kill_at_a_call(self):
        """Of a program whose journal survives it; then somebody reads."""
        settings = Settings(self.chance, announced=True)
        lines = self.lines(settings)
        if self.chance.random() < 0.2:
            lines = ["VACUUM"]
        text = DYING.format(path=self.path, settings=settings.lines, lines=lines)
        place = self.doomed.run(text, int(10 ** self.chance.uniform(0, 2.7)))
        self.history.append(f"    killed at {place} {settings.lines}")
        self.counts["kills"] += place is not None
        self.killed(settings)

    def kill_at_a_time(self):
        """One of the writers, somewhere in a script."""
        writer = self.writer()
        lines = [line for _ in range(5) for line in self.lines(writer.settings)]
        writer.client.send(f"script({lines!r})")
        time.sleep(10 ** self.chance.uniform(-4, -1.5))
        writer.client.kill()
        settings = writer.settings
        writer.start()
        self.counts["kills"] += 1
        self.killed(settings)

    def killed(self, settings):
        """Somebody plays back what it has left. Of a kept journal the header may have been zeroed
        with nobody told, by the one or the other; the next commit tells then."""
        announced = settings.is_by_name() and not self.journal_is_cold()
        reader = self.chance.choice(self.writers)
        if reader.settings is None:
            self.open(reader)
        announced &= reader.settings.announces()
        self.heard([reader.client.run("attempt('SELECT count(*) FROM sqlite_master')")[1]])
        self.look(settings, counted=False, announced=announced)

    def journal_is_cold(self):
        """Whether one is left that was not synced: nobody plays it back, but free pages may have
        been written already, which the next commit finds."""
        return journal_begins(self.path) == b"\0"

    # -- checks

    def look(self, settings, counted=True, n_records=None, announced=None):
        """Compares, after a step of a program with those settings: a commit that is announced
        brings all that went unseen before it, and is one record."""
        before, self.answer = self.answer, self.follow.look(NAME)
        self.history.append(f"    {self.answer}")
        changed = self.answer["changed"]
        late = before is not None and before["differ"] > 0
        if announced is None:
            announced = settings.announces()
        if announced if changed else not late:
            self.assert_equal()
            if counted and not late:
                self.assert_counted(settings, before, changed if n_records is None else n_records)
        if changed or not announced:
            self.quiet = announced

    def assert_equal(self):
        """Page by page."""
        self.counts["equal"] += 1
        assert self.answer["differ"] == 0, f"{self.answer['differ']} pages differ: {self.answer}"

    def assert_counted(self, settings, before, n_records):
        """Each transaction is one record; only where something may have gone unseen before, or
        the page size changes, all pages are compared for it."""
        answer = self.answer
        assert answer["records"] == n_records, f"not {int(n_records)} records: {answer}"
        if settings.tells() and self.quiet and before["sizes"][1][0] == answer["sizes"][1][0]:
            assert answer["merged"] == 0, f"found by comparing all pages: {answer}"
        self.counts["commits"] += n_records

    def finish(self):
        """Closes all; the last close takes in what no commit has told of."""
        for each in self.writers:
            if each.settings is not None:
                each.client.run("disconnect()")
            each.client.close()
        if self.keeper is not None:
            os.close(self.keeper)
            self.keeper = None
        wait_for(lambda: not self.mount.database(NAME)["open"], "the last close")
        answer = self.follow.look(NAME)
        assert answer["differ"] == 0, f"after the last close {answer}"
        trouble = self.mount.database(NAME)["trouble"]
        # One who was killed before he wrote to the database, when others held it till the end.
        is_hot = journal_begins(self.path) not in (b"", b"\0")
        waits = is_hot and "waits to be played back" in (trouble or "")
        assert trouble is None or waits, trouble

    def clean_up(self):
        """Whatever a failure left."""
        if self.keeper is not None:
            os.close(self.keeper)
