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
DONE, BAD_POSITIONS, BAD_SPARE, BAD_NOT_AT, TWO_NAMES = range(5)

_HEADING: Final = 6
_UNLISTED: Final = -1

_compiled: Any = numba.njit(cache=True, nogil=True)
_inlined: Any = numba.njit(inline="always")


class Rows(NamedTuple):
    """Rows as integers; all ``ends`` have a 0 before. Spares come behind the tracks of all rows.

    Attributes:
        user_ends: where users end in ``users``.
        users: UTF-8.
        forms: of each row.
        track_ends: where the tracks of each row end.
        spare_ends: where the spares of each row end, counted from the first spare.
        ids: numbers of tracks, from 1.
        because: likewise; 0 for none.
        names: numbers of texts, from 1; 0 for none.
        artist_ends: where the artists of each entry end in ``artists``.
        artists: like ``names``.
        scores: the bits of float64.
        sources: numbers of sources, from 1.
        positions: of each track.
        not_at_ends: where the positions of each spare end.
        not_at: positions that spares may not take.
    """

    user_ends: Ints
    users: Ints
    forms: Ints
    track_ends: Ints
    spare_ends: Ints
    ids: Ints
    because: Ints
    names: Ints
    artist_ends: Ints
    artists: Ints
    scores: Ints
    sources: Ints
    positions: Ints
    not_at_ends: Ints
    not_at: Ints


#: What :class:`Codes` knows of a track: its name, how many artists (−1: not listed yet), where they
#: begin in ``artists``, the first of them, and the row that listed it last.
NAME, ARTISTS, BEGIN, FIRST, ROW = range(5)
#: Three more that mean nothing: a track has half a line of the processor's cache, not parts of two.
FACTS: Final = 8


class Codes(NamedTuple):
    """The codes given so far, in the order in which rows name tracks and sources.

    Attributes:
        codes: by number of a track, its code; 0 before it has one.
        tracks: by number of a track, its facts.
        numbers: by code of a track, its number.
        artists: of all tracks listed.
        sources: by number of a source, its code from 1; 0 before it has one.
        used: how many tracks, artists and sources; and how many rows were packed.
    """

    codes: Ints
    tracks: Ints
    numbers: Ints
    artists: Ints
    sources: Ints
    used: Ints


# Places are unsigned: numba lets signed ones count from the end, which costs a branch a byte.


@_inlined
def _put_little(out, at, number, count):  # type: ignore[no-untyped-def]
    for n in range(count):
        out[at + np.uint64(n)] = np.uint8(number >> np.uint64(8 * n))


@_inlined
def _put_big(out, at, number, count):  # type: ignore[no-untyped-def]
    for n in range(count):
        out[at + np.uint64(n)] = np.uint8(number >> np.uint64(8 * (count - 1 - n)))


