"""Arrow rows in the packed form that stores keep. Needs NumPy, numba and Arrow."""

from __future__ import annotations

import copy
import json
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys import columns as c
from recsys.errors import StoreError
from recsys.store import _kernel as kernel
from recsys.store._frames import Frames
from recsys.store._kernel import Entries, Ints, Table, Texts
from recsys.store._value import HEADING, Names

_MOST_SOURCES: Final = 255
_MOST_ENTRIES: Final = 65_535
_FIRST_ROOM: Final = 4096
_SPECIAL: Final = r'["\\\x00-\x1f]'
_REFUSALS: Final = {
    kernel.BAD_TEXT: "is damaged: its strings overlap",
    kernel.BAD_POSITIONS: "has positions that do not count from 1",
    kernel.BAD_SPARE: "has a spare that is in it already",
    kernel.BAD_NOT_AT: "has a spare with a position that it does not have",
    kernel.TWO_NAMES: "names a track otherwise than a row before it: one track has two names",
}


class RefusedRowError(Exception):
    """A row cannot be packed.

    Attributes:
        row: which, from 0.
        what: what is wrong with it.
    """

    def __init__(self, row: int, what: str) -> None:
        super().__init__(row, what)
        self.row = row
        self.what = what


class Packer:
    """Packs the playlists of one edition, chunk by chunk.

    Codes are given in the order in which rows name tracks, sources and forms: the same rows are
    the same bytes, however they are cut into chunks.
    """

    def __init__(self) -> None:
        self._forms: dict[str, int] = {}
        self._sources = Strings()
        self._tracks = Strings()
        self._naming = np.zeros(_FIRST_ROOM, np.uint64)
        self._named = np.full(_FIRST_ROOM, -1, np.int64)
        self._texts: list[pa.StringArray] = [pa.array([], pa.string())]
        self._text_of = np.zeros(_FIRST_ROOM, np.int64)  # by code, counted from 1
        self._count = 0

    def fork(self) -> Self:
        """Another packer that has packed what this one has."""
        return copy.deepcopy(self)

    def pack(self, chunk: pa.RecordBatch) -> Frames:
        """The frames of some playlists, ``schemas.PLAYLISTS`` without nulls where none may be.

        Raises:
            RefusedRowError: positions other than 1, 2, 3, …, a spare that is listed already or
                has positions that are not, or a track under two names.
            StoreError: more kinds or sources than can be numbered.
            pa.ArrowInvalid: broken UTF-8.
        """
        users = chunk.column(c.USER_ID)
        listed, spares = _entries(chunk.column(c.TRACKS)), _entries(chunk.column(c.SPARES))
        not_at = chunk.column(c.SPARES).flatten().field(c.NOT_AT)
        not_at_ends, places = _ends(not_at), _numbers(not_at.flatten().fill_null(0), np.int32)
        counts = np.diff(listed.row_ends), np.diff(spares.row_ends)
        if len(users) and max(counts[0].max(), counts[1].max()) > _MOST_ENTRIES:
            raise StoreError(f"A playlist has more than {_MOST_ENTRIES} tracks.")
        of_users = _texts(users)
        key_lengths = np.diff(of_users.ends).astype(np.int64)
        starts = np.zeros(len(users) + 1, np.int64)
        lengths = kernel.FRAME_BYTES + key_lengths + HEADING.size
        lengths += kernel.RECORD_BYTES * (counts[0] + counts[1])
        lengths += kernel.PAIR_BYTES * np.diff(not_at_ends[spares.row_ends])
        np.cumsum(lengths, out=starts[1:])
        out = np.empty(starts[-1], np.uint8)
        forms = self._form_codes(chunk)
        positions = _numbers(chunk.column(c.TRACKS).flatten().field(c.POSITION), np.int32)
        room = np.empty(int(np.max(counts[0] + counts[1], initial=0)), np.int64)
        row, state = 0, kernel.NO_ROOM
        while state == kernel.NO_ROOM:
            row, state = kernel.pack_rows(
                row,
                of_users,
                forms,
                listed,
                positions,
                spares,
                not_at_ends,
                places,
                self._tracks.table,
                self._sources.table,
                self._naming,
                self._named,
                room,
                starts,
                out,
            )
            if state == kernel.NO_ROOM:
                self._grow()
        if state != kernel.DONE:
            raise RefusedRowError(row, _REFUSALS[state])
        if len(self._sources) > _MOST_SOURCES:
            raise StoreError(f"More than {_MOST_SOURCES} different sources of tracks.")
        self._keep_names(chunk)
        return Frames(out.data, starts, key_lengths)

    def names(self) -> Names:
        """What the codes of forms and sources mean, so far."""
        forms = [json.loads(form) for form in self._forms]
        sources = self._sources.strings(0).to_pylist()
        return Names(tuple((kind, tuple(relaxed)) for kind, relaxed in forms), tuple(sources))

    def tracks(self) -> list[bytes]:
        """What the codes of tracks mean, from 1: ``[track_id, track_name, [artist, …]]`` as JSON.

        A track that nobody listed, only heard, has no names.
        """
        count = len(self._tracks)
        texts = pa.concat_arrays(self._texts)
        order = self._text_of[1 : count + 1]
        nameless = np.flatnonzero(order == 0)
        if len(nameless):
            ids = _quoted(self._tracks.strings(0).take(pa.array(nameless)))
            more = pc.binary_join_element_wise("[", ids, ", null, []]", "")
            order = order.copy()
            order[nameless] = len(texts) + 1 + np.arange(len(nameless))
            texts = pa.concat_arrays([texts, more])
        tracks: list[bytes] = texts.take(pa.array(order - 1)).cast(pa.binary()).to_pylist()
        return tracks

    def _form_codes(self, chunk: pa.RecordBatch) -> Ints:
        texts = pc.binary_join_element_wise(
            "[", _quoted(chunk.column(c.KIND)), ", ", _listed(chunk.column(c.RELAXED)), "]", ""
        ).dictionary_encode()
        for form in texts.dictionary.to_pylist():
            self._forms.setdefault(form, len(self._forms))
        if len(self._forms) > _MOST_ENTRIES:
            raise StoreError(f"More than {_MOST_ENTRIES} kinds of playlists with relaxed rules.")
        codes = np.array([self._forms[form] for form in texts.dictionary.to_pylist()], np.int64)
        picked: Ints = codes[texts.indices.to_numpy()]
        return picked

    def _grow(self) -> None:
        self._tracks.grow()
        self._sources.grow()
        room = len(self._tracks.table.ends)
        self._naming = _longer(self._naming, room, 0)
        self._named = _longer(self._named, room, -1)
        self._text_of = _longer(self._text_of, room, 0)

    def _keep_names(self, chunk: pa.RecordBatch) -> None:
        """Keep the names of tracks that the last chunk listed first."""
        codes = np.flatnonzero(self._named >= 0)
        if not len(codes):
            return
        at = self._named[codes]
        self._named[codes] = -1
        listed = len(chunk.column(c.TRACKS).flatten())
        for column, picked in ((c.TRACKS, at < listed), (c.SPARES, at >= listed)):
            entries = chunk.column(column).flatten()
            rows = pa.array(at[picked] - (0 if column == c.TRACKS else listed))
            fields = [c.TRACK_ID, c.TRACK_NAME, c.ARTIST_NAMES]
            ids, names, artists = (entries.field(name).take(rows) for name in fields)
            for values in (ids, names, artists):
                values.validate(full=True)
            texts = pc.binary_join_element_wise(
                "[", _quoted(ids), ", ", _quoted(names), ", ", _listed(artists), "]", ""
            )
            self._text_of[codes[picked]] = self._count + 1 + np.arange(len(texts))
            self._count += len(texts)
            self._texts.append(texts)


