"""Folding in, and what songs add, by small systems solved in one pass; here by the plain one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from recsys.models import contributions, fold_in, rotate, strongest
from recsys.models._objective import Objective
from tests.models.dense import dense_system


@given(
    observed=st.integers(1, 60),
    factors=st.integers(1, 40),
    least=st.sampled_from([0.2, 1.5]),  # below and above the weight of what is not observed
    seed=st.integers(0, 2**32 - 1),
)
def test_small_systems_solve_the_plain_one(
    observed: int, factors: int, least: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    items = rng.standard_normal((80, factors)).astype(np.float32)
    songs = np.sort(rng.choice(80, observed, replace=False))
    weights = (least + rng.exponential(2.0, observed)).astype(np.float32)
    row = csr_matrix((weights, songs, [0, observed]), (1, 80))
    objective = Objective(1.0, regularization=2.0, regularization_exponent=0.5)
    listed = rng.choice(80, 9, replace=False).astype(np.int32)
    among = rng.random(observed) < 0.7

    ready = rotate(items, objective)
    parts = contributions(ready, row, listed)
    system = dense_system(row.toarray()[0], items, objective)
    y = items.astype(np.float64)
    plain = (y[songs] @ np.linalg.solve(system, y[listed].T)) * weights[:, None].astype(float)
    np.testing.assert_allclose(parts, plain, atol=1e-9)
    np.testing.assert_allclose(fold_in(ready, row)[0] @ y[listed].T, plain.sum(axis=0), atol=1e-9)

    found = strongest(ready, row, np.zeros(1, np.int32), np.array([0, 9]), listed, among=among)
    if among.any():
        best = np.where(among[:, None], plain, -np.inf).max(axis=0)
        assert among[found].all()
        np.testing.assert_allclose(plain[found, np.arange(9)], best, atol=2e-9)
    else:
        assert (found == -1).all()


def test_what_is_left_out_could_not_have_been_the_strongest() -> None:
    rng = np.random.default_rng(7)
    items = (rng.standard_normal((80, 6)) * rng.exponential(1.0, (80, 1))).astype(np.float32)
    heard = [np.sort(rng.choice(80, rng.integers(6, 60), replace=False)) for _ in range(100)]
    starts = np.cumsum([0, *map(len, heard)])
    weights = (1.5 + rng.exponential(2.0, starts[-1])).astype(np.float32)
    strengths = csr_matrix((weights, np.concatenate(heard), starts), (100, 80))
    # An odd number, and some that are passed over: the last lanes of a panel have nothing to find.
    listed = np.array([rng.choice(80, 19, replace=False) for _ in heard], np.int32)
    listed[:, 5] = -1
    listed[:, 16:] = 0  # and a whole panel
    items[0] = 0  # to which nothing adds anything: a tie

    ready = rotate(items, Objective(1.0, regularization=2.0, regularization_exponent=0.5))
    found = strongest(
        ready, strengths, np.arange(100, dtype=np.int32), np.arange(101) * 19, listed.ravel(),
        among=np.ones(starts[-1], bool),
    ).reshape(100, 19)  # fmt: skip
    for user, songs in enumerate(listed):
        asked = songs >= 0
        parts = contributions(ready, strengths[user], songs[asked])
        best = starts[user] + np.rint(parts * 1e9).argmax(axis=0)
        np.testing.assert_array_equal(found[user, asked], best)
        assert (found[user, ~asked] == -1).all()


@pytest.mark.parametrize("observed", [12, 60])  # fewer and more than factors
@pytest.mark.parametrize("weight", [2.0, 1e5])  # the second is beyond what float32 can solve
def test_the_reason_is_told_apart_beyond_float32_and_ties_go_to_the_lower(
    observed: int, weight: float
) -> None:
    rng = np.random.default_rng(observed)
    items = rng.standard_normal((80, 32))
    # Each heard item has a twin behind it: even ones the same, odd ones a ten-millionth longer.
    half = observed // 2
    items[half:observed] = items[:half]
    items[half + 1 : observed : 2] *= 1 + 1e-7
    row = csr_matrix(
        (np.full(observed, weight, np.float32), np.arange(observed), [0, observed]), (1, 80)
    )
    objective = Objective(0.3, regularization=0.2, regularization_exponent=0.5)
    listed = np.arange(60, 80, dtype=np.int32)

    ready = rotate(items, objective)
    found = strongest(
        ready, row, np.zeros(1, np.int32), np.array([0, 20]), listed, among=np.ones(observed, bool)
    )
    parts = np.rint(contributions(ready, row, listed) * 1e9)
    np.testing.assert_array_equal(found, parts.argmax(axis=0))
    assert {bool(k < half) for k in found} == {True, False}
