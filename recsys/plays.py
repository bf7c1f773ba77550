"""Daily plays: what a day's listens come to, per user, track and listening day."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys import columns as c
from recsys._tables import TableWriter, database, part_files, read_parquet, write_query

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
_EVENTS: Final = ("play", "save", "like", "dislike")
# Half of a track or four minutes is a play: Last.fm's rule for a scrobble
# (https://www.last.fm/api/scrobbling). Where the length is unknown, 30 seconds are.
_LONGEST_WAIT: Final = 240_000
_UNKNOWN_LENGTH: Final = 30_000

_DAY: Final = 86_400_000_000  # microseconds
_TEXT: Final = [c.USER_ID, c.TRACK_ID, c.EVENT, c.TRACK_NAME, c.ARTIST_NAME, c.ALBUM_NAME]
#: Row groups are counted together up to so many bytes of them, before they are compressed.
_STRETCH_BYTES: Final = 128 << 20

#: What is told of a track, and in how many rows.
_TOLD: Final = DAILY_TRACKS.append(pa.field("times", pa.int64(), nullable=False))

_TRACKS: Final = """
    SELECT * EXCLUDE (times) FROM (
        SELECT * EXCLUDE (times), sum(times) AS times FROM {told} GROUP BY ALL
    )
    QUALIFY row_number() OVER (
        PARTITION BY track_id
        ORDER BY track_name IS NULL, times DESC, track_name, artist_name, album_name,
            artist_ids, duration_ms
    ) = 1
    ORDER BY track_id
