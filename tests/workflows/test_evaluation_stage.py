"""The evaluation of a real week: what it writes, and a leak planted in what it stands on."""

from __future__ import annotations

import json
from typing import Any

import luigi
import pytest

from tests.workflows.conftest import WEEK, Deployment
from workflows.edition_catalogue import EditionCatalogue
from workflows.edition_plan import EditionPlan
from workflows.model_evaluation import ModelEvaluation
from workflows.taste_state import TasteState


def test_a_first_week_is_scored_against_every_baseline(tribes: Deployment) -> None:
    assert tribes.run()
    folder = tribes.edition() / "evaluation"
    found: dict[str, Any] = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    assert found["week"] == {"begin": "2026-11-08", "end": "2026-11-15"}
    metrics = found["metrics"]
    assert list(metrics) == [
        "popularity", "recent_popularity", "item_knn", "als_defaults", "challenger"
    ]  # fmt: skip
    ours, popular = (metrics[name]["ndcg_at_30"] for name in ("challenger", "popularity"))
    assert ours["low"] > popular["high"]
    assert found["beyond"]["challenger"]["popularity_overlap"] < 0.6
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["facts"]["metrics"]["challenger"]["ndcg_at_30"] == ours["mean"]


def test_this_weeks_state_in_place_of_last_weeks_is_refused(
    tribes: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leak that a wrong line in the DAG would make: everything else would look splendid."""

    def leaky(task: ModelEvaluation) -> dict[str, luigi.Task]:
        return {
            "plan": task.sibling(EditionPlan),
            "base": TasteState(week=task.week, revision=task.revision, weeks_back=0),
            "catalogue": task.sibling(EditionCatalogue),
        }

    monkeypatch.setattr(ModelEvaluation, "requires", leaky)
    assert not tribes.run()
    last = tribes.last_run()
    assert last["stage"] == "evaluation"
    assert "was not made from the plan's days before 2026-11-08" in last["why"]
    assert not tribes.edition(WEEK).joinpath("evaluation").exists()
