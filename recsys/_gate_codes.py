"""The playlist gate's files as numbers: ids are looked up once a dictionary, not once a row.

A track is its row in the catalogue, and a list its row in the files of playlists, end to end: the
default playlist's first, the refused at last. What is not as the stages write it raises
:exc:`IrregularError`: no numbers are made of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys import columns as c
from recsys._pipelined import ahead
from recsys._tables import encoded_batches_of, part_files

Array = npt.NDArray[Any]

#: Row groups of the taste whose dictionaries are looked up together.
_GROUPS_AT_ONCE: Final = 8
_ID: Final = f"{c.TRACKS}.list.element.{c.TRACK_ID}"
_LIST: Final = (c.TRACK_ID, c.SCORE, c.SOURCE, c.BECAUSE_TRACK_ID)
_FIELDS: Final = {
    c.TRACKS: (*_LIST, c.POSITION),
    c.SPARES: (*_LIST, f"{c.NOT_AT}.list.element"),
}
_COLUMNS: Final = (
    c.EDITION, c.USER_ID, c.KIND, f"{c.RELAXED}.list.element", c.VALID_FROM, c.VALID_UNTIL,
    *(f"{table}.list.element.{name}" for table, names in _FIELDS.items() for name in names),
)  # fmt: skip
_DICTIONARIES: Final = tuple(
    f"{table}.list.element.{name}"
    for table in _FIELDS
    for name in (c.TRACK_ID, c.SOURCE, c.BECAUSE_TRACK_ID)
)
_NOBODY: Final = pa.array([], pa.list_(pa.string()))
#: What ``because`` is where there is a reason that the catalogue does not know, and where none.
STRANGE: Final = -2
NO_REASON: Final = -1


class IrregularError(Exception):
    """A file is not as the stages write it: an id comes twice, or something is null."""


class Music(NamedTuple):
    """What the catalogue says of its tracks, one after the other.

    Attributes:
        song: int32 ``[tracks]``.
        available: bool ``[tracks]``.
        starts: int64 ``[tracks + 1]``; ``artists`` int32 beside it, none twice in one track.
        blocked: bool ``[songs]``.
        open: bool ``[songs]``, available and not blocked.
        many_artists: how many there are.
    """

    song: Array
    available: Array
    starts: Array
    artists: Array
    blocked: Array
    open: Array
    many_artists: int


class Known(NamedTuple):
    """The taste: of list ``no`` the rows ``starts[no]:stops[no]``.

    Attributes:
        track: int32, -1 for what the catalogue does not know.
        heard: bool, and ``disliked`` beside it.
    """

    starts: Array
    stops: Array
    track: Array
    heard: Array
    disliked: Array


class Resting(NamedTuple):
    """Tracks of earlier editions, -1 unknown: ``starts[file, no]:stops[file, no]`` of ``track``."""

    starts: Array
    stops: Array
    track: Array


class Entries(NamedTuple):
    """The tracks of some lists, or their spares; list ``n`` has ``starts[n]:starts[n + 1]``.

    Attributes:
        track: int32, -1 unknown.
        because: int32, a track; STRANGE or NO_REASON.
        score: float64.
        source: int8: 0 popular, 1 the model, -1 another.
        position: int32, of tracks; ``not_at`` of spare ``k``: ``not_starts[k]:not_starts[k + 1]``.
    """

    starts: Array
    track: Array
    because: Array
    score: Array
    source: Array
    position: Array
    not_starts: Array
    not_at: Array


def strings(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One array of strings, none of them null."""
    whole = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks)
    if whole.type != pa.string() or whole.null_count:
        raise IrregularError
    return whole


def read(tables: Sequence[Path], names: Sequence[str]) -> pa.Table:
    """Columns of some tables, end to end; names of folders above them play no part."""
    parts = [pq.ParquetFile(part).read(names) for table in tables for part in part_files(table)]
    return pa.concat_tables(parts).combine_chunks() if parts else pa.table({})


def column(tables: Sequence[Path], name: str) -> pa.Array:
    """A column of strings of some tables, end to end."""
    found = read(tables, [name])
    return strings(found[name]) if len(found) else pa.array([], pa.string())


def places(values: pa.Array, among: pa.Array) -> Array:
    """int32: where each string stands in ``among``; -1 for nowhere, and for null."""
    found: Array = pc.fill_null(pc.index_in(values, among), -1).to_numpy()
    return found


