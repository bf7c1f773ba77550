"""Exact user factors for given item factors, and what each observed item adds to a score.

For a user with confidences ``c`` the factors that minimise the objective are ``x = (w0 Y'Y + ridge
I + Y'EY)^-1 Y'c`` over the items observed, ``E`` the diagonal of ``c - w0``
(:mod:`recsys.models._objective`), and the score of item ``i`` is ``y_i'x = sum over j of  y_i' (w0
Y'Y + ridge I + Y'EY)^-1 y_j c_j``: what item ``j`` adds (Hu, Koren, Volinsky 2008, section 5).

The part that all users share is taken out once: ``Y'Y = Q L Q'``, and the items in the basis ``Q``
are ``YQ``. The ridge is the user's own; so each user scales the basis by ``d = (w0 L +
ridge)^(-1/2)``, and with ``Z = YQ diag(d)`` of the ``n`` items observed and ``V = sqrt(E) Z``

    x = Q diag(d) (I + V'V)^-1 V'q = Q diag(d) V' (I + VV')^-1 q,    q = c / sqrt(c - w0)

a system of ``min(n, factors)`` equations that is never ill-conditioned. All in float64, each user
by itself: the result does not depend on the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from scipy.sparse import csr_matrix

from recsys._threads import one_blas_thread, over_blocks
from recsys.errors import GateRefusedError
from recsys.models._objective import Objective, index_arrays

Floats = npt.NDArray[np.float64]

_USERS_AT_ONCE: Final = 256
_ITEMS_AT_ONCE: Final = 4096
#: Contributions are compared in steps of this; what is closer is a tie.
_STEPS: Final = 1e9


@dataclass(frozen=True)
class RotatedItems:
    """Item factors made ready for folding users in; from :func:`rotate`.

    Attributes:
        items: float64 ``[items, factors]``, ``YQ`` above.
        basis: float64 ``[factors, factors]``, ``Q`` above.
        shared: float64 ``[factors]``, ``w0 L`` above.
        floor: what a ridge is held above.
        objective: what is minimised.
    """

    items: Floats
    basis: Floats
    shared: Floats
    floor: float
    objective: Objective

    def ridge(self, indptr: npt.NDArray[np.int64]) -> Floats:
        """float64 ``[users]``: the ridge of each row of a CSR matrix."""
        ridge: Floats = np.maximum(self.objective.ridge(indptr, len(self.items)), self.floor)
        return ridge


def rotate(item_factors: npt.NDArray[np.floating[Any]], objective: Objective) -> RotatedItems:
    """Decompose what all users share; costs ``2 * items * factors ** 2``.

    Without regularization the shared matrix is singular where there are fewer items than factors;
    the ridge is then held a hair (1e-10 of the mean diagonal) above that.

    Raises:
        GateRefusedError: the item factors are not finite.
    """
    if not np.isfinite(item_factors).all():
        raise GateRefusedError(
            "The model has item factors that are not finite, so no user can be folded in. "
            "Train it again, with a higher [als] regularization or a lower alpha."
        )
    shared = gram(item_factors)
    with one_blas_thread():
        eigenvalues, basis = eigh(shared, driver="evd")
    rotated = np.empty(item_factors.shape)

    def block(start: int, stop: int) -> None:
        np.matmul(item_factors[start:stop].astype(np.float64), basis, out=rotated[start:stop])

    for _ in over_blocks(block, len(item_factors), _ITEMS_AT_ONCE):
        pass
    eigenvalues = objective.unobserved_weight * np.maximum(eigenvalues, 0)
    floor = max(1e-10 * float(eigenvalues.mean()), np.finfo(np.float64).tiny ** 0.5)
    return RotatedItems(rotated, basis, eigenvalues, floor, objective)


def gram(factors: npt.NDArray[np.floating[Any]]) -> Floats:
    """``F'F`` in float64, added up in one order."""

    def block(start: int, stop: int) -> Floats:
        part = factors[start:stop].astype(np.float64)
        return np.asarray(part.T @ part)

    size = factors.shape[1]
    return sum(over_blocks(block, len(factors), _ITEMS_AT_ONCE), np.zeros((size, size)))


