"""Playlists in the packed form that stores keep, from Arrow rows and back. Needs NumPy and Arrow.

The tracks of a playlist, and its spares, are 17 bytes each (:data:`RECORD`); beside them lies one
table of tracks an edition, which has every name once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys import columns as c
from recsys import schemas
from recsys.errors import StoreError
from recsys.weeks import Week

#: What ``struct.Struct("<IIdB")`` unpacks, for NumPy. Codes of tracks count from 1; 0 is none.
RECORD: Final = np.dtype([("track", "<u4"), ("because", "<u4"), ("score", "<f8"), ("source", "u1")])

_MOST_SOURCES: Final = 255
_NONE: Final = "[]"
_JSON: Final = json.JSONEncoder(ensure_ascii=False)  # json.dumps would make one each time


class Packed(NamedTuple):
    """Some playlists, column by column.

    Attributes:
        user_id: string.
        kind: string.
        relaxed: string, a JSON array of names.
        tracks: binary, one ``RECORD`` a track.
        spares: binary, one ``RECORD`` a spare.
        not_at: string, a JSON array with one array of positions a spare, or ``[]``.
    """

    user_id: pa.StringArray
    kind: pa.StringArray
    relaxed: pa.StringArray
    tracks: pa.BinaryArray
    spares: pa.BinaryArray
    not_at: pa.StringArray


class TrackNames(NamedTuple):
    """A row of the table of tracks; ``artist_names`` is a JSON array."""

    code: int
    track_id: str
    track_name: str | None
    artist_names: str


class Packer:
    """Packs the playlists of one edition, chunk by chunk.

    Attributes:
        sources: names of sources by code, from 0.
    """

    def __init__(self) -> None:
        self.sources: list[str] = []
        self._track_ids: pa.StringArray = pa.array([], pa.string())
        self._named = np.zeros(1, bool)  # by code
        self._fresh: list[TrackNames] = []

    def pack(self, chunk: pa.RecordBatch) -> Packed:
        """Pack some playlists, ``schemas.PLAYLISTS``."""
        return Packed(
            chunk.column(c.USER_ID),
            chunk.column(c.KIND),
            pa.array(json_lists(chunk.column(c.RELAXED)), pa.string()),
            self._records(chunk.column(c.TRACKS)),
            self._records(chunk.column(c.SPARES)),
            pa.array(_json_not_at(chunk.column(c.SPARES)), pa.string()),
        )

    def take_tracks(self) -> list[TrackNames]:
        """The tracks that were named for the first time since this was asked."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def nameless(self) -> list[TrackNames]:
        """At the end: the tracks that nobody listed, only heard."""
        return [
            TrackNames(int(n) + 1, self._track_ids[n].as_py(), None, _NONE)
            for n in np.flatnonzero(~self._named[1:])
        ]

    def _records(self, lists: pa.ListArray) -> pa.BinaryArray:
        names = lists.type.value_type.names
        tracks = dict(zip(names, lists.flatten().flatten(), strict=True))
        records = np.empty(len(tracks[c.TRACK_ID]), RECORD)
        codes = self._codes(pa.concat_arrays([tracks[c.TRACK_ID], tracks[c.BECAUSE_TRACK_ID]]))
        records["track"], records["because"] = codes[: len(records)], codes[len(records) :]
        records["score"] = tracks[c.SCORE].to_numpy()
        records["source"] = self._source_codes(tracks[c.SOURCE])
        self._name(codes[: len(records)], tracks)
        ends = np.zeros(len(lists) + 1, np.int32)
        np.cumsum(pc.list_value_length(lists).to_numpy(), out=ends[1:])
        buffers = [None, pa.py_buffer(ends * np.int32(RECORD.itemsize)), pa.py_buffer(records)]
        return pa.Array.from_buffers(pa.binary(), len(lists), buffers)

    def _codes(self, track_ids: pa.StringArray) -> np.ndarray[Any, Any]:
        """The code of each track, a new one where it has none; 0 for null."""
        encoded = track_ids.dictionary_encode()
        found = pc.index_in(encoded.dictionary, value_set=self._track_ids)
        fresh = encoded.dictionary.filter(pc.is_null(found))
        of_entry = found.fill_null(-1).to_numpy() + 1
        of_entry[of_entry == 0] = len(self._track_ids) + 1 + np.arange(len(fresh))
        self._track_ids = pa.concat_arrays([self._track_ids, fresh])
        self._named = np.append(self._named, np.zeros(len(fresh), bool))
        codes = np.concatenate([[0], of_entry])
        picked: np.ndarray[Any, Any] = codes[encoded.indices.fill_null(-1).to_numpy() + 1]
        return picked

    def _source_codes(self, sources: pa.StringArray) -> np.ndarray[Any, Any]:
        encoded = sources.dictionary_encode()
        names = encoded.dictionary.to_pylist()
        self.sources += [name for name in names if name not in self.sources]
        if len(self.sources) > _MOST_SOURCES:
            raise StoreError(f"More than {_MOST_SOURCES} different sources of tracks.")
        codes = np.array([self.sources.index(name) for name in names], "u1")
        picked: np.ndarray[Any, Any] = codes[encoded.indices.to_numpy()]
        return picked

    def _name(self, codes: np.ndarray[Any, Any], tracks: dict[str, Any]) -> None:
        new = np.flatnonzero(~self._named[codes])
        first, at = np.unique(codes[new], return_index=True)
        self._named[first] = True
        rows = pa.array(new[at])
        columns = (
            first.tolist(),
            tracks[c.TRACK_ID].take(rows).to_pylist(),
            tracks[c.TRACK_NAME].take(rows).to_pylist(),
            json_lists(tracks[c.ARTIST_NAMES].take(rows)),
        )
        self._fresh += map(TrackNames._make, zip(*columns, strict=True))


