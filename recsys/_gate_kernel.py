"""The playlist gate's compiled pass over lists: what in them may break a rule."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from recsys._gate_codes import NO_REASON
from recsys._gate_scores import TOLERANCE
from recsys._gate_spares import LARGEST_SCORE, MOST_SPARES

Array = npt.NDArray[Any]

#: The rules that may give way, by bit.
RULES: Final = ("neighbours", "cooldown", "per_artist")
_NEIGHBOURS, _COOLDOWN, _PER_ARTIST = (1 << n for n in range(3))
#: What a list may be: by whether it has something personal, plus whether it has nothing else.
KINDS: Final = ("popular", "blended", "personal")

# What is known of a song while one list is looked at.
_HEARD: Final = 1
_DISLIKED: Final = 2
_RESTING: Final = 4
_LISTED: Final = 8
_POPULAR: Final = 0
_PERSONAL: Final = 1
#: Products are summed in another order where a score is judged: what is this close is asked about.
_NEAR: Final = TOLERANCE * (1 - 1e-6)
_LARGEST: Final = LARGEST_SCORE
_MOST_SPARES: Final = MOST_SPARES


class Rules(NamedTuple):
    """What the settings say, and how many songs there are for somebody who knows none."""

    length: int
    per_artist: int
    open_songs: int


class Lists(NamedTuple):
    """Some lists in order, of which the first has the number ``first``.

    Attributes:
        kind: int32, a place in KINDS; -1 for another.
        said: uint8, a bit for each of RULES that it names.
        users: float64 ``[lists, factors]``, those of its user, where ``scored`` (bool).
    """

    first: int
    kind: Array
    said: Array
    users: Array
    scored: Array


class Songs(NamedTuple):
    """The factors: of a song the row ``row[song]`` of ``factors``, -1 for none."""

    row: Array
    factors: Array


class _Scratch(NamedTuple):
    """Zero again after each list, but for ``heard`` with the number of the last who heard a track.

    By song: what is known of it; by track: plus 1, who heard it; by artist: tracks in the list, and
    whether a spare is by them.
    """

    mark: Array
    heard: Array
    held: Array
    spared: Array


@numba.njit(cache=True, nogil=True)
def look(  # type: ignore[no-untyped-def]  # pragma: no cover
    start, stop, lists, tracks, spares, known, resting, music, songs, rules, suspect
):
    """Set ``suspect`` where one of the lists from ``start`` to ``stop`` may break a rule.

    Args:
        start: where to begin in ``lists``.
        stop: where to end.
        lists: what they say of themselves.
        tracks: their tracks, as numbers.
        spares: their spares.
        known: what all users know, by the number of their list.
        resting: what they had before.
        music: the catalogue.
        songs: the factors.
        rules: the settings.
        suspect: bool, beside ``lists``.
    """
    scratch = _scratch(music)
    for n in range(start, stop):
        no = lists.first + n
        left, excused = _know(no, known, music, rules, scratch)
        _rest(no, resting, music, scratch, True)
        begin, end = tracks.starts[n], tracks.starts[n + 1]
        length = end - begin
        wrong = length == 0 or length > rules.length or length < min(rules.length, left)
        broken, personal = 0, 0
        for k in range(begin, end):
            wrong |= tracks.position[k] != k - begin + 1
            wrong |= _misplaced(tracks, k, no, excused, music, scratch)
            wrong |= _misscored(tracks, k, n, lists, music, songs)
            broken |= _broken(tracks.track[begin : k + 1], music, rules, scratch)
            personal += tracks.source[k] == _PERSONAL
        wrong |= lists.said[n] != broken
        wrong |= lists.kind[n] != (personal > 0) + (personal == length)
        first, last = spares.starts[n], spares.starts[n + 1]
        wrong |= last - first > _MOST_SPARES
        for k in range(first, last):
            wrong |= _misplaced(spares, k, no, excused, music, scratch)
            wrong |= _misscored(spares, k, n, lists, music, songs)
            wrong |= _crowded(spares.track[k], music, scratch)
            wrong |= not _fits(spares, k, tracks.track[begin:end], music, rules, scratch)
        suspect[n] |= wrong
        _clear(tracks.track[begin:end], music, scratch)
        _clear(spares.track[first:last], music, scratch)
        _rest(no, resting, music, scratch, False)
        _forget(no, known, music, scratch)


@numba.njit(cache=True, nogil=True)
def look_left_out(first, known, music, rules, suspect):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Set ``suspect`` where there is a song for somebody refused; they are numbered from ``first``.

    The other arguments are those of :func:`look`.
    """
    scratch = _scratch(music)
    for n in range(len(suspect)):
        left, _ = _know(first + n, known, music, rules, scratch)
        _forget(first + n, known, music, scratch)
        suspect[n] |= left > 0


@numba.njit(cache=True, nogil=True)
def _scratch(music):  # type: ignore[no-untyped-def]  # pragma: no cover
    return _Scratch(
        np.zeros(len(music.open), np.uint8),
        np.zeros(len(music.song), np.int64),
        np.zeros(music.many_artists, np.int64),
        np.zeros(music.many_artists, np.uint8),
    )


