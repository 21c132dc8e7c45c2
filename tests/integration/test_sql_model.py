# SPDX-License-Identifier: MIT
"""Random SQL: after every commit the log, replayed, is the database, page by page.

Each commit is one record, whichever the journal mode. Only where SQLite makes no call at the end
of a transaction (Connection.announces) may the log be behind, until the next one that it does
announce, or the last close. REPLITEDFS_SEED repeats a seed that is printed.
"""

import collections
import contextlib
import importlib.util
import itertools
import math
import os
import random
import re
import shutil
import time
import types

import pytest

import sql_model
from follow import Follow
from mount import assert_captured, differing_pages, journal_begins, run_cli, wait_for
from rollback_round import assert_compared

SECONDS = float(os.environ.get("REPLITEDFS_STRESS_SECONDS", "20"))
REPEATED = os.environ.get("REPLITEDFS_SEED")
MAX_STEPS = 700  # of one seed
N_KEPT = 4  # copies of a database
BUSY_MS, PATIENT_MS = 10, 200

# The system's SQLite must not checkpoint in two processes at once, and may leave frames
# outside the WAL's checksums after ROLLBACK TO.
HAS_APSW = importlib.util.find_spec("apsw") is not None

# What an application must never hear, whatever it does.
FAULT = re.compile(
    r"I/O|malformed|is full|not a database|unable to open|read-?only|protocol|misuse|memory", re.I
)

PROGRAM = """
SETTINGS = ("journal_mode", "synchronous", "locking_mode")
schemas = {}

def attempt(text, *values):
    try:
        return db.sql(text, *values), None
    except sqlite.Error as error:
        return None, f"{type(error).__name__}: {error} ({getattr(error, 'extendedresult', '')})"

def writes(schema):
    if sqlite.__name__ == "apsw":
        return db.connection.txn_state(schema) == sqlite.SQLITE_TXN_WRITE
    return db.connection.in_transaction

def state():
    inside = db.connection.in_transaction
    writing = [name for schema, name in schemas.items() if writes(schema)]
    found = {}
    for schema, name in schemas.items() if not inside else ():
        values = [attempt(f"PRAGMA {schema}.{setting}")[0] for setting in SETTINGS]
        found[name] = None if None in values else [rows[0][0] for rows in values]
    return inside, writing, found

def start(folder, names, exclusive, busy_ms):
    global db
    schemas.clear()
    db = Database(f"{folder}/{names['main']}", busy_ms)
    errors = [attempt("PRAGMA locking_mode=EXCLUSIVE")[1]] if exclusive else []
    for schema, name in names.items():
        error = None
        if schema != "main":
            error = attempt(f"ATTACH '{folder}/{name}' AS {schema}")[1]
        if error is None:
            schemas[schema] = name
        errors.append(error)
    return errors, *state()

def set_up(lines):
    errors = [attempt(line)[1] for line in lines]
    return errors, *state()

def read():
    return [
        name
        for schema, name in schemas.items()
        if attempt(f"SELECT count(*) FROM {schema}.sqlite_master")[1] is None
    ]

def step(text):
    return *attempt(text), *state()

def burst(text, n):
    errors = []
    while len(errors) < n and not any(errors):
        errors.append(attempt(text, len(errors))[1])
    return errors, *state()

def script(lines, busy_ms, busy_ms_after):
    db.sql(f"PRAGMA busy_timeout={busy_ms}")
    errors = [attempt(line)[1] for line in lines]
    db.sql(f"PRAGMA busy_timeout={busy_ms_after}")
    return errors, *state()
"""

# IOERR_SHMLOCK, which SQLite gives without a call to the file system, to a connection that has
# no WAL-index open: after a journal mode that it could not set, with programs at once. Seen in a
# bare folder in 6 of 40 rounds of seed 250228858.
NO_CALL = "(5130)"


class Fault(AssertionError):
    """An application was told what SQLite should not say."""