class Strings:
    """Different strings, numbered from 1 in the order in which they came."""

    def __init__(self) -> None:
        self.table = _empty(_FIRST_ROOM, 16 * _FIRST_ROOM)

    def __len__(self) -> int:
        return int(self.table.used[0])

    def grow(self) -> None:
        """Make room for as many again."""
        old = self.table
        new = _empty(2 * len(old.ends), 2 * len(old.data))
        for name in ("ends", "data", "used"):
            values = getattr(old, name)
            getattr(new, name)[: len(values)] = values
        kernel.fill_slots(new)
        self.table = new

    def strings(self, start: int) -> pa.StringArray:
        """Those after the first ``start``."""
        count = len(self)
        ends = self.table.ends[: count + 1].astype(np.int32)
        texts = pa.StringArray.from_buffers(
            count, pa.py_buffer(ends), pa.py_buffer(self.table.data)
        )
        texts.validate(full=True)
        return texts.slice(start)


def _empty(strings: int, length: int) -> Table:
    return Table(
        np.zeros(2 * strings, np.uint64),
        np.zeros(strings, np.int64),
        np.zeros(length, np.uint8),
        np.zeros(1, np.int64),
    )


def _longer(values: Ints, length: int, fill: int) -> Ints:
    longer = np.full(length, fill, values.dtype)
    longer[: len(values)] = values
    return longer


