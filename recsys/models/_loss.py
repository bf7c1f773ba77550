"""What ALS minimises, measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys._threads import over_blocks
from recsys.models._fold_in import gram
from recsys.models._objective import Objective, index_arrays

_USERS_AT_ONCE: Final = 1024
_SETTLING: Final = 2


def loss(
    confidence: csr_matrix,
    user_factors: npt.NDArray[np.floating[Any]],
    item_factors: npt.NDArray[np.floating[Any]],
    objective: Objective,
) -> float:
    """The objective per unit of weight, so that weeks of different size compare.

    The sum of :mod:`recsys.models._objective`, divided by the sum of all ``c`` and ``w0``. The
    pairs are not gone through: ``sum over all of s^2 = <X'X, Y'Y>``. In float64 and in one order.

    Args:
        confidence: ``[users, items]``, positive.
        user_factors: ``[users, factors]``.
        item_factors: ``[items, factors]``.
        objective: what is minimised.
    """
    indptr, indices = index_arrays(confidence)
    users, items = confidence.shape
    unobserved = objective.unobserved_weight
    ridge = objective.ridge(indptr, items)

    def block(start: int, stop: int) -> float:
        found: float = _observed(
            indptr[start : stop + 1], indices, confidence.data,
            user_factors[start:stop], item_factors, unobserved, ridge[start:stop],
        )  # fmt: skip
        return found

    held = np.concatenate([[0], np.cumsum(np.bincount(indices, minlength=items))])
    with np.errstate(over="ignore", invalid="ignore"):  # the gate speaks of what is not finite
        observed = math.fsum(over_blocks(block, users, _USERS_AT_ONCE))
        everywhere = unobserved * np.vdot(gram(user_factors), gram(item_factors))
        on_items = penalty(item_factors, objective.ridge(held, users))
        return float(observed + everywhere + on_items) / weight_of(confidence, objective)


def penalty(factors: npt.NDArray[np.floating[Any]], ridge: npt.NDArray[np.float64]) -> float:
    """What regularization adds for one side."""
    return float(np.einsum("ij,ij->i", factors, factors, dtype=np.float64) @ ridge)


def weight_of(confidence: csr_matrix, objective: Objective) -> float:
    """The sum of all ``c`` and ``w0``."""
    users, items = confidence.shape
    unobserved = objective.unobserved_weight * (users * items - confidence.nnz)
    return float(unobserved + confidence.data.sum(dtype=np.float64))


def settled(losses: Sequence[float], tolerance: float) -> bool:
    """Whether each of the last two iterations lowered the loss, by less than a share of it.

    >>> settled([3.0, 2.0, 1.9999, 1.9998], 0.001), settled([3.0, 2.0, 1.9999, 2.0], 0.001)
    (True, False)
    """
    fallen = -np.diff(losses[-3:])
    return len(fallen) == _SETTLING and bool(
        ((fallen >= 0) & (fallen < tolerance * losses[-1])).all()
    )


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _observed(indptr, indices, confidence, user_factors, item_factors, unobserved, ridge):  # type: ignore[no-untyped-def]  # pragma: no cover
    """What the observed pairs add to the sum over all, and the penalty on the users."""
    total = 0.0
    for user in range(len(user_factors)):
        norm = 0.0
        for factor in range(user_factors.shape[1]):
            norm += np.float64(user_factors[user, factor]) ** 2
        total += ridge[user] * norm
        for k in range(indptr[user], indptr[user + 1]):
            score = 0.0
            for factor in range(user_factors.shape[1]):
                score += np.float64(user_factors[user, factor]) * item_factors[indices[k], factor]
            total += confidence[k] * (1.0 - score) ** 2 - unobserved * score**2
    return total
