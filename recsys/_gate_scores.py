"""What the playlist gate asks of the scores: that the model gave them, to this listener.

A list can keep every other rule and still be somebody else's: reasons are looked for among what its
owner heard, whoever the songs were meant for. The model's factors say whose it is. They are read
from the artefact, by user id and song key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from recsys._gate_spares import LARGEST_SCORE
from recsys._tables import arrow, stream
from recsys.verdict import MOST_SAMPLES, Check

#: How far a score may lie from the product of its factors; scores are rounded to 6 decimals.
TOLERANCE: Final = 1e-5

#: Name of the check -> what may not be there.
LIMIT: Final = {"scores_given": "scores that the model does not give this listener"}

#: Scores that are no numbers, and tracks that the catalogue does not know, have their own checks.
_SCORED: Final = f"""
    FROM (
        SELECT no, false AS spare, place, track, song, score FROM slot WHERE source = 'als'
        UNION ALL
        SELECT no, true, nth, track, song, score FROM spare WHERE source = 'als'
    )
    WHERE track IS NOT NULL AND isfinite(score) AND abs(score) < {LARGEST_SCORE}"""

_USER_ROWS: Final = "SELECT no, row FROM list JOIN user_factors USING (user_id)"
_SONG_ROWS: Final = """
    SELECT DISTINCT song, row FROM track
    JOIN catalogue USING (track_id) JOIN song_factors USING (song_key)"""
_NAMES: Final = """
    SELECT user_id, spare, place, track_id, score, model
    FROM wrong JOIN list USING (no) JOIN track USING (track) ORDER BY no, spare, place"""


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
        connection.register(table, pa.table({name: ids, "row": rows}))
    user_row = _by_number(connection, "list", "no", _USER_ROWS)
    song_row = _by_number(connection, "track", "song", _SONG_ROWS)
    users, songs = factors.users, factors.songs.astype(np.float64)
    found = 0
    wrong = list[pa.Table]()
    for batch in stream(connection, _SCORED):
        mine = user_row[batch["no"].to_numpy()]
        its = song_row[batch["song"].to_numpy()]
        expected = np.full(len(batch), np.nan)
        _products(np.asarray(users), songs, mine, its, expected)
        off = np.flatnonzero(~(np.abs(batch["score"].to_numpy() - expected) <= TOLERANCE))
        if len(off):
            found += len(off)
            theirs = expected[off]
            model = pa.array(theirs, mask=~np.isfinite(theirs))
            some = pa.Table.from_batches([batch]).take(pa.array(off)).append_column("model", model)
            first = pa.concat_tables([*wrong, some]).sort_by([(n, "ascending") for n in _PLACE])
            wrong = [first.slice(0, MOST_SAMPLES)]
    samples = ()
    if wrong:
        connection.register("wrong", wrong[0])
        samples = tuple(arrow(connection, _NAMES).to_pylist())
    ((name, limit),) = LIMIT.items()
    return Check(name, not found, found, f"0 {limit}", samples)


_PLACE: Final = ("no", "spare", "place")


def _by_number(
    connection: duckdb.DuckDBPyConnection, table: str, number: str, query: str
) -> npt.NDArray[np.int64]:
    """The row of the factors by a number of ``table``; -1 where the model knows none."""
    ((most,),) = connection.execute(f"SELECT coalesce(max({number}), -1) FROM {table}").fetchall()
    rows = np.full(most + 1, -1)
    known = arrow(connection, query)
    rows[known[number].to_numpy()] = known["row"].to_numpy()
    return rows


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _products(users, songs, user_row, song_row, products):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The product of each pair of rows; left as it is where the model does not know one of them."""
    for n in range(len(products)):
        if user_row[n] >= 0 and song_row[n] >= 0:
            total = 0.0
            for k in range(songs.shape[1]):
                total += users[user_row[n], k] * songs[song_row[n], k]
            products[n] = total