def read_songs(catalogue: Path) -> tuple[pa.Array, pa.Array, Array, Array]:
    """The ids of the tracks, the keys of the songs; of each track its song, and if available."""
    names = [c.TRACK_ID, c.SONG_KEY, c.AVAILABLE]
    table = read([catalogue], names)
    ids, keys = strings(table[c.TRACK_ID]), strings(table[c.SONG_KEY]).dictionary_encode()
    if table[c.AVAILABLE].null_count or pc.count_distinct(ids).as_py() != len(ids):
        raise IrregularError
    return ids, keys.dictionary, keys.indices.to_numpy(), table[c.AVAILABLE].to_numpy()


def read_music(catalogue: Path, blocked: Sequence[str]) -> tuple[pa.Array, pa.Array, Music]:
    """The ids of the tracks, the keys of the songs, and what the catalogue says of them."""
    ids, keys, song, available = read_songs(catalogue)
    credited = read([catalogue], [c.ARTIST_IDS])[c.ARTIST_IDS]
    out = np.zeros(len(keys), np.bool_)
    named = places(pa.array(blocked, pa.string()), ids)
    out[song[named[named >= 0]]] = True
    some = np.zeros(len(out), np.bool_)
    some[song[available]] = True
    starts, artists, many = _credits(pa.concat_arrays([_NOBODY, *credited.chunks]))
    return ids, keys, Music(song, available, starts, artists, out, some & ~out, many)


