"""The places of the largest scores, found while the product of the factors is made.

The product is made in tiles of users by songs that stay in a core's own cache. A score that reaches
the user's threshold is kept with its place. The first tile is a sample of all songs: from it each
threshold is guessed, such that a few more songs than are wanted will reach it; later it is the
least of the best so far. Where too few reached the guess, which is rare, the user's products are
made again without one.

Behind the sample, songs come by descending length of their factors: a product is never larger than
the product of the lengths (Cauchy and Schwarz), so a user whose threshold lies above that is done
with all that follow (LEMP: Teflioudi, Gemulla and Mykytiuk 2015). What is passed over could not
have been among the best.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

#: Songs in a tile: with 256 users, a megabyte of scores. A multiple of a word.
_SONGS_AT_ONCE: Final = 1024
#: Kept scores are picked from when there are so many times those that are wanted.
_ROOM: Final = 3
#: Songs in so many tiles at least are worth a sample.
_TILES_SAMPLED: Final = 4
#: By how many standard deviations more songs should reach a guess than are wanted.
_SURE: Final = 4.0
#: By what share a product of float32 may lie above that of the lengths.
_SLACK: Final = 1e-4
#: Comparisons that are looked at together, as one number: nearly all are zero.
_WORD: Final = 8
#: Bins that scores are counted into to find the so-manieth, and the most of them to one unit.
_BINS: Final = 256
_STEEPEST: Final = 1e30


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

    def some(self, users: npt.NDArray[np.intp]) -> Hidden:
        """What is hidden from some of the users."""
        return self._replace(rows=self.rows[users], more_rows=self.more_rows[users])


def sampled_order(lengths: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """The order in which :func:`best` wants its songs: an even sample first, then the longest.

    Args:
        lengths: float64 ``[songs]``, of their factors.
    """
    longest_first = np.argsort(-lengths, kind="stable")
    if len(lengths) < _TILES_SAMPLED * _SONGS_AT_ONCE:
        return longest_first
    sampled = np.zeros(len(lengths), bool)
    sampled[np.arange(_SONGS_AT_ONCE) * len(lengths) // _SONGS_AT_ONCE] = True
    return np.concatenate([longest_first[sampled], longest_first[~sampled]])


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
        songs: ``[songs, factors]``, by :func:`sampled_order`.
        lengths: float64 ``[songs]``, their Euclidean lengths.
        counts: how many for each user; of those that are not hidden.
        hidden: what must not be among them.

    Returns:
        ``[users, most]`` places, and how many of each row are meant.
    """
    wanted = counts * _SONGS_AT_ONCE / max(len(songs), 1)
    guesses = np.ceil(wanted + _SURE * np.sqrt(wanted)).astype(np.int64) + 1
    if len(songs) < _TILES_SAMPLED * _SONGS_AT_ONCE:
        guesses[:] = 0
    places, sizes = _best(users, songs, lengths, counts, hidden, guesses)
    short = np.flatnonzero((sizes < counts) & (guesses > 0))
    if len(short):
        again = users[short], songs, lengths, counts[short], hidden.some(short), 0 * short
        found, sizes[short] = _best(*again)
        places[short, : found.shape[1]] = found
    return places, sizes


