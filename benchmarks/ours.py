"""The peers' work and no more, by this library: read, count, train, 30 unheard tracks, write.

It takes and writes what the scripts in ``benchmarks/peers`` do.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from benchmarks.peers._steps import (
    ACTIVE_DAYS,
    ALPHA,
    FACTORS,
    ITERATIONS,
    LENGTH,
    REGULARIZATION,
    Steps,
)
from recsys._threads import workers
from recsys.matrix import TasteMatrix
from recsys.models import rank, train
from recsys.settings import AlsSettings


def read(log: Path, cutoff: str) -> TasteMatrix:
    """Count the listens of each listener and track: by codes, which the files hold anyway."""
    since = np.datetime64(cutoff) - np.timedelta64(ACTIVE_DAYS, "D")
    days = sorted(day for day in log.glob("date=*") if day.name < f"date={cutoff}")
    user_ids, track_ids, pairs, active = _pairs([day / "listens.parquet" for day in days], since)
    pairs.sort()
    pairs = pairs[np.searchsorted(pairs, 0) :]
    first = np.flatnonzero(np.append(True, pairs[1:] != pairs[:-1]))
    times = np.diff(first, append=len(pairs))
    pairs = pairs[first]

    indptr = np.searchsorted(pairs, np.arange(len(user_ids) + 1) * len(track_ids))
    users = np.diff(indptr) > 0  # some have nothing but what is left out
    indptr = np.append(0, indptr[1:][users])
    columns = pairs % len(track_ids)
    tracks = np.zeros(len(track_ids), bool)
    tracks[columns] = True
    columns = (np.cumsum(tracks, dtype=np.int32) - 1)[columns]
    user_ids, track_ids = user_ids.filter(users), track_ids.filter(tracks)

    shape = (len(user_ids), len(track_ids))
    strength = np.log1p(np.arange(times.max() + 1)).astype(np.float32)[times]
    return TasteMatrix(
        users=pa.table({"user_id": user_ids, "eligible": active[users]}),
        songs=pa.table({"song_key": track_ids, "track_id": track_ids}),
        tracks=pa.table({"track_id": track_ids, "song": np.arange(len(track_ids), dtype=np.int32)}),
        strength=csr_matrix((strength, columns, indptr), shape),
        played_track=columns,
        excluded=csr_matrix((np.ones(len(columns), bool), columns, indptr), shape),
    )


def _pairs(
    files: list[Path], since: np.datetime64
) -> tuple[pa.Array, pa.Array, npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The ids of users and of tracks, sorted; of each listen the number of its pair of these.

    It is -1 where a listen does not count. The last array says which users have one that counts
    since that time.
    """
    with workers() as threads:
        days = list(threads.over_blocks(lambda day, _: Day.read(files[day], since), len(files), 1))
        user_ids, users = _places([day.user_ids for day in days])
        track_ids, tracks = _places([day.track_ids for day in days])
        active = np.zeros(len(user_ids), bool)
        for day, place in zip(days, users, strict=True):
            active[place[day.active]] = True
        ends = np.cumsum([len(day.users) for day in days])
        pairs = np.empty(ends[-1], np.int64)

        def number(at: int, _: int) -> None:
            day = days[at]
            of_day = pairs[ends[at] - len(day.users) : ends[at]]
            np.take(users[at] * len(track_ids), day.users, out=of_day)
            of_day += tracks[at][day.tracks]
            of_day[~day.counts] = -1

        list(threads.over_blocks(number, len(days), 1))
    return user_ids, track_ids, pairs, active


class Day(NamedTuple):
    """The listens of a day: codes of users and tracks, which of them count, and what codes mean."""

    users: npt.NDArray[np.int32]
    user_ids: pa.Array
    tracks: npt.NDArray[np.int32]
    track_ids: pa.Array
    counts: npt.NDArray[np.bool_]
    #: By code: users with a listen that counts and is not older than asked for.
    active: npt.NDArray[np.bool_]

    @classmethod
    def read(cls, path: Path, since: np.datetime64) -> Day:
        """What is not a play, private or damaged does not count."""
        coded = ["user_id", "track_id", "event"]
        file = pq.ParquetFile(path, read_dictionary=coded, pre_buffer=False)
        # On one thread: it is the days that are shared out.
        day = file.read([*coded, "listened_at", "private"], use_threads=False)
        columns = day.unify_dictionaries().combine_chunks().columns
        user, track, event, time, private = (column.combine_chunks() for column in columns)
        counts = pc.equal(event.indices, event.dictionary.index("play")).fill_null(False)
        counts = pc.and_not(counts, private.fill_null(False))
        for column in (user, track, time):
            counts = pc.and_(counts, column.is_valid())
        counts = counts.to_numpy(zero_copy_only=False)
        users, tracks = (column.indices.fill_null(0).to_numpy() for column in (user, track))
        active = np.zeros(len(user.dictionary), bool)
        active[users[counts & (time.to_numpy(zero_copy_only=False) >= since)]] = True
        return cls(users, user.dictionary, tracks, track.dictionary, counts, active)


def _places(days: list[pa.Array]) -> tuple[pa.Array, list[npt.NDArray[np.int64]]]:
    """The distinct ids of all days, sorted; and the place among them of each id of a day."""
    chunks = pa.chunked_array(days).dictionary_encode().chunks
    ids = chunks[-1].dictionary
    order = pc.sort_indices(ids)
    place = np.empty(len(ids), np.int64)
    place[order.to_numpy()] = np.arange(len(ids))
    return ids.take(order), [place[chunk.indices.to_numpy()] for chunk in chunks]


def main(log: Path, cutoff: str, out: Path) -> None:
    """Read, count, train, recommend, write."""
    steps = Steps()
    matrix = read(log, cutoff)
    steps.done("read and count")

    settings = AlsSettings(
        factors=FACTORS,
        iterations=ITERATIONS,
        regularization=REGULARIZATION,
        regularization_exponent=0.0,
        unobserved_weight=1.0,  # and with that the objective of implicit
        alpha=ALPHA,
    )
    model = train(matrix, settings, seed=1)
    steps.done("train")

    rows = np.flatnonzero(matrix.users["eligible"].to_numpy()).astype(np.int32)
    lists = rank(
        model.user_factors[rows],
        model.item_factors,
        limits=np.full(len(rows), LENGTH),
        allowed=model.learnt,
        excluded=matrix.excluded,
        rows=rows,
    )
    steps.done("recommend")

    listed = matrix.songs["track_id"].combine_chunks().take(pa.array(lists.songs))
    table = {
        "user_id": matrix.users["user_id"].take(pa.array(rows)),
        "track_ids": pa.ListArray.from_arrays(pa.array(lists.offsets, pa.int32()), listed),
    }
    pq.write_table(pa.table(table), out)
    steps.done("write")
    steps.tell(loss=model.loss)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
