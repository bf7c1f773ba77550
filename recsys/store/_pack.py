"""Arrow rows in the packed form that stores keep. Needs NumPy, numba and Arrow."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys import columns as c
from recsys.errors import StoreError
from recsys.store import _kernel as kernel
from recsys.store._frames import Frames, frozen, text_of
from recsys.store._kernel import Codes, Ints, Rows
from recsys.store._value import HEADING, Names
from recsys.store._vocabulary import Vocabulary

_MOST_SOURCES: Final = 255
_MOST_ENTRIES: Final = 65_535
_SPECIAL: Final = r'["\\\x00-\x1f]'
_SPACE, _QUOTE, _BACKSLASH = b' "\\'
_REFUSALS: Final = {
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
    the same bytes, however they are cut into chunks, and however their strings are numbered.
    """

    def __init__(self) -> None:
        self._forms: dict[str, int] = {}
        self._ids, self._texts, self._sources = Vocabulary(), Vocabulary(), Vocabulary()
        empty = np.zeros(1, np.int32)
        known = np.zeros((1, kernel.FACTS), np.int32)
        self._codes = Codes(empty, known, empty, empty, empty, np.zeros(4, int))

    def fork(self) -> Self:
        """Another packer that has packed what this one has."""
        return copy.deepcopy(self)

    def pack(self, chunk: pa.RecordBatch) -> Frames:
        """The frames of some playlists, ``CODED_PLAYLISTS`` without nulls where none may be.

        Raises:
            RefusedRowError: positions other than 1, 2, 3, …, a spare that is listed already or
                has positions that are not, or a track under two names.
            StoreError: more kinds or sources than can be numbered.
            IndexError: an index that is not in its dictionary.
        """
        rows = Rows(*map(frozen, self._numbered(chunk)))
        listed, spares = np.diff(rows.track_ends), np.diff(rows.spare_ends)
        if max(listed.max(initial=0), spares.max(initial=0)) > _MOST_ENTRIES:
            raise StoreError(f"A playlist has more than {_MOST_ENTRIES} tracks.")
        key_lengths = np.diff(rows.user_ends)
        starts = np.zeros(chunk.num_rows + 1, np.int64)
        lengths = kernel.FRAME_BYTES + key_lengths + HEADING.size
        lengths += kernel.RECORD_BYTES * (listed + spares)
        lengths += kernel.PAIR_BYTES * np.diff(rows.not_at_ends[rows.spare_ends])
        np.cumsum(lengths, out=starts[1:])
        out = np.empty(starts[-1], np.uint8)
        self._make_room(len(rows.artists))
        row, state = kernel.pack_rows(rows, self._codes, starts, out)
        if state != kernel.DONE:
            raise RefusedRowError(row, _REFUSALS[state])
        if self._codes.used[2] > _MOST_SOURCES:
            raise StoreError(f"More than {_MOST_SOURCES} different sources of tracks.")
        return Frames(out.data, starts, key_lengths)

    def names(self) -> Names:
        """What the codes of forms and sources mean, so far."""
        forms = [json.loads(form) for form in self._forms]
        numbers = np.flatnonzero(self._codes.sources)
        order = numbers[np.argsort(self._codes.sources[numbers])]
        sources = self._sources.strings(order).to_pylist()
        return Names(tuple((kind, tuple(relaxed)) for kind, relaxed in forms), tuple(sources))

    def tracks(self) -> pa.StringArray:
        """What the codes of tracks mean, from 1: ``[track_id, track_name, [artist, …]]`` as JSON.

        A track that nobody listed, only heard, has no names.
        """
        numbers = self._codes.numbers[1 : self._codes.used[0] + 1]
        known = self._codes.tracks[numbers]
        counts = np.maximum(known[:, kernel.ARTISTS], 0)
        ends = np.concatenate([[0], np.cumsum(counts)])
        begins = known[:, kernel.BEGIN]
        credited = np.repeat(begins - ends[:-1], counts) + np.arange(ends[-1])
        artists = self._texts.strings(self._codes.artists[credited])
        return pc.binary_join_element_wise(
            "[",
            _quoted(self._ids.strings(numbers)),
            ", ",
            _quoted(self._texts.strings(known[:, kernel.NAME])),
            ", ",
            _listed(pa.ListArray.from_arrays(pa.array(ends, pa.int32()), artists)),
            "]",
            "",
        )

    def _numbered(self, chunk: pa.RecordBatch) -> Rows:
        lists = chunk.column(c.TRACKS), chunk.column(c.SPARES)
        listed, spares = both = [entries.flatten() for entries in lists]
        artists = [entries.field(c.ARTIST_NAMES) for entries in both]
        artist_ends, spare_artist_ends = map(_ends, artists)
        not_at = spares.field(c.NOT_AT)

        def numbers(known: Vocabulary, name: str) -> Ints:
            return known.numbers(*(entries.field(name) for entries in both))

        users, user_ends = text_of(chunk.column(c.USER_ID))
        return Rows(
            user_ends=user_ends,
            users=users,
            forms=self._form_codes(chunk),
            track_ends=_ends(lists[0]),
            spare_ends=_ends(lists[1]),
            ids=numbers(self._ids, c.TRACK_ID),
            because=numbers(self._ids, c.BECAUSE_TRACK_ID),
            names=numbers(self._texts, c.TRACK_NAME),
            artist_ends=_joined([artist_ends, spare_artist_ends[1:] + artist_ends[-1]]),
            artists=self._texts.numbers(*(one.flatten() for one in artists)),
            scores=_joined([_numbers(one.field(c.SCORE), np.float64) for one in both]).view("u8"),
            sources=numbers(self._sources, c.SOURCE),
            positions=_numbers(listed.field(c.POSITION), np.int32),
            not_at_ends=_ends(not_at),
            not_at=_numbers(not_at.flatten().fill_null(0), np.int32),
        )

    def _form_codes(self, chunk: pa.RecordBatch) -> Ints:
        kinds = chunk.column(c.KIND).dictionary_encode()
        rules, lists = _different(chunk.column(c.RELAXED))
        both = kinds.indices.to_numpy() * len(lists) + rules
        first = np.full(len(kinds.dictionary) * len(lists), len(both))
        first[both[::-1]] = np.arange(len(both))[::-1]  # of equal ones the first is written last
        codes: Ints = np.zeros(len(first), np.int64)
        for form in np.argsort(first)[: np.count_nonzero(first < len(both))]:  # as they come
            kind, rule = divmod(int(form), len(lists))
            text = f"[{json.dumps(kinds.dictionary[kind].as_py())}, {lists[rule]}]"
            codes[form] = self._forms.setdefault(text, len(self._forms))
        if len(self._forms) > _MOST_ENTRIES:
            raise StoreError(f"More than {_MOST_ENTRIES} kinds of playlists with relaxed rules.")
        picked: Ints = codes[both]
        return picked

    def _make_room(self, artists: int) -> None:
        """Room for all that a chunk can name."""
        codes, tracks, numbers, credited, sources, used = self._codes
        room = len(self._ids) + 1
        self._codes = Codes(
            _longer(codes, room),
            _longer(tracks, room),
            _longer(numbers, room),
            _longer(credited, int(used[1]) + artists),
            _longer(sources, len(self._sources) + 1),
            used,
        )


