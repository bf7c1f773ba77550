"""What was heard stays heard, whatever becomes of the log; held against the log itself."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from datetime import date, timedelta

import pytest

from recsys import models
from recsys.artefact import Artefact
from recsys.matrix import TasteMatrix
from tests.workflows.conftest import LAST_DAY, WEEK, Deployment, tribe_log


def heard_in_log(deployment: Deployment) -> dict[str, set[str]]:
    heard: dict[str, set[str]] = defaultdict(set)
    for path in deployment.log.rglob("*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            heard[row["user_id"]].add(row["track_id"])
    return heard


@pytest.mark.parametrize("kept_from", [date(2026, 11, 1), None])
def test_days_that_leave_the_log_stay_heard(deployment: Deployment, kept_from: date | None) -> None:
    """Either all days before one, as of a log that expires, or one day in the middle."""
    tribe_log(deployment)
    heard = heard_in_log(deployment)
    assert deployment.run("2026-W46")
    for folder in sorted(deployment.log.iterdir()):
        day = date.fromisoformat(folder.name.removeprefix("date="))
        if (day < kept_from) if kept_from else (day == LAST_DAY - timedelta(days=10)):
            shutil.rmtree(folder)
    assert deployment.run(WEEK)
    rows = deployment.playlists(WEEK)
    assert len(rows) == len(heard)
    for row in rows:
        assert not {track["track_id"] for track in row["tracks"]} & heard[row["user_id"]]


def test_a_model_is_trained_cold_after_so_many_weeks_not_editions(deployment: Deployment) -> None:
    deployment.configure(als={"cold_every_weeks": 2})
    tribe_log(deployment, days=35)
    for week, way in (("2026-W44", "cold"), ("2026-W45", "continue"), ("2026-W47", "cold")):
        assert deployment.run(week)
        edition = deployment.edition(week)
        assert Artefact.open(edition / "model_choice").facts["way"] == way
        model = Artefact.open(edition / "als_model")
        assert model.facts["cold_in"] == (week if way == "cold" else "2026-W44")
        assert (model.inputs["parent"] is None) == (way == "cold")


def test_what_ships_cold_has_gone_on_from_the_challenger(deployment: Deployment) -> None:
    tribe_log(deployment)
    assert deployment.run(WEEK)
    edition = deployment.edition(WEEK)
    matrix, shipped = TasteMatrix.load(edition / "matrix"), models.load(edition / "als_model")
    challenger = models.load(edition / "evaluation" / "challenger")
    again = models.train(matrix, shipped.settings, seed=0, parent=challenger)
    assert not challenger.warm
    assert shipped.item_factors.tobytes() == again.item_factors.tobytes()
    assert shipped.loss == again.loss
