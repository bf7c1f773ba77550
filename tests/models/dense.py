"""The objective as the paper has it: dense matrices, float64, nothing clever."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.matrix import TasteMatrix
from recsys.models import ALSModel
from recsys.models._objective import Objective
from recsys.settings import AlsSettings

Floats = npt.NDArray[np.float64]


def dense_confidence(matrix: TasteMatrix, settings: AlsSettings) -> Floats:
    """``1 + alpha * strength``, in float32 as the model has it; 0 for what is unobserved."""
    strength = matrix.strength.toarray().astype(np.float32)
    weights = np.float32(1) + np.float32(settings.alpha) * strength
    return np.where(strength > 0, weights, 0).astype(np.float64)


def dense_rows(
    confidence: Floats, columns: npt.NDArray[np.floating[Any]], objective: Objective
) -> Floats:
    """The minimum for each row: one system a row, built from all columns."""
    found = np.zeros((len(confidence), columns.shape[1]))
    for row, observed in enumerate(confidence):
        system = dense_system(observed, columns, objective)
        if observed.any():
            found[row] = np.linalg.solve(system, columns.astype(np.float64).T @ observed)
    return found


def dense_system(
    observed: Floats, columns: npt.NDArray[np.floating[Any]], objective: Objective
) -> Floats:
    """``Y'CY + ridge I`` of one row."""
    y = columns.astype(np.float64)
    w0, r, nu = (
        objective.unobserved_weight,
        objective.regularization,
        objective.regularization_exponent,
    )
    system: Floats = (y.T * np.where(observed > 0, observed, w0)) @ y
    return system + r * ((observed > 0).sum() + w0 * len(y)) ** nu * np.eye(y.shape[1])


def dense_users(matrix: TasteMatrix, model: ALSModel, users: int | None = None) -> Floats:
    """The user factors for a model's item factors."""
    confidence = dense_confidence(matrix, model.settings)[:users]
    return dense_rows(confidence, model.item_factors, Objective.of(model.settings))


def dense_parts(
    matrix: TasteMatrix, model: ALSModel, user: int, song: int
) -> npt.NDArray[np.float64]:
    """What each song adds to a score: zero for what is not held to."""
    observed = dense_confidence(matrix, model.settings)[user]
    system = dense_system(observed, model.item_factors, Objective.of(model.settings))
    items = model.item_factors.astype(np.float64)
    return np.asarray(items[song] @ np.linalg.solve(system, items.T * observed))


def dense_loss(
    confidence: Floats,
    user_factors: npt.NDArray[np.floating[Any]],
    item_factors: npt.NDArray[np.floating[Any]],
    objective: Objective,
) -> float:
    """The objective over all pairs, divided by the sum of the weights."""
    x, y = user_factors.astype(np.float64), item_factors.astype(np.float64)
    w0, r, nu = (
        objective.unobserved_weight,
        objective.regularization,
        objective.regularization_exponent,
    )
    observed = confidence > 0
    weights = np.where(observed, confidence, w0)
    errors = (weights * (observed - x @ y.T) ** 2).sum()
    users = ((observed.sum(axis=1) + w0 * len(y)) ** nu) @ (x**2).sum(axis=1)
    items = ((observed.sum(axis=0) + w0 * len(x)) ** nu) @ (y**2).sum(axis=1)
    return float((errors + r * (users + items)) / weights.sum())
