"""The loops behind the taste state, compiled: a listener after the other, all days at once."""

from __future__ import annotations

import numba
import numpy as np

from recsys._codes import NEVER
from recsys._shell_sort import shell_sort

_FIXED_POINT = 2.0**32
_NEVER = np.int32(NEVER)
_NOBODY = np.int32(2**31 - 1)
_LOW = 0xFFFFFFFF


@numba.njit(cache=True, nogil=True)
def roll(fresh, weights, first_day, newest, before, factor, made):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Add up the rows of each user and track; returns how many pairs there are.

    Args:
        fresh: ``user``, ``track``, ``listened_on`` (int32), the counts (a tuple of int64 arrays),
            and ``starts`` of the new days; ascending by user from one start to the next.
        weights: int64, of a listen in fixed point, by day from ``first_day`` on.
        first_day: what ``weights`` begins with.
        newest: the last day that may count as the one that a track was heard on.
        before: ``user``, ``track``, the counts (a tuple of float64 arrays), ``heard``,
            ``disliked`` and ``last_heard`` of the older state; ascending by user.
        factor: what is left of the older counts.
        made: ``user``, ``track``, the counts (float64, one a row), ``heard``, ``disliked`` and
            ``last_heard`` to fill, ascending by user and track.
    """
    tracks = max(_most(fresh[1]), _most(before[1])) + 1
    keys = np.empty(tracks, np.int64)
    work = (
        np.zeros(tracks, np.int32),  # where a track is among those of the user
        keys,
        np.empty((tracks, 6), np.int64),
        np.empty((tracks, 6), np.float64),
        np.empty(tracks, np.bool_),
        np.empty(tracks, np.bool_),
        np.empty(tracks, np.int32),
    )
    at = fresh[4][:-1].copy()
    old, n = np.int64(0), np.int64(0)
    while True:
        user = _next(fresh, at, before[0], old)
        if user == _NOBODY:
            return n
        end = old
        while end < len(before[0]) and before[0][end] == user:
            end += 1
        size = _take_old(before, old, end, factor, work)
        old = end
        for table in range(len(at)):
            if at[table] < fresh[4][table + 1] and fresh[0][at[table]] == user:
                stop = fresh[4][table + 1]
                at[table], size = _take_new(
                    fresh, at[table], stop, weights, first_day, newest, work, size
                )
        shell_sort(keys[:size])
        n = _give(user, size, work, made, n)


@numba.njit(cache=True, nogil=True)
def _most(tracks):  # type: ignore[no-untyped-def]  # pragma: no cover
    most = np.int32(-1)
    for track in tracks:
        most = max(most, track)
    return most


@numba.njit(cache=True, nogil=True)
def _next(fresh, at, old_user, old):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The first user of whom there are rows."""
    user, starts = fresh[0], fresh[4]
    first = old_user[old] if old < len(old_user) else _NOBODY
    for table in range(len(at)):
        if at[table] < starts[table + 1]:
            first = min(first, user[at[table]])
    return first


@numba.njit(cache=True, nogil=True)
def _take_old(before, start, stop, factor, work):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Begin a user with the rows of the older state."""
    _, track, (plays, part_plays, skips, saves, likes, dislikes), heard, disliked, last = before
    place, keys, sums, aged, was_heard, was_disliked, last_heard = work
    for row in range(start, stop):
        k = row - start
        place[track[row]] = k
        keys[k] = np.int64(track[row]) << 32 | k
        sums[k] = 0
        aged[k, 0] = plays[row] * factor
        aged[k, 1] = part_plays[row] * factor
        aged[k, 2] = skips[row] * factor
        aged[k, 3] = saves[row] * factor
        aged[k, 4] = likes[row] * factor
        aged[k, 5] = dislikes[row] * factor
        was_heard[k] = heard[row]
        was_disliked[k] = disliked[row]
        last_heard[k] = last[row]
    return stop - start


@numba.njit(cache=True, nogil=True)
def _take_new(fresh, row, stop, weights, first_day, newest, work, size):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Add a table's rows of a user; where the next user's begin, and how many tracks there are."""
    user, track, day, (plays, part_plays, skips, saves, likes, dislikes), _ = fresh
    place, keys, sums, aged, was_heard, was_disliked, last_heard = work
    mine = user[row]
    while row < stop and user[row] == mine:
        k = place[track[row]]
        if k >= size or keys[k] >> 32 != track[row]:
            k = size
            size += 1
            place[track[row]] = k
            keys[k] = np.int64(track[row]) << 32 | k
            sums[k] = 0
            aged[k] = 0.0
            was_heard[k] = False
            was_disliked[k] = False
            last_heard[k] = _NEVER
        weight = weights[day[row] - first_day]
        sums[k, 0] += plays[row] * weight
        sums[k, 1] += part_plays[row] * weight
        sums[k, 2] += skips[row] * weight
        sums[k, 3] += saves[row] * weight
        sums[k, 4] += likes[row] * weight
        sums[k, 5] += dislikes[row] * weight
        if plays[row] + part_plays[row] + skips[row] > 0:
            was_heard[k] = True
            last_heard[k] = max(last_heard[k], min(day[row], newest))
        was_disliked[k] |= dislikes[row] > 0
        row += 1
    return row, size


@numba.njit(cache=True, nogil=True)
def _give(user, size, work, made, n):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Fill in the pairs of a user, by track."""
    _, keys, sums, aged, was_heard, was_disliked, last_heard = work
    made_user, made_track, made_counts, made_heard, made_disliked, made_last = made
    for key in keys[:size]:
        k = key & _LOW
        made_user[n] = user
        made_track[n] = key >> 32
        for kind in range(6):
            made_counts[kind, n] = aged[k, kind] + sums[k, kind] / _FIXED_POINT
        made_heard[n] = was_heard[k]
        made_disliked[n] = was_disliked[k]
        made_last[n] = last_heard[k]
        n += 1
    return n
