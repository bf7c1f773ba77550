"""The best songs of every user, exactly: a float32 product to find them, float64 to order them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys._threads import over_blocks
from recsys.errors import GateRefusedError
from recsys.models._objective import index_arrays
from recsys.progress import progress

#: Users scored in one product. Constant: blocks of another height round differently.
_USERS_AT_ONCE: Final = 128
#: Songs taken beyond the limit before rescoring, so that rounding in float32 decides nothing.
_MARGIN: Final = 64
_DECIMALS: Final = 1e6
_SAMPLED_EVERY: Final = 32


@dataclass(frozen=True)
class Ranking:
    """Ranked songs of some users.

    Attributes:
        offsets: int64 ``[users + 1]``: user ``k`` has ``songs[offsets[k]:offsets[k + 1]]``.
        songs: int32, best first; equal scores by song.
        scores: float64, beside ``songs``, rounded to 6 decimals.
    """

    offsets: npt.NDArray[np.int64]
    songs: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float64]


def rank(
    user_factors: npt.NDArray[np.float64],
    item_factors: npt.NDArray[np.floating[Any]],
    *,
    limits: npt.NDArray[np.int64],
    allowed: npt.NDArray[np.bool_],
    excluded: csr_matrix,
    rows: npt.NDArray[np.int32],
    also_excluded: csr_matrix | None = None,
    what: str = "Ranking songs",
) -> Ranking:
    """Rank songs by the product of the factors, without what a user must not get.

    What is excluded is out before the cut, so a user has fewer than the limit only where fewer are
    left; there is no padding. Scores are added up in float64 in the order of the factors, rounded,
    and then ordered: the same bytes for any number of threads. Memory: 12 bytes a ranked song, and
    a block of scores a thread.

    Args:
        user_factors: float64 ``[users, factors]``.
        item_factors: ``[songs, factors]``.
        limits: int64 ``[users]``: at most so many songs for each.
        allowed: bool ``[songs]``: songs that anybody may get.
        excluded: ``[any, songs]``, its stored entries are excluded.
        rows: int32 ``[users]``: the row of ``excluded`` of each user.
        also_excluded: ``[users, songs]``, as ``excluded`` but row by row beside ``user_factors``.
        what: what is being done, for the progress bar.
    """
    users, factors = user_factors.shape
    columns = np.flatnonzero(allowed).astype(np.int32)
    bits = len(columns).bit_length()
    _check_scale(user_factors, item_factors, 2.0 ** (62 - bits) / _DECIMALS)
    place = np.full(len(allowed), -1, np.int32)
    place[columns] = np.arange(len(columns), dtype=np.int32)
    exact = np.ascontiguousarray(item_factors[columns], np.float32)
    masks = index_arrays(excluded)
    nothing = csr_matrix((users, len(allowed)), dtype=bool)
    more = index_arrays(nothing if also_excluded is None else also_excluded)

    room = np.zeros(users + 1, np.int64)
    np.cumsum(np.minimum(limits, len(columns)), out=room[1:])
    songs = np.empty(room[-1], np.int32)
    scores = np.empty(room[-1], np.float64)
    taken = np.zeros(users, np.int64)
    own = threading.local()

    def block(start: int, stop: int) -> None:
        width = np.diff(room[start : stop + 1])
        if not width.any():
            return
        if not hasattr(own, "scores"):
            own.left = np.zeros((_USERS_AT_ONCE, factors), np.float32)
            own.scores = np.empty((_USERS_AT_ONCE, len(columns)), np.float32)
        own.left[: stop - start] = user_factors[start:stop]
        np.matmul(own.left, exact.T, out=own.scores)
        for entries, first in ((masks, rows[start:stop]), (more, np.arange(start, stop))):
            _hide(own.scores, place, *entries, first)
        keys = np.full((stop - start, width.max() + _MARGIN), np.iinfo(np.int64).max)
        found = np.minimum(
            _pick(own.scores, width, user_factors[start:stop], exact, bits, keys), width
        )
        keys.sort(axis=1)
        best = keys[:, : width.max()][np.arange(width.max()) < width[:, None]]
        songs[room[start] : room[stop]] = columns.take(best & ((1 << bits) - 1), mode="clip")
        scores[room[start] : room[stop]] = -(best >> bits) / _DECIMALS
        taken[start:stop] = found

    blocks = over_blocks(block, users, _USERS_AT_ONCE)
    for _ in progress(blocks, what, -(-users // _USERS_AT_ONCE)):
        pass
    return _close_gaps(room, taken, songs, scores)


def _check_scale(
    user_factors: npt.NDArray[np.float64],
    item_factors: npt.NDArray[np.floating[Any]],
    largest: float,
) -> None:
    """Refuse factors whose scores could leave the range that is ordered exactly."""
    longest = 1.0
    for factors in (user_factors, item_factors):
        squares = np.einsum("ij,ij->i", factors, factors, dtype=np.float64)
        longest *= np.sqrt(squares.max(initial=0.0))
    if not longest < largest:
        raise GateRefusedError(
            f"Scores could be as large as {longest:.3g}, and the largest that can be ranked is "
            f"{largest:.3g}: the model's factors have exploded. Train it again, cold, with a "
            "higher [als] regularization."
        )


def _close_gaps(
    room: npt.NDArray[np.int64],
    taken: npt.NDArray[np.int64],
    songs: npt.NDArray[np.int32],
    scores: npt.NDArray[np.float64],
) -> Ranking:
    if taken.sum() == len(songs):
        return Ranking(room, songs, scores)
    offsets = np.zeros_like(room)
    np.cumsum(taken, out=offsets[1:])
    width = np.diff(room)
    full = np.arange(len(songs)) - np.repeat(room[:-1], width) < np.repeat(taken, width)
    return Ranking(offsets, songs[full], scores[full])


@numba.njit(cache=True, nogil=True)
def _hide(scores, place, indptr, indices, rows):  # type: ignore[no-untyped-def]  # pragma: no cover
    for user in range(len(rows)):
        for song in indices[indptr[rows[user]] : indptr[rows[user] + 1]]:
            if place[song] >= 0:
                scores[user, place[song]] = -np.inf


@numba.njit(cache=True, nogil=True)
def _pick(scores, width, user_factors, item_factors, bits, keys):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Fill ``keys``: the score in steps, negated, above the place; ascending is best first."""
    found = np.zeros(len(width), np.int64)
    places = np.empty(scores.shape[1] + 1, np.int32)
    for user in range(len(width)):
        if width[user] == 0:
            continue
        size = _top(scores[user], width[user] + _MARGIN, places)
        for k in range(size):
            score = _dot(user_factors[user], item_factors[places[k]])
            keys[user, k] = (-np.int64(np.rint(score * _DECIMALS)) << bits) + places[k]
        found[user] = size
    return found


