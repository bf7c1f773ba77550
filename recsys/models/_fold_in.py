"""Exact user factors for given item factors, and what each heard song adds to a score.

For a user with confidences ``c`` on the songs heard, the factors that minimise the objective are
``x = (Y'CY + rI)^-1 Y'c`` (Hu, Koren, Volinsky 2008, equation 4), and the score of song ``i`` is
``y_i'x = sum over j of  y_i' (Y'CY + rI)^-1 y_j c_j``: what song ``j`` adds (section 5).

The part that all users share, ``Y'Y + rI = LL'``, is taken out once: with ``Z = YL'^-1`` (the
*whitened* songs), ``V = sqrt(c - 1) Z`` of the ``n`` songs heard, and ``w = L'x``,

    w = (I + V'V)^-1 V'q = V' (I + VV')^-1 q,    q = c / sqrt(c - 1)

and a user costs a system of ``min(n, factors)`` equations that is never ill-conditioned. All in
float64, each user by itself: the result does not depend on the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky, solve_triangular
from scipy.sparse import csr_matrix

from recsys._threads import one_blas_thread, over_blocks
from recsys.errors import GateRefusedError

Floats = npt.NDArray[np.float64]

_USERS_AT_ONCE: Final = 256
_SONGS_AT_ONCE: Final = 4096
#: Contributions are compared in steps of this; what is closer is a tie.
_STEPS: Final = 1e9


@dataclass(frozen=True)
class WhitenedSongs:
    """Item factors made ready for folding users in.

    Attributes:
        songs: float64 ``[songs, factors]``, ``Z`` above.
        lower: float64 ``[factors, factors]``, ``L`` above.
        alpha: the confidence of a strength ``s`` is ``1 + alpha * s``.
    """

    songs: Floats
    lower: Floats
    alpha: float


def whiten(
    item_factors: npt.NDArray[np.floating[Any]], *, regularization: float, alpha: float
) -> WhitenedSongs:
    """Factorise what all users share; costs ``songs * factors ** 2``.

    Without regularization the shared matrix is singular where there are fewer songs than factors;
    it is then held a hair (1e-10 of its mean diagonal) above that.

    Raises:
        GateRefusedError: the item factors are not finite.
    """
    if not np.isfinite(item_factors).all():
        raise GateRefusedError(
            "The model has item factors that are not finite, so no user can be folded in. "
            "Train it again, with a higher [als] regularization or a lower alpha."
        )
    factors = item_factors.shape[1]
    shared = gram(item_factors)
    floor = max(1e-10 * np.trace(shared) / factors, np.finfo(np.float64).tiny ** 0.5)
    shared[np.diag_indices(factors)] += max(regularization, floor)
    with one_blas_thread():
        lower = cholesky(shared, lower=True)
    whitened = np.empty(item_factors.shape)

    def block(start: int, stop: int) -> None:
        songs = item_factors[start:stop].astype(np.float64)
        whitened[start:stop] = solve_triangular(lower, songs.T, lower=True).T

    for _ in over_blocks(block, len(item_factors), _SONGS_AT_ONCE):
        pass
    return WhitenedSongs(whitened, lower, alpha)


def gram(factors: npt.NDArray[np.floating[Any]]) -> Floats:
    """``F'F`` in float64, added up in one order."""
    total = np.zeros((factors.shape[1], factors.shape[1]))
    with one_blas_thread():
        for start in range(0, len(factors), _SONGS_AT_ONCE):
            block = factors[start : start + _SONGS_AT_ONCE].astype(np.float64)
            total += block.T @ block
    return total


def fold_in(songs: WhitenedSongs, strength: csr_matrix) -> Floats:
    """The exact factors of each row of ``strength``; zero for a row without any.

    Args:
        songs: from :func:`whiten`.
        strength: ``[users, songs]``, positive only.

    Returns:
        float64 ``[users, factors]``.
    """
    users = strength.shape[0]
    found = np.zeros((users, songs.songs.shape[1]))
    indptr, indices = index_arrays(strength)
    data = strength.data.astype(np.float32, copy=False)

    def block(start: int, stop: int) -> None:
        whitened = found[start:stop]
        _fold(indptr[start : stop + 1], indices, data, songs.songs, songs.alpha, whitened)
        whitened[:] = solve_triangular(songs.lower, whitened.T, lower=True, trans="T").T

    for _ in over_blocks(block, users, _USERS_AT_ONCE):
        pass
    return found


def strongest(
    songs: WhitenedSongs,
    strength: csr_matrix,
    users: npt.NDArray[np.int32],
    offsets: npt.NDArray[np.int64],
    listed: npt.NDArray[np.int32],
    *,
    among: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int64]:
    """The song held to that adds most to the score of each listed one.

    Args:
        songs: from :func:`whiten`.
        strength: ``[users, songs]``, positive only.
        users: int32 ``[n]``, rows of ``strength``.
        offsets: int64 ``[n + 1]``: the songs of ``users[k]`` are
            ``listed[offsets[k]:offsets[k + 1]]``.
        listed: int32, columns of ``strength``; -1 is passed over.
        among: bool, beside ``strength.data``: which songs may be named.

    Returns:
        int64, beside ``listed``: a position in ``strength.data``, or -1 where there is none. Ties
        go to the lower song.
    """
    found = np.full(len(listed), -1, np.int64)
    indptr, indices = index_arrays(strength)
    data = strength.data.astype(np.float32, copy=False)

    def block(start: int, stop: int) -> None:
        _attribute(
            indptr, indices, data, songs.songs, songs.alpha,
            users[start:stop], offsets[start : stop + 1], listed, among, found,
        )  # fmt: skip

    for _ in over_blocks(block, len(users), _USERS_AT_ONCE):
        pass
    return found