class Unpacker:
    """Turns packed playlists of one edition into ``schemas.PLAYLISTS`` again.

    Args:
        week: the edition's week.
        tracks: the whole table of tracks by code.
        sources: names of sources by code, from 0.

    Raises:
        ValueError: a code is missing.
    """

    def __init__(self, week: Week, tracks: Iterable[Sequence[Any]], sources: list[str]) -> None:
        self._week = week
        rows = list(tracks)
        codes, ids, names, artists = zip(*rows, strict=True) if rows else ((), (), (), ())
        if codes != tuple(range(1, len(codes) + 1)):
            raise ValueError("codes of tracks are missing")
        self._ids = pa.array([None, *ids], pa.string())  # code 0 is none
        self._names = pa.array([None, *names], pa.string())
        self._artists = pa.array(
            [None, *json.loads(f"[{','.join(artists)}]")], pa.list_(pa.string())
        )
        self._sources = pa.array(sources, pa.string())

    def batch(self, rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
        """Some playlists, at least one.

        Args:
            rows: the columns of :class:`Packed`, as Python values.

        Raises:
            ValueError: a row is damaged.
        """
        users, kinds, relaxed, tracks, spares, not_at = zip(*rows, strict=True)
        columns = {
            c.EDITION: pa.repeat(str(self._week), len(rows)),
            c.USER_ID: pa.array(users, pa.string()),
            c.KIND: pa.array(kinds, pa.string()),
            c.TRACKS: self._tracks(tracks),
            c.SPARES: self._spares(spares, not_at),
            c.RELAXED: pa.array(
                [[] if rules == _NONE else json.loads(rules) for rules in relaxed],
                pa.list_(pa.string()),
            ),
            c.VALID_FROM: pa.repeat(self._week.monday, len(rows)),
            c.VALID_UNTIL: pa.repeat(self._week.sunday, len(rows)),
        }
        return pa.record_batch(list(columns.values()), schema=schemas.PLAYLISTS)

    def _tracks(self, blobs: Sequence[bytes]) -> pa.ListArray:
        records, ends = _records(blobs)
        positions = np.arange(1, len(records) + 1) - np.repeat(ends[:-1], np.diff(ends))
        fields = [pa.array(positions.astype(np.int32)), *self._fields(records)]
        return _lists(ends, fields, schemas.PLAYLIST_TRACK)

    def _spares(self, blobs: Sequence[bytes], not_at: Sequence[str]) -> pa.ListArray:
        records, ends = _records(blobs)
        positions: list[list[int]] = []
        for text, count in zip(not_at, np.diff(ends).tolist(), strict=True):
            positions += [[]] * count if text == _NONE else json.loads(text)
        fields = [*self._fields(records), pa.array(positions, pa.list_(pa.int32()))]
        return _lists(ends, fields, schemas.SPARE)

    def _fields(self, records: np.ndarray[Any, Any]) -> Iterator[pa.Array[Any]]:
        codes = pa.array(records["track"])
        yield self._ids.take(codes)
        yield self._names.take(codes)
        yield self._artists.take(codes)
        yield pa.array(np.ascontiguousarray(records["score"]))
        yield self._sources.take(pa.array(records["source"]))
        yield self._ids.take(pa.array(records["because"]))


def json_lists(lists: pa.ListArray) -> list[str]:
    """Each list as JSON text."""
    if not len(lists.flatten()):
        return [_NONE] * len(lists)
    return [_JSON.encode(values) if values else _NONE for values in lists.to_pylist()]


def _json_not_at(spares: pa.ListArray) -> list[str]:
    """For each playlist the positions that its spares may not take; mostly there are none."""
    not_at = spares.flatten().field(c.NOT_AT)
    if not len(not_at.flatten()):
        return [_NONE] * len(spares)
    ends = np.concatenate([[0], np.cumsum(pc.list_value_length(spares).to_numpy())])
    by_playlist = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), not_at).to_pylist()
    return [json.dumps(lists) if any(lists) else _NONE for lists in by_playlist]


def _records(blobs: Sequence[bytes]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """All records one after another, and where each list of them ends (with a 0 before)."""
    records = np.frombuffer(b"".join(blobs), RECORD)
    lengths = np.array([len(blob) for blob in blobs], np.int64) // RECORD.itemsize
    return records, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)


def _lists(
    ends: np.ndarray[Any, Any], fields: list[pa.Array[Any]], struct: pa.StructType
) -> pa.ListArray:
    entries = pa.StructArray.from_arrays(fields, fields=list(struct))
    return pa.ListArray.from_arrays(pa.array(ends), entries, type=pa.list_(struct))