@numba.njit(cache=True, nogil=True)
def _top(row, count, places):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Put the places of the ``count`` largest finite values into ``places``; return how many.

    Ascending; among equals the first places. A sample sets a threshold that most likely leaves a
    few more than ``count``; where it leaves fewer, all are looked at.
    """
    expected = count / _SAMPLED_EVERY
    nth = int(expected + 3 * np.sqrt(expected)) + 1
    sample = row[::_SAMPLED_EVERY].copy()
    size = 0
    if nth < len(sample):
        size = _above(row, _nth_largest(sample, nth), places)
    if size < count:
        size = _above(row, np.float32(-np.inf), places)
    if size <= count:
        return size
    values = row[places[:size]]
    threshold = _nth_largest(values.copy(), count)
    equal = count - (values > threshold).sum()
    kept = 0
    for k in range(size):
        tie = values[k] == threshold and equal > 0
        equal -= tie
        places[kept] = places[k]
        kept += tie or values[k] > threshold
    return kept


@numba.njit(cache=True, nogil=True)
def _above(row, threshold, places):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Without a branch to mispredict: always write, and go on where it counts."""
    size = 0
    for place in range(len(row)):
        places[size] = place
        size += row[place] > threshold
    return size


@numba.njit(cache=True, nogil=True)
def _nth_largest(values, nth):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Quickselect (Hoare 1961), in place."""
    low, high, target = 0, len(values) - 1, nth - 1
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if target <= right:
            high = right
        elif target >= left:
            low = left
        else:
            break
    return values[target]


@numba.njit(cache=True, nogil=True)
def _dot(left, right):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Four sums side by side, then together: one order, and no waiting for the last addition."""
    a = b = c = d = 0.0
    whole = len(left) // 4 * 4
    for k in range(0, whole, 4):
        a += left[k] * right[k]
        b += left[k + 1] * right[k + 1]
        c += left[k + 2] * right[k + 2]
        d += left[k + 3] * right[k + 3]
    for k in range(whole, len(left)):
        a += left[k] * right[k]
    return (a + b) + (c + d)
