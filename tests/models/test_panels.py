"""Small systems in float32 are as exact as the bound on them says."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.models._panels import reduce

_UNIT = 2.0**-24


@pytest.mark.parametrize("depth", [32, 64, 100, 1000, 5000])
@pytest.mark.parametrize("size", [4, 20, 64])
@pytest.mark.parametrize("alike", [True, False])
def test_a_factor_is_as_near_as_roundings_that_do_not_conspire_let_it_be(
    depth: int, size: int, alike: bool
) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rows = rng.standard_normal((depth, size + 24)).astype(np.float32)
        if alike:
            rows[:] = rows[0]
        joined, inverse = np.zeros((size, size + 24), np.float32), np.zeros(size, np.float32)
        assert reduce(rows, size, joined, size, inverse)
        factor = np.triu(joined[:, :size]).astype(np.float64)
        exact = rows[:, :size].astype(np.float64)
        system = np.eye(size) + exact.T @ exact
        error = np.linalg.norm(factor.T @ factor - system, 2)
        assert error < 0.5 * _UNIT * np.sqrt(depth + size + 16) * np.trace(system)
