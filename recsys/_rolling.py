"""The loop behind the taste state, compiled: a listener after the other, in all days at once."""

from __future__ import annotations

import numba
import numpy as np

from recsys._codes import NEVER

_FIXED_POINT = 2.0**32
_NEVER = np.int32(NEVER)
_NOBODY = np.int32(2**31 - 1)


@numba.njit(cache=True, nogil=True)
def roll(fresh, weights, first_day, newest, before, factor, made):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Add up the rows of each user and track, and count them.

    Args:
        fresh: ``user``, ``track``, ``listened_on`` (int32), the counts (a tuple of int64 arrays) and
            ``starts`` of the new days; ascending by user from one start to the next.
        weights: int64, of a listen in fixed point, by day from ``first_day`` on.
        first_day: what ``weights`` begins with.
        newest: the last day that may count as the one that a track was heard on.
        before: ``user``, ``track``, the counts (a tuple of float64 arrays), ``heard``, ``disliked``
            and ``last_heard`` of the older state; ascending by user.
        factor: what is left of the older counts.
        made: ``user``, ``track``, the counts (a tuple of float64 arrays), ``heard``, ``disliked``
            and ``last_heard`` to fill, ascending by user and track.
    """
    user, track, day, (plays, part_plays, skips, saves, likes, dislikes), starts = fresh
    old_user, old_track, old_counts, old_heard, old_disliked, old_last = before
    old_plays, old_part_plays, old_skips, old_saves, old_likes, old_dislikes = old_counts
    out_user, out_track, out_counts, out_heard, out_disliked, out_last = made
    tracks = 0
    for each in track:
        tracks = max(tracks, each + 1)
    for each in old_track:
        tracks = max(tracks, each + 1)
    place = np.zeros(tracks, np.int32)
    keys = np.empty(tracks, np.int64)
    sums = np.empty((tracks, 6), np.int64)
    aged = np.empty((tracks, 6), np.float64)
    heard = np.empty(tracks, np.bool_)
    disliked = np.empty(tracks, np.bool_)
    last = np.empty(tracks, np.int32)
    at = starts[:-1].copy()
    old, n = 0, 0
    while True:
        now = _NOBODY
        if old < len(old_user):
            now = old_user[old]
        for table in range(len(at)):
            if at[table] < starts[table + 1]:
                now = min(now, user[at[table]])
        if now == _NOBODY:
            return n
        size = 0
        while old < len(old_user) and old_user[old] == now:
            place[old_track[old]] = size
            keys[size] = np.int64(old_track[old]) << 32 | size
            sums[size] = 0
            aged[size, 0] = old_plays[old] * factor
            aged[size, 1] = old_part_plays[old] * factor
            aged[size, 2] = old_skips[old] * factor
            aged[size, 3] = old_saves[old] * factor
            aged[size, 4] = old_likes[old] * factor
            aged[size, 5] = old_dislikes[old] * factor
            heard[size] = old_heard[old]
            disliked[size] = old_disliked[old]
            last[size] = old_last[old]
            size += 1
            old += 1
        for table in range(len(at)):
            i = at[table]
            while i < starts[table + 1] and user[i] == now:
                k = place[track[i]]
                if k >= size or keys[k] >> 32 != track[i]:
                    k = size
                    place[track[i]] = k
                    keys[k] = np.int64(track[i]) << 32 | k
                    sums[k] = 0
                    aged[k] = 0.0
                    heard[k] = False
                    disliked[k] = False
                    last[k] = _NEVER
                    size += 1
                weight = weights[day[i] - first_day]
                sums[k, 0] += plays[i] * weight
                sums[k, 1] += part_plays[i] * weight
                sums[k, 2] += skips[i] * weight
                sums[k, 3] += saves[i] * weight
                sums[k, 4] += likes[i] * weight
                sums[k, 5] += dislikes[i] * weight
                if plays[i] + part_plays[i] + skips[i] > 0:
                    heard[k] = True
                    last[k] = max(last[k], min(day[i], newest))
                if dislikes[i] > 0:
                    disliked[k] = True
                i += 1
            at[table] = i
        mine = keys[:size]
        mine.sort()
        for key in mine:
            k = key & 0xFFFFFFFF
            out_user[n] = now
            out_track[n] = key >> 32
            for kind in range(6):
                out_counts[kind, n] = aged[k, kind] + sums[k, kind] / _FIXED_POINT
            out_heard[n] = heard[k]
            out_disliked[n] = disliked[k]
            out_last[n] = last[k]
            n += 1
