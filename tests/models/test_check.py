"""The gate between training and candidates."""

import dataclasses

import numpy as np
import pytest

from recsys.errors import GateRefusedError
from recsys.models import ALSModel, check_factors, train
from tests.models.worlds import SETTINGS, matrix_of, sparse_strength

MATRIX = matrix_of(sparse_strength(1, 60, 40))


@pytest.fixture(scope="module")
def model() -> ALSModel:
    return train(MATRIX, SETTINGS, seed=1)


def failed(model: ALSModel) -> list[str]:
    verdict = check_factors(model, MATRIX)
    assert verdict.refused
    return [check.name for check in verdict.failed]


def test_a_trained_model_passes(model: ALSModel) -> None:
    verdict = check_factors(model, MATRIX)
    assert verdict.passed
    assert {check.name for check in verdict.checks} >= {"item_factors_finite", "loss_not_rising"}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_factors_that_are_not_finite_are_refused(model: ALSModel, bad: float) -> None:
    items = model.item_factors.copy()
    items[3, 2] = bad
    broken = dataclasses.replace(model, item_factors=items)
    assert failed(broken) == ["item_factors_finite"]
    with pytest.raises(GateRefusedError, match="not finite"):
        broken.refolded(MATRIX)
    users = model.user_factors.copy()
    users[3, 2] = bad
    assert failed(dataclasses.replace(model, user_factors=users)) == ["user_factors_finite"]


def test_all_zero_is_refused(model: ALSModel) -> None:
    zero = dataclasses.replace(model, item_factors=np.zeros_like(model.item_factors))
    assert failed(zero) == ["item_factors_learnt"]


def test_an_exploded_row_is_refused(model: ALSModel) -> None:
    users = model.user_factors.copy()
    users[5] *= 1e6
    assert failed(dataclasses.replace(model, user_factors=users)) == ["user_factors_norm"]


@pytest.mark.parametrize(
    ("loss", "name"),
    [((0.5, 0.4, 0.45), "loss_not_rising"), ((0.5, float("nan")), "loss_finite")],
)
def test_a_loss_that_rises_or_is_not_a_number_is_refused(
    model: ALSModel, loss: tuple[float, ...], name: str
) -> None:
    assert failed(dataclasses.replace(model, loss=loss)) == [name]


def test_a_model_of_another_matrix_is_refused(model: ALSModel) -> None:
    other = matrix_of(sparse_strength(1, 60, 41))
    assert [check.name for check in check_factors(model, other).failed] == ["model_fits_matrix"]


def test_nothing_to_learn_is_unproven() -> None:
    matrix = matrix_of(np.zeros((2, 3)))
    assert check_factors(train(matrix, SETTINGS, seed=1), matrix).outcome == "unproven"
