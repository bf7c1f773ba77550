"""Daily plays: what a day's listens come to, per user, track and listening day."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys import columns as c
from recsys._coded import CodedWriter, codes_of, compact, joined, ranked, values_of
from recsys._tables import TableWriter, part_files, running_out
from recsys._threads import beside
from recsys.listens._by_key import by_key
from recsys.listens._sorter import Sorter

#: Sorted by user, track and listening day (UTC). Counts are integers, so sums are exact.
DAILY_PLAYS: Final = pa.schema(
    [
        pa.field(c.USER_ID, pa.string(), nullable=False),
        pa.field(c.TRACK_ID, pa.string(), nullable=False),
        pa.field(c.LISTENED_ON, pa.date32(), nullable=False),
        *(pa.field(name, pa.int64(), nullable=False) for name in c.COUNTS),
        pa.field(c.MS_PLAYED, pa.int64(), nullable=False),
    ]
)

#: What the day says of each track, sorted by track.
DAILY_TRACKS: Final = pa.schema(
    [
        pa.field(c.TRACK_ID, pa.string(), nullable=False),
        pa.field(c.TRACK_NAME, pa.string()),
        pa.field(c.ARTIST_NAME, pa.string()),
        pa.field(c.ALBUM_NAME, pa.string()),
        pa.field(c.ARTIST_IDS, pa.list_(pa.string())),
        pa.field(c.DURATION_MS, pa.int64()),
    ]
)

_KEY: Final = [c.USER_ID, c.TRACK_ID, c.LISTENED_ON]
_SUMS: Final = [*c.COUNTS, c.MS_PLAYED]
_EVENTS: Final = ("play", "save", "like", "dislike")
# Half of a track or four minutes is a play: Last.fm's rule for a scrobble
# (https://www.last.fm/api/scrobbling). Where the length is unknown, 30 seconds are.
_LONGEST_WAIT: Final = 240_000
_UNKNOWN_LENGTH: Final = 30_000

_DAY: Final = 86_400_000_000  # microseconds
_NAMES: Final = (c.TRACK_NAME, c.ARTIST_NAME, c.ALBUM_NAME)
_TEXT: Final = [c.USER_ID, c.TRACK_ID, c.EVENT, *_NAMES, f"{c.ARTIST_IDS}.list.element"]
#: Row groups are counted together up to so many bytes of them, before they are compressed.
_STRETCH_BYTES: Final = 128 << 20

#: What is told of a track, and in how many rows.
_TOLD: Final = DAILY_TRACKS.append(pa.field("times", pa.int64(), nullable=False))


def daily_plays(listens: Path, out: Path) -> dict[str, int]:
    """Count a day's cleaned listens into ``plays.parquet`` and ``tracks.parquet`` under ``out``.

    A *play* reached half of the track or four minutes; a *skip* was left before that on purpose or
    within 30 seconds; any other listen is a *part play*. Of a track is told what is told most
    often, and a name before none.

    Args:
        listens: a table of :data:`recsys.schemas.LISTENS`, in its order.
        out: the folder to write into.

    Returns:
        Rows written, by table.

    Raises:
        ResourceError: memory or disk ran out.
    """
    with (
        running_out(out),
        TemporaryDirectory(dir=out, prefix=".told-") as aside,
        CodedWriter(out / "plays.parquet", DAILY_PLAYS, [c.USER_ID, c.LISTENED_ON]) as plays,
        CodedWriter(out / "tracks.parquet", DAILY_TRACKS, [c.TRACK_ID]) as tracks,
    ):
        told = Sorter(Path(aside), _TOLD, [c.TRACK_ID], _most_told)
        last = DAILY_PLAYS.empty_table()
        for rows in _stretches(listens):
            with beside(partial(_add_told, told, rows)) as telling:
                last = _write_counted(plays, last, rows)
            telling.result()
        plays.write(last)
        for most_told in told.sorted():
            tracks.write(most_told)
    return {"plays": plays.rows, "tracks": tracks.rows}


def _write_counted(plays: TableWriter, last: pa.Table, rows: pa.Table) -> pa.Table:
    """Count rows and write all but the last count, which may go on; ``last`` is that of before."""
    counted = _counted(rows)
    ends = _with_last(last, counted[:1].cast(DAILY_PLAYS))
    if len(counted) == 1:
        plays.write(ends[:-1])
        return ends[-1:]
    plays.write(ends)
    plays.write(counted[1:-1])
    return counted[-1:].cast(DAILY_PLAYS)


def _add_told(told: Sorter, rows: pa.Table) -> None:
    told.add(_told(rows))


def _stretches(listens: Path) -> Iterator[pa.Table]:
    """Some row groups at a time, text by codes, a chunk a column."""
    for part in part_files(listens):
        with pq.ParquetFile(part, read_dictionary=_TEXT) as file:
            for groups in _together(file.metadata):
                yield joined(pa.concat_tables([file.read_row_group(group) for group in groups]))


def _together(meta: pq.FileMetaData) -> Iterator[list[int]]:
    groups: list[int] = []
    size = 0
    for group in range(meta.num_row_groups):
        if groups and size + meta.row_group(group).total_byte_size > _STRETCH_BYTES:
            yield groups
            groups, size = [], 0
        groups.append(group)
        size += meta.row_group(group).total_byte_size
    if groups:
        yield groups


def _counted(rows: pa.Table) -> pa.Table:
    """Rows of `DAILY_PLAYS`, text by codes, from listens sorted by user, track and time."""
    events = values_of(rows[c.EVENT]).to_pylist()
    kind = np.array([_EVENTS.index(event) for event in events], np.int64)
    first, sums = _count(
        codes_of(rows[c.USER_ID]),
        codes_of(rows[c.TRACK_ID]),
        rows[c.LISTENED_AT].cast(pa.int64()).to_numpy(),
        kind[codes_of(rows[c.EVENT])],
        rows[c.MS_PLAYED].fill_null(-1).to_numpy(),
        rows[c.DURATION_MS].fill_null(-1).to_numpy(),
        rows[c.SKIPPED].fill_null(False).to_numpy(),
    )
    keys = rows.select([c.USER_ID, c.TRACK_ID, c.LISTENED_AT]).take(pa.array(first))
    listened_on = keys[c.LISTENED_AT].cast(pa.int64()).to_numpy() // _DAY
    columns = [
        *keys.columns[:2],
        pa.array(listened_on.astype(np.int32)).cast(pa.date32()),
        *map(pa.array, sums),
    ]
    return pa.table(columns, [*_KEY, *_SUMS])


@numba.njit(cache=True, nogil=True)
def _count(
    user: Any, track: Any, at: Any, event: Any, played: Any, length: Any, left: Any
) -> Any:  # pragma: no cover
    """The first row of each user, track and day, and what is counted from there on.

    What is unknown of ``played`` and ``length`` is below 0; ``event`` as in `_EVENTS`.
    """
    first = np.empty(len(user), np.int64)
    sums = np.zeros((7, len(user)), np.int64)
    many = 0
    for row in range(len(user)):
        if (
            row == 0
            or user[row] != user[row - 1]
            or track[row] != track[row - 1]
            or at[row] // _DAY != at[row - 1] // _DAY
        ):
            first[many] = row
            many += 1
        heard = max(played[row], 0)
        sums[6, many - 1] += heard
        if event[row] > 0:
            sums[2 + event[row], many - 1] += 1
            continue
        enough = min(length[row], 2 * _LONGEST_WAIT) if length[row] >= 0 else 2 * _UNKNOWN_LENGTH
        complete = 2 * heard >= enough if played[row] >= 0 else not left[row]
        if complete and not left[row]:
            sums[0, many - 1] += 1
        elif not complete and (left[row] or heard < _UNKNOWN_LENGTH):
            sums[2, many - 1] += 1
        else:
            sums[1, many - 1] += 1
    return first[:many], sums[:, :many]


def _with_last(last: pa.Table, counted: pa.Table) -> pa.Table:
    """Two rows that follow each other, or one where they are of the same user, track and day."""
    if len(last) and last.select(_KEY) == counted.select(_KEY):
        sums = [pc.add(last[name], counted[name]) for name in _SUMS]
        return pa.table([*last.select(_KEY).columns, *sums], DAILY_PLAYS)
    return pa.concat_tables([last, counted])


def _told(rows: pa.Table) -> pa.Table:
    """What is told of each track and how often, in rows of `_TOLD`, of which some may be equal.

    Nearly all rows say of a track what its first one does: these are counted.
    """
    lists = rows[c.ARTIST_IDS].chunk(0)
    values = codes_of(pa.chunked_array([lists.values]))
    told = tuple(codes_of(rows[name]) for name in _NAMES)
    place, times = _alike(
        codes_of(rows[c.TRACK_ID]),
        np.full((len(values_of(rows[c.TRACK_ID])), 8), -1, np.int64),
        told,
        rows[c.DURATION_MS].fill_null(-1).to_numpy(),
        lists.is_valid().to_numpy(zero_copy_only=False),
        lists.offsets.to_numpy(),
        values,
    )
    shown = rows.select(DAILY_TRACKS.names).take(pa.array(place))
    return compact(shown.append_column("times", pa.array(times)))


@numba.njit(cache=True, nogil=True)
def _alike(
    track: Any, said: Any, names: Any, length: Any, listed: Any, offsets: Any, artists: Any
) -> Any:  # pragma: no cover
    """Rows that say something else than the first of their track, and how many say the same.

    ``said`` is -1, and has room for what the first one says of each track, side by side.
    """
    place = np.empty(len(track), np.int64)
    times = np.ones(len(track), np.int64)
    first, second, third = names
    many = 0
    for row in range(len(track)):
        of = said[track[row]]
        begin, end = offsets[row], offsets[row + 1]
        if of[0] < 0:
            of[0] = many
            of[1], of[2], of[3] = first[row], second[row], third[row]
            of[4], of[5], of[6], of[7] = length[row], listed[row], begin, end
        else:
            same = of[1] == first[row] and of[2] == second[row] and of[3] == third[row]
            same &= of[4] == length[row] and of[5] == listed[row]
            same &= of[7] - of[6] == end - begin
            if same:
                for step in range(end - begin):
                    same &= artists[begin + step] == artists[of[6] + step]
            if same:
                times[of[0]] += 1
                continue
        place[many] = row
        many += 1
    return place[:many].copy(), times[:many].copy()


def _most_told(rows: pa.Table, out: bool) -> npt.NDArray[np.int64]:
    """Rows of `_TOLD` by track; where they are handed ``out``, the one of each track.

    A name comes before none, what is told more often before others, then what sorts first.
    """
    order, first = by_key(rows, [c.TRACK_ID])
    if not out or first.all():
        return order
    one = np.cumsum(first) - 1
    tied = ~first
    tied[:-1] |= ~first[1:]
    several = order[tied]
    others = compact(rows.take(pa.array(several)))
    told = np.stack([ranked(others[name]) for name in DAILY_TRACKS.names])
    alike = np.lexsort(told[::-1])
    differs = np.ones(len(alike), np.bool_)
    differs[1:] = (np.diff(told[:, alike]) != 0).any(axis=0)
    begins = np.flatnonzero(differs)
    times = np.add.reduceat(others["times"].to_numpy()[alike], begins)
    leading = alike[begins]
    nameless = others[c.TRACK_NAME].is_null().to_numpy()[leading]
    best = leading[np.lexsort([np.arange(len(times)), -times, nameless, told[0, leading]])]
    best = best[np.diff(told[0, best], prepend=-1) != 0]
    chosen = order[first]
    chosen[one[tied][best]] = several[best]
    return chosen
