# SPDX-License-Identifier: MIT
"""The tool `follow`: a running mount's log, compared with its databases as it grows."""

import contextlib
import json
import subprocess

from mount import BUILD


class Follow:
    """The tool, on a mount that is not mounted yet."""

    def __init__(self, mount):
        self.mount = mount
        self.identities = {}
        self.process = subprocess.Popen(
            [str(BUILD / "tests" / "tools" / "follow"), str(mount.state), str(mount.dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answer()

    def answer(self):
        """Its next line."""
        line = self.process.stdout.readline()
        assert line, f"follow ended with {self.process.wait(10)}"
        answer = json.loads(line)
        assert "error" not in answer, f"the log: {answer['error']}"
        return answer

    def ask(self, verb, identity, name, copy=None):
        """One command."""
        words = [verb, identity, name] + ([str(copy)] if copy else [])
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def look(self, name, verb="chain"):
        """What it says of a database; None as long as the mount does not know that."""
        if name not in self.identities:
            try:
                self.identities[name] = self.mount.database_id(name)
            except KeyError:
                return None
        return self.ask(verb, self.identities[name], name)

    def assert_equal(self, name, records=None, merged=0, verb="chain"):
        """The log is the database, page by page, and came there since the last look by that many
        records (default: one if its content has changed), of which so many by comparison."""
        answer = self.look(name, verb)
        assert answer["differ"] == 0, f"{name}: {answer['differ']} pages differ: {answer}"
        wanted = int(answer["changed"]) if records is None else records
        assert answer["records"] == wanted, f"{name}: not {wanted} records: {answer}"
        assert merged is None or answer["merged"] == merged, f"{name}: {answer}"
        return answer

    def close(self):
        """Its end; no harm when that was before."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(20)


def followed(make_mount, follows, **options):
    """A mount, by one of the fixtures that make them, and its log."""
    mount = make_mount(start=False, **options)
    follow = follows(mount)
    mount.start()
    return mount, follow
