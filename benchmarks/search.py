"""A search for settings on a split of the training data, within a number of seconds.

A tenth of each pair is held back by a seed. Successive halving (Jamieson and Talwalkar 2016): all
trials run a few iterations, the best third goes on, and a trial is worth its best moment; so the
number of iterations is chosen along with the rest. It begins with few factors and a wide grid;
then the factors are doubled and only the neighbourhood of the best is tried, since the pull that is
best sinks as the factors grow (Rendle et al. 2022, section 4).

Regularization is searched as the paper writes it, ``lambda*``: what the pull would be at exponent
1, so that trials of different exponents compare (their section 3.4).
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys.evaluation import Truth, score
from recsys.models import ImplicitALS, rank
from recsys.models._objective import confidences

_HELD_BACK: Final = 0.1
_USERS_JUDGED: Final = 4000
_FEW_FACTORS: Final = 64
_MOST_FACTORS: Final = 1024
#: Iterations at which trials are judged.
_RUNGS: Final = (4, 8, 16)
#: Share of the budget for the search; the rest is for the fit and the verdict.
_SEARCHING: Final = 0.6
#: Doubling the factors costs at most so many times as much.
_DOUBLING: Final = 3.0
#: The least relative gain in nDCG for which the factors are doubled again.
_WORTH_IT: Final = 0.003


@dataclass(frozen=True)
class Setting:
    """What a model is trained by."""

    factors: int
    regularization: float
    regularization_exponent: float
    unobserved_weight: float
    alpha: float
    iterations: int


@dataclass(frozen=True)
class Judgement:
    """Means over users."""

    recall: float
    ndcg: float


@dataclass
class Trial:
    """A model that is trained further as long as it is among the best."""

    pull: float
    setting: Setting
    model: ImplicitALS
    best: Judgement = field(default_factory=lambda: Judgement(0.0, 0.0))
    reached: int = 0

    def go_on(self, confidence: csr_matrix, iterations: int) -> float:
        """Train up to so many iterations; return the seconds that one takes."""
        self.model.iterations = iterations - self.reached
        started = time.perf_counter()
        self.model.fit(confidence, show_progress=False)
        self.reached = iterations
        return (time.perf_counter() - started) / self.model.iterations


@dataclass(frozen=True)
class Found:
    """The best of a round, how good it is on what was held back, and what an iteration takes."""

    setting: Setting
    judgement: Judgement
    seconds: float


class Search:
    """A search; :meth:`run` it once.

    Args:
        strength: the training data.
        k: the length of the lists.
        weighted: whether strengths differ, so that ``alpha`` says something.
        seed: of the split and the models.
        seconds: the whole budget.
    """

    def __init__(
        self, strength: csr_matrix, *, k: int, weighted: bool, seed: int, seconds: float
    ) -> None:
        self._k, self._weighted, self._seed = k, weighted, seed
        self._until = time.perf_counter() + _SEARCHING * seconds
        self._fit_seconds = (1 - _SEARCHING) * seconds
        self._shown, self._hidden = _split(strength, seed)
        users = np.flatnonzero(np.diff(self._hidden.indptr))
        rng = np.random.default_rng(seed)
        self._users = np.sort(rng.permutation(users)[:_USERS_JUDGED]).astype(np.int32)
        self.trials = 0

    def run(self, factors: int | None) -> tuple[Setting, list[Found]]:
        """The setting to take, and the best of each number of factors there was time for.

        Where ``factors`` are given the setting has so many, tried or not; else as many as paid.
        """
        path: list[Found] = []
        for found in self.doublings(factors or _MOST_FACTORS):
            path.append(found)
            if factors is None and len(path) > 1:
                before = path[-2]
                if found.judgement.ndcg < before.judgement.ndcg * (1 + _WORTH_IT):
                    return before.setting, path
        last = path[-1].setting
        return (last if factors is None else replace(last, factors=factors)), path

    def doublings(self, most: int) -> Iterator[Found]:
        """The best setting for few factors, twice as many, and so on, while there is time."""
        now = min(_FEW_FACTORS, most)
        grid = itertools.product(
            (0.001, 0.003, 0.01, 0.03),
            (1.0,),
            (1.0, 0.3, 0.1, 0.03, 0.01),
            (0.5, 3.0) if self._weighted else (1.0,),
        )
        best, seconds = self._compete(self._trial(now, *values) for values in grid)
        yield Found(best.setting, best.best, seconds)
        while now < most:
            following = min(2 * now, most)
            seconds *= _DOUBLING ** np.log2(following / now)
            tries = _neighbours(best)
            in_time = time.perf_counter() + _RUNGS[0] * len(tries) * seconds < self._until
            if not in_time or seconds * best.setting.iterations > self._fit_seconds:
                return
            now = following
            best, seconds = self._compete(self._trial(now, *one) for one in tries)
            yield Found(best.setting, best.best, seconds)

    def _trial(self, factors: int, pull: float, exponent: float, w0: float, alpha: float) -> Trial:
        setting = Setting(
            factors=factors,
            regularization=_unscaled(self._shown, pull, exponent, w0),
            regularization_exponent=exponent,
            unobserved_weight=w0,
            alpha=alpha,
            iterations=_RUNGS[0],
        )
        return Trial(pull, setting, _model(setting, self._seed))

    def _compete(self, trials: Iterable[Trial]) -> tuple[Trial, float]:
        """The best of some trials, and the seconds an iteration takes."""
        left, seconds = list(trials), 0.0
        self.trials += len(left)
        for rung, iterations in enumerate(_RUNGS):
            for trial in left:
                if trial.best.ndcg > 0 or rung == 0:
                    seconds = self._go_on(trial, iterations)
                if time.perf_counter() > self._until:
                    break
            left = sorted(left, key=lambda trial: -trial.best.ndcg)[: -(-len(left) // 3)]
            if time.perf_counter() > self._until:
                break
        return left[0], seconds

    def _go_on(self, trial: Trial, iterations: int) -> float:
        seconds = trial.go_on(confidences(self._shown, trial.setting.alpha), iterations)
        found = judged(
            trial.model.user_factors[self._users], trial.model.item_factors,
            self._shown[self._users], self._hidden[self._users], self._k,
        )  # fmt: skip
        if found.ndcg > trial.best.ndcg:
            trial.best = found
            trial.setting = replace(trial.setting, iterations=iterations)
        print(f"{trial.setting} lambda* {trial.pull:g}: {found}", file=sys.stderr)
        return seconds


def trained(strength: csr_matrix, setting: Setting, seed: int) -> ImplicitALS:
    """A model of all the data, made as the trials were: its users are not solved once more."""
    model = _model(setting, seed)
    model.fit(confidences(strength, setting.alpha), show_progress=False)
    return model


def judged(
    user_factors: npt.NDArray[np.floating],
    item_factors: npt.NDArray[np.floating],
    shown: csr_matrix,
    hidden: csr_matrix,
    k: int,
) -> Judgement:
    """Rank all items but those shown, and look for those hidden; users without any are left out."""
    users = np.flatnonzero(np.diff(hidden.indptr)).astype(np.int32)
    ranking = rank(
        np.asarray(user_factors[users], np.float64),
        item_factors,
        limits=np.full(len(users), k),
        allowed=np.ones(len(item_factors), bool),
        excluded=shown,
        rows=users,
    )
    found = score(ranking, Truth(users, hidden[users], {}), k)
    return Judgement(round(float(found.recall.mean()), 6), round(float(found.ndcg.mean()), 6))


def popular(strength: csr_matrix) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Factors of a model that ranks by how many users an item has."""
    users = np.bincount(strength.indices, minlength=strength.shape[1]).astype(np.float32)
    return np.ones((strength.shape[0], 1), np.float32), (users / users.max())[:, None]


