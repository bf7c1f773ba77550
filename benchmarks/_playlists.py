"""Playlists by a seed, as the benchmarks of stores publish them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa

from recsys.store._rows import ENCODED
from recsys.weeks import Week

TRACKS: Final = 30
SPARES: Final = 5
Ints = np.ndarray[Any, Any]


class Playlists:
    """Playlists by a seed: as many tracks, spares and names as a real week has.

    Strings of tracks come with dictionaries, as they do from the artefact.
    """

    def __init__(self, size: int, seed: int = 1) -> None:
        self._random = np.random.default_rng(seed)
        self._catalogue = max(1_000, size // 2)
        codes = range(self._catalogue)
        self._ids = pa.array([f"{code * 2654435761 % 2**64:022x}" for code in codes])
        self._names = pa.array([f"The {code}th song about rain" for code in codes])
        self._artists = pa.array([f"Orchestra No. {code}" for code in range(len(codes) // 9 + 1)])
        self.users = [f"user-{n:012d}" for n in range(size)]
        chunks = range(0, size, 16_384)
        self._columns = [self._chunk(min(16_384, size - start)) for start in chunks]

    def week(self, week: Week) -> tuple[list[pa.RecordBatch], pa.RecordBatch]:
        """The rows of one week and its default playlist; every week lists the same tracks."""
        batches, start = [], 0
        for tracks, spares in self._columns:
            users = self.users[start : start + len(tracks)]
            start += len(tracks)
            batches.append(_batch(week, users, "personal", tracks, spares))
        tracks, spares = self._columns[0]
        return batches, _batch(week, [""], "popular", tracks[:1], spares[:1])

    def _chunk(self, rows: int) -> tuple[pa.ListArray, pa.ListArray]:
        first = self._random.integers(0, self._catalogue, (rows, 1))
        apart = 7919 * np.arange(TRACKS + SPARES)  # a playlist has no track twice
        codes = (first + apart) % self._catalogue
        positions = pa.array(np.tile(np.arange(1, TRACKS + 1, dtype=np.int32), rows))
        nowhere = _lists(0, pa.array([], pa.int32()), rows * SPARES)
        listed = [positions, *self._fields(codes[:, :TRACKS])]
        spares = [*self._fields(codes[:, TRACKS:]), nowhere]
        tracks_of, spares_of = (
            ENCODED.field(name).type.value_type for name in ("tracks", "spares")
        )
        return (
            _lists(TRACKS, pa.StructArray.from_arrays(listed, fields=list(tracks_of)), rows),
            _lists(SPARES, pa.StructArray.from_arrays(spares, fields=list(spares_of)), rows),
        )

    def _fields(self, codes: Ints) -> Iterator[Any]:
        heard = self._random.integers(0, self._catalogue, codes.size)
        yield _coded(codes, self._ids)
        yield _coded(codes, self._names)
        yield _lists(1, _coded(codes // 9, self._artists), codes.size)
        yield pa.array(self._random.random(codes.size))
        yield _coded(np.zeros(codes.size), pa.array(["als"]))
        yield _coded(heard, self._ids)


def _coded(codes: Ints, strings: pa.StringArray) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(codes.ravel().astype(np.int32), strings)


def _lists(each: int, values: pa.Array, count: int) -> pa.ListArray:
    ends = pa.array(each * np.arange(count + 1, dtype=np.int32))
    return pa.ListArray.from_arrays(ends, values)


def _batch(week: Week, users: list[str], kind: str, tracks: Any, spares: Any) -> pa.RecordBatch:
    count = len(users)
    columns = [
        pa.repeat(str(week), count),
        pa.array(users),
        pa.repeat(kind, count),
        tracks.cast(ENCODED.field("tracks").type),
        spares.cast(ENCODED.field("spares").type),
        pa.array([[]] * count, pa.list_(pa.string())),
        pa.repeat(week.monday, count),
        pa.repeat(week.sunday, count),
    ]
    return pa.record_batch(columns, schema=ENCODED)
