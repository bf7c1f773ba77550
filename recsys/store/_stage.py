"""Writing an edition's folder. Needs Arrow."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from recsys.errors import StoreError
from recsys.store._edition import EDITION_FILE, shard_file, shard_of
from recsys.store._files import EDITION_ID, EDITION_VERSION, connect, stamp, sync
from recsys.store._handed import Handed
from recsys.store._pack import Packer, TrackNames
from recsys.store._unpack import read_back

_PAGE_BYTES: Final = 8192
_EDITION_TABLES: Final = (
    "CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE source (code INTEGER PRIMARY KEY, name TEXT NOT NULL)",
    "CREATE TABLE track (code INTEGER PRIMARY KEY, track_id TEXT NOT NULL, track_name TEXT, "
    "artist_names TEXT NOT NULL)",
    "CREATE TABLE default_playlist (kind TEXT NOT NULL, relaxed TEXT NOT NULL, "
    "tracks BLOB NOT NULL, spares BLOB NOT NULL, not_at TEXT NOT NULL)",
)
_SHARD_TABLES: Final = (
    "CREATE TABLE playlist (user_id TEXT PRIMARY KEY, kind TEXT NOT NULL, "
    "relaxed TEXT NOT NULL, tracks BLOB NOT NULL, spares BLOB NOT NULL, not_at TEXT NOT NULL) "
    "WITHOUT ROWID",
)


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
        for chunk in handed:
            writer.add(chunk)
        stored = handed.finish(expected)
        week = handed.week
        writer.finish(
            handed.default,
            {
                "edition": str(week),
                "valid_from": week.monday.isoformat(),
                "valid_until": week.sunday.isoformat(),
                "digest": digest,
                "stored_digest": stored,
                "rows": str(handed.rows),
                "left_out": str(left_out + handed.left_out),
                "shards": str(shards),
            },
        )
    finally:
        writer.close()
    for path in (*folder.iterdir(), folder):
        sync(path)
    if read_back(folder) != stored:
        raise StoreError(
            f"The playlists of {week} read back from {folder} are not those that were written: "
            "nothing is staged. Either one track has two names, or the disk is failing."
        )


class _Writer:
    """Packs playlists into the tables that ``recsys.store._edition`` reads."""

    def __init__(self, folder: Path, shards: int) -> None:
        self._edition = _create(folder / EDITION_FILE, _EDITION_TABLES)
        self._shards = [_create(folder / shard_file(n), _SHARD_TABLES) for n in range(shards)]
        self._packer = Packer()

    def add(self, chunk: pa.RecordBatch) -> None:
        """Write the next playlists."""
        rows = self._rows(chunk)
        if len(self._shards) == 1:
            self._insert(self._shards[0], rows)
        else:
            parts: list[list[tuple[Any, ...]]] = [[] for _ in self._shards]
            for row in rows:
                parts[shard_of(row[0].encode(), len(parts))].append(row)
            for shard, part in zip(self._shards, parts, strict=True):
                self._insert(shard, part)
        self._insert_tracks(self._packer.take_tracks())

    def finish(self, default: pa.RecordBatch, facts: dict[str, str]) -> None:
        """Write the default playlist, sources and facts."""
        self._edition.executemany(
            "INSERT INTO default_playlist VALUES (?, ?, ?, ?, ?)",
            [row[1:] for row in self._rows(default)],
        )
        self._insert_tracks([*self._packer.take_tracks(), *self._packer.nameless()])
        self._edition.executemany(
            "INSERT INTO source VALUES (?, ?)", enumerate(self._packer.sources)
        )
        self._edition.executemany("INSERT INTO fact VALUES (?, ?)", facts.items())
        for connection in (self._edition, *self._shards):
            connection.execute("COMMIT")

    def close(self) -> None:
        """Close the files."""
        for connection in (self._edition, *self._shards):
            connection.close()

    def _rows(self, chunk: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
        return zip(*(column.to_pylist() for column in self._packer.pack(chunk)), strict=True)

    def _insert_tracks(self, tracks: Iterable[TrackNames]) -> None:
        self._edition.executemany("INSERT INTO track VALUES (?, ?, ?, ?)", tracks)

    @staticmethod
    def _insert(shard: sqlite3.Connection, rows: Iterable[tuple[Any, ...]]) -> None:
        shard.executemany("INSERT INTO playlist VALUES (?, ?, ?, ?, ?, ?)", rows)


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
