"""Packed playlists as Arrow rows again. Needs NumPy and Arrow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from recsys import columns as c
from recsys import schemas
from recsys.store._value import HEADING, NOT_AT, TRACK, Names
from recsys.weeks import Week

_RECORD: Final = np.dtype(
    [("track", "<u4"), ("because", "<u4"), ("score", "<f8"), ("source", "u1")]
)
_NOT_AT: Final = np.dtype([("spare", "<u2"), ("position", "<u2")])


class Unpacker:
    """Turns values of one edition into ``schemas.PLAYLISTS``.

    Args:
        week: the edition's week.
        tracks: what lies by the codes of tracks, from 1.
        names: what small codes mean.
    """

    def __init__(self, week: Week, tracks: pa.StringArray, names: Names) -> None:
        self._week = week
        named = json.loads(f"[{','.join(tracks.to_pylist())}]")
        ids, titles, artists = zip(*named, strict=True) if named else ((), (), ())
        self._ids = pa.array([None, *ids], pa.string())  # code 0 is none
        self._titles = pa.array([None, *titles], pa.string())
        self._artists = pa.array([None, *artists], pa.list_(pa.string()))
        self._forms = names.forms
        self._sources = pa.array(names.sources, pa.string())

    def batch(self, users: Sequence[bytes], values: Sequence[bytes]) -> pa.RecordBatch:
        """Some playlists, at least one.

        Raises:
            ValueError: a value is damaged.
            struct.error: likewise.
            IndexError: likewise.
        """
        forms, listed, spares, not_at = zip(*map(_cut, values), strict=True)
        kinds, relaxed = zip(*(self._forms[form] for form in forms), strict=True)
        columns = {
            c.EDITION: pa.repeat(str(self._week), len(users)),
            c.USER_ID: pa.array([user.decode() for user in users], pa.string()),
            c.KIND: pa.array(kinds, pa.string()),
            c.TRACKS: self._tracks(listed),
            c.SPARES: self._spares(spares, not_at),
            c.RELAXED: pa.array(relaxed, pa.list_(pa.string())),
            c.VALID_FROM: pa.repeat(self._week.monday, len(users)),
            c.VALID_UNTIL: pa.repeat(self._week.sunday, len(users)),
        }
        return pa.record_batch(list(columns.values()), schema=schemas.PLAYLISTS)

    def _tracks(self, blobs: Sequence[bytes]) -> pa.ListArray:
        records, ends = _records(blobs, _RECORD)
        positions = np.arange(1, len(records) + 1) - np.repeat(ends[:-1], np.diff(ends))
        fields = [pa.array(positions.astype(np.int32)), *self._fields(records)]
        return _lists(ends, fields, schemas.PLAYLIST_TRACK)

    def _spares(self, blobs: Sequence[bytes], not_at: Sequence[bytes]) -> pa.ListArray:
        records, ends = _records(blobs, _RECORD)
        places, place_ends = _records(not_at, _NOT_AT)
        spare = np.repeat(ends[:-1], np.diff(place_ends)) + places["spare"]
        counts = np.bincount(spare, minlength=len(records))
        lists = pa.ListArray.from_arrays(
            pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32()),
            pa.array(places["position"].astype(np.int32)),
        )
        return _lists(ends, [*self._fields(records), lists], schemas.SPARE)

    def _fields(self, records: np.ndarray[Any, Any]) -> Iterator[pa.Array[Any]]:
        codes = pa.array(records["track"])
        yield self._ids.take(codes)
        yield self._titles.take(codes)
        yield self._artists.take(codes)
        yield pa.array(np.ascontiguousarray(records["score"]))
        yield self._sources.take(pa.array(records["source"]))
        yield self._ids.take(pa.array(records["because"]))


def _cut(value: bytes) -> tuple[int, bytes, bytes, bytes]:
    """The form of a value, its tracks, its spares, and where those may not be."""
    form, tracks, spares = HEADING.unpack_from(value)
    first_spare = HEADING.size + tracks * TRACK.size
    end = first_spare + spares * TRACK.size
    if end > len(value) or (len(value) - end) % NOT_AT.size:
        raise ValueError("a playlist has the wrong length")
    return form, value[HEADING.size : first_spare], value[first_spare:end], value[end:]


def _records(
    blobs: Sequence[bytes], record: np.dtype[Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """All records one after another, and where each list of them ends (with a 0 before)."""
    records = np.frombuffer(b"".join(blobs), record)
    lengths = np.array([len(blob) for blob in blobs], np.int64) // record.itemsize
    return records, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)


def _lists(
    ends: np.ndarray[Any, Any], fields: list[pa.Array[Any]], struct: pa.StructType
) -> pa.ListArray:
    entries = pa.StructArray.from_arrays(fields, fields=list(struct))
    return pa.ListArray.from_arrays(pa.array(ends), entries, type=pa.list_(struct))
