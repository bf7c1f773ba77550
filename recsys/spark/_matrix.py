"""The taste matrix on Spark, as a table of listeners: ``recsys.matrix.build_matrix`` in parts.

The entries of each listener are added up by the same kernel as on one machine, in the same order:
strengths are equal to the last bit. A song's popularity adds up strengths in steps of
2**-32, and is the same within as much a listener.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls them
from pyspark.sql.pandas.types import from_arrow_schema

from recsys import columns as c
from recsys import matrix as on_one_machine
from recsys import schemas
from recsys._entries import entries
from recsys._slices import FOLDER, LISTENERS, write_slices
from recsys._tables import rows_of
from recsys.settings import ListensSettings
from recsys.spark import _one_task
from recsys.spark._datasets import PART, in_parts, ranges, read, read_numbered, write

#: Of a matrix that one task makes.
USERS_A_PART: Final = 5_000
_FIXED_POINT: Final = 2**20
_STRENGTH_UNITS: Final = 2**32
_KEYS: Final = pa.schema([pa.field(c.SONG_KEY, pa.string())])
_TRACKS: Final = pa.schema([pa.field(c.TRACK_ID, pa.string()), pa.field("song", pa.int32())])
_ELIGIBLE: Final = pa.schema([pa.field(c.USER_ID, pa.string())])
_SONGS: Final = pa.schema(
    [
        *(
            schemas.CATALOGUE.field(name)
            for name in (
                c.SONG_KEY,
                c.TRACK_ID,
                c.TRACK_NAME,
                c.ARTIST_IDS,
                c.ARTIST_NAMES,
                c.AVAILABLE,
            )
        ),
        pa.field("listeners", pa.int64()),
        pa.field("popularity", pa.float64()),
    ]
)

# A song is shown as its most played available track; plays are summed in fixed point, so that the
# order of rows plays no part.
_SHOWN: Final = f"""
    WITH played AS (
        SELECT track_id, sum(CAST(round(plays * {_FIXED_POINT}) AS BIGINT)) AS times
        FROM {{taste}} GROUP BY track_id
    )
    SELECT song, song_key, track_id, track_name, artist_ids, artist_names, available
    FROM {{track}} LEFT JOIN played USING (track_id)
    QUALIFY row_number() OVER (
        PARTITION BY song ORDER BY available DESC, coalesce(times, 0) DESC, track_id) = 1
"""

_PAIRS: Final = """
    SELECT user_id, last_heard, song, track, {weight} AS weight, heard, disliked, plays
    FROM {{taste}} JOIN {{track}} USING (track_id)
"""

_POPULARITY: Final = f"""
    SELECT song, count(*) AS listeners,
        round(sum(CAST(round(CAST(strength AS DOUBLE) * {_STRENGTH_UNITS}D) AS BIGINT))
            / {_STRENGTH_UNITS}D, 6) AS popularity
    FROM (SELECT inline(arrays_zip(songs, strength)) AS (song, strength) FROM {{listeners}})
    GROUP BY song