def fold_in(items: RotatedItems, confidence: csr_matrix) -> Floats:
    """The exact factors of each row of ``confidence``; zero for a row without any.

    Args:
        items: from :func:`rotate`.
        confidence: ``[users, items]``, positive only.

    Returns:
        float64 ``[users, factors]``.
    """
    users = confidence.shape[0]
    found = np.zeros((users, items.items.shape[1]))
    indptr, indices = index_arrays(confidence)
    ridge = items.ridge(indptr)

    def block(start: int, stop: int) -> None:
        _fold(
            indptr[start : stop + 1], indices, confidence.data, items.items,
            items.shared, ridge[start:stop], items.objective.unobserved_weight, found[start:stop],
        )  # fmt: skip
        found[start:stop] = found[start:stop] @ items.basis.T

    for _ in over_blocks(block, users, _USERS_AT_ONCE):
        pass
    return found


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
        items: from :func:`rotate`.
        confidence: ``[users, items]``, positive only.
        users: int32 ``[n]``, rows of ``confidence``.
        offsets: int64 ``[n + 1]``: the items of ``users[k]`` are
            ``listed[offsets[k]:offsets[k + 1]]``.
        listed: int32, columns of ``confidence``; -1 is passed over.
        among: bool, beside ``confidence.data``: which items may be named.

    Returns:
        int64, beside ``listed``: a position in ``confidence.data``, or -1 where there is none. Ties
        go to the lower item.
    """
    found = np.full(len(listed), -1, np.int64)
    indptr, indices = index_arrays(confidence)
    ridge = items.ridge(indptr)

    def block(start: int, stop: int) -> None:
        _attribute(
            indptr, indices, confidence.data, items.items,
            items.shared, ridge, items.objective.unobserved_weight,
            users[start:stop], offsets[start : stop + 1], listed, among, found,
        )  # fmt: skip

    for _ in over_blocks(block, len(users), _USERS_AT_ONCE):
        pass
    return found


def contributions(
    items: RotatedItems, confidence: csr_matrix, listed: npt.NDArray[np.int32]
) -> Floats:
    """What each item that one user has observed adds to the scores of some others.

    Args:
        items: from :func:`rotate`.
        confidence: ``[1, items]``, positive only: the user's.
        listed: int32 ``[n]``, columns of ``confidence``.

    Returns:
        float64 ``[observed, n]``, row by row beside the entries of ``confidence``; a column adds up
        to the score of its item.
    """
    indptr, indices = index_arrays(confidence)
    if not len(indices):
        return np.zeros((0, len(listed)))
    scale = (items.shared + items.ridge(indptr)) ** -0.5
    with one_blas_thread():
        left, right, system, by_items = _system(
            indices, confidence.data, items.items, scale, items.objective.unobserved_weight
        )
        targets = (items.items[listed] * scale).T
        parts: Floats = _added(left, system, by_items, targets) * right[:, None]
    return parts


@numba.njit(cache=True, nogil=True)
def _system(indices, confidence, items, scale, unobserved):  # type: ignore[no-untyped-def]  # pragma: no cover
    """``left``, ``right``, a matrix ``A``, and whether it is ``I + VV'``.

    ``(I + V'V)^-1 Z'c = left' A^-1 right`` for the smaller ``A`` of ``I + VV'`` and ``I + V'V``,
    with ``V`` and ``q``; these divide by ``c - w0``, so with ``Z`` and ``c`` where one is not more.
    """
    observed, factors = len(indices), items.shape[1]
    right = confidence.astype(np.float64)
    excess = right - unobserved
    rooted = excess.min() > 0
    left = np.empty((observed, factors))
    for n in range(observed):
        item = indices[n]
        root = np.sqrt(excess[n]) if rooted else 1.0
        right[n] /= root
        for k in range(factors):
            left[n, k] = items[item, k] * scale[k] * root
    by_items = rooted and observed < factors
    if by_items:
        system = np.dot(left, left.T)
    elif rooted:
        system = np.dot(left.T, left)
    else:
        system = np.dot(left.T, left * excess.reshape(-1, 1))
    for k in range(len(system)):
        system[k, k] += 1.0
    return left, right, system, by_items


@numba.njit(cache=True, nogil=True)
def _solve(system, columns):  # type: ignore[no-untyped-def]  # pragma: no cover
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
def _fold(indptr, indices, confidence, items, shared, ridge, unobserved, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    for user in range(len(out)):
        own = slice(indptr[user], indptr[user + 1])
        if own.start == own.stop:
            continue
        scale = 1.0 / np.sqrt(shared + ridge[user])
        left, right, system, by_items = _system(
            indices[own], confidence[own], items, scale, unobserved
        )
        column = right.reshape(-1, 1)
        if by_items:
            found = np.dot(left.T, _solve(system, column))
        else:
            found = _solve(system, np.dot(left.T, column))
        out[user] = found[:, 0] * scale


@numba.njit(cache=True, nogil=True)
def _added(left, system, by_items, targets):  # type: ignore[no-untyped-def]  # pragma: no cover
    """What each item observed adds to each column of ``targets``, but for the factor ``right``."""
    if by_items:
        return _solve(system, np.dot(left, targets))
    return np.dot(left, _solve(system, targets))


@numba.njit(cache=True, nogil=True)
def _attribute(  # type: ignore[no-untyped-def]  # pragma: no cover
    indptr, indices, confidence, items, shared, ridge, unobserved,
    users, offsets, listed, among, found,
):  # fmt: skip
    for n in range(len(users)):
        start, stop = indptr[users[n]], indptr[users[n] + 1]
        mine = listed[offsets[n] : offsets[n + 1]]
        if start == stop or len(mine) == 0:
            continue
        scale = 1.0 / np.sqrt(shared + ridge[users[n]])
        left, right, system, by_items = _system(
            indices[start:stop], confidence[start:stop], items, scale, unobserved
        )
        targets = np.zeros((len(mine), len(scale)))
        for row in range(len(mine)):
            if mine[row] >= 0:
                for k in range(len(scale)):
                    targets[row, k] = items[mine[row], k] * scale[k]
        parts = _added(left, system, by_items, targets.T)
        most = np.full(len(mine), -np.inf)
        best = np.full(len(mine), -1)
        for row in range(stop - start):
            if among[start + row]:
                weight = right[row] * _STEPS
                for column in range(len(mine)):
                    part = np.rint(parts[row, column] * weight)
                    more = part > most[column]
                    most[column] = part if more else most[column]
                    best[column] = start + row if more else best[column]
        for column in range(len(mine)):
            if mine[column] >= 0:
                found[offsets[n] + column] = best[column]
