"""The loops behind hindsight, compiled: a listener after the other, all tables at once."""

from __future__ import annotations

import numba
import numpy as np

from recsys._outcomes import FINISHED, KEPT, PLAYED, SAVED, SKIPPED

# Known of a song while its listener is looked at: heard in the days before the week, of the week
# at all, on the playlist, heard in the state before.
_BEFORE, _OF_WEEK, _LISTED, _KNOWN = 32, 64, 128, 256


@numba.njit(cache=True, nogil=True)
def outcomes(events, starts, before, list_of, lists, span, flags, found):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Fill in what the users of a stretch did.

    Args:
        events: ``user``, ``song`` (-1 for none) and ``listened_on`` (int32), and the counts (a
            tuple of int64 arrays); ascending by user from one of ``starts`` to the next.
        starts: where the rows of each table begin, and where the last ones end.
        before: ``user``, ``song`` and ``heard`` of the state before; ascending by user.
        list_of: int32, the list of each user, -1 for none.
        lists: where the slots of each begin, and the songs of all slots.
        span: the first day of the week, and the day after its last.
        flags: uint16, of each song: zeros, before and after.
        found: the arrays of :class:`recsys._outcomes.Outcomes`, to be filled.
    """
    user = events[0]
    at = starts[:-1].copy()
    known = 0
    touched = np.empty(len(flags), np.int32)
    for mine in range(len(list_of)):
        if list_of[mine] < 0:
            continue
        size = 0
        for table in range(len(at)):
            row = at[table]
            while row < starts[table + 1] and user[row] < mine:
                row += 1
            while row < starts[table + 1] and user[row] == mine:
                size = _take(events, row, list_of[mine], span, flags, touched, size, found[0])
                row += 1
            at[table] = row
        _judge(list_of[mine], lists, flags, found[1])
        while known < len(before[0]) and before[0][known] < mine:
            known += 1
        while known < len(before[0]) and before[0][known] == mine:
            if before[2][known] and before[1][known] >= 0 and flags[before[1][known]]:
                flags[before[1][known]] |= _KNOWN
            known += 1
        for song in touched[:size]:
            _discover(flags[song], found[2])
            flags[song] = 0


@numba.njit(cache=True, nogil=True)
def _take(events, row, mine, span, flags, touched, size, active):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Remember a row of a listener; how many songs there are."""
    _, songs, days, (plays, part_plays, skips, saves, likes, _) = events
    song, day = songs[row], days[row]
    if day >= span[1]:
        return size
    begun = plays[row] + part_plays[row] + skips[row] > 0
    of_week = day >= span[0]
    active[mine] |= of_week
    if song < 0 or not (of_week or begun):
        return size
    if flags[song] == 0:
        touched[size] = song
        size += 1
    if not of_week:
        flags[song] |= _BEFORE
        return size
    flags[song] |= _OF_WEEK
    if begun:
        flags[song] |= PLAYED
    if plays[row] > 0:
        flags[song] |= FINISHED | KEPT
    if saves[row] + likes[row] > 0:
        flags[song] |= SAVED | KEPT
    if skips[row] > 0:
        flags[song] |= SKIPPED
    return size


@numba.njit(cache=True, nogil=True)
def _outcome(flags):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Nobody who kept a song has skipped it."""
    return flags & (PLAYED | FINISHED | SAVED | KEPT | (0 if flags & KEPT else SKIPPED))


@numba.njit(cache=True, nogil=True)
def _judge(mine, lists, flags, bits):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Say of the slots of a list what came of them."""
    offsets, songs = lists
    for slot in range(offsets[mine], offsets[mine + 1]):
        if songs[slot] >= 0 and flags[songs[slot]]:
            flags[songs[slot]] |= _LISTED
            bits[slot] = _outcome(flags[songs[slot]])


@numba.njit(cache=True, nogil=True)
def _discover(flags, discoveries):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Count a song that was begun for the first time."""
    if not flags & PLAYED or flags & (_BEFORE | _KNOWN):
        return
    outcome = _outcome(flags)
    counts = discoveries[0 if flags & _LISTED else 1]
    counts[0] += 1
    for place, bit in enumerate((FINISHED, SAVED, KEPT, SKIPPED)):
        if outcome & bit:
            counts[place + 1] += 1
