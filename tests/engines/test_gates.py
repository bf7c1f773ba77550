"""Both engines ask the same of the same playlists, and find the same."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys._slices import FOLDER, part_name, user_bounds
from recsys._tables import part_files
from recsys.artefact import Artefact
from recsys.gate import check_playlists
from recsys.settings import GatesSettings, PlaylistsSettings
from recsys.shares import check_shares
from recsys.spark import _checks
from recsys.verdict import Verdict

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.engines.conftest import MadeEdition

Rows = list[dict[str, Any]]


def in_parts(edition: MadeEdition, folder: Path) -> Path:
    """The playlists of an edition in the parts of its matrix."""
    made = Artefact.open(edition.folder / "playlists")
    for name in ("playlists", "refused"):
        (folder / f"{name}.parquet").mkdir(parents=True)
        rows = pq.read_table(made.file(f"{name}.parquet"))
        for number, part in enumerate(part_files(edition.sliced / FOLDER)):
            first, last = user_bounds(part) or ("", "")
            mine = [first <= user <= last for user in rows["user_id"].to_pylist()]
            pq.write_table(
                rows.filter(pa.array(mine, pa.bool_())),
                folder / f"{name}.parquet" / part_name(number),
            )
    shutil.copy(made.file("default.parquet"), folder)
    return folder


def verdicts(spark: SparkSession, edition: MadeEdition, playlists: Path) -> tuple[Verdict, Verdict]:
    made = _checks.Made(
        playlists=playlists,
        matrix=edition.sliced,
        model=edition.folder / "als_model",
        taste=edition.taste,
        catalogue=edition.folder / "catalogue" / "catalogue.parquet",
        cooling=tuple(edition.cooling),
        blocked=(),
        week=edition.plan.week,
        settings=PlaylistsSettings(),
    )
    local = check_playlists(
        playlists=playlists / "playlists.parquet",
        default=playlists / "default.parquet",
        refused=playlists / "refused.parquet",
        taste=made.taste,
        catalogue=made.catalogue,
        eligible=edition.sliced / "eligible.parquet",
        model=made.model,
        cooling=made.cooling,
        blocked=(),
        week=made.week,
        settings=made.settings,
    )
    return local, _checks.check_playlists(spark, made)


def values(verdict: Verdict) -> dict[str, Any]:
    return {check.name: (check.passed, check.value) for check in verdict.checks}


def test_sound_playlists_pass(spark: SparkSession, edition: MadeEdition, tmp_path: Path) -> None:
    local, on_spark = verdicts(spark, edition, in_parts(edition, tmp_path / "made"))

    assert local.passed
    assert on_spark.to_dict() == local.to_dict()


def swap_neighbours(rows: Rows) -> None:
    rows[3]["tracks"], rows[4]["tracks"] = rows[4]["tracks"], rows[3]["tracks"]


def lose_somebody(rows: Rows) -> None:
    del rows[2]


def twice(rows: Rows) -> None:
    rows.insert(5, rows[5])


def somebody_elses(rows: Rows) -> None:
    rows[1]["user_id"] = "zzz, whom nobody knows"


@pytest.mark.parametrize("spoil", [swap_neighbours, lose_somebody, twice, somebody_elses])
def test_the_same_faults_are_found(
    spark: SparkSession, edition: MadeEdition, tmp_path: Path, spoil: Callable[[Rows], None]
) -> None:
    playlists = in_parts(edition, tmp_path / "made")
    path = playlists / "playlists.parquet" / part_name(2)
    rows = pq.read_table(path)
    listed = rows.to_pylist()
    spoil(listed)
    pq.write_table(pa.Table.from_pylist(listed, rows.schema), path)

    local, on_spark = verdicts(spark, edition, playlists)

    assert local.refused
    assert values(on_spark) == values(local)


def test_nobody_served(spark: SparkSession, edition: MadeEdition, tmp_path: Path) -> None:
    playlists = in_parts(edition, tmp_path / "made")
    for part in part_files(playlists / "playlists.parquet"):
        pq.write_table(pq.read_table(part).slice(0, 0), part)

    local, on_spark = verdicts(spark, edition, playlists)

    assert "somebody_served" in {check.name for check in on_spark.failed}
    assert values(on_spark) == values(local)


@pytest.mark.parametrize(
    "gates",
    [
        {},
        {"most_alike": 0.001, "most_repeated": 0.0, "least_coverage": 1.0, "most_relaxed": 0.0,
         "most_filled": 0.0},
    ],
    ids=["usual", "all too narrow"],
)  # fmt: skip
def test_the_same_shares(
    spark: SparkSession, edition: MadeEdition, tmp_path: Path, gates: dict[str, float]
) -> None:
    of = {
        "playlists": in_parts(edition, tmp_path / "made") / "playlists.parquet",
        "eligible": edition.sliced / "eligible.parquet",
        "catalogue": edition.folder / "catalogue" / "catalogue.parquet",
        "previous": edition.cooling[-1],
        "settings": PlaylistsSettings(),
        "gates": dataclasses.replace(GatesSettings(), **gates),
    }

    local = check_shares(**of, spill=tmp_path)

    assert _checks.check_shares(spark, **of).to_dict() == local.to_dict()
    assert local.passed == (not gates)
