"""The models that could ship, scored on the week that none of them has seen.

Everything stands on the *base*, the state one week before the edition's cutoff. What listeners
played for the first time in the week from there to the cutoff is the truth
(:mod:`recsys.unseen_week`). Why nothing leaks:

- The base is made from days that arrived before its cutoff, and from no other: its digest of days
  is held against the plan's (:func:`recsys.unseen_week.unseen_since`), and no listener in it may
  have heard anything in the week (:func:`evaluate_week`).
- The week is half-open: it begins where the newest model's cutoff lies, which is the base's unless
  ``[edition] lead_hours`` has changed, and ends before the edition's. A play counts by the day it
  was listened on; a pair that arrived late with a listen before the week was not new.
- The challenger and the baselines are trained on the base alone. Every model folds the listeners in
  from the base, so a listener's own week is in nobody's factors.
- A song played in the week that the base did not know has no listeners there: nobody can rank it,
  and it counts as missed for all alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import pyarrow.compute as pc

from recsys import models
from recsys.artefact import Artefact
from recsys.choice import Evidence, needs_challenger
from recsys.eligibility import cooling_songs
from recsys.errors import ArtefactError
from recsys.evaluation import (
    POPULARITY,
    Comparison,
    Interval,
    Truth,
    compare,
    paired,
    recommend,
    recommend_baselines,
    score,
    truth,
)
from recsys.models import ALSModel, Ranking
from recsys.settings import BASELINES, Settings
from recsys.unseen_week import UnseenWeek
from recsys.weeks import Week

#: The challenger's folder in the evaluation's.
CHALLENGER: Final = "challenger"
#: A parent made with other settings of these sections is held against a challenger first.
_SHAPE_THE_MODEL: Final = ("als", "listens")
#: What the choice looks at.
_DECISIVE: Final = (
    ("parent", POPULARITY),
    ("parent", "grandparent"),
    ("challenger", POPULARITY),
    ("challenger", "parent"),
)
_PAIRS: Final = (
    *_DECISIVE,
    *((one, other) for one in ("parent", "challenger") for other in BASELINES[1:]),
)


def evaluate_week(
    unseen: UnseenWeek,
    *,
    week: Week,
    pinned: Mapping[str, Artefact],
    settings: Settings,
    out: Path,
    train: Callable[[], ALSModel] | None = None,
) -> dict[str, Any]:
    """Score parent, grandparent and the baselines, and a challenger where one is needed.

    Args:
        unseen: the week before the edition's cutoff.
        week: the edition.
        pinned: the models of earlier editions, ``parent`` and ``grandparent``, where there are any.
        settings: of the run.
        out: the folder of the evaluation. A challenger's item factors are kept in ``challenger/``;
            what does not fit into memory is spilled there.
        train: trains the challenger cold on all listeners, where the base has some of them only;
            then nothing can be gone on from.

    Returns:
        ``evaluation.json``, as docs/evaluation.md describes it.

    Raises:
        ArtefactError: somebody in the base has heard something in the week.
    """
    base, seed = unseen.base, settings.recsys.seed
    found, heard, rankings = rank_known(unseen, pinned, settings)

    def compared(evidence: Evidence) -> Evidence:
        intervals: dict[str, Any] = {
            f"{one}_{other}": paired(
                score(rankings[one], heard).ndcg, score(rankings[other], heard).ndcg, seed
            )
            for one, other in _DECISIVE
            if one in rankings and other in rankings
        }
        return replace(evidence, **intervals)

    evidence = _circumstances(week, pinned, settings)
    evidence = compared(replace(evidence, cold_only=train is not None))
    why = needs_challenger(evidence)
    if why is not None and len(heard.users):
        challenger = train() if train else models.train(base, settings.als, seed, with_users=False)
        rankings["challenger"] = recommend(challenger, base, heard.users)
        (out / CHALLENGER).mkdir()
        models.save(challenger.without_users(), out / CHALLENGER)
        evidence = compared(evidence)
    comparison = compare_rankings(unseen, heard, rankings, pairs=_PAIRS, seed=seed)
    return {
        "listeners": len(heard.users),
        "of_listeners": len(found.users),
        "week": {"begin": str(unseen.begin), "end": str(unseen.end)},
        "dropped": heard.dropped,
        "challenger": why,
        "evidence": {
            name: value
            for name, value in asdict(evidence).items()
            if name != "cold_only" or evidence.cold_only
        },
        **comparison.to_dict(),
    }


def rank_known(
    unseen: UnseenWeek, pinned: Mapping[str, Artefact], settings: Settings
) -> tuple[Truth, Truth, dict[str, Ranking]]:
    """What is to be predicted, the part of it that is scored, and who is there to predict it.

    Returns:
        The truth, the sample of it, and the rankings of the baselines and of ``pinned``.

    Raises:
        ArtefactError: somebody in the base has heard something in the week.
    """
    refuse_leak(pc.max(unseen.base.users["last_heard"]).as_py(), unseen.begin)
    seed = settings.recsys.seed
    found = truth(unseen.base, unseen.plays)
    heard = found.sample(settings.evaluation.listeners, seed)
    baselines = settings.evaluation.baseline_names if len(heard.users) else ()
    rankings = recommend_baselines(
        baselines, unseen.base, heard.users, recent=unseen.recent, seed=seed
    )
    for name, artefact in pinned.items():
        rankings[name] = recommend(models.load(artefact.path), unseen.base, heard.users)
    return found, heard, rankings


def compare_rankings(
    unseen: UnseenWeek,
    heard: Truth,
    rankings: Mapping[str, Ranking],
    *,
    pairs: Sequence[tuple[str, str]],
    seed: int,
) -> Comparison:
    """Measure rankings on the week (:func:`recsys.evaluation.compare`)."""
    base, previous = unseen.base, unseen.previous
    earlier = cooling_songs(base, heard.users, previous) if previous else None
    return compare(
        base, heard, rankings, pairs=pairs, seed=seed, previous=earlier, holders=unseen.holders
    )


def evidence_of(evaluation: Mapping[str, Any]) -> Evidence:
    """The evidence in what :func:`evaluate_week` returned."""
    values: dict[str, Any] = {
        name: Interval(**value) if isinstance(value, Mapping) else value
        for name, value in evaluation["evidence"].items()
    }
    return Evidence(**values)


def means_of(evaluation: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Model -> metric -> mean, of what :func:`evaluate_week` returned."""
    return {
        model: {name: value["mean"] for name, value in metrics.items()}
        for model, metrics in evaluation["metrics"].items()
    }


def refuse_leak(last: date | None, begin: date) -> None:
    """See that nobody in the base has heard anything in the week.

    Args:
        last: the last day that the base knows of a listen on.
        begin: the first day of the week.

    Raises:
        ArtefactError: somebody has.
    """
    if last is not None and last >= begin:
        raise ArtefactError(
            f"The base that models are judged on knows of a listen on {last}, and the week to be "
            f"predicted begins on {begin}: whoever knows the answer cannot be judged by it. Hand "
            "in the matrix at the cutoff one week back."
        )


def _circumstances(week: Week, pinned: Mapping[str, Artefact], settings: Settings) -> Evidence:
    parent = pinned.get("parent")
    every = settings.als.cold_every_weeks
    if parent is None:
        return Evidence(has_parent=False, cold_every_weeks=every)
    then, now = parent.facts["settings"], settings.shaping()
    return Evidence(
        has_parent=True,
        settings_changed=any(then.get(part) != now[part] for part in _SHAPE_THE_MODEL),
        factors_changed=then["als"]["factors"] != settings.als.factors,
        weeks_since_cold=(week.monday - Week.parse(parent.facts["cold_in"]).monday).days // 7,
        cold_every_weeks=every,
    )
