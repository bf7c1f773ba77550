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
from recsys.models._best import Hidden, best, sampled_order
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
    order = sampled_order(lengths)
    columns, lengths = columns[order], lengths[order]
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
        own = hidden.some(np.arange(start, stop))
        places, sizes = best(mine.astype(np.float32), exact, lengths, wanted, own)
        keys = np.full((stop - start, width.max() + _MARGIN), np.iinfo(np.int64).max)
        _rescore(places, sizes, mine, exact, columns, bits, keys)
        keys.sort(axis=1)
        _unpack(keys, room[start : stop + 1], bits, songs, scores)
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
    """Fill ``keys``: the score in steps, negated, above the song; ascending is best first.

    A score is four sums side by side, then together: one order of additions.
    """
    factors = np.uintp(user_factors.shape[1])
    whole = factors // np.uintp(4) * np.uintp(4)
    products = np.empty((places.shape[1], user_factors.shape[1]))
    for user in range(len(sizes)):
        left, at, size = user_factors[user], places[user], np.uintp(sizes[user])
        for n in range(size):
            row, product = item_factors[np.uintp(at[n])], products[n]
            for k in range(factors):
                product[k] = left[k] * row[k]
        for n in range(size):
            product = products[n]
            a = b = c = d = 0.0
            for k in range(np.uintp(0), whole, np.uintp(4)):
                a += product[k]
                b += product[k + np.uintp(1)]
                c += product[k + np.uintp(2)]
                d += product[k + np.uintp(3)]
            for k in range(whole, factors):
                a += product[k]
            steps = np.int64(np.rint(((a + b) + (c + d)) * _DECIMALS))
            keys[user, n] = (-steps << bits) + song[np.uintp(at[n])]


@numba.njit(cache=True, nogil=True)
def _unpack(keys, room, bits, songs, scores):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Songs and scores of the first keys of each user, as many as there is room for."""
    for user in range(len(keys)):
        for n in range(room[user + 1] - room[user]):
            key = keys[user, n]
            songs[room[user] + n] = key & ((1 << bits) - 1)
            scores[room[user] + n] = -(key >> bits) / _DECIMALS
