"""Rows of a matrix gathered, scaled and weighted, in float32: as rows or as columns."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from recsys.models._lanes import load, plus, spread, store, times, turn


def rounded_items(items: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Rows of whole lanes, and one of zeros behind the last."""
    found = np.zeros((len(items) + 1, up(items.shape[1], 8)), np.float32)
    found[:-1, : items.shape[1]] = items
    return found


@numba.njit(cache=True, nogil=True)
def up(number, step):  # type: ignore[no-untyped-def]  # pragma: no cover
    return -(-number // step) * step


@numba.njit(cache=True, nogil=True)
def places_of(indices, size, mine, nothing):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Rows to gather by eights: some, and from ``size`` on others; the rest is ``nothing``."""
    places = np.full(up(size + len(mine), 8), nothing, np.uintp)
    for n in range(len(indices)):
        places[n] = indices[n]
    for n in range(len(mine)):
        if mine[n] >= 0:
            places[size + n] = mine[n]
    return places


@numba.njit(cache=True, nogil=True)
def gather(out, items, indices, scale, weights, lengths):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Scaled factors into the rows of ``out``, and the lengths of these, float32."""
    sums, zero, eight = np.empty((1, 8), np.float32), np.uintp(0), np.uintp(8)
    for n in range(np.uintp(len(indices))):
        row, weight, total = np.uintp(indices[n]), spread(weights[n]), spread(np.float32(0.0))
        for k in range(zero, np.uintp(items.shape[1]), eight):
            part = times(times(load(items, row, k), load(scale, zero, k)), weight)
            store(out, n, k, part)
            total = plus(total, part, part)
        store(sums, zero, zero, total)
        a, b, c, d = sums[0, 0], sums[0, 1], sums[0, 2], sums[0, 3]
        e, f, g, h = sums[0, 4], sums[0, 5], sums[0, 6], sums[0, 7]
        lengths[n] = np.sqrt(((a + b) + (c + d)) + ((e + f) + (g + h)))


@numba.njit(cache=True, nogil=True)
def gather_across(out, start, items, places, scale, weights):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Scaled factors into the columns of ``out`` from ``start``; returns their squares, float32."""
    squares = np.empty((1, len(places)), np.float32)
    zero, one, eight = np.uintp(0), np.uintp(1), np.uintp(8)
    for n in range(zero, np.uintp(len(places)), eight):
        a, b, c, d = places[n], places[n + 1], places[n + 2], places[n + 3]
        e, f, g, h = places[n + 4], places[n + 5], places[n + 6], places[n + 7]
        weight, total = load(weights, zero, n), spread(np.float32(0.0))
        for k in range(zero, np.uintp(items.shape[1]), eight):
            by, row = load(scale, zero, k), np.uintp(k)
            for turned in turn(
                times(load(items, a, k), by), times(load(items, b, k), by),
                times(load(items, c, k), by), times(load(items, d, k), by),
                times(load(items, e, k), by), times(load(items, f, k), by),
                times(load(items, g, k), by), times(load(items, h, k), by),
            ):  # fmt: skip
                part = times(turned, weight)
                store(out, row, np.uintp(start) + n, part)
                total = plus(total, part, part)
                row += one
        store(squares, zero, n, total)
    return squares[0]
