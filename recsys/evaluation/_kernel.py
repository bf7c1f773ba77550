"""The loops behind rankings and their measures, compiled: one listener after the other."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def first_unheard(order, indptr, indices, rows, songs, counts):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Fill each row of ``songs`` with the first of ``order`` that the listener has not heard."""
    heard = np.zeros(order.max() + 1 if len(order) else 0, np.bool_)
    for user in range(len(rows)):
        mine = indices[indptr[rows[user]] : indptr[rows[user] + 1]]
        for song in mine:
            if song < len(heard):
                heard[song] = True
        n = 0
        for song in order:
            if n == songs.shape[1]:
                break
            if not heard[song]:
                songs[user, n] = song
                n += 1
        counts[user] = n
        for song in mine:
            if song < len(heard):
                heard[song] = False


@numba.njit(cache=True, nogil=True)
def best_neighbours(held, excluded, similarity, rows, songs, scores, counts):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The best positive sums of similarity to what is held to; equal ones by song.

    ``held``, ``excluded`` and ``similarity`` are ``(indptr, indices, data)`` of CSR matrices.
    """
    sums = np.zeros(len(similarity[0]) - 1, np.float64)
    state = np.zeros(len(sums), np.uint8)  # 1: among touched; 2: excluded
    touched = np.empty(len(sums), np.int32)
    k = songs.shape[1]
    for user in range(len(rows)):
        mine = excluded[1][excluded[0][rows[user]] : excluded[0][rows[user] + 1]]
        for song in mine:
            state[song] = 2
        size = 0
        for entry in range(held[0][rows[user]], held[0][rows[user] + 1]):
            song, value = held[1][entry], held[2][entry]
            for near in range(similarity[0][song], similarity[0][song + 1]):
                other = similarity[1][near]
                sums[other] += value * similarity[2][near]
                if state[other] == 0:
                    state[other] = 1
                    touched[size] = other
                    size += 1
        n = 0
        for song in touched[:size]:
            if sums[song] > 0:
                n = _place(songs[user], scores[user], n, k, song, np.rint(sums[song] * 1e6) / 1e6)
            state[song] = 0
        counts[user] = n
        for song in mine:
            state[song] = 0
        for entry in range(held[0][rows[user]], held[0][rows[user] + 1]):
            song = held[1][entry]
            for near in range(similarity[0][song], similarity[0][song + 1]):
                sums[similarity[1][near]] = 0


@numba.njit(cache=True, nogil=True)
def _place(songs, scores, n, k, song, score):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Put a song into a list of at most ``k`` in order; returns the list's length."""
    if n == k and (score < scores[k - 1] or (score == scores[k - 1] and song > songs[k - 1])):
        return n
    at = min(n, k - 1)
    while at > 0 and (scores[at - 1] < score or (scores[at - 1] == score and songs[at - 1] > song)):
        scores[at], songs[at] = scores[at - 1], songs[at - 1]
        at -= 1
    scores[at], songs[at] = score, song
    return min(n + 1, k)


@numba.njit(cache=True, nogil=True)
def stored(indptr, indices, rows, columns):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Whether a CSR matrix with sorted indices has an entry at each row and column."""
    found = np.empty(len(rows), np.bool_)
    for n in range(len(rows)):
        found[n] = _has(indices, indptr[rows[n]], indptr[rows[n] + 1], columns[n])
    return found


@numba.njit(cache=True, nogil=True)
def any_stored(indptr, indices, rows, starts, columns, songs):  # type: ignore[no-untyped-def]  # pragma: no cover
    """As :func:`stored`, for any of ``columns[starts[song] : starts[song + 1]]`` of each song."""
    found = np.zeros(len(rows), np.bool_)
    for n in range(len(rows)):
        for column in columns[starts[songs[n]] : starts[songs[n] + 1]]:
            found[n] |= _has(indices, indptr[rows[n]], indptr[rows[n] + 1], column)
    return found


@numba.njit(cache=True, nogil=True)
def _has(indices, low, high, wanted):  # type: ignore[no-untyped-def]  # pragma: no cover
    end = high
    while low < high:
        middle = (low + high) // 2
        if indices[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low < end and indices[low] == wanted


@numba.njit(cache=True, nogil=True)
def times_drawn(drawn, users):  # type: ignore[no-untyped-def]  # pragma: no cover
    """How often each user is in each row of ``drawn``: float64 ``[rows, users]``."""
    times = np.zeros((len(drawn), users))
    for row in range(len(drawn)):
        for user in drawn[row]:
            times[row, user] += 1
    return times


@numba.njit(cache=True, nogil=True)
def similarity_within(begins, ends, songs, indptr, indices, users):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Mean cosine of the listeners of any two songs of each list; NaN for a list under two.

    A song's cosines with those before it add up to the product of its unit vector over listeners
    with the sum of theirs.
    """
    found = np.full(len(begins), np.nan)
    total = np.empty(users)
    for n in range(len(begins)):
        total[:] = 0.0
        counted, similar = 0, 0.0
        for place in range(begins[n], ends[n]):
            first, last = np.uintp(indptr[songs[place]]), np.uintp(indptr[songs[place] + 1])
            if first == last:
                continue
            unit, common = 1 / np.sqrt(np.float64(last - first)), 0.0
            for entry in range(first, last):
                listener = np.uintp(indices[entry])
                common += total[listener]
                total[listener] += unit
            counted += 1
            similar += common * unit
        if counted > 1:
            found[n] = 2 * similar / (counted * (counted - 1))
    return found
