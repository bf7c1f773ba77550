"""SQLite files: how they are opened, what marks them as ours, and what their errors mean."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from recsys.errors import RecsysError, ResourceError, StoreError

LEDGER_ID: Final = 0x7265634C
LEDGER_VERSION: Final = 2
EDITION_ID: Final = 0x72656345
EDITION_VERSION: Final = 4

_SECONDS_TO_WAIT: Final = 30.0
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


def connect(path: Path, options: str) -> sqlite3.Connection:
    """Open a file; the connection may wander between threads, one at a time."""
    return sqlite3.connect(
        f"{path.as_uri()}?{options}",
        uri=True,
        timeout=_SECONDS_TO_WAIT,
        isolation_level=None,
        check_same_thread=False,
    )


def version_of(connection: sqlite3.Connection, path: Path, mark: int, newest: int) -> int:
    """The format version of an open file; 0 if nothing has been written to it yet.

    Raises:
        StoreError: it is not a file of this kind, or of a version to come.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != mark:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables or application:
            raise StoreError(f"{path} is some other database. Point [store] url elsewhere.")
    if version > newest:
        raise StoreError(
            f"{path} has format {version}, and this recsys knows formats up to {newest}. "
            "Install the recsys that wrote it, or a newer one."
        )
    return int(version)


def stamp(connection: sqlite3.Connection, mark: int, version: int) -> None:
    """Mark an open file as ours, within the transaction that fills it."""
    connection.execute(f"PRAGMA application_id = {mark}")
    connection.execute(f"PRAGMA user_version = {version}")


def explain(error: sqlite3.Error | OSError, path: Path) -> RecsysError:
    """What went wrong at ``path``, and what to do about it."""
    name = getattr(error, "sqlite_errorname", "")
    number = getattr(error, "errno", None)
    if name == "SQLITE_FULL" or number in _FULL:
        return ResourceError(
            f"The disk is full while writing to {path}. Free some space and run the same command "
            "again: what readers see is unchanged."
        )
    if name == "SQLITE_READONLY_ROLLBACK":
        return StoreError(
            f"A publisher was killed while it wrote {path}, and this account may not tidy up "
            "after it. Run the week again, or `recsys status`, as the account that publishes."
        )
    if name.startswith("SQLITE_READONLY") or number in _FORBIDDEN:
        return StoreError(f"{path} cannot be written ({error}). Check its owner and permissions.")
    if name.startswith("SQLITE_BUSY"):
        return StoreError(
            f"Another process has been writing {path} for {_SECONDS_TO_WAIT:.0f} s. "
            "Try again when it has ended."
        )
    if name in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
        return StoreError(
            f"{path} is damaged or not a database ({error}). If this is the store, remove it and "
            "run the week again: its history comes back from the copy that home keeps."
        )
    return StoreError(f"{path} cannot be used ({error}). Check [store] url, disk and permissions.")


def sync(path: Path) -> None:
    """Flush a file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Connections:
    """Connections to read one thing with: any number of threads take one each and give it back.

    A connection made before a fork belongs to the parent: the child neither uses nor closes it.
    """

    def __init__(self, make: Callable[[], sqlite3.Connection]) -> None:
        self._make = make
        self._process = os.getpid()
        self._idle: list[sqlite3.Connection] = []
        self._open = True

    def take(self) -> sqlite3.Connection:
        """An idle connection, or a new one."""
        if self._process != os.getpid():
            _INHERITED.append(self._idle)
            self._idle, self._process = [], os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return self._make()

    def give(self, connection: sqlite3.Connection) -> None:
        """Give a connection back."""
        if self._open:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close the idle connections now, and those in use as they come back."""
        self._open = False
        if self._process != os.getpid():
            return
        while self._idle:
            self._idle.pop().close()


_INHERITED: Final[list[list[sqlite3.Connection]]] = []
