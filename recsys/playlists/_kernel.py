"""The loops behind `make_lists`, compiled: one listener after the other.

What is called for each song or listener is put into its caller (``forceinline``): numba counts
references to every array that a tuple brings along, at each call, which took more than half of the
time.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

NEIGHBOURS: Final = 1
COOLDOWN: Final = 2
PER_ARTIST: Final = 4

#: Spares behind each list.
SPARES: Final = 5

#: What is tried on a short list: one rule, else a pair, else all three.
_STEPS: Final = (
    NEIGHBOURS,
    COOLDOWN,
    PER_ARTIST,
    NEIGHBOURS | COOLDOWN,
    NEIGHBOURS | PER_ARTIST,
    COOLDOWN | PER_ARTIST,
    NEIGHBOURS | COOLDOWN | PER_ARTIST,
)

# What is known of a song while one listener's list is made.
_BARRED: Final = 1
_EXCLUDED: Final = 2
_COOLING: Final = 4
_TAKEN: Final = 8
_WAITING: Final = 16

Array = npt.NDArray[Any]


class Songs(NamedTuple):
    """What the rules need to know of the songs."""

    popular: Array
    starts: Array
    artists: Array


class Draft(NamedTuple):
    """One listener's list while it grows, and the scratch memory of its thread."""

    #: The songs so far, in order; as long as a full list.
    songs: Array
    #: Where each came from: its place in the candidates and the popular songs, end to end.
    walk: Array
    #: Per song: the bits above.
    flags: Array
    #: Per artist: songs in the list.
    held: Array
    #: Places in the walk of songs that found no gap yet.
    waiting: Array


class Spares(NamedTuple):
    """The songs that stand by for one list."""

    #: Best first.
    songs: Array
    #: Where each came from, as in the draft.
    walk: Array
    #: Per spare: how many places of the list it does not fit.
    misfits: Array
    #: Those places, from 1, of one spare after the other.
    not_at: Array


@njit(nogil=True, cache=True)
def make_block(  # type: ignore[no-untyped-def]
    start,
    stop,
    offsets,
    candidates,
    candidate_scores,
    popularity,
    songs,
    n_artists,
    excluded,
    cooling,
    barred,
    length,
    per_artist,
):
    """Make the lists of the users from ``start`` to ``stop``.

    Returns:
        Of the lists: counts and relaxed, one per user; songs, scores and personal, ``length`` per
        user. Of the spares: counts, one per user; songs, scores, personal and misfits, ``SPARES``
        per user; and the places that are misfits, end to end.
    """
    users = stop - start
    counts = np.zeros(users, np.int64)
    relaxed = np.zeros(users, np.uint8)
    picked = np.zeros((users, length), np.int32)
    scores = np.zeros((users, length), np.float64)
    personal = np.zeros((users, length), np.bool_)
    spare_counts = np.zeros(users, np.int64)
    spares = np.zeros((users, SPARES), np.int32)
    spare_scores = np.zeros((users, SPARES), np.float64)
    spare_personal = np.zeros((users, SPARES), np.bool_)
    misfits = np.zeros((users, SPARES), np.int64)
    not_at, n_misfits = np.empty(users * SPARES * length, np.int32), 0
    # What a listener leaves in the scratch memory is taken back entry by entry.
    flags = barred.astype(np.uint8)
    held = np.zeros(n_artists, np.int32)
    waiting = np.empty(len(barred), np.int64)
    walk = np.empty(length, np.int64)
    spare_walk = np.empty(SPARES, np.int64)
    for row in range(users):
        user = start + row
        first, end = offsets[user], offsets[user + 1]
        heard = excluded[1][excluded[0][user] : excluded[0][user + 1]]
        recent = cooling[1][cooling[0][user] : cooling[0][user + 1]]
        draft = Draft(picked[row], walk, flags, held, waiting)
        _mark(flags, heard, _EXCLUDED)
        _mark(flags, recent, _COOLING)
        mine = candidates[first:end]
        n = _fill(draft, mine, songs, per_artist)
        counts[row] = n
        relaxed[row] = _broken(draft, n, songs, per_artist)
        standing_by = Spares(spares[row], spare_walk, misfits[row], not_at[n_misfits:])
        spare_counts[row] = _stand_by(standing_by, draft, n, mine, songs, per_artist)
        mine_scores = candidate_scores[first:end]
        _score(scores[row], personal[row], picked[row], walk, n, mine_scores, popularity)
        _score(
            spare_scores[row], spare_personal[row], spares[row], spare_walk, spare_counts[row],
            mine_scores, popularity,
        )  # fmt: skip
        n_misfits += misfits[row].sum()
        _unmark(flags, spares[row, : spare_counts[row]], _TAKEN)
        _clear(draft, n, songs)
        _unmark(flags, heard, _EXCLUDED)
        _unmark(flags, recent, _COOLING)
    lists = counts, relaxed, picked, scores, personal
    spares_found = spare_counts, spares, spare_scores, spare_personal, misfits
    return lists, spares_found, not_at[:n_misfits].copy()