class Connection:
    """A program with one connection, and what it last said of itself."""

    def __init__(self, client, step):
        self.client = client
        self.names = dict(zip(sql_model.SCHEMAS, step.names))
        self.inside = False  # a transaction
        self.writing = []  # names that this has changed, or may have
        self.settings = {}  # of each database: journal mode, synchronous, locking mode

    def said(self, inside, writing, settings):
        """Takes in what it says behind each step."""
        self.inside = inside
        self.writing = writing
        self.settings.update(settings)

    def has(self, name):
        """Whether it has the database open."""
        return name in self.names.values()

    def uses_index(self, name):
        """Whether it has the WAL-index open; with exclusive locking it keeps one of its own."""
        folder = f"/proc/{self.client.pid}/fd"
        for fd in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                if os.readlink(f"{folder}/{fd}").endswith(f"/{name}-shm"):
                    return True
        return False

    def holds(self):
        """Whether it may keep a lock between two steps."""
        return self.inside or any(
            values is None or values[2] == "exclusive" for values in self.settings.values()
        )

    def journal(self, name):
        """Its journal mode for a database, None when it could not tell."""
        values = self.settings.get(name)
        return values and values[0]

    def announces(self, name):
        """Whether SQLite makes a call at each commit here by which it can be captured."""
        if not self.settings.get(name):
            return False
        journal, level, locking = self.settings[name]
        if journal == "wal":
            return True
        if journal in ("delete", "truncate") and locking == "normal":
            return True
        return level > 0

    def announces_even_killed(self, name):
        """Whether no commit can be there before its call: it is an unlink or a truncation."""
        if not self.settings.get(name):
            return False
        journal, _, locking = self.settings[name]
        return journal == "wal" or (journal in ("delete", "truncate") and locking == "normal")

    def has_journal(self, name):
        """Whether a commit can be told from others by its journal."""
        if not self.settings.get(name):
            return False
        journal, _, locking = self.settings[name]
        return journal in ("delete", "truncate", "persist") and locking == "normal"

    def may_be_killed(self, others):
        """Whether SQLite survives it: in a transaction without a journal file it does not, nor
        beside a connection without one. That may have read before and go on to commit, which
        leaves the dead program's journal where it is, to be played back over those commits."""
        journals = {self.journal(name) for name in self.names.values()}
        beside = {other.journal(name) for other in others for name in self.names.values()}
        return journals.isdisjoint({"memory", "off", None}) and beside.isdisjoint({"memory", "off"})


class Database:
    """What is known of one of the databases."""

    def __init__(self, name):
        self.name = name
        self.identity = None
        self.wal_mode = False
        self.page_size = 0
        self.exact = True  # its log must equal it
        self.steady = False  # and each transaction must be one record
        self.silent = False  # something may have been committed unseen since the last comparison
        self.unread = False  # a kill may have left work for who reads it next
        self.kept = []  # (position, copy)