def _best(
    users: npt.NDArray[np.float32],
    songs: npt.NDArray[np.float32],
    lengths: npt.NDArray[np.float64],
    counts: npt.NDArray[np.int64],
    hidden: Hidden,
    guesses: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """:func:`best` of what reaches the user's guess: the so-manieth of the sample, 0 for none."""
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
        if first and not reached.all():
            going = going[reached]
            left = users[going]
        if not len(going):
            break
        some = songs[first : first + _SONGS_AT_ONCE]
        np.matmul(left, some.T, out=tile[: len(going), : len(some)])
        if not first:
            _guess(tile, going, guesses, hidden, mark, least)
        _keep(tile, going, len(some), first, counts, hidden, mark, least, values, places, sizes)
    _close(counts, hidden, mark, values, places, sizes)
    return places, sizes


@numba.njit(cache=True, nogil=True)
def _guess(tile, going, guesses, hidden, mark, least):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Set thresholds to the so-manieth largest of the first tile that is not hidden."""
    scores = np.empty(_SONGS_AT_ONCE, np.float32)
    for n in range(len(going)):
        user, row = going[n], tile[n]
        if not guesses[user]:
            continue
        _mark(mark, hidden, user, True)
        shown = np.uintp(0)
        for k in range(np.uintp(_SONGS_AT_ONCE)):
            scores[shown] = row[k]
            shown += np.uintp(not mark[k])
        _mark(mark, hidden, user, False)
        if guesses[user] <= shown:
            least[user] = _nth_largest(scores[:shown], guesses[user])


@numba.njit(cache=True, nogil=True)
def _keep(tile, going, width, first, counts, hidden, mark, least, values, places, sizes):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Keep the scores of a tile that reach the users' thresholds.

    Places are counted without a sign, which spares the code for negative ones.
    """
    enough = np.zeros(_SONGS_AT_ONCE, np.uint8)
    words = enough.view(np.uint64)
    hits = np.empty(len(words) + 1, np.uintp)
    for n in range(len(going)):
        user, row = going[n], tile[n]
        threshold, value, place = least[user], values[user], places[user]
        for k in range(width):
            enough[k] = row[k] >= threshold
        # No branch to mispredict: always written, and gone on where it counts.
        found = np.uintp(0)
        for word in range(np.uintp(len(words))):
            hits[found] = word * np.uintp(_WORD)
            found += np.uintp(words[word] != 0)
        size = np.uintp(sizes[user])
        for hit in range(found):
            for k in range(hits[hit], hits[hit] + np.uintp(_WORD)):
                value[size] = row[k]
                place[size] = first + k
                size += np.uintp(enough[k])
        sizes[user] = size
        if sizes[user] >= _ROOM * counts[user]:
            sizes[user], reached = _pick(
                user, sizes[user], counts[user], hidden, mark, values, places
            )
            least[user] = max(reached, threshold)


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
    left = np.uintp(0)
    for k in range(np.uintp(size)):
        value[left], at[left] = value[k], at[k]
        left += np.uintp(not mark[np.uintp(at[k])])
    _mark(mark, hidden, user, False)
    if left < count:
        return np.int64(left), np.float32(-np.inf)
    least = _nth_largest(value[:left], count)
    equal = value[:left] == least
    room = count - (value[:left] > least).sum()
    last = -_quickselect(-hidden.song[at[:left][equal]], room)
    kept = np.uintp(0)
    for k in range(left):
        keep = value[k] > least or (equal[k] and hidden.song[at[k]] <= last)
        value[kept], at[kept] = value[k], at[k]
        kept += np.uintp(keep)
    return np.int64(kept), least


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
    """Of float32: counted into bins from the least to the largest, then picked from one bin."""
    low, high = _range(values)
    scale = np.float32(_BINS - 1) / (high - low) if high > low else np.float32(np.inf)
    if not scale < _STEEPEST:
        return _quickselect(values.copy(), nth)
    bins = np.empty(len(values), np.uint8)
    sizes = np.zeros(_BINS, np.int64)
    for k in range(len(values)):
        bins[k] = np.uint8(np.int32((values[k] - low) * scale))
    for one in bins:
        sizes[np.uintp(one)] += 1
    chosen = _BINS - 1
    while sizes[chosen] < nth:
        nth -= sizes[chosen]
        chosen -= 1
    some = np.empty(sizes[chosen] + 1, np.float32)
    n = np.uintp(0)
    for k in range(np.uintp(len(values))):
        some[n] = values[k]
        n += np.uintp(bins[k] == chosen)
    return _quickselect(some[:n], nth)


@numba.njit(cache=True, nogil=True)
def _range(values):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The least and the largest, four side by side."""
    a = b = c = d = e = f = g = h = values[0]
    last = np.uintp(len(values) - 1)
    for k in range(np.uintp(0), last + np.uintp(1), np.uintp(4)):
        i, j = values[k], values[min(k + np.uintp(1), last)]
        m, n = values[min(k + np.uintp(2), last)], values[min(k + np.uintp(3), last)]
        a, b, c, d = min(a, i), min(b, j), min(c, m), min(d, n)
        e, f, g, h = max(e, i), max(f, j), max(g, m), max(h, n)
    return min(min(a, b), min(c, d)), max(max(e, f), max(g, h))


@numba.njit(cache=True, nogil=True)
def _quickselect(values, nth):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The ``nth`` largest (Hoare 1961), in place."""
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