@njit(nogil=True, cache=True)
def _fill(draft, mine, songs, per_artist):  # type: ignore[no-untyped-def]
    """Fill the list under all rules, then under ever fewer; returns its length."""
    n, relaxing, step = _grow(draft, 0, mine, songs, 0, per_artist), 0, 0
    while n < len(draft.songs) and step < len(_STEPS):
        more = _STEPS[step]
        step += 1
        if more & relaxing == 0:
            grown = _grow(draft, n, mine, songs, relaxing | more, per_artist)
            if grown > n:
                n, relaxing, step = grown, relaxing | more, 0
    return n


@njit(nogil=True, cache=True)
def _grow(draft, n, mine, songs, relaxing, per_artist):  # type: ignore[no-untyped-def]
    """Add what the rules allow without those of ``relaxing``; returns the new length.

    A song that finds no gap waits, and is tried again whenever another one got in.
    """
    flags, length = draft.flags, len(draft.songs)
    refused = _BARRED | _EXCLUDED | _TAKEN | _WAITING
    if not relaxing & COOLDOWN:
        refused |= _COOLING
    cap = length if relaxing & PER_ARTIST else per_artist
    n_waiting = 0
    for i in range(len(mine) + len(songs.popular)):
        if n == length:
            break
        song = mine[i] if i < len(mine) else songs.popular[i - len(mine)]
        if flags[song] & refused or _fullest(draft, song, songs) >= cap:
            continue
        at = _gap(draft, n, song, songs)
        if at < 0 and relaxing & NEIGHBOURS:
            at = n
        if at < 0:
            flags[song] |= _WAITING
            draft.waiting[n_waiting] = i
            n_waiting += 1
            continue
        _insert(draft, n, song, i, at, songs)
        n += 1
        n = _retry(draft, n, n_waiting, mine, songs, cap)
    for j in range(n_waiting):
        i = draft.waiting[j]
        flags[mine[i] if i < len(mine) else songs.popular[i - len(mine)]] &= ~_WAITING
    return n


@njit(nogil=True, cache=True, forceinline=True)
def _retry(draft, n, n_waiting, mine, songs, cap):  # type: ignore[no-untyped-def]
    """Let in the waiting songs that find a gap now, best first; returns the new length."""
    j = 0
    while j < n_waiting and n < len(draft.songs):
        i = draft.waiting[j]
        j += 1
        song = mine[i] if i < len(mine) else songs.popular[i - len(mine)]
        if not draft.flags[song] & _TAKEN and _fullest(draft, song, songs) < cap:
            at = _gap(draft, n, song, songs)
            if at >= 0:
                _insert(draft, n, song, i, at, songs)
                n += 1
                j = 0
    return n


@njit(nogil=True, cache=True, forceinline=True)
def _gap(draft, n, song, songs):  # type: ignore[no-untyped-def]
    """The place nearest to the end where no neighbour shares an artist, or -1."""
    after = False
    for at in range(n, -1, -1):
        before = at > 0 and _share(song, draft.songs[at - 1], songs)
        if not before and not after:
            return at
        after = before
    return -1


@njit(nogil=True, cache=True, forceinline=True)
def _share(one, other, songs):  # type: ignore[no-untyped-def]
    """Whether two songs have a credited artist in common."""
    for i in range(songs.starts[one], songs.starts[one + 1]):
        for j in range(songs.starts[other], songs.starts[other + 1]):
            if songs.artists[i] == songs.artists[j]:
                return True
    return False


@njit(nogil=True, cache=True, forceinline=True)
def _fullest(draft, song, songs):  # type: ignore[no-untyped-def]
    """The most songs in the list of any artist of this song."""
    most = 0
    for k in range(songs.starts[song], songs.starts[song + 1]):
        most = max(most, draft.held[songs.artists[k]])
    return most