class Round:
    """The steps of one seed on one mount."""

    def __init__(self, mount, seed, make_client):
        self.mount = mount
        self.seed = seed
        self.make_client = make_client
        self.chance = random.Random(f"copies {seed}")
        self.follow = None
        self.idle = []  # programs without a connection
        self.connections = {}
        self.databases = {name: Database(name) for name in sql_model.NAMES}
        self.history = collections.deque(maxlen=40)
        self.n_kept = 0
        self.counts = collections.Counter()

    def run(self, steps, end):
        """As many as there is time for, and the end of all."""
        self.follow = Follow(self.mount)
        try:
            self.mount.start()
            self.take(steps, end)
            self.finish()
        finally:
            self.follow.close()

    def take(self, steps, end):
        """One after the other."""
        doers = {
            sql_model.Open: self.open,
            sql_model.Close: self.close,
            sql_model.Run: self.statement,
            sql_model.Burst: self.burst,
            sql_model.Together: self.together,
        }
        for step in steps:
            if time.monotonic() >= end:
                break
            self.history.append(str(step))
            self.counts["steps"] += 1
            doers[type(step)](step)

    # -- steps

    def heard(self, error):
        """What the application was told."""
        if error is not None:
            self.history.append(f"    {error}")
            self.counts["refused"] += 1
            if FAULT.search(error):
                raise Fault(error)

    def tell(self, connection, code):
        """Runs code in the program; returns its first results."""
        *results, inside, writing, settings = connection.client.run(code)
        connection.said(inside, writing, settings)
        return results

    def open(self, step):
        """Opens, and reads what a kill may have left."""
        connection = Connection(self.program(), step)
        (errors,) = self.tell(
            connection,
            f"start({str(self.mount.dir)!r}, {connection.names!r}, {step.exclusive!r}, {BUSY_MS})",
        )
        for error in errors:
            self.heard(error)
        connection.names = connection.client.run("schemas")
        self.connections[step.who] = connection
        self.read(connection)
        for name in connection.names.values():
            self.databases[name].steady = False
            self.check(name, [])
        (errors,) = self.tell(connection, f"set_up({step.sql!r})")
        for error in errors:
            self.heard(error)
        for name in connection.names.values():
            self.databases[name].steady = False
            self.check(name, [connection])

    def program(self):
        """One that has closed its connection, or a new one."""
        if self.idle:
            return self.idle.pop()
        client = self.make_client(module="apsw" if HAS_APSW else "sqlite3")
        client.run(PROGRAM)
        return client

    def read(self, connection):
        """Has SQLite recover what it wants to; a journal that it leaves may be played back yet."""
        for name in connection.client.run("read()"):
            is_hot = journal_begins(self.mount.dir / name) not in (b"", b"\0")
            self.databases[name].unread &= is_hot

    def leave_transaction(self, connection):
        """Without a rollback where SQLite could not do one. Where a lock keeps it from committing
        too, its end leaves what it has written so far, and no call tells of that."""
        if connection.inside:
            end = "ROLLBACK" if self.can_roll_back(connection) else "COMMIT"
            self.heard(self.tell(connection, f"step('{end}')")[1])
        if connection.inside:
            for name in connection.names.values():
                self.databases[name].silent = True

    def close(self, step):
        """Closes; the last one's close captures what no commit announced."""
        connection = self.connections.pop(step.who, None)
        if connection is None:
            return
        if not self.can_roll_back(connection):
            self.leave_transaction(connection)
        connection.client.run("db.close()")
        self.idle.append(connection.client)
        for name in connection.names.values():
            self.databases[name].steady = False
            if any(other.has(name) for other in self.connections.values()):
                self.check(name, [connection])
            else:
                self.check_closed(name, connection)

    def statement(self, step):
        """One statement."""
        connection = self.connections.get(step.who)
        if connection is None or self.hides_a_new_one(connection, step.sql):
            return
        sql = step.sql
        if sql.startswith("ROLLBACK") and not self.can_roll_back(connection):
            sql = "COMMIT"
        before = {name: connection.announces(name) for name in connection.names.values()}
        rows, error = self.tell(connection, f"step({sql!r})")
        self.heard(error)
        if "integrity_check" in sql and error is None:
            assert rows == [["ok"]], f"integrity_check: {rows[:5]}"
        for name in connection.names.values():
            if "journal_mode" in sql or "locking_mode" in sql:
                self.databases[name].steady = False
            self.check(name, [connection], announced=before[name])

    def hides_a_new_one(self, connection, sql):
        """A database made without any journal file is known from its last close on only: its
        log would not begin with the empty database."""
        schema = re.match(r"PRAGMA (\w+)\.journal_mode=(memory|off)", sql)
        name = schema and connection.names.get(schema[1])
        return name is not None and self.identity(self.databases[name]) is None

    def can_roll_back(self, connection):
        """Not without a journal."""
        journals = {connection.journal(name) for name in connection.names.values()}
        return journals.isdisjoint({"off", None})

    def burst(self, step):
        """Many commits, each of which must be a record."""
        connection = self.connections.get(step.who)
        if connection is None or step.schema not in connection.names:
            return
        inside = connection.inside
        (errors,) = self.tell(connection, f"burst({step.sql!r}, {step.n})")
        self.heard(errors[-1])
        for schema, name in connection.names.items():
            n = errors.count(None) if schema == step.schema and not inside else None
            self.check(name, [connection], n_commits=n)

    def together(self, step):
        """Scripts at once, and perhaps a kill among them."""
        victim = self.connections.get(step.victim)
        running = {
            who: self.connections[who] for who in step.scripts if who in self.connections
        }
        held = any(connection.holds() for connection in self.connections.values())
        for who, connection in running.items():
            busy_ms = BUSY_MS if held else PATIENT_MS
            connection.client.send(f"script({step.scripts[who]!r}, {busy_ms}, {BUSY_MS})")
        others = [each for each in self.connections.values() if each is not victim]
        cut_off = victim is not None and victim.may_be_killed(others)
        if cut_off:
            time.sleep(step.delay_s)
            victim.client.kill()
        for connection in running.values():
            if connection is victim and cut_off:
                continue
            errors, *state = connection.client.answer()
            connection.said(*state)
            for error in set(errors):
                self.heard(error)
        if victim is not None:
            self.killed(step.victim, cut_off)
        names = {name for connection in running.values() for name in connection.names.values()}
        for name in names:
            self.databases[name].steady &= victim is None
            self.check(name, list(running.values()), counted=False)

    def killed(self, who, cut_off):
        """What is known of a killed program's databases."""
        victim = self.connections.pop(who)
        if not cut_off:
            self.leave_transaction(victim)
            victim.client.kill()
        self.counts["kills"] += 1
        for name in victim.names.values():
            database = self.databases[name]
            database.unread = True
            database.steady = False
            if not victim.announces_even_killed(name):
                database.exact = False
        for connection in self.connections.values():
            self.read(connection)

    # -- checks

    def identity(self, database):
        """None while the database is not known to the mount."""
        if database.identity is None:
            with contextlib.suppress(KeyError):
                database.identity = self.mount.database_id(database.name)
        return database.identity

    def ask(self, database, verb, copy=None):
        """Of the tool; None while the database is not known to the mount."""
        if self.identity(database) is None:
            return None
        return self.follow.ask(verb, database.identity, database.name, copy)

    def look(self, database, copy=None):
        """Compares log and database, once the log has what is committed in the WAL."""
        users = [each for each in self.connections.values() if each.has(database.name)]
        indexed = any(each.uses_index(database.name) for each in users)
        verb = "index" if indexed else "chain"
        if database.wal_mode:
            self.mount.settle(database.name)
        answer = self.ask(database, verb, copy)
        if answer and answer.get("wal_mode") and not database.wal_mode:
            self.mount.settle(database.name)
            settled = self.ask(database, verb, copy)
            for key in ("records", "merged", "commits"):
                settled[key] += answer[key]
            answer = {**settled, "changed": answer["changed"]}
        return answer

    def check(self, name, actors, announced=True, n_commits=None, counted=True):
        """What must be so after a step of actors: see Connection.announces()."""
        database = self.databases[name]
        if database.unread:
            return
        announced = announced and all(each.announces(name) for each in actors)
        writing = any(name in each.writing for each in self.connections.values())
        if writing and not database.wal_mode:
            database.silent |= not announced
            self.check_meanwhile(database, counted and HAS_APSW)
            return
        copy = None
        if self.chance.random() < 0.03:
            copy = self.mount.root / f"kept-{self.n_kept}.db"
        answer = self.look(database, copy)
        if answer is None:
            return
        if answer.get("unsure"):
            assert not database.steady, f"{name}: no WAL-index that tells"
            return
        self.counts["checks"] += 1
        self.history.append(f"    {name} {answer}")
        was_steady = database.steady and answer["wal_mode"] == database.wal_mode
        if answer["changed"] and actors:
            by_wal = answer["wal_mode"] and (database.wal_mode or answer["commits"] > 0)
            database.exact = by_wal or (announced and not database.silent)
        page_size = answer["sizes"][1][0]
        one_by_one = answer["wal_mode"] or (
            page_size == database.page_size and all(each.has_journal(name) for each in actors)
        )
        database.silent = False
        database.wal_mode = answer["wal_mode"]
        database.page_size = page_size
        database.steady = database.exact
        if database.exact:
            self.assert_equal(database, answer)
        if database.exact and was_steady:
            self.assert_counted(database, answer, n_commits, counted, one_by_one)
        if database.exact and copy:
            self.keep(database, answer, copy)

    def check_meanwhile(self, database, counted):
        """Somebody is writing, which the file may show already, and the log may not; counted:
        nobody can have committed."""
        answer = self.ask(database, "take")
        if answer and answer["records"] != 0:
            early = database.steady and counted
            assert not early, f"{database.name}: a record before the commit: {answer}"
            database.steady = False

    def assert_equal(self, database, answer):
        """Page by page."""
        self.counts["equal"] += 1
        assert answer["differ"] == 0, f"{database.name}: {answer['differ']} pages differ: {answer}"

    def assert_counted(self, database, answer, n_commits, counted, one_by_one):
        """Each transaction is one record; one_by_one: and is known to be one. Not so of several
        programs at once, which are not counted: their VACUUMs may change the page size and back."""
        if not counted:
            return
        if one_by_one:
            assert answer["merged"] == 0, f"{database.name}: found by comparison only: {answer}"
        if n_commits is None:
            n_commits = answer["commits"] if database.wal_mode else answer["changed"]
        assert answer["records"] == n_commits, (
            f"{database.name}: {answer['records']} records of {n_commits} transactions: {answer}"
        )
        self.counts["commits"] += n_commits

    def check_closed(self, name, connection):
        """Nobody has it open any more."""
        database = self.databases[name]
        if database.unread:
            return
        answer = self.look(database)
        if answer is None:
            return
        database.wal_mode = answer["wal_mode"]
        if database.exact and not (answer["changed"] and not connection.announces(name)):
            self.assert_equal(database, answer)
        else:
            self.wait_until_equal(database)
        database.exact = True

    def wait_until_equal(self, database):
        """The kernel tells of a last close in its own time."""
        last = {}

        def equal():
            last.update(self.look(database) or {})
            return last.get("differ") == 0

        try:
            wait_for(equal, f"{database.name} to be captured at its last close")
        except AssertionError as error:
            raise AssertionError(f"{error}: {last}") from error

    def keep(self, database, answer, copy):
        """For a restore at the end: some copies, of any time."""
        self.n_kept += 1
        database.kept.append((f"{answer['generation']}:{answer['txid']}", copy))
        if len(database.kept) > N_KEPT:
            _, path = database.kept.pop(self.chance.randrange(N_KEPT))
            os.unlink(path)

    # -- the end

    def finish(self):
        """Closes all, has SQLite check each database, and replays and restores them."""
        self.history.append("the end")
        for who in list(self.connections):
            self.close(sql_model.Close(who))
        there = []
        for database in self.databases.values():
            path = self.mount.dir / database.name
            if path.exists() and path.stat().st_size:
                there.append(database)
                self.check_alone(database, path)
        for status in self.mount.status()["databases"]:
            assert status["since_mount"]["unannounced_restarts"] == 0, status
            assert not status["trouble"], status
        for client in self.idle:
            client.close()
        self.mount.unmount()
        for database in there:
            assert_captured(self.mount, database.name)
            self.restore(database)

    def check_alone(self, database, path):
        """SQLite's own check, and then its last close."""
        client = self.program()
        client.run(f"db = Database({str(path)!r})")
        assert client.sql("PRAGMA integrity_check") == [["ok"]]
        client.run("db.close()")
        self.idle.append(client)
        database.unread = False
        self.wait_until_equal(database)

    def restore(self, database):
        """To one of the positions kept, from the folder as it was left."""
        if not database.kept:
            return
        position, copy = self.chance.choice(database.kept)
        output = self.mount.root / "restored.db"
        run_cli(
            *("restore", "--from", self.mount.dir, "--db", database.name, "--txid", position),
            *("--output", output, "--force"),
            env=self.mount.env,
        )
        differ = differing_pages(copy, output)
        assert not differ, f"{database.name} at {position}: pages {differ[:5]} differ"
        self.counts["restored"] += 1


