"""From the same factors and the same matrix, both engines make the same playlists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest

from recsys import models
from recsys._tables import part_files
from recsys.artefact import Artefact
from recsys.candidates import Candidates
from recsys.playlists.making import make_playlists
from recsys.schemas import PLAYLISTS
from recsys.settings import PlaylistsSettings
from recsys.spark import _lists

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.engines.conftest import MadeEdition


def test_the_same_candidates(spark: SparkSession, edition: MadeEdition, tmp_path: Path) -> None:
    counts = _lists.find_candidates(
        spark, edition.sliced, edition.model, cooling=edition.cooling, blocked=[], out=tmp_path
    )

    ours = Candidates.load(tmp_path, edition.matrix)
    theirs = Candidates.load(edition.folder / "candidates")
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
    spark: SparkSession, edition: MadeEdition, tmp_path: Path, settings: PlaylistsSettings
) -> None:
    blocked = sorted(edition.matrix.songs["track_id"].to_pylist())[:5]
    for name in ("ours", "theirs", "candidates"):
        (tmp_path / name).mkdir()
    found = Candidates.load(edition.folder / "candidates")
    rules = {"cooling": edition.cooling, "blocked": blocked, "week": edition.plan.week}
    theirs = make_playlists(
        edition.matrix, models.load(edition.model), found, **rules, settings=settings,
        out=tmp_path / "theirs",
    )  # fmt: skip
    _lists.find_candidates(
        spark, edition.sliced, edition.model, cooling=edition.cooling, blocked=[],
        out=tmp_path / "candidates",
    )  # fmt: skip

    ours = _lists.make_playlists(
        spark, edition.sliced, edition.model, tmp_path / "candidates", **rules, settings=settings,
        older=None, out=tmp_path / "ours",
    )  # fmt: skip

    assert ours == theirs
    for name in ("playlists", "refused", "default"):
        one, other = (tmp_path / side / f"{name}.parquet" for side in ("ours", "theirs"))
        assert pq.read_table(one).equals(pq.read_table(other)), name
    for part in part_files(tmp_path / "ours" / "playlists.parquet"):
        assert pq.read_schema(part).remove_metadata().equals(PLAYLISTS)
    assert Artefact.open(edition.folder / "playlists").facts["eligible"] == ours["eligible"]
