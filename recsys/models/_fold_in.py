"""Exact user factors for given item factors, and what each observed item adds to a score.

For a user with confidences ``c`` the factors that minimise the objective are ``x = (w0 Y'Y + ridge
I + Y'EY)^-1 Y'c`` over the items observed, ``E`` the diagonal of ``c - w0``
(:mod:`recsys.models._objective`), and the score of item ``i`` is ``y_i'x = sum over j of  y_i' (w0
Y'Y + ridge I + Y'EY)^-1 y_j c_j``: what item ``j`` adds (Hu, Koren, Volinsky 2008, section 5).

The part that all users share is taken out once: ``Y'Y = Q L Q'``, and the items in the basis ``Q``
are ``YQ``. The ridge is the user's own; so each user scales the basis by ``d = (w0 L +
ridge)^(-1/2)``, and with ``Z = YQ diag(d)`` of the ``n`` items observed and ``V = sqrt(E) Z``

    x = Q diag(d) (I + V'V)^-1 V'q = Q diag(d) V' (I + VV')^-1 q,    q = c / sqrt(c - w0)

a system of ``min(n, factors)`` equations, of a condition of at most ``1 + sum (c - w0) / w0``. All
in float64, each user by itself: the result does not depend on the number of threads.
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
from recsys.models._systems import added, solve, system_of

Floats = npt.NDArray[np.float64]

_USERS_AT_ONCE: Final = 256
_ITEMS_AT_ONCE: Final = 4096


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
        left, right, system, by_items = system_of(
            indices, confidence.data, items.items, scale, items.objective.unobserved_weight
        )
        targets = (items.items[listed] * scale).T
        parts: Floats = added(left, system, by_items, targets) * right[:, None]
    return parts


@numba.njit(cache=True, nogil=True)
def _fold(indptr, indices, confidence, items, shared, ridge, unobserved, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    for user in range(len(out)):
        own = slice(indptr[user], indptr[user + 1])
        if own.start == own.stop:
            continue
        scale = 1.0 / np.sqrt(shared + ridge[user])
        left, right, system, by_items = system_of(
            indices[own], confidence[own], items, scale, unobserved
        )
        column = right.reshape(-1, 1)
        if by_items:
            found = np.dot(left.T, solve(system, column))
        else:
            found = solve(system, np.dot(left.T, column))
        out[user] = found[:, 0] * scale