class BareRound(Round):
    """The same steps in a bare folder, to see what SQLite makes of them by itself."""

    def __init__(self, folder, seed, make_client):
        folder.mkdir()
        super().__init__(types.SimpleNamespace(dir=folder), seed, make_client)

    def identity(self, database):
        """Whether there is one."""
        path = self.mount.dir / database.name
        return database.name if path.exists() and path.stat().st_size else None

    def check(self, *args, **options):
        """Nothing to compare with."""

    check_closed = check


def is_sqlites_own(fault, one):
    """Whether SQLite gives the fault that ended a round at the same step of a bare folder too, or
    has not asked the file system."""
    if str(fault).endswith(NO_CALL):
        print(f"    not of the file system: {fault}")
        return True
    bare = BareRound(one.mount.root / "bare", one.seed, one.make_client)
    try:
        bare.take(steps_of(one.seed), math.inf)
    except Fault as other:
        same = str(other) == str(fault) and bare.counts["steps"] == one.counts["steps"]
        print(f"    a bare folder {'too' if same else 'otherwise'}: {other}")
        return same
    return False


def steps_of(seed):
    """All that are taken of one seed."""
    model = sql_model.Model(seed, concurrent=HAS_APSW, savepoints=HAS_APSW)
    return itertools.islice(model.steps(), MAX_STEPS)


