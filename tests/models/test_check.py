"""The gate between training and candidates."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from recsys.errors import GateRefusedError
from recsys.matrix import TasteMatrix
from recsys.models import ALSModel, train
from recsys.models import check_factors as check_by
from recsys.settings import GatesSettings
from recsys.verdict import Verdict
from tests.models.worlds import SETTINGS, matrix_of, sparse_strength, world

MATRIX = matrix_of(sparse_strength(1, 60, 40))
CHALLENGER = "known_recall_near_challenger"
RULES = ("known_recall", "loss_near_parent", "known_recall_near_parent", "lists_near_parent")


def check_factors(
    model: ALSModel,
    matrix: TasteMatrix,
    parent: ALSModel | None = None,
    challenger: ALSModel | None = None,
    **gates: float,
) -> Verdict:
    settings = GatesSettings(**gates)
    return check_by(model, matrix, settings, parent=parent, challenger=challenger, seed=1)


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
    assert failed(dataclasses.replace(model, user_factors=users)) == [
        "user_factors_norm",
        "users_folded_in",
    ]


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


CLEAR = world().base


@pytest.fixture(scope="module")
def parent() -> ALSModel:
    return train(CLEAR, SETTINGS, seed=1)


def shuffled(model: ALSModel, share: float = 1.0) -> ALSModel:
    """Factors of a share of the songs, each under another of them."""
    rng = np.random.default_rng(0)
    some = rng.permutation(len(model.item_factors))[: round(share * len(model.item_factors))]
    items = model.item_factors.copy()
    items[some] = model.item_factors[rng.permutation(some)]
    return dataclasses.replace(model, item_factors=items).refolded(CLEAR)


def popular(model: ALSModel) -> ALSModel:
    """Popularity under a model's name."""
    items = np.zeros_like(model.item_factors)
    popularity = CLEAR.songs["popularity"].to_numpy()
    items[:, 0] = popularity / popularity.max()
    return dataclasses.replace(model, item_factors=items).refolded(CLEAR)


def other_users(model: ALSModel) -> ALSModel:
    return dataclasses.replace(model, user_factors=model.user_factors[::-1].copy())


def test_a_first_model_skips_what_needs_a_parent_and_says_so(parent: ALSModel) -> None:
    verdict = check_factors(parent, CLEAR)
    assert verdict.passed
    assert verdict.skipped == {
        **dict.fromkeys(RULES[1:], "there is no parent"),
        CHALLENGER: "no challenger could be scored one week back",
    }


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_a_first_model_knows_nearly_as_much_as_the_challenger(
    parent: ALSModel, share: float
) -> None:
    """Factors a third of which are shuffled know more than popularity still."""
    challenger = train(CLEAR, SETTINGS, seed=2).without_users()
    verdict = check_factors(parent, CLEAR, challenger=challenger)
    assert verdict.passed, verdict.summary()
    assert CHALLENGER in {check.name for check in verdict.checks}
    spoilt = shuffled(parent, share)
    verdict = check_factors(spoilt, CLEAR, challenger=challenger)
    known = [] if share < 0.5 else ["known_recall"]
    assert [check.name for check in verdict.refusing] == [*known, CHALLENGER]
    assert not verdict.final
    assert CHALLENGER not in check_factors(parent, CLEAR, parent, challenger).to_dict()["skipped"]


def test_few_listeners_know_nothing() -> None:
    few = matrix_of(sparse_strength(1, 29, 40))
    model = train(few, SETTINGS, 1)
    skipped = check_factors(model, few, challenger=model).skipped
    assert skipped[CHALLENGER] == "too few listeners to tell"


def test_a_model_beside_its_parent_is_asked_everything(parent: ALSModel) -> None:
    for model in (train(CLEAR, SETTINGS, 2), train(CLEAR, SETTINGS, 1, parent=parent)):
        verdict = check_factors(model, CLEAR, parent)
        assert verdict.passed, verdict.summary()
        assert not verdict.skipped
        assert {check.name for check in verdict.checks} >= set(RULES)


@pytest.mark.parametrize(
    ("spoil", "alone", "beside"),
    [
        (shuffled, ["known_recall"], list(RULES)),
        (popular, ["known_recall"], list(RULES)),
        (other_users, ["users_folded_in"], ["users_folded_in"]),
    ],
)
def test_factors_that_know_nothing_are_refused_with_and_without_a_parent(
    parent: ALSModel, spoil: Callable[[ALSModel], ALSModel], alone: list[str], beside: list[str]
) -> None:
    model = spoil(parent)
    assert [check.name for check in check_factors(model, CLEAR).refusing] == alone
    assert [check.name for check in check_factors(model, CLEAR, parent).refusing] == beside


def test_a_parent_of_other_settings_is_held_against_recall_alone(parent: ALSModel) -> None:
    other = train(CLEAR, dataclasses.replace(SETTINGS, factors=6), seed=1)
    verdict = check_factors(other, CLEAR, parent, worse_known_recall=0.5)
    assert verdict.passed, verdict.summary()
    assert verdict.skipped == dict.fromkeys(
        ("loss_near_parent", "lists_near_parent"), "the parent was made with other settings"
    )


def test_a_household_is_not_asked_what_it_cannot_tell() -> None:
    few = matrix_of(sparse_strength(1, 29, 400))
    verdict = check_factors(train(few, SETTINGS, 2), few, train(few, SETTINGS, 1))
    assert verdict.passed
    assert verdict.skipped == dict.fromkeys(RULES, "too few listeners to tell")


@pytest.mark.parametrize(
    ("gate", "rule"),
    [
        ({"worse_known_recall": 0.0, "least_known_recall": 100.0}, "known_recall"),
        ({"least_list_overlap": 1.0}, "lists_near_parent"),
        ({"most_list_overlap": 0.3}, "lists_near_parent"),
    ],
)
def test_the_limits_are_those_of_the_settings(
    parent: ALSModel, gate: dict[str, float], rule: str
) -> None:
    verdict = check_factors(train(CLEAR, SETTINGS, 2), CLEAR, parent, **gate)
    if rule == "known_recall":  # of so many times popularity's, nothing could be over
        assert "too few songs to tell" in verdict.skipped[rule]
    else:
        assert [check.name for check in verdict.refusing] == [rule]
        assert not verdict.final
        (check,) = verdict.refusing
        shares = [sample["in_common"] for sample in check.samples]
        assert len({sample["user_id"] for sample in check.samples}) == 5
        assert shares == sorted(shares, reverse="most_list_overlap" in gate)
