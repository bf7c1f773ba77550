"""The same log gives the same bytes; what is made stays as it is; one content is staged once."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from recsys.artefact import file_sha256
from recsys.home import Home
from recsys.simulate import World, simulate
from recsys.weeks import Week
from tests.workflows.conftest import WEEK, Deployment
from tests.workflows.test_planted_users import run_on_cores

BEFORE = str(Week.parse(WEEK) - 1)
STAGES = ("evaluation", "model_choice", "matrix", "als_model", "candidates", "playlists")


def deploy(like: Deployment, folder: Path) -> Deployment:
    """A second deployment with the settings of the first, and a home and a log of its own."""
    folder.mkdir()
    made = Deployment(folder)
    made.configure(**like.settings)
    made.configure(recsys={"home": made.home}, listens={"source": made.log})
    return made


def data_of(deployment: Deployment) -> dict[str, str]:
    """SHA-256 of every file of the states and editions that is data, not a manifest."""
    home = Home.of(deployment.load())
    folders = {
        f"{week} {stage}": deployment.edition(week) / stage
        for week in (BEFORE, WEEK)
        for stage in STAGES
    }
    for week in (BEFORE, WEEK):
        folders[f"{week} taste"] = home.taste(Week.parse(week))
        folders[f"{week} catalogue"] = home.catalogue(Week.parse(week))
    return {
        f"{name}/{file.name}": file_sha256(file)
        for name, folder in folders.items()
        for file in folder.rglob("*.*")
        if file.name != "manifest.json"
    }


def published(deployment: Deployment) -> list[tuple[str, str, int]]:
    with deployment.store() as store:
        return [(one.edition, one.digest, one.rows) for one in store.editions()]


def times(home: Path) -> dict[Path, int]:
    """When each file was last changed."""
    return {path: path.stat().st_mtime_ns for path in home.rglob("*")}


def test_order_of_rows_files_and_cores_play_no_part(deployment: Deployment, tmp_path: Path) -> None:
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("a process cannot be held to one core of several here")
    other = deploy(deployment, tmp_path / "other")
    rng = random.Random(1)
    for day, listens in simulate(World(listeners=250, artists=60, tracks=900, days=18)).days():
        rows = [jsonable(row) for row in listens.to_pylist()]
        deployment.write_day(day, rows)
        rng.shuffle(rows)
        for n in range(3):
            other.write_day(day, rows[n::3], name=f"{rng.random()}")

    backfill = ("BackfillPlaylists", "--first", BEFORE, "--last", WEEK)
    run_on_cores(deployment, 1, *backfill)
    run_on_cores(other, 2, *backfill)

    one, two = data_of(deployment), data_of(other)
    assert {name for name in one if one[name] != two.get(name)} == set()
    assert one.keys() == two.keys()
    for name in (
        "taste/taste",
        "als_model/item_factors",
        "playlists/playlists",
        "candidates/songs",
    ):
        assert any(f"{WEEK} {name}" in key for key in one), sorted(one)
    assert published(deployment) == published(other)
    assert len(published(deployment)) == 2


def jsonable(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "listened_at": row["listened_at"].isoformat()}


def test_a_second_run_runs_no_task_and_touches_no_file(tribes: Deployment) -> None:
    assert tribes.run()
    before = times(tribes.home)
    again = tribes.weekly("--week", WEEK)
    assert again.returncode == 0
    assert "Did not run any tasks" in again.stderr
    assert times(tribes.home) == before


def test_an_edition_made_again_is_the_one_that_is_staged(tribes: Deployment) -> None:
    assert tribes.run()
    before = published(tribes)
    with tribes.store() as store:
        ledger = store.ledger()
        playlist = store.playlist("t0m00")
    shutil.rmtree(tribes.edition())
    assert tribes.run()
    assert published(tribes) == before
    with tribes.store() as store:
        assert store.ledger() == ledger
        assert store.playlist("t0m00") == playlist
    assert tribes.recsys("verify").returncode == 0
