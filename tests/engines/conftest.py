import pytest
@pytest.fixture(scope="session")
def spark():
    import os, sys
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession
    s = (SparkSession.builder.master("local[2]").config("spark.ui.enabled","false").config("spark.driver.memory","1g").config("spark.sql.session.timeZone","UTC").config("spark.sql.execution.arrow.pyspark.enabled","true").getOrCreate())
    s.sparkContext.setLogLevel("ERROR")
    yield s
    s.stop()


from dataclasses import dataclass
from pathlib import Path

from recsys._slices import write_slices
from recsys.home import Home
from recsys.matrix import TasteMatrix
from recsys.plan import Plan, cooling_playlists
from recsys.settings import load_settings
from tests.conftest import SIMULATED_WEEKS

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
