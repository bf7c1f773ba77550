"""The rules of cleaning for columns whose types say most: by vectors, each different text once.

What they come to is what the SQL of `recsys.listens._judge` comes to. Rows that are refused for a
value which has to be described are left to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsys import columns as c
from recsys._coded import coded, codes_of, encoded, joined, values_of
from recsys.listens._reasons import Reason
from recsys.listens._said import said_of
from recsys.listens._sql import MAX_MS, PER_SECOND, Kind
from recsys.listens._tables import JUDGED

_NAMES: Final = (c.TRACK_NAME, c.ARTIST_NAME, c.ALBUM_NAME)
_AMOUNTS: Final = (c.MS_PLAYED, c.DURATION_MS)
_FLAGS: Final = (c.SKIPPED, c.PRIVATE)
_NUMBER: Final = frozenset({Kind.INTEGER, Kind.DOUBLE})
_KINDS: Final[Mapping[str, frozenset[Kind]]] = {
    **dict.fromkeys((c.USER_ID, c.TRACK_ID, c.EVENT, *_NAMES), frozenset({Kind.TEXT})),
    c.LISTENED_AT: frozenset({Kind.INTEGER, *PER_SECOND}),
    c.ARTIST_IDS: frozenset({Kind.TEXT, Kind.LIST}),
    **dict.fromkeys(_AMOUNTS, _NUMBER),
    **dict.fromkeys(_FLAGS, _NUMBER | {Kind.BOOLEAN}),
}
_EVENTS: Final = ("play", "save", "like", "dislike")
_DAY: Final = 86_400_000_000  # microseconds
_NEVER: Final = 2**63 - 1
_KEPT: Final = 0
_UNSURE: Final = 1
_REASONS: Final = {
    reason: number
    for number, reason in enumerate(
        (
            Reason.UNREADABLE,
            Reason.PRIVATE,
            Reason.NO_USER,
            Reason.NO_TRACK,
            Reason.NO_TIME,
            Reason.UNKNOWN_EVENT,
        ),
        start=2,
    )
}

Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]


def is_typed(kinds: Mapping[str, Kind]) -> bool:
    """Whether rows of these kinds can be judged here."""
    return all(kind in _KINDS[column] for column, kind in kinds.items())


@dataclass(frozen=True)
class Verdict:
    """What became of some rows: two tables of the columns of `JUDGED`, text by codes or not."""

    kept: pa.Table
    refused: pa.Table
    #: Those that are left to be judged, as they came.
    unsure: pa.Table


@dataclass(frozen=True)
class _Column:
    """A column of numbers or flags: what it holds, 0 where that is nothing of use."""

    values: Integers
    nulls: Bools
    #: Where there is something of no use.
    wrong: Bools

    def arrow(self, rows: Integers, kind: pa.DataType) -> pa.Array:
        """Those rows, null where nothing is said."""
        values = pa.array(self.values[rows]).cast(kind)
        nulls = self.nulls[rows]
        return pc.if_else(pa.array(~nulls), values, None) if nulls.any() else values


def judge_typed(
    rows: pa.Table, kinds: Mapping[str, Kind], labels: Mapping[str, str], times: tuple[int, int]
) -> Verdict:
    """Judge rows.

    Args:
        rows: of a `Block`, text by codes.
        kinds: what its columns come as (`is_typed`).
        labels: what the log calls them.
        times: from when, and until when, a listen can be, in microseconds.
    """
    rows = joined(rows)
    at = _times(rows[c.LISTENED_AT], kinds[c.LISTENED_AT])
    dated = ~at.nulls & ~at.wrong & (at.values >= times[0]) & (at.values < times[1])
    event, unknown = _events(rows, kinds, labels)
    amounts = {name: _amounts(rows[name], kinds[name]) for name in _AMOUNTS if name in kinds}
    flags = {name: _flags(rows[name], kinds[name]) for name in _FLAGS if name in kinds}
    told = np.full(len(rows), _KEPT, np.int8)
    # What is said last holds, so the first rule comes last.
    if kinds.get(c.ARTIST_IDS) is Kind.LIST:
        told[_odd_lists(rows[c.ARTIST_IDS].chunk(0))] = _UNSURE
    for column in (*amounts.values(), *(flags[name] for name in flags if name == c.SKIPPED)):
        told[column.wrong] = _UNSURE
    for number, said in unknown.items():
        told[event == number] = _UNSURE if said is None else _REASONS[Reason.UNKNOWN_EVENT]
    told[~dated] = _UNSURE
    told[at.nulls] = _REASONS[Reason.NO_TIME]
    told[_missing(rows[c.TRACK_ID])] = _REASONS[Reason.NO_TRACK]
    told[_missing(rows[c.USER_ID])] = _REASONS[Reason.NO_USER]
    if c.PRIVATE in flags:
        told[flags[c.PRIVATE].wrong] = _UNSURE
        told[flags[c.PRIVATE].values == 1] = _REASONS[Reason.PRIVATE]
    fault = rows["fault"]
    if fault.null_count < len(fault):
        told[fault.is_valid().to_numpy()] = _REASONS[Reason.UNREADABLE]

    kept = np.flatnonzero(told == _KEPT)
    return Verdict(
        _kept(rows, kept, at, event, amounts, flags),
        _refused(rows, np.flatnonzero(told > _UNSURE), told, at, dated, event, unknown),
        rows.take(pa.array(np.flatnonzero(told == _UNSURE))),
    )


def _kept(
    rows: pa.Table,
    places: Integers,
    at: _Column,
    event: Integers,
    amounts: Mapping[str, _Column],
    flags: Mapping[str, _Column],
) -> pa.Table:
    """The columns of `JUDGED` of rows that are kept."""
    given = rows.column_names
    texts = [name for name in (c.USER_ID, c.TRACK_ID, *_NAMES) if name in given]
    shown = rows.select([c.ORIGIN_FILE, c.ORIGIN_ROW, *texts])
    shown = shown.take(pa.array(places)) if len(places) < len(rows) else shown
    columns = dict(zip(shown.column_names, shown.columns, strict=True))
    for name in _NAMES:
        if name in columns:
            columns[name] = _unless_empty(columns[name])
    events = pa.array(event[places].astype(np.int32))
    columns[c.EVENT] = pa.DictionaryArray.from_arrays(events, pa.array(_EVENTS))
    columns[c.LISTENED_AT] = pa.array(at.values[places])
    columns["day"] = pa.array((at.values[places] // _DAY).astype(np.int32)).cast(pa.date32())
    if c.ARTIST_IDS in given:
        columns[c.ARTIST_IDS] = _artists(rows[c.ARTIST_IDS].chunk(0), places)
    for name, amount in amounts.items():
        columns[name] = amount.arrow(places, pa.int64())
    if c.DURATION_MS in amounts:
        length = columns[c.DURATION_MS]
        columns[c.DURATION_MS] = pc.if_else(pc.equal(length, 0), None, length)
    if c.SKIPPED in flags:
        columns[c.SKIPPED] = flags[c.SKIPPED].arrow(places, pa.bool_())
    return _filled(columns, len(places))


def _refused(
    rows: pa.Table,
    places: Integers,
    reasons: npt.NDArray[np.int8],
    at: _Column,
    dated: Bools,
    event: Integers,
    unknown: Mapping[int, str | None],
) -> pa.Table:
    """The columns of `JUDGED` of rows that are refused."""
    some = rows.select([c.ORIGIN_FILE, c.ORIGIN_ROW, "fault"]).take(pa.array(places))
    names = {number: str(reason) for reason, number in _REASONS.items()}
    fault = some["fault"].to_pylist()
    unreadable = _REASONS[Reason.UNREADABLE]
    strange = _REASONS[Reason.UNKNOWN_EVENT]
    told = reasons[places].tolist()
    details = [
        why if reason == unreadable else unknown[code] if reason == strange else None
        for reason, why, code in zip(told, fault, event[places].tolist(), strict=True)
    ]
    on = dated[places] & (reasons[places] != unreadable)
    days = (at.values[places] // _DAY).astype(np.int32)
    columns = {
        c.ORIGIN_FILE: some[c.ORIGIN_FILE],
        c.ORIGIN_ROW: some[c.ORIGIN_ROW],
        c.REASON: pa.array([names[reason] for reason in told], pa.string()),
        c.DETAIL: pa.array(details, pa.string()),
        "day": pa.array(days, mask=~on).cast(pa.date32()),
    }
    return _filled(columns, len(places))


def _filled(columns: Mapping[str, pa.Array | pa.ChunkedArray], rows: int) -> pa.Table:
    """The columns of `JUDGED`, null where there are none."""
    return encoded(
        pa.table({f.name: columns.get(f.name, pa.nulls(rows, f.type)) for f in JUDGED}),
        coded(JUDGED),
    )


def _times(column: pa.ChunkedArray, kind: Kind) -> _Column:
    """In microseconds; of no use are those that no clock of ours has."""
    number = _amounts(column, Kind.INTEGER, _NEVER)
    values = number.values
    if kind is Kind.INTEGER:  # the unit that its size speaks for
        units = [values <= 10**11, values <= 10**14, values <= 10**17]
        values = np.select(units, [values * 10**6, values * 10**3, values], values // 10**3)
    elif kind is Kind.NANOSECONDS:
        values = values // 10**3
    else:
        factor = 10**6 // PER_SECOND[kind]
        values = np.minimum(values, _NEVER // factor) * factor
    return _Column(values, number.nulls, number.wrong)


def _amounts(column: pa.ChunkedArray, kind: Kind, most: int = MAX_MS) -> _Column:
    """Whole numbers from 0 to ``most``."""
    nulls = _nulls(column)
    values = column.fill_null(0).to_numpy()
    whole = np.floor(values) == values if kind is Kind.DOUBLE else True
    good = (values >= 0) & (values <= most) & whole
    return _Column(np.where(good, values, 0).astype(np.int64), nulls, ~good)


def _flags(column: pa.ChunkedArray, kind: Kind) -> _Column:
    if kind is Kind.BOOLEAN:
        values = column.fill_null(False).to_numpy()
        return _Column(values.astype(np.int64), _nulls(column), np.zeros(len(values), np.bool_))
    return _amounts(column, kind, 1)


def _events(
    rows: pa.Table, kinds: Mapping[str, Kind], labels: Mapping[str, str]
) -> tuple[Integers, dict[int, str | None]]:
    """The number of each row's event; below 0 those that are unknown, and what is said of them."""
    if c.EVENT not in kinds:
        return np.zeros(len(rows), np.int64), {}
    unknown: dict[int, str | None] = {}
    numbers = []
    for text in values_of(rows[c.EVENT]).to_pylist():
        if text in ("", *_EVENTS):
            numbers.append(_EVENTS.index(text or _EVENTS[0]))
        else:
            numbers.append(-1 - len(unknown))
            unknown[numbers[-1]] = said_of(labels[c.EVENT], text)
    return np.array([*numbers, 0])[codes_of(rows[c.EVENT])], unknown


