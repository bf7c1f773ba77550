"""The ledger: one small SQLite file that says what was staged, what is served, who is forgotten.

It keeps a rollback journal, not a write-ahead log: readers then need no write permission, and no
file besides ``ledger.db`` is left between writes. A reader asks it at every playlist, in one
statement (some 5 µs), so there is nothing to notice and nothing to grow stale.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from recsys.errors import StoreError
from recsys.store._contract import Action, Edition, History, LedgerEntry, State
from recsys.store._files import (
    LEDGER_ID,
    LEDGER_VERSION,
    Connections,
    connect,
    explain,
    stamp,
    sync,
    version_of,
)

LEDGER_FILE: Final = "ledger.db"
EDITIONS_FOLDER: Final = "editions"

#: Which edition a reader gets.
SERVED: Final = "digest = (SELECT digest FROM served)"
NAMED: Final = "edition = ? AND state IN ('activated', 'superseded') ORDER BY revision DESC LIMIT 1"
BEGUN: Final = (
    "valid_from <= ? AND state IN ('activated', 'superseded') "
    "ORDER BY edition DESC, revision DESC LIMIT 1"
)

_TABLES: Final = (
    """CREATE TABLE edition (
        digest TEXT PRIMARY KEY,
        edition TEXT NOT NULL,
        revision INTEGER NOT NULL,
        state TEXT NOT NULL,
        staged_at TEXT NOT NULL,
        activated_at TEXT,
        rows INTEGER NOT NULL,
        left_out INTEGER NOT NULL,
        replaced TEXT,          -- the digest that was served before this one
        valid_from TEXT NOT NULL,
        folder TEXT,            -- below editions/; NULL where the rows were lost
        bytes INTEGER           -- of all files in it
    )""",
    "CREATE TABLE served (digest TEXT NOT NULL)",  # the pointer: one row, or none yet
    """CREATE TABLE ledger (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        action TEXT NOT NULL,
        edition TEXT NOT NULL,
        revision INTEGER NOT NULL,
        digest TEXT NOT NULL,
        note TEXT NOT NULL
    )""",
    "CREATE TABLE tombstone (user_id TEXT PRIMARY KEY, at TEXT NOT NULL) WITHOUT ROWID",
)


class Found(NamedTuple):
    """The edition that a reader gets, and whether the user was forgotten."""

    edition: str
    digest: str
    folder: str | None
    forgotten: int


class Ledger:
    """Opens the ledger of the store in ``folder``; there need not be one yet."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LEDGER_FILE
        self._folder = folder
        self._file: tuple[int, int] | None = None
        self._connections = Connections(self._connect)
        with self.read():
            pass

    def close(self) -> None:
        """Close the file."""
        self._connections.close()

    def find(self, which: str, parameters: tuple[str, ...], user_id: str) -> Found | None:
        """The edition chosen by ``SERVED``, ``NAMED`` or ``BEGUN``, if there is one."""
        with self._connection() as connection:
            if connection is None:
                return None
            row = connection.execute(
                "SELECT edition, digest, folder, "
                "EXISTS (SELECT 1 FROM tombstone WHERE user_id = ?) "
                f"FROM edition WHERE {which}",
                (user_id, *parameters),
            ).fetchone()
        return None if row is None else Found(*row)

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection | None]:
        """A connection that sees one instant; None while there is no store."""
        with self._connection() as connection:
            if connection is None:
                yield None
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.rollback()

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A connection in a transaction of its own, durable when the block has ended."""
        self._check_folder()
        connection = None
        try:
            created = not self.path.exists()
            self._folder.mkdir(parents=True, exist_ok=True)
            connection = connect(self.path, "mode=rwc")
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA synchronous = EXTRA")
            connection.execute("BEGIN IMMEDIATE")
            if not version_of(connection, self.path, LEDGER_ID, LEDGER_VERSION):
                for table in _TABLES:
                    connection.execute(table)
                stamp(connection, LEDGER_ID, LEDGER_VERSION)
            yield connection
            connection.execute("COMMIT")
            if created:
                sync(self._folder)
                sync(self._folder.parent)
        except (sqlite3.Error, OSError) as error:
            raise explain(error, self.path) from error
        finally:
            if connection is not None:
                connection.close()  # undoes what was not committed

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection | None]:
        try:
            status = os.stat(self.path)  # noqa: PTH116 (on the way of every playlist)
        except FileNotFoundError:
            self._check_folder()
            yield None
            return
        except OSError as error:
            raise explain(error, self.path) from error
        file = (status.st_dev, status.st_ino)
        if file != self._file:  # the store was removed and made anew: let go of the old file
            self._connections.close()
            self._connections = Connections(self._connect)
            self._file = file
        connections = self._connections
        try:
            connection = connections.take()
        except _UnwrittenError:
            yield None
            return
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
        try:
            yield connection
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
        finally:
            connections.give(connection)

    def _connect(self) -> sqlite3.Connection:
        # Read-write where that is permitted: a reader can then undo what a killed publisher left.
        connection = connect(self.path, "mode=rw")
        try:
            if version_of(connection, self.path, LEDGER_ID, LEDGER_VERSION):
                return connection
            raise _UnwrittenError
        except BaseException:
            connection.close()
            raise

    def _check_folder(self) -> None:
        """A directory that holds other things, and no ledger, is not made into a store."""
        try:
            others = sorted(
                name
                for name in os.listdir(self._folder)  # noqa: PTH208 (names, not paths)
                if name != EDITIONS_FOLDER and not name.startswith((".", LEDGER_FILE))
            )
        except FileNotFoundError:
            return
        except OSError as error:
            raise explain(error, self._folder) from error
        if others and not self.path.exists():
            raise StoreError(
                f"{self._folder} is not a playlist store: it holds {others[0]!r} and no "
                f"{LEDGER_FILE}. Point [store] url at an empty or a new directory."
            )


class _UnwrittenError(Exception):
    """The file is there, and its first transaction has not ended."""


def history_in(connection: sqlite3.Connection, editions_folder: Path) -> History:
    """Everything in the ledger."""
    served = connection.execute("SELECT digest FROM served").fetchone()
    editions = connection.execute(
        "SELECT edition, revision, digest, state, staged_at, activated_at, rows, left_out, "
        "replaced, folder, bytes FROM edition ORDER BY edition DESC, revision DESC, staged_at DESC"
    )
    entries = connection.execute(
        "SELECT seq, at, action, edition, revision, digest, note FROM ledger ORDER BY seq"
    )
    tombstones = connection.execute("SELECT user_id, at FROM tombstone ORDER BY user_id")
    return History(
        editions=tuple(
            _edition(row, served=served == (row[2],), editions_folder=editions_folder)
            for row in editions
        ),
        ledger=tuple(entry_of(row) for row in entries),
        tombstones={user: datetime.fromisoformat(at) for user, at in tombstones},
    )


def entry_of(row: tuple[Any, ...]) -> LedgerEntry:
    """A row of table ``ledger``."""
    seq, at, action, *rest = row
    return LedgerEntry(seq, datetime.fromisoformat(at), Action(action), *rest)


def is_present(folder: Path, size: int) -> bool:
    """Whether an edition's files are all there, none cut short."""
    try:
        return sum(entry.stat().st_size for entry in os.scandir(folder)) == size
    except FileNotFoundError:
        return False


def _edition(row: tuple[Any, ...], *, served: bool, editions_folder: Path) -> Edition:
    *fields, folder, size = row
    edition, revision, digest, state, staged_at, activated_at, rows, left_out, replaced = fields
    return Edition(
        edition=edition,
        revision=revision,
        digest=digest,
        state=State(state),
        staged_at=datetime.fromisoformat(staged_at),
        activated_at=None if activated_at is None else datetime.fromisoformat(activated_at),
        rows=rows,
        left_out=left_out,
        replaced=replaced,
        served=served,
        present=folder is not None and is_present(editions_folder / folder, size),
    )
