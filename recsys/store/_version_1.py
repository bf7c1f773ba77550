"""Editions of SQLite format 1, read as if they were of a later one.

They had no spares, ``kind`` and ``relaxed`` beside the tracks, a table of the default playlist,
and a digest over Arrow columns.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from recsys.store._codes import few_at_a_time, in_order
from recsys.store._value import HEADING, TRACK, Names

if TYPE_CHECKING:
    import pyarrow as pa

_CHUNK_ROWS: Final = 16_384
_DEFAULT: Final = "default_playlist WHERE ? = ''"
_NAMES: Final = "code, track_id, track_name, artist_names"


class Version1:
    """The layout of an open folder; forms get their codes as they come."""

    def __init__(self, connection: sqlite3.Connection, shards: int) -> None:
        tables = [f"SELECT DISTINCT kind, relaxed FROM shard{n}.playlist" for n in range(shards)]
        tables.append("SELECT kind, relaxed FROM default_playlist")
        forms = sorted(set(connection.execute(" UNION ".join(tables))))
        sources = connection.execute("SELECT name FROM source ORDER BY code")
        self._forms = {form: n for n, form in enumerate(forms)}
        self._shards = shards
        self.names = Names.parse(
            [(kind, json.loads(relaxed)) for kind, relaxed in forms],
            [name for (name,) in sources],
        )

    def value(self, connection: sqlite3.Connection, shard: int, user_id: str) -> bytes | None:
        where = f"shard{shard}.playlist WHERE user_id = ?" if user_id else _DEFAULT
        query = f"SELECT kind, relaxed, tracks FROM {where}"
        row = connection.execute(query, (user_id,)).fetchone()
        return None if row is None else self._value(*row)

    def pairs(self, connection: sqlite3.Connection) -> Iterator[tuple[bytes, bytes]]:
        columns = "kind, relaxed, tracks FROM"
        tables = [f"SELECT user_id, {columns} shard{n}.playlist" for n in range(self._shards)]
        tables.append(f"SELECT '' AS user_id, {columns} default_playlist")
        for user, *row in connection.execute(f"{' UNION ALL '.join(tables)} ORDER BY user_id"):
            yield user.encode(), self._value(*row)

    def tracks(self, connection: sqlite3.Connection, codes: Sequence[int]) -> Sequence[str]:
        rows = few_at_a_time(connection, f"SELECT {_NAMES} FROM track WHERE code IN", codes)
        found = {code: _names(*names) for code, *names in rows}
        return [found[code] for code in codes]

    def all_tracks(self, connection: sqlite3.Connection) -> Sequence[str]:
        rows = connection.execute(f"SELECT {_NAMES} FROM track ORDER BY code")
        return in_order((code, _names(*names)) for code, *names in rows)

    def _value(self, kind: str, relaxed: str, tracks: bytes) -> bytes:
        heading = HEADING.pack(self._forms[kind, relaxed], len(tracks) // TRACK.size, 0)
        return heading + tracks


def _names(track_id: str, track_name: str | None, artist_names: str) -> str:
    return json.dumps([track_id, track_name, json.loads(artist_names)])


def digest(batches: Iterable[pa.RecordBatch], default: pa.Table) -> str:
    """The digest that a folder of format 1 was known by.

    Hashed are ``recsys playlists 1`` and a line feed, the default playlist, and the rows in chunks
    of 16,384. Of each chunk: its row count (int64), then each column but the spares. A column of
    strings is the lengths in bytes of its values (int32, −1 for null), then their UTF-8 bytes one
    after another; of lists, the lengths (int32), then the column of all their values; of structs,
    the column of each field; of numbers and dates, the values. Everything is little-endian.
    """
    import pyarrow as pa

    hasher = hashlib.sha256(b"recsys playlists 1\n")
    rows = pa.Table.from_batches(batches, default.schema).combine_chunks()
    starts = range(0, rows.num_rows, _CHUNK_ROWS)
    for chunk in (default, *(rows.slice(start, _CHUNK_ROWS) for start in starts)):
        hasher.update(chunk.num_rows.to_bytes(8, "little"))
        for name in chunk.column_names:
            if name != "spares":
                for part in _parts(pa.concat_arrays(chunk.column(name).chunks)):
                    hasher.update(part)
    return hasher.hexdigest()


def _parts(array: Any) -> Iterator[Any]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    def little(values: Any, dtype: Any) -> Any:
        return np.ascontiguousarray(values.to_numpy(zero_copy_only=False), dtype)

    if isinstance(array, pa.StructArray):
        for field in array.flatten():
            yield from _parts(field)
    elif isinstance(array, pa.ListArray):
        yield little(pc.list_value_length(array), "<i4")
        yield from _parts(array.flatten())
    elif isinstance(array, pa.StringArray):
        yield little(pc.binary_length(array).fill_null(-1), "<i4")
        yield "".join(array.fill_null("").to_pylist()).encode()
    elif isinstance(array, pa.Date32Array):
        yield little(array.view(pa.int32()), "<i4")
    else:
        yield little(array, np.dtype(array.type.to_pandas_dtype()).newbyteorder("<"))
