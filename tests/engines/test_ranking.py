"""From the same factors and the same matrix, both engines make the same playlists."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest

from recsys import models
from recsys._slices import write_slices
from recsys._tables import part_files
from recsys.artefact import Artefact
from recsys.candidates import Candidates
from recsys.home import Home
from recsys.matrix import TasteMatrix
from recsys.plan import Plan, cooling_playlists
from recsys.playlists.making import make_playlists
from recsys.schemas import PLAYLISTS
from recsys.settings import PlaylistsSettings, load_settings
from recsys.spark import _lists
from tests.conftest import SIMULATED_WEEKS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: Few, so that there are many parts, and none is a whole block of any kernel.
USERS_A_PART = 23


@dataclass(frozen=True)
class Made:
    """An edition made on one machine, and its matrix in parts."""

    edition: Path
    plan: Plan
    cooling: list[Path]
    sliced: Path

    @property
    def model(self) -> Path:
        return self.edition / "als_model"

    @property
    def matrix(self) -> TasteMatrix:
        return TasteMatrix.load(self.edition / "matrix")


@pytest.fixture(scope="module")
def made(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    home = Home.of(load_settings([simulated / "overlay.cfg"]))
    edition = home.root / "editions" / SIMULATED_WEEKS[-1] / "r1"
    plan = Plan.load(edition / "plan")
    sliced = tmp_path_factory.mktemp("matrix")
    write_slices(TasteMatrix.load(edition / "matrix"), sliced, USERS_A_PART)
    return Made(edition, plan, cooling_playlists(plan, home), sliced)


def test_the_same_candidates(spark: SparkSession, made: Made, tmp_path: Path) -> None:
    counts = _lists.find_candidates(
        spark, made.sliced, made.model, cooling=made.cooling, blocked=[], out=tmp_path
    )

    ours = Candidates.load(tmp_path, made.matrix)
    theirs = Candidates.load(made.edition / "candidates")
    for name in ("users", "offsets", "songs", "scores"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name
    assert counts == {"users": len(theirs.users), "candidates": len(theirs.songs)}
    assert len(part_files(tmp_path / "candidates.parquet")) > 5
    assert [path.name for path in tmp_path.iterdir()] == ["candidates.parquet"]


@pytest.mark.parametrize(
    "settings",
    [
        PlaylistsSettings(),
        PlaylistsSettings(length=12, per_artist=1, diversity=0.3, familiar_at_most=0.5),
    ],
    ids=["defaults", "reranked"],
)
def test_the_same_playlists(
    spark: SparkSession, made: Made, tmp_path: Path, settings: PlaylistsSettings
) -> None:
    blocked = sorted(made.matrix.songs["track_id"].to_pylist())[:5]
    for name in ("ours", "theirs", "candidates"):
        (tmp_path / name).mkdir()
    found = Candidates.load(made.edition / "candidates")
    rules = {"cooling": made.cooling, "blocked": blocked, "week": made.plan.week}
    theirs = make_playlists(
        made.matrix, models.load(made.model), found, **rules, settings=settings,
        out=tmp_path / "theirs",
    )  # fmt: skip
    _lists.find_candidates(
        spark, made.sliced, made.model, cooling=made.cooling, blocked=[],
        out=tmp_path / "candidates",
    )  # fmt: skip

    ours = _lists.make_playlists(
        spark, made.sliced, made.model, tmp_path / "candidates", **rules, settings=settings,
        older=None, out=tmp_path / "ours",
    )  # fmt: skip

    assert ours == theirs
    for name in ("playlists", "refused", "default"):
        one, other = (tmp_path / side / f"{name}.parquet" for side in ("ours", "theirs"))
        assert pq.read_table(one).equals(pq.read_table(other)), name
    for part in part_files(tmp_path / "ours" / "playlists.parquet"):
        assert pq.read_schema(part).remove_metadata().equals(PLAYLISTS)
    assert Artefact.open(made.edition / "playlists").facts["eligible"] == ours["eligible"]
