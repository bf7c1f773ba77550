"""Listens that arrive late, looked for among those of the days before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys import columns as c
from recsys import schemas
from recsys._coded import codes_of, joined, values_of
from recsys._threads import on_each

_AT: Final = schemas.LISTENS.get_field_index(c.LISTENED_AT)
_USER: Final = schemas.LISTENS.get_field_index(c.USER_ID)
#: So many rows of an earlier day that have the time of a late one are looked at together.
_TOGETHER: Final = 1 << 17
_BITS: Final = 22

Integers = npt.NDArray[np.int64]


def newest(earlier: Sequence[Path]) -> int | None:
    """The newest time of cleaned listens in microseconds, out of the files' statistics."""
    metas = [pq.read_metadata(path) for path in earlier]
    groups = [meta.row_group(n) for meta in metas for n in range(meta.num_row_groups)]
    return max((group.column(_AT).statistics.max_raw for group in groups), default=None)


def known(late: pa.Table, earlier: Sequence[Path]) -> npt.NDArray[np.bool_]:
    """Which of the late listens an earlier day holds.

    Few rows have the very time of a late one, and of these fewer are by its user: the other
    columns are read for them alone.

    Args:
        late: user, track, time in microseconds and event; text by codes.
        earlier: tables of :data:`recsys.schemas.LISTENS`, in its order.
    """
    found = np.zeros(len(late), np.bool_)
    if len(late):
        for keys in on_each(_Wanted(joined(late)).found, earlier):
            found |= keys
    return found


class _Wanted:
    """Late listens by numbers, for rows of an earlier day to be held against."""

    def __init__(self, late: pa.Table) -> None:
        users, tracks, events = (late[name] for name in (c.USER_ID, c.TRACK_ID, c.EVENT))
        self._users, self._tracks, self._events = map(values_of, (users, tracks, events))
        self._first, self._last = pc.min_max(self._users).as_py().values()
        self._times, time = np.unique(late[c.LISTENED_AT].to_numpy(), return_inverse=True)
        self._marks = np.zeros(1 << (_BITS - 3), np.uint8)
        _mark(self._times, self._marks)
        self._pairs, pair = np.unique(self._pair(codes_of(users), time), return_inverse=True)
        self._keys = self._key(pair, codes_of(tracks), codes_of(events))

    def _pair(self, user: Any, time: Integers) -> Integers:
        return np.asarray(user * np.int64(len(self._times)) + time)

    def _key(self, pair: Integers, track: Any, event: Any) -> Integers:
        return np.asarray((pair * len(self._tracks) + track) * len(self._events) + event)

    def found(self, path: Path) -> npt.NDArray[np.bool_]:
        """Which of them are in the table of a day."""
        with pq.ParquetFile(path, read_dictionary=[c.USER_ID, c.TRACK_ID, c.EVENT]) as file:
            there = list(self._keys_in(file))
        return (
            np.isin(self._keys, np.concatenate(there))
            if there
            else np.zeros(len(self._keys), np.bool_)
        )

    def _keys_in(self, file: pq.ParquetFile) -> Iterator[Integers]:
        alike: list[tuple[int, Integers, Integers]] = []
        for group in range(file.num_row_groups):
            if self._is_passed_over(file.metadata.row_group(group)):
                continue
            at = file.read_row_group(group, [c.LISTENED_AT])[c.LISTENED_AT].cast(pa.int64())
            times = at.to_numpy()
            rows = _marked(times, self._marks)
            time = np.searchsorted(self._times, times[rows])
            same = self._times[np.minimum(time, len(self._times) - 1)] == times[rows]
            if same.any():
                alike.append((group, rows[same], time[same]))
            if sum(len(rows) for _, rows, _ in alike) > _TOGETHER:
                yield from self._settled(file, alike)
                alike = []
        yield from self._settled(file, alike)

    def _is_passed_over(self, group: Any) -> bool:
        at, user = (group.column(place).statistics for place in (_AT, _USER))
        others = user is not None and (
            # Of a text over 4 KiB Parquet keeps no least and greatest.
            (user.max is not None and user.max < self._first)
            or (user.min is not None and user.min > self._last)
        )
        return bool(others or at.max_raw < self._times[0] or at.min_raw > self._times[-1])

    def _settled(
        self, file: pq.ParquetFile, alike: Sequence[tuple[int, Integers, Integers]]
    ) -> Iterator[Integers]:
        """Look at rows of the same time: their users, and where these agree, the rest."""
        same_user = []
        users = [_values(file, group, rows, c.USER_ID) for group, rows, _ in alike]
        for (group, rows, time), user in zip(alike, _numbers(users, self._users), strict=True):
            pair = self._pair(user, time)
            place = np.minimum(np.searchsorted(self._pairs, pair), len(self._pairs) - 1)
            same = (user >= 0) & (self._pairs[place] == pair)
            if same.any():
                same_user.append((group, rows[same], place[same]))
        numbers = [
            _numbers([_values(file, group, rows, name) for group, rows, _ in same_user], values)
            for name, values in ((c.TRACK_ID, self._tracks), (c.EVENT, self._events))
        ]
        for (_, _, pair), track, event in zip(same_user, *numbers, strict=True):
            yield self._key(pair, track, event)[(track >= 0) & (event >= 0)]


def _values(file: pq.ParquetFile, group: int, rows: Integers, name: str) -> pa.Array:
    column = file.read_row_group(group, [name])[name].combine_chunks()
    return column.take(pa.array(rows)).cast(pa.string())


def _numbers(texts: Sequence[pa.Array], values: pa.Array) -> list[Integers]:
    """The place of each text among the values, -1 where it is not there."""
    if not texts:
        return []
    places = pc.index_in(pa.concat_arrays(texts), values).fill_null(-1).to_numpy()
    return np.split(places, np.cumsum([len(text) for text in texts])[:-1])


@numba.njit(cache=True, nogil=True)
def _place(time: Any) -> Any:  # pragma: no cover
    return (np.uint64(time) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - _BITS)


@numba.njit(cache=True, nogil=True)
def _mark(times: Any, marks: Any) -> None:  # pragma: no cover
    """Set a bit for each time."""
    for time in times:
        place = _place(time)
        marks[place >> np.uint64(3)] |= np.uint8(1) << np.uint8(place & np.uint64(7))


@numba.njit(cache=True, nogil=True)
def _marked(times: Any, marks: Any) -> Any:  # pragma: no cover
    """The rows whose time may be one of those marked."""
    rows = np.empty(len(times), np.int64)
    many = 0
    for row in range(len(times)):
        place = _place(times[row])
        rows[many] = row
        many += (marks[place >> np.uint64(3)] >> np.uint8(place & np.uint64(7))) & 1
    return rows[:many].copy()
