"""The ledger: a small SQLite file: what was staged, what is served, who is forgotten, what blocked.

It keeps a rollback journal, not a write-ahead log: readers then need no write permission, and no
file besides ``ledger.db`` is left between writes. A reader asks it at every playlist, in one
statement (some 5 µs), so there is nothing to notice and nothing to grow stale. Blocked tracks alone
are kept in memory: their newest number comes with that statement, and when it has changed they are
read anew.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from recsys.errors import StoreError
from recsys.store._files import (
    LEDGER_ID,
    LEDGER_VERSION,
    Connections,
    connect,
    explain,
    sync,
    version_of,
)
from recsys.store._records import ask, bring_up_to_date

LEDGER_FILE: Final = "ledger.db"
EDITIONS_FOLDER: Final = "editions"

#: Which edition a reader gets.
SERVED: Final = "digest = (SELECT digest FROM served)"
_READABLE: Final = "state IN ('activated', 'superseded') AND NOT pruned"
NAMED: Final = f"edition = ? AND {_READABLE} ORDER BY revision DESC LIMIT 1"
BEGUN: Final = f"valid_from <= ? AND {_READABLE} ORDER BY edition DESC, revision DESC LIMIT 1"

_BLOCKS: Final = "SELECT seq, track_id FROM block"
_FOLDERS: Final = "SELECT folder FROM edition WHERE folder IS NOT NULL"


class Found(NamedTuple):
    """The edition that a reader gets, whether the user was forgotten, and the newest block."""

    edition: str
    digest: str
    folder: str | None
    forgotten: int
    newest_block: int | None


class Ledger:
    """Opens the ledger of the store in ``folder``; there need not be one yet."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LEDGER_FILE
        self._folder = folder
        self._file: tuple[int, int] | None = None
        self._blocked: tuple[int | None, frozenset[str]] = (None, frozenset())
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
            row = ask(
                connection,
                "SELECT edition, digest, folder, "
                "EXISTS (SELECT 1 FROM tombstone WHERE user_id = ?), "
                f"(SELECT max(seq) FROM block) FROM edition WHERE {which}",
                (user_id, *parameters),
            ).fetchone()
        return None if row is None else Found(*row)

    def blocked(self, newest: int | None) -> frozenset[str]:
        """The blocked tracks, as of ``Found.newest_block`` or later."""
        known, tracks = self._blocked
        if known != newest:
            with self.read() as connection:
                rows = [] if connection is None else ask(connection, _BLOCKS).fetchall()
            tracks = frozenset(track_id for _, track_id in rows)
            self._blocked = (max((seq for seq, _ in rows), default=None), tracks)
        return tracks

    def folders(self) -> frozenset[str]:
        """Names of the folders that hold an edition's rows."""
        with self.read() as connection:
            rows = [] if connection is None else ask(connection, _FOLDERS).fetchall()
        return frozenset(name for (name,) in rows)

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
            version = version_of(connection, self.path, LEDGER_ID, LEDGER_VERSION)
            bring_up_to_date(connection, version)
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
            self._file, self._blocked = file, (None, frozenset())
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
