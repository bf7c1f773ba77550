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
``k^(1/2)`` (Higham and Mary 2019), which is what is allowed for here. They would conspire in long
sums of what is all alike, as of songs with the same few listeners; so these are summed by stretches
(:mod:`recsys.models._panels`). The most that was seen is a quarter of what is allowed.
"""

from __future__ import annotations

from typing import Final

import numba
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys._threads import over_blocks
from recsys.models._fold_in import RotatedItems
from recsys.models._gather import gather, gather_across, places_of, rounded_items, up
from recsys.models._lanes import fetch, load, plus, spread, store
from recsys.models._largest import largest, largest_of
from recsys.models._objective import index_arrays
from recsys.models._panels import backward, reduce, solve_one
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
        confidence: ``[users, items]``, positive only, each row's columns ascending.
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
    ridge, rounded = items.ridge(indptr), rounded_items(items.items)

    def block(start: int, stop: int) -> None:
        _attribute(
            indptr, indices, confidence.data, items.items,
            items.shared, ridge, items.objective.unobserved_weight,
            rounded, users[start:stop], offsets[start : stop + 1], listed, among, found,
        )  # fmt: skip

    for _ in over_blocks(block, len(users), _USERS_AT_ONCE):
        pass
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
    observed, factors, width, padded = len(indices), len(scale), len(mine), rounded.shape[1]
    by_items = observed < factors
    size = up(observed, 4) if by_items else padded
    depth = padded if by_items else up(observed, 4)
    end = size + (width if by_items else 0)
    rows = np.empty((depth, _stride(end)), np.float32)
    joined = np.empty((size, _stride(size + width)), np.float32)
    vectors = np.ones((6, _stride(max(observed, padded) + width)), np.float32)
    right, root, lengths, inverse = vectors[0], vectors[1], vectors[2], vectors[3]
    roots, narrow, ones = vectors[1:2], vectors[4:5], vectors[5:6]
    rooted = _weigh(right, root, confidence, unobserved)
    narrow[0, :factors] = scale
    nothing = len(rounded) - 1
    if by_items:
        places = places_of(indices, size, mine, nothing)
        squares = gather_across(rows, 0, rounded, places, narrow, roots)
        targets, trace = squares[size:end], size + squares[:size].sum()
    else:
        gather(rows, rounded, indices, narrow, root, lengths)
        rows[observed:] = 0
        places = places_of(indices[:0], 0, mine, nothing)
        targets = gather_across(joined, size, rounded, places, narrow, ones)
        trace = size + (lengths[:observed] ** 2).sum()
    unit = _UNIT * np.sqrt(depth + size + 16.0)
    if not (
        rooted and unit * trace < _CERTAIN and reduce(rows, end, joined, size + width, inverse)
    ):
        return _choose_exactly(indices, confidence, items, scale, unobserved, mine, among)
    backward(joined, size + width, inverse)
    solved = joined[:, size:]
    reach, slack = _reach(solved, width), np.zeros((1, _stride(width)), np.float32)
    for k in range(width):
        slack[0, k] = unit * (trace * reach[0, k] + np.sqrt(trace * targets[k]))
        reach[0, k] += 2 * slack[0, k]
    for k in range(reach.shape[1]):
        if reach[0, k] == 0:
            reach[0, k] = -np.inf  # nothing is asked for: no row comes near
    if by_items:
        most = largest(solved, right, lengths, slack, width, among)
    else:
        most = largest_of(
            rows[:, :size], solved, right, lengths, slack, reach, 2 / _STEPS, width, among
        )
    best, left, exact_right = most[0].astype(np.int32), np.empty((0, 0)), np.empty(0)
    for column in range(width):
        row = best[column]
        certain = 2 / _STEPS + 2 * slack[0, column] * right[row] * lengths[row]
        if row < 0 or most[1, column] - most[2, column] > certain or mine[column] < 0:
            continue
        if len(left) == 0:
            exact_right, root, _ = weighted(confidence, unobserved)
            left = scaled(indices, items, scale, root)
        target = items[mine[column]] * scale
        adding = _refine(left, by_items, joined, target, solved[:, column]) * exact_right
        best[column] = _first_most(adding, among)
    return best


@numba.njit(cache=True, nogil=True)
def _stride(width):  # type: ignore[no-untyped-def]  # pragma: no cover
    """So that rows begin at whole lanes, few in one set of the cache; with the room of panels."""
    return up(width, 16) + 8


@numba.njit(cache=True, nogil=True)
def _weigh(right, root, confidence, unobserved):  # type: ignore[no-untyped-def]  # pragma: no cover
    """:func:`weighted` into float32; returns whether it could."""
    for n in range(len(confidence)):
        excess = np.float64(confidence[n]) - unobserved
        if not excess > 0:
            return False
        root[n] = np.sqrt(excess)
        right[n] = np.float64(confidence[n]) / np.sqrt(excess)
    return True


@numba.njit(cache=True, nogil=True)
def _reach(rows, width):  # type: ignore[no-untyped-def]  # pragma: no cover
    """float32 ``[1, room]``, the length of each of the first columns."""
    found = np.zeros((1, _stride(width)), np.float32)
    zero, eight = np.uintp(0), np.uintp(8)
    for k in range(zero, np.uintp(width), eight):
        total = spread(np.float32(0.0))
        for n in range(np.uintp(len(rows))):
            one = load(rows, n, k)
            total = plus(total, one, one)
        store(found, zero, k, total)
    return np.sqrt(found)


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