"""


def daily_plays(listens: Path, out: Path, memory: str | None = None) -> dict[str, int]:
    """Count a day's cleaned listens into ``plays.parquet`` and ``tracks.parquet`` under ``out``.

    A *play* reached half of the track or four minutes; a *skip* was left before that on purpose or
    within 30 seconds; any other listen is a *part play*.

    Args:
        listens: a table of :data:`recsys.schemas.LISTENS`, in its order.
        out: the folder to write into.
        memory: how much DuckDB may use, as of :func:`recsys._tables.database`.

    Returns:
        Rows written, by table.
    """
    with database(out, memory) as connection, TemporaryDirectory(dir=out, prefix=".told-") as aside:
        told = Path(aside) / "told.parquet"
        with (
            TableWriter(out / "plays.parquet", DAILY_PLAYS) as plays,
            pq.ParquetWriter(told, _TOLD, compression="lz4") as tracks,
        ):
            last = DAILY_PLAYS.empty_table()
            for rows in _stretches(listens):
                counted = _with_last(last, _counted(rows))
                plays.write(counted[:-1])
                last = counted[-1:]
                tracks.write_table(_told(rows))
            plays.write(last)
        query = _TRACKS.format(told=read_parquet([told]))
        written = write_query(connection, query, out / "tracks.parquet", DAILY_TRACKS)
    return {"plays": plays.rows, "tracks": written}


def _stretches(listens: Path) -> Iterator[pa.Table]:
    """Some row groups at a time, text by codes, a chunk a column."""
    for part in part_files(listens):
        with pq.ParquetFile(part, read_dictionary=_TEXT) as file:
            for groups in _together(file.metadata):
                yield file.read_row_groups(groups).unify_dictionaries().combine_chunks()


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
    """Rows of `DAILY_PLAYS`, from listens that are sorted by user, track and time."""
    user, track, event = (_codes(rows[name]) for name in (c.USER_ID, c.TRACK_ID, c.EVENT))
    day = rows[c.LISTENED_AT].cast(pa.int64()).to_numpy() // _DAY
    differs = np.ones(len(rows), np.bool_)
    differs[1:] = (np.diff(user) != 0) | (np.diff(track) != 0) | (np.diff(day) != 0)
    first = np.flatnonzero(differs)

    events = rows[c.EVENT].chunk(0).dictionary.to_pylist()
    heard = {name: event == (events.index(name) if name in events else -1) for name in _EVENTS}
    played = rows[c.MS_PLAYED].fill_null(0).to_numpy()
    length = pc.divide(rows[c.DURATION_MS].cast(pa.float64()), 2.0).fill_null(_UNKNOWN_LENGTH)
    left = rows[c.SKIPPED].fill_null(False).to_numpy()
    complete = np.where(
        rows[c.MS_PLAYED].is_valid().to_numpy(),
        played >= np.minimum(length.to_numpy(), _LONGEST_WAIT),
        ~left,
    )
    play = heard["play"] & complete & ~left
    skip = heard["play"] & ~complete & (left | (played < _UNKNOWN_LENGTH))
    counts = {
        c.PLAYS: play,
        c.PART_PLAYS: heard["play"] & ~play & ~skip,
        c.SKIPS: skip,
        c.SAVES: heard["save"],
        c.LIKES: heard["like"],
        c.DISLIKES: heard["dislike"],
        c.MS_PLAYED: played,
    }
    keys = rows.select([c.USER_ID, c.TRACK_ID]).take(pa.array(first))
    sums = [np.add.reduceat(each, first, dtype=np.int64) for each in counts.values()]
    listened_on = pa.array(day[first].astype(np.int32)).cast(pa.date32())
    return pa.table(
        [*keys.columns, listened_on, *sums], [*keys.column_names, c.LISTENED_ON, *counts]
    ).cast(DAILY_PLAYS)


def _with_last(last: pa.Table, counted: pa.Table) -> pa.Table:
    """Rows that follow each other, of which the one may end with what the other begins with."""
    if len(last) and last.select(_KEY) == counted[:1].select(_KEY):
        sums = [pc.add(last[name], counted[name][:1]) for name in DAILY_PLAYS.names[len(_KEY) :]]
        joined = pa.table([*last.select(_KEY).columns, *sums], DAILY_PLAYS)
        return pa.concat_tables([joined, counted[1:]])
    return pa.concat_tables([last, counted])


def _told(rows: pa.Table) -> pa.Table:
    """What is told of each track and how often, in rows of `_TOLD`, of which some may be equal.

    Nearly all rows say of a track what its first one does: these are counted.
    """
    track = _codes(rows[c.TRACK_ID])
    first = np.zeros(track.max(initial=-1) + 1, np.int64)
    first[track[::-1]] = np.arange(len(track))[::-1]
    like = first[track]
    same = _same_lists(rows[c.ARTIST_IDS].chunk(0), like)
    for name in (c.TRACK_NAME, c.ARTIST_NAME, c.ALBUM_NAME):
        told = _codes(rows[name])
        same &= told == told[like]
    length = rows[c.DURATION_MS].fill_null(-1).to_numpy()
    same &= length == length[like]

    there = np.flatnonzero(like == np.arange(len(track)))
    others = np.flatnonzero(~same)
    times = np.bincount(track[same], minlength=len(first))[track[there]]
    shown = rows.select(DAILY_TRACKS.names).take(pa.array(np.concatenate([there, others])))
    times = np.concatenate([times, np.ones(len(others), np.int64)])
    return shown.append_column("times", pa.array(times)).cast(_TOLD)


def _same_lists(lists: pa.ListArray, like: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether each list is the one at that place."""
    starts = lists.offsets.to_numpy().astype(np.int64)
    lengths = np.diff(starts)
    known = lists.is_valid().to_numpy(zero_copy_only=False)
    same: npt.NDArray[np.bool_] = (lengths == lengths[like]) & (known == known[like])
    rows = np.flatnonzero(same & (lengths > 0))
    if len(rows):
        values = _codes(pa.chunked_array([lists.values.dictionary_encode()]))
        width = lengths[rows]
        ends = np.cumsum(width)
        within = np.arange(ends[-1]) - np.repeat(ends - width, width)
        mine, theirs = (np.repeat(starts[at], width) + within for at in (rows, like[rows]))
        same[rows] = np.logical_and.reduceat(values[mine] == values[theirs], ends - width)
    return same


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """The codes of a column of text, -1 for null."""
    return np.asarray(column.chunk(0).indices.fill_null(-1), np.int64)