def contributions(
    songs: WhitenedSongs,
    strength: csr_matrix,
    user: int,
    listed: npt.NDArray[np.int32],
) -> Floats:
    """What each song that one user holds to adds to the scores of some others.

    Args:
        songs: from :func:`whiten`.
        strength: ``[users, songs]``, positive only.
        user: a row of ``strength``.
        listed: int32 ``[n]``, columns of ``strength``.

    Returns:
        float64 ``[held to, n]``, row by row beside the user's entries in ``strength``; a column
        adds up to the score of its song.
    """
    indptr, indices = index_arrays(strength)
    mine = slice(indptr[user], indptr[user + 1])
    data = strength.data[mine].astype(np.float32, copy=False)
    if not len(data):
        return np.zeros((0, len(listed)))
    with one_blas_thread():
        v, q, lower = _share(indices[mine], data, songs.songs, songs.alpha)
        parts: Floats = _added(v, q, lower, np.ascontiguousarray(songs.songs[listed].T))
    return parts


def index_arrays(matrix: csr_matrix) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """``indptr`` as int64 and ``indices`` as int32, which the compiled code is made for."""
    return (
        matrix.indptr.astype(np.int64, copy=False),
        matrix.indices.astype(np.int32, copy=False),
    )


@numba.njit(cache=True, nogil=True)
def _share(indices, data, whitened, alpha):  # type: ignore[no-untyped-def]  # pragma: no cover
    """``V``, ``q``, and the Cholesky factor of the smaller of ``I + VV'`` and ``I + V'V``."""
    heard, factors = len(indices), whitened.shape[1]
    v = np.empty((heard, factors))
    q = np.empty(heard)
    for k in range(heard):
        extra = alpha * np.float64(data[k])
        root = np.sqrt(extra)
        q[k] = (1.0 + extra) / root
        v[k] = root * whitened[indices[k]]
    system = np.dot(v, v.T) if heard < factors else np.dot(v.T, v)
    for k in range(len(system)):
        system[k, k] += 1.0
    return v, q, np.linalg.cholesky(system)


@numba.njit(cache=True, nogil=True)
def _solve(lower, columns):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Overwrite ``columns`` with ``(LL')^-1 columns``."""
    size, width = columns.shape
    for row in range(size):
        for before in range(row):
            for k in range(width):
                columns[row, k] -= lower[row, before] * columns[before, k]
        for k in range(width):
            columns[row, k] /= lower[row, row]
    for row in range(size - 1, -1, -1):
        for k in range(width):
            columns[row, k] /= lower[row, row]
        for before in range(row):
            for k in range(width):
                columns[before, k] -= lower[row, before] * columns[row, k]
    return columns


@numba.njit(cache=True, nogil=True)
def _fold(indptr, indices, data, whitened, alpha, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    for user in range(len(out)):
        start, stop = indptr[user], indptr[user + 1]
        if start == stop:
            continue
        v, q, lower = _share(indices[start:stop], data[start:stop], whitened, alpha)
        column = q.reshape(-1, 1)
        if len(q) < v.shape[1]:
            out[user] = np.dot(v.T, _solve(lower, column))[:, 0]
        else:
            out[user] = _solve(lower, np.dot(v.T, column))[:, 0]


@numba.njit(cache=True, nogil=True)
def _added(v, q, lower, targets):  # type: ignore[no-untyped-def]  # pragma: no cover
    """What each song held to adds to each column of ``targets``, which is overwritten."""
    if len(q) < v.shape[1]:
        parts = _solve(lower, np.dot(v, targets))
    else:
        parts = np.dot(v, _solve(lower, targets))
    for row in range(len(q)):
        for column in range(parts.shape[1]):
            parts[row, column] *= q[row]
    return parts


@numba.njit(cache=True, nogil=True)
def _attribute(indptr, indices, data, whitened, alpha, users, offsets, listed, among, found):  # type: ignore[no-untyped-def]  # pragma: no cover
    for k in range(len(users)):
        start, stop = indptr[users[k]], indptr[users[k] + 1]
        if start == stop or offsets[k] == offsets[k + 1]:
            continue
        v, q, lower = _share(indices[start:stop], data[start:stop], whitened, alpha)
        targets = np.zeros((v.shape[1], offsets[k + 1] - offsets[k]))
        for column in range(targets.shape[1]):
            song = listed[offsets[k] + column]
            if song >= 0:
                targets[:, column] = whitened[song]
        parts = _added(v, q, lower, targets)
        for column in range(targets.shape[1]):
            if listed[offsets[k] + column] < 0:
                continue
            best, most = -1, -np.inf
            for row in range(len(q)):
                part = np.rint(parts[row, column] * _STEPS)
                if among[start + row] and part > most:
                    best, most = start + row, part
            found[offsets[k] + column] = best
