"""One half of an ALS iteration: the factors of all rows, given those of the columns.

A row's factors solve ``(w0 Y'Y + ridge I + Y'EY) x = Y'c`` over its observed columns, ``E`` the
diagonal of ``c - w0`` (:mod:`recsys.models._objective`). A few steps of conjugate gradients from
the factors as they are bring them close enough (Takacs, Pilaszy, Tikk 2011). Two things make a step
cheap. ``Y'Y = Q L Q'``, and in the basis ``Q`` what all rows share, ``w0 L + ridge I``, is a
diagonal: it costs nothing to multiply with, and its inverse is the preconditioner. And the columns
that a row has observed are gathered once, and stay in the cache for all steps.

float32, each row by itself and in one order: the same bytes for any number of threads.
"""

from __future__ import annotations

import threading
from typing import Final

import numba
import numpy as np
import numpy.typing as npt
from implicit.recommender_base import ModelFitError
from scipy.linalg import eigh
from scipy.sparse import csr_matrix

from recsys._threads import Workers, workers
from recsys.models._objective import Objective, index_arrays

Floats = npt.NDArray[np.float32]

# Constant: blocks of another height round differently.
_ROWS_AT_ONCE: Final = 256
_COLUMNS_AT_ONCE: Final = 2048
#: A row of more observed columns reads them where they are.
_GATHERED: Final = 4096
#: The preconditioner divides by no less than this share of the largest eigenvalue.
_LEAST_EIGENVALUE: Final = 1e-6
#: A row is solved where its residual, squared and preconditioned, is below this.
_SOLVED: Final = 1e-20
#: Sums may be taken in another order; nan and infinity stay what they are. What is called is put
#: into its caller (``forceinline``): numba may link a copy that was compiled by itself, whose order
#: is another, and so a run that compiles would differ from one that finds all in the cache.
_FASTMATH: Final = {"reassoc", "contract", "arcp", "nsz"}


def sweep(
    confidence: csr_matrix,
    rows: Floats,
    columns: Floats,
    objective: Objective,
    *,
    steps: int,
    threads: int = 0,
) -> float:
    """Bring the factors of all rows closer to their minimum, in place.

    Costs ``3 (rows + columns) factors^2 + 4 (steps + 1) observed * factors`` operations and a copy
    of ``columns``. A row that has observed nothing becomes zero.

    Args:
        confidence: float32 ``[rows, columns]``, positive.
        rows: float32 ``[rows, factors]``, overwritten.
        columns: float32 ``[columns, factors]``.
        objective: what is minimised.
        steps: of conjugate gradients.
        threads: 0 for one a core.

    Returns:
        The objective that is left, but for the penalty on the columns. It is added up along the
        way, from the scores and steps that there are anyway: to a millionth, but where the ridge is
        only some millionths of ``Y'Y``: its basis is float32, and 1.2e-4 was seen.

    Raises:
        ModelFitError: the products of the columns are not finite (`implicit`'s).
    """
    indptr, indices = index_arrays(confidence)
    unobserved = np.float32(objective.unobserved_weight)
    own = threading.local()
    with workers(threads) as pool:
        shared, rotated, basis = _rotate(columns, pool)
        shared *= unobserved
        back = np.ascontiguousarray(basis.T)

        def block(start: int, stop: int) -> float:
            if not hasattr(own, "gathered"):
                own.gathered = np.empty((_GATHERED, rows.shape[1]), np.float32)
            solved = rows[start:stop] @ basis
            ridge = objective.ridge(indptr[start : stop + 1], len(columns)).astype(np.float32)
            left: float = _solve_rows(
                indptr[start : stop + 1], indices, confidence.data, rotated,
                shared, ridge, unobserved, steps, own.gathered, solved,
            )  # fmt: skip
            np.matmul(solved, back, out=rows[start:stop])
            return left

        return sum(pool.over_blocks(block, len(rows), _ROWS_AT_ONCE))


def _rotate(factors: Floats, pool: Workers) -> tuple[Floats, Floats, Floats]:
    """``L``, ``YQ`` and ``Q`` of ``Y'Y = Q L Q'``."""

    def product(start: int, stop: int) -> npt.NDArray[np.float64]:
        part = factors[start:stop]
        return np.asarray((part.T @ part).astype(np.float64))

    size = factors.shape[1]
    gram = sum(pool.over_blocks(product, len(factors), _COLUMNS_AT_ONCE), np.zeros((size, size)))
    if not np.isfinite(gram).all():
        raise ModelFitError("their products overflow")
    eigenvalues, vectors = eigh(gram, check_finite=False, driver="evd")
    basis = np.ascontiguousarray(vectors, np.float32)
    rotated = np.empty_like(factors)

    def rotate(start: int, stop: int) -> None:
        np.matmul(factors[start:stop], basis, out=rotated[start:stop])

    for _ in pool.over_blocks(rotate, len(factors), _COLUMNS_AT_ONCE):
        pass
    return np.maximum(eigenvalues, 0).astype(np.float32), rotated, basis


