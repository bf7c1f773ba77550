"""The item observed that adds most to a score: found in float32, and in float64 where it is close.

What each item adds takes a small system for each user (:mod:`recsys.models._fold_in`). Here it is
made and solved in float32, four rows by sixteen columns at a time
(:mod:`recsys.models._lanes`). With it comes a bound on what rounding can have done: where the best
item leads by more, float64 would choose the same. The columns that stay open are refined to float64
(Higham 2002, chapter 12): a residual in float64, and the factor in float32 that is there already.

The bound. ``A`` is a system of ``size`` equations, each element a sum of ``depth`` products; its
eigenvalues are 1 and more, and their sum is ``trace``. The computed ``x`` solves ``(A + E) x = b +
e``, where in the 2-norm ``|E|`` is some roundings times ``trace``, and ``|e|`` as many times
``trace^(1/2) |t|``, ``t`` being the scaled factors of the listed item (Higham 2002, theorem 10.3
with ``| |R'||R| | <= trace``). As ``|A^-1| <= 1``, ``x`` is wrong by at most ``|E| |x| + |e|``.
In the worst case the roundings of a sum of ``k`` are ``k``, but as they do not conspire some
``k^(1/2)`` (Higham and Mary 2019); four times that is allowed for here.
"""

from __future__ import annotations

from typing import Final

import numba
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys._threads import over_blocks
from recsys.models._fold_in import RotatedItems
from recsys.models._lanes import fetch, load, plus, spread, store, times, turn, where_more
from recsys.models._objective import index_arrays
from recsys.models._panels import backward, multiply, reduce, solve_one
from recsys.models._systems import added, scaled, system_of, weighted

_USERS_AT_ONCE: Final = 256
#: Contributions are compared in steps of this; what is closer is a tie.
_STEPS: Final = 1e9
#: Half the distance of float32 from 1 to the next.
_UNIT: Final = 2.0**-24
#: A system is solved in float32 where rounding changes it by less than this.
_CERTAIN: Final = 0.01
#: A column is refined until a step changes it by no more than this share.
_REFINED: Final = 1e-12
_REFINEMENTS: Final = 10


def strongest(
    items: RotatedItems,
    confidence: csr_matrix,
    users: npt.NDArray[np.int32],
    offsets: npt.NDArray[np.int64],
    listed: npt.NDArray[np.int32],
    *,
    among: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int64]:
    """The item observed that adds most to the score of each listed one.

    Args:
        items: from :func:`recsys.models.rotate`.
        confidence: ``[users, items]``, positive only.
        users: int32 ``[n]``, rows of ``confidence``.
        offsets: int64 ``[n + 1]``: the items of ``users[k]`` are
            ``listed[offsets[k]:offsets[k + 1]]``.
        listed: int32, columns of ``confidence``; -1 is passed over.
        among: bool, beside ``confidence.data``: which items may be named.

    Returns:
        int64, beside ``listed``: a position in ``confidence.data``, or -1 where there is none. What
        items add is compared in steps of 1e-9; ties go to the lower item.
    """
    found = np.full(len(listed), -1, np.int64)
    indptr, indices = index_arrays(confidence)
    ridge, rounded = items.ridge(indptr), _rounded(items.items)

    def block(start: int, stop: int) -> None:
        _attribute(
            indptr, indices, confidence.data, items.items,
            items.shared, ridge, items.objective.unobserved_weight,
            rounded, users[start:stop], offsets[start : stop + 1], listed, among, found,
        )  # fmt: skip

    for _ in over_blocks(block, len(users), _USERS_AT_ONCE):
        pass
    return found


