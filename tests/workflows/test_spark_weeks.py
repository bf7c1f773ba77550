"""Weeks on Spark, from the log to the store, and whoever reads what they left."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from recsys.artefact import Artefact, exists
from recsys.spark import SparkEngine
from recsys.store import open_store
from recsys.weeks import Week
from tests.engines.here import need_spark
from tests.workflows.conftest import Deployment, listen

FIRST, SECOND = "2026-W47", "2026-W48"
TRIBES, MEMBERS, SONGS, HISTORY = 3, 14, 240, 3


def deliver(deployment: Deployment, arrived: date) -> None:
    """A week of listens that came on one day: three songs a day of each listener's own tribe."""
    deployment.write_day(
        arrived,
        [
            listen(
                f"t{tribe}m{member:02d}",
                f"track {tribe * 1000 + song:04d}",
                arrived - timedelta(days=back),
                second=member * 600 + k * 200,
            )
            for back in range(7)
            for tribe in range(TRIBES)
            for member in range(MEMBERS)
            for k, song in enumerate(
                random.Random(f"{tribe} {member} {arrived} {back}").sample(range(SONGS), 3)
            )
        ],
    )


@pytest.fixture
def weeks(deployment: Deployment) -> Deployment:
    """A deployment whose log comes once a week, so that there are few days to read."""
    last = Week.parse(FIRST).last_day(24)
    for back in range(HISTORY + 1):
        deliver(deployment, last - timedelta(weeks=back))
    deployment.configure(
        listens={"missing_day": "continue", "odd_day": "continue"},
        spark={
            "master": "local[2]",
            "spark.driver.memory": "1g",
            "spark.sql.shuffle.partitions": 2,
        },
    )
    need_spark(SparkEngine(deployment.load()))
    return deployment


def run_and_kill(deployment: Deployment, stage: Path) -> None:
    """Run a week until a stage is complete, and kill the driver."""
    command = ["-m", "luigi", "--module", "workflows", "WeeklyPlaylists", "--local-scheduler"]
    with (deployment.folder / "killed.log").open("wb") as log:
        running = subprocess.Popen(
            [sys.executable, *command, "--week", SECOND],
            cwd=deployment.folder, env=deployment.environment(), stdout=log, stderr=log,
        )  # fmt: skip
        while not exists(stage):
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = running.wait(0.02)
                pytest.fail(f"{code}: {(deployment.folder / 'killed.log').read_text()}")
        running.send_signal(signal.SIGKILL)
        running.wait()


@pytest.mark.parametrize("first", ["local", pytest.param("spark", marks=pytest.mark.soak)])
def test_a_week_goes_on_from_the_one_before(weeks: Deployment, first: str) -> None:
    """Whichever engine made it; the driver is killed on the way, and the run is made again."""
    weeks.configure(engine={"name": first})
    ran = weeks.weekly("--week", FIRST)
    assert ran.returncode == 0, ran.stderr
    days = {path: path.stat().st_mtime_ns for path in (weeks.home / "days").rglob("*.json")}
    deliver(weeks, Week.parse(SECOND).last_day(24))
    weeks.configure(engine={"name": "spark"})

    run_and_kill(weeks, weeks.edition(SECOND) / "matrix")
    assert served(weeks) == FIRST
    ran = weeks.weekly("--week", SECOND)

    assert ran.returncode == 0, ran.stderr
    assert served(weeks) == SECOND
    assert {path: path.stat().st_mtime_ns for path in days} == days
    edition = weeks.edition(SECOND)
    choice = json.loads(Artefact.open(edition / "model_choice").file("verdict.json").read_text())
    assert (choice["way"], choice["because"]) == (
        "cold", "Spark's ALS cannot go on from a model"
    )  # fmt: skip
    model = Artefact.open(edition / "als_model")
    assert np.load(model.file("user_factors.npy")).shape == (0, 8)
    lists = weeks.playlists(SECOND)
    assert len(lists) == TRIBES * MEMBERS
    own = [row["user_id"][1] == one["track_id"][6] for row in lists for one in row["tracks"]]
    assert np.mean(own) > 0.9

    assert f"edition {SECOND} revision 1 is served" in weeks.recsys("status").stdout
    for asked in (["summary"], ["verify"], ["show", "t1m03"], ["explain", "t1m03"]):
        said = weeks.recsys(*asked)
        assert said.returncode == 0, (asked, said.stdout, said.stderr)
    assert "Song track 1" in said.stdout
    assert (edition / "report.html").exists()
    assert not [path for path in weeks.home.rglob(".*") if path.is_dir()]


def served(deployment: Deployment) -> str:
    with open_store(deployment.load().store_url) as store:
        return store.playlist("t0m00").edition
