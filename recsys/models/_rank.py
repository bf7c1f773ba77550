"""The best songs of every user, exactly: a float32 product to find them, float64 to order them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys._threads import over_blocks
from recsys.errors import GateRefusedError
from recsys.models._best import Hidden, best
from recsys.models._objective import index_arrays
from recsys.progress import progress

#: Users scored in one product. Constant: blocks of another height round differently.
_USERS_AT_ONCE: Final = 256
#: Songs taken beyond the limit before rescoring, so that rounding in float32 decides nothing.
_MARGIN: Final = 64
_DECIMALS: Final = 1e6


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
    users = len(user_factors)
    bits = len(allowed).bit_length()
    _check_scale(user_factors, item_factors, 2.0 ** (62 - bits) / _DECIMALS)
    columns = np.flatnonzero(allowed).astype(np.int32)
    lengths = np.sqrt(np.einsum("ij,ij->i", item_factors, item_factors, dtype=np.float64)[columns])
    longest_first = np.argsort(-lengths, kind="stable")
    columns, lengths = columns[longest_first], lengths[longest_first]
    place = np.full(len(allowed), -1, np.int32)
    place[columns] = np.arange(len(columns), dtype=np.int32)
    exact = np.ascontiguousarray(item_factors[columns], np.float32)
    nothing = csr_matrix((users, len(allowed)), dtype=bool)
    hidden = Hidden(
        place,
        columns,
        *index_arrays(excluded),
        rows,
        *index_arrays(nothing if also_excluded is None else also_excluded),
        np.arange(users, dtype=np.int32),
    )

    room = np.zeros(users + 1, np.int64)
    np.cumsum(np.minimum(limits, len(columns)), out=room[1:])
    songs = np.empty(room[-1], np.int32)
    scores = np.empty(room[-1], np.float64)
    taken = np.zeros(users, np.int64)

    def block(start: int, stop: int) -> None:
        width = np.diff(room[start : stop + 1])
        if not width.any():
            return
        mine = user_factors[start:stop]
        wanted = np.where(width > 0, width + _MARGIN, 0)
        own = hidden.of(np.arange(start, stop))
        places, sizes = best(mine.astype(np.float32), exact, lengths, wanted, own)
        keys = np.full((stop - start, width.max() + _MARGIN), np.iinfo(np.int64).max)
        _rescore(places, sizes, mine, exact, columns, bits, keys)
        keys.sort(axis=1)
        first = keys[:, : width.max()][np.arange(width.max()) < width[:, None]]
        songs[room[start] : room[stop]] = first & ((1 << bits) - 1)
        scores[room[start] : room[stop]] = -(first >> bits) / _DECIMALS
        taken[start:stop] = np.minimum(sizes, width)

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
def _rescore(places, sizes, user_factors, item_factors, song, bits, keys):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Fill ``keys``: the score in steps, negated, above the song; ascending is best first."""
    for user in range(len(sizes)):
        left, size = user_factors[user], sizes[user]
        for k in range(0, size, 2):  # two at a time: one waits while the other is added up
            both = min(k + 1, size - 1)
            scores = _dots(left, item_factors[places[user, k]], item_factors[places[user, both]])
            for at, score in ((k, scores[0]), (both, scores[1])):
                keys[user, at] = (-np.int64(np.rint(score * _DECIMALS)) << bits) + song[
                    places[user, at]
                ]


@numba.njit(cache=True, nogil=True)
def _dots(left, one, other):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Two products, each as four sums side by side, then together: one order of additions."""
    a = b = c = d = e = f = g = h = 0.0
    whole = len(left) // 4 * 4
    for k in range(0, whole, 4):
        a += left[k] * one[k]
        b += left[k + 1] * one[k + 1]
        c += left[k + 2] * one[k + 2]
        d += left[k + 3] * one[k + 3]
        e += left[k] * other[k]
        f += left[k + 1] * other[k + 1]
        g += left[k + 2] * other[k + 2]
        h += left[k + 3] * other[k + 3]
    for k in range(whole, len(left)):
        a += left[k] * one[k]
        e += left[k] * other[k]
    return (a + b) + (c + d), (e + f) + (g + h)
