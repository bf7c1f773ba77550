"""An edition's folder back as Arrow rows. Needs NumPy and Arrow."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from recsys import columns as c
from recsys import schemas
from recsys.errors import StoreError
from recsys.store._edition import open_folder
from recsys.store._rows import CHUNK_ROWS, playlists_digest

#: What ``TRACK`` unpacks, for NumPy.
TRACK_COLUMNS: Final = tuple(schemas.PLAYLIST_TRACK.names)

RECORD: Final = np.dtype([("track", "<u4"), ("because", "<u4"), ("score", "<f8"), ("source", "u1")])


def read_rows(folder: Path) -> Iterator[pa.RecordBatch]:
    """All playlists in a folder, as ``schemas.PLAYLISTS`` in user order.

    Raises:
        StoreError: the folder is missing or damaged.
    """
    with _opened(folder) as (connection, facts):
        yield from _rows(connection, facts, _Names(connection))


def read_back(folder: Path) -> str:
    """The digest of what a folder holds: that of its staging, less the users left out.

    Raises:
        StoreError: the folder is missing or damaged.
    """
    with _opened(folder) as (connection, facts):
        names = _Names(connection)
        default = _batches(
            connection, facts, names, "SELECT '', kind, relaxed, tracks FROM default_playlist"
        )
        return playlists_digest(_rows(connection, facts, names), pa.Table.from_batches(default))


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[tuple[sqlite3.Connection, dict[str, str]]]:
    connection, facts = open_folder(folder)
    try:
        yield connection, facts
    except (sqlite3.Error, pa.ArrowException, ValueError) as error:
        raise StoreError(
            f"The playlists in {folder} are damaged ({error}). Remove the folder and run the week "
            "again: the same command writes the same playlists."
        ) from error
    finally:
        connection.close()


def _rows(
    connection: sqlite3.Connection, facts: dict[str, str], names: _Names
) -> Iterator[pa.RecordBatch]:
    shards = " UNION ALL ".join(
        f"SELECT user_id, kind, relaxed, tracks FROM shard{shard}.playlist"
        for shard in range(int(facts["shards"]))
    )
    return _batches(connection, facts, names, f"{shards} ORDER BY user_id")


def _batches(
    connection: sqlite3.Connection, facts: dict[str, str], names: _Names, query: str
) -> Iterator[pa.RecordBatch]:
    cursor = connection.execute(query)
    while rows := cursor.fetchmany(CHUNK_ROWS):
        users, kinds, relaxed, blobs = zip(*rows, strict=True)
        records = np.frombuffer(b"".join(blobs), RECORD)
        lengths = np.array([len(blob) for blob in blobs], np.int64) // RECORD.itemsize
        ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        count = len(rows)
        columns = {
            c.EDITION: pa.repeat(facts["edition"], count),
            c.USER_ID: pa.array(users, pa.string()),
            c.KIND: pa.array(kinds, pa.string()),
            c.TRACKS: pa.ListArray.from_arrays(
                pa.array(ends), names.tracks(records, ends), type=pa.list_(schemas.PLAYLIST_TRACK)
            ),
            c.RELAXED: pa.array(
                [[] if rules == "[]" else json.loads(rules) for rules in relaxed],
                pa.list_(pa.string()),
            ),
            c.VALID_FROM: pa.repeat(date.fromisoformat(facts["valid_from"]), count),
            c.VALID_UNTIL: pa.repeat(date.fromisoformat(facts["valid_until"]), count),
        }
        yield pa.record_batch(list(columns.values()), schema=schemas.PLAYLISTS)


class _Names:
    """From codes to tracks and sources; row 0 of each table is a null."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute(
            "SELECT code, track_id, track_name, artist_names FROM track ORDER BY code"
        ).fetchall()
        codes, ids, names, artists = zip(*rows, strict=True) if rows else ((), (), (), ())
        if codes != tuple(range(1, len(codes) + 1)):
            raise sqlite3.DatabaseError("codes of tracks are missing")
        self._ids = pa.array([None, *ids], pa.string())
        self._names = pa.array([None, *names], pa.string())
        self._artists = pa.array([None, *map(json.loads, artists)], pa.list_(pa.string()))
        sources = dict(connection.execute("SELECT code, name FROM source").fetchall())
        self._sources = pa.array([sources.get(code) for code in range(256)], pa.string())

    def tracks(self, records: np.ndarray[Any, Any], ends: np.ndarray[Any, Any]) -> pa.StructArray:
        """The structs of ``schemas.PLAYLIST_TRACK``, positions counted from 1 in each list."""
        positions = np.arange(1, len(records) + 1) - np.repeat(ends[:-1], np.diff(ends))
        codes = pa.array(records["track"])
        return pa.StructArray.from_arrays(
            [
                pa.array(positions.astype(np.int32)),
                self._ids.take(codes),
                self._names.take(codes),
                self._artists.take(codes),
                pa.array(np.ascontiguousarray(records["score"])),
                self._sources.take(pa.array(records["source"])),
                self._ids.take(pa.array(records["because"])),
            ],
            fields=list(schemas.PLAYLIST_TRACK),
        )