def _credits(credited: pa.ListArray) -> tuple[Array, Array, int]:
    track = pc.list_parent_indices(credited).to_numpy().astype(np.int64)
    artist = credited.flatten().dictionary_encode()
    code = pc.fill_null(artist.indices, -1).to_numpy().astype(np.int64)
    many = len(artist.dictionary)
    pair = np.unique((track * many + code)[code >= 0])
    starts = np.zeros(len(credited) + 1, np.int64)
    np.cumsum(np.bincount(pair // max(many, 1), minlength=len(credited)), out=starts[1:])
    return starts, (pair % max(many, 1)).astype(np.int32), many


def read_known(files: Sequence[Path], users: pa.Array, tracks: pa.Array) -> Known:
    """What the taste says of some users; it is sorted by user."""
    names, lengths = [pa.array([], pa.string())], [np.empty(0, np.int64)]
    track, heard, disliked = [np.empty(0, np.int32)], [np.empty(0, bool)], [np.empty(0, bool)]
    groups = ahead(_row_groups(files))
    while some := list(islice(groups, _GROUPS_AT_ONCE)):
        ids = pa.concat_arrays([group[c.TRACK_ID].dictionary for group in some])
        code, end = places(ids, tracks), 0
        for group in some:
            begin, end = end, end + len(group[c.TRACK_ID].dictionary)
            track.append(code[begin:end][_indices(group[c.TRACK_ID])])
            user = _indices(group[c.USER_ID])
            run = np.flatnonzero(np.diff(user, prepend=-1))
            names.append(group[c.USER_ID].dictionary.take(pa.array(user[run])))
            lengths.append(np.diff(run, append=len(user)))
            heard.append(bools(group[c.HEARD]))
            disliked.append(bools(group[c.DISLIKED]))
    starts, stops = _runs(places(pa.concat_arrays(names), users), np.concatenate(lengths), users)
    return Known(starts, stops, *map(np.concatenate, (track, heard, disliked)))


def _row_groups(files: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    names = [c.USER_ID, c.TRACK_ID, c.HEARD, c.DISLIKED]
    for path in files:
        with pq.ParquetFile(path, read_dictionary=names[:2]) as file:
            for number in range(file.num_row_groups):
                yield from file.read_row_group(number, names).combine_chunks().to_batches()


def _runs(no: Array, length: Array, users: pa.Array) -> tuple[Array, Array]:
    """From where to where each user has rows, of runs of rows: a run may go on in the next."""
    end = np.cumsum(length)
    new = np.flatnonzero(np.diff(no, prepend=-2))
    no, start = no[new], (end - length)[new]
    stop = np.append(start[1:], end[-1:])
    starts, stops = np.zeros(len(users), np.int64), np.zeros(len(users), np.int64)
    theirs = no >= 0
    if len(np.unique(no[theirs])) != np.count_nonzero(theirs):
        raise IrregularError
    starts[no[theirs]], stops[no[theirs]] = start[theirs], stop[theirs]
    return starts, stops


def read_resting(editions: Sequence[Path], users: pa.Array, tracks: pa.Array) -> Resting:
    """The tracks that some users had in earlier editions."""
    files = [file for edition in editions for file in part_files(edition)]
    starts = np.zeros((len(files), len(users)), np.int64)
    stops = np.zeros((len(files), len(users)), np.int64)
    track, rows = [np.empty(0, np.int32)], 0
    for number, path in enumerate(files):
        no, length = [np.empty(0, np.int32)], [np.empty(0, np.int64)]
        for batch in ahead(_earlier(path)):
            offsets, entry = _list_values(batch[c.TRACKS])
            if entry.null_count:
                raise IrregularError
            track.append(_coded(entry.field(c.TRACK_ID), tracks))
            no.append(places(strings(batch[c.USER_ID]), users))
            length.append(np.diff(offsets))
        begin, end = _runs(np.concatenate(no), np.concatenate(length), users)
        starts[number], stops[number] = begin + rows, end + rows
        rows = sum(map(len, track))
    return Resting(starts, stops, np.concatenate(track))


def _earlier(path: Path) -> Iterator[pa.RecordBatch]:
    schema = pq.read_metadata(path).schema
    if not {c.USER_ID, _ID} <= {schema.column(n).path for n in range(len(schema))}:
        raise IrregularError
    yield from encoded_batches_of(path, (c.USER_ID, _ID), [_ID])


def list_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The rows of a file of playlists, but for what is for people; strings by dictionaries."""
    yield from encoded_batches_of(path, _COLUMNS, _DICTIONARIES)


def entries(lists: pa.ListArray, tracks: pa.Array) -> Entries:
    """The tracks or spares of some lists as numbers."""
    offsets, entry = _list_values(lists)
    field = {entry.type[n].name: entry.field(n) for n in range(entry.type.num_fields)}
    because = _coded(field[c.BECAUSE_TRACK_ID], tracks, STRANGE)
    source = places(field[c.SOURCE].dictionary, pa.array(["popular", "als"]))
    if entry.null_count or any(field[name].null_count for name in (c.TRACK_ID, c.SCORE, c.SOURCE)):
        raise IrregularError
    none = pa.array([], pa.int32())
    not_starts, not_at = (
        _list_values(field[c.NOT_AT]) if c.NOT_AT in field else (np.zeros(1, np.int64), none)
    )
    return Entries(
        offsets,
        _coded(field[c.TRACK_ID], tracks),
        because,
        field[c.SCORE].to_numpy(),
        source[_indices(field[c.SOURCE])].astype(np.int8),
        field.get(c.POSITION, none).to_numpy(),
        not_starts,
        not_at.to_numpy(),
    )


def said(relaxed: pa.ListArray, rules: Sequence[str]) -> Array:
    """uint8: a bit for each rule that a list names; all bits where it names another, or one twice.

    Args:
        relaxed: of some lists.
        rules: the names of the rules, by bit.
    """
    offsets, names = _list_values(relaxed)
    bits = np.full(len(rules) + 1, 255)
    bits[: len(rules)] = 1 << np.arange(len(rules))
    bit = bits[places(names, pa.array(rules))]
    summed = np.concatenate([np.zeros(1, np.int64), np.cumsum(bit)])[offsets]
    repeated = np.zeros(len(relaxed), bool)
    row = np.repeat(np.arange(len(relaxed)), np.diff(offsets))
    pairs, times = np.unique(row * 256 + bit, return_counts=True)
    repeated[pairs[times > 1] // 256] = True
    return np.where(repeated, 255, np.minimum(np.diff(summed), 255)).astype(np.uint8)


def _list_values(lists: pa.ListArray) -> tuple[Array, Any]:
    """Offsets (int64, from 0) and the values between them."""
    if lists.null_count:
        raise IrregularError
    offsets = lists.offsets.to_numpy().astype(np.int64)
    return offsets - offsets[0], lists.values.slice(offsets[0], offsets[-1] - offsets[0])


def _coded(ids: pa.DictionaryArray, tracks: pa.Array, unknown: int = -1) -> Array:
    """int32: the track of each id; ``unknown`` where there is none, -1 for null."""
    code = places(ids.dictionary, tracks)
    code = np.append(np.where(code < 0, unknown, code), -1).astype(np.int32)
    coded: Array = code[pc.fill_null(ids.indices, len(ids.dictionary)).to_numpy()]
    return coded


def _indices(column: pa.DictionaryArray) -> Array:
    if column.null_count:
        raise IrregularError
    indices: Array = column.indices.to_numpy()
    return indices


def bools(column: pa.BooleanArray) -> Array:
    """None of them null."""
    if column.null_count:
        raise IrregularError
    values: Array = column.to_numpy(zero_copy_only=False)
    return values
