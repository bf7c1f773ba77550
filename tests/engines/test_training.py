"""Spark's ALS learns what ours does: the same objective, as far as Spark has one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from recsys import models
from recsys._slices import write_slices
from recsys.evaluation import recommend, score, truth
from recsys.settings import AlsSettings
from recsys.spark import _train
from tests.models.worlds import matrix_of, world

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SETTINGS = AlsSettings(factors=16, iterations=10)


def test_it_is_as_good_as_ours(spark: SparkSession, tmp_path: Path) -> None:
    known = world(seed=3, users=600, songs=400)
    write_slices(known.base, tmp_path, 100)
    heard = truth(known.base, known.plays)

    theirs = _train.train(spark, tmp_path, SETTINGS, seed=1)

    ours = models.train(known.base, SETTINGS, seed=1)
    found = {
        name: score(recommend(model, known.base, heard.users), heard).ndcg.mean()
        for name, model in {"ours": ours, "theirs": theirs}.items()
    }
    popular = np.tile(known.base.songs["popularity"].to_numpy(), (1, 1))
    assert popular.any()
    assert found["theirs"] == pytest.approx(found["ours"], rel=0.05)
    print(found)
    a = ours.implicit.loss(ours.confidences(known.base.strength))
    b = theirs.folded(known.base)
    print(a, b.implicit.loss(b.confidences(known.base.strength)))
