"""Editions, entries, tombstones and blocks as rows of the ledger file.

Each function works within a transaction of its caller.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from recsys.store._contract import Action, Edition, History, LedgerEntry, State
from recsys.store._files import LEDGER_ID, LEDGER_VERSION, stamp
from recsys.store._rules import Entry, Moves
from recsys.weeks import Week

_BLOCK_TABLE: Final = (
    "CREATE TABLE block (seq INTEGER PRIMARY KEY, track_id TEXT NOT NULL UNIQUE, at TEXT NOT NULL)"
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
        folder TEXT,            -- below editions/; NULL where the rows were lost or pruned
        bytes INTEGER,          -- of all files in it
        pinned INTEGER NOT NULL DEFAULT 0,
        pruned INTEGER NOT NULL DEFAULT 0
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
    _BLOCK_TABLE,
)
_FROM_VERSION_1: Final = (
    "ALTER TABLE edition ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE edition ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0",
    _BLOCK_TABLE,
)
#: Before a statement, this makes a ledger of version 1 look as one of version 2.
_SEEN_AS_VERSION_2: Final = (
    "WITH edition AS (SELECT *, 0 AS pinned, 0 AS pruned FROM main.edition), "
    "block AS (SELECT 0 AS seq, '' AS track_id, '' AS at WHERE 0) "
)


def bring_up_to_date(connection: sqlite3.Connection, version: int) -> None:
    """Make the tables, or add what a ledger of an older version lacks."""
    if version == LEDGER_VERSION:
        return
    for statement in _FROM_VERSION_1 if version else _TABLES:
        connection.execute(statement)
    stamp(connection, LEDGER_ID, LEDGER_VERSION)


def ask(
    connection: sqlite3.Connection, statement: str, parameters: tuple[Any, ...] = ()
) -> sqlite3.Cursor:
    """Run a SELECT that may be asked of a ledger of version 1, too."""
    try:
        return connection.execute(statement, parameters)
    except sqlite3.OperationalError:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        as_it_is = _SEEN_AS_VERSION_2 if version == 1 else ""
        return connection.execute(as_it_is + statement, parameters)


def history_in(connection: sqlite3.Connection, editions_folder: Path) -> History:
    """Everything in the ledger."""
    entries = ask(
        connection,
        "SELECT seq, at, action, edition, revision, digest, note FROM ledger ORDER BY seq",
    )
    return History(
        editions=editions_in(connection, editions_folder),
        ledger=tuple(_entry(row) for row in entries),
        tombstones=_times(connection, "SELECT user_id, at FROM tombstone ORDER BY user_id"),
        blocks=_times(connection, "SELECT track_id, at FROM block ORDER BY track_id"),
    )


def editions_in(connection: sqlite3.Connection, editions_folder: Path) -> tuple[Edition, ...]:
    """Every edition in the ledger, newest first; whose files are there is looked up."""
    served = ask(connection, "SELECT digest FROM served").fetchone()
    rows = ask(
        connection,
        "SELECT edition, revision, digest, state, staged_at, activated_at, rows, left_out, "
        "replaced, pinned, pruned, folder, bytes FROM edition "
        "ORDER BY edition DESC, revision DESC, staged_at DESC",
    )
    return tuple(
        _edition(row, served=served == (row[2],), editions_folder=editions_folder) for row in rows
    )


def folder_of(connection: sqlite3.Connection, digest: str) -> str | None:
    """Name of the folder that holds an edition's rows."""
    row = ask(connection, "SELECT folder FROM edition WHERE digest = ?", (digest,)).fetchone()
    return None if row is None else row[0]


def write_moves(connection: sqlite3.Connection, moves: Moves) -> list[LedgerEntry]:
    """Write what the rules changed; returns the entries as they are in the ledger."""
    for edition in moves.editions:
        _write_edition(connection, edition)
    return [add_entry(connection, entry) for entry in moves.entries]


def put_folder(connection: sqlite3.Connection, digest: str, folder: str, size: int) -> None:
    """Say where an edition's rows are from now on, and the bytes of all files there."""
    connection.execute(
        "UPDATE edition SET folder = ?, bytes = ? WHERE digest = ?", (folder, size, digest)
    )


