"""The loops behind the matrix, compiled: pairs of a listener, in order of songs."""

from __future__ import annotations

import numba
import numpy as np

from recsys._shell_sort import shell_sort


@numba.njit(cache=True, nogil=True)
def by_song(user, track, song_of, counts, weights, heard, disliked, made):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Order pairs by user, song, heard before not, most plays, and track; returns how many.

    Args:
        user: int32, ascending.
        track: int32, -1 for one that is not known: it is left out.
        song_of: int32, of each track.
        counts: a tuple of float64 arrays, of which the first are the plays.
        weights: float64, of each count.
        heard: bool.
        disliked: bool.
        made: ``user``, ``song``, ``track`` (int32), ``weight`` (float64), ``heard`` and
            ``disliked`` (bool) to fill.
    """
    plays, part_plays, skips, saves, likes, dislikes = counts
    made_user, made_song, made_track, made_weight, made_heard, made_disliked = made
    keys = np.empty(len(user), np.int64)
    n, begin = 0, 0
    while begin < len(user):
        end = begin
        size = 0
        while end < len(user) and user[end] == user[begin]:
            if track[end] >= 0:
                keys[size] = np.int64(song_of[track[end]]) << 32 | end
                size += 1
            end += 1
        mine = keys[:size]
        shell_sort(mine)
        for place in range(1, size):
            key = mine[place]
            other = place
            while other and _first(key, mine[other - 1], heard, plays, track):
                mine[other] = mine[other - 1]
                other -= 1
            mine[other] = key
        for key in mine:
            row = key & 0xFFFFFFFF
            made_user[n] = user[row]
            made_song[n] = key >> 32
            made_track[n] = track[row]
            made_weight[n] = (
                plays[row] * weights[0]
                + part_plays[row] * weights[1]
                + skips[row] * weights[2]
                + saves[row] * weights[3]
                + likes[row] * weights[4]
                + dislikes[row] * weights[5]
            )
            made_heard[n] = heard[row]
            made_disliked[n] = disliked[row]
            n += 1
        begin = end
    return n


@numba.njit(cache=True, nogil=True)
def _first(one, other, heard, plays, track):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Whether a pair comes before another of the same song."""
    if one >> 32 != other >> 32:
        return False
    a, b = one & 0xFFFFFFFF, other & 0xFFFFFFFF
    if heard[a] != heard[b]:
        return heard[a]
    if plays[a] != plays[b]:
        return plays[a] > plays[b]
    return track[a] < track[b]


@numba.njit(cache=True, nogil=True)
def add_rounded(track, values, scale, sums):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Add values, none negative, to the sum of each track, in whole steps of ``1 / scale``."""
    for row in range(len(track)):
        if track[row] >= 0:
            steps = values[row] * scale
            whole = np.floor(steps)
            sums[track[row]] += np.int64(whole) + (steps - whole >= 0.5)


@numba.njit(cache=True, nogil=True)
def count_users(user, song, last, counts):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Add to each song how many users there are of it.

    Args:
        user: int32, ascending from call to call.
        song: int32, -1 for none.
        last: int32, of each song the last user so far; -1 for none.
        counts: int64, of each song.
    """
    for row in range(len(user)):
        if song[row] >= 0 and last[song[row]] != user[row]:
            last[song[row]] = user[row]
            counts[song[row]] += 1