"""


def build_matrix(
    session: SparkSession,
    taste: Path,
    catalogue: Path,
    *,
    cutoff: date,
    active_days: int,
    weights: ListensSettings,
    forgotten: Collection[str],
    out: Path,
) -> dict[str, int]:
    """As :func:`recsys.matrix.build_matrix`, written to ``out`` in parts by ranges of users.

    A small one is made by that very function, in one task.

    Beside ``songs.parquet``, ``tracks.parquet`` and ``eligible.parquet`` there is the table of
    listeners (:data:`recsys._slices.LISTENERS`).
    """
    if rows_of(taste) <= _one_task.TASK_ROWS:

        def build(folder: Path) -> dict[str, int]:
            made = on_one_machine.build_matrix(
                taste, catalogue, cutoff=cutoff, active_days=active_days, weights=weights,
                forgotten=forgotten, spill=folder,
            )  # fmt: skip
            write_slices(made, folder, USERS_A_PART)
            return made.rows

        return dict(_one_task.in_one_task(session, out, build))
    known = read(session, [taste], schemas.TASTE)
    gone = session.createDataFrame(pa.table({c.USER_ID: pa.array(sorted(forgotten), pa.string())}))
    known = known.join(F.broadcast(gone), c.USER_ID, "left_anti")
    with TemporaryDirectory(dir=out, prefix=".scratch-") as scratch:
        track = _tracks(session, catalogue, out / "tracks.parquet", Path(scratch) / "keys")
    pairs = session.sql(_PAIRS.format(weight=_weight(weights)), taste=known, track=track)
    by_user = ranges(known, c.USER_ID, count=rows_of(taste), apart=[c.TRACK_ID])
    users = in_parts(known.select(c.USER_ID).distinct(), by_user)
    counts = {row[PART]: row["count"] for row in users.groupBy(PART).count().collect()}
    sizes = [counts.get(part, 0) for part in range(by_user.count)]
    first_codes = tuple(np.cumsum([0, *sizes[:-1]]).tolist())
    active_since = cutoff - timedelta(days=active_days)
    listeners = (
        in_parts(pairs, by_user)
        .sortWithinPartitions(PART, c.USER_ID, "song", F.desc(c.HEARD), F.desc(c.PLAYS), "track")
        .drop(c.PLAYS)
        .mapInArrow(_Listeners(first_codes, active_since), from_arrow_schema(LISTENERS))
    )
    write(listeners, out / FOLDER, LISTENERS)
    made = read(session, [out / FOLDER], LISTENERS)
    eligible = in_parts(made.where("eligible").select(c.USER_ID), by_user)
    songs = session.sql(_SHOWN, taste=known, track=track)
    counted = session.sql(_POPULARITY, listeners=made)
    songs = songs.join(counted, "song", "left").fillna(0, ["listeners", "popularity"])
    by_song = ranges(songs, "song", count=rows_of(out / "tracks.parquet"), distinct=True)
    (entries_made,) = made.select(F.sum(F.size("songs")).alias("pairs")).collect()
    return {
        "users": sum(sizes),
        "eligible": write(
            eligible.sortWithinPartitions(c.USER_ID), out / "eligible.parquet", _ELIGIBLE
        ),
        "songs": write(
            in_parts(songs, by_song).sortWithinPartitions("song"), out / "songs.parquet", _SONGS
        ),
        "pairs": int(entries_made.pairs or 0),
    }


def _tracks(session: SparkSession, catalogue: Path, table: Path, scratch: Path) -> DataFrame:
    """Number songs and tracks in order of their names, and write which track is which song.

    A place in a sorted table is the number: nothing is counted in one place.

    Returns:
        The catalogue with ``song`` and ``track`` (int32).
    """
    tracks = read_numbered(session, catalogue, schemas.CATALOGUE, number="track")
    keys = tracks.select(c.SONG_KEY).distinct()
    count = rows_of(catalogue)
    by_key = ranges(tracks, c.SONG_KEY, count=count, distinct=True)
    write(in_parts(keys, by_key).sortWithinPartitions(c.SONG_KEY), scratch, _KEYS)
    songs = read_numbered(session, scratch, _KEYS, number="song")
    by_track = ranges(tracks, c.TRACK_ID, count=count)
    coded = in_parts(tracks.join(songs, c.SONG_KEY).select(c.TRACK_ID, "song"), by_track)
    write(coded.sortWithinPartitions(c.TRACK_ID), table, _TRACKS)
    song_of = read(session, [table], _TRACKS)
    return tracks.join(song_of, c.TRACK_ID)


def _weight(weights: ListensSettings) -> str:
    return " + ".join(
        f"{events} * {weight!r}D"
        for events, weight in (
            (c.PLAYS, weights.weight_play),
            (c.PART_PLAYS, weights.weight_part_play),
            (c.SKIPS, weights.weight_skip),
            (c.SAVES, weights.weight_save),
            (c.LIKES, weights.weight_like),
            (c.DISLIKES, weights.weight_dislike),
        )
    )


@dataclass(frozen=True)
class _Listeners:
    """Makes rows of listeners, in an executor, of pairs that are in order."""

    #: The code of the first listener of each part.
    first_codes: tuple[int, ...]
    active_since: date

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        waiting: list[pa.RecordBatch] = []
        code: int | None = None
        for batch in batches:
            if not len(batch):
                continue
            if code is None:
                code = self.first_codes[batch[PART][0].as_py()]
            begins = np.flatnonzero(_changes(batch[c.USER_ID]))
            same = bool(waiting) and waiting[-1][c.USER_ID][-1] == batch[c.USER_ID][0]
            whole = int(begins[-1])  # the last listener may go on in the next batch
            if whole or (waiting and not same):
                rows = self._rows([*waiting, batch.slice(0, whole)], code)
                code += len(rows)
                yield rows
                waiting = []
            waiting.append(batch.slice(whole))
        if waiting and code is not None:
            yield self._rows(waiting, code)

    def _rows(self, batches: list[pa.RecordBatch], code: int) -> pa.RecordBatch:
        """The listeners of whole runs of pairs, numbered from ``code``."""
        pairs = pa.Table.from_batches(batches).combine_chunks()
        new = _changes(pairs[c.USER_ID])
        user = (np.cumsum(new) - 1).astype(np.int32)
        count = int(new.sum())
        columns = {
            name: pairs[name].to_numpy()
            for name in ("song", "track", "weight", c.HEARD, c.DISLIKED)
        }
        made = entries({"user": user, **columns})
        heard = pa.table({"user": user, c.LAST_HEARD: pairs[c.LAST_HEARD]})
        newest = heard.group_by("user", use_threads=False).aggregate([(c.LAST_HEARD, "max")])
        last_heard = newest.sort_by("user")[f"{c.LAST_HEARD}_max"].combine_chunks()
        since = pa.scalar(self.active_since, pa.date32())
        table = {
            c.USER_ID: pairs[c.USER_ID].filter(pa.array(new)).combine_chunks(),
            "code": np.arange(code, code + count, dtype=np.int32),
            c.LAST_HEARD: last_heard,
            "eligible": pc.fill_null(pc.greater_equal(last_heard, since), False),
            "songs": _lists(made.users, made.songs, count),
            "strength": _lists(made.users, made.strength, count),
            "played_track": _lists(made.users, made.played_track, count),
            "excluded": _lists(made.excluded_users, made.excluded, count),
        }
        return pa.RecordBatch.from_pydict(table, LISTENERS)


def _changes(column: Any) -> npt.NDArray[np.bool_]:
    """Whether each value differs from the one before it; the first does."""
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    differs = pc.not_equal(values.slice(1), values.slice(0, max(len(values) - 1, 0)))
    return np.concatenate(
        [np.ones(min(len(values), 1), bool), differs.to_numpy(zero_copy_only=False)]
    )


def _lists(users: npt.NDArray[np.int32], values: npt.NDArray[Any], count: int) -> pa.ListArray:
    """The values of each user, as one list a user."""
    ends = np.cumsum(np.bincount(users, minlength=count))
    offsets = np.concatenate([np.zeros(1, np.int64), ends]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
