"""The models that could ship, scored on the week that none of them has seen.

Everything stands on the *base*, the state one week before the edition's cutoff; what was played in
the seven days since is the truth. Nothing leaks: the base matrix is made from days before its
cutoff alone, the parent was trained at or before it, and so is the challenger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from recsys import models
from recsys._tables import arrow, database, file_list
from recsys.artefact import Artefact
from recsys.choice import Evidence, needs_challenger
from recsys.evaluation import (
    Interval,
    Metrics,
    Truth,
    paired,
    recommend,
    recommend_popular,
    score,
    truth,
)
from recsys.matrix import TasteMatrix
from recsys.models import ALSModel
from recsys.settings import Settings
from recsys.weeks import Week

#: A parent made with other settings of these sections is held against a challenger first.
_SHAPE_THE_MODEL: Final = ("als", "listens")


def plays_of(days: Sequence[Path], spill: Path) -> pa.Table:
    """Who played what in these days, each pair once: user_id and track_id, sorted.

    Args:
        days: ``plays.parquet`` of each day.
        spill: a folder for what does not fit into memory.
    """
    if not days:
        return pa.table(
            {"user_id": pa.array([], pa.string()), "track_id": pa.array([], pa.string())}
        )
    with database(spill) as connection:
        return arrow(
            connection,
            f"""SELECT DISTINCT user_id, track_id FROM read_parquet({file_list(days)})
                WHERE plays + part_plays > 0 ORDER BY ALL""",
        )


def evaluate_week(
    base: TasteMatrix,
    plays: pa.Table,
    *,
    week: Week,
    pinned: Mapping[str, Artefact],
    settings: Settings,
) -> dict[str, Any]:
    """Score parent, grandparent and popularity, and a challenger where one is needed.

    Args:
        base: the matrix one week before the edition's cutoff.
        plays: who played what since (:func:`plays_of`).
        week: the edition.
        pinned: the models of earlier editions, ``parent`` and ``grandparent``, where there are any.
        settings: of the run.

    Returns:
        As JSON values: ``metrics`` by model, ``listeners`` scored, plays ``dropped`` by reason, the
        ``evidence`` for the choice, and ``challenger``: why there is one, or None.
    """
    heard = truth(base, plays)
    scored = {"popularity": score(recommend_popular(base, heard.users), heard)}
    for name, artefact in pinned.items():
        scored[name] = _score(models.load(artefact.path), base, heard)
    evidence = _compare(_circumstances(week, pinned, settings), scored, settings.recsys.seed)
    why = needs_challenger(evidence)
    if why is not None and len(heard.users):
        challenger = models.train(base, settings.als, settings.recsys.seed)
        scored["challenger"] = _score(challenger, base, heard)
        evidence = _compare(evidence, scored, settings.recsys.seed)
    return {
        "metrics": _means(scored) if len(heard.users) else {},
        "listeners": len(heard.users),
        "dropped": heard.dropped,
        "evidence": asdict(evidence),
        "challenger": why,
    }


def evidence_of(evaluation: Mapping[str, Any]) -> Evidence:
    """The evidence in what :func:`evaluate_week` returned."""
    values: dict[str, Any] = {
        name: Interval(**value) if isinstance(value, Mapping) else value
        for name, value in evaluation["evidence"].items()
    }
    return Evidence(**values)


def _score(model: ALSModel, base: TasteMatrix, heard: Truth) -> Metrics:
    return score(recommend(model, base, heard.users), heard)


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


def _compare(evidence: Evidence, scored: Mapping[str, Metrics], seed: int) -> Evidence:
    pairs = (
        ("parent", "popularity"),
        ("parent", "grandparent"),
        ("challenger", "popularity"),
        ("challenger", "parent"),
    )
    compared: dict[str, Any] = {
        f"{one}_{other}": paired(scored[one].ndcg, scored[other].ndcg, seed)
        for one, other in pairs
        if one in scored and other in scored
    }
    return replace(evidence, **compared)


def _means(scored: Mapping[str, Metrics]) -> dict[str, dict[str, float]]:
    return {
        name: {
            "recall_at_30": round(float(metrics.recall.mean()), 6),
            "ndcg_at_30": round(float(metrics.ndcg.mean()), 6),
        }
        for name, metrics in scored.items()
    }
