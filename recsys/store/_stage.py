"""Writing an edition's folder. Needs NumPy and Arrow."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys import columns as c
from recsys.errors import StoreError
from recsys.store._edition import EDITION_FILE, shard_file, shard_of
from recsys.store._files import EDITION_ID, EDITION_VERSION, connect, stamp, sync
from recsys.store._rows import (
    PlaylistsDigest,
    check_rows,
    chunks,
    default_row,
)
from recsys.store._unpack import RECORD, TRACK_COLUMNS, read_back
from recsys.weeks import Week

_MOST_SOURCES: Final = 255
_PAGE_BYTES: Final = 8192
_EDITION_TABLES: Final = (
    "CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE source (code INTEGER PRIMARY KEY, name TEXT NOT NULL)",
    "CREATE TABLE track (code INTEGER PRIMARY KEY, track_id TEXT NOT NULL, track_name TEXT, "
    "artist_names TEXT NOT NULL)",
    "CREATE TABLE default_playlist (kind TEXT NOT NULL, relaxed TEXT NOT NULL, "
    "tracks BLOB NOT NULL)",
)
_SHARD_TABLES: Final = (
    "CREATE TABLE playlist (user_id TEXT PRIMARY KEY, kind TEXT NOT NULL, "
    "relaxed TEXT NOT NULL, tracks BLOB NOT NULL) WITHOUT ROWID",
)


class Written(NamedTuple):
    """How many playlists are in a folder, and how many users were left out of it."""

    rows: int
    left_out: int


def write_folder(
    folder: Path,
    *,
    week: Week,
    digest: str,
    batches: Iterable[pa.RecordBatch],
    default: pa.RecordBatch | pa.Table,
    hidden: frozenset[str],
    shards: int,
) -> Written:
    """Write playlists into an empty folder, flush them to disk, and read them back.

    Raises:
        StoreError: the rows are not in order, not of this week, not what ``digest`` says, or read
            back otherwise than they were written.
    """
    handed = PlaylistsDigest(default)
    kept = PlaylistsDigest(default)
    week_default = default_row(default)
    check_rows(week_default, week, 0, None)
    handed_rows, kept_rows, last_user = 0, 0, None
    forgotten = pa.array(sorted(hidden), pa.string())
    writer = _Writer(folder, shards)
    try:
        for chunk in chunks(batches):
            check_rows(chunk, week, handed_rows, last_user)
            handed.update(chunk)
            handed_rows += chunk.num_rows
            users = chunk.column(c.USER_ID)
            last_user = users[-1].as_py()
            if hidden:
                chunk = chunk.filter(pc.invert(pc.is_in(users, value_set=forgotten)))
                kept.update(chunk)
            writer.add(chunk)
            kept_rows += chunk.num_rows
        if handed.hexdigest() != digest:
            raise StoreError(
                f"The rows handed over for {week} are not those of digest {digest}, but of "
                f"{handed.hexdigest()}: nothing is staged. Publish the artefact as it was checked."
            )
        stored = kept.hexdigest() if hidden else digest
        written = Written(kept_rows, handed_rows - kept_rows)
        writer.finish(
            week_default,
            {
                "edition": str(week),
                "valid_from": week.monday.isoformat(),
                "valid_until": week.sunday.isoformat(),
                "digest": digest,
                "stored_digest": stored,
                "rows": str(written.rows),
                "left_out": str(written.left_out),
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
    return written


class _Writer:
    """Packs playlists into the tables that ``recsys.store._edition`` reads."""

    def __init__(self, folder: Path, shards: int) -> None:
        self._edition = _create(folder / EDITION_FILE, _EDITION_TABLES)
        self._shards = [_create(folder / shard_file(n), _SHARD_TABLES) for n in range(shards)]
        self._sources: dict[str, int] = {}
        self._track_ids: pa.StringArray = pa.array([], pa.string())
        self._named = np.zeros(1, bool)  # by code; codes count from 1

    def add(self, chunk: pa.RecordBatch) -> None:
        """Write the next playlists."""
        rows = self._rows(chunk)
        if len(self._shards) == 1:
            self._insert(self._shards[0], rows)
            return
        parts: list[list[tuple[str, ...]]] = [[] for _ in self._shards]
        for row in rows:
            parts[shard_of(row[0].encode(), len(parts))].append(row)
        for shard, part in zip(self._shards, parts, strict=True):
            self._insert(shard, part)

    def finish(self, default: pa.RecordBatch, facts: dict[str, str]) -> None:
        """Write the default playlist, sources and facts."""
        self._edition.executemany(
            "INSERT INTO default_playlist VALUES (?, ?, ?)",
            [row[1:] for row in self._rows(default)],
        )
        nameless = np.flatnonzero(~self._named[1:])
        self._insert_tracks(
            [(int(n) + 1, self._track_ids[n].as_py(), None, "[]") for n in nameless]
        )
        self._edition.executemany(
            "INSERT INTO source VALUES (?, ?)", [(n, name) for name, n in self._sources.items()]
        )
        self._edition.executemany("INSERT INTO fact VALUES (?, ?)", facts.items())
        for connection in (self._edition, *self._shards):
            connection.execute("COMMIT")

    def close(self) -> None:
        """Close the files."""
        for connection in (self._edition, *self._shards):
            connection.close()

    def _rows(self, chunk: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
        lists = chunk.column(c.TRACKS)
        tracks = dict(zip(TRACK_COLUMNS, lists.flatten().flatten(), strict=True))
        records = np.empty(len(tracks[c.TRACK_ID]), RECORD)
        codes = self._codes(pa.concat_arrays([tracks[c.TRACK_ID], tracks[c.BECAUSE_TRACK_ID]]))
        records["track"], records["because"] = codes[: len(records)], codes[len(records) :]
        records["score"] = tracks[c.SCORE].to_numpy()
        records["source"] = self._source_codes(tracks[c.SOURCE])
        self._name(codes[: len(records)], tracks)
        packed = records.tobytes()
        lengths = pc.list_value_length(lists).to_numpy()
        bounds = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]) * RECORD.itemsize
        blobs = (packed[start:stop] for start, stop in pairwise(bounds.tolist()))
        users, kinds = chunk.column(c.USER_ID).to_pylist(), chunk.column(c.KIND).to_pylist()
        return zip(users, kinds, _json_lists(chunk.column(c.RELAXED)), blobs, strict=True)

    def _codes(self, track_ids: pa.StringArray) -> np.ndarray[Any, Any]:
        """The code of each track, a new one where it has none; 0 for null."""
        found = pc.index_in(track_ids, value_set=self._track_ids)
        fresh = pc.unique(track_ids.filter(pc.is_null(found))).drop_null()
        if len(fresh):
            self._track_ids = pa.concat_arrays([self._track_ids, fresh])
            self._named = np.append(self._named, np.zeros(len(fresh), bool))
            found = pc.index_in(track_ids, value_set=self._track_ids)
        codes: np.ndarray[Any, Any] = found.fill_null(-1).to_numpy() + 1
        return codes

    def _source_codes(self, sources: pa.StringArray) -> np.ndarray[Any, Any]:
        encoded = sources.dictionary_encode()
        names = encoded.dictionary.to_pylist()
        for name in names:
            self._sources.setdefault(name, len(self._sources))
        if len(self._sources) > _MOST_SOURCES:
            raise StoreError(f"More than {_MOST_SOURCES} different sources of tracks.")
        codes = np.array([self._sources[name] for name in names], "u1")
        picked: np.ndarray[Any, Any] = codes[encoded.indices.to_numpy()]
        return picked

    def _name(self, codes: np.ndarray[Any, Any], tracks: dict[str, Any]) -> None:
        """Write the names of tracks that are seen for the first time."""
        new = np.flatnonzero(~self._named[codes])
        first, at = np.unique(codes[new], return_index=True)
        self._named[first] = True
        rows = pa.array(new[at])
        self._insert_tracks(
            zip(
                first.tolist(),
                tracks[c.TRACK_ID].take(rows).to_pylist(),
                tracks[c.TRACK_NAME].take(rows).to_pylist(),
                _json_lists(tracks[c.ARTIST_NAMES].take(rows)),
                strict=True,
            )
        )

    def _insert_tracks(self, rows: Iterable[tuple[Any, ...]]) -> None:
        self._edition.executemany("INSERT INTO track VALUES (?, ?, ?, ?)", rows)

    @staticmethod
    def _insert(shard: sqlite3.Connection, rows: Iterable[tuple[Any, ...]]) -> None:
        shard.executemany("INSERT INTO playlist VALUES (?, ?, ?, ?)", rows)


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


def _json_lists(lists: Any) -> list[str]:
    """Each list as JSON text."""
    return [
        json.dumps(values, ensure_ascii=False) if values else "[]" for values in lists.to_pylist()
    ]
