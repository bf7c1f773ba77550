"""The objective that ALS minimises."""

from __future__ import annotations

import math
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys._threads import over_blocks
from recsys.models._fold_in import gram, index_arrays

_USERS_AT_ONCE: Final = 1024


def loss(
    strength: csr_matrix,
    user_factors: npt.NDArray[np.floating[Any]],
    item_factors: npt.NDArray[np.floating[Any]],
    alpha: float,
    regularization: float,
) -> float:
    """The objective per unit of confidence, so that weeks of different size compare.

    ``(sum of c (p - x'y)^2 + regularization (|X|^2 + |Y|^2)) / sum of c`` over all user-song
    pairs, ``c`` and ``p`` both 1 on the heard ones plus ``alpha * strength`` for ``c``, and ``c``
    = 1, ``p`` = 0 on all others (Hu, Koren, Volinsky 2008, equation 3). All pairs are added up by
    ``sum over all of (x'y)^2 = <X'X, Y'Y>``; in float64 and in one order. `implicit` has the same
    measure, but its last digits change with the number of threads.
    """
    indptr, indices = index_arrays(strength)
    users, songs = strength.shape

    def block(start: int, stop: int) -> float:
        found: float = _heard(
            indptr[start : stop + 1], indices, strength.data,
            user_factors[start:stop], item_factors, alpha,
        )  # fmt: skip
        return found

    heard = math.fsum(over_blocks(block, users, _USERS_AT_ONCE))
    xx, yy = gram(user_factors), gram(item_factors)
    total = users * songs + alpha * float(strength.data.sum(dtype=np.float64))
    with np.errstate(over="ignore", invalid="ignore"):  # the gate speaks of what is not finite
        norms = regularization * (np.trace(xx) + np.trace(yy))
        return float((heard + np.vdot(xx, yy) + norms) / total)


@numba.njit(cache=True, nogil=True)
def _heard(indptr, indices, data, user_factors, item_factors, alpha):  # type: ignore[no-untyped-def]  # pragma: no cover
    """What the heard pairs add to the sum over all pairs, as if none had been heard."""
    total = 0.0
    for user in range(len(user_factors)):
        for k in range(indptr[user], indptr[user + 1]):
            score = 0.0
            for factor in range(user_factors.shape[1]):
                score += user_factors[user, factor] * item_factors[indices[k], factor]
            total += (1.0 + alpha * data[k]) * (1.0 - score) ** 2 - score**2
    return total