@numba.njit(cache=True, nogil=True)
def _know(no, known, music, rules, scratch):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Mark what a user knows; returns how many songs they may get, and what excuses no reason."""
    left, excused = rules.open_songs, False
    for row in range(known.starts[no], known.stops[no]):
        track = known.track[row]
        heard, disliked = known.heard[row], known.disliked[row]
        excused |= not heard and not disliked
        if track < 0 or not (heard or disliked):
            continue
        song = music.song[track]
        left -= music.open[song] and scratch.mark[song] == 0
        scratch.mark[song] |= _HEARD * heard | _DISLIKED * disliked
        if heard:
            scratch.heard[track] = no + 1
    return left, excused


@numba.njit(cache=True, nogil=True)
def _forget(no, known, music, scratch):  # type: ignore[no-untyped-def]  # pragma: no cover
    for track in known.track[known.starts[no] : known.stops[no]]:
        if track >= 0:
            scratch.mark[music.song[track]] = 0


@numba.njit(cache=True, nogil=True)
def _rest(no, resting, music, scratch, rests):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Mark the songs of earlier editions; or, in the end, take every mark from them."""
    for file in range(len(resting.starts)):
        for track in resting.track[resting.starts[file, no] : resting.stops[file, no]]:
            if track >= 0:
                song = music.song[track]
                scratch.mark[song] = scratch.mark[song] | _RESTING if rests else 0


@numba.njit(cache=True, nogil=True)
def _misplaced(entries, k, no, excused, music, scratch):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Whether a track may not be there at all, or has no good reason; mark it as listed."""
    track, because = entries.track[k], entries.because[k]
    if track < 0:
        return True
    song = music.song[track]
    wrong = not music.available[track] or music.blocked[song]
    wrong |= scratch.mark[song] & (_HEARD | _DISLIKED | _LISTED) != 0
    scratch.mark[song] |= _LISTED
    if because == NO_REASON:
        return wrong or (entries.source[k] == _PERSONAL and not excused)
    return wrong or because < 0 or scratch.heard[because] != no + 1


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _misscored(entries, k, n, lists, music, songs):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Whether a score is none, its source unknown, or it is not the model's."""
    score, source = entries.score[k], entries.source[k]
    if not abs(score) < _LARGEST or source < _POPULAR:
        return True
    if source == _POPULAR:
        return False
    row = songs.row[music.song[entries.track[k]]] if entries.track[k] >= 0 else -1
    if row < 0 or not lists.scored[n]:
        return True
    product = 0.0
    for f in range(songs.factors.shape[1]):
        product += lists.users[n, f] * songs.factors[row, f]
    return not abs(score - product) <= _NEAR


@numba.njit(cache=True, nogil=True)
def _broken(tracks, music, rules, scratch):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The rules that the last of some tracks breaks; count it with its artists."""
    track, broken = tracks[-1], 0
    if track < 0:
        return broken
    if scratch.mark[music.song[track]] & _RESTING:
        broken |= _COOLDOWN
    if len(tracks) > 1 and _share(track, tracks[-2], music):
        broken |= _NEIGHBOURS
    for a in range(music.starts[track], music.starts[track + 1]):
        scratch.held[music.artists[a]] += 1
        if scratch.held[music.artists[a]] > rules.per_artist:
            broken |= _PER_ARTIST
    return broken


@numba.njit(cache=True, nogil=True)
def _share(one, other, music):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Whether two tracks have an artist in common."""
    if one < 0 or other < 0:
        return False
    for a in range(music.starts[one], music.starts[one + 1]):
        for b in range(music.starts[other], music.starts[other + 1]):
            if music.artists[a] == music.artists[b]:
                return True
    return False


@numba.njit(cache=True, nogil=True)
def _crowded(track, music, scratch):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Whether a spare rests, or shares an artist with one before it."""
    if track < 0:
        return True
    crowded = scratch.mark[music.song[track]] & _RESTING != 0
    for a in range(music.starts[track], music.starts[track + 1]):
        crowded |= scratch.spared[music.artists[a]] != 0
        scratch.spared[music.artists[a]] = 1
    return crowded


@numba.njit(cache=True, nogil=True)
def _fits(spares, k, own, music, rules, scratch):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Whether a spare says where in the list of tracks ``own`` it fits, and fits somewhere."""
    track = spares.track[k]
    if track < 0:
        return False
    at, stop = spares.not_starts[k], spares.not_starts[k + 1]
    if stop - at >= len(own):
        return False
    alone = True
    for a in range(music.starts[track], music.starts[track + 1]):
        alone &= scratch.held[music.artists[a]] == 0
    for place in range(0 if alone else len(own)):
        misfit = False
        for a in range(music.starts[track], music.starts[track + 1]):
            if scratch.held[music.artists[a]] >= rules.per_artist:
                misfit |= not _credits(own[place], music.artists[a], music)
        for beside in (place - 1, place + 1):
            if 0 <= beside < len(own) and _share(track, own[beside], music):
                misfit |= not _share(own[place], own[beside], music)
        if misfit:
            if at == stop or spares.not_at[at] != place + 1:
                return False
            at += 1
    return at == stop


@numba.njit(cache=True, nogil=True)
def _credits(track, artist, music):  # type: ignore[no-untyped-def]  # pragma: no cover
    if track < 0:
        return False
    for a in range(music.starts[track], music.starts[track + 1]):
        if music.artists[a] == artist:
            return True
    return False


@numba.njit(cache=True, nogil=True)
def _clear(tracks, music, scratch):  # type: ignore[no-untyped-def]  # pragma: no cover
    for track in tracks:
        if track >= 0:
            scratch.mark[music.song[track]] = 0
            for a in range(music.starts[track], music.starts[track + 1]):
                scratch.held[music.artists[a]] = 0
                scratch.spared[music.artists[a]] = 0
