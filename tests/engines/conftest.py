"""The engines that must agree: one session of Spark for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from recsys._slices import write_slices
from recsys.home import Home
from recsys.matrix import TasteMatrix
from recsys.plan import Plan, cooling_playlists
from recsys.settings import load_settings
from recsys.spark import SparkEngine
from tests.conftest import SIMULATED_WEEKS
from tests.engines.here import need_spark

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SPARK = """\
[recsys]
home = {home}

[engine]
name = spark

[spark]
master = local[2]
spark.driver.memory = 1g
spark.driver.extraJavaOptions = -XX:TieredStopAtLevel=1
spark.sql.shuffle.partitions = 4

[listens]
source = log
"""

#: Few, so that there are many parts, and none is a whole block of any kernel.
USERS_A_PART = 23


@dataclass(frozen=True)
class MadeEdition:
    """An edition made on one machine, and its matrix in parts."""

    folder: Path
    plan: Plan
    cooling: list[Path]
    taste: Path
    sliced: Path

    @property
    def model(self) -> Path:
        return self.folder / "als_model"

    @property
    def matrix(self) -> TasteMatrix:
        return TasteMatrix.load(self.folder / "matrix")


@pytest.fixture(scope="session")
def edition(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> MadeEdition:
    home = Home.of(load_settings([simulated / "overlay.cfg"]))
    folder = home.root / "editions" / SIMULATED_WEEKS[-1] / "r1"
    plan = Plan.load(folder / "plan")
    sliced = tmp_path_factory.mktemp("matrix")
    write_slices(TasteMatrix.load(folder / "matrix"), sliced, USERS_A_PART)
    return MadeEdition(
        folder, plan, cooling_playlists(plan, home), home.taste(plan.week) / "taste.parquet", sliced
    )


@pytest.fixture(scope="session")
def spark_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkEngine]:
    """Spark on two threads."""
    folder = tmp_path_factory.mktemp("spark")
    (folder / "spark.cfg").write_text(_SPARK.format(home=folder / "home"), encoding="utf-8")
    settings = load_settings([folder / "spark.cfg"])
    need_spark(settings)
    engine = SparkEngine(settings)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def spark(spark_engine: SparkEngine) -> SparkSession:
    return spark_engine.session