def add_entry(connection: sqlite3.Connection, entry: Entry) -> LedgerEntry:
    """Write a line into the ledger."""
    at = datetime.now(UTC)
    cursor = connection.execute(
        "INSERT INTO ledger (at, action, edition, revision, digest, note) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (_text(at), *entry),
    )
    return LedgerEntry(int(cursor.lastrowid or 0), at, *entry)


def restore(connection: sqlite3.Connection, history: History) -> bool:
    """Fill an empty ledger; False if it is not empty."""
    for table in ("edition", "ledger", "tombstone", "block"):
        if connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone():
            return False
    for edition in history.editions:
        _write_edition(connection, edition)
    connection.executemany(
        "INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (e.seq, _text(e.at), e.action, e.edition, e.revision, e.digest, e.note)
            for e in history.ledger
        ],
    )
    connection.executemany("INSERT INTO tombstone VALUES (?, ?)", _texts(history.tombstones))
    connection.executemany("INSERT INTO block (track_id, at) VALUES (?, ?)", _texts(history.blocks))
    return True


def forget(connection: sqlite3.Connection, user_id: str) -> None:
    """Set a tombstone; the first one stays."""
    now = _text(datetime.now(UTC))
    connection.execute("INSERT OR IGNORE INTO tombstone VALUES (?, ?)", (user_id, now))


def block(connection: sqlite3.Connection, track_id: str) -> None:
    """Block a track; the first time stays."""
    now = _text(datetime.now(UTC))
    connection.execute("INSERT OR IGNORE INTO block (track_id, at) VALUES (?, ?)", (track_id, now))


def _write_edition(connection: sqlite3.Connection, edition: Edition) -> None:
    changing = {
        "revision": edition.revision,
        "state": edition.state,
        "activated_at": edition.activated_at and _text(edition.activated_at),
        "rows": edition.rows,
        "left_out": edition.left_out,
        "replaced": edition.replaced,
        "pinned": edition.pinned,
        "pruned": edition.pruned,
    }
    fields = {
        "digest": edition.digest,
        "edition": edition.edition,
        "staged_at": _text(edition.staged_at),
        "valid_from": Week.parse(edition.edition).monday.isoformat(),
        **changing,
    }
    connection.execute(
        f"INSERT INTO edition ({', '.join(fields)}) VALUES ({', '.join('?' * len(fields))}) "
        f"ON CONFLICT (digest) DO UPDATE SET {', '.join(f'{n} = excluded.{n}' for n in changing)}",
        tuple(fields.values()),
    )
    connection.execute("DELETE FROM served WHERE digest = ?", (edition.digest,))
    if edition.served:
        connection.execute("INSERT INTO served (digest) VALUES (?)", (edition.digest,))
    if edition.pruned:
        connection.execute(
            "UPDATE edition SET folder = NULL, bytes = NULL WHERE digest = ?", (edition.digest,)
        )


def _edition(row: tuple[Any, ...], *, served: bool, editions_folder: Path) -> Edition:
    edition, revision, digest, state, staged_at, activated_at, *rest = row
    rows, left_out, replaced, pinned, pruned, folder, size = rest
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
        pinned=bool(pinned),
        pruned=bool(pruned),
        present=folder is not None and _is_whole(editions_folder / folder, size),
    )


def _is_whole(folder: Path, size: int) -> bool:
    """Whether an edition's files are all there, none cut short."""
    try:
        return sum(entry.stat().st_size for entry in os.scandir(folder)) == size
    except FileNotFoundError:
        return False


def _entry(row: tuple[Any, ...]) -> LedgerEntry:
    seq, at, action, *rest = row
    return LedgerEntry(seq, datetime.fromisoformat(at), Action(action), *rest)


def _times(connection: sqlite3.Connection, statement: str) -> dict[str, datetime]:
    return {name: datetime.fromisoformat(at) for name, at in ask(connection, statement)}


def _texts(times: Any) -> Iterable[tuple[str, str]]:
    return [(name, _text(at)) for name, at in times.items()]


def _text(at: datetime) -> str:
    return at.isoformat(timespec="microseconds")