@_compiled
def pack_rows(rows: Rows, codes: Codes, starts: Ints, out: Ints) -> tuple[int, int]:  # noqa: C901 (one pass over all fields)
    """Write the frames of rows; codes are given as rows name tracks.

    Args:
        rows: what to write.
        codes: room for all tracks, artists and sources that the rows can name.
        starts: where the frame of each row begins.
        out: the frames.

    Returns:
        The row that it stopped at, and why.
    """
    user_ends, users, forms, track_ends, spare_ends, ids, because, names = rows[:8]
    artist_ends, artists, scores, sources, positions, not_at_ends, not_at = rows[8:]
    code_of, known, number_of, credited, source_of, used = codes
    rows_before = used[3] + 1
    all_tracks = track_ends[-1]
    for row in range(len(starts) - 1):
        track, spare = track_ends[row], spare_ends[row]
        track_count, spare_count = track_ends[row + 1] - track, spare_ends[row + 1] - spare
        at, first, length = np.uint64(starts[row]), user_ends[row], user_ends[row + 1]
        length -= first
        _put_big(out, at, np.uint64(2), 2)
        _put_big(out, at + np.uint64(2), np.uint64(length), 4)
        at += np.uint64(6)
        for byte in range(length):
            out[at + np.uint64(byte)] = users[first + byte]
        at += np.uint64(length)
        _put_big(out, at, np.uint64(starts[row + 1]) - at - np.uint64(4), 4)
        at += np.uint64(4)
        heading = np.uint64(forms[row] | track_count << 16 | spare_count << 32)
        _put_little(out, at, heading, _HEADING)
        at += np.uint64(_HEADING)
        for place in range(track_count):
            if positions[track + place] != place + 1:
                return row, BAD_POSITIONS
        for place in range(track_count + spare_count):
            entry = np.uint64(track + place)
            if place >= track_count:
                entry = np.uint64(all_tracks + spare + place - track_count)
            number = np.uint64(ids[entry])
            if code_of[number] == 0:
                used[0] += 1
                code_of[number], known[number, ARTISTS] = used[0], _UNLISTED
                number_of[used[0]] = number
            code = np.uint64(code_of[number])
            if place >= track_count and known[number, ROW] == rows_before + row:
                return row, BAD_SPARE
            known[number, ROW] = rows_before + row
            first = artist_ends[entry]
            length = artist_ends[entry + np.uint64(1)] - first
            artist = artists[first] if length else 0
            if known[number, ARTISTS] == _UNLISTED:
                known[number, NAME], known[number, FIRST] = names[entry], artist
                known[number, ARTISTS], known[number, BEGIN] = length, used[1]
                for n in range(length):
                    credited[used[1] + n] = artists[first + n]
                used[1] += length
            else:
                same = known[number, NAME] == names[entry] and known[number, FIRST] == artist
                same &= known[number, ARTISTS] == length
                for n in range(1, length if same else 0):
                    same &= credited[known[number, BEGIN] + n] == artists[first + n]
                if not same:
                    return row, TWO_NAMES
            number = np.uint64(because[entry])
            cause = np.uint64(0)
            if number:
                if code_of[number] == 0:
                    used[0] += 1
                    code_of[number], known[number, ARTISTS] = used[0], _UNLISTED
                    number_of[used[0]] = number
                cause = np.uint64(code_of[number])
            number = np.uint64(sources[entry])
            if source_of[number] == 0:
                used[2] += 1
                source_of[number] = used[2]
            _put_little(out, at, code | cause << np.uint64(32), 8)
            _put_little(out, at + np.uint64(8), scores[entry], 8)
            out[at + np.uint64(16)] = np.uint8(source_of[number] - 1)
            at += np.uint64(RECORD_BYTES)
        for other in range(spare_count):
            for n in range(not_at_ends[spare + other], not_at_ends[spare + other + 1]):
                if not_at[n] < 1 or not_at[n] > track_count:
                    return row, BAD_NOT_AT
                _put_little(out, at, np.uint64(other | not_at[n] << 16), PAIR_BYTES)
                at += np.uint64(PAIR_BYTES)
    used[3] += len(starts) - 1
    return len(starts) - 1, DONE


@_compiled
def renumber(indices: Ints, numbers: Ints, out: Ints) -> bool:
    """Look indices up in ``numbers``, the last of which is for null; False if one is not there."""
    highest = np.uint32(0)
    for index in indices:
        highest = max(highest, np.uint32(index))  # one below 0 counts from no end
    if highest >= np.uint32(len(numbers)):
        return False
    for n in range(len(indices)):
        out[n] = numbers[np.uint32(indices[n])]
    return True


@_compiled
def put_frames(keys: Ints, key_ends: Ints, values: Ints, value_ends: Ints, out: Ints) -> None:
    """Write frames of keys and values that lie one after another; both ends have a 0 before."""
    at = np.uint64(0)
    for n in range(len(key_ends) - 1):
        _put_big(out, at, np.uint64(2), 2)
        at += np.uint64(2)
        for data, ends in ((keys, key_ends), (values, value_ends)):
            length = np.uint64(ends[n + 1] - ends[n])
            _put_big(out, at, length, 4)
            at += np.uint64(4)
            for byte in range(ends[n], ends[n + 1]):
                out[at] = data[byte]
                at += np.uint64(1)
