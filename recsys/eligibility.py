"""Who gets a playlist, and which songs may not be in it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from recsys._tables import arrow, database, read_parquet
from recsys.matrix import TasteMatrix


def eligible_users(matrix: TasteMatrix) -> npt.NDArray[np.int32]:
    """The rows of the eligible users, ascending, int32."""
    return np.flatnonzero(matrix.users["eligible"].to_numpy()).astype(np.int32)


def barred_songs(matrix: TasteMatrix, blocked: Collection[str]) -> npt.NDArray[np.bool_]:
    """Songs that nobody may get: no track of theirs is available, or one of theirs is blocked.

    Returns:
        bool ``[songs]``.
    """
    barred: npt.NDArray[np.bool_] = ~matrix.songs["available"].to_numpy()
    named = pc.is_in(matrix.tracks["track_id"], pa.array(sorted(blocked), pa.string()))
    barred[matrix.tracks["song"].filter(named).to_numpy()] = True
    return barred


def cooling_songs(
    matrix: TasteMatrix,
    users: npt.NDArray[np.int32],
    editions: Sequence[Path],
    *,
    spill: Path,
) -> csr_matrix:
    """The songs that each user got in earlier editions.

    Args:
        matrix: this week's.
        users: rows of the matrix, ascending.
        editions: playlists files (:data:`recsys.schemas.PLAYLISTS`).
        spill: a folder for what does not fit into memory.

    Returns:
        bool ``[len(users), songs]``, one row per entry of ``users``.
    """
    shape = (len(users), len(matrix.songs))
    if not editions or not len(users):
        return csr_matrix(shape, dtype=bool)
    with database(spill) as connection:
        named = matrix.users.take(pa.array(users)).select(["user_id"])
        rows = pa.array(np.arange(len(users)), pa.int32())
        connection.register("listener", named.append_column("listener", rows))
        connection.register("track", matrix.tracks)
        pairs = arrow(
            connection,
            f"""
            SELECT DISTINCT listener, song
            FROM (SELECT user_id, unnest(tracks).track_id AS track_id
                  FROM {read_parquet(editions)})
            JOIN listener USING (user_id) JOIN track USING (track_id)
            ORDER BY listener, song
            """,
        )
    indptr = np.zeros(shape[0] + 1, np.int64)
    np.cumsum(np.bincount(pairs["listener"].to_numpy(), minlength=shape[0]), out=indptr[1:])
    songs = pairs["song"].to_numpy()
    return csr_matrix((np.ones(len(songs), bool), songs, indptr), shape)
