# SPDX-License-Identifier: MIT
"""Django's SQLite backend, with the write lock taken at BEGIN.

A transaction that begins by reading cannot always go on to write when others write too: SQLite
says "database is locked" at once, whatever the timeout, on any filesystem.
"""

from django.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Named as Django wants it."""

    def _start_transaction_under_autocommit(self):
        self.cursor().execute("BEGIN IMMEDIATE")
