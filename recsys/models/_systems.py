"""Small positive definite systems in float64: those of :mod:`recsys.models._fold_in`."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def weighted(confidence, unobserved):  # type: ignore[no-untyped-def]  # pragma: no cover
    """``q`` and ``sqrt(c - w0)``, and True; ``c`` and ones, and False, where ``c`` is not more."""
    right = confidence.astype(np.float64)
    excess = right - unobserved
    rooted = excess.min() > 0
    root = np.sqrt(excess) if rooted else np.ones(len(right))
    return right / root, root, rooted


@numba.njit(cache=True, nogil=True)
def scaled(indices, items, scale, root):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The factors of some items, each column by ``scale`` and each row by ``root``."""
    found = np.empty((len(indices), items.shape[1]))
    for n in range(len(indices)):
        item = indices[n]
        for k in range(items.shape[1]):
            found[n, k] = items[item, k] * scale[k] * root[n]
    return found


@numba.njit(cache=True, nogil=True)
def system_of(indices, confidence, items, scale, unobserved):  # type: ignore[no-untyped-def]  # pragma: no cover
    """``left``, ``right``, a matrix ``A``, and whether it is ``I + VV'``.

    ``(I + V'V)^-1 Z'c = left' A^-1 right`` for the smaller ``A`` of ``I + VV'`` and ``I + V'V``,
    with ``V`` and ``q``; these divide by ``c - w0``, so with ``Z`` and ``c`` where one is not more.
    """
    right, root, rooted = weighted(confidence, unobserved)
    left = scaled(indices, items, scale, root)
    by_items = rooted and len(indices) < items.shape[1]
    if by_items:
        system = np.dot(left, left.T)
    elif rooted:
        system = np.dot(left.T, left)
    else:
        system = np.dot(left.T, left * (right - unobserved).reshape(-1, 1))
    for k in range(len(system)):
        system[k, k] += 1.0
    return left, right, system, by_items


@numba.njit(cache=True, nogil=True)
def solve(system, columns):  # type: ignore[no-untyped-def]  # pragma: no cover
    """``system^-1 columns`` of a positive definite ``system``.

    Both are reduced side by side: one pass over ``[U'U, columns]`` leaves ``[U, U'^-1 columns]``.
    """
    size, width = columns.shape
    joined = np.empty((size, size + width))
    joined[:, :size] = system
    joined[:, size:] = columns
    _reduce(joined)
    return _backward(joined)


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _reduce(joined):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Overwrite ``[U'U, C]`` with ``[U, U'^-1 C]``, ``U`` being upper triangular.

    Rows are taken off four at a time, one after the other, so that a sum stays at hand; what is
    left of the diagonal means nothing, and is carried along to begin at a whole vector. Places are
    counted without a sign, which spares the code for negative ones.
    """
    size, end = np.uintp(joined.shape[0]), np.uintp(joined.shape[1])
    row, one, four, vector = np.empty(joined.shape[1]), np.uintp(1), np.uintp(4), np.uintp(8)
    for n in range(size):
        start = n // vector * vector
        for k in range(start, end):
            row[k] = joined[n, k]
        m = np.uintp(0)
        while m + four <= n:
            b, c, d = m + one, m + one + one, m + one + one + one
            p, q, r, s = joined[m, n], joined[b, n], joined[c, n], joined[d, n]
            for k in range(start, end):
                less = row[k] - p * joined[m, k] - q * joined[b, k]
                row[k] = less - r * joined[c, k] - s * joined[d, k]
            m += four
        while m < n:
            p = joined[m, n]
            for k in range(start, end):
                row[k] -= p * joined[m, k]
            m += one
        if not row[n] > 0:
            raise np.linalg.LinAlgError("Matrix is not positive definite.")
        p = 1.0 / np.sqrt(row[n])
        for k in range(start, end):
            joined[n, k] = row[k] * p


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _backward(joined):  # type: ignore[no-untyped-def]  # pragma: no cover
    """``U^-1 C`` of ``[U, C]``, as in :func:`_reduce`."""
    size, one, four = np.uintp(joined.shape[0]), np.uintp(1), np.uintp(4)
    found = np.empty((joined.shape[0], joined.shape[1] - joined.shape[0]))
    row, width = np.empty(found.shape[1]), np.uintp(found.shape[1])
    for back in range(size):
        n = size - one - back
        for k in range(width):
            row[k] = joined[n, size + k]
        m = size - one
        while m >= n + four:
            b, c, d = m - one, m - one - one, m - one - one - one
            p, q, r, s = joined[n, m], joined[n, b], joined[n, c], joined[n, d]
            for k in range(width):
                less = row[k] - p * found[m, k] - q * found[b, k]
                row[k] = less - r * found[c, k] - s * found[d, k]
            m -= four
        while m > n:
            p = joined[n, m]
            for k in range(width):
                row[k] -= p * found[m, k]
            m -= one
        p = 1.0 / joined[n, n]
        for k in range(width):
            found[n, k] = row[k] * p
    return found


@numba.njit(cache=True, nogil=True)
def added(left, system, by_items, targets):  # type: ignore[no-untyped-def]  # pragma: no cover
    """What each item observed adds to each column of ``targets``, but for the factor ``right``."""
    if by_items:
        return solve(system, np.dot(left, targets))
    return np.dot(left, solve(system, targets))
