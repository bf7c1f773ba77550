"""Means over listeners and how sure they are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from recsys._threads import one_blas_thread
from recsys.evaluation._kernel import times_drawn
from recsys.evaluation._metrics import Scores

_RESAMPLES: Final = 1000
#: Draws held at a time: 4 bytes each, and 8 more for how often each user is drawn.
_DRAWS_AT_ONCE: Final = 1 << 22


@dataclass(frozen=True)
class Interval:
    """A mean with its 95% interval, over so many users."""

    mean: float
    low: float
    high: float
    users: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, rounded to 6 decimals."""
        return {name: round(value, 6) for name, value in asdict(self).items()}


def intervals(values: npt.NDArray[np.float64], seed: int) -> list[Interval]:
    """The mean of each column and its 95% interval, by a seeded percentile bootstrap over rows.

    1000 resamples (Efron and Tibshirani 1993, chapter 13). A resample draws the same listeners for
    every column, so columns keep what they have to do with each other. Memory stays under 100 MB
    beside ``values``, whatever their number. Without rows all is zero.

    Args:
        values: float64 ``[users, columns]``.
        seed: of the resampling.
    """
    users, columns = values.shape
    if not users:
        return [Interval(0.0, 0.0, 0.0, 0)] * columns
    rng = np.random.default_rng(seed)
    means = np.empty((_RESAMPLES, columns))
    height = max(1, min(_RESAMPLES, _DRAWS_AT_ONCE // users))
    with one_blas_thread():
        for start in range(0, _RESAMPLES, height):
            block = min(height, _RESAMPLES - start)
            drawn = rng.integers(0, users, (block, users), np.int32)
            means[start : start + block] = times_drawn(drawn, users) @ values / users
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return [
        Interval(float(mean), float(low[n]), float(high[n]), users)
        for n, mean in enumerate(values.mean(axis=0))
    ]


def paired(a: Scores, b: Scores, seed: int) -> Interval:
    """The mean of ``a - b`` and its 95% interval (:func:`intervals`).

    Args:
        a: float64 ``[users]``, a metric of one model.
        b: float64 ``[users]``, the same of the other, user by user.
        seed: of the resampling.
    """
    return intervals((a - b)[:, None], seed)[0]
