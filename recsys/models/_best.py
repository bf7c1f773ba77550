"""The places of the largest scores, found while the product of the factors is made.

The product is made in tiles of users by songs that stay in a core's own cache. A score that reaches
the user's threshold, the least of the best so far, is kept with its place. Songs come by descending
length of their factors: a product is never larger than the product of the lengths (Cauchy and
Schwarz), so a user whose threshold lies above that is done with all that follow (LEMP: Teflioudi,
Gemulla and Mykytiuk 2015). What is passed over could not have been among the best.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

#: Songs in a tile: with 256 users, a megabyte of scores. A multiple of a word.
_SONGS_AT_ONCE: Final = 1024
#: Kept scores are picked from when there are so many times those that are wanted.
_ROOM: Final = 2
#: By what share a product of float32 may lie above that of the lengths.
_SLACK: Final = 1e-4
#: Comparisons that are looked at together, as one number: nearly all are zero.
_WORD: Final = 8


class Hidden(NamedTuple):
    """The songs that each user must not get: rows of two CSR matrices.

    Attributes:
        place: int32 ``[columns of the matrices]``, the place of each among the songs that are
            ranked; -1 for those that are not.
        song: int32 ``[ranked]``, the column at each place.
        indptr: int64, of the one; ``indices`` int32 and ``rows`` int32 ``[users]`` beside it.
        more_indptr: of the other, with ``more_indices`` and ``more_rows``.
    """

    place: npt.NDArray[np.int32]
    song: npt.NDArray[np.int32]
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
    lengths: npt.NDArray[np.float64],
    counts: npt.NDArray[np.int64],
    hidden: Hidden,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """The places of the largest products of each user, in no order; of equal ones the lower songs.

    Args:
        users: ``[users, factors]``.
        songs: ``[songs, factors]``, the longest first.
        lengths: float64 ``[songs]``, their Euclidean lengths.
        counts: how many for each user; of those that are not hidden.
        hidden: what must not be among them.

    Returns:
        ``[users, most]`` places, and how many of each row are meant.
    """
    most = _ROOM * int(counts.max()) + _SONGS_AT_ONCE
    values = np.empty((len(users), most), np.float32)
    places = np.empty((len(users), most), np.int32)
    sizes = np.zeros(len(users), np.int64)
    mark = np.zeros(len(songs), np.bool_)
    least = np.full(len(users), -np.inf, np.float32)
    reach = np.linalg.norm(users.astype(np.float64), axis=1) * (1 + _SLACK)
    going = np.flatnonzero(counts)
    left = users[going]
    tile = np.empty((len(users), _SONGS_AT_ONCE), np.float32)
    for first in range(0, len(songs), _SONGS_AT_ONCE):
        reached = reach[going] * lengths[first] >= least[going]
        if not reached.all():
            going = going[reached]
            left = users[going]
        if not len(going):
            break
        some = songs[first : first + _SONGS_AT_ONCE]
        np.matmul(left, some.T, out=tile[: len(going), : len(some)])
        _keep(tile, going, len(some), first, counts, hidden, mark, least, values, places, sizes)
    _close(counts, hidden, mark, values, places, sizes)
    return places, sizes


@numba.njit(cache=True, nogil=True)
def _keep(tile, going, width, first, counts, hidden, mark, least, values, places, sizes):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Keep the scores of a tile that reach the users' thresholds."""
    enough = np.zeros(_SONGS_AT_ONCE, np.uint8)
    words = enough.view(np.uint64)
    hits = np.empty(len(words) + 1, np.int64)
    for n in range(len(going)):
        user, row = going[n], tile[n]
        size, threshold = sizes[user], least[user]
        for k in range(width):
            enough[k] = row[k] >= threshold
        found = 0
        for word in range(len(words)):
            hits[found] = word * _WORD
            found += words[word] != 0
        # No branch to mispredict: always written, and gone on where it counts.
        for hit in hits[:found]:
            for k in range(hit, min(hit + _WORD, width)):
                values[user, size] = row[k]
                places[user, size] = first + k
                size += enough[k]
        if size >= _ROOM * counts[user]:
            size, reached = _pick(user, size, counts[user], hidden, mark, values, places)
            least[user] = max(reached, threshold)
        sizes[user] = size


@numba.njit(cache=True, nogil=True)
def _close(counts, hidden, mark, values, places, sizes):  # type: ignore[no-untyped-def]  # pragma: no cover
    for user in range(len(sizes)):
        sizes[user], _ = _pick(user, sizes[user], counts[user], hidden, mark, values, places)


@numba.njit(cache=True, nogil=True)
def _pick(user, size, count, hidden, mark, values, places):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Leave the largest ``count`` that are not hidden; returns how many, and the least of them.

    Of equal ones the lower songs stay. The least is -inf while there are fewer than ``count``.
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
    equal = value[:left] == least
    room = count - (value[:left] > least).sum()
    last = -_nth_largest(-hidden.song[at[:left][equal]], room)
    kept = 0
    for k in range(left):
        keep = value[k] > least or (equal[k] and hidden.song[at[k]] <= last)
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
