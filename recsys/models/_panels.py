"""Small positive definite systems in float32, by panels of four rows and sixteen columns.

All matrices have rows of contiguous numbers, a multiple of four of them, and room for sixteen
numbers behind the last that is meant; what is there is carried along and means nothing. Places are
counted without a sign, which spares the code for negative ones.
"""

from __future__ import annotations

import numba
import numpy as np

from recsys.models._lanes import load, plus, spread, store, times


@numba.njit(cache=True, nogil=True)
def reduce(rows, end, joined, width):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Overwrite ``[D, C]`` with ``[U, U'^-1 (C + V'W)]``, where ``U'U = D + V'V``.

    Args:
        rows: float32 ``[V, W]``, of which ``W`` may have fewer columns than ``C``, or none.
        end: the columns of ``[V, W]``.
        joined: float32 ``[size, more]``; what is below the diagonal means nothing.
        width: the columns of ``[D, C]``.

    Returns:
        Whether it could: False where rounding left the system without a factor.
    """
    first, four, eight, sixteen = np.uintp(0), np.uintp(4), np.uintp(8), np.uintp(16)
    for n in range(first, np.uintp(len(joined)), four):
        start = n // eight * eight
        for k in range(start, np.uintp(width), sixteen):
            if k < np.uintp(end):
                _add(joined, n, k, 1.0, rows, rows, first, np.uintp(len(rows)))
            _add(joined, n, k, -1.0, joined, joined, first, n)
        for m in range(n, n + four):
            if not joined[m, m] > 0:
                return False
            _scale(joined, m, start, width, np.float32(1.0) / np.sqrt(joined[m, m]))
            for b in range(m + np.uintp(1), n + four):
                _take(joined, b, m, start, width, joined[m, b])
    return True


@numba.njit(cache=True, nogil=True)
def backward(joined, end):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Overwrite ``[U, C]`` with ``[U, U^-1 C]``, as far as its column ``end``."""
    size, first, one, four = np.uintp(len(joined)), np.uintp(0), np.uintp(1), np.uintp(4)
    for back in range(first, size, four):
        n = size - four - back
        for k in range(size, np.uintp(end), np.uintp(16)):
            _add(joined, n, k, -1.0, joined.T, joined, n + four, size)
        for done in range(first, four):
            m = n + four - one - done
            _scale(joined, m, size, end, np.float32(1.0) / joined[m, m])
            for b in range(n, m):
                _take(joined, b, m, size, end, joined[b, m])


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
def panel(n, k, coefficients, stack, first, last):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Four rows from ``n``, two lanes from ``k`` on: sums of products over rows of the two."""
    one, two, three, eight = np.uintp(1), np.uintp(2), np.uintp(3), np.uintp(8)
    a = b = c = d = e = f = g = h = spread(np.float32(0.0))
    for r in range(first, last):
        x, y = load(stack, r, k), load(stack, r, k + eight)
        p, q = spread(coefficients[r, n]), spread(coefficients[r, n + one])
        s, t = spread(coefficients[r, n + two]), spread(coefficients[r, n + three])
        a, b = plus(a, p, x), plus(b, p, y)
        c, d = plus(c, q, x), plus(d, q, y)
        e, f = plus(e, s, x), plus(f, s, y)
        g, h = plus(g, t, x), plus(h, t, y)
    return (a, b), (c, d), (e, f), (g, h)


@numba.njit(cache=True, nogil=True)
def _add(out, n, k, factor, coefficients, stack, first, last):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Add to a panel of ``out``: ``factor`` times :func:`panel`."""
    by, m, one, eight = spread(np.float32(factor)), n, np.uintp(1), np.uintp(8)
    for left, right in panel(n, k, coefficients, stack, first, last):
        store(out, m, k, plus(load(out, m, k), by, left))
        store(out, m, k + eight, plus(load(out, m, k + eight), by, right))
        m += one


@numba.njit(cache=True, nogil=True)
def _scale(rows, n, start, end, factor):  # type: ignore[no-untyped-def]  # pragma: no cover
    by = spread(factor)
    for k in range(np.uintp(start), np.uintp(end), np.uintp(8)):
        store(rows, n, k, times(load(rows, n, k), by))


@numba.njit(cache=True, nogil=True)
def _take(rows, n, other, start, end, factor):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Take another row from one, so many times."""
    by = spread(-factor)
    for k in range(np.uintp(start), np.uintp(end), np.uintp(8)):
        store(rows, n, k, plus(load(rows, n, k), by, load(rows, other, k)))
