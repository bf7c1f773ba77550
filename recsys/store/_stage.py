"""Writing an edition's folder. Needs Arrow."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.errors import StoreError
from recsys.store._edition import EDITION_FILE, shard_file
from recsys.store._files import EDITION_ID, EDITION_VERSION, connect, stamp, sync
from recsys.store._frames import Frames
from recsys.store._handed import EditionDigest, Handed
from recsys.store._layout import TRACKS_IN_ROW, shard_of
from recsys.store._unpack import read_names, read_playlists

_PLAYLISTS_IN_BUNDLE: Final = 12  # of 30 tracks and 5 spares: a quarter of a page
_PAGE_BYTES: Final = 32_768
_EDITION_TABLES: Final = (
    "CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE track (first_code INTEGER PRIMARY KEY, names TEXT NOT NULL)",
)
_SHARD_TABLES: Final = (
    "CREATE TABLE bundle (first_user TEXT PRIMARY KEY, playlists BLOB NOT NULL)",
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
    with (
        contextlib.closing(_Writer(folder, shards)) as writer,
        ThreadPoolExecutor(1) as beside,
    ):
        flushed = beside.submit(writer.flush)
        for frames in handed:
            writer.add(frames)
            if flushed.done():  # the disk is busy from the beginning, not only at the end
                flushed.result()
                flushed = beside.submit(writer.flush)
        digest_read = EditionDigest(handed.week)
        finished = beside.submit(writer.finish_playlists)
        reading = beside.submit(read_playlists, folder, shards, digest_read)
        stored = handed.stored_digest(expected)
        week, names = handed.week, handed.names()
        facts = {
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
        }
        writer.finish_tracks(handed.tracks(), facts)
        flushed.result()
        finished.result()
        facts_read, *named = read_names(folder)
        reading.result()
    sync(folder)
    if facts_read != facts or digest_read.finish(handed.rows, *named) != stored:
        raise StoreError(
            f"The playlists of {week} read back from {folder} are not those that were written: "
            "nothing is staged. The disk may be failing."
        )


class _Writer:
    """Writes packed playlists into the tables that ``recsys.store._edition`` reads."""

    def __init__(self, folder: Path, shards: int) -> None:
        self._folder = folder
        self._edition = _create(folder / EDITION_FILE, _EDITION_TABLES)
        self._shards = [_create(folder / shard_file(n), _SHARD_TABLES) for n in range(shards)]

    def add(self, frames: Frames) -> None:
        """Write the next playlists."""
        if len(self._shards) == 1:
            self._insert(self._shards[0], frames)
            return
        users = frames.keys()
        shards = np.array([shard_of(user, len(self._shards)) for user in users])
        for n, shard in enumerate(self._shards):
            self._insert(shard, frames.take(np.flatnonzero(shards == n)))

    def flush(self) -> None:
        """Flush to disk what has been written so far."""
        for n in range(len(self._shards)):
            sync(self._folder / shard_file(n))

    def finish_playlists(self) -> None:
        """Flush the playlists to disk."""
        for n, shard in enumerate(self._shards):
            _finish(shard, self._folder / shard_file(n))

    def finish_tracks(self, tracks: pa.StringArray, facts: dict[str, str]) -> None:
        """Write the names of tracks, and the facts, and flush them to disk."""
        self._edition.executemany("INSERT INTO track VALUES (?, ?)", _lines(tracks))
        self._edition.executemany("INSERT INTO fact VALUES (?, ?)", facts.items())
        _finish(self._edition, self._folder / EDITION_FILE)

    def close(self) -> None:
        """Close the files."""
        for connection in (self._edition, *self._shards):
            connection.close()

    @staticmethod
    def _insert(shard: sqlite3.Connection, frames: Frames) -> None:
        shard.executemany("INSERT INTO bundle VALUES (?, ?)", _bundles(frames))


def _finish(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("COMMIT")
    connection.close()
    sync(path)


def _bundles(frames: Frames) -> Iterator[tuple[str, memoryview]]:
    """Playlists next to each other, under their first user."""
    starts = frames.starts[:-1:_PLAYLISTS_IN_BUNDLE].tolist()
    ends = [*starts[1:], len(frames.data)][: len(starts)]
    users = frames.keys(_PLAYLISTS_IN_BUNDLE)
    for user, start, end in zip(users, starts, ends, strict=True):
        yield user.decode(), frames.data[start:end]


def _lines(tracks: pa.StringArray) -> Iterator[tuple[int, str]]:
    """Some tracks a row, a line each (JSON has no line feed in it), under the first code."""
    starts = np.arange(0, len(tracks), TRACKS_IN_ROW)
    ends = pa.array([*starts, len(tracks)], pa.int32())
    lines = pc.binary_join(pa.ListArray.from_arrays(ends, tracks), "\n")
    return zip((starts + 1).tolist(), lines.to_pylist(), strict=True)


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
