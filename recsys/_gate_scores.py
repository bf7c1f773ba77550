"""What the playlist gate asks of the scores: that the model gave them, to this listener.

A list can keep every other rule and still be somebody else's: reasons are looked for among what its
owner heard, whoever the songs were meant for. The model's factors say whose it is. They are read
from the artefact, by user id and song key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from recsys._gate_spares import LARGEST_SCORE
from recsys._tables import stream
from recsys.verdict import MOST_SAMPLES, Check

#: How far a score may lie from the product of its factors; scores are rounded to 6 decimals.
TOLERANCE: Final = 1e-5

#: Scores that are no numbers, and tracks that the catalogue does not know, have their own checks.
_SCORED: Final = f"""
    WITH scored AS (
        SELECT no, false AS spare, place, track, song, score FROM slot WHERE source = 'als'
        UNION ALL
        SELECT no, true, nth, track, song, score FROM spare WHERE source = 'als'
    )
    SELECT user_id, spare, place, track_id, score, user_row, song_row
    FROM scored JOIN list USING (no) JOIN track USING (track)
    LEFT JOIN user_factors USING (user_id)
    LEFT JOIN (
        SELECT DISTINCT song, song_row FROM track
        JOIN catalogue USING (track_id) JOIN song_factors USING (song_key)
    ) AS factors ON scored.song = factors.song
    WHERE isfinite(score) AND abs(score) < {LARGEST_SCORE}
    ORDER BY no, spare, place"""


class Factors(NamedTuple):
    """The factors of a model, and whose they are.

    Attributes:
        user_ids: string, beside ``users``.
        users: float64 ``[users, factors]``.
        song_keys: string, beside ``songs``.
        songs: ``[songs, factors]``.
    """

    user_ids: pa.Array | pa.ChunkedArray
    users: npt.NDArray[np.floating[Any]]
    song_keys: pa.Array | pa.ChunkedArray
    songs: npt.NDArray[np.floating[Any]]


def read_factors(model: Path) -> Factors:
    """The factors in a folder that :func:`recsys.models.save` wrote; those of users stay there."""
    return Factors(
        pq.read_table(model / "users.parquet")["user_id"],
        np.load(model / "user_factors.npy", mmap_mode="r", allow_pickle=False),
        pq.read_table(model / "songs.parquet")["song_key"],
        np.load(model / "item_factors.npy", allow_pickle=False),
    )


def check_scores(connection: duckdb.DuckDBPyConnection, factors: Factors) -> Check:
    """Hold the score of every track and spare of the model against the factors.

    Args:
        connection: with the tables of :mod:`recsys._gate_tables`.
        factors: of the model.
    """
    for table, name, ids in (
        ("user_factors", "user_id", factors.user_ids),
        ("song_factors", "song_key", factors.song_keys),
    ):
        rows = pa.array(range(len(ids)), pa.int64())
        connection.register(table, pa.table({name: ids, f"{name.split('_')[0]}_row": rows}))
    users, songs = factors.users, factors.songs.astype(np.float64)
    found, samples = 0, list[dict[str, Any]]()
    for batch in stream(connection, _SCORED):
        given = batch["score"].to_numpy()
        expected = _products(users, songs, batch["user_row"], batch["song_row"])
        wrong = np.flatnonzero(~(np.abs(given - expected) <= TOLERANCE))
        found += len(wrong)
        for n in wrong[: MOST_SAMPLES - len(samples)].tolist():
            row = {name: batch[name][n].as_py() for name in _SAMPLED}
            theirs = float(expected[n])
            samples.append({**row, "model": theirs if np.isfinite(theirs) else None})
    return Check(
        "scores_given", not found, found,
        "0 scores that the model does not give this listener", tuple(samples),
    )  # fmt: skip


_SAMPLED: Final = ("user_id", "spare", "place", "track_id", "score")


def _products(
    users: npt.NDArray[np.floating[Any]],
    songs: npt.NDArray[np.float64],
    user_row: pa.Array,
    song_row: pa.Array,
) -> npt.NDArray[np.float64]:
    """The product of each pair of rows; nan where the model does not know one of them."""
    known = user_row.is_valid().to_numpy(False) & song_row.is_valid().to_numpy(False)
    mine = users[user_row.fill_null(0).to_numpy()[known]].astype(np.float64)
    its = songs[song_row.fill_null(0).to_numpy()[known]]
    products = np.full(len(known), np.nan)
    products[known] = np.einsum("ij,ij->i", mine, its)
    return products
