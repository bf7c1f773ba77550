"""TuneModel from the log to the overlay."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from recsys.artefact import Artefact
from recsys.errors import MissingDataError, SettingsError
from recsys.settings import load_settings
from recsys.tuning._space import values_of
from tests.workflows.conftest import WEEK, Deployment, build, listen, tribe_log
from workflows import TuneModel

#: The first day of the week that edition 2026-W47 reports on.
REPORTED = date(2026, 11, 8)


def configure(deployment: Deployment) -> None:
    """Settings, and a seed, under which eight trials find better."""
    deployment.configure(
        recsys={"home": deployment.home, "seed": 1},
        listens={"source": "log", "format": "jsonl"},
        als={"factors": 2, "iterations": 4, "alpha": 0.05, "regularization": 3},
        mlflow={"tracking_uri": "http://127.0.0.1:9"},
        tuning={"trials": 8},
    )


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a deployment that was tuned for 2026-W47, with trials enough to find better."""
    made = Deployment(tmp_path_factory.mktemp("tuned"))
    configure(made)
    tribe_log(made, days=28)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.folder)
        patch.setenv("LUIGI_CONFIG_PATH", str(made.config))
        assert build(TuneModel(week=WEEK))
    return made.folder


@pytest.fixture
def mine(deployment: Deployment, tuned: Path) -> Deployment:
    """A copy of it."""
    for name in ("log", "home"):
        shutil.copytree(tuned / name, deployment.folder / name)
    configure(deployment)
    return deployment


def evidence_of(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "tuning" / WEEK / "evidence.json").read_text())
    return found


def test_the_overlay_holds_what_was_found_and_says_why(tuned: Path) -> None:
    found = evidence_of(tuned / "home")
    overlay = tuned / "home" / "tuning" / WEEK / "best.cfg"
    settings = load_settings([overlay])
    assert values_of(settings) == found["found"] != found["now"]
    # What was in use beside stays in use.
    assert (settings.listens.source, settings.als.iterations) == ("log", 4)
    text = overlay.read_text()
    assert f"# was 2\nfactors = {settings.als.factors}\n" in text
    assert "Tuned on      2026-10-25 to 2026-10-31: 8 trials" in text
    assert "Never seen    2026-11-08 to 2026-11-14" in text
    assert ("significant" in text) == (found["scores"]["gain"] is not None)
    assert f"TuneModel --local-scheduler --week {WEEK}" in text


def test_the_evidence_adds_up(tuned: Path) -> None:
    found, folder = evidence_of(tuned / "home"), tuned / "home" / "tuning" / WEEK
    table = pq.read_table(folder / "trials.parquet").to_pylist()
    assert len(table) == sum(found["trials"].values()) == 8
    best = max((row for row in table if row["rung_3"] is not None), key=lambda row: row["rung_3"])
    assert best["trial"] == found["best_trial"]["number"]
    scores = found["scores"]
    assert scores["gain"]["mean"] == pytest.approx(
        scores["best"]["mean"] - scores["now"]["mean"], abs=2e-6
    )
    assert (found["verdict"] == "better") == (scores["gain"]["low"] > 0)
    Artefact.open(folder).check()
    # No listener is named in what is kept.
    kept = [path for path in (tuned / "home" / "tuning").rglob("*") if path.is_file()]
    assert all(b"t0m0" not in path.read_bytes() for path in kept)


def test_the_same_command_again_does_nothing(mine: Deployment) -> None:
    before = (mine.home / "tuning" / WEEK / "manifest.json").stat().st_mtime_ns
    assert TuneModel(week=WEEK).complete()
    assert build(TuneModel(week=WEEK))
    assert (mine.home / "tuning" / WEEK / "manifest.json").stat().st_mtime_ns == before


