# SPDX-License-Identifier: MIT
"""Processes that open, lock and close files step by step, as a plan tells them.

locker.py FOLDER <PLAN

The plan is JSON: {"processes": N, "turns": [[WHO, VERB, STEP…], …]}. WHO is the number of a
process, VERB what becomes of it:

    do         takes the steps; nobody does anything else meanwhile
    begin      begins with the steps
    blocked    waits, until it sleeps in a call that waits for a lock
    result     ends the steps that it has begun
    interrupt  gets a signal
    kill       gets a SIGKILL

Prints a JSON list of the results of all turns, null for those without. "do" and "result" have a
list: for each step null, a value, or the name of the errno. STEPS has the steps.
"""

import errno
import fcntl
import json
import os
import signal
import struct
import sys
import time

TYPES = {"R": fcntl.F_RDLCK, "W": fcntl.F_WRLCK, "U": fcntl.F_UNLCK}
FLOCK_TYPES = {"R": fcntl.LOCK_SH, "W": fcntl.LOCK_EX, "U": fcntl.LOCK_UN}
MODES = {"r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR}
COMMANDS = {"posix": fcntl.F_SETLK, "ofd": fcntl.F_OFD_SETLK}
WAITING = {"posix": fcntl.F_SETLKW, "ofd": fcntl.F_OFD_SETLKW}
QUESTIONS = {"posix": fcntl.F_GETLK, "ofd": fcntl.F_OFD_GETLK}
FLOCK = struct.Struct("@hhqqi0q")
WAIT_S = 60

descriptors = {}


def lock(kind, slot, how, start=0, length=1, wait=False):
    """Takes (R, W) or gives up (U) a lock of a kind by the descriptor in a slot."""
    if kind == "flock":
        flags = FLOCK_TYPES[how] | (0 if wait else fcntl.LOCK_NB)
        fcntl.flock(descriptors[slot], flags)
    else:
        command = (WAITING if wait else COMMANDS)[kind]
        asked = FLOCK.pack(TYPES[how], os.SEEK_SET, start, length, 0)
        fcntl.fcntl(descriptors[slot], command, asked)


def ask(kind, slot, how, start=0, length=1):
    """Which lock is in the way: type, start, length and the pid of its owner, or "free"."""
    asked = FLOCK.pack(TYPES[how], os.SEEK_SET, start, length, 0)
    found, _, start, length, pid = FLOCK.unpack(
        fcntl.fcntl(descriptors[slot], QUESTIONS[kind], asked)
    )
    if found == fcntl.F_UNLCK:
        return "free"
    return ["R" if found == fcntl.F_RDLCK else "W", start, length, pid]


def open_file(slot, name, mode="rw"):
    """Opens a file into a slot."""
    descriptors[slot] = os.open(name, MODES[mode])


def duplicate(slot, to):
    """A second descriptor of the same description."""
    descriptors[to] = os.dup(descriptors[slot])


def close(slot):
    """Closes a slot."""
    os.close(descriptors.pop(slot))


def in_child(*steps):
    """The results of steps taken by a forked child, which then ends."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write_end, json.dumps([take(step) for step in steps]).encode())
        os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as said:
        results = json.loads(said.read())
    os.waitpid(pid, 0)
    return results


def count(rounds, kinds):
    """Adds one to a counter again and again, each time opening its file, locking it and
    closing it. kinds maps kinds of locks to the counters that they are for."""
    for i in range(rounds):
        kind = list(kinds)[i % len(kinds)]
        open_file("counter", kinds[kind])
        fd = descriptors["counter"]
        lock(kind, "counter", "W", 0, 8, wait=True)
        number = int.from_bytes(os.pread(fd, 8, 0), "big")
        os.pwrite(fd, (number + 1).to_bytes(8, "big"), 0)
        # Half of the locks are given up by the close.
        if i // len(kinds) % 2:
            lock(kind, "counter", "U", 0, 8)
        close("counter")


STEPS = {
    "open": open_file,
    "dup": duplicate,
    "close": close,
    "lock": lock,
    "ask": ask,
    "child": in_child,
    "count": count,
}


def take(step):
    """Takes a step [NAME, ARGUMENT, …]; its result, or the name of the errno."""
    try:
        return STEPS[step[0]](*step[1:])
    except OSError as error:
        return errno.errorcode[error.errno]


def interrupted(*_):
    """Makes Python return from a system call that a signal has interrupted."""
    raise InterruptedError(errno.EINTR, "interrupted")


class Process:
    """One of the processes, as the one that tells it what to do sees it."""

    def __init__(self, others):
        orders, self.orders = os.pipe()
        self.results, results = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            # No process keeps the pipe of another open: all end with the first.
            for process in [*others, self]:
                os.close(process.orders)
                os.close(process.results)
            signal.signal(signal.SIGUSR1, interrupted)
            serve(orders, results)
        os.close(orders)
        os.close(results)
        self.reader = open(self.results, "rb")

    def send(self, steps):
        """Begins steps."""
        os.write(self.orders, json.dumps(steps).encode() + b"\n")

    def result(self):
        """Waits for their results."""
        return json.loads(self.reader.readline())

    def wait_until_blocked(self):
        """Waits until it sleeps in fcntl or flock, for a lock."""
        numbers = {"x86_64": ("72", "73"), "aarch64": ("25", "32")}[os.uname().machine]
        end = time.monotonic() + WAIT_S
        while True:
            with open(f"/proc/{self.pid}/syscall") as file:
                call = file.read().split()[0]
            if call in numbers:
                return
            if time.monotonic() > end:
                raise TimeoutError(f"process {self.pid} does not wait for a lock")
            time.sleep(0.001)

    def kill(self):
        """kill -9."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def serve(orders, results):
    """The life of a process."""
    with open(orders, "rb") as lines:
        for line in lines:
            done = [take(step) for step in json.loads(line)]
            os.write(results, json.dumps(done).encode() + b"\n")
    os._exit(0)


def run_turn(process, verb, *steps):
    """The result of a turn."""
    if verb in ("do", "begin"):
        process.send(steps)
    if verb in ("do", "result"):
        return process.result()
    if verb == "blocked":
        process.wait_until_blocked()
    elif verb == "interrupt":
        os.kill(process.pid, signal.SIGUSR1)
    elif verb == "kill":
        process.kill()
    return None


def named(value, numbers):
    """The result of `ask` with the number of the owner for its pid."""
    if isinstance(value, list) and len(value) == 4 and value[0] in ("R", "W"):
        return [*value[:3], "description" if value[3] == -1 else numbers.get(value[3], "other")]
    if isinstance(value, list):
        return [named(one, numbers) for one in value]
    return value


def main():
    """Runs the plan."""
    os.chdir(sys.argv[1])
    plan = json.load(sys.stdin)
    processes = []
    for _ in range(plan["processes"]):
        processes.append(Process(processes))
    numbers = {process.pid: number for number, process in enumerate(processes)}
    results = [run_turn(processes[turn[0]], *turn[1:]) for turn in plan["turns"]]
    print(json.dumps([named(result, numbers) for result in results]))


main()