def _longer(values: Ints, length: int) -> Ints:
    if len(values) >= length:
        return values
    longer = np.zeros((max(length, 2 * len(values)), *values.shape[1:]), values.dtype)
    longer[: len(values)] = values
    return longer


def _joined(parts: Sequence[Ints]) -> Ints:
    joined: Ints = np.concatenate(parts)
    return joined


def _ends(lists: pa.ListArray) -> Ints:
    """Where each list ends in ``flatten()``, a 0 before."""
    ends = _numbers(lists.offsets, np.int32)
    counted: Ints = ends - ends[0]
    return counted


def _numbers(array: Any, dtype: Any) -> Ints:
    numbers: Ints = np.ascontiguousarray(array.to_numpy(zero_copy_only=False), dtype)
    return numbers


def _quoted(strings: pa.StringArray) -> pa.StringArray:
    """Each string as JSON; null for none."""
    quoted = pc.binary_join_element_wise('"', strings, '"', "")
    text, ends = text_of(strings)
    text = text[: ends[-1]]
    if (text < _SPACE).any() or (text == _QUOTE).any() or (text == _BACKSLASH).any():
        special = pc.fill_null(pc.match_substring_regex(strings, _SPECIAL), False)
        texts = [
            json.dumps(text, ensure_ascii=False) for text in strings.filter(special).to_pylist()
        ]
        quoted = pc.replace_with_mask(quoted, special, pa.array(texts, pa.string()))
    return pc.fill_null(quoted, "null")


def _different(lists: pa.ListArray) -> tuple[Ints, list[str]]:
    """Which of some lists of strings each is, and those as JSON; most are empty."""
    which: Ints = np.zeros(len(lists), np.int64)
    filled = np.diff(_ends(lists)) > 0
    texts = _listed(lists.filter(pa.array(filled))).dictionary_encode()
    which[filled] = texts.indices.to_numpy() + 1
    return which, ["[]", *texts.dictionary.to_pylist()]


def _listed(lists: pa.ListArray) -> pa.StringArray:
    """Each list of strings as JSON."""
    ends = pa.array(_ends(lists), pa.int32())
    quoted = pa.ListArray.from_arrays(ends, _quoted(lists.flatten()))
    return pc.binary_join_element_wise("[", pc.binary_join(quoted, ", "), "]", "")