def _missing(column: pa.ChunkedArray) -> Bools:
    """Where there is no text, or an empty one."""
    empty = pc.equal(values_of(column), "").to_numpy(zero_copy_only=False)
    return np.asarray(np.append(empty, True)[codes_of(column)])


def _unless_empty(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same text, null where it is empty."""
    column = joined(pa.table([column], ["text"]))["text"]
    empty = pc.index(values_of(column), "").as_py()
    if empty < 0:
        return column
    indices = column.chunk(0).indices
    kept = pc.if_else(pc.equal(indices, empty), None, indices)
    return pa.chunked_array([pa.DictionaryArray.from_arrays(kept, values_of(column))])


def _odd_lists(lists: pa.ListArray) -> Bools:
    """Which lists hold an empty text, or null."""
    values = lists.flatten()
    odd = np.flatnonzero(_missing(pa.chunked_array([values])))
    found = np.zeros(len(lists), np.bool_)
    ends = np.cumsum(lists.value_lengths().fill_null(0).to_numpy())
    found[np.searchsorted(ends, odd, "right")] = True
    return found


def _artists(column: pa.Array, places: Integers) -> pa.Array:
    """Lists of artists, null for none."""
    if isinstance(column, pa.DictionaryArray):
        column = _unless_empty(pa.chunked_array([column.take(pa.array(places))])).chunk(0)
        ends = np.append(0, np.cumsum(column.is_valid().to_numpy(zero_copy_only=False)))
        kind = coded(JUDGED).field(c.ARTIST_IDS).type
        lists = pa.ListArray.from_arrays(ends.astype(np.int32), column.drop_null(), type=kind)
        return lists.take(pa.array(np.arange(len(column)), mask=np.diff(ends) == 0))
    empty = column.value_lengths().fill_null(0).to_numpy()[places] == 0
    if len(places) == len(column) and not empty.any():
        return column
    return column.take(pa.array(places, mask=empty if empty.any() else None))


def _nulls(column: pa.ChunkedArray) -> Bools:
    if not column.null_count:
        return np.zeros(len(column), np.bool_)
    return np.asarray(column.is_null().to_numpy())
