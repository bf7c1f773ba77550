"""The loops that put rows into packed form. Needs NumPy and numba.

A frame is a key and a value as PostgreSQL's binary ``COPY`` has them: the number of fields (2),
then each field after its length, all big-endian. A value is little-endian, see
:mod:`recsys.store._value`.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numba
import numpy as np

Ints = np.ndarray[Any, Any]

#: Bytes of a frame beside its key and its value.
FRAME_BYTES: Final = 10

#: Bytes of a track, and of a position that a spare may not take.
RECORD_BYTES: Final = 17
PAIR_BYTES: Final = 4

#: What :func:`pack_rows` stopped at.
DONE, NO_ROOM, BAD_TEXT, BAD_POSITIONS, BAD_SPARE, BAD_NOT_AT, TWO_NAMES = range(7)

#: Without ``_nrt=False`` each call within a loop counts references to all its arrays, which takes
#: ten times as long as the work; nothing here allocates memory.
_compiled: Any = numba.njit(cache=True, nogil=True, _nrt=False)  # type: ignore[call-overload]

_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
_ABSENT: Final = np.uint64(0x51ED270B0D3AB8F5)
_HALF: Final = np.uint64(32)
_LOWER: Final = np.uint64(0xFFFFFFFF)
_HEADING: Final = 6


class Texts(NamedTuple):
    """A column of strings as Arrow has it; ``present`` is empty where no value is missing."""

    present: Ints
    ends: Ints
    data: Ints


class Entries(NamedTuple):
    """Tracks, or spares, of many playlists one after another; ``row_ends`` has a 0 before."""

    row_ends: Ints
    ids: Texts
    because: Texts
    names: Texts
    artist_ends: Ints
    artists: Texts
    scores: Ints
    sources: Texts


class Table(NamedTuple):
    """Different strings, numbered from 1 as they come: an open hash table that cannot grow.

    ``slots`` hold numbers, below the upper half of the string's hash, 0 where free; ``ends`` and
    ``data`` the strings, a 0 before the ends; ``used`` how many there are.
    """

    slots: Ints
    ends: Ints
    data: Ints
    used: Ints


# Indices are unsigned in the innermost loops: numba lets signed ones count from the end, which
# costs a branch a byte.


@_compiled
def _word(data: Ints, at: Any) -> Any:
    """Eight bytes as a number."""
    word = np.uint64(0)
    for n in range(8):
        word |= np.uint64(data[np.uint64(at) + np.uint64(n)]) << np.uint64(8 * n)
    return word


@_compiled
def _mixed(state: Any, word: Any) -> Any:
    state = (state ^ word) * _MULTIPLIER
    return state ^ (state >> np.uint64(29))


@_compiled
def _hash(state: Any, data: Ints, start: int, length: int) -> Any:
    state = _mixed(state, np.uint64(length))
    at, stop = np.uint64(start), np.uint64(start + length)
    while at + np.uint64(8) <= stop:
        state = _mixed(state, _word(data, at))
        at += np.uint64(8)
    if at < stop:
        tail = np.uint64(0)
        while at < stop:
            tail = tail << np.uint64(8) | np.uint64(data[at])
            at += np.uint64(1)
        state = _mixed(state, tail)
    return _mixed(state, state >> np.uint64(32))


@_compiled
def _same(a: Ints, start: int, b: Ints, other: int, length: int) -> bool:
    p, q, left = np.uint64(start), np.uint64(other), length
    while left >= 8 and _word(a, p) == _word(b, q):
        p, q, left = p + np.uint64(8), q + np.uint64(8), left - 8
    if left < 8:
        while left > 0 and a[p] == b[q]:
            p, q, left = p + np.uint64(1), q + np.uint64(1), left - 1
    return left == 0


@_compiled
def _number(
    slots: Ints, ends: Ints, strings: Ints, used: Ints, data: Ints, start: int, stop: int
) -> Any:
    """The number of a string in a :class:`Table`; there must be room for one more."""
    length = stop - start
    found = _hash(np.uint64(0), data, start, length)
    mask, tag = np.uint64(len(slots) - 1), found >> _HALF
    slot = found & mask
    entry = slots[slot]
    code = np.int64(entry & _LOWER)
    while code != 0 and not (
        entry >> _HALF == tag
        and ends[code] - ends[code - 1] == length
        and _same(strings, ends[code - 1], data, start, length)
    ):
        slot = (slot + np.uint64(1)) & mask
        entry = slots[slot]
        code = np.int64(entry & _LOWER)
    if code == 0:
        code = used[0] + 1
        used[0] = code
        slots[slot] = tag << _HALF | np.uint64(code)
        first = ends[code - 1]
        for n in range(length):
            strings[first + n] = data[start + n]
        ends[code] = first + length
    return code


@_compiled
def fill_slots(table: Table) -> None:
    """Enter the strings of a table whose slots are all free."""
    slots, ends, strings, used = table
    mask = np.uint64(len(slots) - 1)
    for code in range(1, used[0] + 1):
        found = _hash(np.uint64(0), strings, ends[code - 1], ends[code] - ends[code - 1])
        slot = found & mask
        while slots[slot] != 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = found >> _HALF << _HALF | np.uint64(code)


@_compiled
def _has_room(ends: Ints, data: Ints, used: Ints, strings: int, length: int) -> Any:
    return used[0] + strings < len(ends) and ends[used[0]] + length < len(data)


@_compiled
def _is_sound(ends: Ints, data: Ints, start: int, stop: int) -> Any:
    """Whether no string ends before it begins, and all of them lie in the data."""
    last = ends[start]
    sound = last >= 0
    for n in range(start + 1, stop + 1):
        sound &= ends[n] >= last
        last = ends[n]
    return sound and last <= len(data)


@_compiled
def _put_little(out: Ints, at: int, number: int, count: int) -> None:
    for n in range(count):
        out[np.uint64(at) + np.uint64(n)] = np.uint8(
            np.uint64(number) >> np.uint64(8 * n) & np.uint64(255)
        )


@_compiled
def _put_big(out: Ints, at: int, number: int, count: int) -> None:
    for n in range(count):
        out[np.uint64(at) + np.uint64(n)] = np.uint8(
            np.uint64(number) >> np.uint64(8 * (count - 1 - n)) & np.uint64(255)
        )


@_compiled
def _fingerprint(
    called: Ints,
    name_ends: Ints,
    name_data: Ints,
    artist_ends: Ints,
    credited: Ints,
    text_ends: Ints,
    text_data: Ints,
    n: int,
) -> Any:
    """64 bits of what a track is called, and by whom; never 0."""
    state = np.uint64(1)
    if len(called) and not called[n]:
        state = _mixed(state, _ABSENT)
    else:
        state = _hash(state, name_data, name_ends[n], name_ends[n + 1] - name_ends[n])
    state = _mixed(state, np.uint64(artist_ends[n + 1] - artist_ends[n]))
    for a in range(artist_ends[n], artist_ends[n + 1]):
        if len(credited) and not credited[a]:
            state = _mixed(state, _ABSENT)
        else:
            state = _hash(state, text_data, text_ends[a], text_ends[a + 1] - text_ends[a])
    return state | np.uint64(1)


@_compiled
def _pack_entries(
    entries: Entries,
    start: int,
    stop: int,
    before: int,
    tracks: Table,
    sources: Table,
    naming: Ints,
    named: Ints,
    codes: Ints,
    count: int,
    out: Ints,
    at: int,
) -> int:
    """Write tracks, or spares, of one row; returns why it stopped.

    ``codes`` gets their codes, behind the ``count`` that the row has had before; ``before`` is
    added to what ``named`` gets.
    """
    _, ids, because, names, artist_ends, artists, scores, origins = entries
    _, id_ends, id_data = ids
    caused, because_ends, because_data = because
    called, name_ends, name_data = names
    credited, text_ends, text_data = artists
    _, origin_ends, origin_data = origins
    slots, ends, strings, used = tracks
    source_slots, source_ends, source_strings, source_used = sources
    first, last = artist_ends[start], artist_ends[stop]
    if not (
        _is_sound(id_ends, id_data, start, stop)
        and _is_sound(because_ends, because_data, start, stop)
        and _is_sound(name_ends, name_data, start, stop)
        and _is_sound(origin_ends, origin_data, start, stop)
        and _is_sound(text_ends, text_data, first, last)
    ):
        return BAD_TEXT
    length = np.int64(id_ends[stop]) - id_ends[start] + because_ends[stop] - because_ends[start]
    room = _has_room(ends, strings, used, 2 * (stop - start), length)
    length = np.int64(origin_ends[stop]) - origin_ends[start]
    if not room or not _has_room(source_ends, source_strings, source_used, stop - start, length):
        return NO_ROOM
    state = DONE
    for n in range(start, stop):
        first, last = np.int64(id_ends[n]), np.int64(id_ends[n + 1])
        code = _number(slots, ends, strings, used, id_data, first, last)
        cause = 0
        if not len(caused) or caused[n]:
            first, last = np.int64(because_ends[n]), np.int64(because_ends[n + 1])
            cause = _number(slots, ends, strings, used, because_data, first, last)
        first, last = np.int64(origin_ends[n]), np.int64(origin_ends[n + 1])
        source = _number(
            source_slots, source_ends, source_strings, source_used, origin_data, first, last
        )
        fingerprint = _fingerprint(
            called, name_ends, name_data, artist_ends, credited, text_ends, text_data, n
        )
        if naming[code] == 0:
            naming[code] = fingerprint
            named[code] = before + n
        elif naming[code] != fingerprint:
            state = TWO_NAMES  # unless the row has something worse
        _put_little(out, at, code, 4)
        _put_little(out, at + 4, cause, 4)
        _put_little(out, at + 8, scores[n], 8)
        out[at + 16] = np.uint8(source - 1)
        at += RECORD_BYTES
        codes[count + n - start] = code
    return state


@_compiled
def pack_rows(  # noqa: C901 (one row after another, each in one go)
    row: int,
    users: Texts,
    forms: Ints,
    listed: Entries,
    positions: Ints,
    spares: Entries,
    not_at_ends: Ints,
    not_at: Ints,
    tracks: Table,
    sources: Table,
    naming: Ints,
    named: Ints,
    codes: Ints,
    starts: Ints,
    out: Ints,
) -> tuple[int, int]:
    """Write the frames of rows from ``row`` on; numbers are given in the order of the rows.

    Args:
        row: the first to be written.
        users: who the rows belong to.
        forms: of each row.
        listed: the tracks of all rows.
        positions: of each track.
        spares: the spares of all rows.
        not_at_ends: where the positions of each spare end, a 0 before.
        not_at: positions that spares may not take.
        tracks: where tracks get their codes.
        sources: likewise.
        naming: by code of a track, a fingerprint of its names; 0 while it was not listed yet.
        named: gets, by code, where in ``listed``, and then ``spares``, the track was first listed,
            for tracks that are listed for the first time.
        codes: room for one number a track and spare of any row.
        starts: where the frame of each row begins.
        out: the frames.

    Returns:
        The row that it stopped at, and why. After ``NO_ROOM`` it may be called again for that row.
    """
    _, user_ends, user_data = users
    track_ends, spare_ends = listed.row_ends, spares.row_ends
    for n in range(row, len(starts) - 1):
        track, spare = track_ends[n], spare_ends[n]
        track_count, spare_count = track_ends[n + 1] - track, spare_ends[n + 1] - spare
        at, first = starts[n], user_ends[n]
        user_length = user_ends[n + 1] - first
        _put_big(out, at, 2, 2)
        _put_big(out, at + 2, user_length, 4)
        for byte in range(user_length):
            out[at + 6 + byte] = user_data[first + byte]
        at += 6 + user_length
        _put_big(out, at, starts[n + 1] - at - 4, 4)
        _put_little(out, at + 4, forms[n], 2)
        _put_little(out, at + 6, track_count, 2)
        _put_little(out, at + 8, spare_count, 2)
        at += 4 + _HEADING
        tables = (tracks, sources, naming, named, codes)
        state = _pack_entries(listed, track, track + track_count, 0, *tables, 0, out, at)
        if state in (BAD_TEXT, NO_ROOM):
            return n, state
        at += RECORD_BYTES * track_count
        last = spare + spare_count
        of_spares = _pack_entries(
            spares, spare, last, track_ends[-1], *tables, track_count, out, at
        )
        if of_spares in (BAD_TEXT, NO_ROOM):
            return n, of_spares
        at += RECORD_BYTES * spare_count
        for position in range(track_count):
            if positions[track + position] != position + 1:
                return n, BAD_POSITIONS
        for code in range(track_count, track_count + spare_count):
            for other in range(code):
                if codes[other] == codes[code]:
                    return n, BAD_SPARE
        for other in range(spare_count):
            for place in range(not_at_ends[spare + other], not_at_ends[spare + other + 1]):
                if not_at[place] < 1 or not_at[place] > track_count:
                    return n, BAD_NOT_AT
                _put_little(out, at, other, 2)
                _put_little(out, at + 2, not_at[place], 2)
                at += PAIR_BYTES
        if TWO_NAMES in (state, of_spares):
            return n, TWO_NAMES
    return len(starts) - 1, DONE


@_compiled
def put_frames(keys: Ints, key_ends: Ints, values: Ints, value_ends: Ints, out: Ints) -> None:
    """Write frames of keys and values that lie one after another; both ends have a 0 before."""
    at = 0
    for n in range(len(key_ends) - 1):
        first, last = key_ends[n], key_ends[n + 1]
        _put_big(out, at, 2, 2)
        _put_big(out, at + 2, last - first, 4)
        for byte in range(last - first):
            out[at + 6 + byte] = keys[first + byte]
        at += 6 + last - first
        first, last = value_ends[n], value_ends[n + 1]
        _put_big(out, at, last - first, 4)
        for byte in range(last - first):
            out[at + 4 + byte] = values[first + byte]
        at += 4 + last - first