def _entries(lists: pa.ListArray) -> Entries:
    fields = lists.flatten()
    artists = fields.field(c.ARTIST_NAMES)
    return Entries(
        _ends(lists),
        _texts(fields.field(c.TRACK_ID)),
        _texts(fields.field(c.BECAUSE_TRACK_ID)),
        _texts(fields.field(c.TRACK_NAME)),
        _ends(artists),
        _texts(artists.flatten()),
        _numbers(fields.field(c.SCORE), np.float64).view(np.uint64),
        _texts(fields.field(c.SOURCE)),
    )


def _ends(lists: pa.ListArray) -> Ints:
    """Where each list ends in ``flatten()``, a 0 before."""
    ends = _numbers(lists.offsets, np.int32)
    return _frozen((ends - ends[0]).astype(np.int64))


def _texts(array: pa.StringArray) -> Texts:
    _, ends, data = array.buffers()
    present = array.is_valid().to_numpy(zero_copy_only=False) if array.null_count else _NO_BOOLS
    offsets = np.zeros(1, np.int32) if ends is None else np.frombuffer(ends, np.int32)
    return Texts(
        _frozen(present),
        _frozen(offsets[array.offset : array.offset + len(array) + 1]),
        _frozen(np.frombuffer(data, np.uint8)) if data is not None and data.size else _NO_BYTES,
    )


def _numbers(array: Any, dtype: Any) -> Ints:
    return _frozen(np.ascontiguousarray(array.to_numpy(zero_copy_only=False), dtype))


def _frozen(values: Any) -> Ints:
    """Read-only, as Arrow's own buffers are: the loops are compiled for one kind of array."""
    frozen: Ints = values.view()
    frozen.setflags(write=False)
    return frozen


_NO_BOOLS: Final = _frozen(np.empty(0, bool))
_NO_BYTES: Final = _frozen(np.empty(0, np.uint8))


def _quoted(strings: pa.StringArray) -> pa.StringArray:
    """Each string as JSON; null for none."""
    special = pc.fill_null(pc.match_substring_regex(strings, _SPECIAL), False)
    quoted = pc.binary_join_element_wise('"', strings, '"', "")
    if pc.any(special).as_py():
        texts = [
            json.dumps(text, ensure_ascii=False) for text in strings.filter(special).to_pylist()
        ]
        quoted = pc.replace_with_mask(quoted, special, pa.array(texts, pa.string()))
    return pc.fill_null(quoted, "null")


def _listed(lists: pa.ListArray) -> pa.StringArray:
    """Each list of strings as JSON."""
    ends = pa.array(_ends(lists), pa.int32())
    quoted = pa.ListArray.from_arrays(ends, _quoted(lists.flatten()))
    return pc.binary_join_element_wise("[", pc.binary_join(quoted, ", "), "]", "")
