"""Small positive definite systems in float32, by panels of four rows and sixteen columns.

All matrices have rows of contiguous numbers, a multiple of four of them, and are worked on in lanes
of eight: what stands behind the last column that is meant is carried along and means nothing. Each
panel stays in registers until it is finished; the four lanes one below the other are a *pile*.
Places are counted without a sign, which spares the code for negative ones.
"""

from __future__ import annotations

from typing import Final

import numba
import numpy as np

from recsys.models._lanes import load, minus, plus, spread, store, times

#: Products over many rows are summed so many at a time, an even number: where rows are alike, each
#: rounding of one long sum goes the same way (Higham 2002, section 4.2).
_STRETCH: Final = np.uintp(32)


@numba.njit(cache=True, nogil=True)
def reduce(rows, end, joined, width, inverse):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write ``[U, U'^-1 W']`` over ``joined``, where ``U'U = I + V'V``.

    Args:
        rows: float32 ``[V, W]``, and ``W'`` is ``V'W``; or ``V`` alone, of whole lanes, and ``W'``
            is what stands in ``joined`` behind the first ``size`` columns.
        end: the columns of ``rows``.
        joined: float32 ``[size, more]``; what is below the diagonal means nothing.
        width: the columns of ``[U, W']``.
        inverse: float32 ``[size]``, becomes 1 by the diagonal of ``U``.

    Returns:
        Whether it could: False where rounding left the system without a factor.
    """
    zero, four, eight, sixteen = np.uintp(0), np.uintp(4), np.uintp(8), np.uintp(16)
    depth, end, width = np.uintp(len(rows)), np.uintp(end), np.uintp(width)
    for n in range(zero, np.uintp(len(joined)), four):
        first = k = n // eight * eight
        while k < width:
            wide = k + eight < (end if k < end else width)
            if wide:
                if k < end:
                    piles = _wide_squares(rows, n, k, depth)
                else:
                    piles = _pile(joined, n, k), _pile(joined, n, k + eight)
                pile, other = _wide_less(piles, joined, joined, n, k, zero, n)
            else:
                pile = _squares(rows, n, k, depth) if k < end else _pile(joined, n, k)
                other = pile = _less(pile, joined, joined, n, k, zero, n)
            if k == first:
                _put(joined, n, k, pile)
                if not _factor(joined, n, k, inverse):
                    return False
            else:
                _put(joined, n, k, _forward(joined, n, inverse, pile))
            if wide:
                _put(joined, n, k + eight, _forward(joined, n, inverse, other))
            k += sixteen if wide else eight
    return True


@numba.njit(cache=True, nogil=True)
def backward(joined, end, inverse):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Overwrite ``[U, C]`` with ``[U, U^-1 C]``, as far as its column ``end``."""
    size, four, eight, end = np.uintp(len(joined)), np.uintp(4), np.uintp(8), np.uintp(end)
    for back in range(four, size + four, four):
        n, k = size - back, size
        while k < end:
            if k + eight < end:
                piles = _pile(joined, n, k), _pile(joined, n, k + eight)
                pile, other = _wide_less(piles, joined.T, joined, n, k, n + four, size)
                _put(joined, n, k, _back(joined, n, inverse, pile))
                _put(joined, n, k + eight, _back(joined, n, inverse, other))
                k += eight
            else:
                pile = _less(_pile(joined, n, k), joined.T, joined, n, k, n + four, size)
                _put(joined, n, k, _back(joined, n, inverse, pile))
            k += eight


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"}, forceinline=True)
def solve_one(joined, column):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Overwrite a column with ``(U'U)^-1 column``."""
    size = np.uintp(len(joined))
    for n in range(size):
        row, value = joined[n], column[n] / joined[n, n]
        column[n] = value
        for k in range(n + np.uintp(1), size):
            column[k] -= value * row[k]
    for back in range(size):
        m = size - np.uintp(1) - back
        row, total = joined[m], np.float32(0.0)
        for k in range(m + np.uintp(1), size):
            total += column[k] * row[k]
        column[m] = (column[m] - total) / row[m]


@numba.njit(cache=True, nogil=True)
def wide_sums(piles, coefficients, stack, places, k, first, last):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Add to two piles at ``places`` and ``k`` the products over rows of the two."""
    (a, c, e, g), (b, d, f, h) = piles
    i, j, m, n = places
    for r in range(first, last):
        x, y = load(stack, r, k), load(stack, r, k + np.uintp(8))
        p, q = spread(coefficients[r, i]), spread(coefficients[r, j])
        s, t = spread(coefficients[r, m]), spread(coefficients[r, n])
        a, b = plus(a, p, x), plus(b, p, y)
        c, d = plus(c, q, x), plus(d, q, y)
        e, f = plus(e, s, x), plus(f, s, y)
        g, h = plus(g, t, x), plus(h, t, y)
    return (a, c, e, g), (b, d, f, h)


@numba.njit(cache=True, nogil=True)
def _sums(pile, coefficients, stack, places, k, first, last):  # type: ignore[no-untyped-def]  # pragma: no cover
    """:func:`wide_sums` for one pile, any four columns and an even number of rows."""
    i, j, m, n = places
    (a, c, e, g), (b, d, f, h) = pile, nothing()
    for r in range(first, last, np.uintp(2)):
        s = r + np.uintp(1)
        x, y = load(stack, r, k), load(stack, s, k)
        a, b = plus(a, spread(coefficients[r, i]), x), plus(b, spread(coefficients[s, i]), y)
        c, d = plus(c, spread(coefficients[r, j]), x), plus(d, spread(coefficients[s, j]), y)
        e, f = plus(e, spread(coefficients[r, m]), x), plus(f, spread(coefficients[s, m]), y)
        g, h = plus(g, spread(coefficients[r, n]), x), plus(h, spread(coefficients[s, n]), y)
    return _both((a, c, e, g), (b, d, f, h))


@numba.njit(cache=True, nogil=True)
def _wide_squares(rows, n, k, depth):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Two piles of ``V'V``, by stretches of rows."""
    first, last = np.uintp(0), min(_STRETCH, depth)
    none = nothing(), nothing()
    pile, other = wide_sums(none, rows, rows, _four(n), k, first, last)
    while last < depth:
        first, last = last, min(last + _STRETCH, depth)
        more, others = wide_sums(none, rows, rows, _four(n), k, first, last)
        pile, other = _both(pile, more), _both(other, others)
    return pile, other


@numba.njit(cache=True, nogil=True)
def _squares(rows, n, k, depth):  # type: ignore[no-untyped-def]  # pragma: no cover
    """A pile of ``V'V``, by stretches of rows."""
    first, last = np.uintp(0), min(_STRETCH, depth)
    pile = _sums(nothing(), rows, rows, _four(n), k, first, last)
    while last < depth:
        first, last = last, min(last + _STRETCH, depth)
        pile = _both(pile, _sums(nothing(), rows, rows, _four(n), k, first, last))
    return pile


@numba.njit(cache=True, nogil=True)
def _both(pile, other):  # type: ignore[no-untyped-def]  # pragma: no cover
    (a, b, c, d), (e, f, g, h) = pile, other
    by = spread(np.float32(1.0))
    return plus(a, by, e), plus(b, by, f), plus(c, by, g), plus(d, by, h)


@numba.njit(cache=True, nogil=True)
def _wide_less(piles, coefficients, stack, n, k, first, last):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Two piles without the sums of :func:`wide_sums`."""
    pile, other = piles
    piles = _negative(pile), _negative(other)
    pile, other = wide_sums(piles, coefficients, stack, _four(n), k, first, last)
    return _negative(pile), _negative(other)


@numba.njit(cache=True, nogil=True)
def _less(pile, coefficients, stack, n, k, first, last):  # type: ignore[no-untyped-def]  # pragma: no cover
    """A pile without the sums of :func:`_sums`."""
    return _negative(_sums(_negative(pile), coefficients, stack, _four(n), k, first, last))


@numba.njit(cache=True, nogil=True)
def _negative(pile):  # type: ignore[no-untyped-def]  # pragma: no cover
    a, b, c, d = pile
    by = spread(np.float32(-1.0))
    return times(a, by), times(b, by), times(c, by), times(d, by)


@numba.njit(cache=True, nogil=True)
def nothing():  # type: ignore[no-untyped-def]  # pragma: no cover
    zero = spread(np.float32(0.0))
    return zero, zero, zero, zero


@numba.njit(cache=True, nogil=True)
def _four(n):  # type: ignore[no-untyped-def]  # pragma: no cover
    return n, n + np.uintp(1), n + np.uintp(2), n + np.uintp(3)


@numba.njit(cache=True, nogil=True)
def _pile(rows, n, k):  # type: ignore[no-untyped-def]  # pragma: no cover
    one, two, three = np.uintp(1), np.uintp(2), np.uintp(3)
    return (
        load(rows, n, k),
        load(rows, n + one, k),
        load(rows, n + two, k),
        load(rows, n + three, k),
    )


@numba.njit(cache=True, nogil=True)
def _put(rows, n, k, pile):  # type: ignore[no-untyped-def]  # pragma: no cover
    a, b, c, d = pile
    store(rows, n, k, a)
    store(rows, n + np.uintp(1), k, b)
    store(rows, n + np.uintp(2), k, c)
    store(rows, n + np.uintp(3), k, d)


@numba.njit(cache=True, nogil=True)
def _factor(joined, n, k, inverse):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Four rows of the factor, as far as the lanes at ``k`` go, where the diagonal is."""
    one, four = np.uintp(1), np.uintp(4)
    for m in range(n, n + four):
        joined[m, m] += np.float32(1.0)
    for m in range(n, n + four):
        if not joined[m, m] > 0:
            return False
        inverse[m] = np.float32(1.0) / np.sqrt(joined[m, m])
        row = times(load(joined, m, k), spread(inverse[m]))
        store(joined, m, k, row)
        for b in range(m + one, n + four):
            store(joined, b, k, minus(load(joined, b, k), spread(joined[m, b]), row))
    return True


@numba.njit(cache=True, nogil=True)
def _forward(joined, n, inverse, pile):  # type: ignore[no-untyped-def]  # pragma: no cover
    """``U'^-1`` times a pile, ``U`` being the four rows and columns of the factor at ``n``."""
    o, p, q = n + np.uintp(1), n + np.uintp(2), n + np.uintp(3)
    a, b, c, d = pile
    a = times(a, spread(inverse[n]))
    b = times(minus(b, spread(joined[n, o]), a), spread(inverse[o]))
    c = minus(minus(c, spread(joined[n, p]), a), spread(joined[o, p]), b)
    c = times(c, spread(inverse[p]))
    d = minus(minus(d, spread(joined[n, q]), a), spread(joined[o, q]), b)
    d = times(minus(d, spread(joined[p, q]), c), spread(inverse[q]))
    return a, b, c, d


@numba.njit(cache=True, nogil=True)
def _back(joined, n, inverse, pile):  # type: ignore[no-untyped-def]  # pragma: no cover
    """``U^-1`` times a pile."""
    o, p, q = n + np.uintp(1), n + np.uintp(2), n + np.uintp(3)
    a, b, c, d = pile
    d = times(d, spread(inverse[q]))
    c = times(minus(c, spread(joined[p, q]), d), spread(inverse[p]))
    b = minus(minus(b, spread(joined[o, q]), d), spread(joined[o, p]), c)
    b = times(b, spread(inverse[o]))
    a = minus(minus(a, spread(joined[n, q]), d), spread(joined[n, p]), c)
    a = times(minus(a, spread(joined[n, o]), b), spread(inverse[n]))
    return a, b, c, d
