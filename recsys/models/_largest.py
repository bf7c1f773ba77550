"""The largest of each column, and the next, by lanes."""

from __future__ import annotations

import numba
import numpy as np

from recsys.models._lanes import load, plus, spread, store, times, where_more
from recsys.models._panels import panel


@numba.njit(cache=True, nogil=True)
def largest(parts, right, lengths, slack, width, among):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The row of the largest of each column, -1 for none, that one, and the next largest: float32.

    Each part is wrong by no more than its row's length times its column's slack, and counts for as
    much as it may be.
    """
    out, bars, zero = np.empty((3, len(slack)), np.float32), slack.reshape(1, -1), np.uintp(0)
    for k in range(zero, np.uintp(width), np.uintp(8)):
        found, bar = _none(), load(bars, zero, k)
        for n in range(np.uintp(len(right))):
            if among[n]:
                found = _more(found, n, load(parts, n, k), bar, right[n], lengths[n])
        _note(out, k, found)
    return out


@numba.njit(cache=True, nogil=True)
def largest_of(left, solved, right, lengths, slack, width, among):  # type: ignore[no-untyped-def]  # pragma: no cover
    """:func:`largest` of ``left solved``."""
    out, bars, zero = np.empty((3, len(slack)), np.float32), slack.reshape(1, -1), np.uintp(0)
    one, eight, observed = np.uintp(1), np.uintp(8), np.uintp(len(right))
    for k in range(zero, np.uintp(width), np.uintp(16)):
        found, others = _none(), _none()
        bar, others_bar = load(bars, zero, k), load(bars, zero, k + eight)
        for n in range(zero, observed, np.uintp(4)):
            m = np.uintp(n)
            for x, y in panel(n, k, left.T, solved, zero, np.uintp(len(solved))):
                if m < observed and among[m]:
                    found = _more(found, m, x, bar, right[m], lengths[m])
                    others = _more(others, m, y, others_bar, right[m], lengths[m])
                m += one
        _note(out, k, found)
        _note(out, k + eight, others)
    return out


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