@numba.njit(cache=True, nogil=True, fastmath=_FASTMATH)
def _solve_rows(  # type: ignore[no-untyped-def]  # pragma: no cover
    indptr, indices, confidence, columns, shared, ridge, unobserved, steps, gathered, rows
):
    """Overwrite the factors of each row; returns what is left of their part of the objective."""
    factors = rows.shape[1]
    work = np.empty((5, factors), np.float32)
    diagonal, inverse = work[3], work[4]
    least = max(np.float32(_LEAST_EIGENVALUE) * shared.max(), np.float32(1e-30))
    in_order = np.arange(len(gathered)).astype(np.int32)
    total = 0.0
    for row in range(len(rows)):
        own = slice(indptr[row], indptr[row + 1])
        weights, where, observed = confidence[own], indices[own], columns
        if len(where) == 0:
            rows[row] = 0
            continue
        if len(where) <= len(gathered):
            for k in range(len(where)):
                source, target = columns[where[k]], gathered[k]
                for j in range(factors):
                    target[j] = source[j]
            observed, where = gathered, in_order[: len(where)]
        for j in range(factors):
            diagonal[j] = shared[j] + ridge[row]
            inverse[j] = np.float32(1) / max(diagonal[j], least)
        total += _descend(observed, where, weights, unobserved, steps, work, rows[row])
    return total


@numba.njit(cache=True, nogil=True, fastmath=_FASTMATH, forceinline=True)
def _descend(observed, where, weights, unobserved, steps, work, x):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Preconditioned conjugate gradients on one row (Golub, Van Loan 2013, algorithm 11.5.1).

    Returns what is left of the row's part of the objective: a step takes ``length * size`` off it.
    """
    residual, search, product = work[0], work[1], work[2]
    diagonal, inverse = work[3], work[4]
    everywhere = np.float32(0)
    for j in range(len(x)):
        residual[j] = -diagonal[j] * x[j]
        everywhere -= residual[j] * x[j]
    objective = everywhere + _add_observed(observed, where, weights, unobserved, True, x, residual)
    size = np.float32(0)
    for j in range(len(x)):
        search[j] = inverse[j] * residual[j]
        size += search[j] * residual[j]
    for _ in range(steps):
        if size < _SOLVED:
            break
        for j in range(len(x)):
            product[j] = diagonal[j] * search[j]
        _add_observed(observed, where, weights, unobserved, False, search, product)
        curvature = np.float32(0)
        for j in range(len(x)):
            curvature += search[j] * product[j]
        length = size / curvature
        objective -= length * size
        left = np.float32(0)
        for j in range(len(x)):
            x[j] += length * search[j]
            residual[j] -= length * product[j]
            left += inverse[j] * residual[j] * residual[j]
        turn = left / size
        size = left
        for j in range(len(x)):
            search[j] = inverse[j] * residual[j] + turn * search[j]
    return objective


@numba.njit(cache=True, nogil=True, fastmath=_FASTMATH, forceinline=True)
def _add_observed(columns, where, weights, unobserved, residual, x, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Add ``Y'EYx`` over the observed columns to ``out``; for the residual, ``Y'c - Y'EYx``.

    With the residual it returns what the observed add to the objective beyond what they would as
    unobserved: the sum of ``c (1 - s)^2 - w0 s^2``.

    Four columns at a time, so that each is read from the cache once for both products.
    """
    factors = columns.shape[1]
    whole = len(where) // 4 * 4
    left = 0.0
    for k in range(0, whole, 4):
        a, b = columns[where[k]], columns[where[k + 1]]
        c, d = columns[where[k + 2]], columns[where[k + 3]]
        ax = bx = cx = dx = np.float32(0)
        for j in range(factors):
            ax += a[j] * x[j]
            bx += b[j] * x[j]
            cx += c[j] * x[j]
            dx += d[j] * x[j]
        if residual:
            left += _left(weights[k], unobserved, ax) + _left(weights[k + 1], unobserved, bx)
            left += _left(weights[k + 2], unobserved, cx) + _left(weights[k + 3], unobserved, dx)
        ax, bx = (weights[k] - unobserved) * ax, (weights[k + 1] - unobserved) * bx
        cx, dx = (weights[k + 2] - unobserved) * cx, (weights[k + 3] - unobserved) * dx
        if residual:
            ax, bx = weights[k] - ax, weights[k + 1] - bx
            cx, dx = weights[k + 2] - cx, weights[k + 3] - dx
        for j in range(factors):
            out[j] += ax * a[j] + bx * b[j] + cx * c[j] + dx * d[j]
    for k in range(whole, len(where)):
        a = columns[where[k]]
        ax = np.float32(0)
        for j in range(factors):
            ax += a[j] * x[j]
        if residual:
            left += _left(weights[k], unobserved, ax)
        ax = (weights[k] - unobserved) * ax
        if residual:
            ax = weights[k] - ax
        for j in range(factors):
            out[j] += ax * a[j]
    return left


@numba.njit(cache=True, nogil=True, fastmath=_FASTMATH, forceinline=True)
def _left(weight, unobserved, score):  # type: ignore[no-untyped-def]  # pragma: no cover
    short = np.float32(1) - score
    return weight * short * short - unobserved * score * score