def _neighbours(best: Trial) -> list[tuple[float, float, float, float]]:
    """Around the best setting: more and less pull, the unobserved heavier and lighter."""
    exponent, w0 = best.setting.regularization_exponent, best.setting.unobserved_weight
    around = [
        (best.pull * pull, exponent, min(w0 * weight, 1.0), best.setting.alpha)
        for pull, weight in ((1, 1), (0.5, 1), (2, 1), (1, 2), (0.5, 2), (1, 0.5))
    ]
    return list(dict.fromkeys([*around, (best.pull, 1.5 - exponent, w0, best.setting.alpha)]))


def _unscaled(strength: csr_matrix, pull: float, exponent: float, w0: float) -> float:
    """The regularization whose penalties weigh as much as those of ``pull`` at exponent 1."""
    users, items = strength.shape
    weights = np.concatenate(
        [
            np.diff(strength.indptr) + w0 * items,
            np.bincount(strength.indices, minlength=items) + w0 * users,
        ]
    )
    return float(pull * weights.sum() / (weights**exponent).sum())


def _model(setting: Setting, seed: int) -> ImplicitALS:
    return ImplicitALS(
        setting.factors,
        setting.regularization,
        unobserved_weight=setting.unobserved_weight,
        regularization_exponent=setting.regularization_exponent,
        iterations=setting.iterations,
        random_state=seed,
    )


def _split(strength: csr_matrix, seed: int) -> tuple[csr_matrix, csr_matrix]:
    """What is shown and what is hidden; a user's only item is shown."""
    rng = np.random.default_rng(seed)
    row = np.repeat(np.arange(strength.shape[0]), np.diff(strength.indptr))
    hidden = (rng.random(strength.nnz) < _HELD_BACK) & (np.diff(strength.indptr)[row] > 1)
    parts = (
        csr_matrix((strength.data[kept], (row[kept], strength.indices[kept])), strength.shape)
        for kept in (~hidden, hidden)
    )
    shown, held = parts
    return shown, held.astype(bool)