def _rounded(items: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Rows of whole lanes, and one of zeros behind the last."""
    found = np.zeros((len(items) + 1, _up(items.shape[1], 8)), np.float32)
    found[:-1, : items.shape[1]] = items
    return found


@numba.njit(cache=True, nogil=True)
def _attribute(  # type: ignore[no-untyped-def]  # pragma: no cover
    indptr, indices, confidence, items, shared, ridge, unobserved,
    rounded, users, offsets, listed, among, found,
):  # fmt: skip
    for n in range(len(users)):
        own = slice(indptr[users[n]], indptr[users[n] + 1])
        mine = listed[offsets[n] : offsets[n + 1]]
        if own.start == own.stop or len(mine) == 0:
            continue
        if n + 1 < len(users):
            _fetch(rounded, indices[indptr[users[n + 1]] : indptr[users[n + 1] + 1]])
            _fetch(rounded, listed[offsets[n + 1] : offsets[n + 2]])
        scale = 1.0 / np.sqrt(shared + ridge[users[n]])
        best = _choose(
            indices[own], confidence[own], items, rounded, scale, unobserved, mine, among[own]
        )
        for column in range(len(mine)):
            if mine[column] >= 0 and best[column] >= 0:
                found[offsets[n] + column] = own.start + best[column]


@numba.njit(cache=True, nogil=True)
def _fetch(items, some):  # type: ignore[no-untyped-def]  # pragma: no cover
    for n in some:
        if n >= 0:
            fetch(items, np.uintp(n))


@numba.njit(cache=True, nogil=True)
def _choose(indices, confidence, items, rounded, scale, unobserved, mine, among):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The strongest for each of ``mine``, counted from the user's first; -1 where there is none."""
    observed, factors, width = len(indices), len(scale), len(mine)
    right, root, rooted = weighted(confidence, unobserved)
    by_items = observed < factors
    padded = rounded.shape[1]
    size = _up(observed, 4) if by_items else padded
    depth = padded if by_items else _up(observed, 4)
    end = size + (width if by_items else 0)
    rows = np.zeros((depth, end + 16), np.float32)
    joined = np.zeros((size, size + width + 16), np.float32)
    narrow = np.zeros((1, padded), np.float32)
    narrow[0, :factors] = scale
    weights = root.astype(np.float32)
    if by_items:
        places, across = _places(size + width, len(rounded) - 1)
        places[:observed], across[0, :observed] = indices, weights
        _list(places[size:], mine)
        squares = _gather_across(rows, 0, rounded, places, narrow, across)
        targets, lengths = squares[size:end], np.ones(observed, np.float32)
        trace = size + squares[:size].sum()
    else:
        places, across = _places(width, len(rounded) - 1)
        _list(places, mine)
        lengths = _gather(rows, rounded, indices, narrow, weights)
        targets = _gather_across(joined, size, rounded, places, narrow, across)[:width]
        trace = size + (lengths * lengths).sum()
    for k in range(size):
        joined[k, k] = 1.0
    unit = _UNIT * 4.0 * np.sqrt(depth + size + 16.0)
    if not (rooted and unit * trace < _CERTAIN and reduce(rows, end, joined, size + width)):
        return _choose_exactly(indices, confidence, items, scale, unobserved, mine, among)
    solved = joined[:, size:].copy()
    backward(joined, solved, width)
    slack = np.zeros(width + 8, np.float32)
    slack[:width] = unit * (trace * np.sqrt(_squares(solved, width)) + np.sqrt(trace * targets))
    parts = solved
    if not by_items:
        parts = np.zeros((len(rows), width + 16), np.float32)
        multiply(rows[:, :size], solved, parts, width)
    best, closed = _most(parts, right.astype(np.float32), lengths, slack, among)
    if not closed.all():
        left = scaled(indices, items, scale, root)
        for column in range(width):
            if mine[column] >= 0 and not closed[column]:
                target = items[mine[column]] * scale
                adding = _refine(left, by_items, joined, target, solved[:, column]) * right
                best[column] = _first_most(adding, among)
    return best


@numba.njit(cache=True, nogil=True)
def _up(number, step):  # type: ignore[no-untyped-def]  # pragma: no cover
    return -(-number // step) * step


@numba.njit(cache=True, nogil=True)
def _places(count, nothing):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Rows to gather eight at a time, and the weight of each; to begin with all are ``nothing``."""
    room = _up(count, 8)
    return np.full(room, nothing, np.uintp), np.ones((1, room), np.float32)


@numba.njit(cache=True, nogil=True)
def _list(places, mine):  # type: ignore[no-untyped-def]  # pragma: no cover
    for n in range(len(mine)):
        if mine[n] >= 0:
            places[n] = mine[n]


@numba.njit(cache=True, nogil=True)
def _gather(out, items, indices, scale, weights):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Scaled factors into the rows of ``out``; returns the lengths of these, float32."""
    lengths, sums = np.empty(len(indices), np.float32), np.empty((1, 8), np.float32)
    zero, eight = np.uintp(0), np.uintp(8)
    for n in range(np.uintp(len(indices))):
        row, weight, total = np.uintp(indices[n]), spread(weights[n]), spread(np.float32(0.0))
        for k in range(zero, np.uintp(items.shape[1]), eight):
            part = times(times(load(items, row, k), load(scale, zero, k)), weight)
            store(out, n, k, part)
            total = plus(total, part, part)
        store(sums, zero, zero, total)
        lengths[n] = np.sqrt(sums.sum())
    return lengths


@numba.njit(cache=True, nogil=True)
def _gather_across(out, start, items, places, scale, weights):  # type: ignore[no-untyped-def]  # pragma: no cover
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


@numba.njit(cache=True, nogil=True)
def _squares(rows, width):  # type: ignore[no-untyped-def]  # pragma: no cover
    """float32, the sum of squares of each of the first columns."""
    found = np.zeros(width, np.float32)
    for n in range(np.uintp(len(rows))):
        row = rows[n]
        for k in range(np.uintp(width)):
            found[k] += row[k] * row[k]
    return found


@numba.njit(cache=True, nogil=True)
def _most(parts, right, lengths, slack, among):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The row of the largest of each column, -1 for none; and whether rounding cannot change it.

    Each part is wrong by no more than its row's length times its column's slack. Room for eight
    numbers is behind the last.
    """
    width = len(slack) - 8
    out = np.empty((3, len(slack)), np.float32)
    best, closed = np.empty(width, np.int32), np.empty(width, np.bool_)
    bars, zero = slack.reshape(1, -1), np.uintp(0)
    for k in range(zero, np.uintp(width), np.uintp(8)):
        row, most = spread(np.float32(-1.0)), spread(np.float32(-np.inf))
        next_most, bar = most, load(bars, zero, k)
        for n in range(np.uintp(len(right))):
            if among[n]:
                part = times(load(parts, n, k), spread(right[n]))
                upper = plus(part, spread(right[n] * lengths[n]), bar)
                less = where_more(upper, most, most, upper)
                next_most = where_more(less, next_most, less, next_most)
                row = where_more(upper, most, spread(np.float32(n)), row)
                most = where_more(upper, most, upper, most)
        store(out, zero, k, row)
        store(out, np.uintp(1), k, most)
        store(out, np.uintp(2), k, next_most)
    for k in range(width):
        best[k] = np.int32(out[0, k])
        lead = out[1, k] - out[2, k]
        closed[k] = best[k] < 0 or (
            lead > 2 / _STEPS + 2 * slack[k] * right[best[k]] * lengths[best[k]]
        )
    return best, closed


@numba.njit(cache=True, nogil=True)
def _refine(left, by_items, joined, target, first):  # type: ignore[no-untyped-def]  # pragma: no cover
    """What each row adds to one target, but for its weight; in float64 from a first ``x``."""
    observed = len(left)
    x = first[:observed].astype(np.float64) if by_items else first[: len(target)].astype(np.float64)
    step = np.zeros(len(joined), np.float32)
    for _ in range(_REFINEMENTS):
        if by_items:
            residual = np.dot(left, target - np.dot(x, left)) - x
        else:
            residual = target - x - np.dot(np.dot(left, x), left)
        step[: len(x)] = residual
        step[len(x) :] = 0
        solve_one(joined, step)
        x += step[: len(x)]
        if np.abs(step).max() <= _REFINED * np.abs(x).max():
            break
    return x if by_items else np.dot(left, x)


@numba.njit(cache=True, nogil=True)
def _first_most(parts, among):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The first of the largest parts, in steps; -1 for none."""
    best, most = -1, -np.inf
    for n in range(len(parts)):
        step = np.rint(parts[n] * _STEPS)
        if among[n] and step > most:
            best, most = n, step
    return best


@numba.njit(cache=True, nogil=True)
def _choose_exactly(indices, confidence, items, scale, unobserved, mine, among):  # type: ignore[no-untyped-def]  # pragma: no cover
    """:func:`_choose` in float64."""
    left, right, system, by_items = system_of(indices, confidence, items, scale, unobserved)
    targets = np.zeros((len(mine), len(scale)))
    for n in range(len(mine)):
        if mine[n] >= 0:
            targets[n] = items[mine[n]] * scale
    parts = added(left, system, by_items, targets.T)
    best = np.empty(len(mine), np.int32)
    for column in range(len(mine)):
        best[column] = _first_most(parts[:, column] * right, among)
    return best
