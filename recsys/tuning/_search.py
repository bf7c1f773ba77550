"""The search: trials that cost little first, and more only for those that do well.

A trial climbs three rungs. On the first it has a quarter of the listeners, factors and iterations,
on the last all of them. The pruner is asynchronous successive halving (Li et al. 2020, "A System
for Massively Parallel Hyperparameter Tuning"), the sampler the tree-structured Parzen estimator
(Bergstra et al. 2011), both Optuna's.

Only finished trials are kept, each in one transaction: what a killed run was at is done again, and
each trial is drawn by its number and the trials before it. So a search that was interrupted comes
out as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from recsys.errors import GateRefusedError
from recsys.settings import Settings
from recsys.tuning._space import Values, drawn_now, suggest, with_values

if TYPE_CHECKING:
    import optuna

_ETA: Final = 3
#: Random draws before the sampler trusts what it has seen; the first is what is set now.
_FIRST_DRAWS: Final = 10
_VALUES: Final = "values"

FINISHED, STOPPED, FAILED = "finished", "stopped", "failed"


@dataclass(frozen=True)
class Rung:
    """Shares of what a full training takes."""

    listeners: float
    effort: float


RUNGS: Final = (Rung(1 / 4, 1 / 4), Rung(1 / 2, 1 / 2), Rung(1, 1))


@dataclass(frozen=True)
class Tried:
    """A trial that has ended.

    Attributes:
        number: from 0; that is what is set now.
        values: by dimension.
        scores: ndcg@30 on each rung that was reached.
        state: ``finished`` (on the last rung), ``stopped`` (others did better), ``failed`` (the
            factors were not finite).
    """

    number: int
    values: Values
    scores: tuple[float, ...]
    state: str


def search(
    score: Callable[[Settings, Rung], float],
    settings: Settings,
    *,
    name: str,
    file: Path,
    on_trial: Callable[[list[Tried]], None],
) -> list[Tried]:
    """Try settings until the limits of ``[tuning]``, going on from the trials that are kept.

    Args:
        score: of settings on a rung; larger is better. Equal input, equal score.
        settings: those of now, and the limits.
        name: of the search: trials of another name are another search's.
        file: a SQLite database (Optuna's) that trials are kept in.
        on_trial: told of all trials so far, at the beginning and after each.
    """
    import optuna
    from optuna.storages import RDBStorage

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    limits, seed = settings.tuning, settings.recsys.seed
    deadline = time.monotonic() + 60 * limits.minutes if limits.minutes else float("inf")
    file.parent.mkdir(parents=True, exist_ok=True)
    storage = RDBStorage(f"sqlite:///{file}")
    try:
        kept = optuna.create_study(
            storage=storage, study_name=name, direction="maximize", load_if_exists=True
        )
        study = optuna.create_study(
            direction="maximize",
            pruner=optuna.pruners.SuccessiveHalvingPruner(
                min_resource=1, reduction_factor=_ETA, min_early_stopping_rate=0
            ),
        )
        study.add_trials(kept.trials)
        tried = [_tried(one) for one in study.trials]
        on_trial(tried)
        if not tried:
            study.enqueue_trial(drawn_now(settings))
        while not tried or (len(tried) < limits.trials and time.monotonic() < deadline):
            study.sampler = optuna.samplers.TPESampler(
                seed=(seed + len(tried)) % 2**32, n_startup_trials=_FIRST_DRAWS
            )
            _climb(study, score, settings)
            kept.add_trial(study.trials[-1])
            tried.append(_tried(study.trials[-1]))
            on_trial(tried)
    finally:
        storage.remove_session()
        storage.engine.dispose()
    return tried


def _climb(
    study: optuna.Study, score: Callable[[Settings, Rung], float], settings: Settings
) -> None:
    """Run one trial, up to where it is stopped."""
    from optuna.trial import TrialState

    trial = study.ask()
    values = suggest(trial, settings)
    trial.set_user_attr(_VALUES, values)
    asked = with_values(settings, values)
    for number, rung in enumerate(RUNGS):
        try:
            found = score(asked, rung)
        except GateRefusedError:
            study.tell(trial, state=TrialState.FAIL)
            return
        trial.report(found, step=_ETA**number)
        if rung is not RUNGS[-1] and trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return
    study.tell(trial, found)


def _tried(trial: optuna.trial.FrozenTrial) -> Tried:
    states = {"COMPLETE": FINISHED, "PRUNED": STOPPED, "FAIL": FAILED}
    scores = trial.intermediate_values
    return Tried(
        number=trial.number,
        values=trial.user_attrs[_VALUES],
        scores=tuple(scores[step] for step in sorted(scores)),
        state=states[trial.state.name],
    )
