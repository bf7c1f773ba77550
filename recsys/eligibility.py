"""Who gets a playlist, and which songs may not be in it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit
from scipy.sparse import csr_matrix

from recsys import columns as c
from recsys._pipelined import ahead
from recsys._tables import encoded_batches_of
from recsys.matrix import TasteMatrix

_TRACK_ID: Final = f"{c.TRACKS}.list.element.{c.TRACK_ID}"


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
    matrix: TasteMatrix, users: npt.NDArray[np.int32], editions: Sequence[Path]
) -> csr_matrix:
    """The songs that each user got in earlier editions.

    Args:
        matrix: this week's.
        users: rows of the matrix, ascending.
        editions: playlists files (:data:`recsys.schemas.PLAYLISTS`).

    Returns:
        bool ``[len(users), songs]``, one row per entry of ``users``.
    """
    shape = (len(users), len(matrix.songs))
    named = matrix.users[c.USER_ID].take(pa.array(users))
    listeners, songs = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
    for edition in editions:
        for batch in ahead(encoded_batches_of(edition, [c.USER_ID, _TRACK_ID], [_TRACK_ID])):
            lists = batch[c.TRACKS]
            row = _places(batch[c.USER_ID], named)
            track = lists.flatten().field(c.TRACK_ID)
            known = _places(track.dictionary, matrix.tracks[c.TRACK_ID])
            song = np.where(known < 0, -1, matrix.tracks["song"].to_numpy()[known])
            got = song[track.indices.to_numpy()].astype(np.int32)
            who = np.repeat(row, pc.fill_null(pc.list_value_length(lists), 0).to_numpy())
            both = (got >= 0) & (who >= 0)
            listeners.append(who[both])
            songs.append(got[both])
    indptr, once = _in_rows(np.concatenate(listeners), np.concatenate(songs), len(users))
    return csr_matrix((np.ones(len(once), bool), once, indptr), shape)


def _places(values: pa.Array, among: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    """Where each value is; -1 for nowhere."""
    found: npt.NDArray[np.int32] = pc.fill_null(pc.index_in(values, among), -1).to_numpy()
    return found


@njit(cache=True, nogil=True)
def _in_rows(rows, columns, height):  # type: ignore[no-untyped-def]  # pragma: no cover
    """CSR of some pairs, each once: ``indptr`` and the columns of each row, ascending."""
    ends = np.zeros(height + 1, np.int64)
    for row in rows:
        ends[row + 1] += 1
    ends = np.cumsum(ends)
    sorted_in = np.empty(len(columns), np.int32)
    at = ends[:-1].copy()
    for n in range(len(rows)):
        sorted_in[at[rows[n]]] = columns[n]
        at[rows[n]] += 1
    indptr, kept = np.zeros(height + 1, np.int64), 0
    for row in range(height):
        begin = kept
        for column in np.sort(sorted_in[ends[row] : ends[row + 1]]):
            if kept == begin or sorted_in[kept - 1] != column:
                sorted_in[kept] = column
                kept += 1
        indptr[row + 1] = kept
    return indptr, sorted_in[:kept].copy()