@njit(nogil=True, cache=True, forceinline=True)
def _insert(draft, n, song, i, at, songs):  # type: ignore[no-untyped-def]
    for k in range(n, at, -1):
        draft.songs[k] = draft.songs[k - 1]
        draft.walk[k] = draft.walk[k - 1]
    draft.songs[at] = song
    draft.walk[at] = i
    draft.flags[song] |= _TAKEN
    for k in range(songs.starts[song], songs.starts[song + 1]):
        draft.held[songs.artists[k]] += 1


@njit(nogil=True, cache=True, forceinline=True)
def _broken(draft, n, songs, per_artist):  # type: ignore[no-untyped-def]
    """The rules that a finished list breaks."""
    broken = 0
    for at in range(n):
        song = draft.songs[at]
        if at > 0 and _share(song, draft.songs[at - 1], songs):
            broken |= NEIGHBOURS
        if draft.flags[song] & _COOLING:
            broken |= COOLDOWN
        if _fullest(draft, song, songs) > per_artist:
            broken |= PER_ARTIST
    return broken


@njit(nogil=True, cache=True, forceinline=True)
def _stand_by(spares, draft, n, mine, songs, per_artist):  # type: ignore[no-untyped-def]
    """Find the spares of a finished list, best first; returns how many there are.

    First those whose artists have room in the list, which fit nearly everywhere; then those that
    could only take the place of a song by their own artist.
    """
    flags, found, n_misfits = draft.flags, 0, 0
    refused = _BARRED | _EXCLUDED | _COOLING | _TAKEN
    for cap in (per_artist, len(draft.songs) + 1):
        for i in range(len(mine) + len(songs.popular)):
            if found == len(spares.songs):
                return found
            song = mine[i] if i < len(mine) else songs.popular[i - len(mine)]
            if flags[song] & refused or _fullest(draft, song, songs) >= cap:
                continue
            alike = False
            for k in range(found):
                alike |= _share(song, spares.songs[k], songs)
            if alike:
                continue
            misfits = _misfits(spares.not_at[n_misfits:], draft, n, song, songs, per_artist)
            if misfits < n:
                spares.songs[found] = song
                spares.walk[found] = i
                spares.misfits[found] = misfits
                flags[song] |= _TAKEN
                found += 1
                n_misfits += misfits
    return found


@njit(nogil=True, cache=True, forceinline=True)
def _misfits(not_at, draft, n, song, songs, per_artist):  # type: ignore[no-untyped-def]
    """Find the places where a song would break an artist rule; returns how many there are.

    Where the list breaks a rule itself, the song may take part in just that breach.
    """
    found = 0
    if _fullest(draft, song, songs) == 0:
        return found
    before, here = False, n > 0 and _share(song, draft.songs[0], songs)
    for at in range(n):
        after = at + 1 < n and _share(song, draft.songs[at + 1], songs)
        misfit = before and not _share(draft.songs[at], draft.songs[at - 1], songs)
        misfit |= after and not _share(draft.songs[at], draft.songs[at + 1], songs)
        for k in range(songs.starts[song], songs.starts[song + 1]):
            if draft.held[songs.artists[k]] >= per_artist:
                misfit |= not _credits(draft.songs[at], songs.artists[k], songs)
        if misfit:
            not_at[found] = at + 1
            found += 1
        before, here = here, after
    return found


@njit(nogil=True, cache=True, forceinline=True)
def _credits(song, artist, songs):  # type: ignore[no-untyped-def]
    """Whether a song credits an artist."""
    for k in range(songs.starts[song], songs.starts[song + 1]):
        if songs.artists[k] == artist:
            return True
    return False


@njit(nogil=True, cache=True, forceinline=True)
def _score(  # type: ignore[no-untyped-def]
    scores, personal, picked, walk, count, mine_scores, popularity
):
    """Score what was picked: by the model what is a candidate, else by its popularity."""
    for at in range(count):
        personal[at] = walk[at] < len(mine_scores)
        scores[at] = mine_scores[walk[at]] if personal[at] else popularity[picked[at]]


@njit(nogil=True, cache=True, forceinline=True)
def _clear(draft, n, songs):  # type: ignore[no-untyped-def]
    _unmark(draft.flags, draft.songs[:n], _TAKEN)
    for song in draft.songs[:n]:
        for k in range(songs.starts[song], songs.starts[song + 1]):
            draft.held[songs.artists[k]] = 0


@njit(nogil=True, cache=True, forceinline=True)
def _mark(flags, songs, bit):  # type: ignore[no-untyped-def]
    for song in songs:
        flags[song] |= bit


@njit(nogil=True, cache=True, forceinline=True)
def _unmark(flags, songs, bit):  # type: ignore[no-untyped-def]
    for song in songs:
        flags[song] &= ~bit