def test_the_reported_week_plays_no_part(mine: Deployment) -> None:
    """What listeners do in the week that is reported, planted otherwise, changes no byte."""
    before = {name: digest(mine, name) for name in FILES}
    shutil.rmtree(mine.home)
    for folder in mine.log.iterdir():
        day = date.fromisoformat(folder.name.removeprefix("date="))
        if day >= REPORTED:
            shutil.rmtree(folder)
            rows = [listen(f"t0m{n:02d}", "track 2001", day, second=n) for n in range(14)]
            late = [listen("t0m01", "track 2002", date(2026, 10, 26), second=day.day)]
            mine.write_day(day, rows + late)
    assert build(TuneModel(week=WEEK))
    assert {name: digest(mine, name) for name in FILES} == before


FILES = ("trials.parquet", "evidence.json")


def digest(deployment: Deployment, name: str) -> str:
    made = Artefact.open(deployment.home / "tuning" / WEEK)
    return str(made.files[name]["sha256"])


def test_more_trials_go_on_from_those_there_are(mine: Deployment) -> None:
    before = pq.read_table(mine.home / "tuning" / WEEK / "trials.parquet").to_pylist()
    mine.configure(tuning={"trials": 10})
    assert not TuneModel(week=WEEK).complete()
    assert build(TuneModel(week=WEEK))
    after = pq.read_table(mine.home / "tuning" / WEEK / "trials.parquet").to_pylist()
    assert after[:8] == before
    assert len(after) == 10


def test_where_nothing_is_better_todays_settings_stay(mine: Deployment) -> None:
    mine.configure(als={"factors": 8})  # another search, of one trial: what is set
    mine.configure(tuning={"trials": 1})
    assert build(TuneModel(week=WEEK))
    overlay = mine.home / "tuning" / WEEK / "best.cfg"
    assert "nothing better was found" in overlay.read_text()
    assert "# was" not in overlay.read_text()
    assert load_settings([overlay]).als == load_settings().als


def test_no_password_is_written_or_told(mine: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(TuneModel, "tell", lambda _, message: told.append(message))
    mine.configure(mlflow={"tracking_uri": "http://user:s3cret@127.0.0.1:9"}, tuning={"trials": 9})
    assert build(TuneModel(week=WEEK))
    assert any("not tracked in MLflow" in message for message in told)
    assert not any("s3cret" in message for message in told)
    kept = [path for path in (mine.home / "tuning").rglob("*") if path.is_file()]
    assert all(b"s3cret" not in path.read_bytes() for path in kept)
    overlay = mine.home / "tuning" / WEEK / "best.cfg"
    assert "# Left out, since it holds a password: [mlflow] tracking_uri" in overlay.read_text()
    assert load_settings([overlay])


def test_every_trial_is_a_child_run(mine: Deployment, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    mine.configure(mlflow={"tracking_uri": uri}, tuning={"trials": 9})
    assert build(TuneModel(week=WEEK))
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("weekly-playlists-tuning")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    children = [run for run in runs if run is not parent]
    # The eight that were tried while the server was down are there, too.
    assert sorted(int(run.data.tags["trial"]) for run in children) == list(range(9))
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert parent.info.status == "FINISHED"
    assert all("als.factors" in run.data.params for run in children)


def test_a_log_that_is_too_short_is_said_before_any_work(deployment: Deployment) -> None:
    tribe_log(deployment, days=24)
    with pytest.raises(MissingDataError, match=r"reach back to 2026-10-18.*begins on 2026-10-22"):
        TuneModel(week=WEEK).complete()
    assert MissingDataError.exit_code == 20
    assert not (deployment.home / "tuning").exists()
    assert deployment.last_run().get("outcome") in (None, "failed")


def test_too_few_listeners_end_the_stage(deployment: Deployment) -> None:
    tribe_log(deployment, days=28, members=3)
    assert not build(TuneModel(week=WEEK))
    assert "at least 30 are needed" in deployment.last_run()["why"]
    assert list((deployment.home / "tuning").glob("*")) == []


def test_no_week_is_no_week(tribes: Deployment) -> None:
    with pytest.raises(SettingsError, match="2026-47"):
        TuneModel(week="2026-47").complete()
