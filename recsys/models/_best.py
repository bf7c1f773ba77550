"""The places of the largest scores, found while the product of the factors is made.

The product is made in tiles of users by songs that stay in a core's own cache. A score that lies
above the user's threshold is kept, with its place; the threshold comes from a sample of the songs,
and rises whenever the room for kept ones is full. So a score is written and read once, and never
leaves the cache.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

#: Songs in a tile: with 256 users, a megabyte of scores. A multiple of a word.
_SONGS_AT_ONCE: Final = 1024
_SAMPLED_EVERY: Final = 32
#: Scores kept for a user until the best of them are picked, times those that are wanted.
_ROOM: Final = 4
#: Comparisons that are looked at together, as one number: nearly all are zero.
_WORD: Final = 8


class Hidden(NamedTuple):
    """The songs that each user must not get: rows of two CSR matrices.

    Attributes:
        place: int32 ``[columns of the matrices]``, the place of each among the songs that are
            ranked; -1 for those that are not.
        indptr: int64, of the one; ``indices`` int32 and ``rows`` int32 ``[users]`` beside it.
        more_indptr: of the other, with ``more_indices`` and ``more_rows``.
    """

    place: npt.NDArray[np.int32]
    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    rows: npt.NDArray[np.int32]
    more_indptr: npt.NDArray[np.int64]
    more_indices: npt.NDArray[np.int32]
    more_rows: npt.NDArray[np.int32]

    def of(self, users: npt.NDArray[np.intp]) -> Hidden:
        """What is hidden from some of the users."""
        return self._replace(rows=self.rows[users], more_rows=self.more_rows[users])


def best(
    users: npt.NDArray[np.float32],
    songs: npt.NDArray[np.float32],
    counts: npt.NDArray[np.int64],
    hidden: Hidden,
    *,
    sampled: bool = True,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """The places of the largest products of each user; equal ones by place.

    Args:
        users: ``[users, factors]``.
        songs: ``[songs, factors]``.
        counts: how many for each user; of those that are not hidden.
        hidden: what must not be among them.
        sampled: whether a sample of the songs says where to begin.

    Returns:
        ``[users, most]`` places, ascending, and how many of each row are meant.
    """
    most = _ROOM * int(counts.max()) + _SONGS_AT_ONCE
    values = np.empty((len(users), most), np.float32)
    places = np.empty((len(users), most), np.int32)
    sizes = np.zeros(len(users), np.int64)
    mark = np.zeros(len(songs), np.bool_)
    least = np.where(counts > 0, np.float32(-np.inf), np.float32(np.inf))
    if sampled:
        _begin(users @ songs[::_SAMPLED_EVERY].T, counts, hidden, least)
    begun = least.copy()
    tile = np.empty((len(users), _SONGS_AT_ONCE), np.float32)
    for first in range(0, len(songs), _SONGS_AT_ONCE):
        some = songs[first : first + _SONGS_AT_ONCE]
        np.matmul(users, some.T, out=tile[:, : len(some)])
        _keep(tile, len(some), first, counts, hidden, mark, least, values, places, sizes)
    _close(counts, hidden, mark, values, places, sizes)
    short = np.flatnonzero((sizes < counts) & (begun > -np.inf))
    if len(short):  # their sample was better than the rest
        again, sizes[short] = best(
            users[short], songs, counts[short], hidden.of(short), sampled=False
        )
        places[short] = again
    return places, sizes


@numba.njit(cache=True, nogil=True)
def _begin(sample, counts, hidden, least):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Thresholds that most likely leave a few more than ``counts``."""
    for user in range(len(sample)):
        expected = counts[user] / _SAMPLED_EVERY
        nth = int(expected + 3 * np.sqrt(expected)) + 1
        if counts[user] == 0 or nth >= sample.shape[1]:
            continue
        row = sample[user]
        _hide(row, hidden.place, hidden.indptr, hidden.indices, hidden.rows[user])
        _hide(row, hidden.place, hidden.more_indptr, hidden.more_indices, hidden.more_rows[user])
        least[user] = _nth_largest(row, nth)


@numba.njit(cache=True, nogil=True)
def _hide(row, place, indptr, indices, of):  # type: ignore[no-untyped-def]  # pragma: no cover
    for song in indices[indptr[of] : indptr[of + 1]]:
        at = place[song]
        if at >= 0 and at % _SAMPLED_EVERY == 0:
            row[at // _SAMPLED_EVERY] = -np.inf


@numba.njit(cache=True, nogil=True)
def _keep(tile, width, first, counts, hidden, mark, least, values, places, sizes):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Keep the scores of a tile that are above the users' thresholds."""
    above = np.zeros(_SONGS_AT_ONCE, np.uint8)
    words = above.view(np.uint64)
    hits = np.empty(len(words) + 1, np.int64)
    for user in range(len(tile)):
        size = sizes[user]
        if size + _SONGS_AT_ONCE > values.shape[1]:
            size, reached = _pick(user, size, counts[user], hidden, mark, values, places)
            least[user] = max(reached, least[user])
        threshold, row = least[user], tile[user]
        for k in range(width):
            above[k] = row[k] > threshold
        found = 0
        for word in range(len(words)):
            hits[found] = word * _WORD
            found += words[word] != 0
        # No branch to mispredict: always written, and gone on where it counts.
        for hit in hits[:found]:
            for k in range(hit, min(hit + _WORD, width)):
                values[user, size] = row[k]
                places[user, size] = first + k
                size += above[k]
        sizes[user] = size


@numba.njit(cache=True, nogil=True)
def _close(counts, hidden, mark, values, places, sizes):  # type: ignore[no-untyped-def]  # pragma: no cover
    for user in range(len(sizes)):
        sizes[user], _ = _pick(user, sizes[user], counts[user], hidden, mark, values, places)


@numba.njit(cache=True, nogil=True)
def _pick(user, size, count, hidden, mark, values, places):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Leave the largest ``count`` that are not hidden; returns how many, and the least of them.

    Of equal ones the first places stay. The least is -inf while there are fewer than ``count``.
    """
    value, at = values[user], places[user]
    _mark(mark, hidden, user, True)
    left = 0
    for k in range(size):
        value[left], at[left] = value[k], at[k]
        left += not mark[at[k]]
    _mark(mark, hidden, user, False)
    if left < count:
        return left, np.float32(-np.inf)
    least = _nth_largest(value[:left].copy(), count)
    equal = count - (value[:left] > least).sum()
    kept = 0
    for k in range(left):
        tie = value[k] == least and equal > 0
        equal -= tie
        keep = tie or value[k] > least
        value[kept], at[kept] = value[k], at[k]
        kept += keep
    return kept, least


@numba.njit(cache=True, nogil=True)
def _mark(mark, hidden, user, value):  # type: ignore[no-untyped-def]  # pragma: no cover
    own, more = hidden.rows[user], hidden.more_rows[user]
    for song in hidden.indices[hidden.indptr[own] : hidden.indptr[own + 1]]:
        if hidden.place[song] >= 0:
            mark[hidden.place[song]] = value
    for song in hidden.more_indices[hidden.more_indptr[more] : hidden.more_indptr[more + 1]]:
        if hidden.place[song] >= 0:
            mark[hidden.place[song]] = value


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
