"""The peers' work and no more, by this library: read, count, train, 30 unheard tracks, write.

It takes and writes what the scripts in ``benchmarks/peers`` do.
"""

from __future__ import annotations

import sys
from pathlib import Path

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
from recsys.matrix import TasteMatrix
from recsys.models import rank, train
from recsys.settings import AlsSettings


def read(log: Path, cutoff: str) -> TasteMatrix:
    """Count the listens of each listener and track: by codes, which the files hold anyway."""
    days = sorted(day for day in log.glob("date=*") if day.name < f"date={cutoff}")
    listens = pa.concat_tables(_sound(day / "listens.parquet") for day in days)
    listens = listens.unify_dictionaries().combine_chunks()
    user, user_ids = _codes(listens["user_id"].chunk(0))
    track, track_ids = _codes(listens["track_id"].chunk(0))
    since = np.datetime64(cutoff) - np.timedelta64(ACTIVE_DAYS, "D")
    late = listens["listened_at"].to_numpy() >= since
    eligible = np.bincount(user[late], minlength=len(user_ids)) > 0
    pairs = user * np.int64(len(track_ids)) + track
    del listens, user, track, late
    pairs.sort()
    first = np.flatnonzero(np.diff(pairs, prepend=-1))
    times = np.diff(first, append=len(pairs))
    pairs = pairs[first]
    columns = (pairs % len(track_ids)).astype(np.int32)
    indptr = np.searchsorted(pairs, np.arange(len(user_ids) + 1) * len(track_ids))
    shape = (len(user_ids), len(track_ids))
    strength = np.log1p(times).astype(np.float32)
    return TasteMatrix(
        users=pa.table({"user_id": user_ids, "eligible": eligible}),
        songs=pa.table({"song_key": track_ids, "track_id": track_ids}),
        tracks=pa.table({"track_id": track_ids, "song": np.arange(len(track_ids), dtype=np.int32)}),
        strength=csr_matrix((strength, columns, indptr), shape),
        played_track=columns,
        excluded=csr_matrix((np.ones(len(columns), bool), columns, indptr), shape),
    )


def _sound(path: Path) -> pa.Table:
    """The listens that count: user_id and track_id as codes, and listened_at."""
    coded = ["user_id", "track_id", "event"]
    file = pq.ParquetFile(path, read_dictionary=coded)
    day = file.read([*coded, "listened_at", "private"]).unify_dictionaries().combine_chunks()
    user, track, event = (day[name].combine_chunks() for name in coded)
    codes = [
        np.frombuffer(column.indices.buffers()[1], np.int32) for column in (user, track, event)
    ]
    sound = codes[2] == event.dictionary.index("play").as_py()
    sound &= ~pc.fill_null(day["private"], False).to_numpy()
    for column in (user, track, event, day["listened_at"]):
        sound &= column.is_valid().to_numpy(zero_copy_only=False)
    return pa.table(
        {
            "user_id": pa.DictionaryArray.from_arrays(codes[0][sound], user.dictionary),
            "track_id": pa.DictionaryArray.from_arrays(codes[1][sound], track.dictionary),
            "listened_at": day["listened_at"].to_numpy()[sound],
        }
    )


def _codes(column: pa.DictionaryArray) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """The place of each value among the sorted distinct ones; and these."""
    used = np.zeros(len(column.dictionary), bool)
    codes = column.indices.to_numpy()
    used[codes] = True
    order = pc.sort_indices(column.dictionary).to_numpy()
    order = order[used[order]]
    place = np.zeros(len(used), np.int64)
    place[order] = np.arange(len(order))
    return place[codes], column.dictionary.take(pa.array(order))


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
