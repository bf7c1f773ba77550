"""Writing an edition's folder. Needs Arrow."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from recsys.errors import StoreError
from recsys.store._edition import EDITION_FILE, shard_file, shard_of
from recsys.store._files import EDITION_ID, EDITION_VERSION, connect, stamp, sync
from recsys.store._frames import Frames
from recsys.store._handed import Handed
from recsys.store._unpack import read_back

_PAGE_BYTES: Final = 8192
_EDITION_TABLES: Final = (
    "CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE track (code INTEGER PRIMARY KEY, names TEXT NOT NULL)",
)
_SHARD_TABLES: Final = (
    "CREATE TABLE playlist (user_id TEXT PRIMARY KEY, playlist BLOB NOT NULL) WITHOUT ROWID",
)

Rows = Iterable[tuple[str, memoryview]]


def write_folder(
    folder: Path, handed: Handed, *, digest: str, expected: str, left_out: int, shards: int
) -> None:
    """Write playlists into an empty folder, flush them to disk, and read them back.

    Args:
        folder: where to.
        handed: the rows.
        digest: what the folder will be known by.
        expected: digest of the rows that are handed over.
        left_out: users that were left out of them before.
        shards: over how many files to spread them.

    Raises:
        StoreError: the rows are not in order, not of this week, not what ``expected`` says, or
            read back otherwise than they were written.
    """
    writer = _Writer(folder, shards)
    try:
        for frames in handed:
            writer.add(frames)
        stored = handed.stored_digest(expected)
        week, names = handed.week, handed.names()
        writer.finish(
            handed.tracks(),
            {
                "edition": str(week),
                "valid_from": week.monday.isoformat(),
                "valid_until": week.sunday.isoformat(),
                "digest": digest,
                "stored_digest": stored,
                "rows": str(handed.rows),
                "left_out": str(left_out + handed.left_out),
                "shards": str(shards),
                "forms": json.dumps(names.forms),
                "sources": json.dumps(names.sources),
            },
        )
    finally:
        writer.close()
    for path in (*folder.iterdir(), folder):
        sync(path)
    if read_back(folder) != stored:
        raise StoreError(
            f"The playlists of {week} read back from {folder} are not those that were written: "
            "nothing is staged. The disk may be failing."
        )


class _Writer:
    """Writes packed playlists into the tables that ``recsys.store._edition`` reads."""

    def __init__(self, folder: Path, shards: int) -> None:
        self._edition = _create(folder / EDITION_FILE, _EDITION_TABLES)
        self._shards = [_create(folder / shard_file(n), _SHARD_TABLES) for n in range(shards)]

    def add(self, frames: Frames) -> None:
        """Write the next playlists."""
        users = frames.keys()
        rows = zip([user.decode() for user in users], frames.values(), strict=True)
        if len(self._shards) == 1:
            self._insert(self._shards[0], rows)
            return
        parts: list[list[tuple[str, memoryview]]] = [[] for _ in self._shards]
        for user, row in zip(users, rows, strict=True):
            parts[shard_of(user, len(parts))].append(row)
        for shard, part in zip(self._shards, parts, strict=True):
            self._insert(shard, part)

    def finish(self, tracks: Iterable[bytes], facts: dict[str, str]) -> None:
        """Write the names of tracks, and the facts."""
        texts = (text.decode() for text in tracks)
        self._edition.executemany("INSERT INTO track VALUES (?, ?)", enumerate(texts, start=1))
        self._edition.executemany("INSERT INTO fact VALUES (?, ?)", facts.items())
        for connection in (self._edition, *self._shards):
            connection.execute("COMMIT")

    def close(self) -> None:
        """Close the files."""
        for connection in (self._edition, *self._shards):
            connection.close()

    @staticmethod
    def _insert(shard: sqlite3.Connection, rows: Rows) -> None:
        shard.executemany("INSERT INTO playlist VALUES (?, ?)", rows)


def _create(path: Path, tables: Iterable[str]) -> sqlite3.Connection:
    """A new file in one open transaction; nobody sees it before it is whole, so no journal."""
    connection = connect(path, "mode=rwc")
    connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("BEGIN")
    stamp(connection, EDITION_ID, EDITION_VERSION)
    for table in tables:
        connection.execute(table)
    return connection
