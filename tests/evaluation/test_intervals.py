"""Bootstrap intervals."""

import math

import numpy as np
import pytest

from recsys.evaluation import Interval, _intervals, intervals, paired


def test_the_interval_is_the_bootstraps_and_covers_the_mean() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.3, 0.1, 2000), rng.normal(0.2, 0.1, 2000)
    interval = paired(a, b, seed=7)
    assert interval == paired(a, b, seed=7)
    assert interval != paired(a, b, seed=8)
    assert interval.mean == pytest.approx((a - b).mean())
    half = 1.96 * (a - b).std() / math.sqrt(2000)
    assert interval.low == pytest.approx(interval.mean - half, abs=half / 5)
    assert interval.high == pytest.approx(interval.mean + half, abs=half / 5)
    assert interval.users == 2000


def test_it_covers_the_true_mean_19_times_in_20() -> None:
    """Of hits, which are far from normal: 400 samples of a rate that is known."""
    rng = np.random.default_rng(3)
    hits = (rng.random((300, 400)) < 0.1).astype(np.float64)
    found = intervals(hits, seed=1)
    covered = np.mean([one.low <= 0.1 <= one.high for one in found])
    assert 0.91 < covered < 0.98


def test_pairing_is_listener_by_listener() -> None:
    """Listeners differ far more than models do; only pairing sees the difference."""
    easy = np.random.default_rng(0).random(200)
    assert paired(easy + 0.01, easy, seed=1).low == pytest.approx(0.01)


def test_a_column_has_the_same_interval_alone_and_among_others() -> None:
    values = np.random.default_rng(0).random((500, 3))
    together = intervals(values, seed=5)
    for n in range(3):
        (alone,) = intervals(values[:, [n]], seed=5)
        assert (alone.low, alone.high) == pytest.approx((together[n].low, together[n].high))


def test_the_height_of_the_blocks_plays_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many listeners are drawn in many blocks, which keeps the memory bounded."""
    values = np.random.default_rng(0).random((500, 2))
    at_once = intervals(values, seed=5)
    monkeypatch.setattr(_intervals, "_DRAWS_AT_ONCE", 7 * 500)
    for one, other in zip(at_once, intervals(values, seed=5), strict=True):
        assert (one.low, one.high) == pytest.approx((other.low, other.high))


def test_nobody_has_no_interval() -> None:
    assert intervals(np.zeros((0, 2)), seed=1) == [Interval(0.0, 0.0, 0.0, 0)] * 2