def run_seeds(make_mount, make_client, seconds, first, captures, hooks=None):
    """Seed after seed, each on a mount of its own, for some time."""
    end = time.monotonic() + seconds
    counts = collections.Counter()
    for seed in itertools.count(first):
        if time.monotonic() >= end:
            break
        options = {
            "capture": captures[seed % len(captures)],
            "hooks": hooks or ("hold-tailer" if seed // 2 % 2 else ""),
        }
        print(f"seed {seed}, {options}", flush=True)
        mount = make_mount(
            f"m{seed}",
            start=False,
            **options,
            env={
                "REPLITEDFS_MOUNT_LOG_MAX_SIZE": "4GiB",
                "REPLITEDFS_MOUNT_LOG_FILE_SIZE": "1MiB",
            },
        )
        one = Round(mount, seed, make_client)
        try:
            one.run(steps_of(seed), math.inf if REPEATED else end)
            shutil.rmtree(mount.root)
        except BaseException as error:
            if isinstance(error, Fault) and is_sqlites_own(error, one):
                continue
            print(f"to repeat it: REPLITEDFS_SEED={seed}; the last steps:", *one.history, sep="\n")
            raise
        print(f"    {dict(one.counts)}")
        counts += one.counts
    assert_compared(counts)


# Which road a database takes, and which a new one, is up to the mount with "auto".
CAPTURES = {"passthrough": ("passthrough", "auto"), "intercept": ("intercept",)}


@pytest.mark.usefixtures("fine_times")
def test_every_commit_is_in_the_log(ram_mounts, clients, road):
    """In all journal modes, with spills, savepoints, VACUUM, checkpoints, kills."""
    first = int(REPEATED) if REPEATED else random.randrange(1 << 30)
    run_seeds(ram_mounts, clients, SECONDS / 2, first, CAPTURES[road])


# Faults, and seeds that meet them soon.
FAULTS = {
    "hold-tailer,no-barrier": 1,
    "no-journal-pages": 1,
    "no-new-pages": 1,
    "no-freelist-leaves": 59,
    "no-first-page-check,no-quiet-check": 32,
}


@pytest.mark.usefixtures("fine_times")
@pytest.mark.skipif(not HAS_APSW, reason="the seeds are those of a current SQLite")
@pytest.mark.parametrize("hooks", FAULTS)
def test_without_a_part_of_the_capture_the_model_fails(ram_mounts, clients, hooks):
    """It is no empty test: whatever is taken out, some commit is not in the log as it should."""
    with pytest.raises(AssertionError, match="found by comparison only|records of|pages differ"):
        run_seeds(ram_mounts, clients, 120, FAULTS[hooks], ["passthrough"], hooks)
