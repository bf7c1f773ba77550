"""The largest of each column, and the next, by lanes."""

from __future__ import annotations

from typing import Final

import numba
import numpy as np

from recsys.models._lanes import any_more, load, minus, plus, spread, store, times, where_more
from recsys.models._panels import nothing, wide_sums

#: Steps in which rows are told apart by how much they can add.
_LEVELS: Final = 64


@numba.njit(cache=True, nogil=True)
def largest(parts, right, lengths, slack, width, among):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The row of the largest of each column, -1 for none, that one, and the next largest: float32.

    Each part is wrong by no more than its row's length times its column's slack, and counts for as
    much as it may be.
    """
    out, zero = np.empty((3, slack.shape[1]), np.float32), np.uintp(0)
    for k in range(zero, np.uintp(width), np.uintp(8)):
        found, bar = _none(), load(slack, zero, k)
        for n in range(np.uintp(len(among))):
            if among[n]:
                found = _more(found, n, load(parts, n, k), bar, right[n], lengths[n])
        _note(out, k, found)
    return out


@numba.njit(cache=True, nogil=True)
def largest_of(left, solved, right, lengths, slack, reach, closest, width, among):  # type: ignore[no-untyped-def]  # pragma: no cover
    """:func:`largest` of ``left solved``, of whose columns none is longer than its reach.

    Rows that can add most come first. The rest is left out where none of it can come as near to the
    largest as ``closest`` and what both may be wrong by (Cauchy-Schwarz), but never the first four.
    """
    out = np.empty((3, slack.shape[1]), np.float32)
    places, most, count = _longest_first(right, lengths, among)
    zero, one, two, three = np.uintp(0), np.uintp(1), np.uintp(2), np.uintp(3)
    size, eight = np.uintp(len(solved)), np.uintp(8)
    twice, close = spread(np.float32(2.0) * most[0]), spread(np.float32(closest))
    once = spread(np.float32(1.0))
    for k in range(zero, np.uintp(width), np.uintp(16)):
        found, others = _none(), _none()
        bar, others_bar = load(slack, zero, k), load(slack, zero, k + eight)
        reached, others_reached = load(reach, zero, k), load(reach, zero, k + eight)
        for n in range(zero, count, np.uintp(4)):
            by = spread(most[n])
            far = minus(minus(found[1], twice, bar), once, close)
            others_far = minus(minus(others[1], twice, others_bar), once, close)
            if n > zero and not (
                any_more(times(by, reached), far) or any_more(times(by, others_reached), others_far)
            ):
                break
            four = places[n], places[n + one], places[n + two], places[n + three]
            xs, ys = wide_sums((nothing(), nothing()), left.T, solved, four, k, zero, size)
            m = np.uintp(n)
            for x, y in zip(xs, ys):  # noqa: B905 - numba knows no strict
                if m < count:
                    row = places[m]
                    found = _more(found, row, x, bar, right[row], lengths[row])
                    others = _more(others, row, y, others_bar, right[row], lengths[row])
                m += one
        _note(out, k, found)
        _note(out, k + eight, others)
    return out


@numba.njit(cache=True, nogil=True)
def _longest_first(right, lengths, among):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The rows among, those of the largest ``right * lengths`` first, in 64 steps.

    Returns the rows, at least as much as each and any behind it have, and how many there are; room
    for four more is behind them.
    """
    largest = np.float32(0.0)
    for n in range(len(among)):
        largest = max(largest, right[n] * lengths[n])
    step = largest / np.float32(_LEVELS - 1) + np.float32(1e-30)
    starts = np.zeros(_LEVELS + 1, np.int32)
    level = np.empty(len(among), np.int32)
    for n in range(len(among)):
        level[n] = _LEVELS - 1 - np.int32(right[n] * lengths[n] / step)
        if among[n]:
            starts[level[n] + 1] += 1
    for n in range(_LEVELS):
        starts[n + 1] += starts[n]
    count = starts[_LEVELS]
    places, most = np.zeros(len(among) + 4, np.uintp), np.zeros(len(among) + 4, np.float32)
    for n in range(len(among)):
        if among[n]:
            places[starts[level[n]]] = n
            most[starts[level[n]]] = step * np.float32(_LEVELS - level[n])
            starts[level[n]] += 1
    return places, most, np.uintp(count)


@numba.njit(cache=True, nogil=True)
def _none():  # type: ignore[no-untyped-def]  # pragma: no cover
    least = spread(np.float32(-np.inf))
    return spread(np.float32(-1.0)), least, least


@numba.njit(cache=True, nogil=True)
def _more(found, n, parts, bar, right, length):  # type: ignore[no-untyped-def]  # pragma: no cover
    """What was found, with one row more."""
    row, most, following = found
    part = times(parts, spread(right))
    upper = plus(part, spread(right * length), bar)
    less = where_more(upper, most, most, upper)
    following = where_more(less, following, less, following)
    row = where_more(upper, most, spread(np.float32(n)), row)
    return row, where_more(upper, most, upper, most), following


@numba.njit(cache=True, nogil=True)
def _note(out, k, found):  # type: ignore[no-untyped-def]  # pragma: no cover
    n = np.uintp(0)
    for lanes in found:
        store(out, n, k, lanes)
        n += np.uintp(1)
