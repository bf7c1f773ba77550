"""Models trained and judged by both engines: equal in quality, and judged by the same week."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from recsys import models
from recsys._slices import write_slices
from recsys.artefact import Artefact
from recsys.evaluation import paired, recommend, score, truth
from recsys.home import Home
from recsys.settings import AlsSettings, GatesSettings, Settings, load_settings
from recsys.spark import SparkEngine, _train
from recsys.weeks import Week
from tests.conftest import SIMULATED_WEEKS
from tests.models.worlds import World, matrix_of, world

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.engines.conftest import MadeEdition

ALS = AlsSettings(factors=16, iterations=10)


@pytest.fixture(scope="module")
def settings(simulated: Path) -> Settings:
    """Those of the simulated home."""
    return load_settings([simulated / "overlay.cfg"])


def trained_by(settings: Settings, training: str) -> Settings:
    return dataclasses.replace(
        settings, als=ALS, spark=dataclasses.replace(settings.spark, training=training)
    )


@pytest.fixture
def known(tmp_path: Path) -> World:
    made = world(seed=3, users=400, songs=300)
    write_slices(made.base, tmp_path, 100)
    return made


def untold(*_: Any) -> None:
    """Nobody asks how training goes."""


def test_sparks_als_is_as_good_as_ours(
    spark: SparkSession, settings: Settings, known: World, tmp_path: Path
) -> None:
    heard = truth(known.base, known.plays)

    theirs = _train.train_cold(spark, tmp_path, trained_by(settings, "spark"))

    ours = models.train(known.base, ALS, seed=1)
    one, other = (
        score(recommend(model, known.base, heard.users), heard).ndcg for model in (theirs, ours)
    )
    difference = paired(one, other, seed=1)
    assert difference.low > -0.05 * other.mean()
    assert len(theirs.user_ids) == 0


def test_the_factors_pass_the_gate(
    spark: SparkSession, settings: Settings, known: World, tmp_path: Path
) -> None:
    by_spark = trained_by(settings, "spark")
    trained = _train.train(spark, tmp_path, by_spark, parent=None, on_iteration=untold)

    verdict = models.check_factors(
        trained.with_users, trained.matrix, GatesSettings(), parent=None, seed=1
    )

    assert verdict.passed, verdict.summary()
    assert verdict.skipped["loss_not_rising"] == "what trained the model tells no losses"


def test_training_on_the_driver_is_that_of_one_machine(
    spark: SparkSession, settings: Settings, known: World, tmp_path: Path
) -> None:
    local = trained_by(settings, "implicit")
    parent = models.train(known.base, ALS, local.recsys.seed)

    cold, warm = (
        _train.train(spark, tmp_path, local, parent=before, on_iteration=untold)
        for before in (None, parent.without_users())
    )

    assert np.array_equal(cold.model.item_factors, parent.item_factors)
    assert len(cold.model.user_ids) == 0
    assert len(cold.with_users.user_ids) == len(known.base.users)
    assert warm.model.warm
    assert len(warm.model.loss) == ALS.warm_iterations
    assert warm.model.loss[0] <= cold.model.loss[-1] * 1.01


def test_a_matrix_without_any_taste(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    write_slices(matrix_of(np.zeros((4, 3), np.float32)), tmp_path, 10)

    trained = _train.train(
        spark, tmp_path, trained_by(settings, "spark"), parent=None, on_iteration=untold
    )

    assert not trained.model.item_factors.any()


@pytest.mark.parametrize("training", ["spark", "implicit"])
def test_the_same_week_is_predicted(
    spark_engine: SparkEngine,
    settings: Settings,
    edition: MadeEdition,
    tmp_path: Path,
    training: str,
) -> None:
    """All listeners are scored: the sample is everybody, as on one machine."""
    local = json.loads((edition.folder / "evaluation" / "evaluation.json").read_text())
    by = dataclasses.replace(settings, spark=dataclasses.replace(settings.spark, training=training))

    ours = spark_engine.evaluate(
        edition.plan,
        Home.of(settings),
        by,
        base=Artefact.open(Home.of(settings).taste(Week.parse(SIMULATED_WEEKS[-2]))),
        catalogue=Artefact.open(edition.folder / "catalogue"),
        out=tmp_path,
    )

    for name in ("listeners", "of_listeners", "dropped", "week"):
        assert ours[name] == local[name], name
    alike = {"popularity", "parent", "grandparent"} | (
        {"item_knn"} if training == "implicit" else set()
    )
    for name in alike:
        for metric, value in local["metrics"][name].items():
            assert ours["metrics"][name][metric]["mean"] == pytest.approx(value["mean"], abs=2e-6)
    for name in ("popularity", "parent"):
        theirs = local["beyond"][name]
        for measure in ("overlap_previous", "novelty", "coverage", "popularity_overlap"):
            assert ours["beyond"][name][measure] == pytest.approx(theirs[measure], abs=2e-6)
    assert ours["segments"].keys() == local["segments"].keys()
    if training == "spark":
        assert ours["challenger"] == "Spark's ALS cannot go on from a model"
        assert ours["evidence"]["cold_only"]
        assert (tmp_path / "challenger" / "item_factors.npy").exists()
    else:
        assert ours["evidence"] == local["evidence"]
    assert not list(tmp_path.glob(".*"))
